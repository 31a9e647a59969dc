// @ts-check
// LoRA Stack shows one empty slot behind the last used one. The others are only hidden: their values are saved and sent as ever.

import { redraw, setOptions } from "./changes.js"
import { slotOf, slotsShown, STACK } from "./rules/slots.js"

const GAP = -4 // pixels between widgets: classic frontend 1.27 leaves room for hidden ones

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
        // A pasted or cloned node gets its values and links without any callback.
        for (const hook of ["onConfigure", "onConnectionsChange"]) {
            const original = node[hook]
            node[hook] = function (/** @type {any[]} */ ...values) {
                const result = original?.apply(this, values)
                queueMicrotask(() => arrange(node))
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
        setOptions(widget, { hidden: widget.hidden })
        if (widget.hidden) widget.computeSize = () => [0, GAP]
        else delete widget.computeSize
        changed = true
    }
    if (!changed) return
    const [width, height] = node.size
    const needed = node.computeSize()[1]
    if (height < needed) node.setSize?.([width, needed])
    redraw(node)
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
