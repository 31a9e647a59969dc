// @ts-check
// How many slots of LoRA Stack are shown.

import { NONE } from "./lists.js"

export const STACK = "DrawThingsLoRAStack"
const SLOT = /^(lora|weight|mode)_(\d+)$/

/** The number of the slot that a widget belongs to, 0 for none. @param {string} widget */
export function slotOf(widget) {
    return Number(SLOT.exec(widget)?.[2] ?? 0)
}

/**
 * The slots up to the last used one, and an empty one behind it.
 * @param {Record<string, any>} values of the widgets by name
 * @param {(widget: string) => boolean} [linked] whether a widget gets its value from another node
 */
export function slotsShown(values, linked = () => false) {
    const used = Object.entries(values).filter(([name, value]) => name.startsWith("lora_") && ((value && value !== NONE) || linked(name)))
    return Math.max(0, ...used.map(([name]) => slotOf(name))) + 1
}

/**
 * The LoRAs of a stack's slots that act.
 * @param {Record<string, any>} values
 */
export function lorasOf(values) {
    return Object.keys(values)
        .filter((name) => name.startsWith("lora_") && values[name] && values[name] !== NONE)
        .map((name) => ({ file: values[name], weight: Number(values[name.replace("lora", "weight")] ?? 1) }))
        .filter(({ weight }) => weight !== 0)
}
