// @ts-check
// What is saved on the machine that runs ComfyUI, as far as this page knows it, and who wants to hear of it.

import { differs } from "./rules/servers.js"

/** @typedef {import("./rules/servers.js").Saved} Saved */
/** @typedef {import("./types.js").Ask} Ask */

export class SavedServers {
    /** @param {Ask} ask */
    constructor(ask) {
        this.ask = ask
        /** @type {Saved} */
        this.now = { servers: [], secrets: [], certificates: [], tls_modes: ["auto"], default_port: 7859, discovered: null, discovery_problem: "" }
        /** Whether that was asked for. */
        this.known = false
        /** How many answers there were. */
        this.turn = 0
        /** @type {Set<(changed: boolean) => void>} */
        this.listeners = new Set()
    }

    /** Have `listener` called with every answer, and whether what nodes show of servers may have changed. @param {(changed: boolean) => void} listener */
    listen(listener) {
        this.listeners.add(listener)
        return () => this.listeners.delete(listener)
    }

    /** A server was tested: what nodes show of it may be so no longer, since a secret was changed or the server switched on. */
    tested() {
        for (const listener of this.listeners) listener(true)
    }

    /** Ask what is saved. An answer that comes after a later one's, or after something was saved meanwhile, is out of date. */
    async look() {
        const turn = this.turn
        const answer = await this.ask("servers", {})
        if (turn === this.turn) this.take(answer)
    }

    /** @param {Saved} answer of a route that says what is saved now */
    take(answer) {
        const changed = this.known && differs(this.now, answer)
        this.now = answer
        this.turn += 1
        this.known = true
        for (const listener of this.listeners) listener(changed)
    }
}
