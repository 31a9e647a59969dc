// @ts-check
// Dialogs: adding and editing a server, testing one, forgetting.

import { sentenceOf } from "./ask.js"
import { openDialog } from "./dialog.js"
import { button, element } from "./elements.js"
import { CA_FILE, draftOf, goesWith, nameOf, problems, savedAs, saving } from "./rules/servers.js"
import { say } from "./rules/words.js"
import { ServerTest } from "./server_test.js"

/** @typedef {import("./rules/servers.js").Draft} Draft */
/** @typedef {import("./rules/servers.js").Named} Named */
/** @typedef {import("./rules/servers.js").Row} Row */
/** @typedef {import("./saved_servers.js").SavedServers} SavedServers */

const NEW = "\n" // of the list of secrets; no secret has this name
let count = 0

/**
 * Add a server, or edit a saved one.
 * @param {SavedServers} saved
 * @param {Partial<Row>} [row] what the form begins with
 */
export function editServer(saved, row) {
    const form = new Form(saved, draftOf(saved.now, row))
    const title = form.draft.was ? say("servers.edit_title", { name: form.draft.was }) : say("servers.add_title")
    const dialog = openDialog({ title, closed: () => form.test?.stop() }, (close) => [form.element, form.outcome, form.buttons(close)])
    form.first.focus()
    return dialog
}

/** @param {SavedServers} saved @param {Named} server @param {string} [address] */
export function testServer(saved, server, address = nameOf(server)) {
    const test = new ServerTest(saved, server, address)
    const again = button(say("servers.test"), () => test.run())
    openDialog({ title: say("servers.test_title", { address }), closed: () => test.stop() }, (close) => [
        test.element,
        element("div", { class: "buttons end" }, again, button(say("servers.close"), close, { primary: true })),
    ])
    void test.run()
}

/**
 * Ask before something is forgotten, and forget it.
 * @param {SavedServers} saved @param {"servers" | "secrets" | "certificates"} kind @param {string} name
 */
export function forget(saved, kind, name) {
    const words = { servers: "servers.forget_words", secrets: "servers.forget_this_secret", certificates: "servers.forget_this_certificate" }[kind]
    const more = kind === "servers" ? goesWith(saved.now, name) : { secret: "", certificate: "" }
    const secret = element("input", { type: "checkbox", checked: true })
    const certificate = element("input", { type: "checkbox", checked: true })
    const problem = element("p", { class: "problem", role: "alert" })
    openDialog({ title: say("servers.forget_title", { name }) }, (close) => [
        element("p", {}, say(words, { name, address: name })),
        ...(more.secret ? [element("label", { class: "check" }, secret, say("servers.forget_secret", { name: more.secret }))] : []),
        ...(more.certificate ? [element("label", { class: "check" }, certificate, say("servers.forget_certificate", { address: more.certificate }))] : []),
        problem,
        element(
            "div",
            { class: "buttons end" },
            button(say("servers.cancel"), close),
            button(
                say("servers.forget"),
                async () => {
                    const body = {
                        [kind]: [name],
                        ...(more.secret && secret.checked ? { secrets: [more.secret] } : {}),
                        ...(more.certificate && certificate.checked ? { certificates: [more.certificate] } : {}),
                    }
                    try {
                        saved.take(await saved.ask("servers/forget", body))
                        close()
                    } catch (/** @type {any} */ error) {
                        problem.textContent = sentenceOf(error)
                    }
                },
                { primary: true },
            ),
        ),
    ])
}

/** The fields of one server. */
class Form {
    /** @param {SavedServers} saved @param {Draft} draft */
    constructor(saved, draft) {
        this.saved = saved
        this.draft = draft
        /** @type {ServerTest | undefined} */
        this.test = undefined
        this.outcome = element("div")
        this.element = element("div", { class: "fields" })
        /** The problem under each field. @type {Record<string, HTMLElement>} */
        this.problems = {}
        this.name = this.text("name", { placeholder: say("servers.name_example"), maxLength: 100 })
        this.host = this.text("host", { placeholder: say("servers.host_example"), spellcheck: false })
        this.port = this.text("port", { inputMode: "numeric" })
        this.tls = this.select("tls", saved.now.tls_modes.map((mode) => [mode, say(`servers.tls_${mode.replace(" ", "_").toLowerCase()}`)]))
        this.ca_file = this.text("ca_file", { placeholder: say("servers.ca_file_example"), spellcheck: false })
        this.secret = this.select("secret", [])
        this.typed = this.text("typed", { type: "password", autocomplete: "new-password" }, "secret_typed")
        this.element.lastChild.append(element("p", { class: "quiet" }, say("servers.secret_note")))
        this.tls.addEventListener("change", () => this.fit())
        this.secret.addEventListener("change", () => {
            this.fit()
            if (this.secret.value === NEW) this.typed.focus()
        })
        this.fill()
    }

    /** The field to begin with: the first that is empty. */
    get first() {
        return [this.name, this.host].find((input) => !input.value) ?? this.name
    }

    /** @param {string} name @param {Record<string, any>} properties @param {string} [words] */
    text(name, properties, words = name) {
        const input = element("input", { type: "text", autocomplete: "off", "data-1p-ignore": "", "data-lpignore": "true", ...properties })
        input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
            if (event.key === "Enter" && !event.isComposing) void this.save()
        })
        return this.field(name, input, words)
    }

    /** @param {string} name @param {string[][]} choices value and words */
    select(name, choices) {
        return this.field(name, element("select", {}, ...choices.map(([value, words]) => element("option", { value }, words))), name)
    }

    /** @param {string} name @param {any} input @param {string} words */
    field(name, input, words) {
        input.id = `drawthings-${name}-${++count}`
        this.problems[name] = element("p", { class: "problem", id: `${input.id}-problem`, role: "alert" })
        input.setAttribute("aria-describedby", this.problems[name].id)
        this.element.append(element("div", { class: name }, element("label", { for: input.id }, say(`servers.${words}`)), input, this.problems[name]))
        return input
    }

    /** The fields as the draft says. */
    fill() {
        for (const name of /** @type {const} */ (["name", "host", "port", "tls", "ca_file"])) this[name].value = this.draft[name]
        this.typed.value = ""
        const names = this.saved.now.secrets.map(({ name }) => name)
        const choices = [["", say("servers.secret_none")], ...names.map((name) => [name, name]), [NEW, say("servers.secret_new")]]
        this.secret.replaceChildren(...choices.map(([value, words]) => element("option", { value }, words)))
        this.secret.value = this.draft.secret
        this.fit()
    }

    /** Show the fields that matter. */
    fit() {
        this.ca_file.parentElement.hidden = this.tls.value !== CA_FILE
        this.typed.parentElement.hidden = this.secret.value !== NEW
    }

    /** @param {() => void} close */
    buttons(close) {
        this.leave = button(say("servers.cancel"), close)
        this.submit = button(say("servers.save"), () => this.save(), { primary: true })
        return element("div", { class: "buttons end" }, this.leave, this.submit)
    }

    async save() {
        if (this.submit.disabled) return
        const isNew = this.secret.value === NEW
        const draft = {
            ...this.draft,
            name: this.name.value,
            host: this.host.value,
            port: this.port.value,
            tls: this.tls.value,
            ca_file: this.ca_file.value,
            secret: isNew ? this.draft.secret : this.secret.value,
            typed: isNew ? this.typed.value : "",
        }
        const wrong = problems(draft, this.saved.now)
        if (isNew && !draft.typed) wrong.typed = "servers.secret_missing"
        for (const [name, place] of Object.entries(this.problems)) place.textContent = wrong[name] ? say(wrong[name]) : ""
        const [first] = Object.keys(wrong)
        if (first) return /** @type {any} */ (this)[first].focus()
        this.test?.stop()
        this.submit.disabled = true
        try {
            this.saved.take(await this.saved.ask("servers/save", saving(draft)))
            this.typed.value = "" // kept nowhere
        } catch (/** @type {any} */ error) {
            this.outcome.replaceChildren(element("p", { class: "problem", role: "alert" }, sentenceOf(error)))
            return
        } finally {
            draft.typed = ""
            this.submit.disabled = false
        }
        const name = draft.name.trim()
        this.draft = draftOf(this.saved.now, this.saved.now.servers.find((row) => row.name === name))
        this.fill()
        this.leave.textContent = say("servers.close")
        this.test = new ServerTest(this.saved, savedAs(name), name)
        this.outcome.replaceChildren(element("p", { class: "quiet" }, say("servers.saved", { name })), this.test.element)
        await this.test.run()
    }
}
