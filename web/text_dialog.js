// @ts-check
// A box of text to paste into or to copy from, for pages that browsers keep from the clipboard (plain http, or permission refused).

/**
 * @param {{title: string, words: string, text?: string, take: string, leave: string, copies?: boolean}} about  copies: the text is taken to the
 *   clipboard by the button, by the way that needs no permission
 * @returns {Promise<string | null>} the text in the box when it was taken, null when it was left
 */
export function textDialog({ title, words, text = "", take, leave, copies = false }) {
    const dialog = document.createElement("dialog")
    dialog.className = "drawthings-dialog"
    Object.assign(dialog.style, {
        background: "var(--comfy-menu-bg, #353535)", color: "var(--input-text, #ddd)", border: "1px solid var(--border-color, #4e4e4e)",
        borderRadius: "8px", padding: "16px", width: "min(640px, 90vw)", font: "14px sans-serif", margin: "auto",
    })
    const heading = element("h3", { textContent: title }, { margin: "0 0 8px", fontSize: "16px" })
    const about = element("p", { textContent: words }, { margin: "0 0 8px" })
    const area = /** @type {HTMLTextAreaElement} */ (element("textarea", { value: text, readOnly: copies, spellcheck: false }, {
        width: "100%", height: "40vh", boxSizing: "border-box", resize: "vertical", font: "12px monospace", background: "var(--comfy-input-bg, #222)",
        color: "inherit", border: "1px solid var(--border-color, #4e4e4e)", borderRadius: "4px", padding: "8px",
    }))
    area.setAttribute("aria-label", title)
    const row = element("div", {}, { display: "flex", justifyContent: "flex-end", gap: "8px", marginTop: "12px" })
    const buttons = [leave, take].map((label) => element("button", { textContent: label, type: "button" }, {
        padding: "6px 14px", borderRadius: "4px", border: "1px solid var(--border-color, #4e4e4e)", cursor: "pointer", font: "inherit", color: "inherit",
        background: label === take ? "var(--comfy-input-bg, #222)" : "transparent",
    }))
    row.append(...buttons)
    dialog.append(heading, about, area, row)
    // The canvas would take keys and what is pasted here for its own.
    for (const type of ["keydown", "keyup", "paste", "copy", "pointerdown", "wheel"]) dialog.addEventListener(type, (event) => event.stopPropagation())
    document.body.append(dialog)
    dialog.showModal()
    area.focus()
    area.select()
    return new Promise((resolve) => {
        /** @type {string | null} */
        let taken = null
        buttons[0].addEventListener("click", () => dialog.close())
        buttons[1].addEventListener("click", () => {
            taken = area.value
            if (copies) {
                area.focus()
                area.select()
                document.execCommand("copy")
            }
            dialog.close()
        })
        dialog.addEventListener("close", () => {
            dialog.remove()
            resolve(taken)
        })
    })
}

/**
 * @param {string} name @param {Record<string, any>} properties @param {Record<string, string>} style
 */
function element(name, properties, style) {
    const made = Object.assign(document.createElement(name), properties)
    Object.assign(made.style, style)
    return made
}
