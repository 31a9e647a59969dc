// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { english, listed, say, speak } from "../../web/rules/words.js"

test("words without a text are a mistake", () => {
    assert.throws(() => say("lists.nothing"), /lists\.nothing/)
    assert.throws(() => say("nothing"), /nothing/)
})

test("values are put in, and what has none stays", () => {
    speak({ "test.greeting": "{name} has {count} of {unknown}" })
    assert.equal(say("test.greeting", { name: "Studio", count: 0 }), "Studio has 0 of {unknown}")
    speak({})
})

test("names in a row are parted as the language does", () => {
    const names = ["A", "B", "C"]
    assert.equal(listed(names), "A, B, C")
    speak({}, "ja")
    assert.equal(listed(names), "A、B、C")
    speak({})
})

test("every key can be said in English", () => {
    for (const [key, text] of Object.entries(english())) assert.equal(say(key), text)
})
