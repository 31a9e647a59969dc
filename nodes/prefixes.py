"""Variables in the names of files to write. ComfyUI's page fills in those that it shows, but for its own nodes only; the server's
part (%width%, %height%, %year% and so on) is `host.place`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile("%([^%]+)%")
_DATE_PART = re.compile("dd?|MM?|hh?|mm?|ss?|yyyy|yy")
_DATE_FIELDS = {"d": "tm_mday", "M": "tm_mon", "h": "tm_hour", "m": "tm_min", "s": "tm_sec"}
_NO_FILE_NAME = re.compile('[/?<>\\\\:*|"\\x00-\\x1f\\x7f]')
_DATE = "date:"


def filled(prefix: str, prompt: Mapping[str, Any] | None, now: time.struct_time | None = None) -> str:
    """%date:yyyy-MM-dd% and %Node.input% as in ComfyUI's own Save Image; Node is a type or a title. What is not known stays.

    prompt: the graph in API format, as nodes get it.
    """
    local = now or time.localtime()

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith(_DATE):
            return _DATE_PART.sub(lambda part: _date_part(part[0], local), name.removeprefix(_DATE))
        node, dot, field = name.partition(".")
        given = _input(prompt or {}, node, field) if dot and "." not in field else None
        return found[0] if given is None else _NO_FILE_NAME.sub("_", given)

    return _VARIABLE.sub(value, prefix)


def _date_part(part: str, now: time.struct_time) -> str:
    if part.startswith("y"):
        return str(now.tm_year)[-len(part) :]
    return str(getattr(now, _DATE_FIELDS[part[0]])).zfill(len(part))


def _input(prompt: Mapping[str, Any], node: str, field: str) -> str | None:
    """An input's value in the first node of this type, else of this title; None for a link."""
    every = [row for row in prompt.values() if isinstance(row, Mapping)]
    rows = [row for row in every if row.get("class_type") == node]
    rows = rows or [row for row in every if (row.get("_meta") or {}).get("title") == node]
    value = (rows[0].get("inputs") or {}).get(field) if rows else None
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or isinstance(value, (list, dict)) else str(value)
