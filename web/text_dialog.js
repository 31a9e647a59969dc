// @ts-check
// A box of text to paste into or to copy from, for pages that browsers keep from the clipboard (plain http, or permission refused).

import { openDialog } from "./dialog.js"
import { button, element } from "./elements.js"

/**
 * @param {{title: string, words: string, text?: string, take: string, leave: string, copies?: boolean}} about  copies: the text is taken to the
 *   clipboard by the button, by the way that needs no permission
 * @returns {Promise<string | null>} the text in the box when it was taken, null when it was left
 */
export function textDialog({ title, words, text = "", take, leave, copies = false }) {
    return new Promise((resolve) => {
        /** @type {string | null} */
        let taken = null
        /** @type {HTMLTextAreaElement} */
        const area = element("textarea", { value: text, readOnly: copies, spellcheck: false, "aria-label": title })
        openDialog({ title, kind: "text", closed: () => resolve(taken) }, (close) => {
            const took = () => {
                taken = area.value
                if (copies) {
                    area.focus()
                    area.select()
                    document.execCommand("copy")
                }
                close()
            }
            const buttons = element("div", { class: "buttons end" }, button(leave, close), button(take, took, { primary: true }))
            return [element("p", {}, words), area, buttons]
        })
        area.focus()
        area.select()
    })
}
