// @ts-check
// While a node runs: a line on it that says what is being done, and the setting for preview pictures.

import { isNodes2 } from "./rendering.js"
import { EVENT, isOf, Lines, nodeAt, outer, reports, words } from "./rules/progress.js"
import { say } from "./rules/words.js"

/** @typedef {import("./types.js").Comfy} Comfy */

const WIDGET = "progress_line"
const HEIGHT = 16 // pixels
const MARGIN = 2 // pixels around it
const TICK = 1000 // ms

const lines = new Lines()
/** Elements of the nodes whose lines are shown. @type {Set<HTMLElement>} */
const shown = new Set()
/** What subgraphs say of the nodes that run inside them: a badge, since their widgets are saved. Not in Nodes 2.0, which reads badges once. @type {Map<any, () => any>} */
const badged = new Map()
/** @type {number | undefined} */
let ticking
/** Whether there is a graph; a run that was going on before the page was loaded may be heard of earlier. */
let isSetUp = false

/** @type {import("./types.js").Concern} */
export const progress = {
    name: "progress",
    settings: () => [
        {
            id: "DrawThings.Previews",
            name: say("progress.previews"),
            tooltip: say("progress.previews_tooltip"),
            category: ["Draw Things", say("progress.category"), "Previews"],
            type: "boolean",
            defaultValue: true,
        },
    ],
    nodeCreated(node) {
        if (reports(node.constructor?.nodeData)) addLine(node)
    },
    begin(comfy) {
        const api = /** @type {any} */ (comfy.api) // our own event is none of those that its type lists
        api.addEventListener(EVENT, (/** @type {CustomEvent} */ { detail }) => {
            lines.take(detail, Date.now())
            show(comfy)
        })
        for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
            api.addEventListener(end, (/** @type {CustomEvent} */ { detail }) => {
                lines.end(detail.prompt_id)
                show(comfy)
            })
        }
        api.addEventListener("status", (/** @type {CustomEvent} */ { detail }) => {
            if (detail?.exec_info?.queue_remaining !== 0 || !lines.open.size) return
            lines.clear() // the end was missed: ComfyUI was started anew, or the connection was away
            show(comfy)
        })
    },
    setup(comfy) {
        isSetUp = true
        show(comfy)
        tellUser(comfy)
        comfy.api.addEventListener("reconnected", () => tellUser(comfy))
    },
    afterConfigureGraph(_missing, comfy) {
        show(comfy)
    },
}

/**
 * In a ComfyUI with several users the back end learns whose settings count for the prompts of this page.
 * @param {Comfy} comfy
 */
async function tellUser({ api, ask }) {
    if (api.user && api.clientId) await ask("present", { client: api.clientId, user: api.user }).catch(() => {}) // then previews are shown
}

/** @param {any} node */
function addLine(node) {
    const line = document.createElement("div")
    Object.assign(line.style, {
        height: `${HEIGHT}px`,
        minHeight: `${HEIGHT}px`,
        lineHeight: `${HEIGHT}px`,
        fontSize: "11px",
        color: "var(--descrip-text, #999)",
        overflow: "hidden",
        textOverflow: "ellipsis",
        whiteSpace: "nowrap",
        padding: "0 10px",
        boxSizing: "border-box",
    })
    line.className = "drawthings-progress"
    const widget = node.addDOMWidget(WIDGET, "drawthings_line", line, {
        getValue: () => "",
        setValue: () => {},
        getMinHeight: () => HEIGHT + 2 * MARGIN,
        getMaxHeight: () => HEIGHT + 2 * MARGIN,
        margin: MARGIN,
        serialize: false, // not sent
    })
    widget.serialize = false // not saved
}

/** @param {Pick<Comfy, "app">} comfy */
function show({ app }) {
    if (!isSetUp) return
    const graph = app.rootGraph ?? app.graph
    const now = Date.now()
    const before = new Set(shown)
    shown.clear()
    /** @type {Map<any, string>} */
    const inside = new Map()
    for (const [id, line] of lines.open) {
        if (!isOf(graph, line.workflow)) continue
        const text = words(line, now, say)
        for (const path of outer(id)) {
            const node = nodeAt(graph, path)
            if (node) inside.set(node, text)
        }
        const element = elementOf(nodeAt(graph, id))
        if (!element) continue
        write(element, text)
        shown.add(element)
        before.delete(element)
    }
    for (const element of before) write(element, "")
    for (const node of new Set([...badged.keys(), ...inside.keys()])) badge(node, isNodes2() ? undefined : inside.get(node))
    if (lines.open.size && ticking === undefined) ticking = window.setInterval(() => show({ app }), TICK)
    if (!lines.open.size && ticking !== undefined) {
        window.clearInterval(ticking)
        ticking = undefined
    }
}

/** @param {any} node @param {string} [text] none: nothing runs inside any more, or nobody would take it away */
function badge(node, text) {
    const { LGraphBadge } = /** @type {any} */ (globalThis)
    if (!LGraphBadge || !Array.isArray(node.badges)) return
    const others = node.badges.filter((/** @type {any} */ one) => one !== badged.get(node))
    badged.delete(node)
    if (text) {
        const made = new LGraphBadge({ text, fgColor: "#ddd", bgColor: "#353535" })
        badged.set(node, () => made)
    }
    node.badges = [...others, ...(badged.has(node) ? [badged.get(node)] : [])]
    node.setDirtyCanvas?.(true, true)
}

/** @param {any} node @returns {HTMLElement | undefined} */
function elementOf(node) {
    return node?.widgets?.find((/** @type {any} */ widget) => widget.name === WIDGET)?.element
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
    if (element.textContent === text) return
    element.textContent = text
    element.title = text
}
