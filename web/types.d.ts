// Types that the modules of this folder share. No JavaScript: ComfyUI does not load it.

import type { ComfyApi, ComfyApp } from "@comfyorg/comfyui-frontend-types"

/** POST to /drawthings/<path>. Rejects with a Refusal (ask.js), or with the signal's reason when aborted. */
export type Ask = (path: string, body: object, options?: { signal?: AbortSignal }) => Promise<any>

/** What every concern works with. */
export interface Comfy {
    /** ComfyUI's application: graph, extensionManager, ... */
    app: ComfyApp
    /** ComfyUI's HTTP and websocket side. */
    api: ComfyApi
    ask: Ask
}

type One<Item> = Item[] | ((comfy: Comfy) => Item[])

/**
 * One thing that the extension does. Hooks are ComfyUI's own with its own values, and `comfy` behind them in place of `app`; a concern has those
 * that it needs.
 */
export interface Concern {
    name: string
    settings?: One<any>
    commands?: One<any>
    keybindings?: One<any>
    menuCommands?: One<any>
    /** When the extension is made: before ComfyUI opens its websocket, which knows only messages that somebody listens to. */
    begin?(comfy: Comfy): void
    init?(comfy: Comfy): void | Promise<void>
    setup?(comfy: Comfy): void | Promise<void>
    beforeRegisterNodeDef?(nodeType: any, nodeData: any, comfy: Comfy): void
    beforeConfigureGraph?(graph: any, missing: any, comfy: Comfy): void
    nodeCreated?(node: any, comfy: Comfy): void
    afterConfigureGraph?(missing: any, comfy: Comfy): void
    refreshComboInNodes?(defs: Record<string, any>, comfy: Comfy): void | Promise<void>
    /** Frontends from 1.35 on. */
    getNodeMenuItems?(node: any, comfy: Comfy): any[]
}
