"""What goes wrong with servers and networks, each from a real process over real sockets, and the sentence that the user then reads.

docs/faults.md is the table of these; DRAWTHINGS_WRITE_DOCS=1 makes this file write it, otherwise each row is compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import errors
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.configuration import Configuration, Sampler
from comfyui_drawthings.drawthings_core.errors import DrawThingsError
from comfyui_drawthings.drawthings_core.request import GenerationRequest
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.drawthings_core.watch import Patience

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
WRITES = bool(os.environ.get("DRAWTHINGS_WRITE_DOCS"))
LONGEST = 30.0
"""Seconds in which each of these has to end; the patience with silence is short here."""

SHORT = Patience(ask_after=0.5, unanswered=1.0, queued=2.0, sampling=2.0, sending=2.0)
FINE = "The generation works."
SECRET = "correct horse"
VIDEO = {"model": "ltx_2_19b_distilled_q8p.ckpt", "num_frames": 9}


def request(**settings: Any) -> GenerationRequest:
    given = {"model": "sd_v1.5_f16.ckpt", "start_width": 256, "start_height": 192, "steps": 4, "sampler": Sampler.dpmpp_2m_trailing}
    return GenerationRequest(Configuration({**given, **settings}), prompt="a cat")


@dataclass
class Case:
    """fault: of the simulator, (name, value). flags, client: of the simulator, and of the Server that is asked. settings: of the request.

    error: the expected one, None where the generation has to work. recovers: whether the same client then works without the fault.
    restarted: between a first run and this one.
    during: done in a thread to the running simulator. arrange: makes a server of its own in place of all that. patience: of the client.
    """

    what: str
    error: type[DrawThingsError] | None
    fault: tuple[str, Any] | None = None
    flags: tuple[str, ...] = ()
    client: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    recovers: bool = True
    restarted: bool = False
    during: Callable[[SimulatorProcess], Any] | None = None
    arrange: Callable[[], Any] | None = None
    patience: Patience = Patience()  # noqa: RUF009  immutable


@contextlib.contextmanager
def nobody() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield Server("127.0.0.1", port)


@contextlib.contextmanager
def unknown_name() -> Iterator[Server]:
    yield Server("no-such-host.invalid")


@contextlib.contextmanager
def changed_certificate() -> Iterator[Server]:
    """Another certificate than the last time, at the same address."""
    with SimulatorProcess("--model-browser") as first:
        server = Server(first.host, first.port)
        client = Client(server)
        client.echo()
        client.close()
        port = first.port
    with SimulatorProcess("--model-browser", "--port", str(port), "--certificate-name", "localhost"):
        yield server


def freeze(simulator: SimulatorProcess) -> None:
    """Its machine sleeps: nothing answers, and nothing is closed."""
    simulator.wait_until(running=1)
    assert simulator.pid is not None
    os.kill(simulator.pid, signal.SIGSTOP)


LATE = {"start_width": 1024, "start_height": 1024, "batch_size": 2}
"""Sent uncompressed: in pieces."""

CASES = [
    Case("Nobody listens at the address", errors.ServerUnreachable, arrange=nobody),
    Case("The host name does not exist", errors.ServerUnreachable, arrange=unknown_name),
    Case("The server speaks TLS, Load Server says plain", errors.TLSMismatch, client={"tls": TLSMode.plain}, recovers=False),
    Case(
        "The server is plain, Load Server says TLS", errors.TLSMismatch, flags=("--no-tls",), client={"tls": TLSMode.pinned}, recovers=False
    ),
    Case("The certificate has expired", errors.CertificateRejected, flags=("--certificate-expired",), recovers=False),
    Case(
        "The certificate is not signed by what the system trusts",
        errors.CertificateRejected,
        client={"tls": TLSMode.system},
        recovers=False,
    ),
    Case("The certificate is another one than before", errors.CertificateChanged, arrange=changed_certificate),
    Case("The secret is missing", errors.SecretRejected, flags=("--shared-secret", SECRET), recovers=False),
    Case(
        "The secret is wrong", errors.SecretRejected, flags=("--shared-secret", SECRET), client={"secret": "horse battery"}, recovers=False
    ),
    Case("The model browser is off, and the model's name is typed", None, flags=("--no-tls",)),
    Case("The model is not on the server", errors.FileNotOnServer, settings={"model": "sd_v1.5_f61.ckpt"}),
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
        "The server's machine falls asleep",
        errors.ServerStalled,
        flags=("--step-seconds", "0.5"),
        during=freeze,
        recovers=False,
        patience=SHORT,
    ),
    Case("The connection breaks after three messages", errors.ConnectionLost, ("drop_after", 3)),
    Case("The server is killed while it samples", errors.ConnectionLost, ("kill_after", 3)),
    Case("The server is killed while it sends a picture", errors.ConnectionLost, ("kill_after", 8), settings=LATE),
    Case("The server was restarted between two runs", None, restarted=True),
    Case("The server says OK and sends no picture", errors.NoImage, ("empty_result", None)),
    Case("One of two pictures holds a NaN", errors.NonFiniteImage, ("nan_image", 1), settings={"batch_size": 2}),
    Case("One of two pictures holds an infinity", errors.NonFiniteImage, ("inf_image", 1), settings={"batch_size": 2}),
    Case("The last piece of a picture does not come", errors.TensorError, ("missing_last_chunk", None), settings=LATE),
    Case("A piece of another picture comes in between", errors.TensorError, ("mixed_chunks", None), settings=LATE),
    Case("A picture is cut off", errors.TensorError, ("truncated_tensor", 0)),
    Case("A picture's header is damaged", errors.TensorError, ("corrupt_header", 0)),
    Case("A picture's compressed bytes are damaged", errors.TensorError, ("corrupt_fpzip", 0)),
    Case("A picture has two dimensions", errors.TensorError, ("wrong_shape", 0)),
    Case("A picture holds bytes", errors.TensorError, ("wrong_dtype", 0)),
    Case("One of two pictures is smaller", None, ("mixed_sizes", 1), settings={"batch_size": 2}),
    Case("One picture too many comes", None, ("extra_image", None)),
    Case("One picture of two does not come", None, ("missing_image", None), settings={"batch_size": 2}),
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
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[SimulatorProcess]:
    """Keeps its certificate when it is restarted; what it sends is large enough to come in pieces."""
    kept = str(tmp_path_factory.mktemp("certificate"))
    with SimulatorProcess("--model-browser", "--step-seconds", "0", "--certificate-directory", kept, "--picture", "prepared") as simulator:
        yield simulator


@contextlib.contextmanager
def simulated(case: Case, shared: SimulatorProcess) -> Iterator[tuple[SimulatorProcess, Client]]:
    """The shared one, encrypted, unless the case wants another."""
    with contextlib.ExitStack() as stack:
        simulator = shared
        if case.flags:
            pace = () if "--step-seconds" in case.flags else ("--step-seconds", "0")
            simulator = stack.enter_context(SimulatorProcess(*pace, *case.flags))
        client = Client(Server(simulator.host, simulator.port, **case.client), patience=case.patience)
        stack.callback(client.close)
        yield simulator, client


def ours() -> list[str]:
    """Threads that a call leaves behind only by mistake; decoders stay on purpose."""
    return [thread.name for thread in threading.enumerate() if thread.name in ("drawthings-receive", "drawthings-watch")]


def outcome(client: Client, case: Case) -> str:
    """The sentence, or what the notes say."""
    started = time.monotonic()
    if case.error is None:
        result = client.generate(request(**case.settings))
        assert all(np.isfinite(picture.rgb).all() for picture in result.pictures)
        sentence = " ".join([FINE, *result.notes])
    else:
        with pytest.raises(case.error) as caught:
            client.generate(request(**case.settings))
        sentence = str(caught.value)
    assert time.monotonic() - started < LONGEST
    assert sentence.endswith((".", "?"))
    return sentence


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_fault(case, shared):
    if case.arrange is not None:
        with case.arrange() as server:
            client = Client(server)
            sentence = outcome(client, case)
            client.close()
        _told(case, sentence)
        return
    with simulated(case, shared) as (simulator, client):
        simulator.set("compress", case.settings is not LATE)
        if case.fault is not None:
            simulator.set_fault(*case.fault)
        elif case.restarted:
            assert outcome(client, case) == FINE
            simulator.restart()
        if case.during is not None:
            client.catalog()
            threading.Thread(target=case.during, args=(simulator,), daemon=True).start()
        sentence = outcome(client, case)
        assert SECRET not in sentence
        assert "horse battery" not in sentence
        deadline = time.monotonic() + 5
        while ours() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ours() == []
        if case.recovers:
            if not simulator.running:
                simulator.restart()
            simulator.clear_faults()
            simulator.set("compress", True)
            assert len(client.generate(request()).pictures) == 1
        elif case.during is freeze:
            assert simulator.pid is not None
            os.kill(simulator.pid, signal.SIGCONT)
    _told(case, sentence)


def test_waiting_for_minutes_behind_another_is_no_fault():
    """Longer than the server is left alone, with signs of life in between; never an error."""
    with SimulatorProcess("--model-browser", "--step-seconds", "0.7") as simulator:
        client = Client(Server(simulator.host, simulator.port), patience=SHORT._replace(queued=60.0, sampling=60.0))
        client.catalog()
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(client.generate(request()))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [len(result.pictures) for result in results] == [1, 1]
        assert [result.notes for result in results] == [[], []]
        client.close()


HEAD = f"""# When something goes wrong

Written by tests/test_faults.py, which makes each of these happen (DRAWTHINGS_WRITE_DOCS=1 writes it). Every one of them ends within
its time, leaves nothing running, and the next run works without a restart of ComfyUI.

A generation may be silent: it waits in a queue, or a step is slow. After {Patience().ask_after:.0f} s of silence the server is asked for a sign of life,
which it has to give within {Patience().unanswered / 60:.0f} minutes. While it lives, it may stay silent for {Patience().queued / 3600:.0f} hours before its first message,
{Patience().sampling / 60:.0f} minutes while it samples and {Patience().sending / 60:.0f} minutes while it sends its results. (The table was made with seconds.)

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
