// @ts-check
// The browser extension: the one module that does something when it is loaded, and the one that imports ComfyUI's. What it does is in the concerns.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { asking } from "./ask.js"
import { errors } from "./errors.js"
import { extension } from "./extension.js"
import { languages } from "./languages.js"
import { lists } from "./lists.js"
import { paste } from "./paste.js"
import { progress } from "./progress.js"
import { recommendedSettings } from "./recommended.js"
import { slots } from "./slots.js"
import { savedServers } from "./servers.js"
import { statusOfServers } from "./status.js"
import { textOnNode } from "./text_on_node.js"

const CONCERNS = [languages, textOnNode, lists, statusOfServers, savedServers, recommendedSettings, slots, progress, errors, paste]

app.registerExtension(extension("DrawThings", CONCERNS, { app, api, ask: asking(api) }))
