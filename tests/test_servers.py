"""Addresses, saved secrets, pins, and TLS probing against real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time

import pytest
from comfyui_drawthings.drawthings_core import servers_cli, tls
from comfyui_drawthings.drawthings_core.client import Cancellation, Client
from comfyui_drawthings.drawthings_core.errors import GenerationCancelled, InvalidInput, ProfileError, ServerUnreachable
from comfyui_drawthings.drawthings_core.servers import Profiles, Server, parse_address
from comfyui_drawthings.drawthings_core.tls import TLSMode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", ("localhost", 7859)),
        (" my-mac.local:7860 ", ("my-mac.local", 7860)),
        ("192.168.1.20:443", ("192.168.1.20", 443)),
        ("https://host:1/", ("host", 1)),
        ("[::1]:7859", ("::1", 7859)),
        ("[fe80::1%en0]", ("fe80::1%en0", 7859)),
        ("::1", ("::1", 7859)),
    ],
)
def test_parse_address(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", " ", "a b", "host:", "host:0", "host:99999", "host:12:13", "http://", "host/path"])
def test_parse_address_refuses(text):
    with pytest.raises(InvalidInput):
        parse_address(text)


def test_server_never_shows_its_secret():
    server = Server("host", secret="hunter2")
    assert "hunter2" not in repr(server)
    assert "hunter2" not in str(server)
    assert server.address == "host:7859"
    assert Server("::1").address == "[::1]:7859"


def test_profile_file_is_private_and_whole(tmp_path):
    profiles = Profiles(tmp_path / "deep" / "servers.json")
    profiles.save_secret("studio", "hunter2")
    profiles.pin("host:1", "PEM")
    profiles.save_server("Studio", "host", 1, TLSMode.pinned, secret="studio")
    assert stat.S_IMODE(os.stat(profiles.path).st_mode) == 0o600
    assert sorted(os.listdir(profiles.path.parent)) == [".servers.lock", "servers.json"]  # nothing half-written beside it
    again = Profiles(profiles.path)
    assert again.secret("studio") == "hunter2"
    assert again.certificate("host:1") == "PEM"
    assert again.server("Studio") == Server("host", 1, TLSMode.pinned, "", "hunter2")
    assert again.forget("studio") == ["secret"]
    with pytest.raises(ProfileError):
        again.secret("studio")
    assert again.secret("") is None


def test_unknown_secret_is_not_repeated_in_the_error(tmp_path):
    with pytest.raises(ProfileError) as caught:
        Profiles(tmp_path / "s.json").secret("hunter2-written-here-by-mistake")
    assert "hunter2" not in str(caught.value)


def test_secret_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_MY_MAC", "s3cret")
    assert Profiles(tmp_path / "s.json").secret("my-mac") == "s3cret"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "\xff\xfe",
        '{"secrets": ["a"]}',
        '{"secrets": {"x": 5}}',
        '{"servers": {"x": {}}}',
        '{"servers": {"x": 5}}',
        '{"certificates": 1}',
    ],
)
def test_damaged_profile_file_is_named_not_overwritten(tmp_path, content):
    path = tmp_path / "servers.json"
    path.write_bytes(content.encode("latin-1"))
    profiles = Profiles(path)
    for attempt in (lambda: profiles.secret("x"), lambda: profiles.save_secret("x", "y")):
        with pytest.raises(ProfileError, match=r"servers\.json"):
            attempt()
    assert path.read_bytes() == content.encode("latin-1")


def test_two_threads_writing_lose_nothing(tmp_path):
    profiles = [Profiles(tmp_path / "servers.json") for _ in range(4)]
    threads = [
        threading.Thread(target=lambda p=p, i=i: [p.save_secret(f"{i}-{n}", "x") for n in range(10)]) for i, p in enumerate(profiles)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(profiles[0].secret_names()) == 40


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DRAWTHINGS_HOME", str(tmp_path))
    read_end, write_end = os.pipe()
    os.write(write_end, b"hunter2\n")
    os.close(write_end)
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert servers_cli.main(["secret", "studio"]) == 0
    assert servers_cli.main(["add", "Studio", "10.0.0.2", "--secret", "studio"]) == 0
    assert servers_cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "Studio: 10.0.0.2:7859" in shown
    assert "hunter2" not in shown
    assert servers_cli.main(["forget", "Studio"]) == 0
    assert servers_cli.main(["forget", "Studio"]) == 1
    assert servers_cli.main(["add", "x", "no such:address:"]) == 1
    assert json.loads((tmp_path / "servers.json").read_text())["secrets"] == {"studio": "hunter2"}


@pytest.fixture
def listener():
    """A socket that accepts and does what the test says with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def answering(server: socket.socket, behave) -> None:
    """Do the same with every connection, until the socket is closed."""

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                behave(connection)

    threading.Thread(target=serve, daemon=True).start()


def hang_up_on_tls(connection: socket.socket) -> None:
    if connection.recv(3) == b"PRI":
        connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")


def test_probe_recognises_a_plain_server(listener):
    answering(listener, hang_up_on_tls)
    assert tls.probe("127.0.0.1", listener.getsockname()[1], timeout=2) == tls.Probe(False)


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (lambda connection: connection.close(), "something that is not Draw Things"),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "something that is not Draw Things"),
        (lambda connection: time.sleep(0.7), "does not answer"),
    ],
    ids=["hangs up", "http", "silent"],
)
def test_probe_does_not_guess(listener, behave, words):
    answering(listener, behave)
    with pytest.raises(ServerUnreachable, match=words):
        tls.probe("127.0.0.1", listener.getsockname()[1], timeout=0.3)


@contextlib.contextmanager
def full_backlog():
    """A listener to which nothing connects any more, since nobody accepts."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server


class Enough(Exception):
    """What a check raises."""


@pytest.mark.parametrize(
    ("look", "where"), [(tls.target, "connecting"), (tls.probe, "connecting"), (tls.probe, "handshake"), (tls.probe, "greeting")]
)
def test_probe_can_be_cut_short(listener, look, where):
    # Silent from the start, or only once it is spoken to without TLS.
    answering(listener, lambda connection: (where == "greeting" and connection.recv(3) != b"PRI") or time.sleep(3))
    started = time.monotonic()

    def check():
        if time.monotonic() - started > 0.3:
            raise Enough

    with full_backlog() as full, pytest.raises(Enough):
        look("127.0.0.1", (full if where == "connecting" else listener).getsockname()[1], check=check)
    assert time.monotonic() - started < 0.8


@pytest.mark.parametrize("mode", list(TLSMode))
def test_no_thread_lingers_at_a_silent_server(listener, mode):
    """Both calls wait for one connection, and both can be cancelled."""
    answering(listener, lambda connection: time.sleep(5))
    client = Client(Server("127.0.0.1", listener.getsockname()[1], mode))
    cancellations = [Cancellation(), Cancellation()]
    outcomes: list[Exception] = []

    def greet(cancellation):
        try:
            client.echo(cancellation=cancellation)
        except GenerationCancelled as error:
            outcomes.append(error)

    threads = [threading.Thread(target=greet, args=(one,)) for one in cancellations]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    for one in reversed(cancellations):
        one.cancel()
    started = time.monotonic()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - started < 0.6
    assert len(outcomes) == 2
    client.close()


def test_probe_says_why_nothing_answers():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerUnreachable, match="refused"):
        tls.probe("127.0.0.1", port)
    with pytest.raises(ServerUnreachable, match=r"the name no-such-host\.invalid is not known"):
        tls.probe("no-such-host.invalid", 7859)
    with pytest.raises(ServerUnreachable):
        tls.probe("a" * 300, 7859)
