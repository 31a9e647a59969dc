// @ts-check
// What the line of a running node says, and when it goes.

import { isOurs } from "./graph.js"

/**
 * What the back end says that a node does (nodes/host.py). stage "": nothing any more. text: in English. left: seconds for the steps that remain.
 * parts: what each of several servers does.
 * @typedef {{server: string, stage: string, text?: string, values?: Record<string, string | number>, run?: number, runs?: number, parts?: Part[]}} Part
 * @typedef {{node: string, prompt_id: string, workflow: string, stage: string, text?: string, values?: Record<string, string | number>,
 *     run?: number, runs?: number, left?: number | null, parts?: Part[]}} Told
 * at, since: when it was said, and when its stage began, in ms.
 * @typedef {Told & {at: number, since: number}} Line
 */

/** What ComfyUI calls the event in which the back end tells it. */
export const EVENT = "drawthings.progress"

const ENDED = 50 // prompts that are remembered: their nodes' last words may come after the end
const LONG = 5000 // ms after which it is said how long a stage without steps takes

/** The lines of all nodes that run. */
export class Lines {
    constructor() {
        /** By node id. @type {Map<string, Line>} */
        this.open = new Map()
        /** @type {string[]} */
        this.ended = []
    }

    /** @param {Told} told @param {number} now */
    take(told, now) {
        const node = String(told.node)
        if (told.prompt_id && this.ended.includes(told.prompt_id)) return
        if (!told.stage) {
            this.open.delete(node)
            return
        }
        const before = this.open.get(node)
        const goesOn = before?.stage === told.stage && before.run === told.run && before.prompt_id === told.prompt_id
        this.open.set(node, { ...told, node, at: now, since: goesOn ? before.since : now })
    }

    /** A prompt is over, however it ended. @param {string} promptId */
    end(promptId) {
        this.ended = [...this.ended, promptId].slice(-ENDED)
        for (const [node, line] of this.open) if (line.prompt_id === promptId) this.open.delete(node)
    }

    /** Nothing runs. */
    clear() {
        this.open.clear()
    }
}

/**
 * @param {Line} line
 * @param {number} now ms
 * @param {(key: string, values?: Record<string, string | number>, english?: string) => string} say
 */
export function words(line, now, say) {
    const doing = doingOf(line, say)
    if (typeof line.left === "number") {
        const left = line.left - (now - line.at) / 1000
        return left >= 1 ? say("progress.left", { doing, left: duration(left, say) }) : doing
    }
    const taken = now - line.since
    return "step" in (line.values ?? {}) || line.parts || taken < LONG ? doing : say("progress.taken", { doing, taken: duration(taken / 1000, say) })
}

/**
 * What is done, and by each of several servers; in English, and where a stage is new, as the back end puts it.
 * @param {Pick<Told, "stage" | "text" | "values" | "run" | "runs" | "parts">} told
 * @param {(key: string, values?: Record<string, string | number>, english?: string) => string} say
 * @returns {string}
 */
function doingOf(told, say) {
    const translated = say(`stages.${told.stage}`, told.values ?? {}, "")
    if (!translated) return told.text ?? ""
    const parts = (told.parts ?? []).map((part) => say("stages.at_server", { server: part.server, doing: doingOf(part, say) }, ""))
    const doing = [translated, ...parts].join("; ")
    return (told.runs ?? 1) > 1 ? say("stages.run", { run: told.run ?? 1, runs: told.runs ?? 1, doing }, "") : doing
}

/**
 * @param {number} seconds
 * @param {(key: string, values?: Record<string, string | number>) => string} say
 */
export function duration(seconds, say) {
    const whole = Math.max(1, Math.round(seconds))
    if (whole < 60) return say("progress.seconds", { seconds: whole })
    const minutes = Math.floor(whole / 60)
    if (minutes < 10) return say("progress.minutes_seconds", { minutes, seconds: whole % 60 })
    if (minutes < 60) return say("progress.minutes", { minutes })
    return say("progress.hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 })
}

/** Whether a node of this definition says what it does: the back end gives it its own id. @param {any} nodeData */
export function reports(nodeData) {
    return isOurs(nodeData?.name) && "unique_id" in (nodeData?.input?.hidden ?? {})
}

/**
 * The node that the back end calls `id`: "5", or "5:3" for node 3 inside the subgraph of node 5.
 * @param {any} graph
 * @param {string} id
 */
export function nodeAt(graph, id) {
    const path = String(id).split(":")
    let inside = graph
    for (const step of path.slice(0, -1)) inside = at(inside, step)?.subgraph
    return at(inside, path[path.length - 1])
}

/** The subgraphs that a node is in, from the outermost: of "5:3:1", "5" and "5:3". @param {string} id */
export function outer(id) {
    const steps = String(id).split(":")
    return steps.slice(1).map((_, index) => steps.slice(0, index + 1).join(":"))
}

/** @param {any} graph @param {string} id */
function at(graph, id) {
    // Ids are numbers up to frontend 1.35 and strings later.
    return graph?.getNodeById?.(id) ?? graph?.getNodeById?.(Number(id)) ?? undefined
}

const NO_ID = "00000000-0000-0000-0000-000000000000"

/**
 * Whether a prompt was made of this graph: another workflow, opened meanwhile, may have a node of the same id.
 * @param {any} graph
 * @param {string | undefined} workflow the id in the prompt's workflow, empty where it is not known
 */
export function isOf(graph, workflow) {
    return !workflow || workflow === NO_ID || !graph?.id || graph.id === NO_ID || graph.id === workflow
}
