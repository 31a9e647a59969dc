// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { choices, instead, labels, unknown, versionsOf, wantedBy } from "../../web/rules/lists.js"
import { status } from "../../web/rules/status.js"
import { say } from "../../web/rules/words.js"

const row = (/** @type {string} */ file, version = "v1", name = file.toUpperCase()) => ({ file, name, version, family: version && `Family ${version}` })
const answer = (/** @type {any} */ files, state = "listed") => ({ address: "a:1", state, files })
const LORA = { kind: "LoRA", relation: "LoRA", none: true }
const MODEL = { kind: "model", relation: "", none: false }
const FITS = { LoRA: { kandinsky: ["v1"] }, control: {} }
const files = (/** @type {any} */ offered) => offered.map((/** @type {any} */ one) => one.file)
const marks = (/** @type {any} */ offered) => offered.map((/** @type {any} */ one) => one.mark)

test("which widget lists what is read from the definition", () => {
    const options = { drawthings_files: "LoRA", drawthings_relation: "LoRA", default: "none" }
    const definition = { input: { required: { lora_1: [["none", "a"], options], weight_1: ["FLOAT", { default: 1 }], server: ["DT_SERVER"] }, optional: { model: [["none"], { drawthings_files: "model", default: "x" }], other: ["COMBO", { options: ["none"], ...options }] } } }
    assert.deepEqual(wantedBy(definition), { lora_1: LORA, model: { ...MODEL, none: false }, other: LORA })
    assert.deepEqual(wantedBy({}), {})
})

test("a server of which nothing is known offers what the node came with, and the value", () => {
    assert.deepEqual(files(unknown(["none", "a"], "b")), ["none", "a", "b"])
    assert.deepEqual(files(unknown(["none", "a"], "a")), ["none", "a"])
    assert.deepEqual(files(unknown(["none"], "")), ["none"])
})

test("a new node takes the first file of its server where it lacks the one that the node came with", () => {
    const servers = [answer({ model: [row("b"), row("c")] })]
    const offered = (/** @type {string} */ value) => choices(MODEL, value, servers, [], FITS) ?? []
    assert.equal(instead(offered("a"), "a"), "b")
    assert.equal(instead(offered("c"), "c"), undefined)
    const proxy = choices(MODEL, "a", [answer({ model: [row("b")] }, "named")], [], FITS) ?? []
    assert.equal(instead(proxy, "a"), undefined)
})

test("what is of another family comes last and is marked", () => {
    const servers = [answer({ model: [row("m", "v2")], LoRA: [row("a", "v1"), row("b", "v2"), row("c", "v3"), row("d", "v2")] })]
    const offered = choices(LORA, "none", servers, ["m"], FITS)
    assert.deepEqual(files(offered), ["none", "b", "d", "a", "c"])
    assert.deepEqual(marks(offered), ["", "", "", "foreign", "foreign"])
})

test("another version may fit, by the server's rules", () => {
    const servers = [answer({ model: [row("m", "kandinsky")], LoRA: [row("a", "v1"), row("b", "v2")] })]
    assert.deepEqual(marks(choices(LORA, "none", servers, ["m"], FITS)), ["", "", "foreign"])
})

test("nothing is foreign to a model that is not known, nor a model to another", () => {
    const servers = [answer({ model: [row("m", "v2"), row("n", "v1")], LoRA: [row("a", "v1"), row("b", "")] })]
    assert.deepEqual(marks(choices(LORA, "none", servers, ["unknown"], FITS)), ["", "", ""])
    assert.deepEqual(marks(choices(LORA, "none", servers, ["m"], FITS)), ["", "", "foreign"]) // b is of no version: it fits
    assert.deepEqual(marks(choices(MODEL, "m", servers, ["m"], FITS)), ["", ""])
})

test("a value that the server lacks stays and is marked", () => {
    const servers = [answer({ model: [row("m")] })]
    const offered = choices(MODEL, "gone.ckpt", servers, [], FITS)
    assert.deepEqual(files(offered), ["m", "gone.ckpt"])
    assert.deepEqual(marks(offered), ["", "absent"])
    assert.deepEqual(files(choices(MODEL, "none", servers, [], FITS)), ["m"]) // no model is chosen
    assert.deepEqual(marks(choices(MODEL, "gone.ckpt", [answer({ model: [row("m")] }, "named")], [], FITS)), ["", ""])
})

test("while nothing is known the list stays as it is", () => {
    for (const state of ["failed", "late", "unlisted", "unasked"]) assert.equal(choices(MODEL, "m", [answer({}, state)], [], FITS), null)
    assert.equal(choices(MODEL, "m", [], [], FITS), null)
    assert.equal(choices(LORA, "l", [answer({ model: [row("m")], LoRA: [] }, "late")], [], FITS), null)
})

test("a server without files of a kind offers none of them", () => {
    const offered = choices(LORA, "l", [answer({ model: [row("m")], LoRA: [] })], [], FITS)
    assert.deepEqual([files(offered), marks(offered)], [["none", "l"], ["", "absent"]])
})

test("the files of a node that works for two servers are those of both", () => {
    const servers = [answer({ model: [row("m", "v1")], LoRA: [row("a")] }), answer({ model: [row("n", "v2")], LoRA: [row("a"), row("b", "v2")] })]
    assert.deepEqual(files(choices(LORA, "none", servers, ["m", "n"], FITS)), ["none", "a", "b"])
    assert.deepEqual(versionsOf(["m", "n", "x"], servers), ["v1", "v2"])
})

test("labels are names with families, and file names where two read alike", () => {
    const servers = [answer({ model: [row("a", "v1", "Same"), row("b", "v1", "Same"), row("c", "v2", "Same"), row("d", "", "Plain")] })]
    const words = labels(choices(MODEL, "x.ckpt", servers, [], FITS) ?? [], (mark, text) => say(`lists.${mark}`, { file: text }))
    assert.deepEqual([...words], [
        ["a", "Same · Family v1 · a"],
        ["b", "Same · Family v1 · b"],
        ["c", "Same · Family v2"],
        ["d", "Plain"],
        ["x.ckpt", "x.ckpt (not on this server)"],
    ])
})

test("no file is said in the user's language, but for a file of that name", () => {
    const offered = choices(LORA, "none", [answer({ LoRA: [row("none.ckpt", "", "none")] })], [], FITS) ?? []
    assert.deepEqual([...labels(offered, (_, text) => text, "なし")], [["none", "なし"], ["none.ckpt", "none"]])
})

test("every state of a server has words", () => {
    for (const state of ["listed", "named", "unlisted", "late", "unasked", "failed"]) {
        const { key, values, tone } = status({ state: "known", answer: answer({ model: [row("m")] }, state) })
        assert.ok(say(key, values))
        assert.ok(tone)
    }
    assert.equal(say(...two(status({ state: "known", answer: answer({ model: [row("m")] }) }))), "Connected · 1 model")
    assert.equal(say(...two(status({ state: "known", answer: answer({ model: [row("m"), row("n")] }) }))), "Connected · 2 models")
    assert.equal(status({ state: "asking" }).key, "status.asking")
    assert.equal(status({ state: "open" }).key, "status.open")
    const error = { type: "SecretRejected", message: "Save the right one.", help: "" }
    assert.equal(status({ state: "known", answer: { ...answer({}, "failed"), error } }).sentence, "Save the right one.")
})

/** @param {any} given @returns {[string, any]} */
const two = ({ key, values }) => [key, values]
