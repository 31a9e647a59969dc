// @ts-check
// Changing the open graph as a user does: told to who listens, and undone in one step.

/**
 * Whatever `change` does to the graph is one step for undo.
 * @param {any} app @param {() => void} change
 */
export function oneStep(app, change) {
    app.canvas.emitBeforeChange?.()
    try {
        change()
    } finally {
        app.canvas.emitAfterChange?.()
    }
}

/**
 * @param {any} app @param {any} node @param {any} widget @param {unknown} value
 */
export function setValue(app, node, widget, value) {
    widget.value = value
    widget.callback?.(value, app.canvas, node) // Nodes 2.0 of frontend 1.35 shows the new value only then
    node.setDirtyCanvas?.(true, true)
}

/** The nodes that are selected. @param {any} app @returns {any[]} */
export function selected(app) {
    const { selectedItems } = app.canvas // with groups and reroutes; newer frontends warn of the former name
    return selectedItems ? [...selectedItems].filter((one) => one.comfyClass !== undefined) : Object.values(app.canvas.selected_nodes ?? {})
}

/** The two options objects of a widget that take turns. @type {WeakMap<object, any[]>} */
const turns = new WeakMap()

/**
 * Change options of a widget so that every rendering notices: Nodes 2.0 of frontend 1.58 looks for another object, that of 1.35 keeps the one
 * that it saw. So two objects take turns, and both are always up to date.
 * @param {any} widget @param {Record<string, any>} changes
 */
export function setOptions(widget, changes) {
    let both = turns.get(widget) ?? []
    if (!both.includes(widget.options)) both = [widget.options, {}]
    turns.set(widget, both)
    const now = { ...widget.options, ...changes }
    for (const options of both) Object.assign(options, now)
    widget.options = both.find((options) => options !== widget.options)
}

/**
 * Have a node drawn anew after its widgets were changed by something else than their values.
 * @param {any} node
 */
export function redraw(node) {
    // Nodes 2.0 of frontend 1.35 looks at the widgets again only when there are others.
    const last = node.widgets?.pop()
    if (last) node.widgets.push(last)
    node.setDirtyCanvas?.(true, true)
}
