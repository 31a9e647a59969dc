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
    return Object.values(app.canvas.selected_nodes ?? {})
}
