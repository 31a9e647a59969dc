// What the tests need inside ComfyUI's page, as window.drawThingsTest. It is evaluated once the page is ready.
(() => {
  const app = (window.app ??= window.comfyAPI.app.app)
  const api = window.comfyAPI?.api?.api ?? app.api
  const events = []
  const watched = [
    "status", "execution_start", "execution_cached", "execution_success", "execution_error", "execution_interrupted",
    "executing", "executed", "progress", "progress_state", "b_preview", "b_preview_with_metadata",
    "drawthings.progress",
  ]
  const plain = (value) => {
    try {
      return JSON.parse(JSON.stringify(value ?? null))
    } catch {
      return String(value)
    }
  }
  for (const type of watched) api.addEventListener(type, (event) => events.push({ type, data: plain(event.detail) }))
  const graph = () => app.rootGraph ?? app.graph
  const node = (id) => {
    const found = graph().getNodeById(id) ?? graph().getNodeById(Number(id))
    if (!found) throw new Error(`no node ${id}`)
    return found
  }
  const widget = (id, name) => {
    const found = (node(id).widgets ?? []).find((one) => one.name === name)
    if (!found) throw new Error(`no widget ${name} on ${node(id).type}`)
    return found
  }
  const vue = () => !!app.extensionManager.setting.get("Comfy.VueNodes.Enabled")
  const element = (id) => document.querySelector(`[data-node-id="${id}"]`)
  // In the graph's own pixels: [x, y, width, height] with the title bar.
  const box = (id) => {
    const one = node(id)
    if (!vue()) return [...one.getBounding()].map(Number)
    const rectangle = element(id).getBoundingClientRect()
    const { scale, offset } = app.canvas.ds
    const screen = app.canvas.canvas.getBoundingClientRect()
    return [
      (rectangle.x - screen.x) / scale - offset[0], (rectangle.y - screen.y) / scale - offset[1],
      rectangle.width / scale, rectangle.height / scale,
    ]
  }
  const choices = (one) => (Array.isArray(one.options?.values) ? [...one.options.values] : undefined)
  // Result or preview pictures that are drawn on a node, once they are loaded.
  const pictures = (id) => {
    const found = vue() ? [...element(id).querySelectorAll("img")] : node(id).imgs ?? []
    return [...found].filter((one) => one.complete && one.naturalWidth).length
  }
  window.drawThingsTest = {
    app, api, events, graph, node, widget, element, box, vue, pictures,
    nodes: () => graph().nodes.map((one) => ({
      id: String(one.id), type: one.type, title: one.title, known: one.type in LiteGraph.registered_node_types,
      widgets: (one.widgets ?? []).map((w) => ({ name: w.name, type: w.type, value: plain(w.value), choices: choices(w) })),
    })),
    choices: (id, name) => choices(widget(id, name)),
    set(id, name, value) {
      const one = widget(id, name)
      one.value = value
      one.callback?.(value, app.canvas, node(id))
    },
    toasts: () => [...document.querySelectorAll(".p-toast-message, [data-testid=toast]")].map((one) => one.innerText.trim()).filter(Boolean),
    dialogs: () => [...document.querySelectorAll(".p-dialog, [role=dialog]")].map((one) => one.innerText.trim()).filter(Boolean),
  }
})()
