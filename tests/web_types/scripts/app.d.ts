// Where ComfyUI serves it, as seen from an extension's folder.
import type { ComfyApp } from "@comfyorg/comfyui-frontend-types"

export const app: ComfyApp
