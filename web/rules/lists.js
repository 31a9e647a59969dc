// @ts-check
// What a list of files offers, and what stands beside each file.

/**
 * @typedef {{file: string, name: string, version: string, family: string}} Row
 * @typedef {{address: string, state: string, files: Record<string, Row[]>, error?: {type: string, message: string}}} Answer
 *   what nodes/page/lists.py tells of a server
 * @typedef {{kind: string, relation: string, none: boolean}} Wanted  of a widget, as /object_info tells it
 * @typedef {"" | "foreign" | "absent"} Mark  foreign: for another family than the model's. absent: the server does not have it
 * @typedef {{file: string, name: string, family: string, mark: Mark}} Choice
 */

export const NONE = "none"

/**
 * What the inputs of a node class ask for, by widget, from its definition in /object_info.
 * @param {any} definition
 * @returns {Record<string, Wanted>}
 */
export function wantedBy(definition) {
    /** @type {Record<string, Wanted>} */
    const wanted = {}
    for (const inputs of [definition.input?.required, definition.input?.optional]) {
        for (const [name, spec] of Object.entries(inputs ?? {})) {
            const options = spec[1] ?? {}
            if (!options.drawthings_files) continue
            const values = Array.isArray(spec[0]) ? spec[0] : (options.options ?? [])
            wanted[name] = { kind: options.drawthings_files, relation: options.drawthings_relation ?? "", none: options.default === NONE && values[0] === NONE }
        }
    }
    return wanted
}

/**
 * What a list offers, in order: none, what fits the model, what is for others, and the value where no server has it. null: nothing is known of
 * the servers' files, so the list stays as it is.
 * @param {Wanted} wanted
 * @param {unknown} value the widget's
 * @param {Answer[]} answers of the node's servers
 * @param {string[]} models files of the models that the node works for
 * @param {Record<string, Record<string, string[]>>} alsoFits
 * @returns {Choice[] | null}
 */
export function choices(wanted, value, answers, models, alsoFits) {
    const known = answers.filter((answer) => answer.state === "listed" || answer.files[wanted.kind]?.length)
    if (!known.length) return null
    const rows = new Map(known.flatMap((answer) => (answer.files[wanted.kind] ?? []).map((row) => [row.file, row])))
    const versions = versionsOf(models, answers)
    /** @type {Choice[]} */
    const all = [...rows.values()].map(({ file, name, family, version }) => {
        return { file, name, family, mark: fits(version, versions, alsoFits[wanted.relation]) ? "" : "foreign" }
    })
    const offered = [...all.filter(({ mark }) => !mark), ...all.filter(({ mark }) => mark)]
    if (wanted.none) offered.unshift(plain(NONE, ""))
    if (typeof value === "string" && value && value !== NONE && !rows.has(value)) {
        // A proxy names some of its files only.
        offered.push(plain(value, known.every(({ state }) => state === "named") ? "" : "absent"))
    }
    return offered
}

/**
 * What a list offers for a server of which nothing is known: what the node was born with, and the value.
 * @param {string[]} born @param {unknown} value
 * @returns {Choice[]}
 */
export function unknown(born, value) {
    const files = typeof value === "string" && value && !born.includes(value) ? [...born, value] : born
    return files.map((file) => plain(file, ""))
}

/**
 * What a new node, for which nobody has chosen yet, takes in place of a value that its server lacks; undefined: the value stays.
 * @param {Choice[]} offered @param {unknown} value
 */
export function instead(offered, value) {
    const absent = offered.some(({ file, mark }) => file === value && mark === "absent")
    return absent ? offered.find(({ file, mark }) => !mark && file !== NONE)?.file : undefined
}

/** @param {string} file @param {Mark} mark @returns {Choice} */
function plain(file, mark) {
    return { file, name: file, family: "", mark }
}

/**
 * Versions of the models, of those that a server describes.
 * @param {string[]} models @param {Answer[]} answers
 */
export function versionsOf(models, answers) {
    const rows = answers.flatMap((answer) => answer.files.model ?? [])
    return [...new Set(models.flatMap((file) => rows.filter((row) => row.file === file).map((row) => row.version)).filter(Boolean))]
}

/**
 * Whether a file of this version suits one of the models; what is not known suits.
 * @param {string} version @param {string[]} models @param {Record<string, string[]> | undefined} also undefined: it stands in no relation to a model
 */
function fits(version, models, also) {
    if (!also || !version || !models.length) return true
    return models.some((model) => model === version || also[model]?.includes(version))
}

/**
 * What is shown for each file: its name and family, with the file's name where two would read alike.
 * @param {Choice[]} offered
 * @param {(mark: Mark, words: string) => string} marked adds what a mark says
 * @param {string} [none] what is shown for no file
 * @returns {Map<string, string>}
 */
export function labels(offered, marked, none = NONE) {
    const words = offered.map(({ file, name, family }) => (file === NONE ? none : family ? `${name} · ${family}` : name))
    return new Map(
        offered.map(({ file, mark }, index) => {
            const alike = words.filter((other) => other === words[index]).length > 1
            const text = alike && file !== words[index] ? `${words[index]} · ${file}` : words[index]
            return [file, mark ? marked(mark, text) : text]
        }),
    )
}
