// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { base64, described } from "../../web/rules/png.js"

const bytes = (/** @type {string} */ text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0))
/** @param {[string, string][]} chunks @returns {Uint8Array<ArrayBuffer>} */
function png(...chunks) {
    const parts = chunks.map(([type, data]) => {
        const part = new Uint8Array(12 + data.length)
        new DataView(part.buffer).setUint32(0, data.length)
        part.set(bytes(type + data), 4)
        return part
    })
    return Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10, ...parts.flatMap((part) => [...part])])
}
const packet = (/** @type {string} */ text, flag = "\0") => /** @type {[string, string]} */ (["iTXt", `XML:com.adobe.xmp\0${flag}\0\0\0${text}`])
const facts = (/** @type {Uint8Array<ArrayBuffer>} */ file) => {
    const { workflow, settings } = described(file) ?? {}
    return { workflow, settings }
}

test("workflows and comments are found by their chunks", () => {
    assert.deepEqual(facts(png(["IHDR", "x"], ["IDAT", "y"], ["IEND", ""])), { workflow: false, settings: false })
    assert.deepEqual(facts(png(["tEXt", "workflow\0{}"], packet("exif:UserComment"))), { workflow: true, settings: true })
    assert.deepEqual(facts(png(["iTXt", "prompt\0\0\0\0\0{}"])), { workflow: true, settings: false })
    assert.deepEqual(facts(png(packet("dc:title"))), { workflow: false, settings: false })
    assert.deepEqual(facts(png(packet("compressed", "\x01"))), { workflow: false, settings: true })
    assert.deepEqual(facts(png(["IDAT", "y"], ["eXIf", "z"])), { workflow: false, settings: true })
})

test("what is no PNG is nothing, and a file that is cut off is read as far as it goes", () => {
    assert.equal(described(bytes("GIF89a")), null)
    assert.equal(described(new Uint8Array()), null)
    const whole = png(["tEXt", "workflow\0{}"], ["IDAT", "y".repeat(99)])
    assert.deepEqual(facts(whole.slice(0, whole.length - 50)), { workflow: true, settings: false })
    assert.deepEqual(facts(png(["tEXt", "no keyword"])), { workflow: false, settings: false })
})

test("nothing is kept but the comment", () => {
    const comment = [packet("exif:UserComment"), /** @type {[string, string]} */ (["eXIf", "z"])]
    const rest = /** @type {[string, string][]} */ ([["iCCP", "profile"], ["PLTE", "colours"], ["tEXt", "parameters\0much"], ["IDAT", "y".repeat(9)], ["fdAT", "frame"]])
    assert.deepEqual(described(png(["IHDR", "x"], ...rest, ...comment, ["IEND", ""]))?.bytes, png(["IHDR", "x"], ...comment, ["IEND", ""]))
})

test("base64 of any length", () => {
    const long = Uint8Array.from({ length: 100001 }, (_, index) => index % 256)
    assert.deepEqual(new Uint8Array(Buffer.from(base64(long), "base64")), long)
})
