// @ts-check
// Draw Things servers: a sidebar tab with those that are saved, found and named in the workflow; Load Server's list of saved ones.

import { sentenceOf } from "./ask.js"
import { oneStep, selected, setOptions, setValue } from "./changes.js"
import { button, element, style } from "./elements.js"
import { LOADER, serverAt, wiring } from "./rules/graph.js"
import { addressOf, found, namedBy, savedAs, unsaved } from "./rules/servers.js"
import { inOwnWords } from "./rules/sentences.js"
import { say } from "./rules/words.js"
import { SavedServers } from "./saved_servers.js"
import { editServer, forget, testServer } from "./server_dialogs.js"
import { ServerTest } from "./server_test.js"
import { servers } from "./servers_of_graph.js"
import { snapshot } from "./snapshot.js"

/** @typedef {import("./types.js").Comfy} Comfy */
/** @typedef {import("./rules/servers.js").Saved} Saved */
/** @typedef {import("./rules/servers.js").Named} Named */
/** @typedef {import("./rules/servers.js").Row} Row */

const TAB = "drawthings-servers"
const ADD = "DrawThings.AddServer"
const WIDGET = "saved_server"
const NOT_ALLOWED = "SecretNotAllowed" // drawthings_core/errors.py
const OFTEN = 5000 // milliseconds between two looks while the tab is open: servers are found, and the command line saves some too

/** @type {SavedServers} */
let saved

/** @type {import("./types.js").Concern} */
export const savedServers = {
    name: "servers",

    commands: () => [{ id: ADD, label: say("servers.command_add"), icon: "pi pi-server", function: () => edit() }],
    menuCommands: () => [{ path: ["Edit"], commands: [ADD] }],

    setup(comfy) {
        saved = new SavedServers(comfy.ask)
        saved.listen((changed) => {
            if (!changed) return
            for (const { node } of loaders(comfy)) offer(node)
            void servers.renew()
        })
        /** @type {Tab | undefined} */
        let tab
        comfy.app.extensionManager.registerSidebarTab({
            id: TAB,
            icon: "pi pi-server",
            title: say("servers.tab"),
            tooltip: say("servers.tab_tooltip"),
            type: "custom",
            render(/** @type {HTMLElement} */ place) {
                tab?.close()
                tab = new Tab(comfy, saved, place)
            },
            destroy() {
                tab?.close()
                tab = undefined
            },
        })
        servers.listen(() => tab?.draw())
        // A run that ended since a secret may not go to an address: ask whether it may.
        comfy.api.addEventListener("execution_error", (/** @type {CustomEvent} */ { detail }) => {
            if (detail.exception_type !== NOT_ALLOWED) return
            const place = loaders(comfy).find(({ path }) => path === String(detail.node_id))
            const named = namedBy(detail) ?? place?.named // a linked host is known to the run only
            if (place && named) void test(named)
        })
    },

    nodeCreated(node) {
        if (node.comfyClass === LOADER && saved?.known) offer(node)
    },

    getNodeMenuItems(node, comfy) {
        const named = node.comfyClass === LOADER && loaders(comfy).find((one) => one.node === node)?.named
        if (!named) return []
        return [
            { content: say("servers.menu_test"), callback: () => test(named) },
            { content: say("servers.menu_save"), callback: () => edit(named) },
        ]
    },
}

/** Open the form of a saved server or of what a node names, or an empty one. @param {Partial<Row> & Named} [row] */
async function edit(row = {}) {
    await saved.look().catch(() => {}) // what is wrong shows when it is saved
    editServer(saved, saved.now.servers.find(({ name }) => name === row.saved_server || name === row.host) ?? row)
}

/** @param {Named} named */
async function test(named) {
    await saved.look().catch(() => {}) // what is wrong shows in the test
    testServer(saved, named)
}

/** The Load Server nodes of the graph; those whose server only running tells have none in `named`. @param {Comfy} comfy */
function loaders({ app }) {
    const graph = wiring(snapshot(app))
    return [...graph.places.values()]
        .filter(({ type }) => type === LOADER)
        .map(({ path, live }) => ({ path, node: live, named: /** @type {Named} */ (serverAt(graph, path)) }))
}

/** Offer the saved servers on a Load Server. @param {any} node */
function offer(node) {
    const widget = node?.widgets?.find((/** @type {any} */ one) => one.name === WIDGET)
    const values = widget?.options?.values
    if (!Array.isArray(values)) return
    const [none] = values // what the node's definition begins with
    values.splice(0, values.length, none, ...saved.now.servers.map(({ name }) => name)) // the same array: Nodes 2.0 of frontend 1.35 keeps it
    setOptions(widget, { values })
    node.setDirtyCanvas?.(true, true)
}

/** The sidebar tab while it is open. */
class Tab {
    /** @param {Comfy} comfy @param {SavedServers} saved @param {HTMLElement} place */
    constructor(comfy, saved, place) {
        style("style.css")
        this.comfy = comfy
        this.saved = saved
        /** Tests that were made since it was opened, by what they are about. @type {Map<string, ServerTest>} */
        this.tests = new Map()
        /** What was drawn last. */
        this.drawn = ""
        this.problem = element("p", { class: "problem", role: "alert" })
        this.panel = element("div", { class: "drawthings panel" })
        place.replaceChildren(this.panel)
        this.draw = () => this.show(saved.now)
        this.ignore = saved.listen(this.draw)
        this.timer = setInterval(() => this.look(), OFTEN)
        this.look()
    }

    look() {
        this.saved.look().then(
            () => { this.problem.textContent = "" },
            (error) => { this.problem.textContent = sentenceOf(error); this.draw() },
        )
    }

    close() {
        clearInterval(this.timer)
        this.ignore()
        for (const test of this.tests.values()) test.stop()
    }

    /** @param {Saved} now */
    show(now) {
        const named = unsaved(now, loaders(this.comfy).flatMap((one) => one.named ?? []))
        const drawing = JSON.stringify([now, named, [...this.tests.keys()]])
        if (drawing === this.drawn) return // whoever is about to press a button shall find it there
        this.drawn = drawing
        const focused = document.activeElement instanceof HTMLElement && this.panel.contains(document.activeElement) ? document.activeElement.dataset.key : undefined
        const unfolded = new Set([...this.panel.querySelectorAll("details[open]")].map((one) => one.dataset.key))
        this.panel.replaceChildren(
            ...[
                element("h2", {}, say("servers.title")),
                this.problem,
                keyed(button(say("servers.add"), () => editServer(this.saved), { primary: true }), "add"),
                now.servers.length ? element("ul", {}, ...now.servers.map((row) => this.card(row.name, row.address, savedAs(row.name), this.savedButtons(row)))) : element("p", { class: "quiet" }, say("servers.none")),
                ...section(say("servers.in_workflow"), named.map((one) => this.other("", addressOf(one), one))),
                ...section(say("servers.on_network"), found(now).map((one) => this.other(one.name, one.address, one)), inOwnWords(now.discovery_problem) || say("servers.nothing_found")),
                this.folded("secrets", now.secrets.map(({ name, allowed }) => [name, name, allowed.length ? say("servers.secret_allowed", { addresses: allowed.join(", ") }) : say("servers.secret_local")]), unfolded),
                this.folded("certificates", now.certificates.map(({ address, fingerprint, built_in }) => [address, address, built_in ? say("servers.built_in") : fingerprint]), unfolded),
            ].filter(Boolean),
        )
        if (focused) this.panel.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus()
    }

    /**
     * One server with its last test.
     * @param {string} name "" where it has none @param {string} address @param {Named} server @param {any[]} more buttons
     */
    card(name, address, server, more) {
        const key = name || address
        const test = this.tests.get(key)
        const run = () => {
            this.tests.get(key)?.stop()
            const test = new ServerTest(this.saved, server, key)
            this.tests.set(key, test)
            this.draw()
            void test.run()
        }
        return element(
            "li",
            { class: "card", "data-server": key },
            element("div", {}, element("strong", {}, key)),
            name && element("div", { class: "quiet address" }, address),
            element("div", { class: "buttons" }, this.button("test", key, run), ...more),
            test?.element,
        )
    }

    /** One that is not saved. @param {string} name @param {string} address @param {Named} server */
    other(name, address, { host, port, tls, secret = "", ca_file = "" }) {
        const save = () => editServer(this.saved, { name, host, port, tls, secret, ca_file })
        return this.card(name, address, { host, port, tls, secret, ca_file }, [this.button("save_this", name || address, save)])
    }

    /** @param {Row} row */
    savedButtons(row) {
        return [
            this.button("use", row.name, () => use(this.comfy, row.name), say("servers.use_tooltip")),
            this.button("edit", row.name, () => editServer(this.saved, row)),
            this.button("forget", row.name, () => forget(this.saved, "servers", row.name)),
        ]
    }

    /** @param {string} what @param {string} about @param {() => void} act @param {string} [title] */
    button(what, about, act, title) {
        const made = keyed(button(say(`servers.${what}`), act, { title }), `${what} ${about}`)
        made.setAttribute("aria-label", `${say(`servers.${what}`)}: ${about}`)
        return made
    }

    /** @param {"secrets" | "certificates"} kind @param {string[][]} rows name, title, words @param {Set<string | undefined>} unfolded */
    folded(kind, rows, unfolded) {
        if (!rows.length) return null
        const parts = rows.map(([name, title, words]) =>
            element("div", { class: "row" }, element("div", {}, title, element("div", { class: "quiet" }, words)), this.button("forget", name, () => forget(this.saved, kind, name))),
        )
        return element("details", { open: unfolded.has(kind), "data-key": kind }, element("summary", {}, `${say(`servers.${kind}`)} (${rows.length})`), ...parts)
    }
}

/** @param {any} made @param {string} key by which it is found again when the tab is drawn anew */
function keyed(made, key) {
    made.dataset.key = key
    return made
}

/** @param {string} title @param {any[]} cards @param {string} [empty] words for none */
function section(title, cards, empty) {
    if (cards.length) return [element("h3", {}, title), element("ul", {}, ...cards)]
    return empty ? [element("h3", {}, title), element("p", { class: "quiet" }, empty)] : []
}

/** Choose a saved server in the selected Load Server, or in the only one; one step to undo. @param {Comfy} comfy @param {string} name */
function use({ app }, name) {
    const all = loaders(/** @type {Comfy} */ ({ app })).map(({ node }) => node)
    const chosen = selected(app).filter((node) => all.includes(node))
    const nodes = chosen.length ? chosen : all.length === 1 ? all : []
    const toast = (/** @type {"warn" | "success"} */ severity, /** @type {string} */ words) =>
        app.extensionManager.toast.add({ severity, summary: say(`servers.${words}`, { name }), life: 4000 })
    if (!nodes.length) return toast("warn", "use_which")
    oneStep(app, () => {
        for (const node of nodes) {
            offer(node)
            setValue(app, node, node.widgets.find((/** @type {any} */ one) => one.name === WIDGET), name)
        }
    })
    servers.look()
    toast("success", "used")
}
