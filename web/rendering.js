// @ts-check
// Which of ComfyUI's renderings draws the nodes.

/** Whether it is Nodes 2.0; the classic one otherwise. */
export function isNodes2() {
    return Boolean(/** @type {any} */ (globalThis).LiteGraph?.vueNodesMode)
}
