"""Servers that announce themselves: the simulator does it on loopback, as the app and as gRPCServerCLI on Linux."""

import json
import socket
import subprocess
import sys
import time

import pytest
from comfyui_drawthings.drawthings_core import discovery
from comfyui_drawthings.drawthings_core.client import Cancellation
from comfyui_drawthings.drawthings_core.discovery import GROUP, PORT, Discovery, Found, malformed
from comfyui_drawthings.drawthings_core.errors import DiscoveryUnavailable
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator import advertise
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes.page.servers import servers
from hypothesis import given
from hypothesis import strategies as st

LOOPBACK = ["127.0.0.1"]
PATIENCE = 20.0


def _multicast() -> bool:
    """Whether this machine's loopback hears its own multicast."""
    try:
        with discovery._listening(LOOPBACK) as ear, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            ear.settimeout(2)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK[0]))
            mouth.sendto(b"anybody there", (GROUP, PORT))
            return ear.recv(9000) != b""
    except OSError:
        return False


on_a_network = pytest.mark.skipif(not _multicast(), reason="multicast does not come back on this machine's loopback")


def _wait(listening: Discovery, wanted) -> list[Found]:
    end = time.monotonic() + PATIENCE
    while not wanted(listening.found()) and time.monotonic() < end:
        time.sleep(0.05)
    return listening.found()


@on_a_network
@pytest.mark.parametrize("kind", advertise.KINDS)
@pytest.mark.parametrize(("flags", "tls", "mode"), [(("--no-tls",), False, TLSMode.plain), ((), True, TLSMode.pinned)])
def test_an_announced_server_is_found_and_gone_when_it_says_goodbye(kind, flags, tls, mode):
    name = f"Büro {kind} {tls}"
    with Discovery(LOOPBACK) as listening:
        with SimulatorProcess(*flags, "--advertise", kind, "--name", name) as simulator:
            found = [one for one in _wait(listening, lambda all_: any(one.name == name for one in all_)) if one.name == name]
            assert found == [Found(name, found[0].host, simulator.port, tls)]
            assert found[0].mode is mode
            assert Server(found[0].host, found[0].port).address == found[0].address
        assert not [one for one in _wait(listening, lambda all_: all(one.name != name for one in all_)) if one.name == name]


@on_a_network
def test_the_command_lists_them():
    command = [sys.executable, "-m", "comfyui_drawthings.drawthings_core.servers_cli", "discover", "--interface", LOOPBACK[0]]
    with SimulatorProcess("--no-tls", "--advertise", "linux", "--name", "Listed") as simulator:
        told = subprocess.run([*command, "--seconds", "8", "--json"], capture_output=True, text=True, timeout=60, check=False)
        assert {"name": "Listed", "port": simulator.port, "tls": False} in [
            {key: row[key] for key in ("name", "port", "tls")} for row in json.loads(told.stdout)
        ]
    quiet = subprocess.run([*command, "--seconds", "0.1"], capture_output=True, text=True, timeout=60, check=False)
    if quiet.returncode:  # else somebody else is there
        assert "--seconds 65" in quiet.stderr
        assert "API server" in quiet.stderr


def test_a_malformed_announcement_is_read():
    packets = _linux_packets("Box", 7859)
    assert list(malformed(packets[0])) == [("Box_notls._dt-grpc._tcp.local.", "box.local.", 7859, 120)]
    assert list(malformed(packets[1])) == [("Box_notls._dt-grpc._tcp.local.", "box.local.", 7859, 0)]


def _linux_packets(name: str, port: int) -> list[bytes]:
    """Announcement and goodbye."""
    made = object.__new__(advertise._Linux)
    made._host, made._instance, made._port = "box.local.", f"{name}_notls.{discovery.SERVICE_TYPE}", port
    return [made._service(120), made._service(0)]


@given(st.binary(max_size=60), st.integers(0, 140), st.binary(max_size=8))
def test_nothing_that_is_heard_ends_the_listener(extra, cut, middle):
    packet = _linux_packets("Box", 7859)[0]
    for data in (extra, packet[:cut] + extra, packet[:cut] + middle + packet[cut:], packet[:12] + extra + packet[12:]):
        for instance, server, port, seconds in malformed(data):
            assert isinstance(instance, str)
            assert isinstance(server, str)
            assert 0 < port < 65536
            assert seconds >= 0


def test_the_name_says_whether_it_is_encrypted():
    for instance, wanted in (
        ("My Mac_tls", ("My Mac", True)),
        ("My Mac_notls", ("My Mac", False)),
        ("My Mac", ("My Mac", None)),
        ("a.b_tls", ("a.b", True)),
    ):
        assert discovery._plain_name(f"{instance}.{discovery.SERVICE_TYPE}") == wanted
    assert Found("x", "h", 1, None).mode is TLSMode.auto


def test_without_zeroconf_it_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(DiscoveryUnavailable, match=r"pip install zeroconf.*type the server's address"):
        Discovery()


@on_a_network
def test_the_page_is_told_of_them(monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_DISCOVERY", LOOPBACK[0])
    monkeypatch.setattr(discovery, "_shared", None)
    asked = lambda: servers({}, Cancellation())  # noqa: E731
    try:
        assert asked()["discovery_problem"] == ""
        with SimulatorProcess("--advertise", "linux", "--name", "Told") as simulator:
            _wait(discovery.shared(), lambda all_: any(one.name == "Told" for one in all_))
            (row,) = [row for row in asked()["discovered"] if row["name"] == "Told"]
            assert (row["port"], row["tls"]) == (simulator.port, "pinned")
            assert row["address"].endswith(f":{simulator.port}")
    finally:
        discovery.shared().close()
