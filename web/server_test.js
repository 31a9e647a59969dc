// @ts-check
// A test of one server, shown while it runs: what it found, what to change, and the questions that it waits with.

import { sentenceOf } from "./ask.js"
import { button, element } from "./elements.js"
import { inOwnWords } from "./rules/sentences.js"
import { lines, markOf, outlivedCertificate, question } from "./rules/servers.js"
import { say } from "./rules/words.js"

/** @typedef {import("./rules/servers.js").Named} Named */
/** @typedef {import("./rules/servers.js").Outcome} Outcome */
/** @typedef {import("./saved_servers.js").SavedServers} SavedServers */

const MARKS = { good: "✓", note: "!", bad: "✗" }

/** What a screen reader says for a mark is in the sentence; the sign itself is decoration. */
const sign = (/** @type {keyof typeof MARKS} */ mark) => element("span", { class: "mark", "aria-hidden": "true" }, MARKS[mark])

export class ServerTest {
    /**
     * @param {SavedServers} saved
     * @param {Named} server as Load Server's widgets name it
     * @param {string} address to show
     */
    constructor(saved, server, address) {
        this.saved = saved
        this.server = server
        this.address = address
        /** @type {AbortController | undefined} */
        this.running = undefined
        this.element = element("div", { class: "outcome", role: "status", "aria-live": "polite", tabIndex: -1 })
    }

    /** Test it, from the start. */
    async run() {
        this.stop()
        const running = (this.running = new AbortController())
        this.element.replaceChildren(element("p", { class: "quiet" }, say("servers.testing", { address: this.address })))
        try {
            const outcome = await this.saved.ask("servers/check", { server: this.server }, { signal: running.signal })
            if (running.signal.aborted) return
            this.show(outcome)
            this.saved.tested()
        } catch (/** @type {any} */ error) {
            if (!running.signal.aborted) this.failed(error)
        }
    }

    /** Nobody looks any more. */
    stop() {
        this.running?.abort()
    }

    /** @param {Outcome} outcome */
    show(outcome) {
        const asked = question(outcome, this.server)
        const outlived = outlivedCertificate(outcome, this.saved.now)
        this.element.dataset.mark = markOf(outcome)
        this.element.replaceChildren(
            ...[
                !asked && element("ul", {}, ...lines(outcome).map(({ mark, key, values }) => element("li", { class: mark }, sign(mark), element("span", {}, say(key, values))))),
                asked && this.question(asked),
                !asked && outcome.change && changes(outcome.change),
                outlived && element("div", { class: "buttons" }, button(say("servers.forget_outlived"), () => this.then("servers/forget", { certificates: [outlived] }))),
            ].filter(Boolean),
        )
    }

    /** @param {import("./rules/servers.js").Question} asked */
    question({ key, values, agree, path, body }) {
        const { fingerprint, pinned } = values
        const told = [
            [pinned && fingerprint && say("servers.certificate_before"), pinned],
            [fingerprint && (pinned ? say("servers.certificate_now") : "SHA-256"), fingerprint],
        ].filter(([, value]) => value)
        const yes = button(say(agree), () => this.then(path, body), { primary: true })
        return element(
            "div",
            { class: "question" },
            element("p", {}, say(key, values)),
            told.length > 0 && element("dl", {}, ...told.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, element("code", {}, value))])),
            element("div", { class: "buttons" }, yes),
        )
    }

    /** Do what the user agreed to, and go on. @param {string} path @param {object} body */
    async then(path, body) {
        this.element.focus() // the button that was pressed goes away
        try {
            this.saved.take(await this.saved.ask(path, body))
        } catch (error) {
            return this.failed(error)
        }
        await this.run()
    }

    /** @param {any} error */
    failed(error) {
        this.element.dataset.mark = "bad"
        this.element.replaceChildren(element("ul", {}, element("li", { class: "bad" }, sign("bad"), element("span", {}, sentenceOf(error)))))
    }
}

/** @param {{app: string, command: string}} change */
function changes({ app, command }) {
    return element(
        "dl",
        {},
        element("dt", {}, say("servers.in_app")),
        element("dd", {}, inOwnWords(app)),
        element("dt", {}, say("servers.on_command_line")),
        element("dd", {}, element("code", {}, inOwnWords(command))),
    )
}
