// @ts-check
// Snapshots of workflow files, as web/snapshot.js makes them of an open graph.

import { readFileSync } from "node:fs"

/** @typedef {import("../../web/rules/graph.js").Graph} Graph */

/** @param {string} name @returns {Graph} */
export function example(name) {
    const path = new URL(`../../example_workflows/${name}.json`, import.meta.url)
    return snapshotOf(JSON.parse(readFileSync(path, "utf-8")))
}

/**
 * @param {any} workflow in ComfyUI's format for the page; widgets_values by position of the inputs that are widgets
 * @param {any[]} [definitions] of its subgraphs
 * @returns {Graph}
 */
export function snapshotOf(workflow, definitions = workflow.definitions?.subgraphs ?? []) {
    return {
        nodes: workflow.nodes.map((/** @type {any} */ node) => {
            const inside = definitions.find(({ id }) => id === node.type)
            const widgets = (node.inputs ?? []).filter((/** @type {any} */ input) => input.widget)
            return {
                id: String(node.id),
                type: node.type,
                mode: node.mode ?? 0,
                inputs: node.inputs ?? [],
                outputs: node.outputs ?? [],
                values: node.values ?? Object.fromEntries(widgets.map((/** @type {any} */ input, /** @type {number} */ index) => [input.name, node.widgets_values[index]])),
                inside: inside && snapshotOf(inside, definitions),
            }
        }),
        links: workflow.links.map((/** @type {any} */ link) => {
            const [from, out, to, into] = Array.isArray(link) ? link.slice(1) : [link.origin_id, link.origin_slot, link.target_id, link.target_slot]
            return { from: String(from), out, to: String(to), in: into }
        }),
    }
}
