// @ts-check
// The graph that is open as plain data, for the rules.

/** @typedef {import("./rules/graph.js").Graph} Graph */

/**
 * The graph with its subgraphs.
 * @param {any} app
 * @returns {Graph}
 */
export function snapshot(app) {
    return plain(app.rootGraph ?? app.graph)
}

/** @param {any} graph @returns {Graph} */
function plain(graph) {
    const links = graph.links instanceof Map ? [...graph.links.values()] : Object.values(graph.links ?? {})
    return {
        nodes: (graph.nodes ?? []).map((/** @type {any} */ node) => ({
            id: String(node.id),
            type: String(node.comfyClass ?? node.type),
            mode: node.mode ?? 0,
            inputs: (node.inputs ?? []).map(slot),
            outputs: (node.outputs ?? []).map(slot),
            // Only of the few nodes that are looked at: reading a widget can be work.
            get values() {
                return Object.fromEntries((node.widgets ?? []).map((/** @type {any} */ widget) => [widget.name, widget.value]))
            },
            live: node,
            inside: node.subgraph ? plain(node.subgraph) : undefined,
        })),
        links: links.filter(Boolean).map((link) => ({
            from: String(link.origin_id),
            out: Number(link.origin_slot),
            to: String(link.target_id),
            in: Number(link.target_slot),
        })),
    }
}

/** @param {{name: string, type: unknown}} slot */
function slot({ name, type }) {
    return { name, type: String(type) }
}
