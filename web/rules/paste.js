// @ts-check
// Pasting and copying configurations: which node is meant, which nodes it has already, and where new ones go.

import { BYPASSED, inputOf, MUTED, originOf } from "./graph.js"

/**
 * @typedef {import("./graph.js").Wiring} Wiring
 * @typedef {import("./graph.js").Place} Place
 * @typedef {{kind: string, widgets: Record<string, any>, linked: string[], bypassed: boolean}} Told  a node as our routes take it
 * @typedef {[number, number, number, number]} Box  x, y, width, height on the canvas
 */

/** The inputs of a node that generates which nodes chain into, and their types. */
export const CHAINS = Object.freeze({ options: "DT_OPTIONS", loras: "DT_LORAS", hints: "DT_HINTS" })

/**
 * Whether a node generates from a configuration: it has all the chains, and a server.
 * @param {{inputs?: {name: string, type: unknown}[]}} node
 */
export function generates(node) {
    const has = (/** @type {string} */ name, /** @type {string} */ type) => node.inputs?.some((input) => input.name === name && input.type === type)
    return Boolean(has("server", "DT_SERVER")) && Object.entries(CHAINS).every(([name, type]) => has(name, type))
}

/**
 * The node that is meant: the selected one, else the only one there is.
 * @template {{inputs?: any[]}} N
 * @param {N[]} selected
 * @param {N[]} all of the level that is open
 * @returns {N | "none" | "several"}
 */
export function meant(selected, all) {
    const chosen = selected.filter(generates)
    const candidates = chosen.length ? chosen : all.filter(generates)
    return candidates.length === 1 ? candidates[0] : candidates.length ? "several" : "none"
}

/**
 * The nodes that lead to an input of a node, the nearest first, through reroutes and in and out of subgraphs. What is behind a muted node does
 * not count, as ComfyUI has it.
 * @param {Wiring} graph @param {string} path @param {keyof typeof CHAINS} chain
 * @returns {Place[]}
 */
export function chainOf(graph, path, chain) {
    /** @type {Place[]} */
    const found = []
    const seen = new Set([path])
    /** @type {string | undefined} */
    let port = inputOf(graph, path, chain)
    while (port !== undefined) {
        /** @type {{ node?: string }} */
        const { node: origin } = originOf(graph, port)
        /** @type {Place | undefined} */
        const place = origin === undefined ? undefined : graph.places.get(origin)
        if (!place || seen.has(place.path) || place.mode === MUTED) break
        seen.add(place.path)
        /** @type {number} */
        const same = place.inputs.findIndex(({ name, type }) => name === chain && type === CHAINS[chain])
        const open = place.inputs.findIndex(({ type }) => type === "*")
        if (same >= 0 || open < 0) found.push(place)
        /** @type {number} */
        const next = same >= 0 ? same : open
        port = next >= 0 ? `${place.path}<${next}` : undefined
    }
    return found
}

/**
 * A node as our routes take it. Only values that a widget can hold as JSON.
 * @param {Wiring} graph @param {Place} place
 * @returns {Told}
 */
export function told(graph, place) {
    const widgets = Object.entries(place.values).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
    return {
        kind: place.type,
        widgets: Object.fromEntries(widgets),
        linked: place.inputs.map(({ name }) => name).filter((name) => graph.source.has(inputOf(graph, place.path, name))),
        bypassed: place.mode === BYPASSED,
    }
}

/** The mode of a node that is switched on or bypassed. @param {boolean} bypassed */
export function modeOf(bypassed) {
    return bypassed ? BYPASSED : 0
}

const GAP = 60
const STEP = 40
const ROWS = 60
const COLUMNS = 40

/**
 * Free places to the left of a node for those that lead to it, from left to right in the order of their links. Where the first of them follows a node
 * that is there already, there may be no room between the two: each is then to the right of the one before it or below it.
 * @param {Box[]} taken
 * @param {Box} goal
 * @param {[number, number][]} sizes with everything that is drawn around the nodes
 * @param {Box} [source] what the first one follows
 * @returns {[number, number][]}
 */
export function freePlaces(taken, goal, sizes, source) {
    const full = [...taken]
    let [beside, before] = [goal, source]
    const places = (source ? sizes : [...sizes].reverse()).map((size) => {
        const place = freePlace(full, beside, size, before)
        /** @type {Box} */
        const box = [...place, ...size]
        full.push(box)
        if (source) before = box
        else beside = box
        return place
    })
    return source ? places : places.reverse()
}

/**
 * A free place for a node to the left of another: beside it, else further down, else a column further left; and where a link from a third can
 * run to the right or down.
 * @param {Box[]} taken @param {Box} beside @param {[number, number]} size @param {Box} [before]
 * @returns {[number, number]}
 */
function freePlace(taken, beside, size, before) {
    const [width, height] = size
    for (let column = 0; column < COLUMNS; column++) {
        const x = beside[0] - (width + GAP) * (column + 1)
        for (let row = 0; row < ROWS; row++) {
            const y = beside[1] + row * STEP
            const ordered = !before || x >= before[0] + before[2] || (y >= before[1] + before[3] && x + width > before[0])
            if (ordered && !taken.some((box) => overlap(box, [x, y, width, height]))) return [x, y]
        }
    }
    return [beside[0] - width - GAP, Math.max(beside[1], ...taken.map(([, y, , high]) => y + high + GAP))]
}

/** @param {Box} a @param {Box} b */
function overlap(a, b) {
    const apart = GAP / 3
    return a[0] < b[0] + b[2] + apart && b[0] < a[0] + a[2] + apart && a[1] < b[1] + b[3] + apart && b[1] < a[1] + a[3] + apart
}

/**
 * Whether a text that was pasted anywhere is a configuration of Draw Things beyond doubt, or the comment of its pictures: those keys stand
 * together nowhere else.
 * @param {string} text
 */
export function isConfiguration(text) {
    if (!/^\s*\{/.test(text)) return false
    try {
        const document = JSON.parse(text)
        const settings = document.configuration ?? document.v2 ?? document
        return ["guidanceScale", "seedMode", "sampler", "steps"].every((key) => key in settings)
    } catch {
        return false
    }
}
