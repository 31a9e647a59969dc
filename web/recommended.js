// @ts-check
// "Recommended settings" for nodes that generate: a button on the node, an entry in its menu, and a command for those that are selected.

import { sentenceOf } from "./ask.js"
import { oneStep, selected, setValue } from "./changes.js"
import { isOurs, wiring } from "./rules/graph.js"
import { generates } from "./rules/paste.js"
import { changes, question } from "./rules/recommended.js"
import { inOwnWords } from "./rules/sentences.js"
import { listed, say } from "./rules/words.js"
import { snapshot } from "./snapshot.js"
import { toast } from "./toast.js"

/** @typedef {import("./types.js").Comfy} Comfy */

const COMMAND = "DrawThings.RecommendedSettings"
const WIDGET = "recommended_settings"
const TOAST = 12000 // milliseconds

/** @type {import("./types.js").Concern} */
export const recommendedSettings = {
    name: "recommended",

    commands: (comfy) => [
        {
            id: COMMAND,
            label: say("recommended.command"),
            icon: "pi pi-sparkles",
            function: () => applyToSelected(comfy),
        },
    ],

    menuCommands: () => [{ path: ["Edit"], commands: [COMMAND] }],

    nodeCreated(node, comfy) {
        if (!isOurs(node.comfyClass) || !generates(node)) return
        // Behind all other widgets: what workflows save of those goes by position.
        const widget = node.addWidget("button", WIDGET, "", () => void apply(node, comfy), { serialize: false }) // not sent
        widget.serialize = false // not saved
        widget.label = say("recommended.menu")
        widget.tooltip = say("recommended.tooltip")
    },

    getNodeMenuItems(node, comfy) {
        if (!generates(node)) return []
        return [{ content: say("recommended.menu"), callback: () => void apply(node, comfy) }]
    },
}

/** @param {Comfy} comfy */
async function applyToSelected(comfy) {
    const nodes = selected(comfy.app).filter(generates)
    if (!nodes.length) tell(comfy, "warn", say("recommended.none_selected"))
    for (const node of nodes) await apply(node, comfy)
}

/** @param {any} node @param {Comfy} comfy */
async function apply(node, comfy) {
    const before = placed(node, comfy)
    if (!before) return
    try {
        const answer = await comfy.ask("recommended", before.asked)
        const now = placed(node, comfy)
        if (!now || JSON.stringify(now.asked) !== JSON.stringify(before.asked)) return tell(comfy, "warn", say("recommended.moved"))
        const wanted = changes(now.values, answer, before.asked.widgets)
        const names = Object.keys(wanted)
        if (names.length) {
            oneStep(comfy.app, () => {
                for (const widget of node.widgets) {
                    if (widget.name in wanted) setValue(comfy.app, node, widget, wanted[widget.name])
                }
            })
        }
        const labels = node.widgets.flatMap((/** @type {any} */ one) => (one.name in wanted ? (one.label ?? one.name) : []))
        const done = names.length ? say("recommended.changed", { names: listed(labels) }) : say("recommended.unchanged")
        tell(comfy, "success", [done, ...answer.notes.map(inOwnWords)].join("\n"))
    } catch (/** @type {any} */ error) {
        tell(comfy, "error", sentenceOf(error))
    }
}

/** What is asked for a node as it is now, and its values; undefined when it is not in the graph. @param {any} node @param {Comfy} comfy */
function placed(node, comfy) {
    const graph = wiring(snapshot(comfy.app))
    const place = [...graph.places.values()].find(({ live }) => live === node)
    return place && { asked: question(graph, place.path), values: place.values }
}

/** @param {Comfy} comfy @param {"success" | "warn" | "error"} severity @param {string} detail */
function tell(comfy, severity, detail) {
    toast(comfy.app, recommendedSettings.name, { severity, summary: say("recommended.menu"), detail, life: TOAST })
}
