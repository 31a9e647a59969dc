"""The checks that ComfyUI makes before a prompt is queued, with the same verdicts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ..drawthings_core.errors import short
from .inputs import COMBO, InputSpec, input_specs
from .workflow import Graph, Link, Node, WorkflowError

_CONVERTED = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


def order(graph: Graph, output: str) -> list[str]:
    """The nodes that `output` needs, each after those that feed it, itself last. Raises WorkflowError on a cycle."""
    done: dict[str, None] = {}
    entered: set[str] = set()
    stack: list[tuple[str, Iterator[Link]]] = [(output, iter(graph.nodes[output].links.values()))]
    entered.add(output)
    while stack:
        node_id, links = stack[-1]
        link = next(links, None)
        if link is None:
            stack.pop()
            entered.discard(node_id)
            done[node_id] = None
        elif link.node in entered:
            raise WorkflowError(f"{graph.nodes[link.node].named} needs its own result: remove the circle of links that it is in.")
        elif link.node not in done:
            entered.add(link.node)
            stack.append((link.node, iter(graph.nodes[link.node].links.values())))
    return list(done)


async def checked_inputs(node: Node, graph: Graph, classes: Mapping[str, Any]) -> dict[str, Any]:
    """The node's inputs, values converted to their kinds. Raises WorkflowError with the first that is wrong."""
    node_class = classes[node.type]
    own_check, taken, takes_all = _own_check(node_class)
    specs = input_specs(node_class)
    found: dict[str, Any] = {}
    for name, spec in specs.items():
        if name not in node.inputs:
            if spec.required:
                advice = "connect it" if not spec.widget else "set it"
                raise WorkflowError(f"The input {name!r} of {node.named} is missing: {advice}.")
            continue
        value = node.inputs[name]
        if isinstance(value, Link):
            if "input_types" not in taken:
                _check_link_type(node, spec, value, graph, classes)
            found[name] = value
        else:
            found[name] = _converted(node, spec, value)
            if name not in taken and not takes_all:
                _check_value(node, spec, found[name])
    if own_check is not None:
        await _ask(node, own_check, {name: value for name, value in found.items() if takes_all or name in taken})
    return found


def _own_check(node_class: Any) -> tuple[Any, frozenset[str], bool]:
    """VALIDATE_INPUTS, the inputs whose checks it takes over, and whether that is all of them."""
    check = getattr(node_class, "VALIDATE_INPUTS", None)
    if check is None:
        return None, frozenset(), False
    parameters = inspect.signature(check).parameters.values()
    takes_all = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return check, frozenset(parameter.name for parameter in parameters), takes_all


async def _ask(node: Node, check: Any, values: Mapping[str, Any]) -> None:
    """Linked inputs are None to it, since their values are not there yet."""
    verdict = check(**{name: None if isinstance(value, Link) else value for name, value in values.items()})
    if inspect.isawaitable(verdict):
        verdict = await verdict
    if verdict is not True:
        inputs = " and ".join(repr(name) for name in values) or "the inputs"
        because = f": {verdict}" if isinstance(verdict, str) else "."
        raise WorkflowError(f"{node.named} does not take {inputs}{because}")


def _check_link_type(node: Node, spec: InputSpec, link: Link, graph: Graph, classes: Mapping[str, Any]) -> None:
    source = graph.nodes[link.node]
    given = classes[source.type].RETURN_TYPES[link.slot]
    wanted = set(str(spec.kind).split(","))
    if given != "*" and "*" not in wanted and not set(str(given).split(",")) <= wanted:
        raise WorkflowError(
            f"The input {spec.name!r} of {node.named} takes {spec.kind}, but output {link.slot} of {source.named} is {given}: connect another."
        )


def _converted(node: Node, spec: InputSpec, value: Any) -> Any:
    convert = _CONVERTED.get(spec.kind)
    if convert is None:
        if spec.kind != COMBO:
            raise WorkflowError(f"The input {spec.name!r} of {node.named} takes {spec.kind}, not the value {short(value)}: connect it.")
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise WorkflowError(f"The input {spec.name!r} of {node.named} is {short(value)}, but it takes {spec.kind}.") from error


def _check_value(node: Node, spec: InputSpec, value: Any) -> None:
    low, high = spec.options.get("min"), spec.options.get("max")
    if spec.kind in ("INT", "FLOAT") and (
        (low is not None and not value >= low) or (high is not None and not value <= high)  # also refuses NaN
    ):
        raise WorkflowError(f"The input {spec.name!r} of {node.named} is {short(value)}, but it goes from {low} to {high}.")
    if spec.choices is not None and value not in spec.choices:
        offered = ", ".join(str(choice) for choice in spec.choices[:12]) + (", …" if len(spec.choices) > 12 else "")
        raise WorkflowError(f"The input {spec.name!r} of {node.named} is {short(value)}, but it is one of {offered or 'an empty list'}.")
