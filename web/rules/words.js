// @ts-check
// Every word that the extension shows. A key is "concern.what"; {name} in a text is replaced by a value.

/** @type {Record<string, Record<string, string>>} */
const ENGLISH = {
    lists: {
        foreign: "{file} (another family)",
        absent: "{file} (not on this server)",
    },
    status: {
        asking: "Asking the server …",
        open: "Known when it runs",
        listed: "Connected · {count} models",
        listed_one: "Connected · 1 model",
        named: "Connected · a proxy, which names files only",
        unlisted: "Connected · lists no models: type file names, or switch model browsing on in Draw Things",
        late: "Connected, but busy: no answer yet",
        failed: "The server cannot be reached",
        unasked: "Not asked yet, since it is on the internet: press R, or run",
    },
    recommended: {
        menu: "Recommended settings",
        command: "Draw Things: recommended settings for the selected nodes",
        none_selected: "Select a Generate, Inpaint, Edit Image or Generate Video node first.",
        changed: "Set: {names}.",
        unchanged: "Nothing to change.",
    },
    slots: {
    },
    servers: {
    },
    progress: {
    },
    errors: {
        unreachable: "ComfyUI does not answer: see whether it still runs.",
        wrong_answer: "ComfyUI answered with status {status} and nothing that can be read: restart it if the nodes were updated.",
    },
    paste: {
    },
    copy: {
    },
}

/** Texts of the language in use, by key; what is missing is said in English. @type {Record<string, string>} */
let translated = {}

/**
 * Say things in another language from now on.
 * @param {Record<string, string>} texts by key
 */
export function speak(texts) {
    translated = texts
}

/** Every key with its English text, for the translations' tests. */
export function english() {
    return Object.fromEntries(
        Object.entries(ENGLISH).flatMap(([concern, texts]) => Object.entries(texts).map(([what, text]) => [`${concern}.${what}`, text])),
    )
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function say(key, values = {}) {
    const [concern, what] = key.split(".")
    const text = translated[key] ?? ENGLISH[concern]?.[what]
    if (text === undefined) throw new Error(`There are no words for ${key}.`)
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole))
}
