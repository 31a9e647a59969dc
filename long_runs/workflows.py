"""Workflow files, damaged as JSON and as text: read, checked and run as drawthings-run does, against a server that answers everything."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from ..drawthings_core.servers import NO_SERVER
from ..drawthings_core.tls import TLSMode
from ..nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from ..runner import execution, overrides, stand_ins, workflow
from . import damage, streams
from .damage import Dice, damaged, damaged_json
from .page import Section

COUNT = 10_000
EXAMPLES = Path(__file__).resolve().parents[1] / "example_workflows"


@functools.cache
def _samples() -> list[Any]:
    """Every example as it is saved, and in API format."""
    saved = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]
    classes = {**NODE_CLASS_MAPPINGS, **stand_ins.STAND_INS}
    return saved + [workflow.parse(document, classes, NODE_DISPLAY_NAME_MAPPINGS).prompt() for document in saved]


def wrong(document: Any, dice: Dice) -> bytes:
    """A workflow file; a few are right. Within some, only the inputs of nodes are damaged, so that more of them run."""
    kind = dice.randrange(6)
    if kind == 0:
        return damaged(json.dumps(document).encode(), dice)
    if kind == 1:
        return json.dumps(damaged_json(document, dice)).encode()
    document = json.loads(json.dumps(document))
    nodes = document["nodes"] if "nodes" in document else list(document.values())
    for node in dice.sample(nodes, min(len(nodes), dice.choice([0, 1, 1, 2]))):
        place = "inputs" if "nodes" not in document else dice.choice(["widgets_values", "widgets_values", "inputs"])
        if node.get(place):
            node[place] = damaged_json(node[place], dice)
    return json.dumps(document).encode()


def read(number: int) -> str:
    """Read only: the parser and its checks."""
    dice = Dice(number)
    with tempfile.TemporaryDirectory() as folder:
        _graph(Path(folder), dice, stand_ins.STAND_INS)
    return "graph"


def read_and_run(number: int) -> str:
    dice = Dice(number)
    own = streams.answering()
    own.stream = [answer.SerializeToString() for answer in streams.sample(dice)]
    where = {"host": own.server.host, "port": own.server.port, "tls": TLSMode.plain.value}
    with tempfile.TemporaryDirectory() as temporary:
        folders = stand_ins.Folders((EXAMPLES / "input",), Path(temporary) / "out")
        graph, classes = _graph(Path(temporary), dice, stand_ins.bound(folders))
        if any(node.type == overrides.LOAD_SERVER for node in graph.nodes.values()):
            graph = overrides.use_server(graph, {**where, "saved_server": NO_SERVER, "secret": "", "ca_file": ""})
        with stand_ins.in_use(folders):
            try:
                outcome = execution.run(graph, classes)
            except execution.NodeFailed as failed:
                raise failed.cause from failed
    for sentence in outcome.refused:
        if not sentence.endswith((".", "?")) or len(sentence) > damage.LONGEST_SENTENCE:
            raise AssertionError(f"{sentence[:200]!r} is no sentence")
    return "run in part" if outcome.refused else "run"


def _graph(folder: Path, dice: Dice, bound: dict[str, Any]) -> tuple[workflow.Graph, dict[str, Any]]:
    file = folder / "workflow.json"
    file.write_bytes(wrong(dice.choice(_samples()), dice))
    classes = {**NODE_CLASS_MAPPINGS, **bound}
    return workflow.read(file, classes, NODE_DISPLAY_NAME_MAPPINGS), classes


ATTEMPTS: dict[str, damage.Attempt] = {"workflow": read, "workflow, run": read_and_run}


def run(count: int, seed: int) -> Section:
    return damage.run(
        __name__,
        "Damaged workflow files",
        "The example workflows, as ComfyUI saves them and in API format, changed as JSON, as text, or in the inputs of some nodes: read and checked, "
        "and run to the end by the runner.",
        count,
        seed,
    )
