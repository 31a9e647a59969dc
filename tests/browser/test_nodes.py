"""Every node opens in every frontend, in both renderings, with all its widgets."""

from __future__ import annotations

import re

import comfyui_drawthings
from comfyui_drawthings.runner.inputs import input_specs

from .page import EMPTY, SIZE

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
COLUMNS = 12
WIDE, HIGH = 440, 900
"""Pixels of the graph from one node to the next."""


def sheet():
    """A workflow with every node once, and none linked."""
    nodes = []
    for number, name in enumerate(NODES):
        place = [number % COLUMNS * WIDE, number // COLUMNS * HIGH]
        node = {"id": number + 1, "type": name, "pos": place, "size": [400, 60], "flags": {}, "order": number, "mode": 0}
        nodes.append({**node, "inputs": [], "outputs": [], "properties": {}})
    return {**EMPTY, "last_node_id": len(nodes), "nodes": nodes}


def widgets(name):
    """Names of a node's widgets as its class declares them."""
    return [spec.name for spec in input_specs(NODES[name]).values() if spec.widget]


LACKING = """wanted => drawThingsTest.graph().nodes.flatMap((node) => {
  const element = drawThingsTest.vue() && drawThingsTest.element(node.id)
  const labels = element ? [...element.querySelectorAll("[aria-label], [placeholder]")].map((one) => one.ariaLabel || one.placeholder) : []
  const lines = new Set(element ? [...labels, ...element.innerText.split("\\n")].map((line) => line.trim()) : [])
  const seen = (one) => (element ? lines.has(one.label || one.name) : !one.hidden && one.y > 0 && one.y < node.size[1])
  const names = new Set(node.widgets.filter(seen).map((one) => one.name))
  return (wanted[node.type] ?? []).filter((name) => !names.has(name)).map((name) => `${node.type}: ${name}`)
})"""
"""Of the wanted widgets by node type, those that cannot be seen: in Nodes 2.0 among the words of the node's element, else on its canvas."""

NEAR = """() => {
  const { canvas } = drawThingsTest.app
  Object.assign(canvas.ds, { scale: 1, offset: [40, 60] })
  canvas.setDirty(true, true)
}"""
ON_SCREEN = 5
"""Nodes of the sheet's first row, seen from there: the Nodes 2.0 of 1.27 draws the widgets of no others."""


def test_every_node_has_its_widgets(comfy):
    comfy.page.set_viewport_size({"width": 2560, "height": 1600})
    try:
        comfy.open(sheet(), "every node")
        comfy.fit()
        comfy.shot("every_node")
        rows = comfy.js("() => drawThingsTest.nodes()")
        assert {row["type"]: row["known"] for row in rows} == dict.fromkeys(NODES, True)
        wanted = {row["type"]: widgets(row["type"]) for row in rows}
        assert {row["type"]: [one["name"] for one in row["widgets"] if one["name"] in wanted[row["type"]]] for row in rows} == wanted
        # LoRA Stack shows one empty slot.
        wanted["DrawThingsLoRAStack"] = [name for name in wanted["DrawThingsLoRAStack"] if not re.search(r"_[2-9]$", name)]
        if not comfy.draws_all:
            comfy.js(NEAR)
            wanted = {kind: wanted[kind] for kind in list(NODES)[:ON_SCREEN]}
            comfy.page.wait_for_function(f"wanted => ({LACKING})(wanted).length === 0", arg=wanted)
        assert comfy.js(LACKING, wanted) == []
    finally:
        comfy.page.set_viewport_size(SIZE)
