// @ts-check
// LoRA Stack shows one empty slot behind the last used one. The others are only hidden: their values are saved and sent as ever.

import { slotOf, slotsShown, STACK } from "./rules/slots.js"

/** @type {import("./types.js").Concern} */
export const slots = {
    name: "slots",

    nodeCreated(node) {
        if (node.comfyClass !== STACK) return
        for (const widget of node.widgets ?? []) {
            if (!widget.name.startsWith("lora_")) continue
            const callback = widget.callback
            widget.callback = function (/** @type {any[]} */ ...values) {
                const result = callback?.apply(this, values)
                queueMicrotask(() => arrange(node)) // the value is set by then, whoever sets it
                return result
            }
        }
        arrange(node)
        node.setSize?.(node.computeSize())
    },

    afterConfigureGraph(_missing, { app }) {
        everyNode(app.rootGraph ?? app.graph, (node) => {
            if (node.comfyClass === STACK) arrange(node)
        })
    },
}

/** @param {any} node */
function arrange(node) {
    const widgets = node.widgets ?? []
    const values = Object.fromEntries(widgets.map((/** @type {any} */ widget) => [widget.name, widget.value]))
    const shown = slotsShown(values, (name) => linked(node, name))
    let changed = false
    for (const widget of widgets) {
        const slot = slotOf(widget.name)
        if (!slot || Boolean(widget.hidden) === slot > shown) continue
        widget.hidden = slot > shown
        widget.options = { ...widget.options, hidden: widget.hidden }
        changed = true
    }
    if (!changed) return
    const [width, height] = node.size
    const needed = node.computeSize()[1]
    if (height < needed) node.setSize?.([width, needed])
    node.setDirtyCanvas?.(true, true)
}

/** @param {any} node @param {string} name */
function linked(node, name) {
    const slot = (node.inputs ?? []).findIndex((/** @type {any} */ input) => input.name === name)
    return slot >= 0 && Boolean(node.isInputConnected?.(slot))
}

/** @param {any} graph @param {(node: any) => void} act */
function everyNode(graph, act) {
    for (const node of graph?.nodes ?? []) {
        act(node)
        if (node.subgraph) everyNode(node.subgraph, act)
    }
}
