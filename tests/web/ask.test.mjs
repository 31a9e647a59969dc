// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { asking, Refusal } from "../../web/ask.js"

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

test("a file goes as its bytes", async () => {
    /** @type {any} */
    let seen
    const file = new Blob([new Uint8Array([1, 2])])
    await ask((_path, options) => { seen = options; return json({}) })("paste?node=DrawThingsGenerate", file)
    assert.equal(seen.headers["Content-Type"], "application/octet-stream")
    assert.equal(seen.body, file)
})

test("an error becomes a Refusal with its sentence and help", async () => {
    const error = { type: "SecretRejected", message: "Save the right one.", help: "secret-rejected" }
    for (const status of [200, 403]) {
        await assert.rejects(ask(() => json({ error }, status))("lists", {}), (/** @type {any} */ thrown) => {
            assert.ok(thrown instanceof Refusal)
            assert.deepEqual([thrown.name, thrown.sentence, thrown.help], ["SecretRejected", "Save the right one.", "secret-rejected"])
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
