// @ts-check
// What is shown of an error, and what of it the browser's user has seen already.

import { isOurs } from "./graph.js"

const MOST = 300 // letters of a value, or of ComfyUI's details

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
 * @param {(node: string, nodeType: string, input: string) => string} [labelOf] what the page calls an input
 * @returns {Problem[]}
 */
export function ofRejection(nodeErrors, say, labelOf = (_node, _type, input) => input) {
    return Object.entries(nodeErrors ?? {}).flatMap(([node, { class_type: nodeType, errors = [] }]) =>
        isOurs(nodeType)
            ? errors.map((/** @type {any} */ error) => {
                  const sentence = rejected(error, (input) => labelOf(node, nodeType, input), say)
                  return { node, nodeType, type: "Rejected", sentence, help: "" }
              })
            : [],
    )
}

/**
 * What ComfyUI's validation (validate_inputs in its execution.py) says of an input, by the error's type: a key of our words, and their values.
 * kind and options: of the input, missing where its list is long.
 * @type {Record<string, (extra: any, kind: any, options: Record<string, any>) => [string, Record<string, string>]>}
 */
const OF_COMFYUI = {
    required_input_missing: () => ["not_connected", {}],
    value_not_in_list: ({ received_value: value }) => ["not_offered", { value: shown(value) }],
    value_smaller_than_min: ({ received_value: value }, _kind, { min }) => ["too_small", { value: shown(value), least: shown(min) }],
    value_bigger_than_max: ({ received_value: value }, _kind, { max }) => ["too_large", { value: shown(value), most: shown(max) }],
    return_type_mismatch: ({ received_type: given }, kind) => ["other_type", { given: shown(given), wanted: typeof kind === "string" ? kind : "COMBO" }],
    bad_linked_input: () => ["bad_link", {}],
    invalid_input_type: ({ received_value: value }, kind) => [kind === "INT" ? "no_whole_number" : "no_number", { value: shown(value) }],
    exception_during_inner_validation: ({ exception_message: message }) => ["not_checked_input", { message: shown(message) }],
}

/** @param {any} error @param {(input: string) => string} labelOf @param {Say} say */
function rejected({ type, message, details, extra_info: extra }, labelOf, say) {
    const input = String(extra?.input_name ?? "")
    // What a node itself says comes as "input - sentence".
    if (type === "custom_validation_failed" && / - /.test(details ?? "")) return String(details).replace(/^\w+ - /, "")
    if (type === "exception_during_validation") return say("errors.not_checked", { message: shown(details) })
    if (input && Object.hasOwn(OF_COMFYUI, type)) {
        const [kind, options] = extra.input_config ?? []
        const [key, values] = OF_COMFYUI[type](extra, kind, options ?? {})
        return say(`errors.${key}`, { input: labelOf(input), ...values })
    }
    const about = detailsOf(String(details ?? ""), input)
    const told = [String(message || type), about && `(${about})`].filter(Boolean).join(" ")
    return input ? say("errors.rejected_input", { input: labelOf(input), message: told }) : told
}

/** A value on one line, not too long. @param {any} value */
function shown(value) {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value ?? "").replace(/\s+/g, " ").trim()
    return text.length > MOST ? `${text.slice(0, MOST)}…` : text
}

/** ComfyUI's details begin with the input's name. @param {string} details @param {string} input */
function detailsOf(details, input) {
    return shown(input && details.startsWith(input) ? details.slice(input.length).replace(/^[:,]?\s*/, "") : details)
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
