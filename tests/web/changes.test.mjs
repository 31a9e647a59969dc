// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { selected } from "../../web/changes.js"

const node = { comfyClass: "DrawThingsGenerate" }

test("the selected nodes are asked for without the name that newer frontends warn of", () => {
    const canvas = { selectedItems: new Set([node, { title: "a group" }]), get selected_nodes() { return assert.fail("deprecated") } }
    assert.deepEqual(selected({ canvas }), [node])
})

test("a frontend without selectedItems tells them by id", () => {
    assert.deepEqual(selected({ canvas: { selected_nodes: { 3: node } } }), [node])
    assert.deepEqual(selected({ canvas: {} }), [])
})
