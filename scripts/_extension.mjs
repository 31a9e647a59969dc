// What the browser extension registers and says, as JSON: web/drawthings.js is loaded as ComfyUI would, with a stand-in for ComfyUI.
// Run by scripts/_words.py; Node.js 18.19 or newer.

import { register } from "node:module"
import { pathToFileURL } from "node:url"

const STAND_IN = `
    export const app = { registerExtension: (extension) => { globalThis.registered = extension } }
    export const api = new EventTarget()
`
const HOOKS = `
    export function resolve(name, context, next) {
        return /\\/scripts\\/(app|api)\\.js$/.test(name) ? { url: ${JSON.stringify(dataUrl(STAND_IN))}, shortCircuit: true } : next(name, context)
    }
`
register(dataUrl(HOOKS))

const web = new URL(process.argv[2].endsWith("/") ? process.argv[2] : `${process.argv[2]}/`, pathToFileURL("/"))
await import(new URL("drawthings.js", web).href)
const { english } = await import(new URL("rules/words.js", web).href)
const { settings = [], commands = [], menuCommands = [] } = globalThis.registered
process.stdout.write(JSON.stringify({
    settings: settings.map(({ id, name, tooltip, category, options, type }) => ({ id, name, tooltip, category, options, type })),
    commands: commands.map(({ id, label, tooltip }) => ({ id, label, tooltip })),
    menus: [...new Set(menuCommands.flatMap(({ path }) => path))],
    words: english(),
}))

/** @param {string} source */
function dataUrl(source) {
    return `data:text/javascript,${encodeURIComponent(source)}`
}
