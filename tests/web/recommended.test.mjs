// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { wiring } from "../../web/rules/graph.js"
import { changes, question } from "../../web/rules/recommended.js"
import { example } from "./graphs.mjs"

const answer = { widgets: { steps: 8, cfg: 1, sampler: "Euler A Trailing" }, negative_prompt: "blurry" }

test("only what differs is set, and a negative prompt that is there stays", () => {
    const values = { steps: 20, cfg: 1, sampler: "Euler A Trailing", negative_prompt: "" }
    const free = Object.keys(values)
    assert.deepEqual(changes(values, answer, free), { steps: 8, negative_prompt: "blurry" })
    assert.deepEqual(changes({ ...values, negative_prompt: "dark" }, answer, free), { steps: 8 })
})

test("all servers of a pool are asked: any of them may have the model", () => {
    const graph = wiring(example("server_pool"))
    const loaders = [...graph.places.values()].filter((place) => place.type === "DrawThingsLoadServer")
    const [path] = [...graph.places].find(([, place]) => place.type === "DrawThingsGenerate") ?? assert.fail()
    assert.deepEqual(question(graph, path).servers.map(({ port }) => port), loaders.map(({ values }) => values.port))
    assert.ok(loaders.length > 1)
})

test("what a link feeds is neither asked for nor set", () => {
    const graph = wiring(example("recommended_settings"))
    const [path, { values }] = [...graph.places].find(([, place]) => place.type === "DrawThingsGenerate") ?? assert.fail()
    const { widgets } = question(graph, path)
    assert.deepEqual(Object.keys(values).filter((name) => !widgets.includes(name)), ["negative_prompt", "width", "height"])
    assert.deepEqual(changes({ ...values, width: 1024, steps: 20 }, { widgets: { width: 512, steps: 8 }, negative_prompt: "" }, widgets), { steps: 8 })
})
