// @ts-check
// Lists of files (models, LoRAs, controls, ...) filled from the server that each node leads to.

import { oneStep, redraw, setOptions, setValue } from "./changes.js"
import { isOurs, modelsOf, serversOf } from "./rules/graph.js"
import { choices, instead, labels, NONE, unknown, wantedBy } from "./rules/lists.js"
import { inOwnName } from "./rules/sentences.js"
import { say } from "./rules/words.js"
import { servers } from "./servers_of_graph.js"

/** @typedef {import("./rules/lists.js").Choice} Choice */
/** @typedef {import("./rules/lists.js").Wanted} Wanted */

/** What the widgets of each node class list. @type {Map<string, Record<string, Wanted>>} */
const wanted = new Map()

/**
 * The list of each widget, and what it shows for its values. Always one and the same array: Nodes 2.0 of frontend 1.35 keeps it.
 * born: what the node came with. from: the servers that it shows files of. open: the value is a new node's, nobody chose it, and no server's files were there.
 * @type {WeakMap<object, {values: string[], labels: Map<string, string>, born: string[], from: string, open: boolean}>}
 */
const shown = new WeakMap()

const ANY_MODEL = ["DrawThingsGenerate", "DrawThingsInpaint"]
const PATIENCE = 3000 // milliseconds that R waits for the servers before it says that it is done

/** @type {import("./types.js").Concern} */
export const lists = {
    name: "lists",

    setup(comfy) {
        // The first frontend that shows labels of options is also the first that asks for a node's menu.
        const labelled = Boolean(comfy.app.collectNodeMenuItems)
        servers.start(comfy)
        servers.listen((known) => fill(comfy, known, labelled))
    },

    beforeRegisterNodeDef(_nodeType, nodeData) {
        const found = wantedBy(nodeData)
        if (Object.keys(found).length) wanted.set(nodeData.name, found)
    },

    nodeCreated(node) {
        const names = Object.keys(wanted.get(node.comfyClass) ?? {})
        for (const name of names) prepare(node, name)
        if (names.length) closeWhenLoaded(node)
        if (isOurs(node.comfyClass)) servers.look()
    },

    afterConfigureGraph() {
        servers.opened()
    },

    async refreshComboInNodes() {
        servers.tell() // ComfyUI has just put its own lists there
        await Promise.race([servers.refresh(), new Promise((done) => setTimeout(done, PATIENCE))])
    },
}

/**
 * A list of its own for this node: all nodes of a class are born with the same one.
 * @param {any} node @param {string} name
 */
function prepare(node, name) {
    const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name)
    if (!Array.isArray(widget?.options?.values)) return
    const own = { values: [...widget.options.values], labels: new Map(), born: [...widget.options.values], from: "", open: true }
    shown.set(widget, own)
    const label = (/** @type {unknown} */ file) => own.labels.get(String(file)) ?? (file === NONE ? inOwnName(NONE) : String(file ?? ""))
    widget.options = {
        ...widget.options,
        values: own.values,
        getOptionLabel: label,
        optionLabel: label, // Nodes 2.0 of frontends from 1.35 hands it to its list
    }
    const callback = widget.callback
    widget.callback = function (/** @type {any[]} */ ...values) {
        const result = callback?.apply(this, values)
        own.open = false
        servers.look() // what fits a model, and what is said of a file, may be another now
        return result
    }
}

/** What was saved with a node was chosen. @param {any} node */
function closeWhenLoaded(node) {
    const original = node.onConfigure
    node.onConfigure = function (/** @type {any[]} */ ...values) {
        for (const widget of node.widgets ?? []) {
            const own = shown.get(widget)
            if (own) own.open = false
        }
        return original?.apply(this, values)
    }
}

/**
 * @param {import("./types.js").Comfy} comfy
 * @param {import("./servers_of_graph.js").ServersOfGraph} known
 * @param {boolean} labelled whether this frontend shows labels of options
 */
function fill(comfy, known, labelled) {
    /** A node inside a subgraph that is used twice stands for both. @type {Map<any, string[]>} */
    const places = new Map()
    for (const [path, place] of known.graph.places) {
        if (wanted.has(place.type) && place.live) places.set(place.live, [...(places.get(place.live) ?? []), path])
    }
    for (const [node, paths] of places) {
        const answers = [...new Set(paths.flatMap((path) => serversOf(known.graph, path).flatMap((place) => known.known(place.path).answer ?? [])))]
        const models = paths.flatMap((path) => modelsOf(known.graph, path))
        let changed = false
        for (const [name, about] of Object.entries(wanted.get(node.comfyClass) ?? {})) {
            const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name)
            const own = shown.get(widget)
            if (!own) continue
            const from = answers.map(({ address }) => address).join()
            let offered = choices(about, widget.value, answers, models, known.alsoFits)
            if (!offered && from && own.from && from !== own.from) offered = unknown(own.born, widget.value)
            if (!offered) continue
            own.from = from
            // An example of a model suits a node that takes any; another node's is one of a kind.
            const file = own.open && (about.kind !== "model" || ANY_MODEL.includes(node.comfyClass)) && instead(offered, widget.value)
            own.open = false
            if (file) {
                oneStep(comfy.app, () => setValue(comfy.app, node, widget, file))
                offered = offered.filter(({ mark }) => mark !== "absent")
            }
            if (show(widget, offered)) changed = true
            if (!labelled && nameMark(widget, offered)) changed = true
        }
        if (changed) redraw(node)
    }
}

/** Whether the list is another now. @param {any} widget @param {Choice[]} offered */
function show(widget, offered) {
    const own = shown.get(widget)
    if (!own) return false
    const files = offered.map(({ file }) => file)
    const words = labels(offered, (mark, text) => say(`lists.${mark}`, { file: text }), inOwnName(NONE))
    if (widget.options.values === own.values && same(own.values, files) && same([...own.labels.values()], [...words.values()])) return false
    own.values.splice(0, own.values.length, ...files)
    own.labels.clear()
    for (const [file, text] of words) own.labels.set(file, text)
    setOptions(widget, { values: own.values })
    return true
}

/**
 * Where options have no labels, what is wrong with the chosen file stands beside the widget's name. Whether it changed.
 * @param {any} widget @param {Choice[]} offered
 */
function nameMark(widget, offered) {
    const mark = offered.find(({ file }) => file === widget.value)?.mark
    const before = named.get(widget)
    const plain = before && widget.label === before.label ? before.plain : widget.label // translated, or the user's
    const label = mark ? say(`lists.${mark}`, { file: plain ?? widget.name }) : plain
    named.set(widget, { plain, label })
    if (widget.label === label) return false
    widget.label = label
    return true
}

/** Labels that this module gave, and those that were there before. @type {WeakMap<object, {plain: string | undefined, label: string | undefined}>} */
const named = new WeakMap()

/** @param {string[]} one @param {string[]} other */
function same(one, other) {
    return one.length === other.length && one.every((value, index) => value === other[index])
}
