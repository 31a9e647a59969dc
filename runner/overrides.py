"""--set NODE.input=value, and the server that the command line names instead of the workflow's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .inputs import InputSpec, input_specs
from .workflow import Graph, Node, WorkflowError

LOAD_SERVER = "DrawThingsLoadServer"
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Setting(NamedTuple):
    """node: an id, a title or a type."""

    node: str
    input: str
    value: str


def parse_setting(text: str) -> Setting:
    """Raises ValueError when it is not NODE.input=value."""
    target, equals, value = text.partition("=")
    node, dot, name = target.rpartition(".")
    if not equals or not dot or not node or not name:
        raise ValueError(f"{text!r} is not of the form NODE.input=value, such as 3.seed=42")
    return Setting(node.strip(), name.strip(), value)


def apply(graph: Graph, settings: Sequence[Setting], classes: Mapping[str, Any]) -> Graph:
    """The graph with these inputs set, in order. Raises WorkflowError."""
    for setting in settings:
        node = _named(graph, setting.node)
        specs = input_specs(classes[node.type])
        spec = specs.get(setting.input)
        if spec is None or not spec.widget:
            widgets = ", ".join(name for name, one in specs.items() if one.widget)
            raise WorkflowError(f"{node.named} has no input {setting.input!r} that takes a value: it has {widgets or 'none'}.")
        graph = graph.with_inputs(node.id, {setting.input: _value(node, spec, setting.value)})
    return graph


def use_server(graph: Graph, changes: Mapping[str, Any]) -> Graph:
    """The graph with these inputs set on every Load Server. Raises WorkflowError when it has none."""
    loaders = [node.id for node in graph.nodes.values() if node.type == LOAD_SERVER]
    if changes and not loaders:
        raise WorkflowError("The workflow has no Load Server node that the server of the command line could be used in.")
    for node_id in loaders:
        graph = graph.with_inputs(node_id, changes)
    return graph


def _named(graph: Graph, name: str) -> Node:
    if name in graph.nodes:
        return graph.nodes[name]
    found = [node for node in graph.nodes.values() if name in (node.title, node.type)]
    if len(found) == 1:
        return found[0]
    if found:
        raise WorkflowError(f"{name!r} could be node {' or node '.join(node.id for node in found)}: use the id.")
    known = ", ".join(f"{node.id} ({node.title})" for node in graph.nodes.values())
    raise WorkflowError(f"There is no node {name!r} that runs in the workflow: it has {known}.")


def _value(node: Node, spec: InputSpec, text: str) -> Any:
    """The text as the kind that the input takes."""
    if spec.kind == "BOOLEAN":
        if text.lower() not in _WORDS:
            raise WorkflowError(f"The input {spec.name!r} of {node.named} is {text!r}, but it is true or false.")
        return _WORDS[text.lower()]
    if spec.choices is not None:
        return next((choice for choice in spec.choices if str(choice) == text), text)
    return text  # numbers are converted where all values are checked
