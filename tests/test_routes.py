"""nodes/routes.py in a real aiohttp server: what guards the routes, and what an answer looks like."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from comfyui_drawthings.drawthings_core.errors import GenerationCancelled, SecretRejected
from comfyui_drawthings.nodes import routes
from comfyui_drawthings.nodes.page import ROUTES, Route

JSON = {"Content-Type": "application/json"}


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    answer: Any


class Page:
    """A web server with routes of the test, in a thread."""

    def __init__(self, table: dict[str, Route]):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._serve(table), self._loop).result(10)

    async def _serve(self, table: dict[str, Route]) -> int:
        definitions = web.RouteTableDef()
        routes.add_to(definitions, table)
        application = web.Application()
        application.add_routes(definitions)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return self._runner.addresses[0][1]

    def post(self, name: str, body: Any = b"{}", headers: dict[str, str] = JSON, method: str = "POST") -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"/drawthings/{name}", body if not isinstance(body, (dict, list)) else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Reply(response.status, response.headers, json.loads(text) if is_json else text)
        finally:
            connection.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Held:
    """Work that goes on until it is let go, or cancelled."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = 0
        self.cancelled = threading.Event()

    def answer(self, _body: Any, cancellation: Any) -> dict[str, Any]:
        self.running += 1
        while not self.go.wait(0.02):
            if cancellation.requested:
                self.cancelled.set()
                raise GenerationCancelled()
        return {"done": True}


def _refuse(_body: Any, _cancellation: Any) -> dict[str, Any]:
    raise SecretRejected("studio:7859", given=True)


def _fail(_body: Any, _cancellation: Any) -> dict[str, Any]:
    raise KeyError("a private value")


def _where(_body: Any, _cancellation: Any) -> dict[str, Any]:
    return {"thread": threading.current_thread() is threading.main_thread(), "name": "half \ud800 a pair"}


@pytest.fixture
def held() -> Iterator[Held]:
    one = Held()
    yield one
    one.go.set()


@pytest.fixture
def page(held: Held) -> Iterator[Page]:
    table = {
        "echo": Route(lambda body, _: {"body": body}, seconds=5),
        "refuse": Route(_refuse, seconds=5),
        "fail": Route(_fail, seconds=5),
        "where": Route(_where, seconds=5),
        "held": Route(held.answer, seconds=20),
        "slow": Route(held.answer, seconds=0.3),
    }
    serving = Page(table)
    yield serving
    serving.close()


def test_an_answer_is_json_that_nobody_keeps(page):
    reply = page.post("echo", {"host": "studio.local", "ports": [1, 2]})
    assert (reply.status, reply.answer) == (200, {"body": {"host": "studio.local", "ports": [1, 2]}})
    assert reply.headers["Cache-Control"] == "no-store"
    assert page.post("where").answer["name"] == "half \ud800 a pair"


def test_only_post_is_answered(page):
    assert page.post("echo", None, {}, "GET").status == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Host": "Comfy.Example", "Origin": "https://comfy.example"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "https://comfy.example", "Sec-Fetch-Site": "same-origin"}, 200),  # behind a proxy that puts in a Host of its own
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_other_sites_are_refused(page, headers, status):
    reply = page.post("echo", {}, {**JSON, **{name: value.format(port=page.port) for name, value in headers.items()}})
    assert reply.status == status
    assert ("error" in reply.answer) == (status != 200)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/octet-stream"])
def test_what_a_form_can_send_is_refused(page, kind):
    reply = page.post("echo", {}, {"Content-Type": kind} if kind else {})
    assert (reply.status, reply.answer["error"]["type"]) == (415, "NotJSON")


def test_json_may_name_its_charset(page):
    assert page.post("echo", {}, {"Content-Type": "application/json; charset=utf-8"}).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_json_object_is_refused(page, body):
    assert page.post("echo", body).status == 400


def test_a_body_has_a_limit(page):
    just = b'{"a": "' + b"x" * (routes.JSON_BYTES - 9) + b'"}'
    assert page.post("echo", just).status == 200
    assert page.post("echo", just + b" ").status == 413
    chunks = (b"x" * 65536 for _ in range(20))  # of unknown length
    assert page.post("echo", chunks).status == 413


def test_an_error_of_ours_is_an_answer(page):
    """Browsers log other statuses than 200 as errors of the page."""
    reply = page.post("refuse")
    assert reply.status == 200
    error = SecretRejected("studio:7859", given=True)
    assert reply.answer == {"error": {"type": "SecretRejected", "message": str(error)}}


def test_a_fault_is_told_without_its_values(page, caplog):
    reply = page.post("fail")
    assert (reply.status, reply.answer["error"]["type"]) == (500, "InternalError")
    assert "private" not in json.dumps(reply.answer)
    assert "KeyError" in caplog.text


def test_work_has_a_time_limit_and_is_told_to_stop(page, held):
    started = time.monotonic()
    reply = page.post("slow")
    assert (reply.status, reply.answer["error"]["type"]) == (504, "TookTooLong")
    assert time.monotonic() - started < 5
    assert held.cancelled.wait(5)


def test_only_a_few_are_worked_on_at_once(page, held):
    with_answers: list[Reply] = []
    waiting = [threading.Thread(target=lambda: with_answers.append(page.post("held"))) for _ in range(routes.AT_ONCE)]
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + 10
    while held.running < routes.AT_ONCE and time.monotonic() < deadline:
        time.sleep(0.01)
    refused = page.post("echo")
    assert (refused.status, refused.answer["error"]["type"]) == (429, "TooManyRequests")
    assert page.post("echo", b"no JSON").status == 400  # what is refused anyway needs no place
    held.go.set()
    for thread in waiting:
        thread.join(10)
    assert [reply.answer for reply in with_answers] == [{"done": True}] * routes.AT_ONCE
    assert page.post("echo").status == 200


def test_work_that_outlives_its_time_keeps_its_place(page):
    """Threads cannot be ended from outside: they must not pile up."""
    release = threading.Event()

    def stubborn(_body: Any, _cancellation: Any) -> dict[str, Any]:
        release.wait(20)
        return {}

    other = Page({"stubborn": Route(stubborn, seconds=0.05)})
    try:
        statuses = [other.post("stubborn").status for _ in range(routes.AT_ONCE + 1)]
        assert statuses == [504] * routes.AT_ONCE + [429]
        release.set()
        deadline = time.monotonic() + 10
        while (status := other.post("stubborn").status) == 429 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert status == 200
    finally:
        release.set()
        other.close()


def test_work_is_done_off_the_loop(page):
    ticks = []

    async def tick() -> None:
        for _ in range(5):
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    sleeping = Page({"sleep": Route(lambda _body, _: time.sleep(0.5) or {}, seconds=5)})
    try:
        asking = threading.Thread(target=sleeping.post, args=("sleep",))
        asking.start()
        time.sleep(0.1)
        asyncio.run_coroutine_threadsafe(tick(), sleeping._loop).result(5)
        assert asking.is_alive()
        assert ticks[-1] - ticks[0] < 0.3
        asking.join(5)
    finally:
        sleeping.close()


def test_a_second_copy_of_the_package_registers_nothing_twice():
    table = web.RouteTableDef()
    routes.add_to(table)
    routes.add_to(table)
    paths = [getattr(one, "path", "") for one in table]
    assert sorted(paths) == sorted(f"/drawthings/{name}" for name in ROUTES)
    web.Application().add_routes(table)


def test_nodes_load_without_aiohttp():
    program = "import sys; sys.modules['aiohttp'] = None; import comfyui_drawthings; print(len(comfyui_drawthings.NODE_CLASS_MAPPINGS))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 30


def test_routes_are_registered_where_comfyui_serves():
    program = """
import sys, types
from aiohttp import web
server = types.ModuleType("server")
server.PromptServer = types.SimpleNamespace(instance=types.SimpleNamespace(routes=web.RouteTableDef()))
sys.modules["server"] = server
import comfyui_drawthings
comfyui_drawthings.NODE_CLASS_MAPPINGS
from comfyui_drawthings.nodes.page import ROUTES
print({one.path for one in server.PromptServer.instance.routes} == {f"/drawthings/{name}" for name in ROUTES})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
