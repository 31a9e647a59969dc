"""File names that combos offer before the browser has asked a server: the last catalogue seen, and published model names."""

from __future__ import annotations

import threading

from ..drawthings_core.catalog import SECTIONS, Catalog
from ..drawthings_core.families import families

_lock = threading.Lock()
_seen: dict[str, dict[str, None]] = {kind: {} for kind in SECTIONS}


def remember(catalog: Catalog) -> None:
    """Offer the files of this catalogue from now on."""
    with _lock:
        for kind, entries in catalog.entries.items():
            for file in sorted(entries, key=str.casefold):
                _seen[kind].setdefault(file)


def listed(kind: str) -> list[str]:
    """File names of one kind: those seen on servers, and for models the published ones when nothing was seen yet."""
    with _lock:
        seen = list(_seen[kind])
    if seen or kind != "model":
        return seen
    return [file for known in families().values() for file in known.example_files]
