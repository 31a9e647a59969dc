// @ts-check
// The Markdown of the help pages, as a tree.

/**
 * @typedef {{kind: "text" | "code" | "strong" | "em", text: string} | {kind: "link", text: string, to: string} | {kind: "image", text: string, to: string}} Piece
 * @typedef {{kind: "heading", level: number, id: string, text: string} | {kind: "paragraph", text: string} | {kind: "list", ordered: boolean, items: string[]}
 *     | {kind: "table", head: string[], rows: string[][]} | {kind: "code", text: string}} Block
 */

const ANCHOR = /<a id="([^"]*)"><\/a>/

/** @param {string} text @returns {Block[]} */
export function blocks(text) {
    const lines = text.replace(/<!--[^]*?-->/g, "").split(/\r?\n/)
    /** @type {Block[]} */
    const found = []
    let at = 0
    while (at < lines.length) {
        const line = lines[at]
        const heading = /^(#{1,6})\s+(.*)$/.exec(line)
        const item = itemOf(line)
        if (!line.trim()) {
            at += 1
        } else if (heading) {
            const plain = heading[2].replace(ANCHOR, "").trim()
            found.push({ kind: "heading", level: heading[1].length, id: ANCHOR.exec(heading[2])?.[1] ?? slug(plain), text: plain })
            at += 1
        } else if (line.startsWith("```")) {
            const end = lines.findIndex((other, place) => place > at && other.startsWith("```"))
            const stop = end < 0 ? lines.length : end
            found.push({ kind: "code", text: lines.slice(at + 1, stop).join("\n") })
            at = stop + 1
        } else if (line.startsWith("|")) {
            const rows = []
            for (; at < lines.length && lines[at].startsWith("|"); at += 1) rows.push(cells(lines[at]))
            found.push({ kind: "table", head: rows[0], rows: rows.slice(2) })
        } else if (item) {
            /** @type {string[]} */
            const items = []
            for (; at < lines.length && lines[at].trim(); at += 1) {
                const next = itemOf(lines[at])
                if (next) items.push(next.text)
                else items[items.length - 1] += ` ${lines[at].trim()}`
            }
            found.push({ kind: "list", ordered: item.ordered, items })
        } else {
            const start = at
            while (at < lines.length && lines[at].trim() && !/^(#|\||```)/.test(lines[at]) && !(at > start && itemOf(lines[at]))) at += 1
            found.push({ kind: "paragraph", text: lines.slice(start, at).map((one) => one.trim()).join(" ") })
        }
    }
    return found
}

/** @param {string} line */
function itemOf(line) {
    const item = /^\s*([-*]|\d+\.)\s+(.*)$/.exec(line)
    return item && { ordered: item[1].length > 1, text: item[2] }
}

/** @param {string} line */
function cells(line) {
    return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"))
}

/** @param {string} heading */
function slug(heading) {
    return heading.toLowerCase().replace(/[^\p{L}\p{N} -]/gu, "").replaceAll(" ", "-")
}

const PIECE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|(!?)\[([^\]]*)\]\(([^)\s]+)\)/g

/** What a paragraph, item or cell is made of. @param {string} text @returns {Piece[]} */
export function pieces(text) {
    /** @type {Piece[]} */
    const found = []
    let at = 0
    for (const match of text.matchAll(PIECE)) {
        if (match.index > at) found.push({ kind: "text", text: text.slice(at, match.index) })
        const [whole, code, strong, em, bang, label, to] = match
        if (code !== undefined) found.push({ kind: "code", text: code })
        else if (strong !== undefined) found.push({ kind: "strong", text: strong })
        else if (em !== undefined) found.push({ kind: "em", text: em })
        else found.push({ kind: bang ? "image" : "link", text: label, to })
        at = match.index + whole.length
    }
    if (at < text.length) found.push({ kind: "text", text: text.slice(at) })
    return found
}
