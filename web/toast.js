// @ts-check
// ComfyUI's toasts, one at a time for each of our concerns: several pastes shall not pile up what they tell.

/** @typedef {{severity: "success" | "info" | "warn" | "error", summary: string, detail?: string, life?: number}} Message  life: ms, else until it is closed */

/** The message that each concern showed last. @type {Map<string, Message>} */
const shown = new Map()

/**
 * Show a message in place of the concern's former one.
 * @param {any} app @param {string} concern @param {Message} message
 */
export function toast(app, concern, message) {
    const toasts = app.extensionManager.toast
    if (!toasts.remove) {
        // Frontend 1.58 replaces what has the same id.
        const { severity, summary, detail, life } = message
        toasts[severity === "warn" ? "warning" : severity](summary, { id: `drawthings-${concern}`, description: detail, duration: life })
        return
    }
    const former = shown.get(concern)
    if (former) toasts.remove(former)
    shown.set(concern, message)
    toasts.add(message)
}
