// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { duration, isOf, Lines, nodeAt, outer, reports, words } from "../../web/rules/progress.js"
import { say, speak } from "../../web/rules/words.js"

/** @param {Record<string, any>} more @returns {any} */
const told = (more = {}) => ({ node: "3", prompt_id: "p", workflow: "", stage: "sampling", text: "Step 5 of 20", values: { step: 5, steps: 20 }, run: 1, runs: 1, left: null, ...more })

/** @param {any} event @param {number} after ms */
function said(event, after = 0) {
    const lines = new Lines()
    lines.take(event, 1000)
    return words(/** @type {any} */ (lines.open.get("3")), 1000 + after, say)
}

test("the line says the stage and the time left, which goes on between events", () => {
    assert.equal(said(told()), "Step 5 of 20")
    assert.equal(said(told({ left: 75 })), "Step 5 of 20, about 1 min 15 s left")
    assert.equal(said(told({ left: 75 }), 30_000), "Step 5 of 20, about 45 s left")
    assert.equal(said(told({ left: 75 }), 74_500), "Step 5 of 20")
})

test("a stage without steps says how long it takes, a step does not", () => {
    const waiting = told({ stage: "waiting", text: "Waiting", values: {} })
    assert.equal(said(waiting, 4000), "Waiting")
    assert.equal(said(waiting, 12_000), "Waiting, 12 s")
    assert.equal(said(told(), 12_000), "Step 5 of 20")
})

test("several servers are said side by side, in words of the language", () => {
    const parts = [
        { server: "mac", stage: "sampling", text: "Step 5 of 20", values: { step: 5, steps: 20 }, run: 1, runs: 1 },
        { server: "gpu", stage: "novel", text: "Something new", values: {}, run: 1, runs: 1 },
    ]
    const shared = told({ stage: "shared", text: "in English", values: { done: 3, runs: 16 }, parts })
    speak({ "stages.shared": "{done}/{runs}", "stages.sampling": "Schritt {step} von {steps}", "stages.at_server": "auf {server}: {doing}" }, "de")
    try {
        assert.equal(said(shared), "3/16; auf mac: Schritt 5 von 20; auf gpu: Something new")
        assert.equal(said(shared, 60_000), "3/16; auf mac: Schritt 5 von 20; auf gpu: Something new")
        assert.equal(said({ ...shared, left: 75 }), "3/16; auf mac: Schritt 5 von 20; auf gpu: Something new, about 1 min 15 s left")
    } finally {
        speak({})
    }
})

test("a stage that goes on keeps its beginning", () => {
    const lines = new Lines()
    lines.take(told({ stage: "downloading", values: {} }), 0)
    lines.take(told({ stage: "downloading", values: {} }), 7000)
    assert.equal(lines.open.get("3")?.since, 0)
    lines.take(told({ stage: "waiting", values: {} }), 8000)
    assert.equal(lines.open.get("3")?.since, 8000)
    lines.take(told({ stage: "waiting", values: {}, run: 2 }), 9000)
    assert.equal(lines.open.get("3")?.since, 9000)
})

test("durations are short", () => {
    assert.deepEqual(
        [0.2, 59.4, 60, 599, 600, 3599, 3660].map((seconds) => duration(seconds, say)),
        ["1 s", "59 s", "1 min 0 s", "9 min 59 s", "10 min", "59 min", "1 h 1 min"],
    )
})

test("another language says stages with the same values", () => {
    speak({ "stages.sampling": "{steps} 中 {step}", "stages.run": "{run}/{runs} {doing}" })
    try {
        assert.equal(said(told()), "20 中 5")
        assert.equal(said(told({ run: 2, runs: 3 })), "2/3 20 中 5")
        assert.equal(said(told({ stage: "new", text: "Something new" })), "Something new")
    } finally {
        speak({})
    }
})

test("lines go with their prompt, and what comes after its end is not shown", () => {
    const lines = new Lines()
    lines.take(told(), 0)
    lines.take(told({ node: "5:3", prompt_id: "q" }), 0)
    lines.end("p")
    assert.deepEqual([...lines.open.keys()], ["5:3"])
    lines.take(told(), 1)
    assert.deepEqual([...lines.open.keys()], ["5:3"])
    lines.take(told({ node: "5:3", prompt_id: "q", stage: "" }), 2)
    assert.equal(lines.open.size, 0)
    lines.take(told({ prompt_id: "r" }), 3)
    lines.clear()
    assert.equal(lines.open.size, 0)
})

test("two nodes have their own lines", () => {
    const lines = new Lines()
    lines.take(told({ node: 3 }), 0)
    lines.take(told({ node: "4", text: "Decoding" }), 0)
    assert.deepEqual([...lines.open].map(([id, line]) => [id, line.text]), [["3", "Step 5 of 20"], ["4", "Decoding"]])
})

/** @param {Record<string, any>} nodes @param {boolean} numbers whether ids are numbers, as up to frontend 1.35 */
const graph = (nodes, numbers) => ({ getNodeById: (/** @type {any} */ id) => (typeof id === (numbers ? "number" : "string") ? nodes[id] ?? null : null) })

test("nodes are found by number or text, and inside subgraphs", () => {
    for (const numbers of [true, false]) {
        const inner = { name: "inner" }
        const root = graph({ 5: { subgraph: graph({ 3: { subgraph: graph({ 9: inner }, numbers) } }, numbers) }, 7: "seven" }, numbers)
        assert.equal(nodeAt(root, "7"), "seven")
        assert.equal(nodeAt(root, "5:3:9"), inner)
        assert.equal(nodeAt(root, "5:4"), undefined)
        assert.equal(nodeAt(root, "8:1"), undefined)
    }
})

test("a prompt of another workflow is not shown in this one", () => {
    const none = "00000000-0000-0000-0000-000000000000"
    assert.equal(isOf({ id: "a" }, "a"), true)
    assert.equal(isOf({ id: "a" }, "b"), false)
    for (const unknown of ["", undefined, none]) assert.equal(isOf({ id: "a" }, unknown), true)
    assert.equal(isOf({ id: none }, "b"), true)
})

test("our nodes that know their own id report", () => {
    assert.equal(reports({ name: "DrawThingsGenerate", input: { hidden: { unique_id: "UNIQUE_ID" } } }), true)
    assert.equal(reports({ name: "DrawThingsLoRAStack", input: { required: {} } }), false)
    assert.equal(reports({ name: "KSampler", input: { hidden: { unique_id: "UNIQUE_ID" } } }), false)
    assert.equal(reports(undefined), false)
})

test("a node inside subgraphs is in all of them", () => {
    assert.deepEqual([outer("5"), outer("5:3"), outer("5:3:1")], [[], ["5"], ["5", "5:3"]])
})
