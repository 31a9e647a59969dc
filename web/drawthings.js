// @ts-check
// The browser extension: the one module that does something when it is loaded.

import { app } from "../../scripts/app.js"
import { SHOW_TEXT, showText } from "./text_on_node.js"

app.registerExtension({
    name: "DrawThings",
    beforeRegisterNodeDef(nodeType, nodeData) {
        if (SHOW_TEXT.has(nodeData.name)) showText(nodeType)
    },
})
