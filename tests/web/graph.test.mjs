// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { modelsOf, serverAt, serversOf, valueOf, wiring } from "../../web/rules/graph.js"
import { example } from "./graphs.mjs"

/** @typedef {import("../../web/rules/graph.js").Node} Node */

/** @param {string} id @param {string} type @param {string[]} inputs @param {string[]} outputs @param {Partial<Node>} [more] @returns {Node} */
const node = (id, type, inputs, outputs, more = {}) => ({
    id, type, mode: 0, values: {},
    inputs: inputs.map((one) => { const [name, type = name] = one.split(":"); return { name, type } }),
    outputs: outputs.map((type) => ({ name: type, type })),
    ...more,
})
/** @param {string} host @param {string} id @param {Partial<Node>} [more] */
const load = (id, host, more = {}) =>
    node(id, "DrawThingsLoadServer", ["host:STRING", "port:INT"], ["DT_SERVER"], { values: { host, port: 7859, tls: "auto", secret: "", ca_file: "" }, ...more })
/** @param {string} id @param {string} model @param {Partial<Node>} [more] */
const generate = (id, model, more = {}) =>
    node(id, "DrawThingsGenerate", ["server:DT_SERVER", "model:COMBO", "loras:DT_LORAS", "options:DT_OPTIONS", "model_file:STRING"], ["IMAGE"], { values: { model, model_file: "" }, ...more })
const stack = (/** @type {string} */ id, more = {}) => node(id, "DrawThingsLoRAStack", ["loras:DT_LORAS"], ["DT_LORAS"], more)
const reroute = (/** @type {string} */ id, more = {}) => node(id, "Reroute", ["in:*"], ["*"], more)
/** "1.0>2.1": output 0 of node 1 to input 1 of node 2. @param {string[]} texts */
const links = (...texts) => texts.map((text) => {
    const [from, to] = text.split(">").map((end) => end.split("."))
    return { from: from[0], out: Number(from[1]), to: to[0], in: Number(to[1]) }
})
/** @param {any} graph @param {string} path */
const hosts = (graph, path) => serversOf(wiring(graph), path).map(({ values }) => values.host)

test("a node that takes a server leads to the one that is linked, also through reroutes", () => {
    const graph = { nodes: [load("1", "a"), reroute("2"), reroute("3"), generate("4", "m")], links: links("1.0>2.0", "2.0>3.0", "3.0>4.0") }
    assert.deepEqual(hosts(graph, "4"), ["a"])
})

test("a LoRA stack leads to the server of the nodes that it works for", () => {
    const nodes = [load("1", "a"), load("2", "b"), generate("3", "m1"), generate("4", "m2"), stack("5"), stack("6"), reroute("7")]
    const graph = { nodes, links: links("1.0>3.0", "2.0>4.0", "5.0>6.0", "6.0>3.2", "6.0>7.0", "7.0>4.2") }
    assert.deepEqual(hosts(graph, "5"), ["a", "b"])
    assert.deepEqual(modelsOf(wiring(graph), "5"), ["m1", "m2"])
})

test("without a way to a server there is none", () => {
    const graph = { nodes: [load("1", "a"), generate("2", "m"), stack("3"), reroute("4")], links: links("3.0>4.0") }
    for (const path of ["2", "3", "4", "99"]) assert.deepEqual(hosts(graph, path), [])
})

test("a ring of nodes ends", () => {
    const graph = { nodes: [stack("1"), reroute("2"), reroute("3")], links: links("1.0>2.0", "2.0>1.0", "3.0>3.0") }
    assert.deepEqual(hosts(graph, "1"), [])
})

test("nodes that do not run count where no other does", () => {
    for (const mode of [2, 4]) {
        const nodes = [load("1", "a"), load("2", "b"), generate("3", "m1", { mode }), generate("4", "m2"), stack("5")]
        const graph = { nodes, links: links("1.0>3.0", "2.0>4.0", "5.0>3.2", "5.0>4.2") }
        assert.deepEqual(hosts(graph, "5"), ["b"])
        assert.deepEqual(modelsOf(wiring(graph), "5"), ["m2"])
        nodes[3].mode = mode
        assert.deepEqual(hosts(graph, "5"), ["a", "b"])
        assert.deepEqual(hosts(graph, "3"), ["a"])
    }
})

test("the typed file wins over the list", () => {
    const graph = { nodes: [generate("1", "listed"), stack("2")], links: links("2.0>1.2") }
    graph.nodes[0].values.model_file = " typed.ckpt "
    assert.deepEqual(modelsOf(wiring(graph), "2"), ["typed.ckpt"])
})

/** A Generate in a subgraph, whose server, LoRAs and model come in by its inputs. */
function nested(more = {}) {
    const inside = { nodes: [generate("3", "inner"), stack("4"), reroute("5")], links: links("-10.0>5.0", "5.0>3.0", "4.0>3.2", "-10.1>4.0", "-10.2>3.1") }
    const outer = node("2", "a-subgraph", ["server:DT_SERVER", "loras:DT_LORAS", "model:COMBO"], ["IMAGE"], { inside, values: { model: "shown outside" }, ...more })
    return { nodes: [load("1", "a"), outer, stack("6")], links: links("1.0>2.0", "6.0>2.1") }
}

test("links go into subgraphs", () => {
    const graph = nested()
    for (const path of ["2:3", "2:4", "6"]) assert.deepEqual(hosts(graph, path), ["a"])
    assert.deepEqual(modelsOf(wiring(graph), "6"), ["shown outside"])
})

test("links come out of subgraphs, several levels deep", () => {
    const innermost = { nodes: [load("7", "deep")], links: links("7.0>-20.0") }
    const inner = { nodes: [node("8", "inner", [], ["DT_SERVER"], { inside: innermost })], links: links("8.0>-20.0") }
    const graph = { nodes: [node("9", "outer", [], ["DT_SERVER"], { inside: inner }), generate("1", "m"), stack("2")], links: links("9.0>1.0", "2.0>1.2") }
    assert.deepEqual(hosts(graph, "1"), ["deep"])
    assert.deepEqual(hosts(graph, "2"), ["deep"])
    assert.deepEqual(serversOf(wiring(graph), "1").map(({ path }) => path), ["9:8:7"])
})

test("a subgraph that is muted or bypassed does not run, with all in it", () => {
    const graph = nested({ mode: 4 })
    assert.equal(wiring(graph).places.get("2:3")?.active, false)
    assert.deepEqual(hosts(graph, "6"), ["a"])
})

test("a subgraph that is used twice has two places", () => {
    const { nodes, links: own } = nested()
    const graph = { nodes: [...nodes, { ...nodes[1], id: "12" }, load("11", "b")], links: [...own, ...links("11.0>12.0")] }
    assert.deepEqual(hosts(graph, "2:3"), ["a"])
    assert.deepEqual(hosts(graph, "12:3"), ["b"])
})

test("what Load Server says is known through links where one value is behind them", () => {
    const primitive = node("5", "PrimitiveNode", [], ["STRING"], { values: { value: "linked", control_after_generate: "fixed" } })
    const sum = node("6", "Sum", ["a:INT"], ["INT"], { values: { a: 1 } })
    const graph = wiring({ nodes: [load("1", "own"), load("2", "own"), load("3", "own"), primitive, sum, node("7", "Int", [], ["INT"], { values: { value: 3 } })], links: links("5.0>2.0", "6.0>3.1", "7.0>6.0") })
    assert.deepEqual(serverAt(graph, "1"), { host: "own", port: 7859, tls: "auto", secret: "", ca_file: "" })
    assert.equal(serverAt(graph, "2")?.host, "linked")
    assert.equal(serverAt(graph, "3"), null) // computed
})

test("a value shown on the subgraph's own node is taken from there", () => {
    const inside = { nodes: [load("2", "inner")], links: links("-10.0>2.0") }
    const graph = { nodes: [node("1", "sub", ["host:STRING"], [], { inside, values: { host: "outer" } })], links: links() }
    assert.equal(valueOf(wiring(graph), "1:2", "host"), "outer")
    assert.equal(serverAt(wiring(graph), "1:2")?.host, "outer")
})

test("the example workflows lead where they should", () => {
    for (const name of ["text_to_image", "lora_stack", "sdxl_refiner", "controlnet_hint", "upscale", "video_with_sound"]) {
        const graph = wiring(example(name))
        const [loader] = [...graph.places.values()].filter(({ type }) => type === "DrawThingsLoadServer")
        assert.deepEqual(serverAt(graph, loader.path)?.port, 7859)
        const readers = [...graph.places.values()].filter(({ type }) => /^DrawThings(Generate|LoRAStack|ControlNetHint|RefinerOptions|Upscale|Video)$/.test(type))
        assert.ok(readers.length)
        for (const { path } of readers) assert.deepEqual(serversOf(graph, path).map((place) => place.path), [loader.path], `${name} ${path}`)
    }
})
