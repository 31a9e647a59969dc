// @ts-check
// What is shown of an error, and what of it the browser's user has seen already.

import { isOurs } from "./graph.js"

const MOST = 300 // letters of ComfyUI's details

/**
 * node: its id. type: of the error. sentence: what happened and what to do. help: anchor in the node's help page.
 * @typedef {{node: string, nodeType: string, type: string, sentence: string, help: string}} Problem
 * @typedef {(key: string, values?: Record<string, string | number>) => string} Say
 */

/**
 * The anchor of an error's section in the help pages; drawthings_core/error_help.py has the same.
 * @param {string} type
 */
export const anchor = (type) => type.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase()

/**
 * Of ComfyUI's event execution_error; undefined when it is not about a node of ours.
 * @param {any} detail
 * @returns {Problem | undefined}
 */
export function ofRun(detail) {
    if (!isOurs(detail?.node_type)) return undefined
    const type = String(detail.exception_type ?? "")
    const message = String(detail.exception_message ?? "").trim()
    // Ours are sentences; of an error that nobody foresaw, the type tells more than the message.
    const sentence = /[.!?]$/.test(message) ? message : `${type}: ${message}`
    return { node: String(detail.node_id), nodeType: detail.node_type, type, sentence, help: anchor(type) }
}

/**
 * Of ComfyUI's answer to a prompt that it did not take, or not all of: what is wrong with nodes of ours.
 * @param {any} nodeErrors by node id
 * @param {Say} say
 * @returns {Problem[]}
 */
export function ofRejection(nodeErrors, say) {
    return Object.entries(nodeErrors ?? {}).flatMap(([node, { class_type: nodeType, errors = [] }]) =>
        isOurs(nodeType)
            ? errors.map((/** @type {any} */ error) => ({ node, nodeType, type: "Rejected", sentence: rejected(error, say), help: "" }))
            : [],
    )
}

/** @param {any} error @param {Say} say */
function rejected({ type, message, details, extra_info: extra }, say) {
    const input = extra?.input_name ?? ""
    // What a node itself says comes as "input - sentence".
    if (type === "custom_validation_failed" && details) return String(details).replace(/^\w+ - /, "")
    if (type === "required_input_missing") return say("errors.not_connected", { input: input || details })
    const about = detailsOf(String(details ?? ""), input)
    const told = [String(message || type), about && `(${about})`].filter(Boolean).join(" ")
    return input ? say("errors.rejected_input", { input, message: told }) : told
}

/** ComfyUI's details begin with the input's name. @param {string} details @param {string} input */
function detailsOf(details, input) {
    const rest = input && details.startsWith(input) ? details.slice(input.length).replace(/^[:,]?\s*/, "") : details.trim()
    return rest.length > MOST ? `${rest.slice(0, MOST)}…` : rest
}

/**
 * What a notice is about: the node's title, or its type's where another workflow is open by now.
 * @param {Problem} problem @param {any} there the node with its id in the graph that is open @param {Record<string, {title?: string}>} [kinds] by type
 * @returns {string}
 */
export function titleOf({ nodeType }, there, kinds) {
    return there?.comfyClass === nodeType ? there.title : (kinds?.[nodeType]?.title ?? nodeType)
}

/**
 * Whether one of these texts on the page says the sentence already.
 * @param {string} sentence
 * @param {string[]} texts
 */
export function isSaid(sentence, texts) {
    const plain = (/** @type {string} */ text) => text.replace(/\s+/g, " ")
    return texts.some((text) => plain(text).includes(plain(sentence)))
}

/**
 * What is wrong with several nodes in the same way is said once.
 * @param {Problem[]} problems
 */
export function once(problems) {
    return problems.filter((one, place) => problems.findIndex((other) => other.sentence === one.sentence && other.nodeType === one.nodeType) === place)
}
