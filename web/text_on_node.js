// @ts-check
// The text that an output node gives (ui.text), shown on the node. Frontends do that for ComfyUI's own Preview Any and no other.

import { inOwnWords } from "./rules/sentences.js"
import { say } from "./rules/words.js"

/** @type {import("./types.js").Concern} */
export const textOnNode = {
    name: "text on node",
    beforeRegisterNodeDef(nodeType, nodeData) {
        if (SHOW_TEXT.has(nodeData.name)) showText(nodeType)
    },
}

/** Node ids. */
const SHOW_TEXT = new Set(["DrawThingsServerInfo", "DrawThingsFilesExist", "DrawThingsUploadModel"])

const WIDGET = "shown_text"
const LOWEST = 180 // pixels

/**
 * Give the nodes of a class a read-only text that is neither saved nor sent.
 * @param {any} nodeType
 */
function showText(nodeType) {
    // Nodes 2.0 draws only widgets that are there from the start.
    after(nodeType.prototype, "onNodeCreated", (node) => addText(node))
    after(nodeType.prototype, "onExecuted", (node, output) => {
        const widget = node.widgets?.find((/** @type {any} */ one) => one.name === WIDGET)
        if (widget && output?.text) widget.value = inOwnWords([output.text].flat().join("\n"))
    })
}

/** @param {any} node */
function addText(node) {
    const area = document.createElement("textarea")
    area.readOnly = true
    area.className = "comfy-multiline-input"
    area.placeholder = say("text.run_to_see")
    Object.assign(area.style, { minHeight: `${LOWEST}px`, height: "100%", width: "100%", resize: "none", fontFamily: "monospace" })
    const widget = node.addDOMWidget(WIDGET, "drawthings_text", area, {
        getValue: () => area.value,
        setValue: (/** @type {string} */ text) => { area.value = text },
        getMinHeight: () => LOWEST,
        serialize: false, // not sent
    })
    widget.serialize = false // not saved
}

/**
 * @param {any} proto
 * @param {string} name
 * @param {(node: any, ...values: any[]) => void} extra
 */
function after(proto, name, extra) {
    const original = proto[name]
    proto[name] = function (/** @type {any[]} */ ...values) {
        const result = original?.apply(this, values)
        extra(this, ...values)
        return result
    }
}
