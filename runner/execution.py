"""Runs a graph: everything that its output nodes need, in one event loop, independent nodes side by side, as ComfyUI does."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from . import validation
from .workflow import Graph, Link, Node, WorkflowError


class NodeFailed(Exception):
    """A node raised `cause`."""

    def __init__(self, node: Node, cause: Exception):
        super().__init__(f"{node.named}: {cause}")
        self.node = node
        self.cause = cause


@dataclass
class Report:
    """What a node that generates said about its pictures."""

    node: Node
    seeds: list[int | None]
    notes: list[str]


@dataclass
class Outcome:
    """What a run gave. shown: the texts that output nodes show, by node; refused: outputs that could not run, as sentences; the
    others ran.
    """

    reports: list[Report] = field(default_factory=list)
    shown: list[tuple[Node, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Watcher:
    """Told, in the run's own thread, when a node begins and what it returned. This one does not care."""

    def began(self, node: Node) -> None:
        pass

    def ended(self, node: Node, returned: Any) -> None:
        pass


def run(graph: Graph, classes: Mapping[str, Any], stop: Callable[[], None] = lambda: None, watcher: Watcher | None = None) -> Outcome:
    """Run the whole graph. stop: called when a node fails, so that nodes beside it end. Raises WorkflowError when nothing
    can run, NodeFailed when a node fails.
    """
    with torch.inference_mode():
        return asyncio.run(_run(graph, classes, stop, watcher or Watcher()))


async def _run(graph: Graph, classes: Mapping[str, Any], stop: Callable[[], None], watcher: Watcher) -> Outcome:
    outcome = Outcome()
    inputs: dict[str, dict[str, Any]] = {}
    outputs = [node.id for node in graph.nodes.values() if getattr(classes[node.type], "OUTPUT_NODE", False)]
    if not outputs:
        raise WorkflowError("Nothing in the workflow saves or shows a result: connect a Save Image node.")
    refusals: list[WorkflowError] = []
    for output in outputs:
        try:
            for node_id in validation.order(graph, output):
                if node_id not in inputs:
                    inputs[node_id] = await validation.checked_inputs(graph.nodes[node_id], graph, classes)
        except WorkflowError as error:
            refusals.append(error)
            outcome.refused.append(f"{graph.nodes[output].named} was left out: {error}")
    runnable = _runnable(graph, outputs, inputs)
    if not runnable:
        raise refusals[0]
    returned = await _results(graph, classes, runnable, inputs, stop, watcher)
    outcome.shown = [(graph.nodes[node_id], text) for node_id, value in returned.items() if (text := _shown(value))]
    outcome.reports = list(_reports(graph, classes, {node_id: _outputs(value) for node_id, value in returned.items()}))
    return outcome


def _runnable(graph: Graph, outputs: list[str], inputs: Mapping[str, Any]) -> list[str]:
    """Ids in running order of what the fit outputs need."""
    found: dict[str, None] = {}
    for output in outputs:
        if output in inputs:  # an output is checked last, after all that it needs
            found.update(dict.fromkeys(validation.order(graph, output)))
    return list(found)


async def _results(
    graph: Graph,
    classes: Mapping[str, Any],
    running: list[str],
    inputs: Mapping[str, dict[str, Any]],
    stop: Callable[[], None],
    watcher: Watcher,
) -> dict[str, Any]:
    """What each node returned, in the order that they run."""
    tasks: dict[str, asyncio.Task[Any]] = {}

    async def one(node: Node) -> Any:
        arguments = {
            name: _outputs(await tasks[value.node])[value.slot] if isinstance(value, Link) else value
            for name, value in inputs[node.id].items()
        }
        watcher.began(node)
        try:
            returned = await _call(node, classes[node.type], arguments, graph)
        except Exception as error:
            raise NodeFailed(node, error) from error
        watcher.ended(node, returned)
        return returned

    for node_id in running:
        tasks[node_id] = asyncio.create_task(one(graph.nodes[node_id]))
    _, pending = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
    if pending:
        stop()  # nodes that are generating notice it, and end by themselves
    done = await asyncio.gather(*tasks.values(), return_exceptions=True)
    failed = [error for error in done if isinstance(error, NodeFailed)]
    if failed:
        raise _first_cause(failed)
    return {node_id: task.result() for node_id, task in tasks.items()}


def _first_cause(failed: list[NodeFailed]) -> NodeFailed:
    """The failure that the others follow from: nodes that were only stopped come last."""
    from ..drawthings_core.errors import GenerationCancelled

    return min(failed, key=lambda error: isinstance(error.cause, GenerationCancelled))


async def _call(node: Node, node_class: Any, arguments: dict[str, Any], graph: Graph) -> Any:
    hidden = {
        "UNIQUE_ID": node.id,
        "PROMPT": graph.prompt(),
        "EXTRA_PNGINFO": {"workflow": graph.workflow} if graph.workflow is not None else None,
    }
    for name, kind in node_class.INPUT_TYPES().get("hidden", {}).items():
        arguments[name] = hidden.get(kind if isinstance(kind, str) else kind[0])
    result = getattr(node_class(), node_class.FUNCTION)(**arguments)
    return await result if inspect.isawaitable(result) else result


def _outputs(returned: Any) -> tuple[Any, ...]:
    """The outputs in what a node returned, a tuple or {"ui": ..., "result": ...}."""
    return tuple((returned.get("result") if isinstance(returned, Mapping) else returned) or ())


def _shown(returned: Any) -> str:
    """The text that a node wants to have shown; "" when there is none."""
    text = returned.get("ui", {}).get("text", ()) if isinstance(returned, Mapping) else ()
    return "\n".join(map(str, text))


def _reports(graph: Graph, classes: Mapping[str, Any], results: Mapping[str, tuple[Any, ...]]) -> Iterator[Report]:
    """From the info text that nodes which generate give."""
    for node_id, result in results.items():
        names = getattr(classes[graph.nodes[node_id].type], "RETURN_NAMES", ())
        if "info" not in names or len(result) != len(names):
            continue
        info = json.loads(result[names.index("info")])
        if "seeds" in info:
            yield Report(graph.nodes[node_id], info["seeds"], info.get("notes", []))
