"""The simulator on the local network, as the app announces itself and as gRPCServerCLI on Linux does (protocol.md section 8)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from ..discovery import ANNOUNCED_EVERY, GROUP, PORT, SERVICE_TYPE

KINDS = ("app", "linux")
"""app: Bonjour, here by zeroconf. linux: unasked packets of its own, as malformed as the real ones."""

_SECONDS = 120  # that an announcement holds
_ADDRESS, _POINTER, _TEXT, _SERVICE = 1, 12, 16, 33
_IN, _IN_ALONE = 1, 0x8001
_TEXT_BYTES = b"\x09txtvers=1"
_CLAIMED_TEXT = 5
_CLAIMED_RECORDS = (4, 6)


class CannotAdvertise(Exception):
    """zeroconf is missing, or the network refuses."""


class Advertiser:
    """Announces one server until it is closed. address: it listens on, which is also the network card to use."""

    def __init__(self, kind: str, name: str, address: str, port: int, tls: bool):
        instance = f"{name}_{'tls' if tls else 'notls'}.{SERVICE_TYPE}"
        card = None if address in ("0.0.0.0", "::") else address
        try:
            self._running: Any = (_Bonjour if kind == "app" else _Linux)(instance, card, port)
        except ImportError as error:
            raise CannotAdvertise("--advertise app needs the package zeroconf.") from error
        except OSError as error:
            raise CannotAdvertise(f"The server cannot be announced: {error}.") from error

    def close(self) -> None:
        """Say goodbye."""
        self._running.close()


class _Bonjour:
    def __init__(self, instance: str, card: str | None, port: int):
        from zeroconf import InterfaceChoice, IPVersion, ServiceInfo, Zeroconf

        cards: Any = InterfaceChoice.All if card is None else [card]
        self._network = Zeroconf(interfaces=cards, ip_version=IPVersion.V4Only)
        self._info = ServiceInfo(SERVICE_TYPE, instance, port, server=_host_name(), parsed_addresses=[card or _own_address()])
        self._network.register_service(self._info, allow_name_change=True)

    def close(self) -> None:
        self._network.unregister_service(self._info)
        self._network.close()


class _Linux:
    def __init__(self, instance: str, card: str | None, port: int):
        self._address = card or _own_address()
        self._host, self._instance, self._port = _host_name(), instance, port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self._address))
        self._socket.bind((card or "", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._announce, name="advertise", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(2)
        self._send(self._service(0))
        self._socket.close()

    def _announce(self) -> None:
        for _ in range(3):
            self._send(_packet((1, 0), _record(self._host, _ADDRESS, _IN_ALONE, _SECONDS, socket.inet_aton(self._address))))
            if self._ended.wait(0.25):
                return
        for gap in _gaps():
            self._send(self._service(_SECONDS))
            if self._ended.wait(gap):
                return

    def _service(self, seconds: int) -> bytes:
        place = struct.pack("!3H", 0, 0, self._port) + _labels(self._host)
        return _packet(
            _CLAIMED_RECORDS,
            _record(SERVICE_TYPE, _POINTER, _IN, seconds, _labels(self._instance)),
            _record(self._instance, _SERVICE, _IN_ALONE, seconds, place),
            _record(self._instance, _TEXT, _IN_ALONE, seconds, _TEXT_BYTES, claimed=_CLAIMED_TEXT),
        )

    def _send(self, packet: bytes) -> None:
        with contextlib.suppress(OSError):  # no network for now
            self._socket.sendto(packet, (GROUP, PORT))


def _gaps() -> Iterator[float]:
    yield from (1, 2, 4, 8, 16)
    while True:
        yield ANNOUNCED_EVERY


def _packet(counts: tuple[int, int], *records: bytes) -> bytes:
    answers, additionals = counts
    return struct.pack("!6H", 0, 0x8400, 0, answers, 0, additionals) + b"".join(records)


def _record(name: str, kind: int, of_class: int, seconds: int, data: bytes, claimed: int | None = None) -> bytes:
    return _labels(name) + struct.pack("!HHIH", kind, of_class, seconds, len(data) if claimed is None else claimed) + data


def _labels(name: str) -> bytes:
    instance, found, service = name.partition("." + SERVICE_TYPE)
    labels = [instance, *SERVICE_TYPE.split(".")[:-1]] if found and not service else name.rstrip(".").split(".")
    return b"".join(bytes([len(raw)]) + raw for raw in (label.encode()[:63] for label in labels)) + b"\0"


def _host_name() -> str:
    return f"{socket.gethostname().partition('.')[0] or 'simulator'}.local."


def _own_address() -> str:
    """Of the card that leads out; no packet is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((GROUP, PORT))
        return probe.getsockname()[0]
