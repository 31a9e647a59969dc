"""Serves nodes/page to the browser: routes of ComfyUI's own web server (aiohttp) below /drawthings/, and what guards them.

Everything is POST with a JSON body, so that no form or picture of another site can ask; answers are JSON and never kept. An error is
{"error": {"type", "message"}}. What a server of Draw Things has wrong is answered with status 200, since browsers log every other
one as an error of the page; other statuses are for requests that are not ours.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from ..drawthings_core.errors import DrawThingsError
from ..drawthings_core.servers import is_local_name
from . import host
from .page import ROUTES, Route
from .page.body import Body, sealed
from .page.errors import as_json, described

PREFIX = "/drawthings/"
AT_ONCE = 8
"""How many requests of all routes are worked on at once; more are refused."""

READ_SECONDS = 60.0
"""How long a request's body may take to arrive."""

JSON_BYTES = 1 << 20

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_to(table: web.RouteTableDef, routes: Mapping[str, Route] = ROUTES) -> None:
    """Register every route, but those that another copy of this package has registered."""
    there = {getattr(one, "path", None) for one in table}
    busy = _Busy()
    for name, route in routes.items():
        path = PREFIX + name
        if path not in there:
            table.post(path)(functools.partial(_serve, route, busy))


class _Refused(Exception):
    """A request that is not worked on. type: a name for programs."""

    def __init__(self, status: int, type: str, sentence: str):
        super().__init__(sentence)
        self.status = status
        self.type = type


class _Busy:
    """Counts what is worked on. A piece of work counts until its thread ends, which may be after its answer was due."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> None:
        if self.count >= AT_ONCE:
            raise _Refused(
                429, "TooManyRequests", "ComfyUI is answering several requests about Draw Things servers: try again in a moment."
            )
        self.count += 1

    def end(self) -> None:
        self.count -= 1


async def _serve(route: Route, busy: _Busy, request: web.Request) -> web.Response:
    try:
        _check_origin(request)
        if route.decides:
            _check_name(request)
        body = await _read(request)
        busy.begin()
        return _json(200, await host.within(route.seconds, lambda cancellation: route.answer(body, cancellation), busy.end))
    except _Refused as refused:
        return _json(refused.status, {"error": described(refused.type, str(refused))})
    except DrawThingsError as error:
        return _json(200, {"error": as_json(error)})
    except asyncio.TimeoutError:
        sentence = f"This took longer than {route.seconds:g} s and was ended: try again."
        return _json(504, {"error": described("TookTooLong", sentence)})
    except Exception as error:
        _log.exception("A request of the page to %s failed", request.path)
        sentence = f"The Draw Things nodes failed ({type(error).__name__}): ComfyUI's log says where."
        return _json(500, {"error": described("InternalError", sentence)})


def _check_origin(request: web.Request) -> None:
    """Refuse what another site's page sends. Programs that are no browser send neither header."""
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")  # no page can write this one, and no proxy changes it, as some do with Host
    foreign = origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()
    if site == "cross-site" or (foreign and site != "same-origin"):
        raise _Refused(403, "CrossSite", "Requests of other sites are not answered: open ComfyUI itself.")


HOSTS_VARIABLE = "DRAWTHINGS_HOSTS"
"""Names in the environment, with spaces or commas between, under which ComfyUI's own page is opened without TLS."""


def _check_name(request: web.Request) -> None:
    """Refuse a page that came without TLS under a name of the internet: its owner may have led that name to this machine after the page
    was loaded (DNS rebinding), and to a browser it is then no other site. Programs that are no browser send neither header.
    """
    origin = request.headers.get("Origin")
    if (origin is None and "Sec-Fetch-Site" not in request.headers) or (origin or "").lower().startswith("https:"):
        return
    name = (urlsplit(f"//{request.headers.get('Host', '')}").hostname or "").rstrip(".")
    if not _is_local(name) and name not in re.split(r"[\s,]+", os.environ.get(HOSTS_VARIABLE, "").lower()):
        raise _Refused(
            403,
            "StrangeName",
            f"This page was opened as {name[:100]!r} without TLS, and a stranger's page could be, too: open ComfyUI by its IP address or local "
            f"name, or set {HOSTS_VARIABLE} to this name where ComfyUI is started.",
        )


def _is_local(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
        return True
    except ValueError:
        return is_local_name(name)


async def _read(request: web.Request) -> Body:
    if request.content_type != "application/json":
        raise _Refused(415, "NotJSON", "The body of this request must be application/json.")
    try:
        data = await asyncio.wait_for(_read_bytes(request), READ_SECONDS)
    except asyncio.TimeoutError as error:
        raise _Refused(408, "TooSlow", f"The body of this request did not arrive within {READ_SECONDS:g} s.") from error
    try:
        body: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "NotJSON", "The body of this request is not JSON.") from error
    if not isinstance(body, dict):
        raise _Refused(400, "NotJSON", "The body of this request must be a JSON object.")
    return sealed(body)


async def _read_bytes(request: web.Request) -> bytes:
    too_large = _Refused(413, "TooLarge", f"The body of this request is larger than {JSON_BYTES >> 20} MB.")
    if (request.content_length or 0) > JSON_BYTES:
        raise too_large
    data = bytearray()
    async for piece in request.content.iter_chunked(1 << 16):
        data += piece
        if len(data) > JSON_BYTES:
            raise too_large
    return bytes(data)


def _json(status: int, answer: dict[str, Any]) -> web.Response:
    # Names of files come from servers and can hold anything, half a surrogate pair too: as ASCII with escapes all of it travels.
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.json_response(answer, status=status, headers=headers)
