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


def drawn(comfy):
    """Node type -> names of the widgets that can be seen: in Nodes 2.0 the words of the node's element, else what is on its canvas."""
    return comfy.js(
        """() => Object.fromEntries(drawThingsTest.graph().nodes.map((node) => {
          if (!drawThingsTest.vue())
            return [node.type, node.widgets.filter((one) => !one.hidden && one.y > 0 && one.y < node.size[1]).map((one) => one.name)]
          const element = drawThingsTest.element(node.id)
          const words = [...element.querySelectorAll("[aria-label], [placeholder]")].map((one) => one.ariaLabel || one.placeholder)
          const lines = new Set([...words, ...element.innerText.split("\\n")].map((line) => line.trim()))
          return [node.type, node.widgets.filter((one) => lines.has(one.label || one.name)).map((one) => one.name)]
        }))"""
    )


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
        seen = drawn(comfy)
        # LoRA Stack shows one empty slot.
        wanted["DrawThingsLoRAStack"] = [name for name in wanted["DrawThingsLoRAStack"] if not re.search(r"_[2-9]$", name)]
        missing = {kind: lacks for kind, names in wanted.items() if (lacks := [name for name in names if name not in seen[kind]])}
        assert missing == {} or not comfy.draws_all
    finally:
        comfy.page.set_viewport_size(SIZE)
