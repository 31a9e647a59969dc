// @ts-check
import assert from "node:assert/strict"
import fs from "node:fs"
import test from "node:test"

import { anchor, isSaid, ofRejection, ofRun, once, titleOf } from "../../web/rules/errors.js"
import { blocks, pieces } from "../../web/rules/markdown.js"
import { say, speak } from "../../web/rules/words.js"

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

/** ComfyUI's answer about one node of ours. @param {any[]} errors */
const rejected = (...errors) => ({ 3: { class_type: "DrawThingsGenerate", errors } })

/** An error of ComfyUI's validation. @param {string} type @param {string} input @param {any} [more] of extra_info */
const invalid = (type, input, more = {}) => ({ type, message: "In English", details: `${input}, in English`, extra_info: { input_name: input, ...more } })

test("a prompt that was not taken is told in our words, for our nodes", () => {
    const told = ofRejection({
        ...rejected(
            invalid("required_input_missing", "server"),
            invalid("value_bigger_than_max", "steps", { input_config: ["INT", { min: 1, max: 150 }], received_value: 999 }),
            invalid("value_smaller_than_min", "steps", { input_config: ["INT", { min: 1, max: 150 }], received_value: 0 }),
            invalid("value_not_in_list", "tls", { input_config: [["auto", "plain"], {}], received_value: "ssl" }),
            invalid("value_not_in_list", "model", { input_config: null, received_value: "x".repeat(999) }),
            invalid("invalid_input_type", "strength", { input_config: ["FLOAT", {}], received_value: null }),
            invalid("invalid_input_type", "seed", { input_config: ["INT", {}], received_value: "x" }),
            invalid("invalid_input_type", "guidance", { input_config: ["FLOAT", {}], received_value: { a: [1] } }),
            invalid("return_type_mismatch", "server", { input_config: ["DT_SERVER", {}], received_type: "IMAGE" }),
            invalid("return_type_mismatch", "sampler", { input_config: [["a", "b"], {}], received_type: "STRING" }),
            invalid("bad_linked_input", "image", { input_config: ["IMAGE", {}], received_value: [1, 2, 3] }),
            invalid("exception_during_inner_validation", "image", { exception_message: "boom\nbang" }),
            { type: "custom_validation_failed", message: "Custom validation failed for node", details: "image - The picture is gone: choose another.", extra_info: { input_name: "image" } },
            { type: "exception_during_validation", message: "Exception when validating node", details: "boom", extra_info: {} },
            { type: "custom_validation_failed", message: "Custom validation failed for node", details: "image", extra_info: { input_name: "image" } },
            { type: "something_new", message: "Something new", details: "fit: 'x'", extra_info: { input_name: "fit" } },
        ),
        4: { class_type: "SaveImage", errors: [{ type: "required_input_missing", message: "", details: "images" }] },
    }, say)
    assert.deepEqual(told.map(({ sentence }) => sentence), [
        "Nothing is connected to server: connect it.",
        "steps is 999, but 150 is the most.",
        "steps is 0, but at least 1 is needed.",
        "tls does not offer 'ssl': choose something from its list.",
        `model does not offer '${"x".repeat(300)}…': choose something from its list.`,
        "strength needs a number, and 'null' is none.",
        "seed needs a whole number, and 'x' is none.",
        `guidance needs a number, and '{"a":[1]}' is none.`,
        "server takes DT_SERVER, and IMAGE is connected: connect another output.",
        "sampler takes COMBO, and STRING is connected: connect another output.",
        "The link to image is damaged: connect it anew.",
        "ComfyUI could not check what is connected to image (boom bang): its log says where.",
        "The picture is gone: choose another.",
        "ComfyUI could not check this node (boom): its log says where.",
        "image: Custom validation failed for node.",
        "fit: Something new ('x').",
    ])
    assert.deepEqual([...new Set(told.map(({ node }) => node))], ["3"])
    assert.deepEqual(ofRejection(null, say), [])
})

for (const language of ["zh", "ja"]) {
    test(`a prompt that was not taken is told in ${language}, with the page's names of inputs`, () => {
        /** @param {string} path */
        const read = (path) => JSON.parse(fs.readFileSync(new URL(`../../${path}`, import.meta.url), "utf8"))
        const { names } = read(`web/sentences/${language}.json`)
        speak(read(`locales/${language}/main.json`).drawThings.words, language)
        try {
            const told = ofRejection(rejected(
                invalid("required_input_missing", "server"),
                invalid("value_not_in_list", "sampler", { received_value: "DDIM" }),
                invalid("value_bigger_than_max", "steps", { input_config: ["INT", { max: 150 }], received_value: 999 }),
                invalid("value_smaller_than_min", "steps", { input_config: ["INT", { min: 1 }], received_value: 0 }),
                invalid("invalid_input_type", "seed", { input_config: ["INT", {}], received_value: "x" }),
                invalid("return_type_mismatch", "image", { input_config: ["IMAGE", {}], received_type: "MASK" }),
            ), say, (_node, _type, input) => names[input])
            const inputs = ["server", "sampler", "steps", "steps", "seed", "image"]
            for (const [place, { sentence }] of told.entries()) {
                assert.ok(sentence.includes(names[inputs[place]]), sentence)
                assert.doesNotMatch(sentence, /[a-z]{2,}/, sentence)
            }
        } finally {
            speak({})
        }
    })
}

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
