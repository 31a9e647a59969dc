// @ts-check
// Making elements of the page.

/**
 * An element with properties (`class`, `on...`, `aria-...`, `data-...`, or its own) and children.
 * @param {string} tag
 * @param {Record<string, any>} [properties] undefined ones are left out
 * @param {(Node | string | null | undefined | false)[]} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag)
    for (const [name, value] of Object.entries(properties)) {
        if (value === undefined) continue
        if (name === "class") made.className = value
        else if (name.startsWith("on")) made.addEventListener(name.slice(2), value)
        else if (name.includes("-") || name === "for" || name === "role") made.setAttribute(name, value)
        else /** @type {any} */ (made)[name] = value
    }
    made.append(...children.filter((child) => child || child === "").map((child) => /** @type {Node | string} */ (child)))
    return made
}

/**
 * @param {string} text @param {() => void} act
 * @param {{primary?: boolean, title?: string}} [how]
 */
export function button(text, act, { primary = false, title } = {}) {
    return element("button", { type: "button", class: primary ? "primary" : "", onclick: act, title }, text)
}

/**
 * Load a style sheet that lies beside this module, once.
 * @param {string} name
 */
export function style(name) {
    const href = new URL(name, import.meta.url).href
    if (document.querySelector(`link[href="${href}"]`)) return
    document.head.append(element("link", { rel: "stylesheet", href }))
}
