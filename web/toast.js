// @ts-check
// ComfyUI's toasts, one at a time about each thing: several pastes shall not pile up what they tell.

/** @typedef {{severity: "success" | "info" | "warn" | "error", summary: string, detail?: string, life?: number}} Message  life: ms, else until it is closed */

/** What was said last about each thing. @type {Map<string, Message>} */
const shown = new Map()

/**
 * Show a message in place of the former one about the same.
 * @param {any} app @param {string} about @param {Message} message
 */
export function toast(app, about, message) {
    const toasts = app.extensionManager.toast
    if (!toasts.remove) {
        // Frontend 1.58 replaces what has the same id.
        const { severity, summary, detail, life } = message
        toasts[severity === "warn" ? "warning" : severity](summary, { id: `drawthings-${about}`, description: detail, duration: life })
        return
    }
    const former = shown.get(about)
    if (former) toasts.remove(former)
    shown.set(about, message)
    toasts.add(message)
}
