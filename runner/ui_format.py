"""ComfyUI's UI format (what "Save" writes: schema 0.4 and 1) -> the graph that would be sent to the server.

What the frontend does with Reroute, PrimitiveNode, notes, muted and bypassed nodes and subgraphs is done here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..drawthings_core.errors import short
from . import dynamic_prompt
from .inputs import input_specs
from .workflow import Graph, Link, Node, WorkflowError, cut, named, widget_values

MUTED = 2
BYPASSED = 4
NOTES = frozenset({"Note", "MarkdownNote"})
REROUTE = "Reroute"
PRIMITIVE = "PrimitiveNode"
GROUP_NODE = "workflow"
"""Types of old "group nodes" start with this and a slash or a greater-than sign."""

SUBGRAPH_INPUT = -10
SUBGRAPH_OUTPUT = -20
DEEPEST_SUBGRAPH = 32
MOST_NODES = 20_000
"""Those inside subgraphs included: a few that hold each other several times would come to billions."""
EXPORT = "export the workflow in API format from ComfyUI and run that"


class _Value(NamedTuple):
    """A constant where a link was expected."""

    value: Any


@dataclass
class _Input:
    name: str
    type: Any
    origin: Link | None


@dataclass
class _Saved:
    """A node as saved. Ids inside a subgraph are "instance:inner", as ComfyUI spells them.

    exits: for an expanded subgraph, what each of its outputs comes from.
    """

    id: str
    type: str
    title: str
    mode: int
    inputs: list[_Input]
    values: Any
    fixed: dict[str, Any] = field(default_factory=dict)
    exits: dict[int, Link] | None = None

    @property
    def named(self) -> str:
        return named(self.title, self.id)


def parse_ui(document: Mapping[str, Any], classes: Mapping[str, Any], titles: Mapping[str, str]) -> Graph:
    """The graph of a saved workflow. Raises WorkflowError, and KeyError and the like where the file is not in its form."""
    saved = _Reader(document, titles).saved
    chance = random.Random()
    nodes = {}
    for one in saved.values():
        if _takes_part(one):
            nodes[one.id] = Node(one.id, one.type, one.title, _inputs(one, saved, classes, chance))
    return Graph(nodes, document)


def _takes_part(one: _Saved) -> bool:
    virtual = one.type in NOTES or one.type in (REROUTE, PRIMITIVE) or one.exits is not None or one.type == str(SUBGRAPH_INPUT)
    return not virtual and one.mode not in (MUTED, BYPASSED)


def _inputs(one: _Saved, saved: Mapping[str, _Saved], classes: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """Widget values first, then what links say."""
    inputs: dict[str, Any] = {}
    if one.type in classes:
        inputs = {**widget_values(classes[one.type], one.values), **one.fixed}
        for spec in input_specs(classes[one.type]).values():
            if spec.options.get("dynamicPrompts") and isinstance(inputs.get(spec.name), str):
                inputs[spec.name] = dynamic_prompt.resolve(inputs[spec.name], chance)
    for given in one.inputs:
        source = _source(given.origin, given.type, one, given.name, saved)
        if source is not None:
            inputs[given.name] = source.value if isinstance(source, _Value) else source
    return inputs


def _source(origin: Link | None, wanted: Any, target: _Saved, name: str, saved: Mapping[str, _Saved]) -> Link | _Value | None:
    """What really feeds an input, past virtual and bypassed nodes; None when nothing does."""
    seen = set()
    while origin is not None:
        one = saved.get(origin.node)
        if one is None:
            raise WorkflowError(
                f"The input {short(name)} of {target.named} is linked to node {cut(origin.node)}, which is not in the workflow."
            )
        if origin in seen:
            raise WorkflowError(f"The links into the input {short(name)} of {target.named} run in a circle.")
        seen.add(origin)
        if one.mode == MUTED:
            return None
        if one.mode == BYPASSED:
            origin = _past(one, origin.slot, wanted)
        elif one.exits is not None:
            origin = one.exits.get(origin.slot)
        elif one.type == str(SUBGRAPH_INPUT):
            outer = one.inputs[origin.slot] if origin.slot < len(one.inputs) else None
            if outer is not None and outer.origin is None and outer.name in one.fixed:
                return _Value(one.fixed[outer.name])
            origin = outer.origin if outer is not None else None
        elif one.type == REROUTE:
            origin = one.inputs[0].origin if one.inputs else None
        elif one.type == PRIMITIVE:
            return _Value(one.values[0]) if one.values else None
        else:
            return origin
    return None


def _past(one: _Saved, slot: int, wanted: Any) -> Link | None:
    """A bypassed node hands on the input beside the output if it is of that type, else its first input of that type."""
    for given in [*one.inputs[slot : slot + 1], *one.inputs]:
        if given.type == wanted:
            return given.origin
    return None


class _Reader:
    """Reads the nodes of the file, those inside subgraphs included."""

    def __init__(self, document: Mapping[str, Any], titles: Mapping[str, str]):
        self._titles = titles
        definitions = (document.get("definitions") or {}).get("subgraphs") or []
        self._subgraphs = {definition["id"]: definition for definition in definitions}
        self.saved: dict[str, _Saved] = {}
        self._read(document, "", 0)

    def _read(self, scope: Mapping[str, Any], prefix: str, depth: int) -> dict[int, Link]:
        """Read one level; what each output of this level comes from."""
        if depth > DEEPEST_SUBGRAPH:
            raise WorkflowError(f"The workflow's subgraphs contain one another: {EXPORT}.")
        links = dict(_links(scope, prefix))
        for row in scope["nodes"]:
            one = self._node(row, prefix, links)
            if len(self.saved) >= MOST_NODES:
                raise WorkflowError(f"The workflow has more than {MOST_NODES} nodes, those inside its subgraphs included: make it smaller.")
            if one.id in self.saved:
                raise WorkflowError(f"The workflow has two nodes of the id {cut(one.id)}.")
            self.saved[one.id] = one
            definition = self._subgraphs.get(one.type)
            if definition is not None and one.mode not in (MUTED, BYPASSED):
                self._expand(one, row, definition, depth)
        return {link.target_slot: link.origin for link in links.values() if link.target == f"{prefix}{SUBGRAPH_OUTPUT}"}

    def _node(self, row: Mapping[str, Any], prefix: str, links: Mapping[Any, _SavedLink]) -> _Saved:
        kind = str(row["type"])
        definition = self._subgraphs.get(kind)
        title = row.get("title") or (definition or {}).get("name") or self._titles.get(kind, kind)
        node_id = f"{prefix}{row['id']}"
        if kind.startswith((f"{GROUP_NODE}>", f"{GROUP_NODE}/")):
            raise WorkflowError(f"{named(title, node_id)} is a group node, which the runner does not open: {EXPORT}.")
        inputs = []
        for given in row.get("inputs") or []:
            link = given.get("link")
            if link is not None and link not in links:
                raise WorkflowError(
                    f"The link {cut(link)} into the input {short(given['name'])} of {named(title, node_id)} is missing from the file."
                )
            inputs.append(_Input(given["name"], given.get("type"), None if link is None else links[link].origin))
        return _Saved(node_id, kind, str(title), row.get("mode") or 0, inputs, row.get("widgets_values"))

    def _expand(self, one: _Saved, row: Mapping[str, Any], definition: Mapping[str, Any], depth: int) -> None:
        prefix = f"{one.id}:"
        entrance = _Saved(f"{prefix}{SUBGRAPH_INPUT}", str(SUBGRAPH_INPUT), one.title, 0, _outer_inputs(one, definition), None)
        self.saved[entrance.id] = entrance
        one.exits = self._read(definition, prefix, depth + 1)
        self._set_promoted(one, row, entrance)

    def _set_promoted(self, one: _Saved, row: Mapping[str, Any], entrance: _Saved) -> None:
        """Values that an instance of a subgraph has for widgets of the nodes inside."""
        values = row.get("widgets_values")
        if not values:
            return  # they are saved with the nodes inside
        promoted = (row.get("properties") or {}).get("proxyWidgets") or [
            ["-1", given["widget"]["name"]] for given in row.get("inputs") or [] if given.get("widget")
        ]
        if not isinstance(values, list) or len(values) != len(promoted):
            raise WorkflowError(f"The subgraph {one.named} has values of its own in a form that the runner does not know: {EXPORT}.")
        for (inner, name), value in zip(promoted, values, strict=True):
            if value is None:
                continue
            if str(inner) == "-1":
                entrance.fixed[name] = value
            elif f"{one.id}:{inner}" in self.saved:
                self.saved[f"{one.id}:{inner}"].fixed[name] = value


def _outer_inputs(one: _Saved, definition: Mapping[str, Any]) -> list[_Input]:
    """The instance's inputs in the order of the subgraph's own list."""
    by_name = {given.name: given for given in one.inputs}
    return [by_name.get(given["name"]) or _Input(given["name"], given.get("type"), None) for given in definition.get("inputs") or []]


class _SavedLink(NamedTuple):
    origin: Link
    target: str
    target_slot: int


def _links(scope: Mapping[str, Any], prefix: str) -> Iterator[tuple[Any, _SavedLink]]:
    """Links by id: arrays in schema 0.4, objects in schema 1 and inside subgraphs."""
    for row in scope.get("links") or []:
        if row is None:
            continue
        if isinstance(row, Mapping):
            key, origin, slot = row["id"], row["origin_id"], row["origin_slot"]
            target, target_slot = row["target_id"], row["target_slot"]
        else:
            key, origin, slot, target, target_slot = row[:5]
        yield key, _SavedLink(Link(f"{prefix}{origin}", int(slot)), f"{prefix}{target}", int(target_slot))
