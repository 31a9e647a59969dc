// @ts-check
// The language that ComfyUI is set to: our messages, the back end's sentences, and the options of our combos. Names and tooltips of nodes, settings
// and commands are translated by ComfyUI itself, from the same files (locales/).

import { isOurs } from "./rules/graph.js"
import { inOwnName, learnSentences } from "./rules/sentences.js"
import { speak } from "./rules/words.js"

const SETTING = "Comfy.Locale"
const OWN = "drawThings" // our part of main.json

/** What was learned last, or is being learned; "" where something of it could not be had. */
let latest = "en"
/** How often that changed. */
let turn = 0
/** Until it is learned. @type {Promise<void>} */
let learning = Promise.resolve()

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
        for (const widget of node.widgets ?? []) {
            if (widget.type === "combo") label(widget)
            // The classic rendering names a field of text only inside it, and by its id.
            if (widget.element && widget.element.placeholder === widget.name) widget.element.placeholder = inOwnName(widget.name)
        }
    },
}

/** What was not to be had is asked for again with the next workflow. @param {import("./types.js").Comfy} comfy */
function learn({ app, api }) {
    const language = String(app.extensionManager.setting.get(SETTING) || "en")
    if (language !== latest) {
        latest = language
        learning = learnLanguage(language, api)
    }
    return learning
}

/** @param {string} language @param {import("./types.js").Comfy["api"]} api */
async function learnLanguage(language, api) {
    const mine = ++turn
    // English needs none, and the sentences are only for those who read our words in that language.
    const all = language === "en" ? {} : await json(api.fetchApi("/i18n"))
    const words = all?.[language]?.[OWN]
    const sentences = words && (await json(fetch(new URL(`./sentences/${language}.json`, import.meta.url))))
    if (mine !== turn) return // it was changed again meanwhile
    if (!all || (words && !sentences)) latest = ""
    speak(words?.words ?? {}, words && language)
    options = words?.options ?? {}
    learnSentences(sentences)
}

/** What is answered; undefined where nothing is. @param {Promise<Response>} asked @returns {Promise<any>} */
async function json(asked) {
    const answer = await asked.catch(() => undefined) // which the browser's console tells
    return answer?.ok ? answer.json().catch(() => undefined) : undefined
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
