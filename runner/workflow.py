"""A workflow file -> one graph, whichever of ComfyUI's two formats it is in. Nothing is run or imported here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..drawthings_core.errors import InvalidInput, short
from ..drawthings_core.nesting import deeper_than
from .inputs import input_specs

LARGEST_FILE = 64 << 20
"""Bytes of a workflow file that are still believed to be one."""
DEEPEST = 200
"""Lists and objects inside each other, which go through recursive writers again when a picture is saved."""
_LONGEST_SHOWN = 100
"""Characters of a title or an id in a sentence."""


class WorkflowError(InvalidInput):
    """A workflow that cannot be run; the sentence names the node and the input."""


class Link(NamedTuple):
    """An input that is fed by output `slot` of the node `node`."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """One node to run. inputs: name -> a value or a Link."""

    id: str
    type: str
    title: str
    inputs: Mapping[str, Any]

    @property
    def named(self) -> str:
        """How messages call it."""
        return named(self.title, self.id)

    @property
    def links(self) -> dict[str, Link]:
        return {name: value for name, value in self.inputs.items() if isinstance(value, Link)}


@dataclass(frozen=True)
class Graph:
    """The nodes that take part, by id. workflow: the UI format as it was read, which goes into PNG files; None for API files."""

    nodes: Mapping[str, Node]
    workflow: Mapping[str, Any] | None = field(default=None, repr=False)

    def prompt(self) -> dict[str, Any]:
        """The graph in API format."""
        return {
            node.id: {
                "class_type": node.type,
                "inputs": {name: list(value) if isinstance(value, Link) else value for name, value in node.inputs.items()},
                "_meta": {"title": node.title},
            }
            for node in self.nodes.values()
        }

    def with_inputs(self, node_id: str, changes: Mapping[str, Any]) -> Graph:
        """The graph with these inputs of one node set, links included."""
        node = self.nodes[node_id]
        changed = replace(node, inputs={**node.inputs, **changes})
        return replace(self, nodes={**self.nodes, node_id: changed})


def cut(text: Any) -> str:
    """As it is, but for what would fill the screen."""
    shown = str(text)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def named(title: str, node_id: str) -> str:
    """A node in a sentence."""
    return f"{cut(title)} (node {cut(node_id)})"


def read(path: Path, classes: Mapping[str, Any], titles: Mapping[str, str]) -> Graph:
    """The graph of a workflow file. classes: node type -> class; titles: node type -> display name. Raises WorkflowError."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise WorkflowError(f"{path.name} is too large for a workflow file.")
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkflowError(f"The workflow {path} cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"{path.name} is not a JSON file: give a workflow that ComfyUI saved or exported.") from error
    return parse(document, classes, titles, path.name)


def parse(document: Any, classes: Mapping[str, Any], titles: Mapping[str, str], name: str = "The workflow") -> Graph:
    """As `read`, from the JSON document."""
    from .ui_format import parse_ui  # it needs the classes above

    if isinstance(document, Mapping) and isinstance(document.get("prompt"), Mapping) and "nodes" not in document:
        document = document["prompt"]  # what is posted to ComfyUI's queue
    if deeper_than(DEEPEST, document):
        raise WorkflowError(f"{name} is nested too deeply for a workflow: give one that ComfyUI saved or exported.")
    try:
        if isinstance(document, Mapping) and isinstance(document.get("nodes"), list):
            graph = parse_ui(document, classes, titles)
        elif (
            isinstance(document, Mapping)
            and document
            and all(isinstance(row, Mapping) and "class_type" in row for row in document.values())
        ):
            graph = _parse_api(document, titles)
        else:
            raise WorkflowError(f"{name} is not a ComfyUI workflow: save one, or export it in API format, from ComfyUI.")
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise WorkflowError(
            f"{name} is damaged: it is not in the form that ComfyUI writes ({type(error).__name__}: {short(str(error))})."
        ) from error
    _check_types(graph, classes)
    _check_links(graph, classes)
    return graph


def _parse_api(document: Mapping[str, Any], titles: Mapping[str, str]) -> Graph:
    nodes = {}
    for node_id, row in document.items():
        kind = str(row["class_type"])
        title = row.get("_meta", {}).get("title") or titles.get(kind, kind)
        nodes[node_id] = Node(node_id, kind, str(title), {str(name): _api_value(value) for name, value in row.get("inputs", {}).items()})
    return Graph(nodes)


def _api_value(value: Any) -> Any:
    """A two-element list is a link; a list that is a value comes wrapped."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)) and type(value[1]) is int:
        return Link(str(value[0]), value[1])
    if isinstance(value, Mapping) and set(value) == {"__value__"}:
        return value["__value__"]
    return value


def _check_types(graph: Graph, classes: Mapping[str, Any]) -> None:
    for node in graph.nodes.values():
        if node.type not in classes:
            raise WorkflowError(
                f"{node.named} is of the type {short(node.type)}, which does not exist here: the runner knows the Draw Things nodes, LoadImage, "
                f"LoadImageMask, SaveImage, PreviewImage and PreviewAny; run this workflow in ComfyUI, or mute that node."
            )


def _check_links(graph: Graph, classes: Mapping[str, Any]) -> None:
    for node in graph.nodes.values():
        for name, link in node.links.items():
            source = graph.nodes.get(link.node)
            if source is None:
                raise WorkflowError(
                    f"The input {short(name)} of {node.named} is linked to node {cut(link.node)}, which is not in the workflow."
                )
            outputs = len(classes[source.type].RETURN_TYPES)
            if not 0 <= link.slot < outputs:
                raise WorkflowError(
                    f"The input {short(name)} of {node.named} is linked to output {cut(link.slot)} of {source.named}, which has {outputs} outputs."
                )


def widget_values(node_class: Any, values: Any) -> dict[str, Any]:
    """widgets_values of a saved workflow -> input name -> value; widgets without a saved value get their defaults.

    values: a list in the order of the widgets, with the entries that control widgets add, or a dict by name.
    """
    specs = [spec for spec in input_specs(node_class).values() if spec.widget]
    if isinstance(values, Mapping):
        return {spec.name: values.get(spec.name, spec.default) for spec in specs}
    rest = list(values or ())
    named = {}
    for spec in specs:
        named[spec.name] = rest.pop(0) if rest else spec.default
        del rest[: spec.extra_values]
    return named
