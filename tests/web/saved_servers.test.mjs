// @ts-check
import assert from "node:assert/strict"
import test from "node:test"

import { SavedServers } from "../../web/saved_servers.js"

const saved = (/** @type {string[]} */ ...names) => /** @type {any} */ ({ servers: names.map((name) => ({ name })), secrets: [], certificates: [], discovered: null })
const names = (/** @type {SavedServers} */ { now }) => now.servers.map(({ name }) => name)

test("an answer that was overtaken does not bring the old list back", async () => {
    /** @type {((answer: any) => void)[]} */
    const waiting = []
    const known = new SavedServers(() => new Promise((resolve) => waiting.push(resolve)))
    const before = known.look()
    known.take(saved("Studio"))
    waiting[0](saved())
    await before
    assert.deepEqual(names(known), ["Studio"])
    const [first, second] = [known.look(), known.look()]
    waiting[2](saved("Studio", "Loft"))
    await second
    waiting[1](saved("Studio"))
    await first
    assert.deepEqual(names(known), ["Studio", "Loft"])
})

test("who listens hears whether what is saved has changed", async () => {
    const answers = [saved(), saved("Studio"), { ...saved("Studio"), discovered: [] }]
    const known = new SavedServers(async () => answers.shift())
    /** @type {boolean[]} */
    const heard = []
    const ignore = known.listen((changed) => heard.push(changed))
    for (const _ of [1, 2, 3]) await known.look()
    assert.deepEqual(heard, [false, true, false])
    known.tested() // which may show that a secret under the same name is another one by now
    assert.deepEqual(heard, [false, true, false, true])
    ignore()
    known.take(saved())
    assert.equal(heard.length, 4)
})
