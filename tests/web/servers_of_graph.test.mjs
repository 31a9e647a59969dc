// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { lists } from "../../web/lists.js"
import { LOADER } from "../../web/rules/graph.js"
import { servers, ServersOfGraph } from "../../web/servers_of_graph.js"

const SERVER = { host: "localhost", port: 7859, tls: "auto", secret: "", ca_file: "", saved_server: "none" }
const LATER = 10_000 // milliseconds

/** @param {number} id @param {string} host */
const loader = (id, host) => ({ id, comfyClass: LOADER, widgets: Object.entries({ ...SERVER, host }).map(([name, value]) => ({ name, value })) })

/**
 * A page with a graph, and what our route was asked.
 * @param {any[]} nodes @param {(server: any, refresh: boolean) => any} [answer]
 */
function page(nodes, answer = () => ({ address: "", state: "unasked", files: {} })) {
    const graph = { nodes, links: /** @type {any[]} */ ([]) }
    /** @type {[string, boolean][]} */
    const asked = []
    const ask = async (/** @type {string} */ _path, /** @type {any} */ body) => {
        asked.push(...body.servers.map((/** @type {any} */ { host }) => [host, body.refresh]))
        return { servers: body.servers.map((/** @type {any} */ one) => answer(one, body.refresh)), also_fits: {} }
    }
    return { asked, graph, comfy: /** @type {any} */ ({ app: { graph }, api: { addEventListener() {} }, ask }) }
}

/** @param {import("node:test").TestContext} context */
async function wait(context) {
    context.mock.timers.tick(LATER)
    for (let turn = 0; turn < 10; turn++) await null
}

test("what the user types is asked by the user's hand, once no more is written", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] })
    const node = loader(1, "localhost")
    const { asked, comfy } = page([node])
    const known = new ServersOfGraph()
    known.start(comfy)
    known.look()
    await wait(context)
    assert.deepEqual(asked.splice(0), [["localhost", false]])
    for (const host of ["studio.exa", "studio.example"]) {
        node.widgets[0].value = host
        known.lookNow()
    }
    await wait(context)
    assert.deepEqual(asked, [["studio.example", true]])
})

test("a workflow that is opened in another's place is not what the user typed", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] })
    const { asked, graph, comfy } = page([loader(1, "localhost")])
    const known = new ServersOfGraph()
    known.start(comfy)
    known.look()
    await wait(context)
    // In the format for programs, of which frontends tell nobody; and one that is looked at before ComfyUI says that it is there.
    for (const [host, told] of /** @type {[string, boolean][]} */ ([["api.example", false], ["soon.example", true]])) {
        asked.length = 0
        graph.nodes = [loader(1, host)]
        known.lookNow()
        if (told) known.opened()
        await wait(context)
        assert.deepEqual(asked, [[host, false]])
    }
})

test("what was typed just before another workflow is opened is nobody's wish any more", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] })
    const node = loader(1, "localhost")
    const { asked, graph, comfy } = page([node])
    const known = new ServersOfGraph()
    known.start(comfy)
    known.look()
    await wait(context)
    asked.length = 0
    node.widgets[0].value = "typed.example"
    known.lookNow()
    graph.nodes = [loader(1, "typed.example")]
    known.opened()
    await wait(context)
    assert.deepEqual(asked, [["typed.example", false]])
})

test("only the user's own wish asks strangers", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] })
    const answer = (/** @type {any} */ { host }) => ({ address: host, state: host === "localhost" ? "listed" : "unasked", files: {} })
    const { asked, comfy } = page([loader(1, "localhost"), loader(2, "strange.example")], answer)
    const known = new ServersOfGraph()
    known.start(comfy)
    known.look()
    await wait(context)
    asked.length = 0
    await known.renew()
    assert.deepEqual(asked.splice(0).sort(), [["localhost", false], ["strange.example", false]])
    await known.refresh()
    assert.deepEqual(asked.sort(), [["localhost", true], ["strange.example", true]])
})

test("where options have no labels, a translated name keeps its translation beside the mark and without it", async () => {
    const answer = () => ({ address: "", state: "listed", files: { model: [{ file: "there.ckpt", name: "There", version: "v1", family: "" }] } })
    const widget = /** @type {any} */ ({ name: "model", label: "模型", value: "gone.ckpt", options: { values: ["none"] } })
    const generate = /** @type {any} */ ({ id: 2, comfyClass: "DrawThingsGenerate", inputs: [{ name: "server", type: "DT_SERVER" }], widgets: [widget] })
    const server = { ...loader(1, "localhost"), outputs: [{ name: "server", type: "DT_SERVER" }] }
    const { graph, comfy } = page([server, generate], answer)
    graph.links = [{ origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0 }]
    lists.beforeRegisterNodeDef?.({}, { name: "DrawThingsGenerate", input: { required: { model: [["none"], { drawthings_files: "model" }] } } }, comfy)
    lists.setup?.(comfy)
    lists.nodeCreated?.(generate, comfy)
    generate.onConfigure() // it comes from a workflow
    await servers.refresh()
    assert.equal(widget.label, "模型 (not on this server)")
    widget.value = "there.ckpt"
    servers.tell()
    assert.equal(widget.label, "模型")
    widget.label = "mine"
    widget.value = "gone.ckpt"
    servers.tell()
    assert.equal(widget.label, "mine (not on this server)")
})
