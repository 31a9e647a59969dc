"""VALIDATE_INPUTS and IS_CHANGED see widget values as a workflow edited by hand has them, before any node has checked one."""

from __future__ import annotations

import inspect
import math

import pytest
from comfyui_drawthings.drawthings_core.errors import DrawThingsError
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS
from comfyui_drawthings.runner.inputs import input_specs
from test_bad_input import ANYTHING, folders  # noqa: F401  # an autouse fixture: the folders with pictures and model files

HAND_EDITED = {
    **{what: make for what, make in ANYTHING.items() if what not in ("strange object", "list of strange objects")},
    "negative huge": lambda: -(10**400),
    "many digits": lambda: "9" * 5000,
    "null byte": lambda: "a\0b",
    "long name": lambda: "x" * 5000,
    "link": lambda: ["1", 0],
    "wrapped": lambda: {"__value__": [1, 2]},
    "folder": lambda: ".",
    "parent": lambda: "../../etc/passwd",
    "missing": lambda: "gone.png",
    "wrong annotation": lambda: "a.png [elsewhere]",
}


def named(node, function):
    """The inputs that ComfyUI gives it."""
    taken = inspect.signature(getattr(NODE_CLASS_MAPPINGS[node], function)).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return list(input_specs(NODE_CLASS_MAPPINGS[node]))
    return list(taken)


CASES = [
    (node, function)
    for node, made in NODE_CLASS_MAPPINGS.items()
    for function in ("VALIDATE_INPUTS", "IS_CHANGED")
    if hasattr(made, function)
]


@pytest.mark.parametrize(("node", "function"), CASES)
def test_any_value_is_answered(node, function):
    call = getattr(NODE_CLASS_MAPPINGS[node], function)
    inputs = named(node, function)
    assert inputs
    defaults = {name: spec.default for name, spec in input_specs(NODE_CLASS_MAPPINGS[node]).items() if name in inputs}
    wrong = []
    for name in inputs:
        for what, make in HAND_EDITED.items():
            try:
                answer = call(**{**defaults, name: make()})
            except DrawThingsError as error:  # ComfyUI logs it, and runs the node, which says it
                answer = str(error) if function == "IS_CHANGED" else error
            except Exception as error:
                answer = error
            if not fine(answer, function):
                wrong.append(f"{name}, {what}: {answer!r:.300}")
    assert wrong == []


def fine(answer, function):
    """VALIDATE_INPUTS: True, or a sentence. IS_CHANGED: what JSON can hold and == can compare, or a sentence."""
    if function == "VALIDATE_INPUTS":
        return answer is True or (isinstance(answer, str) and answer.endswith((".", "?")) and len(answer) < 1000)
    return isinstance(answer, (str, int)) or (isinstance(answer, float) and math.isnan(answer))
