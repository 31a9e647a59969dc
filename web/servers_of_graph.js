// @ts-check
// The servers of the graph that is open, and what they have: looked at after every change, asked in one request, told to whom it concerns.

import { sentenceOf } from "./ask.js"
import { LOADER, serverAt, wiring } from "./rules/graph.js"
import { snapshot } from "./snapshot.js"

/** @typedef {import("./types.js").Comfy} Comfy */
/** @typedef {import("./rules/lists.js").Answer} Answer */
/** @typedef {import("./rules/graph.js").Wiring} Wiring */

const SOON = 50 // milliseconds
const TYPING = 700
const AGAIN = 3000

/** What is known of one Load Server. @typedef {{state: "asking" | "open" | "known", answer?: Answer}} Known  open: only running it tells the address */

export class ServersOfGraph {
    constructor() {
        /** @type {Comfy | undefined} */
        this.comfy = undefined
        /** Answers by what Load Server says. @type {Map<string, Answer>} */
        this.answers = new Map()
        /** @type {Record<string, Record<string, string[]>>} */
        this.alsoFits = {}
        /** What each Load Server said when it was last looked at, by path, and the frontend's own node. @type {Map<string, {key: string, live: unknown}>} */
        this.said = new Map()
        /** @type {Set<string>} */
        this.asking = new Set()
        /** @type {((servers: ServersOfGraph) => void)[]} */
        this.listeners = []
        /** @type {Wiring} */
        this.graph = { places: new Map(), source: new Map(), targets: new Map() }
        /** What was typed and is not asked yet. @type {Set<string>} */
        this.typed = new Set()
        this.again = false
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.typing = undefined
    }

    /** @param {Comfy} comfy */
    start(comfy) {
        this.comfy = comfy
        comfy.api.addEventListener("graphChanged", () => this.look())
        // Whatever ran, a server that did not answer before may do so now.
        comfy.api.addEventListener("execution_success", () => this.look({ again: true }))
    }

    /** Have `listener` called after every look and every answer. @param {(servers: ServersOfGraph) => void} listener */
    listen(listener) {
        this.listeners.push(listener)
    }

    /** Another graph is there, and nobody waits any more for what was typed in the one before. */
    opened() {
        clearTimeout(this.typing)
        this.typed.clear()
        this.look()
    }

    /**
     * Look at the graph in a moment; several wishes are one look. again: ask those anew that did not answer.
     * @param {{again?: boolean}} [how]
     */
    look({ again = false } = {}) {
        this.again ||= again
        clearTimeout(this.timer)
        this.timer = setTimeout(() => this.lookNow(), SOON)
    }

    lookNow() {
        if (!this.comfy) return
        const again = this.again
        this.again = false
        this.graph = wiring(snapshot(this.comfy.app))
        /** @type {string[]} */
        const missing = []
        const before = this.said
        this.said = new Map()
        for (const [path, place] of this.graph.places) {
            if (place.type !== LOADER) continue
            const server = serverAt(this.graph, path)
            if (!server) continue
            const key = JSON.stringify(server)
            this.said.set(path, { key, live: place.live })
            const old = before.get(path)
            const state = this.answers.get(key)?.state
            // What another node in its place says was not typed by the user: a workflow was opened, or an undo made all nodes anew.
            if (old && old.live === place.live && old.key !== key) this.wait(key)
            else if (this.typed.has(key)) continue
            else if (!state || (again && (state === "failed" || state === "unasked"))) missing.push(key)
        }
        void this.ask(missing, false)
        this.tell()
    }

    /** Ask a server that the user writes, once no more is written. @param {string} key */
    wait(key) {
        this.typed.add(key)
        clearTimeout(this.typing)
        this.typing = setTimeout(() => {
            const there = this.keys()
            const typed = [...this.typed].filter((one) => there.includes(one))
            this.typed.clear()
            void this.ask(typed, true)
        }, TYPING)
    }

    /** Ask the servers of the graph again, since what is saved of them changed. */
    async renew() {
        this.lookNow()
        await this.ask(this.keys(), false)
    }

    /** Ask all servers of the graph anew: the user wishes it. */
    async refresh() {
        this.lookNow()
        await this.ask(this.keys(), true)
    }

    /**
     * @param {string[]} keys
     * @param {boolean} refresh by the user's hand
     */
    async ask(keys, refresh) {
        const wanted = [...new Set(keys)].filter((key) => !this.asking.has(key))
        if (!wanted.length || !this.comfy) return
        for (const key of wanted) this.asking.add(key)
        this.tell()
        /** @type {Answer[]} */
        let answers
        try {
            const told = await this.comfy.ask("lists", { servers: wanted.map((key) => JSON.parse(key)), refresh })
            answers = told.servers
            this.alsoFits = told.also_fits
        } catch (/** @type {any} */ error) {
            const told = { type: error.name, message: sentenceOf(error) }
            answers = wanted.map((key) => ({ address: "", files: this.answers.get(key)?.files ?? {}, state: "failed", error: told }))
        }
        wanted.forEach((key, index) => {
            this.asking.delete(key)
            this.answers.set(key, answers[index])
        })
        const late = wanted.filter((_, index) => answers[index].state === "late")
        if (late.length) setTimeout(() => this.ask(late.filter((key) => this.keys().includes(key)), false), AGAIN)
        this.tell()
    }

    /** What the Load Servers of the graph say. */
    keys() {
        return [...this.said.values()].map(({ key }) => key)
    }

    tell() {
        for (const listener of this.listeners) listener(this)
    }

    /**
     * @param {string} path of a Load Server
     * @returns {Known}
     */
    known(path) {
        const key = this.said.get(path)?.key
        if (key === undefined) return { state: "open" }
        return { state: this.asking.has(key) ? "asking" : "known", answer: this.answers.get(key) }
    }
}

/** The one of this page. */
export const servers = new ServersOfGraph()
