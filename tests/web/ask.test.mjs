// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { asking, Refusal, sentenceOf } from "../../web/ask.js"

/** @param {(path: string, options: any) => any} answer */
const ask = (answer) => asking({ fetchApi: async (path, options) => answer(path, options) })
const json = (/** @type {any} */ value, status = 200) => new Response(JSON.stringify(value), { status })

test("asks with JSON by POST and gives the answer", async () => {
    /** @type {any} */
    let seen
    const answer = await ask((path, options) => { seen = { path, ...options }; return json({ servers: [] }) })("lists", { refresh: true })
    assert.deepEqual(answer, { servers: [] })
    assert.equal(seen.path, "/drawthings/lists")
    assert.equal(seen.method, "POST")
    assert.equal(seen.headers["Content-Type"], "application/json")
    assert.equal(seen.body, '{"refresh":true}')
})

test("an error becomes a Refusal with its sentence", async () => {
    const error = { type: "SecretRejected", message: "Save the right one.", help: "secret-rejected" }
    for (const status of [200, 403]) {
        await assert.rejects(ask(() => json({ error }, status))("lists", {}), (/** @type {any} */ thrown) => {
            assert.ok(thrown instanceof Refusal)
            assert.deepEqual([thrown.name, thrown.sentence], ["SecretRejected", "Save the right one."])
            return true
        })
    }
})

test("no JSON, or nobody there, is told in a sentence", async () => {
    await assert.rejects(ask(() => new Response("<html>", { status: 404 }))("lists", {}), /status 404/)
    await assert.rejects(ask(() => { throw new TypeError("Failed to fetch") })("lists", {}), Refusal)
})

test("aborting rejects with the reason and is no Refusal", async () => {
    const controller = new AbortController()
    const asked = ask((_path, { signal }) => { signal.throwIfAborted(); return json({}) })
    controller.abort()
    await assert.rejects(asked("lists", {}, { signal: controller.signal }), { name: "AbortError" })
})

test("what nobody foresaw is no sentence for a user: the console has it", (context) => {
    const logged = context.mock.method(console, "error", () => {})
    assert.equal(sentenceOf(new Refusal({ message: "Save the right one." })), "Save the right one.")
    assert.equal(logged.mock.callCount(), 0)
    const fault = new TypeError("x is undefined")
    assert.doesNotMatch(sentenceOf(fault), /undefined/)
    assert.deepEqual(logged.mock.calls[0].arguments.at(-1), fault)
})
