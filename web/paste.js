// @ts-check
// Paste Draw Things configuration, Copy as Draw Things configuration, and pictures of Draw Things dropped on the canvas.

import { Refusal, sentenceOf } from "./ask.js"
import { selected, setOptions } from "./changes.js"
import { isNodes2 } from "./rendering.js"
import { LOADER, wiring } from "./rules/graph.js"
import { CHAINS, chainOf, freePlaces, generates, isConfiguration, meant, modeOf, told } from "./rules/paste.js"
import { base64, described } from "./rules/png.js"
import { inOwnWords } from "./rules/sentences.js"
import { say } from "./rules/words.js"
import { snapshot } from "./snapshot.js"
import { textDialog } from "./text_dialog.js"
import { toast } from "./toast.js"

/**
 * @typedef {import("./types.js").Comfy} Comfy
 * @typedef {import("./rules/paste.js").Box} Box
 * @typedef {{kind: string, chain: keyof typeof CHAINS, widgets: Record<string, any>, reuse: number | null, bypassed: boolean}} Change
 * @typedef {{kind: string, widgets: Record<string, any>, nodes: Change[], notes: string[]}} Pasted  the answer of our route
 * @typedef {{text: string} | {picture: string}} Source
 */

const PASTE = "DrawThings.PasteConfiguration"
const COPY = "DrawThings.CopyConfiguration"
const PNG = "image/png"
const [PASTED, COPIED, WARNED] = ["paste", "copy", "paste-warning"] // what a message is about
const CHAIN_NAMES = /** @type {(keyof typeof CHAINS)[]} */ (Object.keys(CHAINS))
const BRIEFLY = 5000 // milliseconds that a message without a list stays
const TITLE = 30 // pixels of a node's title, which its position does not count
const GROWTH = 1.65 // Nodes 2.0 draws a new node at most that much taller than its size says
const DRAWN = 300 // milliseconds until nodes have found their sizes: Nodes 2.0 measures new ones, a LoRA Stack shows another slot

/** @type {import("./types.js").Concern} */
export const paste = {
    name: "paste",
    commands: (comfy) => [
        { id: PASTE, label: say("paste.command"), icon: "pi pi-file-import", function: () => pasteFromClipboard(comfy) },
        { id: COPY, label: say("copy.command"), icon: "pi pi-file-export", function: () => copyToClipboard(comfy) },
    ],
    keybindings: [
        { commandId: PASTE, combo: { key: "v", ctrl: true, alt: true } },
        { commandId: COPY, combo: { key: "c", ctrl: true, alt: true } },
    ],
    menuCommands: () => [{ path: ["Edit"], commands: [PASTE, COPY] }],
    getNodeMenuItems(node, comfy) {
        if (!generates(node)) return []
        return [
            null,
            { content: say("paste.command"), callback: () => pasteFromClipboard(comfy, node) },
            { content: say("copy.command"), callback: () => copyToClipboard(comfy, node) },
        ]
    },
    setup(comfy) {
        window.addEventListener("paste", (event) => takePaste(comfy, event), { capture: true })
        window.addEventListener("drop", (event) => takeDrop(comfy, event), { capture: true })
    },
}

// -- pasting

/** @param {Comfy} comfy @param {any} [node] */
async function pasteFromClipboard(comfy, node = target(comfy)) {
    if (node === "several") return warn(comfy, say("paste.several"))
    const text = await clipboardText()
    if (text !== null) await pasted(comfy, { text }, node)
}

/** What the clipboard holds, else what the user pastes into a box; null when they do not. */
async function clipboardText() {
    try {
        return await navigator.clipboard.readText()
    } catch {
        const about = { title: say("paste.command"), words: say("paste.by_hand"), take: say("paste.take"), leave: say("paste.cancel") }
        return textDialog(about)
    }
}

/**
 * Ctrl+V on the canvas: a configuration beyond doubt goes into the node at hand. Everything else is ComfyUI's.
 * @param {Comfy} comfy @param {ClipboardEvent} event
 */
function takePaste(comfy, event) {
    const within = event.target instanceof Element && event.target.closest("input, textarea, [contenteditable], dialog")
    const text = event.clipboardData?.getData("text/plain") ?? ""
    if (within || !isConfiguration(text)) return
    event.preventDefault()
    event.stopImmediatePropagation()
    const node = target(comfy)
    if (node === "several") warn(comfy, say("paste.several"))
    else void pasted(comfy, { text }, node)
}

/**
 * Ask what to change, and change it. Nothing is thrown: failures are shown.
 * @param {Comfy} comfy @param {Source} source @param {any} node "none" for a new one
 * @param {[number, number]} [at] where a new node goes
 */
async function pasted(comfy, source, node, at) {
    try {
        await apply(comfy, source, node, await question(comfy, source, node), at)
    } catch (/** @type {any} */ error) {
        toast(comfy.app, PASTED, { severity: "error", summary: say("paste.failed"), detail: sentenceOf(error) })
    }
}

/**
 * The nodes of each chain, nearest first, and what our route is asked.
 * @param {Comfy} comfy @param {Source} source @param {any} node
 * @returns {Promise<{answer: Pasted, chains: Record<string, any[]>}>}
 */
async function question(comfy, source, node) {
    if (node === "none") return { answer: await comfy.ask("paste", { ...source, node: null }), chains: {} }
    const graph = wiring(snapshot(comfy.app))
    const place = placeOf(graph, node)
    const places = Object.fromEntries(CHAIN_NAMES.map((chain) => [chain, chainOf(graph, place.path, chain)]))
    const chains = Object.fromEntries(Object.entries(places).map(([chain, found]) => [chain, found.map((one) => told(graph, one))]))
    const answer = await comfy.ask("paste", { ...source, node: told(graph, place), chains })
    return { answer, chains: Object.fromEntries(Object.entries(places).map(([chain, found]) => [chain, found.map(({ live }) => live)])) }
}

/** @param {ReturnType<typeof wiring>} graph @param {any} node */
function placeOf(graph, node) {
    const place = [...graph.places.values()].find(({ live }) => live === node)
    if (!place) throw new Refusal({ type: "NodeGone", message: say("paste.gone") })
    return place
}

/**
 * All changes at once, so that one step undoes them.
 * @param {Comfy} comfy @param {Source} source @param {any} node @param {{answer: Pasted, chains: Record<string, any[]>}} found @param {[number, number]} [at]
 */
async function apply(comfy, source, node, { answer, chains }, at) {
    const canvas = comfy.app.canvas
    canvas.emitBeforeChange()
    try {
        const place = new Placing(comfy)
        const goal = node === "none" ? await newGenerator(comfy, place, answer.kind, at) : node
        setWidgets(comfy, goal, answer.widgets)
        for (const change of answer.nodes) {
            if (change.reuse !== null) changeTo(comfy, chains[change.chain][change.reuse], change)
        }
        const fresh = answer.nodes.filter(({ reuse }) => reuse === null)
        for (const chain of CHAIN_NAMES) await insert(comfy, place, goal, chain, fresh.filter((change) => change.chain === chain))
        // Else the next run, or copy, would be a step of its own.
        for (const graph of new Set([goal.graph, comfy.app.rootGraph ?? comfy.app.graph])) graph.updateExecutionOrder?.()
        const counted = say("paste.counted", { node: goal.title, added: fresh.length, changed: answer.nodes.length - fresh.length })
        show(comfy, PASTED, say("picture" in source ? "paste.picture" : "paste.done"), counted, answer.notes)
        canvas.setDirty(true, true)
        if (answer.nodes.length) await new Promise((done) => setTimeout(done, DRAWN))
    } finally {
        canvas.emitAfterChange()
    }
}

/** Puts new nodes where nothing is. */
class Placing {
    /** @param {Comfy} comfy */
    constructor(comfy) {
        this.canvas = comfy.app.canvas
        /** Nodes whose sizes are not known yet. @type {Set<any>} */
        this.fresh = new Set()
    }

    /**
     * A new node, which is in no graph yet.
     * @param {string} kind @param {(made: any) => void} [fill] with values, on which its size may depend
     */
    async create(kind, fill) {
        const made = /** @type {any} */ (globalThis).LiteGraph.createNode(kind)
        this.fresh.add(made)
        fill?.(made)
        await null // a LoRA Stack shows its slots only then
        return made
    }

    /**
     * Give a new node its place before it is added: Nodes 2.0 of frontend 1.35 takes no other afterwards.
     * @param {any} graph @param {any} made @param {[number, number]} at its title included
     */
    add(graph, made, [x, y]) {
        made.pos = [x, y + TITLE]
        graph.add(made)
    }

    /**
     * Add new nodes that lead to another, in the order of their links.
     * @param {any} goal @param {any[]} nodes @param {any} [source] the node that leads to the first of them
     */
    addBefore(goal, nodes, source) {
        const taken = goal.graph.nodes.map((/** @type {any} */ node) => this.boxOf(node))
        const places = freePlaces(taken, this.boxOf(goal), nodes.map((made) => this.sizeOf(made)), source && this.boxOf(source))
        nodes.forEach((made, index) => this.add(goal.graph, made, places[index]))
    }

    /** @param {any} node @returns {[number, number]} */
    sizeOf(node) {
        const [, , width, height] = this.boxOf(node)
        return [width, height]
    }

    /** A node with its title, as large as it is drawn. @param {any} node @returns {Box} */
    boxOf(node) {
        const growth = isNodes2() && this.fresh.has(node) ? GROWTH : 1
        const [width, height] = this.drawnSize(node)
        return [node.pos[0], node.pos[1] - TITLE, Math.max(node.size[0], width), Math.max(node.size[1] * growth + TITLE, height)]
    }

    /** Nodes 2.0 draws nodes taller than their size says, with their title. @param {any} node @returns {[number, number]} */
    drawnSize(node) {
        const drawn = isNodes2() && !this.fresh.has(node) && document.querySelector(`[data-node-id="${CSS.escape(String(node.id))}"]`)
        if (!drawn) return [0, 0]
        const { width, height } = drawn.getBoundingClientRect()
        return [width / this.canvas.ds.scale, height / this.canvas.ds.scale]
    }
}

/**
 * New nodes at the end of a chain, the last of them next to the node that generates.
 * @param {Comfy} comfy @param {Placing} place @param {any} goal @param {keyof typeof CHAINS} chain @param {Change[]} changes
 */
async function insert(comfy, place, goal, chain, changes) {
    const nodes = await Promise.all(changes.map((change) => place.create(change.kind, (made) => setWidgets(comfy, made, change.widgets))))
    const into = inputIndex(goal, chain)
    place.addBefore(goal, nodes, sourceOf(goal, into)?.node)
    nodes.forEach((made, index) => {
        const output = made.outputs.findIndex((/** @type {any} */ one) => one.type === CHAINS[chain])
        connectSource(goal, into, made, inputIndex(made, chain))
        made.connect(output, goal, into)
        changeTo(comfy, made, changes[index]) // what adding and connecting it changed, too
    })
}

/** @param {Comfy} comfy @param {any} node @param {Change} change */
function changeTo(comfy, node, { widgets, bypassed }) {
    node.mode = modeOf(bypassed)
    setWidgets(comfy, node, widgets)
}

/** What feeds an input. Inside a subgraph that can be the subgraph's own input, which is no node. @param {any} node @param {number} slot */
function sourceOf(node, slot) {
    if (!node.isInputConnected(slot)) return undefined
    const { graph, id } = node
    const links = graph.links instanceof Map ? [...graph.links.values()] : Object.values(graph.links)
    const link = links.find((one) => one && String(one.target_id) === String(id) && one.target_slot === slot)
    return link && { node: graph.getNodeById(link.origin_id), slot: link.origin_slot }
}

/**
 * Link what feeds one input to another input, too.
 * @param {any} from @param {number} slot @param {any} to @param {number} into
 */
function connectSource(from, slot, to, into) {
    const source = sourceOf(from, slot)
    if (source?.node) source.node.connect(source.slot, to, into)
    else if (source) from.graph.inputNode?.slots[source.slot].connect(to.inputs[into], to)
}

/** A node that generates and a server for it. @param {Comfy} comfy @param {Placing} place @param {string} kind @param {[number, number]} [at] */
async function newGenerator(comfy, place, kind, at) {
    const graph = level(comfy)
    const [left, top, width, height] = comfy.app.canvas.visible_area
    const made = await place.create(kind)
    const size = place.sizeOf(made)
    place.add(graph, made, at ?? [left + (width - size[0]) / 2, top + (height - size[1]) / 2])
    let server = graph.nodes.find((/** @type {any} */ node) => node.comfyClass === LOADER)
    if (!server) place.addBefore(made, [(server = await place.create(LOADER))])
    server.connect(0, made, inputIndex(made, "server"))
    comfy.app.canvas.selectNode?.(made)
    return made
}

/** @param {any} node @param {string} name */
function inputIndex(node, name) {
    return node.inputs.findIndex((/** @type {any} */ one) => one.name === name)
}

/**
 * Values exactly as given: a callback rounds to the widget's step.
 * @param {Comfy} comfy @param {any} node @param {Record<string, any>} values
 */
function setWidgets(comfy, node, values) {
    for (const [name, value] of Object.entries(values)) {
        const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name)
        if (!widget) continue
        const listed = widget.options?.values
        if (Array.isArray(listed) && !listed.includes(value)) {
            listed.push(value) // newer frontends call a file missing that is not listed when it is set
            setOptions(widget, { values: listed })
        }
        widget.value = value
        widget.callback?.(value, comfy.app.canvas, node)
        if (widget.value !== value) widget.value = value
    }
}

// -- copying

/** @param {Comfy} comfy @param {any} [node] */
async function copyToClipboard(comfy, node = target(comfy)) {
    if (typeof node === "string") return warn(comfy, say(`copy.${node}`))
    try {
        const { path } = placeOf(wiring(snapshot(comfy.app)), node)
        const { output } = await comfy.app.graphToPrompt()
        if (!output[path]) return warn(comfy, say("copy.silent", { node: node.title }))
        const { json, notes } = await comfy.ask("copy", { prompt: output, node: path })
        if (await wroteClipboard(json)) show(comfy, COPIED, say("copy.done"), say("copy.hint"), notes)
    } catch (/** @type {any} */ error) {
        toast(comfy.app, COPIED, { severity: "error", summary: say("copy.failed"), detail: sentenceOf(error) })
    }
}

/** Whether the text went to the clipboard, by hand where the browser does not let us. @param {string} text */
async function wroteClipboard(text) {
    try {
        await navigator.clipboard.writeText(text)
        return true
    } catch {
        const about = { title: say("copy.command"), words: say("copy.by_hand"), text, take: say("copy.take"), leave: say("copy.close"), copies: true }
        return (await textDialog(about)) !== null
    }
}

// -- dropping

/** Drops that were looked at and are ComfyUI's. @type {WeakSet<Event>} */
const returned = new WeakSet()

/**
 * A picture of Draw Things dropped on the canvas, or on a node that generates, is pasted. What a picture is only its bytes tell, so every single PNG is
 * held back for that moment, and handed on unless it is ours.
 * @param {Comfy} comfy @param {DragEvent} event
 */
function takeDrop(comfy, event) {
    const files = [...(event.dataTransfer?.files ?? [])]
    const over = nodeUnder(comfy, event)
    if (returned.has(event) || files.length !== 1 || files[0].type !== PNG || !onCanvas(event) || over?.onDragDrop) return
    event.preventDefault()
    event.stopImmediatePropagation()
    void looked(comfy, event, files[0], over)
}

/** @param {Comfy} comfy @param {DragEvent} event @param {File} file @param {any} over */
async function looked(comfy, event, file, over) {
    const { target: element, clientX, clientY } = event
    let ours = false
    try {
        const at = /** @type {[number, number]} */ (comfy.app.canvas.convertEventToCanvasOffset(event).map(Math.round))
        const about = described(new Uint8Array(await file.arrayBuffer()))
        if (about?.settings && !about.workflow) {
            const chosen = over && generates(over) ? over : target(comfy)
            const node = chosen === "several" ? "none" : chosen // where it was dropped, a new one
            const source = { picture: base64(about.bytes) }
            const found = await question(comfy, source, node)
            ours = true
            return await apply(comfy, source, node, found, at)
        }
    } catch (/** @type {any} */ error) {
        if (error.name !== "NoMetadata") {
            toast(comfy.app, PASTED, { severity: "error", summary: say("paste.failed"), detail: sentenceOf(error) })
        }
        if (ours) return
    }
    const data = new DataTransfer()
    data.items.add(file)
    const again = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data, clientX, clientY })
    returned.add(again)
    element?.dispatchEvent(again)
}

/** Whether something was dropped on the graph and not on a dialog or a panel. @param {DragEvent} event */
function onCanvas(event) {
    const element = event.target
    return element instanceof Element && (element instanceof HTMLCanvasElement || element.closest("[data-node-id], .graph-canvas-container, .graph-canvas-panel") !== null)
}

/** @param {Comfy} comfy @param {DragEvent} event @returns {any} */
function nodeUnder(comfy, event) {
    const { app } = comfy
    const graph = level(comfy)
    const drawn = event.target instanceof Element ? event.target.closest("[data-node-id]") : null // Nodes 2.0
    if (drawn) return graph.getNodeById(drawn.getAttribute("data-node-id")) ?? graph.getNodeById(Number(drawn.getAttribute("data-node-id")))
    const [x, y] = app.canvas.convertEventToCanvasOffset(event)
    return graph.getNodeOnPos(x, y)
}

// -- which node, and what is said

/** The graph or subgraph that is open. @param {Comfy} comfy @returns {any} */
function level({ app }) {
    return app.canvas.graph
}

/** @param {Comfy} comfy */
function target(comfy) {
    return meant(selected(comfy.app), level(comfy).nodes)
}

/** @param {Comfy} comfy @param {string} sentence */
function warn({ app }, sentence) {
    toast(app, WARNED, { severity: "warn", summary: say("paste.menu"), detail: sentence, life: BRIEFLY })
}

/**
 * What was done, in place of what was said before of the same. With notes it stays until it is closed.
 * @param {Comfy} comfy @param {string} about @param {string} summary @param {string} done @param {string[]} notes
 */
function show({ app }, about, summary, done, notes) {
    const detail = [done, ...notes.map((note) => `• ${inOwnWords(note)}`)].join("\n")
    toast(app, about, notes.length ? { severity: "info", summary, detail } : { severity: "success", summary, detail, life: BRIEFLY })
}
