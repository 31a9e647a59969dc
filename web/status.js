// @ts-check
// A line on Load Server that says how its server is, in words and colour. A DOM widget: both renderings show it.

import { LOADER } from "./rules/graph.js"
import { inOwnWords } from "./rules/sentences.js"
import { status } from "./rules/status.js"
import { say } from "./rules/words.js"
import { servers } from "./servers_of_graph.js"

const WIDGET = "drawthings_status"
const HEIGHT = 44 // pixels: two lines; the whole sentence is the tooltip
const COLOURS = { good: "#4caf50", careful: "#e0a030", bad: "#e5534b", idle: "#8a8a8a" }

/** @typedef {{dot: HTMLElement, words: HTMLElement, line: HTMLElement}} Line */

/** The line of each node. @type {WeakMap<any, Line>} */
const lines = new WeakMap()

/**
 * Lines by the path of their node. Undo makes all nodes anew, and Nodes 2.0 goes on showing what it had for the same id.
 * @type {Map<string, Set<Line>>}
 */
const shown = new Map()

/** @type {import("./types.js").Concern} */
export const statusOfServers = {
    name: "status",

    setup() {
        servers.listen(show)
    },

    nodeCreated(node) {
        if (node.comfyClass !== LOADER) return
        for (const widget of node.widgets ?? []) watch(widget)
        addLine(node)
    },
}

/** Look at the servers when the user changes a value. @param {any} widget */
function watch(widget) {
    const callback = widget.callback
    widget.callback = function (/** @type {any[]} */ ...values) {
        const result = callback?.apply(this, values)
        servers.look()
        return result
    }
}

/** @param {any} node */
function addLine(node) {
    const line = document.createElement("div")
    const dot = document.createElement("span")
    const words = document.createElement("span")
    line.append(dot, words)
    line.setAttribute("role", "status")
    Object.assign(line.style, {
        display: "flex",
        gap: "6px",
        alignItems: "flex-start",
        boxSizing: "border-box",
        height: `${HEIGHT}px`,
        minHeight: `${HEIGHT}px`,
        padding: "4px 6px",
        overflow: "hidden",
        fontSize: "12px",
        lineHeight: "1.4",
    })
    Object.assign(dot.style, { flex: "none", width: "9px", height: "9px", marginTop: "4px", borderRadius: "50%" })
    Object.assign(words.style, { display: "-webkit-box", webkitBoxOrient: "vertical", webkitLineClamp: "2", overflow: "hidden" })
    const parts = { line, dot, words }
    lines.set(node, parts)
    const widget = node.addDOMWidget(WIDGET, WIDGET, line, {
        getValue: () => "",
        setValue: () => {},
        getMinHeight: () => HEIGHT,
        getMaxHeight: () => HEIGHT,
        hideOnZoom: false,
        serialize: false, // not sent
    })
    widget.serialize = false // not saved
    write(parts, { state: "asking" })
}

/** @param {import("./servers_of_graph.js").ServersOfGraph} known */
function show(known) {
    for (const [path, place] of known.graph.places) {
        if (place.type !== LOADER || !place.live) continue
        for (const line of linesAt(path, place.live)) write(line, known.known(path))
    }
}

/** The node's line, and what else is on the screen in its place. @param {string} path @param {any} node */
function linesAt(path, node) {
    const own = lines.get(node)
    const there = new Set([...(shown.get(path) ?? [])].filter((one) => one.line.isConnected))
    if (own) there.add(own)
    shown.set(path, there)
    return there
}

/** @param {Line} parts @param {import("./servers_of_graph.js").Known} known */
function write(parts, known) {
    const { tone, key, values, sentence } = status(known)
    const text = sentence === undefined ? say(key, values) : inOwnWords(sentence)
    parts.words.textContent = text
    parts.line.title = text
    parts.line.dataset.state = tone
    parts.dot.style.background = COLOURS[tone]
    parts.words.style.color = tone === "bad" ? COLOURS.bad : ""
    parts.line.style.opacity = known.state === "asking" ? "0.6" : "1"
}
