// @ts-check
// The back end speaks English; this says its sentences in the user's language. A sentence is recognised by the templates that scripts/_sentences.py
// finds in the source: texts with "{0}", "{1}", ... where values stand. A value may be made of a template, too.

/** @typedef {{names: Record<string, string>, sentences: Record<string, string>}} Known  what web/sentences/<language>.json holds */
/**
 * literals: the words between the values. numbers: which value follows each literal but the last. counts: whether its value is a number. weight:
 * letters of the words. alone: whether it may be all of a line. files: whether each value is the name of a file or a model.
 * @typedef {{literals: string[], numbers: number[], files: boolean[], counts: boolean, weight: number, longest: string, alone: boolean, said: string}} Template
 */

const MOST_WAYS = 60 // of reading a sentence by one template
const MOST_READ = 600 // ways that are tried for a line: what takes more stays English
const DEEPEST = 5 // templates inside templates
const LONGEST = 2000 // characters of a line; more is no sentence
const STRONG = 16 // letters; a template with more is known for what it is without a full stop
const WEAK = 6 // letters; a template with fewer says nothing by itself, so that its values have to be known

const VALUE = /\{([nf]?\d+)\}/ // "{n0}" is a number, "{f0}" the name of a file
const FILES = /^\S+\.\w+( or \S+\.\w+)+$/

/** Those with values, the longest words first: the most special template. @type {Template[]} */
let templates = []

/** Those without. @type {Map<string, string>} */
let fixed = new Map()

/** @type {Map<string, string>} */
let names = new Map()

const EITHER = "{0} or {1}"
let either = EITHER

/** Lines that were said already; the same notes come again and again. @type {Map<string, string>} */
let said = new Map()
const MOST_SAID = 300

/** What is known of parts of the line at hand. @type {Map<string, string | undefined>} */
let parts = new Map()
/** Ways that are tried for it yet. */
let left = 0

/** Sentences of a language from now on; English without. @param {Partial<Known>} [known] */
export function learnSentences({ names: words = {}, sentences = {} } = {}) {
    names = new Map(Object.entries(words))
    const all = Object.entries(sentences)
    either = sentences[EITHER] ?? EITHER
    fixed = new Map(all.filter(([english]) => !VALUE.test(english)))
    templates = all
        .filter(([english]) => !fixed.has(english))
        .map(([english, text]) => template(english, text))
        .sort((one, other) => other.weight - one.weight)
    said = new Map()
}

/** @param {string} english @param {string} text @returns {Template} */
function template(english, text) {
    const parts = english.split(VALUE)
    const literals = parts.filter((_, place) => place % 2 === 0)
    const values = parts.filter((_, place) => place % 2 === 1)
    const weight = literals.join("").replace(/[^A-Za-z]/g, "").length
    return {
        literals,
        numbers: values.map((value) => Number(value.replace(/\D/, ""))),
        files: values.map((value) => value.startsWith("f")),
        counts: english.includes("{n0}"),
        weight,
        longest: literals.reduce((one, other) => (other.length > one.length ? other : one)),
        alone: weight >= STRONG || /[.?!:]$|[.:] \{\d+\}$|^\S+ {2,}/.test(english),
        said: text,
    }
}

/**
 * What the back end says, in the user's language; line by line, and as it is where it is not known.
 * @param {string} text
 * @returns {string}
 */
export function inOwnWords(text) {
    return !templates.length || !text ? text : text.split("\n").map(line).join("\n")
}

/** What the page calls an input, or anything else that has a name of ours. @param {string} name */
export const inOwnName = (name) => names.get(name) ?? name

/** @param {string} text one line */
function line(text) {
    if (/^ {2}\S/.test(text)) return text // a file in a server's description, of which there may be thousands
    const before = said.get(text)
    if (before !== undefined) return before
    const body = text.trim()
    parts = new Map()
    left = MOST_READ
    const found = body.length > LONGEST ? undefined : sentences(body, 0)
    const result = found === undefined ? text : text.replace(body, () => found)
    if (said.size >= MOST_SAID) said.clear()
    said.set(text, result)
    return result
}

/**
 * Sentences in a row: all of them, or undefined.
 * @param {string} text @param {number} depth
 * @returns {string | undefined}
 */
function sentences(text, depth) {
    for (const { index = 0 } of text.matchAll(/[.?!] (?=\S)/g)) {
        const first = byTemplate(text.slice(0, index + 1), depth, true)
        const rest = first === undefined ? undefined : sentences(text.slice(index + 2), depth)
        if (first !== undefined && rest !== undefined) return joined(first, rest)
    }
    return byTemplate(text, depth, true)
}

/** Two sentences: no space after a full-width stop. @param {string} one @param {string} other */
function joined(one, other) {
    return /[。！？）]$/.test(one) ? one + other : `${one} ${other}`
}

/**
 * @param {string} text @param {number} depth @param {boolean} alone whether it has to be a sentence
 * @returns {string | undefined}
 */
function byTemplate(text, depth, alone) {
    const known = fixed.get(text)
    if (known !== undefined || !text.includes(" ")) return known
    const key = `${alone} ${text}`
    if (!parts.has(key)) parts.set(key, firstOf(text, depth, alone))
    return parts.get(key)
}

/** @param {string} text @param {number} depth @param {boolean} alone @returns {string | undefined} */
function firstOf(text, depth, alone) {
    for (const one of depth > DEEPEST ? [] : templates) {
        if ((alone && !one.alone) || !isLike(text, one)) continue
        const result = read(text, one, depth)
        if (result !== undefined) return result
    }
    return undefined
}

/** @param {string} text @param {Template} one */
function isLike(text, { literals, longest }) {
    return text.startsWith(literals[0]) && text.endsWith(literals[literals.length - 1]) && text.includes(longest)
}

/**
 * By one template, the way in which most of the values are known.
 * @param {string} text @param {Template} one @param {number} depth
 * @returns {string | undefined}
 */
function read(text, one, depth) {
    /** @type {string[] | undefined} */
    let best
    let most = -1
    let ways = 0
    for (const values of readings(text, one.literals)) {
        if (++ways > MOST_WAYS || left-- <= 0) break
        if (one.counts && !/^\d+$/.test(values[0])) continue
        const words = []
        let [known, unknown] = [0, 0] // letters of values that are ours, and English values that are not
        for (const [place, value] of values.entries()) {
            const word = one.files[place] ? ofFiles(value) : ofValue(value, one.literals[place], depth + 1)
            words.push(word ?? value)
            if (word !== undefined) known += value.length
            else if (isWordy(value)) unknown += isSentence(value) || one.weight < WEAK ? Infinity : 1
            if (unknown === Infinity) break
        }
        if (unknown === Infinity || known <= most || (!one.weight && !isServers(values, words))) continue
        most = known
        best = words
        if (!unknown) break
    }
    if (!best) return undefined
    const byNumber = new Map(one.numbers.map((number, place) => [number, /** @type {string[]} */ (best)[place]]))
    return one.said.replace(/\{n?(\d+)\}/g, (whole, number) => byNumber.get(Number(number)) ?? whole)
}

/** Whether "{0}: {1}" is a server's address and its sentence. @param {string[]} values @param {string[]} words */
const isServers = ([address, sentence], words) => !address.includes(" ") && words[1] !== sentence

/**
 * The values with which literals make a text, the shortest first values first.
 * @param {string} text @param {string[]} literals
 * @returns {Generator<string[]>}
 */
function* readings(text, literals) {
    const [first, ...rest] = literals
    if (!text.startsWith(first)) return
    if (!rest.length) {
        if (text === first) yield []
        return
    }
    const after = text.slice(first.length)
    const next = rest[0]
    if (rest.length === 1) {
        if (after.endsWith(next)) yield [after.slice(0, after.length - next.length)]
        return
    }
    for (let place = after.indexOf(next); place >= 0; place = after.indexOf(next, place + 1)) {
        for (const values of readings(after.slice(place), rest)) yield [after.slice(0, place), ...values]
    }
}

/**
 * A value in the user's language; undefined where it is nothing that we know, such as a file name.
 * @param {string} value @param {string} before the words before it @param {number} depth
 * @returns {string | undefined}
 */
function ofValue(value, before, depth) {
    const name = nameOf(value, before)
    if (name !== undefined || !/[A-Za-z]{2}/.test(value) || isQuoted(value)) return name
    const text = list(value, depth) ?? sentences(value, depth) ?? byTemplate(value, depth, false)
    if (text !== undefined) return text
    // In another sentence the first letter may have become small, and the stop is gone.
    const capital = value[0].toUpperCase() + value.slice(1)
    const alone = byTemplate(`${capital}.`, depth, true) ?? byTemplate(capital, depth, false) ?? byTemplate(value[0].toLowerCase() + value.slice(1), depth, false)
    return alone?.replace(/[。.]$/, "")
}

/** Names of files stay as they are, but for the word between them. @param {string} value */
function ofFiles(value) {
    if (!FILES.test(value)) return undefined
    const [first, ...more] = value.split(" or ")
    return more.reduce((one, other) => either.replace(/\{(\d)\}/g, (_, place) => (place === "0" ? one : other)), first)
}

/** @param {string} value @param {string} before */
function nameOf(value, before) {
    const quoted = isQuoted(value) && / input $/i.test(` ${before}`)
    const plain = quoted ? value.slice(1, -1) : value
    const name = names.get(plain) ?? names.get(plain.slice(0, 1).toUpperCase() + plain.slice(1))
    return name !== undefined && quoted ? value[0] + name + value[0] : name
}

/** Several values of which all are known. @param {string} value @param {number} depth */
function list(value, depth) {
    const parts = value.split(", ")
    const words = parts.length > 1 ? parts.map((part) => ofValue(part, "", depth)) : []
    return words.length && words.every((word) => word !== undefined) ? words.join("、") : undefined
}

/** As what somebody gave is shown, which may be cut off. @param {string} value */
const isQuoted = (value) => /^(['"]).*(\1|…)$/.test(value)

/** Whether it is English, and not a file, a number or what somebody wrote. @param {string} value */
const isWordy = (value) => /[a-z]{2,} [a-z]{2,}/.test(value) && !isQuoted(value)

/** Whether there is more than one sentence in it. @param {string} value */
const isSentence = (value) => /[a-z)][.?!] [A-Z]/.test(value)
