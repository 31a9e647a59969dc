// @ts-check
// Recommended settings: what to ask for a node, and what changes on it.

import { giverOf, inputOf, modelsOf, serverAt, serversOf } from "./graph.js"
import { lorasOf, STACK } from "./slots.js"

/** @typedef {import("./graph.js").Wiring} Wiring */

/**
 * The question for the route "recommended".
 * @param {Wiring} graph @param {string} path of a node that generates
 */
export function question(graph, path) {
    const place = graph.places.get(path)
    // What a link feeds is not the widget's to set.
    return {
        servers: serversOf(graph, path)
            .map((loader) => serverAt(graph, loader.path))
            .filter((values) => values !== null), // all of a pool: any may have the model
        model: modelsOf(graph, path)[0] ?? "",
        loras: stacked(graph, path),
        widgets: Object.keys(place?.values ?? {}).filter((name) => !graph.source.has(inputOf(graph, path, name))),
        image: giverOf(graph, path, "image") !== undefined,
    }
}

/** LoRAs of the stacks that a node gets. @param {Wiring} graph @param {string} path */
function stacked(graph, path) {
    const loras = []
    const seen = new Set()
    for (let stack = giverOf(graph, path, "loras"); stack?.type === STACK && !seen.has(stack.path); stack = giverOf(graph, stack.path, "loras")) {
        seen.add(stack.path)
        if (stack.active) loras.unshift(...lorasOf(stack.values))
    }
    return loras
}

/**
 * New values by widget, only of those that change. A negative prompt that is there stays.
 * @param {Record<string, any>} values of the widgets now
 * @param {{widgets: Record<string, any>, negative_prompt: string}} answer
 * @param {string[]} free widgets that may be set
 * @returns {Record<string, any>}
 */
export function changes(values, answer, free) {
    const wanted = { ...answer.widgets }
    if (answer.negative_prompt && values.negative_prompt === "") wanted.negative_prompt = answer.negative_prompt
    return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => free.includes(name) && name in values && values[name] !== value))
}
