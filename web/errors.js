// @ts-check
// When a node of ours fails, or ComfyUI does not take it: the sentence and a way to the help page. Frontend 1.58 hides the first, and
// shows no words at all for the second.

import { clearNotices, notice } from "./notice.js"
import { isSaid, ofRejection, ofRun, once, titleOf } from "./rules/errors.js"
import { EVENT, isOf, nodeAt } from "./rules/progress.js"
import { inOwnName, inOwnWords } from "./rules/sentences.js"
import { say } from "./rules/words.js"

/** @typedef {import("./types.js").Comfy} Comfy */
/** @typedef {import("./rules/errors.js").Problem} Problem */

const DIALOG_MS = 600 // until ComfyUI's own dialog is there
const LOOK_MS = 150
const ANSWER_MS = 60_000 // in which a prompt is taken or not
const REMEMBERED = 50 // prompts

/** Of which workflow a prompt was made, as far as its nodes told. @type {Map<string, string>} */
const workflows = new Map()

/** @type {import("./types.js").Concern} */
export const errors = {
    name: "errors",
    setup(comfy) {
        const { api } = comfy
        const ours = /** @type {any} */ (api) // our own event is none of those that its type lists
        ours.addEventListener(EVENT, (/** @type {CustomEvent} */ { detail }) => {
            workflows.set(detail.prompt_id, detail.workflow)
            if (workflows.size > REMEMBERED) workflows.delete([...workflows.keys()][0])
        })
        api.addEventListener("execution_error", (/** @type {CustomEvent} */ { detail }) => {
            const problem = ofRun(detail)
            if (problem) tell([problem], comfy, workflows.get(detail.prompt_id))
        })
        // Up to frontend 1.35 an event comes when a prompt was answered, whatever the answer; 1.58 tells of the beginning, and of the end only
        // when the prompt was taken.
        let looking = 0
        api.addEventListener("promptQueueing", () => {
            clearNotices()
            looking += 1
            whenAnswered(comfy, looking, () => looking)
        })
        api.addEventListener("promptQueued", () => {
            clearNotices()
            looking += 1
            tellRejection(comfy)
        })
    },
}

/**
 * Look at the answer as soon as it says that something is wrong.
 * @param {Comfy} comfy
 * @param {number} turn
 * @param {() => number} current
 */
async function whenAnswered(comfy, turn, current) {
    const end = Date.now() + ANSWER_MS
    await later(LOOK_MS) // the answer to the prompt before is forgotten by then
    while (Date.now() < end && turn === current()) {
        if (tellRejection(comfy)) return
        await later(LOOK_MS)
    }
}

/** @param {Comfy} comfy @returns {boolean} whether something was rejected */
function tellRejection(comfy) {
    const nodeErrors = comfy.app.lastNodeErrors ?? comfy.app.extensionManager?.lastNodeErrors
    if (!nodeErrors || !Object.keys(nodeErrors).length) return false
    tell(ofRejection(nodeErrors, say, (...about) => labelOf(comfy, ...about)), comfy)
    return true
}

/** What the page calls an input. @param {Comfy} comfy @param {string} id @param {string} nodeType @param {string} input */
function labelOf({ app }, id, nodeType, input) {
    const node = nodeAt(app.rootGraph ?? app.graph, id)
    const slot = node?.comfyClass === nodeType && node.inputs?.find((/** @type {any} */ one) => one.name === input)
    return (slot && (slot.label || slot.localized_name)) || inOwnName(input)
}

/**
 * Where a dialog of ComfyUI shows the sentence, only the way to the help page is added.
 * @param {Problem[]} problems
 * @param {Comfy} comfy
 * @param {string} [workflow] the id of the one that ran, where it is known
 */
async function tell(problems, { app }, workflow) {
    if (!problems.length) return
    const graph = app.rootGraph ?? app.graph
    const kinds = /** @type {any} */ (globalThis).LiteGraph?.registered_node_types
    const titled = once(problems).map((problem) => ({ ...problem, title: titleOf(problem, isOf(graph, workflow) ? nodeAt(graph, problem.node) : undefined, kinds) }))
    await later(DIALOG_MS)
    const dialogs = [...document.querySelectorAll("[role=dialog], .p-dialog, .comfy-modal")]
    const texts = dialogs.map((one) => /** @type {HTMLElement} */ (one).innerText)
    clearNotices()
    for (const { title, nodeType, sentence, help } of titled) {
        const told = inOwnWords(sentence)
        notice({ title, text: told === sentence && isSaid(sentence, texts) ? "" : told, nodeType, section: help })
    }
}

/** @param {number} ms */
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
