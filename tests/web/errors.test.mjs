// @ts-check
import assert from "node:assert/strict"
import fs from "node:fs"
import test from "node:test"

import { anchor, isSaid, ofRejection, ofRun, once, titleOf } from "../../web/rules/errors.js"
import { blocks, pieces } from "../../web/rules/markdown.js"
import { say } from "../../web/rules/words.js"

const failed = (/** @type {Record<string, any>} */ more = {}) => ({
    node_id: "5:3", node_type: "DrawThingsGenerate", exception_type: "FileNotOnServer", exception_message: "Model 'x' is not on the server: choose another.\n", ...more,
})

test("an error of our nodes is its sentence and the way to its help", () => {
    assert.deepEqual(ofRun(failed()), {
        node: "5:3", nodeType: "DrawThingsGenerate", type: "FileNotOnServer", sentence: "Model 'x' is not on the server: choose another.", help: "file-not-on-server",
    })
})

test("an error that nobody foresaw says its type", () => {
    assert.equal(ofRun(failed({ exception_type: "KeyError", exception_message: "'model'" }))?.sentence, "KeyError: 'model'")
    assert.equal(ofRun(failed({ exception_type: "TensorError", exception_message: "The sound is damaged: try again." }))?.sentence, "The sound is damaged: try again.")
})

test("errors of other nodes are not ours to tell", () => {
    assert.equal(ofRun(failed({ node_type: "KSampler" })), undefined)
    assert.equal(ofRun(undefined), undefined)
})

test("anchors", () => {
    assert.deepEqual(["SecretRejected", "NoImage", "TLSMismatch"].map(anchor), ["secret-rejected", "no-image", "tlsmismatch"])
})

test("a prompt that was not taken is told in words, for our nodes", () => {
    const errors = (/** @type {any[]} */ ...list) => ({ class_type: "DrawThingsGenerate", errors: list })
    const told = ofRejection({
        3: errors(
            { type: "required_input_missing", message: "Required input is missing", details: "server", extra_info: { input_name: "server" } },
            { type: "value_bigger_than_max", message: "Value 999 bigger than max of 150", details: "steps", extra_info: { input_name: "steps" } },
            { type: "custom_validation_failed", message: "Custom validation failed for node", details: "image - The picture is gone: choose another.", extra_info: { input_name: "image" } },
            { type: "value_not_in_list", message: "Value not in list", details: "tls: 'ssl' not in ['auto', 'plain']", extra_info: { input_name: "tls" } },
            { type: "invalid_input_type", message: "Failed to convert an input value to a INT value", details: "seed, x, invalid literal", extra_info: { input_name: "seed" } },
            { type: "exception_during_validation", message: "Exception when validating node", details: "boom" },
            { type: "value_not_in_list", message: "Value not in list", details: `fit: '${"x".repeat(999)}'`, extra_info: { input_name: "fit" } },
        ),
        4: { class_type: "SaveImage", errors: [{ type: "required_input_missing", message: "", details: "images" }] },
    }, say)
    assert.deepEqual(told.map(({ node, sentence }) => [node, sentence]), [
        ["3", "Nothing is connected to server: connect it."],
        ["3", "steps: Value 999 bigger than max of 150."],
        ["3", "The picture is gone: choose another."],
        ["3", "tls: Value not in list ('ssl' not in ['auto', 'plain'])."],
        ["3", "seed: Failed to convert an input value to a INT value (x, invalid literal)."],
        ["3", "Exception when validating node (boom)"],
        ["3", `fit: Value not in list ('${"x".repeat(299)}…).`],
    ])
    assert.deepEqual(ofRejection(null, say), [])
})

test("what a dialog shows is found there, however it is broken into lines", () => {
    assert.equal(isSaid("No server answers: check it.", ["Error", "Prompt failed\n\nNo server\n  answers: check it.\nShow report"]), true)
    assert.equal(isSaid("No server answers: check it.", ["Something else"]), false)
    assert.equal(isSaid("No server answers: check it.", []), false)
})

test("a notice has the node's title only where that node is", () => {
    const problem = /** @type {any} */ (ofRun(failed()))
    const kinds = { DrawThingsGenerate: { title: "Generate" } }
    assert.equal(titleOf(problem, { comfyClass: "DrawThingsGenerate", title: "My own" }, kinds), "My own")
    assert.equal(titleOf(problem, { comfyClass: "SaveImage", title: "Another workflow's" }, kinds), "Generate")
    assert.equal(titleOf(problem, undefined, kinds), "Generate")
    assert.equal(titleOf(problem, undefined), "DrawThingsGenerate")
})

test("the same trouble of several nodes is told once", () => {
    const one = /** @type {any} */ ({ node: "1", nodeType: "A", sentence: "x" })
    assert.deepEqual(once([one, { ...one, node: "2" }, { ...one, sentence: "y" }]).map(({ node, sentence }) => [node, sentence]), [["1", "x"], ["1", "y"]])
})

test("Markdown becomes blocks", () => {
    const text = "# Title\n\nOne\ntwo.\n\n- a\n  more\n- b\n\n1. first\n2. second\n\n| x | y |\n|---|---|\n| `1 \\| 2` | z |\n\n```\n# code\n```\n<!-- gone -->\n### <a id=\"no-image\"></a>No image\nText"
    assert.deepEqual(blocks(text), [
        { kind: "heading", level: 1, id: "title", text: "Title" },
        { kind: "paragraph", text: "One two." },
        { kind: "list", ordered: false, items: ["a more", "b"] },
        { kind: "list", ordered: true, items: ["first", "second"] },
        { kind: "table", head: ["x", "y"], rows: [["`1 | 2`", "z"]] },
        { kind: "code", text: "# code" },
        { kind: "heading", level: 3, id: "no-image", text: "No image" },
        { kind: "paragraph", text: "Text" },
    ])
})

test("Markdown inside a line", () => {
    assert.deepEqual(pieces("a **b** `c*d*` *e* [f](g.md#h) 2 * 3 ![i](j.png)"), [
        { kind: "text", text: "a " }, { kind: "strong", text: "b" }, { kind: "text", text: " " }, { kind: "code", text: "c*d*" }, { kind: "text", text: " " },
        { kind: "em", text: "e" }, { kind: "text", text: " " }, { kind: "link", text: "f", to: "g.md#h" }, { kind: "text", text: " 2 * 3 " }, { kind: "image", text: "i", to: "j.png" },
    ])
})

test("every help page is read whole: no mark of Markdown is left in its text", () => {
    const folder = new URL("../../web/docs/", import.meta.url)
    for (const name of fs.readdirSync(folder).filter((one) => one.endsWith(".md"))) {
        const found = blocks(fs.readFileSync(new URL(name, folder), "utf8"))
        assert.ok(found.some((block) => block.kind === "heading" && block.id === "invalid-input"), name)
        for (const block of found) {
            const texts = block.kind === "list" ? block.items : block.kind === "table" ? [...block.head, ...block.rows.flat()] : [block.text]
            for (const text of texts) {
                const plain = pieces(text).filter((piece) => piece.kind === "text").map((piece) => piece.text).join("")
                assert.doesNotMatch(plain, /\*\*|`|\]\(|<a /, `${name}: ${text}`)
            }
        }
    }
})
