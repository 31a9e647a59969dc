// @ts-check
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { afterEach, test } from "node:test"

import { inOwnWords, learnSentences } from "../../web/rules/sentences.js"

const FAULTS = new URL("../../docs/faults.md", import.meta.url)
const MOST_SEARCHES = 200_000 // of a text for words, for one sentence: three times what the worst takes, a few milliseconds

const KNOWN = Object.fromEntries(
    ["zh", "ja"].map((language) => [language, JSON.parse(readFileSync(new URL(`../../web/sentences/${language}.json`, import.meta.url), "utf8"))]),
)

/** @param {string} language */
const learn = (language) => learnSentences(KNOWN[language])

/** Every sentence of the table of faults: what users read, as the tests saw it. */
function faults() {
    const cells = readFileSync(FAULTS, "utf8").split("\n").filter((line) => line.startsWith("| ")).slice(1).map((line) => line.split(" | ")[1].slice(0, -2))
    // What a node does meanwhile is no sentence: stages have keys.
    return cells.map((cell) => cell.replace(/^The generation works\.( Meanwhile the node says: .*)?/, "").trim()).filter(Boolean)
}

afterEach(() => learnSentences())

for (const language of ["zh", "ja"]) {
    test(`every sentence of the table of faults is said in ${language}`, () => {
        const told = faults()
        assert.ok(told.length > 40)
        learn(language)
        for (const sentence of told) {
            const said = inOwnWords(sentence)
            assert.match(said, /[\u3040-\u30ff\u4e00-\u9fff]/, sentence)
            // No English is left but names, and what a server or a library said.
            assert.doesNotMatch(said.replace(/'[^']*'|[（「“][^）」”]*[）」”]|Draw Things|HOST:PORT/g, "·"), /[a-z]{2,} [a-z]{2,}/, sentence)
        }
    })
}

test("without a language, and for what nobody knows, a sentence stays as it is", () => {
    const told = "The generation was stopped."
    assert.equal(inOwnWords(told), told)
    learn("zh")
    assert.equal(inOwnWords(told), "生成已停止。")
    for (const unknown of ["A sentence of somebody else.", "", "The server at a:1 did something new. The generation was stopped.", "a.ckpt: b"]) {
        assert.equal(inOwnWords(unknown), unknown)
    }
    learnSentences()
    assert.equal(inOwnWords(told), told)
})

test("values may be made of templates, and have the names that the nodes show", () => {
    learn("zh")
    assert.equal(inOwnWords("Image 2 is damaged, since the tensor's payload is not an fpzip stream: run it again, and if it comes back, switch response compression off in Draw Things."), "图像 2 已损坏，因为张量的数据不是 fpzip 流：请再运行一次；如果再次发生，请在 Draw Things 中关闭响应压缩。")
    assert.equal(inOwnWords("Batch count is 0, but allowed is a whole number from 1 to 100."), "批次数量的值是 0，但允许的是1 到 100 的整数。")
    assert.equal(inOwnWords("The input 'mask' is str, but needed is text: connect a STRING output."), "输入 '遮罩' 是 str，但需要的是文本：请连接 STRING 输出。")
    assert.equal(inOwnWords("Without effect with FLUX.1: Sharpness, CLIP skip."), "对 FLUX.1 不起作用：锐度、CLIP 跳过层。")
    assert.match(inOwnWords("Textual inversion 'my one.ckpt' is not on the server at a:1: did you mean b.ckpt or c.ckpt? Choose it, or download this one in Draw Things."), /^a:1 的服务器上没有文本反演 'my one\.ckpt'：是否指 b\.ckpt 或 c\.ckpt？请选择它/)
})

test("what somebody wrote is not translated, even when it reads like words of ours", () => {
    learn("zh")
    assert.match(inOwnWords("Model 'The generation was stopped.' is not on the server at a:1: download it in Draw Things or choose another."), /'The generation was stopped\.'/)
    assert.match(inOwnWords("The server at a:1 failed (INTERNAL, saying 'The image {0} $& \"is\" gone. Try again.'): look at its log, or try other settings."), /'The image \{0\} \$& "is" gone\. Try again\.'/)
})

test("lines are said one by one, and rows of sentences without a gap", () => {
    learn("zh")
    assert.equal(inOwnWords(" The generation was stopped.\n\nfoo: bar\nThe sound was left out. The generation was stopped."), " 生成已停止。\n\nfoo: bar\n声音已略去。生成已停止。")
})

test("a server's description keeps the names of its files", () => {
    learn("zh")
    const told = "Draw Things server at h:1\nModel browser: on, 1 model, 0 LoRAs, 2 upscalers.\n\nModels (1):\n  My model: a.ckpt (FLUX.1)\n  Depth map: depth map.ckpt"
    assert.equal(inOwnWords(told), "h:1 的 Draw Things 服务器\n模型浏览：打开，1 个模型、0 个 LoRA、2 个放大模型。\n\n模型 (1)：\n  My model: a.ckpt (FLUX.1)\n  Depth map: depth map.ckpt")
})

test("names of files and models are never translated, though they be words of ours", () => {
    learn("zh")
    const { names } = KNOWN.zh
    for (const word of ["Sharpness", "Model", "Depth", "image", "Steps and more"]) {
        assert.ok(word in names || word === "image" || word === "Steps and more")
        for (const sentence of [
            `The server does not list ${word}.`,
            `${word}, a FLUX.1 model, makes pictures, not videos: choose a video model, or use Generate.`,
            `LoRA ${word} is for FLUX.1, but ${word} is SDXL: choose one made for SDXL.`,
            `Model 'x' is not on the server at a:1: did you mean ${word}? Choose it, or download this one in Draw Things.`,
            `${word} has no trigger words.`,
            `missing  ${word}`,
            `Left out, at weight 0: ${word}.`,
        ]) {
            const said = inOwnWords(sentence)
            assert.notEqual(said, sentence)
            assert.ok(said.includes(word), said)
        }
        for (const line of [`  ${word}`, `  ${word}: ${word} (FLUX.1)`, `  The generation was stopped.`]) assert.equal(inOwnWords(line), line)
    }
    // Beside them, what is ours is in our words.
    assert.equal(inOwnWords("Without effect with Depth: Target blocks."), `对 Depth 不起作用：${names["Target blocks"]}。`)
})

/** How often something looks into a text for words: its work, on every machine the same. @param {() => void} work */
function searches(work) {
    const text = /** @type {any} */ (String.prototype)
    const all = ["indexOf", "includes", "startsWith", "endsWith"].map((name) => ({ name, real: text[name] }))
    let count = 0
    for (const { name, real } of all) {
        text[name] = function (/** @type {any[]} */ ...values) {
            count += 1
            return real.apply(this, values)
        }
    }
    try {
        work()
    } finally {
        for (const { name, real } of all) text[name] = real
    }
    return count
}

test("it takes little work, whatever comes", () => {
    const awkward = [...faults(), "a is b or c and ".repeat(100), ": ".repeat(900), "The server at ".repeat(60), `${"x is on. ".repeat(150)}It was left out.`]
    for (const sentence of awkward) {
        learn("ja") // nothing is remembered from the time before
        const count = searches(() => void inOwnWords(sentence))
        assert.ok(count < MOST_SEARCHES, `${count}: ${sentence.slice(0, 60)}`)
    }
})

test("a server with thousands of files is told of at once", () => {
    learn("ja")
    const files = Array.from({ length: 5000 }, (_, number) => `  Some model ${number} [dev] of it: some_model_${number}_q8p.ckpt (FLUX.1)`)
    const told = ["Draw Things server at h:1", "", "Models (5000):", ...files].join("\n")
    const count = searches(() => void assert.ok(inOwnWords(told).endsWith(`\n${files.join("\n")}`)))
    assert.ok(count < 5000, `${count}`)
})
