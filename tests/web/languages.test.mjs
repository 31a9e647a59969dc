// @ts-check
import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { afterEach, test } from "node:test"

import { languages } from "../../web/languages.js"
import { inOwnWords } from "../../web/rules/sentences.js"
import { say, speak } from "../../web/rules/words.js"

const KEY = "errors.unreachable"
const ENGLISH = say(KEY)
const WORDS = { zh: { drawThings: { words: { [KEY]: "没有响应" }, options: { recommended: "推荐" } } }, ru: { other: {} } }

/** ComfyUI set to a language; `asked` are the paths that were asked for. @param {string} language @param {any} [answer] */
function comfy(language, answer = { ok: true, json: async () => WORDS }) {
    /** @type {string[]} */
    const asked = []
    const app = { extensionManager: { setting: { get: () => language } } }
    return /** @type {any} */ ({ app, api: { fetchApi: async (/** @type {string} */ path) => { asked.push(path); return answer } }, asked })
}

/** What the page fetched beside ComfyUI's own. @type {string[]} */
const fetched = []
globalThis.fetch = async (address) => {
    const name = String(address)
    fetched.push(name.slice(name.lastIndexOf("/web/")))
    return new Response(await readFile(new URL(name)))
}

/** @param {string[]} values */
const combo = (values) => ({ type: "combo", options: /** @type {any} */ ({ values }) })

afterEach(async () => {
    await languages.init?.(comfy("en"))
    speak({})
    fetched.length = 0
})

test("messages and options are in the language that ComfyUI is set to", async () => {
    const host = comfy("zh")
    await languages.init?.(host)
    assert.deepEqual(host.asked, ["/i18n"])
    assert.equal(say(KEY), "没有响应")
    const [choice, files] = [combo(["recommended", "DDIM"]), combo(["a.ckpt"])]
    languages.nodeCreated?.({ comfyClass: "DrawThingsGenerate", widgets: [choice, files, { type: "number" }] }, host)
    assert.equal(choice.options.getOptionLabel("recommended"), "推荐")
    assert.equal(choice.options.getOptionLabel("DDIM"), "DDIM")
    assert.equal(choice.options.getOptionLabel(null), "")
    assert.deepEqual(choice.options.values, ["recommended", "DDIM"])
    assert.equal(files.options.getOptionLabel, undefined)
})

test("other packs' nodes, and labels that are there, are left alone", async () => {
    await languages.init?.(comfy("zh"))
    const [theirs, labelled] = [combo(["recommended"]), combo(["recommended"])]
    const own = labelled.options.getOptionLabel = () => "own"
    languages.nodeCreated?.({ comfyClass: "KSampler", widgets: [theirs] }, comfy("zh"))
    languages.nodeCreated?.({ comfyClass: "DrawThingsGenerate", widgets: [labelled] }, comfy("zh"))
    assert.equal(theirs.options.getOptionLabel, undefined)
    assert.equal(labelled.options.getOptionLabel, own)
})

test("English asks for nothing", async () => {
    const host = comfy("en")
    await languages.init?.(host)
    assert.deepEqual([host.asked, fetched], [[], []])
    assert.equal(say(KEY), ENGLISH)
})

test("the back end's sentences are fetched with a language that we have, once", async () => {
    await languages.init?.(comfy("ru"))
    assert.deepEqual(fetched, [])
    const host = comfy("zh")
    await languages.init?.(host)
    await languages.beforeConfigureGraph?.({}, [], host)
    assert.deepEqual(fetched, ["/web/sentences/zh.json"])
    assert.equal(inOwnWords("The generation was stopped."), "生成已停止。")
    await languages.init?.(comfy("en"))
    assert.equal(inOwnWords("The generation was stopped."), "The generation was stopped.")
})

test("a language that we do not have, and one that cannot be had, is English", async () => {
    for (const host of [comfy("ru"), comfy("zh", { ok: false })]) {
        await languages.init?.(host)
        assert.equal(say(KEY), ENGLISH)
    }
})

test("a language that is changed is learned when ComfyUI loads the workflow again, and asked for once", async () => {
    await languages.init?.(comfy("en"))
    const host = comfy("zh")
    await languages.beforeConfigureGraph?.({}, [], host)
    await languages.beforeConfigureGraph?.({}, [], host)
    assert.equal(say(KEY), "没有响应")
    assert.deepEqual(host.asked, ["/i18n"])
})
