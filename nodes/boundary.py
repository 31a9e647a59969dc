"""What a node's function may rely on: every value is of the kind that its input declares.

ComfyUI checks widget values before it runs a graph, but nothing that a link delivers, and a workflow may be edited by hand.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..drawthings_core.errors import InvalidImage, InvalidInput, InvalidSetting
from .graph_values import inputs_of
from .widgets import checked_text, spoken


def guard(node_class: Any) -> None:
    """Have a node's function called with checked values only; otherwise it raises InvalidInput, which names the input. Where memory runs
    out it raises InvalidImage.
    """
    function = getattr(node_class, node_class.FUNCTION)

    @functools.cache
    def declared() -> Mapping[str, tuple[Any, dict[str, Any]]]:
        return inputs_of(node_class)

    def at_once(self: Any, *given: Any, **inputs: Any) -> Any:
        with _memory_that_may_run_out():
            return function(self, *given, **_checked(declared(), inputs))

    async def awaited(self: Any, *given: Any, **inputs: Any) -> Any:
        with _memory_that_may_run_out():
            return await function(self, *given, **_checked(declared(), inputs))

    checked = awaited if inspect.iscoroutinefunction(function) else at_once  # ComfyUI looks at this, too
    setattr(node_class, node_class.FUNCTION, functools.wraps(function)(checked))


@contextlib.contextmanager
def _memory_that_may_run_out() -> Iterator[None]:
    """Nothing of a node is large but its pictures."""
    try:
        yield
    except MemoryError as error:
        raise InvalidImage("The pictures do not fit into the memory of this machine: use smaller or fewer ones.") from error


def _checked(declared: Mapping[str, tuple[Any, dict[str, Any]]], inputs: dict[str, Any]) -> dict[str, Any]:
    for name, value in inputs.items():
        kind, options = declared.get(name, ("", {}))  # hidden inputs are the host's
        check = _CHECKS.get(kind) if isinstance(kind, str) else _check_choice
        if check is not None:
            check(name, value, options)
    return inputs


def _check_text(name: str, value: Any, _options: Mapping[str, Any]) -> None:
    text = checked_text(value, name)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"The input {name!r} holds a broken character (a lone surrogate) at position {error.start}: remove it."
        ) from error


def _check_choice(name: str, value: Any, options: Mapping[str, Any]) -> None:
    """A word, or the number that settings also take; which are allowed is up to the node."""
    if isinstance(value, int) and not isinstance(value, bool):
        return
    _check_text(name, value, options)


def _check_number(name: str, value: Any, options: Mapping[str, Any]) -> None:
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not (isinstance(value, int) or math.isfinite(value)):
        limits = f" from {options['min']:g} to {options['max']:g}" if {"min", "max"} <= options.keys() else ""
        raise InvalidSetting(spoken(name), value, f"a number{limits}")
    if not -_LARGEST <= value <= _LARGEST:  # type: ignore[operator]  numbers.Real compares with int
        raise InvalidSetting(spoken(name), value, "a smaller number")


def _check_switch(name: str, value: Any, _options: Mapping[str, Any]) -> None:
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise InvalidSetting(spoken(name), value, "true or false")


_LARGEST = 2**64
"""No input takes more, and beyond a float's range Python's own arithmetic fails."""
_CHECKS: dict[str, Callable[[str, Any, Mapping[str, Any]], None]] = {
    "STRING": _check_text,
    "COMBO": _check_choice,
    "INT": _check_number,
    "FLOAT": _check_number,
    "BOOLEAN": _check_switch,
}
