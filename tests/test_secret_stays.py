"""A shared secret is nowhere but in the profile file and on the wire: the main jobs are run with a conspicuous one, well and badly, and
everything that they wrote, said or left is searched for it.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui_drawthings.drawthings_core import decoding, servers_cli
from comfyui_drawthings.drawthings_core.client import Cancellation, Client, client_for
from comfyui_drawthings.drawthings_core.errors import DrawThingsError
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes.page import ROUTES
from PIL import Image
from test_client import request as small_request
from test_nodes import NODES, call, small
from test_routes import Page

SECRET = "conspicuous-5EcreT-f81d4fae"
WRONG = "conspicuous-wr0nG-f81d4fae"
NAME = "studio"
MODEL = "sd_v1.5_f16.ckpt"

LINUX = sys.platform.startswith("linux")


def forms(secret: str) -> Iterator[bytes]:
    """How it may have been written."""
    plain = secret.encode("ascii")
    yield from (plain, plain.upper(), plain[::-1], secret.encode("utf-16-le"), plain.hex().encode("ascii"))
    for shift in range(3):  # base64 of something that holds it, whatever is before
        yield base64.b64encode(bytes(shift) + plain)[4 if shift else 0 : -4]


FORMS = [form for secret in (SECRET, WRONG) for form in forms(secret)]


class Places:
    """What was found where."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self.said = b""
        """By the last command."""
        self.looked: dict[str, int] = {}

    def look(self, where: str, what: Any) -> None:
        data = what if isinstance(what, bytes) else (what if isinstance(what, str) else repr(what)).encode("utf-8", "surrogatepass")
        self.looked[where] = self.looked.get(where, 0) + len(data)
        if any(form in data for form in FORMS):
            self._found.append(where)

    def files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.look(f"file {path.name}", path.read_bytes())
                if path.suffix == ".png":  # compressed texts
                    with Image.open(path) as picture:
                        self.look(f"texts of {path.name}", repr(picture.info))

    def error(self, where: str, error: BaseException) -> None:
        """The sentence, and what tools make of an error that show the locals of every frame."""
        self.look(f"{where}: the error", str(error) + repr(error) + f"{error}" + repr(vars(error)))
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        self.look(f"{where}: its traceback", "".join(told.format()))

    def threads(self, where: str) -> None:
        """What a dump of all threads shows with their locals."""
        for frame in sys._current_frames().values():
            stack = traceback.StackSummary.extract(traceback.walk_stack(frame), capture_locals=True)
            self.look(f"{where}: threads", "".join(stack.format()))

    def objects(self, where: str) -> None:
        """Every object of ours, and what it holds by name."""
        for one in gc.get_objects():
            kind = type(one)
            if str(kind.__module__).startswith("comfyui_drawthings") and kind is not SimulatorProcess:  # which knows its server's flags
                self.look(f"{where}: objects", f"{one!r} {one}" if kind.__repr__ is not object.__repr__ else "")
                self.look(f"{where}: attributes", repr(getattr(one, "__dict__", "")))

    def check(self, *expected: str) -> None:
        """What was looked at holds no secret, but for these."""
        assert set(self._found) == set(expected)


@pytest.fixture
def server(tmp_path_factory) -> Iterator[SimulatorProcess]:
    kept = str(tmp_path_factory.mktemp("certificate"))
    flags = ("--model-browser", "--shared-secret", SECRET, "--step-seconds", "0", "--certificate-directory", kept)
    with SimulatorProcess(*flags) as simulator:
        yield simulator


@pytest.fixture
def places() -> Places:
    return Places()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def ended(work: Callable[[], Any], places: Places, where: str) -> None:
    """Run what has to fail, and look at how."""
    try:
        work()
    except DrawThingsError as error:
        places.error(where, error)
        return
    pytest.fail(f"{where} did not fail")


# -- nodes, their results, their errors, and what is in memory


def test_in_this_process(server, places, caplog, tmp_path, monkeypatch):
    caplog.set_level(logging.DEBUG)
    Profiles().save_secret(NAME, SECRET)
    Profiles().save_secret("wrong", WRONG)
    Profiles().save_server("Studio", server.host, server.port, TLSMode.auto, secret=NAME)
    at = {"host": server.host, "port": server.port}
    (loaded,) = call("DrawThingsLoadServer", **at, secret=NAME)
    (saved,) = call("DrawThingsLoadServer", host="", saved_server="Studio")
    made = call("DrawThingsGenerate", server=loaded, **small())
    texts = [made, call("DrawThingsServerInfo", server=saved), call("DrawThingsFilesExist", server=loaded, files=MODEL)]
    texts += [call("DrawThingsOptionsToJSON", info=made[2]), vars(loaded), repr(loaded), str(saved), f"{loaded}"]
    for text in texts:
        places.look("outputs of nodes", repr(text))
    places.look("outputs of nodes", made[2])

    client = client_for(loaded)
    for holder in (client, vars(client), client._connection, vars(client._connection), Profiles(), vars(Profiles())):
        places.look("clients", repr(holder))
    places.objects("after a run")

    server.set_fault("stall_sampling")
    stop = Cancellation()
    running = threading.Thread(target=_quietly, args=(lambda: client.generate(small_request(), cancellation=stop),), daemon=True)
    running.start()
    server.wait_until(running=1)
    places.threads("in the middle of a run")
    places.objects("in the middle of a run")
    stop.cancel()
    running.join(20)
    assert not running.is_alive()
    server.clear_faults()

    def generate(**more: Any) -> Any:
        return call("DrawThingsGenerate", server=loaded, **small(**more))

    ended(lambda: call("DrawThingsLoadServer", **at, secret="wrong"), places, "wrong secret")
    ended(lambda: call("DrawThingsLoadServer", **at), places, "no secret")
    ended(lambda: call("DrawThingsLoadServer", **at, secret=SECRET), places, "the secret in place of its name")
    ended(lambda: call("DrawThingsLoadServer", **at, secret=NAME, tls="plain"), places, "wrong TLS mode")
    ended(lambda: call("DrawThingsLoadServer", **at, secret=NAME, tls="system"), places, "untrusted certificate")
    ended(lambda: call("DrawThingsLoadServer", host="127.1", port=server.port, secret=NAME), places, "not allowed there")
    ended(lambda: call("DrawThingsLoadServer", host="127.0.0.1", port=free_port(), secret=NAME), places, "refused")
    ended(lambda: generate(model="nothing.ckpt"), places, "no such model")
    for fault in ("drop_after", "error_status", "truncated_tensor", "empty_result", "nan_image", "kill_after"):
        server.set_fault(fault, {"kill_after": 3, "drop_after": 2}.get(fault))
        ended(generate, places, fault)
        if server.running:
            server.clear_faults()
    places.look("the server's log", server.log())
    server.restart()
    places.look("what the server heard", json.dumps(server.requests(None)))
    ended(lambda: client.upload(tmp_path / "nothing.ckpt"), places, "upload of nothing")
    source = tmp_path / "x.ckpt"
    source.write_bytes(b"SQLite format 3\0" + bytes(3 << 20))
    server.set_fault("upload_error", {"code": "INTERNAL", "after": 1})
    ended(lambda: client.upload(source), places, "upload that fails")
    server.clear_faults()
    client.upload(source)
    assert all(call["secret_right"] for call in server.requests("FilesExist"))

    monkeypatch.setattr(Profiles, "_replace", lambda self, data: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space") as caught:
        Profiles().save_server("Loft", "h", 1, TLSMode.auto, new_secret=Profiles().secret(NAME) or "")
    places.error("a profile that cannot be written", caught.value)
    places.look("logs", caplog.text)
    places.objects("after faults")
    places.check("the secret in place of its name: its traceback")  # the widget's own value, which this test wrote there
    assert len(places.looked) > 20


def _quietly(work: Callable[[], Any]) -> None:
    with contextlib.suppress(DrawThingsError):
        work()


# -- the page's routes


def test_over_http(server, places, caplog):
    caplog.set_level(logging.DEBUG)
    page = Page(ROUTES)
    at = {"host": server.host, "port": server.port}
    studio = {"host": "", "saved_server": "Studio"}
    stranger = {"host": "127.1", "port": server.port, "secret": "Studio"}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("servers/save", {"name": "Studio", **at, "new_secret": SECRET}),
        ("servers/save", {"name": "Loft", **at, "new_secret": WRONG}),
        ("servers/save", {"name": "none", **at, "new_secret": SECRET}),
        ("servers/save", {"name": "x", "host": "a b", "new_secret": SECRET}),
        ("servers/save", {"name": "x", "host": "a", "new_secret": [SECRET]}),
        ("servers/check", {"server": studio}),
        ("servers/accept", {"server": at, "fingerprint": server.fingerprint}),
        ("servers/check", {"server": studio}),
        ("servers/check", {"server": {"host": "", "saved_server": "Loft"}}),
        ("servers/check", {"server": {**at, "tls": "plain", "secret": "Studio"}}),
        ("servers/check", {"server": {"host": "127.0.0.1", "port": free_port(), "secret": "Studio"}}),
        ("servers/check", {"server": stranger}),
        ("secrets/allow", {"secret": "Studio", "host": "127.1", "port": server.port}),
        ("servers/check", {"server": stranger}),
        ("servers", {}),
        ("lists", {"servers": [studio, stranger, {"host": "", "saved_server": "Loft"}], "refresh": True}),
        ("copy", {"prompt": {"1": {"class_type": "DrawThingsLoadServer", "inputs": {"host": "Studio"}}}, "node": "1"}),
        ("servers/forget", {"servers": ["Studio"], "secrets": ["Studio"]}),
    ]
    try:
        replies = [page.post(route, body) for route, body in asked]
        for (route, _), reply in zip(asked, replies, strict=True):
            places.look(f"answer of {route}", json.dumps(reply.answer) + str(reply.headers))
        assert replies[7].answer["report"]["secret"] == "accepted"
        assert {reply.status for reply in replies} == {200}
        Profiles().path.unlink()
        Profiles().path.mkdir()  # which no file replaces
        reply = page.post("servers/save", {"name": "Studio", **at, "new_secret": SECRET})
        places.look("answer of a save that fails", json.dumps(reply.answer))
        assert "error" in reply.answer
    finally:
        page.close()
    places.look("logs", caplog.text)
    places.look("the server's log", server.log())
    places.check()


def test_an_unexpected_error_of_a_route_is_logged_without_the_secret(places, caplog):
    """Its frames have what came in: a host may log them with their locals."""

    def fails(body: Any, _cancellation: Any) -> dict[str, Any]:
        raise KeyError(list(body))

    page = Page({"servers/save": ROUTES["servers/save"]._replace(answer=fails)})
    try:
        assert page.post("servers/save", {"name": "Studio", "host": "h", "new_secret": SECRET}).status == 500
    finally:
        page.close()
    (record,) = [record for record in caplog.records if record.exc_info]
    places.error("an unexpected error", record.exc_info[1])
    places.look("logs", caplog.text)
    places.check()


# -- the command line, its files, its processes


def workflow(server: SimulatorProcess, **load: Any) -> dict[str, Any]:
    generate = {"server": ["1", 0], "negative_prompt": "", "seed": 1, "guidance": -1, "sampler": "recommended", "strength": 1, **small()}
    generate |= {"batch_count": 1, "batch_size": 1, "fit": "crop"}
    required = NODES["DrawThingsSaveImage"].INPUT_TYPES()["required"]
    saving = {name: options["default"] for name, (_, *rest) in required.items() for options in rest if "default" in options}
    saving |= {"images": ["2", 0], "info": ["2", 2], "filename_prefix": "made"}
    return {
        "1": {
            "class_type": "DrawThingsLoadServer",
            "inputs": {"host": server.host, "port": server.port, "tls": "auto", "secret": NAME, **load},
        },
        "2": {"class_type": "DrawThingsGenerate", "inputs": generate},
        "3": {"class_type": "DrawThingsSaveImage", "inputs": saving},
        "4": {"class_type": "DrawThingsServerInfo", "inputs": {"server": ["1", 0]}},
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}},
    }


def processes_below(parent: int) -> Iterator[int]:
    """The ids of a process's descendants."""
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{parent}/task"):
            for child in Path(f"/proc/{parent}/task/{task}/children").read_text().split():
                yield int(child)
                yield from processes_below(int(child))


def watched(command: list[str], environment: dict[str, str], places: Places) -> int:
    """Run a command; look at what it says, and at the arguments and environment of it and all its children while it runs."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as running:
        seen: set[int] = set()
        told: list[bytes] = []
        reading = threading.Thread(target=lambda: told.append(running.stdout.read()))  # type: ignore[union-attr]
        reading.start()
        while running.poll() is None:
            for process in (running.pid, *processes_below(running.pid)) if LINUX else ():
                seen.add(process)
                for part in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        places.look(f"{part} of processes", Path(f"/proc/{process}/{part}").read_bytes())
            time.sleep(0.1)
        reading.join(10)
    places.said = b"".join(told)
    places.look("what commands say", places.said)
    assert len(seen) > 1 or not LINUX or running.returncode != 0  # with its decoders
    return running.returncode


def test_on_the_command_line(server, places, tmp_path):
    home, out, scratch = (tmp_path / name for name in ("home", "out", "scratch"))
    scratch.mkdir()
    Profiles(home / "servers.json").save_secret(NAME, SECRET)
    Profiles(home / "servers.json").save_secret("wrong", WRONG)
    environment = {**os.environ, "DRAWTHINGS_HOME": str(home), "TMPDIR": str(scratch), "GRPC_VERBOSITY": "DEBUG", "PYTHONFAULTHANDLER": "1"}
    runner = [sys.executable, "-m", "comfyui_drawthings.runner", "--out", str(out), "--debug"]
    codes = []
    for load in ({}, {"secret": "wrong"}):
        path = tmp_path / "graph.json"
        path.write_text(json.dumps(workflow(server, **load)), encoding="utf-8")
        codes.append(watched([*runner, str(path)], environment, places))
        assert codes == [0, 4][: len(codes)], places.said
    assert len(list(out.glob("*.png"))) == 1
    places.files(out)
    places.files(scratch)
    places.files(home)
    places.look("the server's log", server.log())
    places.look("the workflow", path.read_bytes())
    places.check("file servers.json")


CRASHES = """
import faulthandler, os, sys, threading, traceback
faulthandler.enable()
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
client = Client(Server("127.0.0.1", int(sys.argv[1]), secret=Profiles().secret("studio")))
client.echo()
print(traceback.format_list(traceback.StackSummary.extract(traceback.walk_stack(None), capture_locals=True)), repr(globals()))
def hook(kind, error, trace):
    print("".join(traceback.TracebackException(kind, error, trace, capture_locals=True).format()), flush=True)
sys.excepthook = hook
if sys.argv[2] == "error":
    Client(Server("127.0.0.1", int(sys.argv[1]), secret=Profiles().secret("wrong"))).files_exist(["x"])
faulthandler._sigsegv()
"""


@pytest.mark.parametrize("how", ["error", "crash"])
def test_in_what_a_crash_says(server, places, how):
    Profiles().save_secret(NAME, SECRET)
    Profiles().save_secret("wrong", WRONG)
    ran = subprocess.run([sys.executable, "-c", CRASHES, str(server.port), how], capture_output=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert (b"SecretRejected" if how == "error" else b"Fatal Python error") in ran.stdout + ran.stderr
    places.look("what it says", ran.stdout + ran.stderr)
    places.check()


def test_the_servers_command_shows_names_only(server, places, capsys, monkeypatch):
    Profiles().save_secret(NAME, SECRET)
    Profiles().save_server("Studio", server.host, server.port, TLSMode.auto, secret=NAME)
    for arguments in (["list"], ["check", "Studio"], ["check", "Studio", "--json"], ["files", "Studio", MODEL], ["allow", NAME, "a:1"]):
        assert servers_cli.main(arguments) == 0
    assert servers_cli.main(["check", server.address]) == 1
    Profiles().path.write_text(Profiles().path.read_text()[:-2])
    assert servers_cli.main(["list"]) == 1
    shown = capsys.readouterr()
    places.look("what it says", shown.out + shown.err)
    places.check()


@pytest.mark.skipif(not LINUX, reason="/proc")
def test_decoders_do_not_inherit_a_secret_of_the_environment(server, places, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_STUDIO", SECRET)
    pool = decoding.Pool(1)
    client = Client(Server(server.host, server.port, secret=Profiles().secret("Studio")), decoders=pool)
    try:
        client.generate(small_request())
        (pid,) = pool.pids
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"DRAWTHINGS_HOME" in environment
        places.look("environment of a decoder", environment)
        places.look("arguments of a decoder", Path(f"/proc/{pid}/cmdline").read_bytes())
        places.check()
    finally:
        client.close()
        pool.close()


def test_the_search_finds_what_is_there(places, tmp_path):
    """Or the tests above would show nothing."""
    for number, form in enumerate(FORMS):
        places.look(str(number), b"x" + form + b"y")
    holder = {"secret": base64.b64encode(b"any" + SECRET.encode())}
    places.look("base64", holder)
    try:
        raise ValueError(len(holder))
    except ValueError as error:
        inner = SECRET  # noqa: F841  a local that shows it
        places.error("error", error)
    places.check(*map(str, range(len(FORMS))), "base64", "error: its traceback")
