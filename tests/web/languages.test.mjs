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

test("a field of text is named in the language, unless it says something else", async () => {
    const host = comfy("zh")
    await languages.init?.(host)
    const [named, other] = ["negative_prompt", "Run to see"].map((placeholder) => ({ name: "negative_prompt", type: "customtext", element: { placeholder } }))
    languages.nodeCreated?.({ comfyClass: "DrawThingsGenerate", widgets: [named, other] }, host)
    assert.deepEqual([named.element.placeholder, other.element.placeholder], ["负面提示词", "Run to see"])
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

test("of two quick changes the last one counts, whichever answer comes first", async () => {
    let answer = (/** @type {any} */ _) => {}
    const late = new Promise((resolve) => (answer = resolve))
    const slow = languages.init?.(comfy("zh", late))
    await languages.beforeConfigureGraph?.({}, [], comfy("ru"))
    answer({ ok: true, json: async () => WORDS })
    await slow
    assert.equal(say(KEY), ENGLISH)
    assert.equal(inOwnWords("The generation was stopped."), "The generation was stopped.")
})

test("an answer that is not to be had comes too late to take one back that was asked for later", async () => {
    let refuse = (/** @type {any} */ _) => {}
    const first = languages.init?.(comfy("zh", new Promise((_, reject) => (refuse = reject))))
    await languages.beforeConfigureGraph?.({}, [], comfy("ru"))
    let answer = (/** @type {any} */ _) => {}
    const third = languages.beforeConfigureGraph?.({}, [], comfy("zh", new Promise((resolve) => (answer = resolve))))
    refuse(new TypeError("away"))
    await first
    answer({ ok: true, json: async () => WORDS })
    await third
    assert.equal(say(KEY), "没有响应")
})

test("who asks while a language is learned waits for it", async () => {
    let answer = (/** @type {any} */ _) => {}
    const host = comfy("zh", new Promise((resolve) => (answer = resolve)))
    languages.init?.(host)
    const second = languages.beforeConfigureGraph?.({}, [], host)
    answer({ ok: true, json: async () => WORDS })
    await second
    assert.equal(say(KEY), "没有响应")
    assert.deepEqual(host.asked, ["/i18n"])
})

test("what could not be had is asked for again", async () => {
    await languages.init?.(comfy("zh", Promise.reject(new TypeError("away"))))
    assert.equal(say(KEY), ENGLISH)
    await languages.beforeConfigureGraph?.({}, [], comfy("zh", { ok: false }))
    const asFile = globalThis.fetch
    globalThis.fetch = async () => new Response("", { status: 500 })
    await languages.beforeConfigureGraph?.({}, [], comfy("zh"))
    globalThis.fetch = asFile
    assert.equal(say(KEY), "没有响应")
    assert.equal(inOwnWords("The generation was stopped."), "The generation was stopped.")
    await languages.beforeConfigureGraph?.({}, [], comfy("zh"))
    assert.equal(inOwnWords("The generation was stopped."), "生成已停止。")
    const known = comfy("zh")
    await languages.beforeConfigureGraph?.({}, [], known)
    assert.deepEqual(known.asked, [])
})
