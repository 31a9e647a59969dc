// @ts-check
// A node's help page in a dialog, at one of its sections. Frontends show help pages themselves, but offer no way to open one.

import { openDialog } from "./dialog.js"
import { button } from "./elements.js"
import { blocks, pieces } from "./rules/markdown.js"
import { say, spoken } from "./rules/words.js"

/** The folder that this package's files are served from. */
const DOCS = new URL("./docs/", import.meta.url)

/**
 * The page's address in the language in use, for links.
 * @param {string} nodeType
 * @param {string} [section]
 */
export function helpAddress(nodeType, section) {
    return `${new URL(`${nodeType}/${spoken()}.md`, DOCS)}${section ? `#${section}` : ""}`
}

/**
 * @param {string} nodeType
 * @param {string} [section] the anchor to begin at
 */
export async function openHelp(nodeType, section) {
    const dialog = openDialog({ kind: "help" }, (close) => {
        const cross = button("✕", close, { title: say("errors.close") })
        cross.ariaLabel = cross.title
        return [cross]
    })
    dialog.addEventListener("click", ({ target }) => { if (target === dialog) dialog.close() })
    const text = await page(nodeType)
    dialog.append(...blocks(text ?? say("errors.no_help")).map(element))
    if (section) dialog.querySelector(`#${CSS.escape(idOf(section))}`)?.scrollIntoView()
}

/** In the language in use: who says something in it has its pages, too. @param {string} nodeType */
async function page(nodeType) {
    const response = await fetch(helpAddress(nodeType)).catch(() => undefined)
    const isPage = response?.ok && !(response.headers.get("content-type") ?? "").includes("html")
    return isPage ? await response.text() : undefined
}

/** Ids are those of the whole page. @param {string} section */
const idOf = (section) => `drawthings-help-${section}`

/** @param {import("./rules/markdown.js").Block} block @returns {HTMLElement} */
function element(block) {
    switch (block.kind) {
        case "heading": {
            const made = filled(document.createElement(`h${block.level}`), block.text)
            made.id = idOf(block.id)
            Object.assign(made.style, { fontSize: `${26 - 3 * block.level}px`, fontWeight: "600", margin: "20px 0 8px" })
            return made
        }
        case "list": {
            const made = document.createElement(block.ordered ? "ol" : "ul")
            Object.assign(made.style, { listStyle: block.ordered ? "decimal" : "disc", paddingLeft: "22px", margin: "8px 0" })
            made.append(...block.items.map((item) => filled(document.createElement("li"), item)))
            return made
        }
        case "table": {
            const made = document.createElement("table")
            Object.assign(made.style, { borderCollapse: "collapse", margin: "8px 0" })
            made.append(row("th", block.head), ...block.rows.map((cells) => row("td", cells)))
            return made
        }
        case "code": {
            const made = document.createElement("pre")
            made.textContent = block.text
            return made
        }
        default: {
            const made = filled(document.createElement("p"), block.text)
            made.style.margin = "8px 0"
            return made
        }
    }
}

/** @param {"th" | "td"} kind @param {string[]} cells */
function row(kind, cells) {
    const made = document.createElement("tr")
    for (const cell of cells) {
        const one = filled(document.createElement(kind), cell)
        Object.assign(one.style, { textAlign: "left", verticalAlign: "top", padding: "4px 8px", border: "1px solid var(--border-color, #4e4e4e)" })
        made.append(one)
    }
    return made
}

/**
 * @template {HTMLElement} Kind
 * @param {Kind} parent
 * @param {string} text
 */
function filled(parent, text) {
    parent.append(...pieces(text).map(inline))
    return parent
}

/** @param {import("./rules/markdown.js").Piece} piece */
function inline(piece) {
    if (piece.kind === "link") {
        const link = document.createElement("a")
        link.textContent = piece.text
        link.style.textDecoration = "underline"
        const own = /^(DrawThings\w+)\.md(?:#(.*))?$/.exec(piece.to)
        link.href = String(new URL(piece.to, DOCS))
        link.target = "_blank"
        link.rel = "noopener"
        if (own) link.addEventListener("click", (event) => { event.preventDefault(); openHelp(own[1], own[2]) })
        return link
    }
    if (piece.kind === "image") {
        const image = document.createElement("img")
        image.src = String(new URL(piece.to, DOCS))
        image.alt = piece.text
        image.style.maxWidth = "100%"
        return image
    }
    if (piece.kind === "text") return document.createTextNode(piece.text)
    const made = document.createElement(piece.kind)
    made.textContent = piece.text
    return made
}
