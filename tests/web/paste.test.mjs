// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { wiring } from "../../web/rules/graph.js"
import { chainOf, freePlaces, generates, isConfiguration, meant, modeOf, told } from "../../web/rules/paste.js"
import { example } from "./graphs.mjs"

/** @typedef {import("../../web/rules/graph.js").Node} Node */
/** @typedef {import("../../web/rules/paste.js").Box} Box */

/** @param {string} id @param {string} type @param {string[]} inputs @param {string[]} outputs @param {Partial<Node>} [more] @returns {Node} */
const node = (id, type, inputs, outputs, more = {}) => ({
    id, type, mode: 0, values: {},
    inputs: inputs.map((one) => { const [name, type = name] = one.split(":"); return { name, type } }),
    outputs: outputs.map((type) => ({ name: type, type })),
    ...more,
})
const CHAINED = ["options:DT_OPTIONS", "loras:DT_LORAS", "hints:DT_HINTS"]
const generate = (/** @type {string} */ id, more = {}) => node(id, "DrawThingsGenerate", ["server:DT_SERVER", ...CHAINED, "steps:INT"], ["IMAGE"], more)
const options = (/** @type {string} */ id, more = {}) => node(id, "DrawThingsTilingOptions", ["options:DT_OPTIONS"], ["DT_OPTIONS"], more)
/** "1.0>2.1": output 0 of node 1 to input 1 of node 2. @param {string[]} texts */
const links = (...texts) => texts.map((text) => {
    const [from, to] = text.split(">").map((end) => end.split("."))
    return { from: from[0], out: Number(from[1]), to: to[0], in: Number(to[1]) }
})
/** @param {any} graph @param {string} path @param {"options" | "loras" | "hints"} [chain] */
const paths = (graph, path, chain = "options") => chainOf(wiring(graph), path, chain).map((place) => place.path)

test("nodes that generate are told by their inputs", () => {
    const wanted = { inpaint: ["DrawThingsInpaint"], edit_image: ["DrawThingsEdit"], text_to_video: ["DrawThingsVideo"], text_to_image: ["DrawThingsGenerate"], upscale: [] }
    for (const [name, kinds] of Object.entries(wanted)) {
        assert.deepEqual(example(name).nodes.filter(generates).map(({ type }) => type), kinds, name)
    }
    assert.equal(generates({}), false)
})

test("the selected node is meant, else the only one", () => {
    const [one, two, other] = [generate("1"), generate("2"), options("3")]
    assert.equal(meant([two], [one, two, other]), two)
    assert.equal(meant([other], [one, other]), one)
    assert.equal(meant([], [one, two]), "several")
    assert.equal(meant([one, two], [one, two]), "several")
    assert.equal(meant([other], [other]), "none")
})

test("a chain is told from the nearest on, through reroutes, up to what gives options without taking any", () => {
    const nodes = [generate("1"), options("2"), node("3", "Reroute", ["in:*"], ["*"]), options("4", { mode: 4 }), node("5", "Other", ["x:INT"], ["DT_OPTIONS"])]
    const graph = { nodes, links: links("2.0>1.1", "3.0>2.0", "4.0>3.0", "5.0>4.0") }
    assert.deepEqual(paths(graph, "1"), ["2", "4", "5"])
    assert.deepEqual(paths(graph, "1", "loras"), [])
    assert.deepEqual(paths(graph, "9"), [])
})

test("what is behind a muted node does not count, and a ring ends", () => {
    const muted = { nodes: [generate("1"), options("2"), options("3", { mode: 2 }), options("4")], links: links("2.0>1.1", "3.0>2.0", "4.0>3.0") }
    assert.deepEqual(paths(muted, "1"), ["2"])
    const ring = { nodes: [generate("1"), options("2"), options("3")], links: links("2.0>1.1", "3.0>2.0", "2.0>3.0") }
    assert.deepEqual(paths(ring, "1"), ["2", "3"])
})

test("a chain goes on outside of a subgraph", () => {
    const inside = { nodes: [generate("1"), options("2")], links: [...links("2.0>1.1"), { from: "-10", out: 0, to: "2", in: 0 }] }
    const graph = { nodes: [options("7"), node("8", "uuid", ["options:DT_OPTIONS"], ["IMAGE"], { inside })], links: links("7.0>8.0") }
    assert.deepEqual(paths(graph, "8:1"), ["8:2", "7"])
})

test("a node is told with its values, and which inputs are linked", () => {
    const nodes = [generate("1", { mode: 4, values: { steps: 20, model: "m", button: null, list: [1], on: true } }), node("2", "Int", [], ["INT"])]
    const graph = wiring({ nodes, links: links("2.0>1.4") })
    const place = graph.places.get("1")
    assert.ok(place)
    assert.deepEqual(told(graph, place), { kind: "DrawThingsGenerate", widgets: { steps: 20, model: "m", on: true }, linked: ["steps"], bypassed: true })
    assert.deepEqual([modeOf(true), modeOf(false)], [4, 0])
})

test("new nodes overlap nothing", () => {
    /** @type {Box[]} */
    const taken = [[1000, 100, 300, 400], [600, 100, 300, 200]]
    const beside = taken[0]
    for (let count = 0; count < 40; count++) {
        const size = /** @type {[number, number]} */ ([250, 120 + 40 * (count % 5)])
        const [[x, y]] = freePlaces(taken, beside, [size])
        for (const [left, top, width, height] of taken) {
            assert.ok(x + size[0] <= left || left + width <= x || y + size[1] <= top || top + height <= y, `${count}`)
        }
        assert.ok(x < beside[0])
        taken.push([x, y, ...size])
    }
    assert.deepEqual(freePlaces([], [1000, 100, 300, 400], [[250, 100]]), [[690, 100]])
})

/** @param {Box} a @param {Box} b */
const apart = (a, b) => a[0] + a[2] <= b[0] || b[0] + b[2] <= a[0] || a[1] + a[3] <= b[1] || b[1] + b[3] <= a[1]
/** @param {Box[]} boxes */
const allApart = (boxes) => boxes.every((box, index) => boxes.slice(0, index).every((other) => apart(box, other)))
/** @type {[number, number][]} */
const SIZES = [[270, 330], [300, 460], [250, 900], [270, 120], [400, 250]]

test("new nodes of a chain lie from left to right in its order", () => {
    /** @type {Box} */
    const goal = [700, 0, 400, 700]
    for (const others of [[], [[350, 0, 300, 216], [0, 0, 300, 384]], [[350, 0, 300, 2000], [-400, 0, 700, 300]]]) {
        const taken = [goal, .../** @type {Box[]} */ (others)]
        const boxes = freePlaces(taken, goal, SIZES).map((place, index) => /** @type {Box} */ ([...place, ...SIZES[index]]))
        assert.ok(allApart([...taken, ...boxes]))
        for (const [index, box] of boxes.entries()) assert.ok(box[0] + box[2] < (boxes[index + 1] ?? goal)[0], `${index}`)
    }
})

test("new nodes behind one that is there are to the right of the one before or below it", () => {
    /** @type {Box} */
    const goal = [700, 0, 400, 700]
    for (const source of /** @type {Box[]} */ ([[350, 300, 300, 200], [-800, 0, 300, 200], [420, 0, 220, 2000], [200, -600, 300, 200]])) {
        const taken = [goal, source]
        const boxes = freePlaces(taken, goal, SIZES, source).map((place, index) => /** @type {Box} */ ([...place, ...SIZES[index]]))
        assert.ok(allApart([...taken, ...boxes]))
        for (const [index, box] of boxes.entries()) {
            const before = boxes[index - 1] ?? source
            assert.ok(box[0] >= before[0] + before[2] || (box[1] >= before[1] + before[3] && box[0] + box[2] > before[0]), `${source}: ${index}`)
            assert.ok(box[0] + box[2] < goal[0])
        }
    }
})

test("a configuration is known by keys that stand together nowhere else", () => {
    const settings = { guidanceScale: 1, seedMode: 2, sampler: 3, steps: 4 }
    for (const document of [settings, { name: "x", configuration: settings }, { c: "a cat", v2: settings }]) {
        assert.equal(isConfiguration(` ${JSON.stringify(document)}`), true)
    }
    for (const text of ["", "{", "[1]", "{}", '{"steps": 4}', '{"nodes": [], "version": 0.4}', '{"configuration": null}', '{"v2": 5}', "steps: 4"]) {
        assert.equal(isConfiguration(text), false, text)
    }
})
