// @ts-check
// Asking our routes in ComfyUI (nodes/page).

import { inOwnWords } from "./rules/sentences.js"
import { say } from "./rules/words.js"

/** An answer that says what went wrong. */
export class Refusal extends Error {
    /** @param {{type?: string, message?: string}} error */
    constructor({ type, message }) {
        super(message ? inOwnWords(message) : say("errors.unreachable"))
        this.name = type || "Refusal"
        /** What to show. */
        this.sentence = this.message
    }
}

/**
 * What to show of an error: its sentence, or that something was not foreseen, which the console then tells.
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
    if (error instanceof Refusal) return error.sentence
    console.error("DrawThings:", error)
    return say("errors.unforeseen")
}

/**
 * What concerns ask with.
 * @param {{fetchApi(path: string, options: any): Promise<Response>}} api ComfyUI's
 * @returns {import("./types.js").Ask}
 */
export function asking(api) {
    return async (path, body, { signal } = {}) => {
        let response
        try {
            response = await api.fetchApi(`/drawthings/${path}`, {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify(body),
                cache: "no-store",
                signal,
            })
        } catch (error) {
            if (signal?.aborted) throw error
            throw new Refusal({ type: "Unreachable", message: say("errors.unreachable") })
        }
        const answer = await response.json().catch(() => ({ error: wrongAnswer(response) }))
        if (answer.error) throw new Refusal(answer.error)
        return answer
    }
}

/** @param {Response} response */
function wrongAnswer({ status }) {
    return { type: "WrongAnswer", message: say("errors.wrong_answer", { status }) }
}
