// web/rules/servers.js: forms, tests in words, what goes with a server.

import assert from "node:assert/strict"
import test from "node:test"
import { addressOf, differs, draftOf, found, goesWith, lines, located, markOf, namedBy, nameOf, outlivedCertificate, problems, question, savedAs, saving, unsaved } from "../../web/rules/servers.js"
import { say } from "../../web/rules/words.js"

const FINGERPRINT = Array.from({ length: 32 }, (_, i) => i.toString(16).padStart(2, "0").toUpperCase()).join(":")

const row = (name, more = {}) => ({ name, address: `${name.toLowerCase()}.local:7859`, host: `${name.toLowerCase()}.local`, port: 7859, tls: "auto", ca_file: "", secret: "", ...more })

const SAVED = {
    servers: [row("Studio", { secret: "Studio" }), row("Loft", { secret: "shared" }), row("Attic", { secret: "shared", host: "loft.local", address: "loft.local:7859" })],
    secrets: [{ name: "Studio", allowed: [] }, { name: "shared", allowed: ["loft.local:7859"] }],
    certificates: [{ address: "studio.local:7859", fingerprint: FINGERPRINT, built_in: false }, { address: "loft.local:7859", fingerprint: FINGERPRINT, built_in: true }],
    tls_modes: ["auto", "plain", "system", "CA file", "pinned"],
    default_port: 7859,
    discovered: null,
    discovery_problem: "off",
}

const REPORT = { latency_ms: 3.25, tls: {}, secret: "accepted", model_browser: true, describes_files: true, not_offered: [] }
const COUNTS = { models: 3, loras: 2, controls: 1, textual_inversions: 0, upscalers: 1 }
const GOOD = { address: "a:1", ok: true, report: REPORT, counts: COUNTS, files: 9, problem: null, change: null, certificate: { fingerprint: FINGERPRINT, built_in: false, problem: "", pinned: FINGERPRINT }, ask: null, question: {} }
const words = (outcome) => lines(outcome).map(({ mark, key, values }) => `${mark}: ${say(key, values)}`)

test("a form begins empty, with a saved server, or with what a node names", () => {
    assert.deepEqual(draftOf(SAVED), { name: "", host: "", port: "7859", tls: "auto", ca_file: "", secret: "", typed: "", was: "" })
    assert.equal(draftOf(SAVED, SAVED.servers[0]).was, "Studio")
    assert.equal(draftOf(SAVED, { name: "", host: "a", port: 7, tls: "plain", secret: "unknown" }).secret, "")
    assert.equal(draftOf(SAVED, { host: "a", secret: "shared" }).secret, "shared")
})

test("what is missing in a form is said at its field", () => {
    assert.deepEqual(problems(draftOf(SAVED, SAVED.servers[0]), SAVED), {})
    assert.deepEqual(Object.keys(problems({ ...draftOf(SAVED), port: "0", tls: "CA file" }, SAVED)), ["name", "host", "port", "ca_file"])
    for (const port of ["", "x", "65536", "1.5", "-1", "1e3"]) assert.ok(problems({ ...draftOf(SAVED, SAVED.servers[0]), port }, SAVED).port, port)
    assert.equal(problems({ ...draftOf(SAVED), name: " Loft ", host: "a" }, SAVED).name, "servers.name_taken")
    for (const key of Object.values(problems({ ...draftOf(SAVED), port: "", tls: "CA file" }, SAVED))) assert.ok(say(key))
})

test("what is saved is what the route takes", () => {
    const draft = { ...draftOf(SAVED, SAVED.servers[0]), name: " Den ", host: " den.local ", port: "7860", ca_file: "left over", typed: "hunter2" }
    assert.deepEqual(saving(draft), { name: "Den", host: "den.local", port: 7860, tls: "auto", ca_file: "", secret: "Studio", new_secret: "hunter2", instead_of: "Studio" })
})

test("a good test says everything in words", () => {
    assert.deepEqual(words(GOOD), [
        "good: It answers, in 3.3 ms.",
        "good: TLS, certificate 00:01:02:03:04:05:06:07…",
        "good: It accepts the shared secret.",
        "good: Model browser on. Models: 3, LoRAs: 2, controls: 1, textual inversions: 0, upscalers: 1.",
    ])
    assert.equal(markOf(GOOD), "good")
})

test("what is worth knowing is a note", () => {
    const open = { ...GOOD, certificate: null, report: { ...REPORT, secret: "ignored", model_browser: false, latency_ms: 123.4, not_offered: ["Hours"] } }
    assert.deepEqual(lines(open).map(({ mark, key }) => `${mark} ${key}`), [
        "good servers.answers",
        "note servers.tls_off",
        "note servers.secret_ignored",
        "note servers.browser_off",
        "note servers.not_offered",
    ])
    assert.equal(words(open)[0], "good: It answers, in 123 ms.")
    assert.equal(markOf(open), "note")
    assert.match(words({ ...GOOD, report: { ...REPORT, describes_files: false } }).at(-1), /9 files by name only/)
    for (const secret of ["not_asked", "accepted", "ignored"]) assert.ok(words({ ...GOOD, report: { ...REPORT, secret } }))
})

test("a failed test says its sentence, and the certificate where there is one", () => {
    const failed = { ...GOOD, ok: false, report: null, counts: null, files: null, problem: { type: "SecretRejected", message: "No {braces} matter." } }
    assert.deepEqual(words(failed), ["bad: No {braces} matter.", "good: TLS, certificate 00:01:02:03:04:05:06:07…"])
    assert.equal(markOf(failed), "bad")
    assert.deepEqual(words({ ...failed, certificate: null }), ["bad: No {braces} matter."])
})

test("a certificate is asked about before it is trusted", () => {
    const server = savedAs("Studio")
    const outcome = { ...GOOD, ok: false, report: null, ask: "certificate", question: { fingerprint: FINGERPRINT } }
    const first = question({ ...outcome, certificate: { ...GOOD.certificate, pinned: "" } }, server)
    assert.equal(first.path, "servers/accept")
    assert.deepEqual(first.body, { server, fingerprint: FINGERPRINT })
    assert.match(say(first.key, first.values), /a:1 shows this certificate for the first time/)
    assert.match(say(question({ ...outcome, certificate: { ...GOOD.certificate, pinned: "", built_in: true } }, server).key), /built into Draw Things/)
    assert.match(say(question({ ...outcome, certificate: { ...GOOD.certificate, pinned: "AA" } }, server).key), /has changed/)
    assert.equal(markOf(outcome), "note")
    assert.equal(question(GOOD, server), null)
})

test("a secret is asked about before it goes to a stranger", () => {
    const asked = question({ ...GOOD, ask: "secret", question: { secret: "Studio", host: "evil.example:7859" } }, {})
    assert.deepEqual([asked.path, asked.body], ["secrets/allow", { secret: "Studio", host: "evil.example:7859" }])
    assert.match(say(asked.key, asked.values), /Studio to evil\.example:7859/)
})

test("a certificate that outlived its server can be forgotten", () => {
    const outcome = { ...GOOD, ok: false, address: "studio.local:7859", certificate: null, problem: { type: "TLSMismatch", message: "" } }
    assert.equal(outlivedCertificate(outcome, SAVED), "studio.local:7859")
    assert.equal(outlivedCertificate({ ...outcome, address: "other:1" }, SAVED), null)
    assert.equal(outlivedCertificate({ ...outcome, certificate: GOOD.certificate }, SAVED), null)
    assert.equal(outlivedCertificate(GOOD, SAVED), null)
})

test("only what no other server uses goes with a forgotten one", () => {
    assert.deepEqual(goesWith(SAVED, "Studio"), { secret: "Studio", certificate: "studio.local:7859" })
    assert.deepEqual(goesWith(SAVED, "Loft"), { secret: "", certificate: "" })
    assert.deepEqual(goesWith(SAVED, "Nobody"), { secret: "", certificate: "" })
})

test("the workflow's servers are those that are not saved, each once", () => {
    const named = [
        { host: "127.0.0.1", port: 7859, tls: "auto", saved_server: "none" },
        { host: "127.0.0.1", port: 7859, tls: "plain" },
        { host: "Studio.local.", port: 7859 },
        { host: "Loft", port: 1 },
        { host: "ignored", port: 1, saved_server: "Studio" },
        { host: "", port: 1 },
    ]
    assert.deepEqual(unsaved(SAVED, named), [named[0]])
})

test("a port that was typed into the host counts, however the address is written", () => {
    const at = (/** @type {string} */ host) => located({ host, port: 7859 })
    assert.deepEqual(at("studio.local"), { host: "studio.local", port: 7859 })
    assert.deepEqual(at(" studio.local:7860 "), { host: "studio.local", port: 7860 })
    assert.deepEqual(at("https://studio.local:7860/"), { host: "studio.local", port: 7860 })
    assert.deepEqual(at("[fe80::1%en0]:7860"), { host: "fe80::1%en0", port: 7860 })
    assert.deepEqual(at("[::1]"), { host: "::1", port: 7859 })
    assert.deepEqual(at("fe80::1"), { host: "fe80::1", port: 7859 })
    assert.equal(addressOf({ host: "studio.local:7860", port: 7859 }), "studio.local:7860")
    assert.equal(addressOf({ host: "[::1]:7860", port: 7859 }), "[::1]:7860")
    assert.deepEqual(unsaved(SAVED, [{ host: "studio.local:7859", port: 1 }, { host: "other:7860", port: 1 }, { host: "OTHER.", port: 7860 }]), [{ host: "other:7860", port: 1 }])
    const draft = draftOf(SAVED, { host: "other:7860", port: 7859 })
    assert.deepEqual([draft.host, draft.port], ["other", "7860"])
})

test("a failed Load Server's server is known by what the run gave it", () => {
    const inputs = { host: ["127.1"], port: [7859], tls: ["auto"], secret: ["Studio"], saved_server: ["none"], prompt: ["{}"], compress_uploads: ["auto"] }
    assert.deepEqual(namedBy({ current_inputs: inputs }), { host: "127.1", port: 7859, tls: "auto", secret: "Studio", saved_server: "none" })
    assert.equal(namedBy({ current_inputs: {} }), null)
    assert.equal(namedBy({ current_inputs: [] }), null)
    assert.equal(namedBy({}), null)
})

test("servers on the network are offered until they are saved", () => {
    const one = (name, host) => ({ name, host, port: 7859, tls: "pinned", address: `${host}:7859` })
    const discovered = [one("Studio", "studio.local"), one("New", "new.local")]
    assert.deepEqual(found({ ...SAVED, discovered }).map(({ name }) => name), ["New"])
    assert.deepEqual(found(SAVED), [])
    assert.equal(differs(SAVED, { ...SAVED, discovered }), false)
    assert.equal(differs(SAVED, { ...SAVED, secrets: [] }), true)
})

test("addresses and names", () => {
    assert.equal(addressOf({ host: "::1", port: 7859 }), "[::1]:7859")
    assert.equal(nameOf({ host: "a", port: 1, saved_server: "none" }), "a:1")
    assert.equal(nameOf(savedAs("Studio")), "Studio")
})

test("every TLS mode has words", () => {
    for (const mode of SAVED.tls_modes) assert.ok(say(`servers.tls_${mode.replace(" ", "_").toLowerCase()}`))
})
