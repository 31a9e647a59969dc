// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { extension } from "../../web/extension.js"

const comfy = /** @type {any} */ ({ app: "the app" })

test("hooks of all concerns are called with ComfyUI's values and comfy", () => {
    /** @type {any[]} */
    const calls = []
    const made = extension("Name", [
        { name: "a", nodeCreated: (node, given) => { calls.push(["a", node, given]) } },
        { name: "b" },
        { name: "c", nodeCreated: (node, given) => { calls.push(["c", node, given]) }, setup: (given) => { calls.push(["setup", given]) } },
    ], comfy)
    made.nodeCreated("node", "app")
    made.setup("app")
    assert.deepEqual(calls, [["a", "node", comfy], ["c", "node", comfy], ["setup", comfy]])
    assert.equal(made.name, "Name")
    assert.equal("loadedGraphNode" in made, false)
})

test("a fault is reported once and stops no other concern", async () => {
    /** @type {string[]} */
    const reports = []
    let later = 0
    const made = extension("Name", [
        { name: "a", nodeCreated() { throw new Error("broken") }, async setup() { throw new Error("late") } },
        { name: "b", nodeCreated() { later += 1 } },
    ], comfy, (message) => reports.push(message))
    made.nodeCreated({}, "app")
    made.nodeCreated({}, "app")
    await made.setup("app")
    assert.equal(later, 2)
    assert.deepEqual(reports, ["Name: a.nodeCreated failed", "Name: a.setup failed"])
})

test("lists are joined, given as lists or made with comfy", () => {
    const made = extension("Name", [
        { name: "a", settings: [{ id: 1 }], getNodeMenuItems: () => ["x"] },
        { name: "b", settings: (given) => [{ id: given.app }], getNodeMenuItems: () => { throw new Error("broken") } },
        { name: "c", getNodeMenuItems: (node) => [node, null] },
    ], comfy, () => {})
    assert.deepEqual(made.settings, [{ id: 1 }, { id: "the app" }])
    assert.deepEqual(made.getNodeMenuItems("node"), ["x", "node", null]) // null is ComfyUI's separator
    assert.equal("commands" in made, false)
})

test("every concern begins when the extension is made", () => {
    /** @type {any[]} */
    const begun = []
    extension("Name", [
        { name: "a", begin() { throw new Error("broken") } },
        { name: "b", begin: ({ app }) => { begun.push(app) } },
    ], comfy, () => {})
    assert.deepEqual(begun, [comfy.app])
})

test("only hooks that wait give a promise", async () => {
    let done = false
    const made = extension("Name", [
        { name: "a", nodeCreated() {}, async setup() { await null; done = true } },
    ], comfy)
    assert.equal(made.nodeCreated({}), undefined)
    await made.setup()
    assert.equal(done, true)
})
