"""Workflows are saved and opened, and the example workflows can be read."""

from __future__ import annotations

import itertools
import json

import comfyui_drawthings
from comfyui_drawthings.runner.inputs import COMBO, input_specs
from comfyui_process import ROOT

from .page import beside
from .test_nodes import sheet

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
ROOM = 8
"""Pixels that stay between two nodes at least."""


def other(spec):
    """A value that the widget does not have by itself."""
    if spec.options.get("image_upload"):
        return "moodboard_tiles.png"
    if spec.kind == COMBO:
        return next((choice for choice in reversed(spec.choices) if choice != spec.default), "a_saved_file.ckpt")
    if spec.kind in ("INT", "FLOAT"):
        step = spec.options.get("step", 1)
        return spec.default - step if spec.default + step > spec.options.get("max", 1e9) else spec.default + step
    return not spec.default if spec.kind == "BOOLEAN" else f"{spec.default}, changed"


def test_every_widget_keeps_its_value_through_saving_and_opening(comfy):
    comfy.open(sheet())
    changed = {}
    for node, (name, node_class) in zip(comfy.nodes(), NODES.items(), strict=True):
        changed[name] = {spec.name: other(spec) for spec in input_specs(node_class).values() if spec.widget}
        comfy.js(
            "([id, values]) => { for (const [name, value] of values) drawThingsTest.set(id, name, value) }",
            [node.id, list(changed[name].items())],
        )
    saved = comfy.saved()
    comfy.clear() if comfy.vue else comfy.reload()
    comfy.open(json.loads(json.dumps(saved)))
    found = {name: node.values() for node, name in zip(comfy.nodes(), NODES, strict=True)}
    assert {name: {widget: found[name][widget] for widget in values} for name, values in changed.items()} == changed


def test_no_example_has_a_node_that_is_missing_or_under_another(comfy):
    """All of them in one graph, one under the other: node sizes do not depend on the place."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in EXAMPLES]
    comfy.open(beside(*documents))
    rows = comfy.js("() => drawThingsTest.nodes().map((one) => ({ ...one, box: drawThingsTest.box(one.id) }))")
    assert [row["type"] for row in rows if not row["known"]] == []
    assert len(rows) == sum(len(document["nodes"]) for document in documents)
    over = [
        f"{path.stem}: {one['title']} {shape(one)} and {another['title']} {shape(another)}"
        for path, nodes in zip(EXAMPLES, parts(rows, documents), strict=True)
        for one, another in itertools.combinations(nodes, 2)
        if not apart(one["box"], another["box"])
    ]
    if comfy.draws_all:
        assert over == []


def parts(rows, documents):
    """The rows of each document."""
    left = iter(rows)
    return [list(itertools.islice(left, len(document["nodes"]))) for document in documents]


def shape(row):
    return [round(number) for number in row["box"]]


def apart(a, b):
    """Whether two boxes x, y, width, height have room between them."""
    return a[0] + a[2] + ROOM <= b[0] or b[0] + b[2] + ROOM <= a[0] or a[1] + a[3] + ROOM <= b[1] or b[1] + b[3] + ROOM <= a[1]
