"""The files of several servers at once, for the lists of a graph's nodes."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

from ...drawthings_core import rules
from ...drawthings_core.catalog import FACE_RESTORATION, FACE_RESTORATION_FILES, Catalog, Entry
from ...drawthings_core.client import Cancellation, client_for
from ...drawthings_core.errors import DrawThingsError, InvalidInput
from ...drawthings_core.families import name_of, version_of_file
from ...drawthings_core.servers import Server, is_local_name
from .. import known_files
from ..load_server import GREETED_SECONDS
from . import body as fields
from .body import Body
from .errors import as_json
from .newcomers import newcomers, used_here

SERVERS = 32
"""Most servers in one request."""

CALLS = 64
"""Most servers that are asked at once, for all pages."""

_CHECK_SECONDS = 0.1

PATIENCE = 8.0
"""Seconds after which a server that has not answered is reported as late; the call to it goes on and its answer is kept."""


def lists(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """{servers: [server], refresh} -> {servers: [..] in the same order, also_fits}.

    A server is told as {address, state, files: {kind: [{file, name, version, family}]}}, and with an error where there is one. state:
    listed      its files
    named       its files by name only: a proxy
    unlisted    it does not list them
    late        no answer yet; files: those last known
    failed      see the error; files: those last known, none where it was never seen
    unasked     it is on the internet and was never used here: a workflow that somebody else made must not have it called, with a secret perhaps,
                by being opened. refresh, which stands for the user's own hand, asks it.
    also_fits: relation -> version of a model -> other versions of files that fit it.
    """
    refresh = fields.switch(body, "refresh")
    asked = [_asked(value, refresh) for value in fields.items(body, "servers", SERVERS)]
    deadline = time.monotonic() + PATIENCE
    return {"servers": [_told(one, deadline, cancellation) for one in asked], "also_fits": rules.also_fits()}


_Asked = tuple[Server, "Future[Catalog] | None"]
"""A server and the call to it; None: it is not called."""


def _asked(value: Any, refresh: bool) -> _Asked | DrawThingsError:
    try:
        server = fields.server(value)
        if not refresh and not _familiar(server):
            return server, None
        newcomers.admit(server)
        return server, _calls.catalog(server, 0.0 if refresh else GREETED_SECONDS)
    except DrawThingsError as error:
        return error


def _familiar(server: Server) -> bool:
    """Whether it is on this network, or was used here before."""
    try:
        nearby = not ipaddress.ip_address(server.host.partition("%")[0]).is_global
    except ValueError:
        nearby = is_local_name(server.host)
    return nearby or used_here(server)


def _told(asked: _Asked | DrawThingsError, deadline: float, cancellation: Cancellation) -> dict[str, Any]:
    if isinstance(asked, DrawThingsError):
        return {"address": "", "state": "failed", "files": {}, "error": as_json(asked)}
    server, call = asked
    if call is None:
        return {"address": server.address, "state": "unasked", "files": {}}
    error = None
    if not _ended(call, deadline, cancellation):
        catalog, state = known_files.last_of(server.address), "late"
    else:
        try:
            catalog = call.result()
            state = "listed" if catalog.describes else "named" if catalog.browsing else "unlisted"
        except DrawThingsError as raised:
            catalog, state, error = known_files.last_of(server.address), "failed", raised
    answer = {"address": server.address, "state": state, "files": files_of(catalog) if catalog else {}}
    return answer if error is None else {**answer, "error": as_json(error)}


def _ended(call: Future[Catalog], deadline: float, cancellation: Cancellation) -> bool:
    """Whether the call ends before the deadline (time.monotonic()). Raises GenerationCancelled."""
    while not wait([call], timeout=max(0.0, min(deadline - time.monotonic(), _CHECK_SECONDS))).done:
        cancellation.check()
        if time.monotonic() >= deadline:
            return False
    return True


def files_of(catalog: Catalog) -> dict[str, list[dict[str, str]]]:
    """What a node's lists offer, by kind."""
    found = {kind: [_row(entry) for entry in section.values() if rules.chosen(entry)] for kind, section in catalog.entries.items()}
    if not catalog.describes:
        found["model"] = list(_published(catalog))
    faces = [{"file": file, "name": file, "version": "", "family": ""} for file in FACE_RESTORATION_FILES]
    found = {kind: [row for row in rows if known_files.harmless(row["file"])] for kind, rows in found.items()}
    return {kind: sorted(rows, key=lambda row: (row["name"].casefold(), row["file"])) for kind, rows in found.items()} | {
        FACE_RESTORATION: faces
    }


def _row(entry: Entry) -> dict[str, str]:
    return {
        "file": entry.file,
        "name": known_files.shown(entry.name),
        "version": entry.version,
        "family": name_of(entry.version) if entry.version else "",
    }


def _published(catalog: Catalog) -> Iterator[dict[str, str]]:
    """Of files that are only named, the models that are known by their names."""
    for file in catalog.files:
        version = version_of_file(file)
        if version is not None:
            yield {"file": file, "name": file, "version": version, "family": name_of(version)}


class _Calls:
    """Running calls: who asks for the same server meanwhile waits for the same answer. A call is not ended when nobody waits any more,
    since its answer is worth keeping; the client bounds how long it takes.

    There are CALLS at most, since one to a server that never answers lasts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Server, Future[Catalog]] = {}

    def catalog(self, server: Server, max_age: float) -> Future[Catalog]:
        """Raises InvalidInput when there are too many."""
        with self._lock:
            if server not in self._running:
                if len(self._running) >= CALLS:
                    raise InvalidInput(f"ComfyUI waits for the answers of {CALLS} servers already: press R in a while.")
                call: Future[Catalog] = Future()
                self._running[server] = call
                threading.Thread(target=self._ask, args=(server, max_age, call), name="drawthings lists", daemon=True).start()
            return self._running[server]

    def _ask(self, server: Server, max_age: float, call: Future[Catalog]) -> None:
        try:
            catalog = client_for(server).catalog(max_age)
            known_files.remember(server.address, catalog)
            call.set_result(catalog)
        except BaseException as error:
            call.set_exception(error)
        finally:
            with self._lock:
                del self._running[server]


_calls = _Calls()
