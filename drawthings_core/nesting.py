"""How deep JSON from strangers goes: what a parser could just take is too deep for whatever walks through it later."""

from __future__ import annotations

from typing import Any


def deeper_than(levels: int, value: Any) -> bool:
    """Whether more than so many lists and objects lie inside each other."""
    layer = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        layer = [
            part for whole in layer for part in (whole.values() if isinstance(whole, dict) else whole) if isinstance(part, (dict, list))
        ]
        if not layer:
            return False
    return bool(layer)
