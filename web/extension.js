// @ts-check
// All concerns as one extension of ComfyUI.

import { isOurs } from "./rules/graph.js"

/** @typedef {import("./types.js").Concern} Concern */
/** @typedef {import("./types.js").Comfy} Comfy */

/** What an extension lists: that of all concerns together. */
const LISTS = /** @type {const} */ (["settings", "commands", "keybindings", "menuCommands"])

/** Hooks that are called for their effect, and how many values ComfyUI gives them before `app`. */
const HOOKS = /** @type {const} */ ({
    init: 0,
    beforeRegisterNodeDef: 2,
    setup: 0,
    beforeConfigureGraph: 2,
    nodeCreated: 1,
    afterConfigureGraph: 1,
    refreshComboInNodes: 1,
})

/**
 * A fault in one concern is reported once and does not stop the others.
 * @param {string} name
 * @param {Concern[]} concerns
 * @param {Comfy} comfy
 * @param {(message: string, error: unknown) => void} report
 */
export function extension(name, concerns, comfy, report = console.error) {
    const reported = new Set()

    /** @param {Concern} concern @param {string} hook @param {unknown} error */
    function failed(concern, hook, error) {
        const key = `${concern.name}.${hook}`
        if (reported.has(key)) return
        reported.add(key)
        report(`${name}: ${key} failed`, error)
    }

    /** @param {string} hook @param {any[]} values */
    function each(hook, values) {
        return concerns.map((concern) => {
            try {
                const result = /** @type {any} */ (concern)[hook]?.(...values, comfy)
                return result instanceof Promise ? result.catch((error) => failed(concern, hook, error)) : result
            } catch (error) {
                failed(concern, hook, error)
            }
        })
    }

    each("begin", [])
    /** @type {{ name: string, [hook: string]: any }} */
    const made = { name }
    for (const list of LISTS) {
        const items = concerns.flatMap((concern) => {
            const own = concern[list] ?? []
            return typeof own === "function" ? own(comfy) : own
        })
        if (items.length) made[list] = items
    }
    if (concerns.some((concern) => concern.getNodeMenuItems)) {
        made.getNodeMenuItems = (/** @type {any} */ node) => each("getNodeMenuItems", [node]).flat().filter((item) => item !== undefined)
    }
    for (const [hook, count] of Object.entries(HOOKS)) {
        if (!concerns.some((concern) => hook in concern)) continue
        made[hook] = (/** @type {any[]} */ ...values) => waited(each(hook, Array.from({ length: count }, (_, i) => values[i])))
    }
    if (made.getNodeMenuItems && !comfy.app.collectNodeMenuItems) offerMenu(made)
    return made
}

/**
 * Frontend 1.27 does not ask extensions for a node's menu, but asks the node.
 * @param {Record<string, any>} made
 */
function offerMenu(made) {
    const created = made.nodeCreated
    made.nodeCreated = (/** @type {any} */ node, /** @type {any} */ app) => {
        created?.(node, app)
        if (!isOurs(node.comfyClass)) return
        const original = node.getExtraMenuOptions
        node.getExtraMenuOptions = function (/** @type {any} */ canvas, /** @type {any[]} */ options) {
            const result = original?.call(this, canvas, options)
            options.unshift(...made.getNodeMenuItems(this))
            return result
        }
    }
}

/**
 * Only a hook in which something is waited for gives a promise.
 * @param {any[]} results
 */
function waited(results) {
    const promises = results.filter((result) => result instanceof Promise)
    return promises.length ? Promise.all(promises).then(() => {}) : undefined
}
