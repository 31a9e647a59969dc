// @ts-check
// The language that ComfyUI is set to: our messages, the back end's sentences, and the options of our combos. Names and tooltips of nodes, settings
// and commands are translated by ComfyUI itself, from the same files (locales/).

import { isOurs } from "./rules/graph.js"
import { learnSentences } from "./rules/sentences.js"
import { speak } from "./rules/words.js"

const SETTING = "Comfy.Locale"
const OWN = "drawThings" // our part of main.json

/** The setting when it was last looked at. */
let seen = "en"

/** Options of combos by their English. @type {Record<string, string>} */
let options = {}

/** @type {import("./types.js").Concern} */
export const languages = {
    name: "languages",
    init: learn,
    // ComfyUI loads the workflow again when the language is changed.
    beforeConfigureGraph: (_graph, _missing, comfy) => learn(comfy),
    nodeCreated(node) {
        if (!isOurs(node.comfyClass)) return
        for (const widget of node.widgets ?? []) if (widget.type === "combo") label(widget)
    },
}

/** @param {import("./types.js").Comfy} comfy */
async function learn({ app, api }) {
    const language = String(app.extensionManager.setting.get(SETTING) || "en")
    if (language === seen) return
    seen = language
    const answer = language === "en" ? undefined : await api.fetchApi("/i18n")
    const words = answer?.ok ? (await answer.json())[language]?.[OWN] : undefined
    speak(words?.words ?? {}, words && language)
    options = words?.options ?? {}
    learnSentences(words && (await sentencesOf(language)))
}

/** Only for those who read them: English needs none. @param {string} language that has our words */
async function sentencesOf(language) {
    const answer = await fetch(new URL(`./sentences/${language}.json`, import.meta.url))
    return answer.ok ? answer.json() : undefined
}

/**
 * Show a combo's options in the language; its value stays what Python knows. Whoever gives the combo labels of its own keeps them.
 * @param {any} widget
 */
function label(widget) {
    const values = widget.options.values
    if (widget.options.getOptionLabel || !Array.isArray(values) || !values.some((value) => value in options)) return
    widget.options.getOptionLabel = (/** @type {string | null} */ value) => options[value ?? ""] ?? value ?? ""
}
