"""Whom a graph, a page and a network may make us trust: saved secrets, pinned certificates, and the routes that decide about them."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import threading
import traceback

import pytest
from comfyui_drawthings.drawthings_core import client as clients
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.errors import CertificateChanged, InvalidInput, ProfileError
from comfyui_drawthings.drawthings_core.secret import Sealed, SealedBytes, Secret
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes.load_server import LoadServer, server_from
from comfyui_drawthings.nodes.page import ROUTES, lists, newcomers
from comfyui_drawthings.proto import messages
from test_page_servers import ELSEWHERE, ask, at, free_port
from test_routes import JSON, Page

VALUE = "hunter2 Übergröße"
POSIX = pytest.mark.skipif(os.name == "nt", reason="modes and signals of POSIX")


# -- a secret as an object


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret(VALUE)
    server = Server("host", secret=VALUE)
    assert isinstance(server.secret, Secret)
    assert server.secret.reveal() == VALUE
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        repr([secret]),
        repr({"a": secret}),
        repr(server),
        str(server),
    ]
    shown += [repr(dataclasses.asdict(server)), repr(vars(server)), json.dumps(dataclasses.asdict(server), default=str), repr(dir(secret))]
    shown += [repr(copy.copy(secret)), repr(copy.deepcopy(server)), repr(Sealed(messages.EchoRequest(name="x"), secret))]
    shown += [repr(SealedBytes(VALUE.encode())), str(Sealed(messages.EchoRequest(), secret))]
    assert not [text for text in shown if VALUE in text or "hunter2" in text]
    with pytest.raises(TypeError):
        json.dumps(dataclasses.asdict(server))
    with pytest.raises(TypeError):
        json.dumps(dataclasses.asdict(server), default=vars)


def test_copies_have_the_secret_and_pickles_do_not():
    server = Server("host", secret=VALUE)
    for same in (copy.copy(server), copy.deepcopy(server), dataclasses.replace(server, port=1)):
        assert same.secret == VALUE
    for holder in (server, server.secret, [server], Sealed(messages.EchoRequest(), server.secret)):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(holder, protocol)


def test_secrets_are_equal_by_value():
    assert Secret("a") == Secret("a") == "a"
    assert Secret("a") != Secret("b")
    assert Secret("a") != 5
    assert not Secret("")
    assert Server("h", secret="a") == Server("h", secret=Secret("a"))
    assert len({Server("h", secret="a"), Server("h", secret="a"), Server("h", secret="b")}) == 2


def test_what_is_sealed_arrives():
    sealed = Sealed(messages.FileListRequest(files=["x"]), Secret(VALUE))
    arrived = messages.FileListRequest.FromString(sealed.SerializeToString())
    assert (list(arrived.files), arrived.sharedSecret) == (["x"], VALUE)
    assert not messages.EchoRequest.FromString(Sealed(messages.EchoRequest(), None).SerializeToString()).HasField("sharedSecret")


# -- the profile file

CHANGES = """
import sys
from pathlib import Path
from comfyui_drawthings.drawthings_core.servers import Profiles
profiles = Profiles(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    profiles.save_secret(f"{sys.argv[2]} {number}", "x")
"""


def test_two_processes_at_once_lose_nothing(tmp_path):
    path = tmp_path / "servers.json"
    running = [
        subprocess.Popen([sys.executable, "-c", CHANGES, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    try:
        for one in running:
            assert one.stdout.readline() == "ready\n"
        for one in running:
            one.stdin.write("\n")
            one.stdin.flush()
        assert [one.wait(60) for one in running] == [0, 0]
    finally:
        for one in running:
            one.kill()
            one.communicate()
    assert len(Profiles(path).secret_names()) == 50


CRASHES = """
import os, signal, sys
from pathlib import Path
from comfyui_drawthings.drawthings_core.servers import Profiles
os.umask(0)
where = sys.argv[2]
setattr(os, where, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
Profiles(Path(sys.argv[1])).save_secret("new", "hunter3")
"""


@POSIX
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_crash_in_the_middle_of_a_write_changes_nothing_and_leaves_nothing_readable(tmp_path, where):
    profiles = Profiles(tmp_path / "servers.json")
    profiles.save_secret("studio", VALUE)
    before = profiles.path.read_bytes()
    ended = subprocess.run([sys.executable, "-c", CRASHES, str(profiles.path), where], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert profiles.path.read_bytes() == before
    (left,) = tmp_path.glob(".servers-*")
    assert stat.S_IMODE(left.stat().st_mode) == 0o600  # although its umask was 0
    profiles.save_secret("another", "x")
    assert list(tmp_path.glob(".servers-*")) == []
    assert profiles.secret("studio") == VALUE


@POSIX
def test_modes_do_not_depend_on_the_umask(tmp_path):
    program = "import os, sys\nfrom pathlib import Path\nfrom comfyui_drawthings.drawthings_core.servers import Profiles\nos.umask(0)\n"
    program += "Profiles(Path(sys.argv[1])).save_secret('studio', 'x')"
    path = tmp_path / "home" / "servers.json"
    subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=True)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (path.parent, *path.parent.iterdir())}
    assert modes == {"home": 0o700, "servers.json": 0o600, ".servers.lock": 0o600}
    path.chmod(0o644)  # as a backup brings it back
    Profiles(path).save_secret("other", "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@POSIX
def test_a_file_that_stays_locked_is_said(tmp_path, monkeypatch):
    import fcntl

    from comfyui_drawthings.drawthings_core import servers

    profiles = Profiles(tmp_path / "servers.json")
    profiles.save_secret("studio", VALUE)
    monkeypatch.setattr(servers, "_LOCK_SECONDS", 0.1)
    with (tmp_path / ".servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ProfileError, match="locked"):
            profiles.save_secret("other", "x")
        assert profiles.secret("studio") == VALUE  # reading waits for nobody
    profiles.save_secret("other", "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text.replace(b"secrets", b"\xff"),
        lambda text: text.replace(b'"certificates": {}', b'"certificates": 5'),
    ],
)
def test_the_error_of_a_damaged_file_has_no_secret_in_any_corner(tmp_path, damage):
    profiles = Profiles(tmp_path / "servers.json")
    profiles.save_secret("studio", "hunter2")
    profiles.path.write_bytes(damage(profiles.path.read_bytes()))
    with pytest.raises(ProfileError) as caught:
        profiles.save_secret("new", "hunter3")
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    ours = told[told.index("servers.py") :]  # the first frame is this test's own
    assert "hunter" not in ours.replace("hunter3", "", 1)
    chain, error = [], caught.value
    while error is not None:
        chain.append(repr(vars(error)) + repr(error.args))
        error = error.__cause__ or error.__context__
    assert "hunter" not in "".join(chain)


# -- one address, several spellings

SPELLINGS = [("Mac.Local", "mac.local"), ("mac.local.", "MAC.local"), ("::1", "0:0:0:0:0:0:0:1"), ("FE80::1%en0", "fe80:0::1%en0")]


@pytest.mark.parametrize(("first", "second"), SPELLINGS)
def test_a_pin_holds_however_the_address_is_spelled(tmp_path, first, second):
    profiles = Profiles(tmp_path / "servers.json")
    profiles.pin(Server(first).address, "old")
    assert profiles.certificate(Server(second).address) == "old"
    assert profiles.certificate(Server(second, 1).address) is None
    profiles.pin(Server(second).address, "new")
    assert list(profiles.certificates().values()) == ["new"]
    assert profiles.forget(Server(first).address) == ["certificate"]
    assert profiles.certificates() == {}


def test_another_spelling_does_not_get_round_a_changed_certificate():
    port = free_port()
    with SimulatorProcess("--port", str(port)) as first:
        client = Client(Server("localhost", port))
        client.echo()
        client.close()
        pinned = first.fingerprint
    with SimulatorProcess("--port", str(port)) as other:
        assert other.fingerprint != pinned
        with pytest.raises(CertificateChanged):
            Client(Server("LOCALHOST", port)).echo()
        assert other.requests(None) == []


# -- in the clear


def test_a_workflow_cannot_have_a_secret_sent_in_the_clear_to_a_server_with_tls(simulator):
    profiles = Profiles()
    profiles.save_secret("studio", VALUE)
    profiles.allow("studio", ELSEWHERE, simulator.port)
    assert server_from(ELSEWHERE, simulator.port, "plain", "studio").secret == VALUE  # nothing is known of it
    profiles.pin(f"{ELSEWHERE}:{simulator.port}", "PEM")
    simulator.clear()
    with pytest.raises(ProfileError, match="without TLS"):
        server_from(ELSEWHERE, simulator.port, "plain", "studio")
    outcome = ask("servers/check", server=at(simulator, host=ELSEWHERE, tls="plain", secret="studio"))
    assert "without TLS" in outcome["problem"]["message"]
    assert simulator.requests(None) == []
    assert server_from(ELSEWHERE, simulator.port, "plain").secret is None
    assert server_from(ELSEWHERE, simulator.port, "auto", "studio").secret == VALUE
    profiles.save_server("Mine", ELSEWHERE, simulator.port, TLSMode.plain, secret="studio")  # the user's own word
    assert server_from(ELSEWHERE, simulator.port, "plain", "studio").secret == VALUE


def test_a_server_that_was_saved_with_tls_is_not_sent_a_secret_without():
    Profiles().save_server("Mine", "Mac.local", 7859, TLSMode.pinned, secret="Mine", new_secret=VALUE)
    with pytest.raises(ProfileError, match="without TLS"):
        server_from("mac.local.", 7859, "plain", "Mine")


# -- files that a workflow names


@POSIX
@pytest.mark.parametrize(
    ("make", "words"), [("/dev/zero", "no file"), ("pipe", "no file"), ("large", "larger than 4 MB"), (".", "directory")]
)
def test_a_ca_file_is_a_small_file(guarded, tmp_path, make, words):
    path = tmp_path / "ca.pem"
    if make == "pipe":
        os.mkfifo(path)
    elif make == "large":
        path.write_bytes(bytes(5 << 20))
    else:
        path = make
    with pytest.raises(InvalidInput, match=words):
        Client(Server(guarded.host, guarded.port, TLSMode.ca_file, str(path))).echo()


# -- routes


DECIDING = [name for name, route in ROUTES.items() if route.decides]


def test_what_decides_about_trust_is_marked():
    assert DECIDING == ["servers/save", "servers/forget", "servers/accept", "secrets/allow"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example:8188"}, 200),  # no browser: none leaves both headers out
        ({"Host": "evil.example:8188", "Origin": "http://evil.example:8188"}, 403),
        ({"Host": "EVIL.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Host": "evil.example.", "Origin": "http://evil.example."}, 403),
        ({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Host": "1.2.3.4.evil.example", "Origin": "http://1.2.3.4.evil.example"}, 403),
        ({"Host": "comfy.example", "Origin": "https://comfy.example"}, 200),  # nobody has its certificate but its owner
        ({"Host": "127.0.0.1:8188", "Origin": "http://127.0.0.1:8188"}, 200),
        ({"Host": "[fe80::1]:8188", "Origin": "http://[fe80::1]:8188"}, 200),
        ({"Host": "localhost:8188", "Origin": "http://localhost:8188"}, 200),
        ({"Host": "mac.local:8188", "Origin": "http://mac.local:8188"}, 200),
        ({"Host": "studio", "Origin": "http://studio"}, 200),
        ({"Host": "comfy.home.arpa", "Origin": "http://comfy.home.arpa"}, 200),
        ({"Host": "own.example", "Origin": "http://own.example"}, 200),
    ],
)
def test_a_page_under_a_strangers_name_decides_nothing(headers, status, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_HOSTS", "Own.example, other.example")
    page = Page({"decide": ROUTES["servers/forget"], "look": ROUTES["present"]})
    try:
        reply = page.post("decide", {}, {**JSON, **headers})
        assert reply.status == status
        assert ("error" in reply.answer) == (status != 200)
        if status != 200:
            assert (reply.answer["error"]["type"], "DRAWTHINGS_HOSTS" in reply.answer["error"]["message"]) == ("StrangeName", True)
        assert page.post("look", {"client_id": "x"}, {**JSON, **headers}).status == 200
    finally:
        page.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_page_has_few_new_addresses_asked():
    clock = Clock()
    counted = newcomers.Newcomers(clock)
    for port in range(1, newcomers.MOST + 1):
        counted.admit(Server("10.0.0.1", port))
        counted.admit(Server("10.0.0.1", port, TLSMode.plain, secret="x"))  # the same address
    with pytest.raises(InvalidInput, match="further ones"):
        counted.admit(Server("10.0.0.1", 5000))
    counted.admit(Server("10.0.0.1", 1))
    Profiles().save_server("Studio", "10.0.0.1", 5000, TLSMode.auto)
    counted.admit(Server("10.0.0.1", 5000))
    clock.now += newcomers.SECONDS
    counted.admit(Server("10.0.0.1", 5001))


def test_the_routes_that_connect_count(monkeypatch, simulator):
    """Servers of Draw Things do not; what is refused, or is something else, does."""
    monkeypatch.setattr(newcomers, "MOST", 3)
    newcomers.newcomers.forget()
    assert ask("servers/check", server=at(simulator))["report"] is not None
    told = [ask("servers/check", server={"host": "127.0.0.1", "port": free_port()})["problem"]["type"] for _ in range(3)]
    assert told == ["ServerUnreachable"] * 3
    stranger = {"host": "127.0.0.1", "port": free_port()}
    assert "further ones" in ask("servers/check", server=stranger)["problem"]["message"]
    (answer,) = ask("lists", servers=[stranger], refresh=True)["servers"]
    assert (answer["state"], "further ones" in answer["error"]["message"]) == ("failed", True)
    with pytest.raises(InvalidInput, match="further ones"):
        ask("servers/accept", server=stranger, fingerprint="x")
    with pytest.raises(InvalidInput, match="further ones"):
        ask("recommended", servers=[stranger], model="m.ckpt", loras=[], widgets=[])
    assert ask("servers/check", server=at(simulator))["report"] is not None


def test_lists_wait_for_few_servers_at_once(monkeypatch):
    monkeypatch.setattr(lists, "CALLS", 2)
    monkeypatch.setattr(lists, "PATIENCE", 0.2)
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]  # accept, and never answer
    try:
        asked = [{"host": "127.0.0.1", "port": one.getsockname()[1]} for one in silent]
        answers = ask("lists", servers=asked, refresh=True)["servers"]
        assert [answer["state"] for answer in answers] == ["late", "late", "failed"]
        assert "already" in answers[2]["error"]["message"]
    finally:
        for one in silent:
            one.close()
        for thread in threading.enumerate():
            if thread.name == "drawthings lists":
                thread.join(20)


def test_clients_of_addresses_that_nobody_is_at_are_let_go_of(monkeypatch, simulator):
    monkeypatch.setattr(clients, "_MOST_CLIENTS", 5)
    connected = clients.client_for(Server(simulator.host, simulator.port, TLSMode.plain))
    connected.echo()
    for port in range(1, 50):
        clients.client_for(Server("10.0.0.1", port))
    assert len([one for one in clients._clients if one.host == "10.0.0.1"]) < 10
    assert clients.client_for(Server(simulator.host, simulator.port, TLSMode.plain)) is connected
    connected.close()


# -- what a run depends on


def test_load_server_notices_a_new_secret_and_tells_nothing_of_it():
    profiles = Profiles()
    profiles.save_secret("studio", "one")
    first = LoadServer.IS_CHANGED(host="h", secret="studio")
    assert first == LoadServer.IS_CHANGED(host="h", secret="studio")
    profiles.save_secret("studio", "two")
    assert LoadServer.IS_CHANGED(host="h", secret="studio") != first
    profiles.save_server("Studio", "h", 1, TLSMode.auto, secret="studio")
    saved = LoadServer.IS_CHANGED(host="", saved_server="Studio")
    profiles.save_secret("studio", "three")
    assert LoadServer.IS_CHANGED(host="", saved_server="Studio") != saved
