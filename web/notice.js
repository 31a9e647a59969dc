// @ts-check
// Notices of our own at the lower edge of the page: ComfyUI's toasts hold plain text only, and these have links.

import { helpAddress, openHelp } from "./help.js"
import { say } from "./rules/words.js"

const MOST = 3

/** @type {HTMLElement | undefined} */
let place

/**
 * Show a notice until it is closed.
 * @param {{title: string, text: string, nodeType: string, section?: string}} what text: may be empty. nodeType, section: of the help page
 */
export function notice({ title, text, nodeType, section }) {
    const made = document.createElement("div")
    made.className = "drawthings-notice"
    made.setAttribute("role", "alert")
    Object.assign(made.style, {
        position: "relative",
        padding: "12px 36px 12px 14px",
        color: "var(--input-text, #ddd)",
        background: "var(--comfy-menu-bg, #353535)",
        border: "1px solid var(--border-color, #4e4e4e)",
        borderLeft: "4px solid var(--error-text, #ff4444)",
        borderRadius: "6px",
        boxShadow: "0 4px 16px rgb(0 0 0 / 40%)",
        font: "13px/1.45 sans-serif",
        overflowWrap: "anywhere",
        pointerEvents: "auto",
        userSelect: "text",
    })
    const heading = document.createElement("div")
    heading.textContent = title
    heading.style.fontWeight = "600"
    const body = document.createElement("div")
    body.textContent = text
    const link = document.createElement("a")
    link.textContent = say(section ? "errors.help" : "errors.help_page")
    link.href = helpAddress(nodeType, section)
    link.target = "_blank"
    Object.assign(link.style, { color: "inherit", textDecoration: "underline", cursor: "pointer" })
    link.addEventListener("click", (event) => {
        event.preventDefault()
        openHelp(nodeType, section)
    })
    const close = document.createElement("button")
    close.type = "button"
    close.textContent = "✕"
    close.title = close.ariaLabel = say("errors.close")
    Object.assign(close.style, { position: "absolute", top: "8px", right: "8px", background: "none", border: "0", color: "inherit", cursor: "pointer" })
    close.addEventListener("click", () => made.remove())
    made.append(close, heading, ...(text ? [body] : []), link)
    column().prepend(made)
    for (const old of [...column().children].slice(MOST)) old.remove()
}

/** Take all away. */
export function clearNotices() {
    place?.replaceChildren()
}

function column() {
    if (place?.isConnected) return place
    place = document.createElement("div")
    place.className = "drawthings-notices"
    Object.assign(place.style, {
        position: "fixed",
        left: "50%",
        bottom: "24px",
        transform: "translateX(-50%)", // at the right, newer frontends have their map and their tools
        width: "min(420px, 90vw)",
        display: "flex",
        flexDirection: "column",
        gap: "8px",
        zIndex: "10000", // above ComfyUI's dialogs
        pointerEvents: "none",
    })
    document.body.append(place)
    return place
}
