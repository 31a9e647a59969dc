// @ts-check
// Dialogs of our own. The browser's dialog element keeps the focus in.

import { element, style } from "./elements.js"

/** What the canvas behind a dialog would take for its own. */
const KEPT = ["keydown", "keyup", "paste", "copy", "pointerdown", "wheel"]

let count = 0

/**
 * Open a dialog; it leaves the page when it is closed.
 * @param {{title?: string, kind?: string, closed?: () => void}} about kind: a class of its own
 * @param {(close: () => void) => any[]} content
 * @returns {HTMLDialogElement}
 */
export function openDialog({ title, kind = "", closed }, content) {
    style("style.css")
    const heading = `drawthings-dialog-${++count}`
    /** @type {HTMLDialogElement} */
    const dialog = element("dialog", { class: `drawthings ${kind}`, "aria-labelledby": title ? heading : undefined })
    if (title) dialog.append(element("h2", { id: heading }, title))
    dialog.append(...content(() => dialog.close()))
    // ComfyUI's shortcuts are not meant while this is open, and one of them would take Escape away.
    const guard = (/** @type {KeyboardEvent} */ event) => {
        const inside = event.target instanceof Node && dialog.contains(event.target)
        if (event.key === "Escape" && !event.isComposing) {
            event.preventDefault()
            dialog.close()
        }
        if (!inside || event.key === "Escape") event.stopPropagation()
    }
    window.addEventListener("keydown", guard, { capture: true })
    for (const type of KEPT) dialog.addEventListener(type, (event) => event.stopPropagation())
    dialog.addEventListener("close", () => {
        window.removeEventListener("keydown", guard, { capture: true })
        dialog.remove()
        closed?.()
    })
    document.body.append(dialog)
    dialog.showModal()
    return dialog
}
