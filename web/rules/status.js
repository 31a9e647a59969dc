// @ts-check
// What is said of a server on its Load Server node.

/**
 * @typedef {"good" | "careful" | "bad" | "idle"} Tone
 * @typedef {{tone: Tone, key: string, values?: Record<string, number>, sentence?: string}} Status  key: of the words; sentence: an error's own
 */

/**
 * @param {import("../servers_of_graph.js").Known} known
 * @returns {Status}
 */
export function status({ state, answer }) {
    if (state === "open") return { tone: "idle", key: "status.open" }
    if (!answer) return { tone: "idle", key: "status.asking" }
    switch (answer.state) {
        case "listed": {
            const count = answer.files.model?.length ?? 0
            return { tone: "good", key: count === 1 ? "status.listed_one" : "status.listed", values: { count } }
        }
        case "named":
            return { tone: "good", key: "status.named" }
        case "unlisted":
            return { tone: "careful", key: "status.unlisted" }
        case "late":
            return { tone: "careful", key: "status.late" }
        case "unasked":
            return { tone: "careful", key: "status.unasked" }
        default:
            return { tone: "bad", key: "status.failed", sentence: answer.error?.message }
    }
}
