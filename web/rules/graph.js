// @ts-check
// Which server a node of the graph leads to, and for which models it works. Graphs come as plain snapshots (see ../snapshot.js).

/**
 * @typedef {{name: string, type: string}} Slot
 * @typedef {{id: string, type: string, mode: number, inputs: Slot[], outputs: Slot[], values: Record<string, any>, live?: any, inside?: Graph}} Node
 *   values: of the widgets by name. inside: what a subgraph node stands for. live: the frontend's own node, handed through.
 * @typedef {{from: string, out: number, to: string, in: number}} Link  inside a subgraph, IN and OUT stand for the subgraph's own slots
 * @typedef {{nodes: Node[], links: Link[]}} Graph
 * @typedef {Node & {path: string, active: boolean}} Place  path: ids from the root, "12:5". active: it runs
 * @typedef {{places: Map<string, Place>, source: Map<string, string>, targets: Map<string, string[]>}} Wiring
 *   A port is a path with a slot: "12:5<0" an input, "12:5>0" an output.
 */

export const IN = "-10"
export const OUT = "-20"
export const LOADER = "DrawThingsLoadServer"
/** The widgets with which it names a server. */
export const NAMING = ["host", "port", "tls", "secret", "ca_file", "saved_server"]
const SERVER = "DT_SERVER"
const OURS = "DT_"
/** LiteGraph's modes of nodes that do not run. */
export const MUTED = 2
export const BYPASSED = 4

/** Whether a node type is of this package. @param {unknown} nodeType */
export const isOurs = (nodeType) => String(nodeType).startsWith("DrawThings")

/**
 * All levels of a graph as one.
 * @param {Graph} graph
 * @returns {Wiring}
 */
export function wiring(graph) {
    /** @type {Wiring} */
    const found = { places: new Map(), source: new Map(), targets: new Map() }
    add(found, graph, "", true)
    return found
}

/** @param {Wiring} found @param {Graph} graph @param {string} outer @param {boolean} active */
function add(found, graph, outer, active) {
    const path = (/** @type {string} */ id) => (outer ? `${outer}:${id}` : id)
    for (const node of graph.nodes) {
        // A copy would read all values: they are looked at where they are needed.
        const place = Object.assign(Object.create(node), { path: path(node.id), active: active && node.mode !== MUTED && node.mode !== BYPASSED })
        found.places.set(place.path, place)
        if (node.inside) add(found, node.inside, place.path, place.active)
    }
    for (const link of graph.links) {
        // Inside, the input of the subgraph node is what links come from.
        const from = link.from === IN ? `${outer}<${link.out}` : `${path(link.from)}>${link.out}`
        const to = link.to === OUT ? `${outer}>${link.in}` : `${path(link.to)}<${link.in}`
        found.source.set(to, from)
        found.targets.set(from, [...(found.targets.get(from) ?? []), to])
    }
}

/**
 * The Load Server nodes that a node leads to: behind its own server input, else behind that of the nodes that it works for. Those that do not
 * run count only where none does.
 * @param {Wiring} graph @param {string} path
 * @returns {Place[]}
 */
export function serversOf(graph, path) {
    const ports = preferred(workersOf(graph, path)).flatMap((worker) => slots(worker.inputs, takesServer).map((slot) => `${worker.path}<${slot}`))
    return preferred(ports.flatMap((port) => loaders(graph, port, new Set())))
}

/**
 * The files of the models that a node works for, as chosen in the nodes that have a server.
 * @param {Wiring} graph @param {string} path
 * @returns {string[]}
 */
export function modelsOf(graph, path) {
    const files = preferred(workersOf(graph, path)).map((worker) => {
        const typed = String(valueOf(graph, worker.path, "model_file") ?? "").trim()
        return typed || String(valueOf(graph, worker.path, "model") ?? "").trim()
    })
    return [...new Set(files.filter(Boolean))]
}

/**
 * The node itself where it takes a server, else the nodes that get what it makes.
 * @param {Wiring} graph @param {string} path
 * @returns {Place[]}
 */
function workersOf(graph, path) {
    const place = graph.places.get(path)
    if (!place) return []
    return place.inputs.some(takesServer) ? [place] : consumers(graph, place, new Set([path]))
}

/** @param {Wiring} graph @param {Place} place @param {Set<string>} seen @returns {Place[]} */
function consumers(graph, place, seen) {
    return slots(place.outputs, ({ type }) => type === "*" || type.startsWith(OURS))
        .flatMap((slot) => leaves(graph, `${place.path}>${slot}`))
        .flatMap((path) => {
            const next = graph.places.get(path)
            if (!next || seen.has(path)) return []
            seen.add(path)
            return next.inputs.some(takesServer) ? [next] : consumers(graph, next, seen)
        })
}

/**
 * Paths of the nodes that a port leads to, in and out of subgraphs.
 * @param {Wiring} graph @param {string} port
 * @returns {string[]}
 */
function leaves(graph, port) {
    return (graph.targets.get(port) ?? []).flatMap((target) => {
        const { path, input } = parsed(target)
        const boundary = !input || graph.places.get(path)?.inside
        return boundary ? leaves(graph, target) : [path]
    })
}

/** @param {Wiring} graph @param {string} port an input @param {Set<string>} seen @returns {Place[]} */
function loaders(graph, port, seen) {
    const path = originOf(graph, port).node
    const place = path === undefined ? undefined : graph.places.get(path)
    if (!place || seen.has(place.path)) return []
    seen.add(place.path)
    if (place.type === LOADER) return [place]
    // A reroute, a switch: whatever hands a server on.
    return slots(place.inputs, ({ type }) => type === "*" || type.split(",").includes(SERVER)).flatMap((slot) => loaders(graph, `${place.path}<${slot}`, seen))
}

/**
 * What an input is linked to: the node, or the input of the outermost subgraph node that nothing is linked to.
 * @param {Wiring} graph @param {string} port
 * @returns {{node?: string, open: string}}
 */
export function originOf(graph, port) {
    const from = graph.source.get(port)
    if (from === undefined) return { open: port }
    const { path, input } = parsed(from)
    const inner = input || graph.places.get(path)?.inside
    return inner ? originOf(graph, from) : { node: path, open: port }
}

/**
 * The value that an input has: of its widget, of the subgraph node that shows the widget, or of the node with one value that is linked to it.
 * undefined: only running the graph tells.
 * @param {Wiring} graph @param {string} path @param {string} name
 */
export function valueOf(graph, path, name) {
    const place = graph.places.get(path)
    if (!place) return undefined
    const port = inputOf(graph, path, name)
    if (!graph.source.has(port)) return place.values[name]
    const { node, open } = originOf(graph, port)
    if (node === undefined) {
        const shown = parsed(open)
        const outer = graph.places.get(shown.path)
        const input = outer?.inputs[shown.slot]
        return outer && input ? outer.values[input.name] : undefined
    }
    const given = graph.places.get(node)
    if (!given || given.inputs.some((input, index) => input.type && graph.source.has(`${node}<${index}`))) return undefined
    const values = Object.entries(given.values).filter(([widget]) => widget !== "control_after_generate")
    return values.length === 1 ? values[0][1] : undefined
}

/**
 * The node that an input gets its value from, behind reroutes and out of subgraphs; undefined where nothing is linked.
 * @param {Wiring} graph @param {string} path @param {string} name
 * @returns {Place | undefined}
 */
export function giverOf(graph, path, name) {
    let port = inputOf(graph, path, name)
    for (let steps = graph.places.size; steps >= 0; steps--) {
        const from = originOf(graph, port).node
        const place = from === undefined ? undefined : graph.places.get(from)
        if (!place || place.outputs.some(({ type }) => type.startsWith(OURS))) return place
        const through = place.inputs.findIndex(({ type }) => type === "*")
        if (through < 0) return place
        port = `${place.path}<${through}`
    }
    return undefined
}

/**
 * What Load Server says, as our routes take it; null where that is not known before the graph runs.
 * @param {Wiring} graph @param {string} path
 * @returns {Record<string, string | number> | null}
 */
export function serverAt(graph, path) {
    const given = NAMING.map((name) => [name, valueOf(graph, path, name)])
    // Older workflows lack the later ones, and a link may be behind any of them.
    const known = given.filter(([name, value]) => value !== undefined || graph.source.has(inputOf(graph, path, name)))
    return known.every(([name, value]) => (name === "port" ? Number.isInteger(value) : typeof value === "string")) ? Object.fromEntries(known) : null
}

/** The port of an input. @param {Wiring} graph @param {string} path @param {string} name */
export function inputOf(graph, path, name) {
    return `${path}<${graph.places.get(path)?.inputs.findIndex((input) => input.name === name)}`
}

/** @param {Slot} slot */
function takesServer({ type }) {
    return type === SERVER
}

/** Those that run, or all where none does; each once. @param {Place[]} places */
function preferred(places) {
    const active = places.filter((place) => place.active)
    return [...new Set(active.length ? active : places)]
}

/** Numbers of the slots that are wanted. @param {Slot[]} all @param {(slot: Slot) => boolean} wanted */
function slots(all, wanted) {
    return all.map((slot, index) => (wanted(slot) ? index : -1)).filter((index) => index >= 0)
}

/** @param {string} port */
function parsed(port) {
    const at = Math.max(port.lastIndexOf("<"), port.lastIndexOf(">"))
    return { path: port.slice(0, at), input: port[at] === "<", slot: Number(port.slice(at + 1)) }
}
