"""What goes wrong with servers and networks, each from a real process over real sockets, and the sentence that the user then reads; that
nothing stays behind, and that the next run works.

docs/faults.md is the table of these; DRAWTHINGS_WRITE_DOCS=1 makes this file write it, otherwise each row is compared.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import signal
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import client as clients
from comfyui_drawthings.drawthings_core import decoding, errors, seats, spread
from comfyui_drawthings.drawthings_core.album import Album
from comfyui_drawthings.drawthings_core.client import Cancellation, Client, client_for
from comfyui_drawthings.drawthings_core.configuration import Configuration, Sampler
from comfyui_drawthings.drawthings_core.connection import OPTIONS, REPEATED
from comfyui_drawthings.drawthings_core.errors import DrawThingsError
from comfyui_drawthings.drawthings_core.job import Job
from comfyui_drawthings.drawthings_core.request import GenerationRequest
from comfyui_drawthings.drawthings_core.response import Event
from comfyui_drawthings.drawthings_core.servers import Profiles, Server, ServerPool
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.stages import Follower
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.drawthings_core.uploading import CHUNK_SIZE, UploadProgress, UploadStage
from comfyui_drawthings.drawthings_core.watch import Patience
from comfyui_drawthings.nodes.generation import Generated, generate
from links import Link

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
WRITES = bool(os.environ.get("DRAWTHINGS_WRITE_DOCS"))
LONGEST = 30.0
"""Seconds in which each of these has to end; the patience with silence is short here."""

SHORT = Patience(ask_after=0.5, unanswered=1.0, queued=2.0, sampling=2.0, sending=2.0, taking=2.0, checking=2.0)
FINE = "The generation works."
SECRET = "correct horse"
VIDEO = {"model": "ltx_2_19b_distilled_q8p.ckpt", "num_frames": 9}


TLS, PLAIN = "TLS", "plain"
WAYS = (TLS, PLAIN)
MODEL = "sd_v1.5_f16.ckpt"
SMALL = {"start_width": 256, "start_height": 192, "steps": 4, "sampler": Sampler.dpmpp_2m_trailing}


def request(**settings: Any) -> GenerationRequest:
    return GenerationRequest(Configuration({"model": MODEL, **SMALL, **settings}), prompt="a cat")


@dataclass
class Case:
    """fault: of the simulator, (name, value) or (name, value, calls). flags, client: of the simulator, and of the Server that is asked.
    settings: of the request. ways: with TLS, without it, or both.

    error: the expected one, None where the generation has to work. mended: what the user does before the next run, which has to work then;
    the server to ask, with which the same client is used when it is the same. Without it the fault just goes away.
    restarted: between a first run and this one.
    during: done in a thread to the running simulator. linked: over a link, which `during` gets. busy: another run of the client goes first.
    arrange: makes a server of its own in place of all that. patience: of the client. node: by the node, which says more than the client.
    upload: of a file, in place of a generation.
    pool: of two servers used as one, what each has wrong with it: a fault, OFF, or nothing.
    """

    what: str
    error: type[DrawThingsError] | None
    fault: tuple[Any, ...] | None = None
    flags: tuple[str, ...] = ()
    client: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    ways: tuple[str, ...] = WAYS
    mended: Callable[[SimulatorProcess, Server], Server] | None = None
    restarted: bool = False
    during: Callable[[SimulatorProcess, Link | None], Any] | None = None
    linked: bool = False
    busy: bool = False
    arrange: Callable[[], Any] | None = None
    patience: Patience = Patience()  # noqa: RUF009  immutable
    node: bool = False
    upload: bool = False
    pool: tuple[Any, ...] = ()


OFF = "it is off"


@contextlib.contextmanager
def nobody() -> Iterator[tuple[Server, Callable[[], Any]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield Server("127.0.0.1", port), lambda: SimulatorProcess("--port", str(port))


@contextlib.contextmanager
def unknown_name() -> Iterator[tuple[Server, None]]:
    yield Server("no-such-host.invalid"), None


@contextlib.contextmanager
def changed_certificate() -> Iterator[tuple[Server, Callable[[], Any]]]:
    """Another certificate than the last time, at the same address."""
    with SimulatorProcess("--model-browser") as first:
        server = Server(first.host, first.port)
        client = Client(server)
        client.echo()
        client.close()
        port = first.port
    with SimulatorProcess("--model-browser", "--port", str(port), "--certificate-name", "localhost") as second:
        yield server, lambda: contextlib.nullcontext(Profiles().pin(server.address, second.certificate or ""))


def freeze(simulator: SimulatorProcess, _link: Link | None) -> None:
    """Its machine sleeps: nothing answers, and nothing is closed."""
    simulator.wait_until(running=1)
    assert simulator.pid is not None
    os.kill(simulator.pid, signal.SIGSTOP)


def awake(simulator: SimulatorProcess, server: Server) -> Server:
    assert simulator.pid is not None
    os.kill(simulator.pid, signal.SIGCONT)
    return server


def cut(simulator: SimulatorProcess, link: Link | None) -> None:
    simulator.wait_until(running=1)
    assert link is not None
    link.cut()


def as_auto(_simulator: SimulatorProcess, server: Server) -> Server:
    return replace(server, tls=TLSMode.auto)


def with_secret(_simulator: SimulatorProcess, server: Server) -> Server:
    return replace(server, secret=SECRET)


def renewed(simulator: SimulatorProcess, server: Server) -> Server:
    simulator.flags = tuple(flag for flag in simulator.flags if flag != "--certificate-expired")
    simulator.restart()
    return server


LATE = {"start_width": 1024, "start_height": 1024, "batch_size": 2}
"""Sent uncompressed: in pieces."""

CASES = [
    Case("Nobody listens at the address", errors.ServerUnreachable, arrange=nobody),
    Case("The host name does not exist", errors.ServerUnreachable, arrange=unknown_name),
    Case("The server speaks TLS, Load Server says plain", errors.TLSMismatch, client={"tls": TLSMode.plain}, ways=(TLS,), mended=as_auto),
    Case("The server is plain, Load Server says TLS", errors.TLSMismatch, client={"tls": TLSMode.pinned}, ways=(PLAIN,), mended=as_auto),
    Case("The certificate has expired", errors.CertificateRejected, flags=("--certificate-expired",), ways=(TLS,), mended=renewed),
    Case(
        "The certificate is not signed by what the system trusts",
        errors.CertificateRejected,
        client={"tls": TLSMode.system},
        ways=(TLS,),
        mended=as_auto,
    ),
    Case("The certificate is another one than before", errors.CertificateChanged, arrange=changed_certificate),
    Case("The secret is missing", errors.SecretRejected, flags=("--shared-secret", SECRET), mended=with_secret),
    Case(
        "The secret is wrong",
        errors.SecretRejected,
        flags=("--shared-secret", SECRET),
        client={"secret": "horse battery"},
        mended=with_secret,
    ),
    Case("The model browser is off, and the model's name is typed", None, flags=("--name", "Quiet")),
    Case("The model is not on the server", errors.FileNotOnServer, settings={"model": "sd_v1.5_f61.ckpt"}),
    Case("Another run takes minutes first", None, busy=True, patience=SHORT._replace(unanswered=20.0, queued=60.0, sampling=60.0)),
    Case("The server is busy for a moment, before it accepts the run", None, ("unavailable", "GenerateImage", 2)),
    Case(
        "Nothing comes, and the server answers otherwise (a queue may last that long)",
        errors.ServerStalled,
        ("stall_first", None),
        patience=SHORT,
    ),
    Case("The server hangs while it samples", errors.ServerStalled, ("stall_sampling", None), patience=SHORT),
    Case(
        "The server hangs in the middle of a picture",
        errors.ServerStalled,
        ("stall_chunk", None),
        settings=LATE,
        patience=SHORT._replace(sampling=30.0),
    ),
    Case(
        "The network stops in the middle of a piece of a picture, and closes nothing",
        errors.ServerStalled,
        ("stall_inside", None),
        flags=("--relay", "--picture", "prepared"),
        settings=LATE,
        patience=SHORT,
    ),
    Case(
        "The server's machine falls asleep",
        errors.ServerStalled,
        flags=("--step-seconds", "0.5"),
        during=freeze,
        mended=awake,
        patience=SHORT,
    ),
    Case("The network breaks while the server samples", errors.ConnectionLost, flags=("--step-seconds", "0.5"), during=cut, linked=True),
    Case("The connection breaks after three messages", errors.ConnectionLost, ("drop_after", 3)),
    Case("The server ends before it has taken the run", errors.ConnectionLost, ("kill_unaccepted", None)),
    Case("The server ends as soon as it has taken the run", errors.ConnectionLost, ("kill_after", 0)),
    Case("The server is killed while it samples", errors.ConnectionLost, ("kill_after", 3)),
    Case("The server is killed while it sends a picture", errors.ConnectionLost, ("kill_after", 8), settings=LATE),
    Case("The server was restarted between two runs", None, restarted=True),
    Case("The server says OK and sends no picture", errors.NoImage, ("empty_result", None)),
    Case("One of two pictures holds a NaN", errors.NonFiniteImage, ("nan_image", 1), settings={"batch_size": 2}),
    Case("One of two pictures holds an infinity", errors.NonFiniteImage, ("inf_image", 1), settings={"batch_size": 2}),
    Case("The last piece of a picture does not come", errors.TensorError, ("missing_last_chunk", None), settings=LATE),
    Case("A piece of another picture comes in between", errors.TensorError, ("mixed_chunks", None), settings=LATE),
    Case("A picture is cut off", errors.TensorError, ("truncated_tensor", 0)),
    Case("A picture has bytes too many", errors.TensorError, ("oversized_tensor", 0), settings=LATE),
    Case("A picture's header promises a terabyte", errors.TensorError, ("huge_header", 0)),
    Case("A picture's header is damaged", errors.TensorError, ("corrupt_header", 0)),
    Case("A picture's compressed bytes are damaged", errors.TensorError, ("corrupt_fpzip", 0)),
    Case("A picture has two dimensions", errors.TensorError, ("wrong_shape", 0)),
    Case("A picture is larger than any upscaler makes it", errors.BadResult, ("giant_image", 0)),
    Case("A picture holds bytes", errors.TensorError, ("wrong_dtype", 0)),
    Case("One of two pictures is smaller", errors.BadResult, ("mixed_sizes", 1), settings={"batch_size": 2}, node=True),
    Case("One picture too many comes", None, ("extra_image", None), node=True),
    Case("One picture of two does not come", None, ("missing_image", None), settings={"batch_size": 2}, node=True),
    Case("Sound comes without pictures", errors.NoImage, ("audio_without_images", None), settings=VIDEO),
    Case("The server reports a stage that is not known yet", None, ("unknown_signpost", None)),
    Case("The server's messages have fields that are not known yet", None, ("unknown_fields", None)),
    Case("Heartbeats, as the cloud's proxy sends them", None, ("heartbeats", 0.05)),
    Case("Previews are damaged", None, ("bad_preview", None)),
    Case("The account may not do this", errors.AccessDenied, ("error_status", "PERMISSION_DENIED:cost 5 exceed threshold 3")),
    Case("Too many generations in a short time", errors.QuotaExceeded, ("error_status", "PERMISSION_DENIED:throttlePolicy exceeded")),
    Case("The request is too large", errors.MessageTooLarge, ("error_status", "RESOURCE_EXHAUSTED:too large")),
    Case("The server does not know the call", errors.NotSupported, ("error_status", "UNIMPLEMENTED:no")),
    Case("The server fails", errors.ServerFailed, ("error_status", "INTERNAL:unknown error processing request")),
    Case("The server takes nothing more of an upload", errors.ServerStalled, ("upload_stalls", 1), upload=True, patience=SHORT),
    Case("The server is killed during an upload", errors.ConnectionLost, ("upload_kill", 1), upload=True),
    Case("One server of a pool is off", None, pool=(OFF, None)),
    Case("One server of a pool fails", None, pool=(("error_status", "INTERNAL:no room"), ("delay_first", 1.0))),
    Case("One server of a pool goes away during the run", None, pool=(("drop_after", 3), ("delay_first", 1.0))),
    Case("All servers of a pool fail", errors.AllServersFailed, pool=(OFF, ("empty_result",))),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[dict[str, SimulatorProcess]]:
    """One with TLS, which keeps its certificate when it is restarted, and one without; what they send is large enough to come in pieces."""
    kept = str(tmp_path_factory.mktemp("certificate"))
    usual = ("--model-browser", "--step-seconds", "0", "--picture", "prepared")
    with SimulatorProcess(*usual, "--certificate-directory", kept) as encrypted, SimulatorProcess(*usual, "--no-tls") as plain:
        yield {TLS: encrypted, PLAIN: plain}


@pytest.fixture(scope="module", autouse=True)
def only_what_is_new() -> Iterator[None]:
    """The garbage collector looks at what these tests make, and not each time at the modules of torch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


ChannelOfGRPC = type(grpc.insecure_channel("127.0.0.1:1"))


@contextlib.contextmanager
def simulated(case: Case, way: str, shared: dict[str, SimulatorProcess]) -> Iterator[tuple[SimulatorProcess, Client, Link | None]]:
    """A shared one, unless the case wants another."""
    with contextlib.ExitStack() as stack:
        simulator = shared[way]
        if case.flags:
            pace = () if "--step-seconds" in case.flags else ("--step-seconds", "0")
            simulator = stack.enter_context(SimulatorProcess(*pace, *case.flags, *(("--no-tls",) if way == PLAIN else ())))
        link = stack.enter_context(Link(simulator.port)) if case.linked else None
        client = Client(Server(simulator.host, (link or simulator).port, **case.client), patience=case.patience)
        stack.callback(client.close)
        yield simulator, client, link


@contextlib.contextmanager
def another_run(client: Client, simulator: SimulatorProcess) -> Iterator[None]:
    """Goes first, for longer than the server is left alone."""
    simulator.set("step_seconds", 1.5)
    first = threading.Thread(target=client.generate, args=(request(),))
    first.start()
    simulator.wait_until(running=1)
    simulator.set("step_seconds", 0)  # of the next one
    yield
    first.join(LONGEST)
    assert not first.is_alive()


def ended(simulator: SimulatorProcess) -> None:
    """Waits for the end of a process whose connections are closed."""
    deadline = time.monotonic() + LONGEST
    while simulator.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not simulator.running


def ours() -> list[str]:
    """Threads that a call leaves behind only by mistake; decoders stay on purpose."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("drawthings") and name != "drawthings-decode"]


def held() -> dict[str, int]:
    """What this process has of what a run takes: threads, channels, and sockets where that can be known. Decoders stay, each with its memory."""
    gc.collect()
    links = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/self/fd/{name}"))
    decoders = decoding.shared()
    return {
        "threads": len(ours()),
        "channels": sum(type(one) is ChannelOfGRPC for one in gc.get_objects()),
        "sockets": sum(link.startswith("socket:") for link in links),
        "decoders": max(0, len(decoders.pids) - decoders.size),
        "shared memory": max(0, sum(link.startswith("/memfd:") for link in links) - 2 * decoders.size),  # a mapping has a descriptor too
    }


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Of threads, sockets, channels and shared memory no more than before, and of files what is kept on purpose. gRPC closes its sockets in its own time."""
    before = held()
    yield
    deadline = time.monotonic() + 10
    while (more := {kind: now for kind, now in held().items() if now > before[kind]}) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert more == {}
    kept = Path(os.environ["DRAWTHINGS_HOME"])
    assert not kept.exists() or {one.name for one in kept.iterdir()} <= {"servers.json", ".servers.lock"}


def outcome(client: Client, case: Case) -> str:
    """The sentence, or what the notes say. Nothing of the run is in memory afterwards."""
    started = time.monotonic()
    sentence, run = _uploaded(client, case) if case.upload else _made_by_node(client.server, case) if case.node else _made(client, case)
    assert time.monotonic() - started < LONGEST
    assert sentence.endswith((".", "?"))
    assert forgotten(run)
    return sentence


def forgotten(kept: weakref.ref[Any]) -> bool:
    """Whether it is in memory no more. A thread of gRPC's that reads an upload ends in its own time."""
    end = time.monotonic() + 10
    while kept() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    return kept() is None


def _made(client: Client, case: Case) -> tuple[str, weakref.ref[Any]]:
    album = Album()
    follower = Follower()
    follower.begin(1, 1)
    shown = []

    def tell(event: Event) -> None:
        shown.append(follower.event(event))

    if case.error is not None:
        with pytest.raises(case.error) as caught:
            client.generate(request(**case.settings), album=album, on_event=tell)
        return str(caught.value), weakref.ref(album)
    result = client.generate(request(**case.settings), album=album, on_event=tell)
    assert all(np.isfinite(picture.rgb).all() for picture in result.pictures)
    waiting = [f"Meanwhile the node says: {doing.text}." for doing in shown if doing is not None and doing.stage == "queued_behind"]
    assert bool(waiting) == case.busy
    return " ".join([FINE, *result.notes, *waiting]), weakref.ref(album)


def _uploaded(client: Client, case: Case) -> tuple[str, weakref.ref[Any]]:
    class Told(list[UploadProgress]):
        """That a reference can be weak to."""

    told = Told()
    assert case.error is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "mine.ckpt"
        source.write_bytes(bytes(4 * CHUNK_SIZE))
        with pytest.raises(case.error) as caught:
            client.upload(source, on_progress=told.append)
    assert told[-1].stage is UploadStage.sending
    return str(caught.value), weakref.ref(told)


def _made_by_node(server: Server, case: Case) -> tuple[str, weakref.ref[Any]]:
    settings = {**SMALL, **case.settings}
    try:
        made = generate(server, Job(MODEL, "a cat", settings=settings), None, Cancellation(), Generated)
        if case.error is None:
            made.images()
            return " ".join([FINE, *json.loads(made.info())["notes"]]), weakref.ref(made.album)
        with pytest.raises(case.error) as caught:
            made.images()
        return str(caught.value), weakref.ref(made.album)
    finally:
        client_for(server).close()
        clients._clients.pop(server)


def _made_by_pool(pool: ServerPool, error: type[DrawThingsError] | None) -> str:
    """The sentence, or what the notes say. Nothing of the run is in memory afterwards."""
    job = Job(MODEL, "a cat", settings={**SMALL, "batch_count": 2})
    if error is not None:
        with pytest.raises(error) as caught:
            generate(pool, job, None, Cancellation(), Generated)
        return str(caught.value)
    made = generate(pool, job, None, Cancellation(), Generated)
    assert len(made.images()) == 2
    sentence, album = " ".join([FINE, *json.loads(made.info())["notes"]]), weakref.ref(made.album)
    del made
    assert forgotten(album)
    return sentence


def marks(case: Case) -> list[pytest.MarkDecorator]:
    return [pytest.mark.skipif(os.name == "nt", reason="stops a process by a signal")] if case.during is freeze else []


RUNS = [(case, way) for case in CASES if case.arrange is None and not case.pool for way in case.ways]


@pytest.mark.parametrize(("case", "way"), [pytest.param(case, way, marks=marks(case), id=f"{case.what}, {way}") for case, way in RUNS])
def test_fault(case, way, shared):
    with nothing_left(), simulated(case, way, shared) as (simulator, client, link):
        simulator.set("compress", case.settings is not LATE)
        if case.fault is not None:
            simulator.set_fault(*case.fault)
        elif case.restarted:
            assert outcome(client, case) == FINE
            simulator.restart()
        if case.during is not None:
            client.catalog()
            threading.Thread(target=case.during, args=(simulator, link), daemon=True).start()
        with another_run(client, simulator) if case.busy else contextlib.nullcontext():
            sentence = outcome(client, case)
        if case.error is errors.ServerStalled:
            assert not client.connected  # or the next call would wait for an answer on it
        assert SECRET not in sentence
        assert "horse battery" not in sentence
        server = client.server if case.mended is None else case.mended(simulator, client.server)
        if case.fault is not None and "kill" in case.fault[0]:
            ended(simulator)
            simulator.restart()
        simulator.clear_faults()
        simulator.set("compress", True)
        again = client if server == client.server else Client(server)
        assert len(again.generate(request()).pictures) == 1
        again.close()
        client.close()
    _told(case, sentence)


@pytest.mark.parametrize("case", [case for case in CASES if case.arrange is not None], ids=lambda case: case.what)
def test_fault_elsewhere(case):
    with nothing_left(), case.arrange() as (server, mended):
        client = Client(server)
        sentence = outcome(client, case)
        if mended is not None:
            with mended():
                assert len(client.generate(request()).pictures) == 1
        client.close()
    _told(case, sentence)


@pytest.mark.parametrize("case", [case for case in CASES if case.pool], ids=lambda case: case.what)
def test_fault_of_a_pool(case, shared, monkeypatch):
    monkeypatch.setattr(spread.health, "_troubles", {})
    monkeypatch.setattr(seats.shared, "_seats", {})
    with nothing_left():
        servers = []
        for simulator, wrong in zip(shared.values(), case.pool, strict=True):
            servers.append(Server(simulator.host, simulator.port))
            if wrong == OFF:
                with nobody() as (servers[-1], _):
                    pass
                continue
            client_for(servers[-1]).catalog()
            if wrong is not None:
                simulator.set_fault(*wrong)
        pool = ServerPool(tuple(servers))
        try:
            sentence = _made_by_pool(pool, case.error)
            for simulator in shared.values():
                simulator.clear_faults()
            assert _made_by_pool(pool, None).startswith(FINE)
        finally:
            for server in servers:
                client_for(server).close()
                clients._clients.pop(server)
    _told(case, sentence)


@pytest.mark.parametrize("way", WAYS)
def test_what_nothing_came_back_of_is_repeated_and_nothing_else_is(shared, way):
    """By gRPC's own retry policy. A server that has accepted a run has sent headers: repeating it might crash it twice."""
    simulator = shared[way]
    client = Client(Server(simulator.host, simulator.port))
    client.generate(request())
    for method, call in (
        ("Echo", client.echo),
        ("FilesExist", lambda: client.files_exist([MODEL])),
        ("GenerateImage", lambda: client.generate(request())),
    ):
        simulator.set_fault("unavailable", method, 2)
        simulator.clear()
        call()
        assert simulator.state()["calls"][method] == 3
    for fault in (("drop_after", 1), ("kill_after", 3), ("error_status", {"code": "UNAVAILABLE", "after": 1})):
        simulator.set_fault(*fault)
        simulator.clear()
        with pytest.raises(errors.ConnectionLost):
            client.generate(request())
        if fault[0] == "kill_after":
            ended(simulator)
            simulator.restart()
        else:
            assert simulator.state()["calls"]["GenerateImage"] == 1
        simulator.clear_faults()
    assert len(client.generate(request()).pictures) == 1
    client.close()


def test_the_clients_own_pings_are_rare_enough():
    """Servers take one in five minutes without data, and end the connection at the third that comes earlier (protocol.md section 3)."""
    options = dict(OPTIONS)
    assert options["grpc.keepalive_time_ms"] > 300_000
    assert options["grpc.keepalive_time_ms"] > 1000 * (Patience().ask_after + Patience().unanswered)  # or its error would come first
    assert options["grpc.keepalive_timeout_ms"] > 1000 * Patience().unanswered
    assert options.get("grpc.keepalive_permit_without_calls", 0) == 0
    assert "grpc.http2.max_pings_without_data" not in options  # gRPC's own limit is two


HEAD = f"""# When something goes wrong

Written by tests/test_faults.py, which makes each of these happen (DRAWTHINGS_WRITE_DOCS=1 writes it), with TLS and without wherever a running
server is asked; of a pool, one server has TLS and the other has none. Every one of them ends within its time and leaves no thread, connection,
process, saved file or picture behind; the next run works without a restart of ComfyUI, and where something is to be changed first, once it is.

A call that ended before anything came back ({", ".join(REPEATED)}) is repeated by itself, up to twice. A generation that a server has
accepted never is.

A generation may be silent: it waits in a queue, or a step is slow. After {Patience().ask_after:.0f} s of silence the server is asked for a sign of life,
which it has to give within {Patience().unanswered / 60:.0f} minutes. While it lives, it may stay silent for {Patience().queued / 3600:.0f} hours before its first message,
{Patience().sampling / 60:.0f} minutes while it samples and {Patience().sending / 60:.0f} minutes while it sends its results. Of an upload it has to take a part within
{Patience().taking / 60:.0f} minutes, and all of it has to be checked within {Patience().checking / 60:.0f}. (The table was made with seconds.)

What is asked before a generation (Echo, FilesExist) is waited for in the same way: as long as the server gives signs of life. A pool leaves out
a server that has given none within {spread._PATIENCE.ask_after + spread._PATIENCE.unanswered:.0f} s of being asked.

| What happens | What the user reads |
|---|---|
"""
_written: dict[str, str] = {}


def _told(case: Case, sentence: str) -> None:
    shown = re.sub(r"(127\.0\.0\.1|\[::1\]):\d+", "HOST:PORT", sentence)
    shown = re.sub(r"no-such-host\.invalid", "HOST", shown)
    shown = re.sub(r"(?:[0-9A-F]{2}:){7,31}[0-9A-F]{2}…?", "(fingerprint)", shown)
    shown = re.sub(r"\b\d+ (seconds|bytes)\b", r"N \1", shown)
    shown = shown.replace("|", "\\|").replace("\n", " ")
    if WRITES:
        _written[case.what] = shown
        if len(_written) == len(CASES):
            rows = [f"| {one.what} | {_written[one.what]} |\n" for one in CASES]
            PAGE.write_text(HEAD + "".join(rows), encoding="utf-8")
        return
    assert f"| {case.what} | {shown} |\n" in PAGE.read_text(encoding="utf-8"), shown


def test_the_page_has_these_rows_only():
    if WRITES:
        pytest.skip("being written")
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    assert [line.split(" | ")[0][2:] for line in text[len(HEAD) :].splitlines()] == [case.what for case in CASES]
