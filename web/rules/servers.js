// @ts-check
// Saved servers: what a form holds and sends, what a test says in which words, what goes with a server that is forgotten.

import { NAMING } from "./graph.js"
import { inOwnWords } from "./sentences.js"

/** @typedef {{name: string, address: string, host: string, port: number, tls: string, ca_file: string, secret: string}} Row  a saved server */
/** @typedef {{name: string, address: string, host: string, port: number, tls: string}} Found  a server that was found on the network */
/**
 * What /drawthings/servers answers. Secrets come as names only.
 * @typedef {object} Saved
 * @property {Row[]} servers
 * @property {{name: string, allowed: string[]}[]} secrets
 * @property {{address: string, fingerprint: string, built_in: boolean}[]} certificates
 * @property {string[]} tls_modes the first is the usual one
 * @property {number} default_port
 * @property {Found[] | null} discovered null: nobody can look
 * @property {string} discovery_problem why
 */
/**
 * A form. secret: name of a saved one. typed: a new secret, "" for none. was: the saved server's name that it is about, "" for a new one.
 * @typedef {{name: string, host: string, port: string, tls: string, ca_file: string, secret: string, typed: string, was: string}} Draft
 */
/** What /drawthings/servers/check answers; see nodes/page/servers.py. @typedef {Record<string, any>} Outcome */
/** One line of a test. key: of the words. @typedef {{mark: "good" | "note" | "bad", key: string, values: Record<string, string | number>}} Line */
/** The server of a Load Server node, as its widgets say. @typedef {Record<string, any>} Named */

export const CA_FILE = "CA file"
const NO_SERVER = "none" // of Load Server's saved_server
const LARGEST_PORT = 65535

/**
 * A form about a saved server, about one that a node names or that was found, or an empty one.
 * @param {Saved} saved @param {Partial<Row>} [row] @returns {Draft}
 */
export function draftOf(saved, row = {}) {
    const { host, port } = located({ host: row.host ?? "", port: row.port ?? saved.default_port })
    const known = saved.servers.some(({ name }) => name === row.name) ? (row.name ?? "") : ""
    return {
        name: row.name ?? "",
        host,
        port: String(port),
        tls: row.tls ?? saved.tls_modes[0],
        ca_file: row.ca_file ?? "",
        secret: saved.secrets.some(({ name }) => name === row.secret) ? (row.secret ?? "") : "",
        typed: "",
        was: known,
    }
}

/**
 * What stands in the way of saving, by field; the rest is for the back end to say.
 * @param {Draft} draft @param {Saved} saved @returns {Record<string, string>} keys of words
 */
export function problems(draft, saved) {
    /** @type {Record<string, string>} */
    const found = {}
    const name = draft.name.trim()
    if (!name) found.name = "servers.name_missing"
    else if (name !== draft.was && saved.servers.some((row) => row.name === name)) found.name = "servers.name_taken"
    if (!draft.host.trim()) found.host = "servers.host_missing"
    const port = Number(draft.port)
    if (!/^\d+$/.test(draft.port.trim()) || port < 1 || port > LARGEST_PORT) found.port = "servers.port_wrong"
    if (draft.tls === CA_FILE && !draft.ca_file.trim()) found.ca_file = "servers.ca_file_missing"
    return found
}

/** The body of servers/save. @param {Draft} draft */
export function saving(draft) {
    return {
        name: draft.name.trim(),
        host: draft.host.trim(),
        port: Number(draft.port),
        tls: draft.tls,
        ca_file: draft.tls === CA_FILE ? draft.ca_file.trim() : "",
        secret: draft.secret,
        new_secret: draft.typed,
        instead_of: draft.was,
    }
}

/** A saved server as Load Server names it. @param {string} name @returns {Named} */
export function savedAs(name) {
    return { host: "", saved_server: name }
}

/**
 * What a test says, in lines; nothing where it waits for the user's decision.
 * @param {Outcome} outcome @returns {Line[]}
 */
export function lines(outcome) {
    /** @type {Line[]} */
    const told = []
    const say = (/** @type {Line["mark"]} */ mark, /** @type {string} */ what, values = {}) => told.push({ mark, key: `servers.${what}`, values })
    const { report, certificate, problem } = outcome
    if (problem) say("bad", "failed", { sentence: inOwnWords(problem.message) })
    if (report) say("good", "answers", { milliseconds: inWords(report.latency_ms) })
    if (certificate?.built_in) say("good", "tls_built_in", { fingerprint: short(certificate.fingerprint) })
    else if (certificate) say(problem && certificate.problem ? "bad" : "good", "tls_on", { fingerprint: short(certificate.fingerprint) })
    else if (report) say("note", "tls_off")
    if (report) say(report.secret === "ignored" ? "note" : "good", `secret_${report.secret}`)
    if (report && !report.model_browser) say("note", "browser_off")
    else if (report && !report.describes_files) say("note", "browser_names", { files: outcome.files })
    else if (report) say(outcome.counts.models ? "good" : "note", "browser_on", outcome.counts)
    if (report?.not_offered.length) say("note", "not_offered", { calls: report.not_offered.join(", ") })
    return told
}

/** One mark for a whole test. @param {Outcome} outcome @returns {Line["mark"]} */
export function markOf(outcome) {
    if (outcome.ask) return "note"
    const marks = lines(outcome).map(({ mark }) => mark)
    return marks.includes("bad") ? "bad" : outcome.report && !outcome.report.model_browser ? "note" : "good"
}

/** @typedef {{key: string, values: Record<string, any>, agree: string, path: string, body: object}} Question */

/**
 * The question that a test waits with: words, and what to send where when the user agrees.
 * @param {Outcome} outcome @param {Named} server
 * @returns {Question | null}
 */
export function question(outcome, server) {
    if (outcome.ask === "certificate") {
        const { fingerprint, built_in, pinned } = outcome.certificate
        return {
            key: pinned ? "servers.certificate_changed" : built_in ? "servers.certificate_built_in" : "servers.certificate_first",
            values: { address: outcome.address, fingerprint, pinned },
            agree: "servers.accept",
            path: "servers/accept",
            body: { server, ...outcome.question },
        }
    }
    if (outcome.ask === "secret") {
        return {
            key: "servers.secret_stranger",
            values: { secret: outcome.question.secret, address: outcome.question.host },
            agree: "servers.allow",
            path: "secrets/allow",
            body: outcome.question,
        }
    }
    return null
}

/**
 * The address whose remembered certificate stands in the way: the server used TLS before and does not now.
 * @param {Outcome} outcome @param {Saved} saved
 */
export function outlivedCertificate(outcome, saved) {
    if (outcome.problem?.type !== "TLSMismatch" || outcome.certificate) return null
    return saved.certificates.some(({ address }) => address === outcome.address) ? outcome.address : null
}

/**
 * What only this server uses, and may be forgotten with it.
 * @param {Saved} saved @param {string} name
 */
export function goesWith(saved, name) {
    const row = saved.servers.find((one) => one.name === name)
    const others = saved.servers.filter((one) => one.name !== name)
    const secret = row?.secret && saved.secrets.some((one) => one.name === row.secret) && !others.some((one) => one.secret === row.secret)
    const certificate = saved.certificates.some(({ address }) => address === row?.address) && !others.some(({ address }) => address === row?.address)
    return { secret: secret ? (row?.secret ?? "") : "", certificate: certificate ? (row?.address ?? "") : "" }
}

/**
 * Those of the graph's servers that are addresses and not saved; each once.
 * @param {Saved} saved @param {Named[]} named @returns {Named[]}
 */
export function unsaved(saved, named) {
    const seen = new Set(saved.servers.map((row) => key(row)))
    return named.filter((server) => {
        const isName = saved.servers.some(({ name }) => name === server.host)
        const isSaved = !!server.saved_server && server.saved_server !== NO_SERVER
        if (isName || isSaved || !server.host || seen.has(key(server))) return false
        seen.add(key(server))
        return true
    })
}

/** Those found on the network that are not saved. @param {Saved} saved */
export function found(saved) {
    return (saved.discovered ?? []).filter((one) => !saved.servers.some((row) => key(row) === key(one)))
}

/** Whether the two differ in what is saved; what was found on the network comes and goes. @param {Saved} before @param {Saved} after */
export function differs(before, after) {
    const kept = (/** @type {Saved} */ { servers, secrets, certificates }) => JSON.stringify([servers, secrets, certificates])
    return kept(before) !== kept(after)
}

/**
 * Where a node's host and port lead: a port that was typed into the host counts, as parse_address of drawthings_core/servers.py has it.
 * @param {Named} server @returns {{host: string, port: number}}
 */
export function located({ host, port }) {
    const rest = host.trim().replace(/^\w+:\/\//, "").replace(/\/+$/, "")
    const [, six, name, typed] = /^(?:\[([^[\]]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(rest) ?? []
    return { host: six ?? name ?? rest, port: typed ? Number(typed) : port }
}

/** @param {Named} server */
function key(server) {
    const { host, port } = located(server)
    return `${host.toLowerCase().replace(/\.$/, "")} ${port}`
}

/**
 * The server that a Load Server named when it failed: what links gave it, only the run knew.
 * @param {any} detail of ComfyUI's event execution_error @returns {Named | null}
 */
export function namedBy({ current_inputs: inputs }) {
    const given = Object.entries(inputs ?? {}).map(([name, values]) => [name, Array.isArray(values) ? values[0] : values])
    const named = Object.fromEntries(given.filter(([name]) => NAMING.includes(name)))
    return typeof named.host === "string" && Number.isInteger(named.port) ? named : null
}

/** The name or address of what a node names. @param {Named} server */
export function nameOf(server) {
    return server.saved_server && server.saved_server !== NO_SERVER ? server.saved_server : addressOf(server)
}

/** host:port, with brackets around an IPv6 address. @param {Named} server */
export function addressOf(server) {
    const { host, port } = located(server)
    return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
}

/** The beginning of a fingerprint. @param {string} fingerprint */
export function short(fingerprint) {
    return fingerprint.length > 24 ? `${fingerprint.slice(0, 23)}…` : fingerprint
}

/** Milliseconds as people say them. @param {number} number */
function inWords(number) {
    return number < 10 ? number.toFixed(1) : String(Math.round(number))
}
