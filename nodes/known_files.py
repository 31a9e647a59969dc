"""File names that combos offer before the browser has asked a server: the last catalogue seen, and published model names."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from pathlib import Path

from ..drawthings_core.catalog import FACE_RESTORATION, FACE_RESTORATION_FILES, Catalog
from ..drawthings_core.families import families
from ..drawthings_core.servers import Server

_lock = threading.Lock()
_seen: dict[str, Catalog] = {}
_MOST = 100
"""Servers that are remembered: the last ones."""


def remember(address: str, catalog: Catalog) -> None:
    """Offer the files of this server's catalogue from now on, in place of what it listed before."""
    with _lock:
        _seen.pop(address, None)
        _seen[address] = catalog
        while len(_seen) > _MOST:
            del _seen[next(iter(_seen))]


def remember_all(catalogs: Mapping[Server, Catalog]) -> None:
    """The same for several servers."""
    for server, catalog in catalogs.items():
        remember(server.address, catalog)


def last_of(address: str) -> Catalog | None:
    """What this server listed when it was last reached, since ComfyUI was started."""
    with _lock:
        return _seen.get(address)


_MARKUP = str.maketrans({"<": "＜", ">": "＞", "&": "＆"})


def shown(name: str) -> str:
    """A name as lists may show it: the classic menus of frontends 1.27 and 1.35 take the entries of a list for HTML."""
    return name.translate(_MARKUP)


def harmless(file: str) -> bool:
    """Whether a file may stand in a list under its own name; others can be typed."""
    return shown(file) == file


def listed(kind: str) -> list[str]:
    """File names of one kind: those seen on servers, or those that are published or stand in the example workflows.

    Face restoration models are in no catalogue, and the same on every server.
    """
    if kind == FACE_RESTORATION:
        return list(FACE_RESTORATION_FILES)
    with _lock:
        catalogs = [catalog for catalog in _seen.values() if catalog.entries[kind]]
    if catalogs:
        return sorted({file for catalog in catalogs for file in catalog.entries[kind] if harmless(file)}, key=str.casefold)
    published = [file for known in families().values() for file in known.example_files] if kind == "model" else []
    return sorted({*published, *_in_examples().get(kind, ())}, key=str.casefold)


def known() -> Catalog:
    """What all servers that were seen say of their files, as one catalogue; of a file that several have, the last one's."""
    with _lock:
        return Catalog.united(list(reversed(_seen.values())))


@functools.lru_cache(maxsize=1)
def _in_examples() -> dict[str, list[str]]:
    """Files by kind that the example workflows name: newer frontends call a model missing that a list does not offer."""
    path = Path(__file__).with_name("example_files.json")
    return json.loads(path.read_text(encoding="utf-8"))
