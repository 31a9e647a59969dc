"""Workflows of users keep loading: files as they were, a folder for each release or day on main. Only ever add some."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from comfyui_drawthings.runner import stand_ins, validation
from comfyui_drawthings.runner.inputs import input_specs
from comfyui_drawthings.runner.workflow import Graph, read

FOLDER = Path(__file__).parent / "released_workflows"
FILES = sorted(FOLDER.rglob("*.json"))
INPUT = FOLDER.parents[1] / "example_workflows" / "input"

each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())


@pytest.fixture
def classes(tmp_path: Path) -> Iterator[dict[str, Any]]:
    folders = stand_ins.Folders((INPUT,), tmp_path)
    with stand_ins.in_use(folders):
        yield {**NODE_CLASS_MAPPINGS, **stand_ins.bound(folders)}


def load(path: Path, classes: dict[str, Any]) -> Graph:
    return read(path, classes, {**NODE_DISPLAY_NAME_MAPPINGS, **stand_ins.TITLES})


def test_there_are_some():
    assert {path.parent.name for path in FILES} >= {"0.1.0", "2026-11-21"}
    assert len(FILES) >= 38


@each
def test_a_released_workflow_loads_and_passes_the_checks(path, classes):
    graph = load(path, classes)
    for node in graph.nodes.values():
        asyncio.run(validation.checked_inputs(node, graph, classes))
    outputs = [node.id for node in graph.nodes.values() if getattr(classes[node.type], "OUTPUT_NODE", False)]
    assert outputs
    for output in outputs:
        assert validation.order(graph, output)[-1] == output


@each
def test_its_values_reach_the_widgets_that_they_were_set_in(path, classes):
    """They are saved by position: the widgets that a file knows are still the first, in its order."""
    graph = load(path, classes)
    drawthings = [node for node in json.loads(path.read_text(encoding="utf-8"))["nodes"] if node["type"] in NODE_CLASS_MAPPINGS]
    assert drawthings
    for node in drawthings:
        named = [slot["name"] for slot in node["inputs"] if slot.get("widget")]
        now = [name for name, spec in input_specs(NODE_CLASS_MAPPINGS[node["type"]]).items() if spec.widget]
        assert named == now[: len(named)]
        linked = {slot["name"] for slot in node["inputs"] if slot.get("link") is not None}
        values = iter(node["widgets_values"])
        for name in named:
            value = next(values)
            if name == "seed":
                next(values)  # control_after_generate
            if name not in linked:
                assert graph.nodes[str(node["id"])].inputs[name] == value, name
