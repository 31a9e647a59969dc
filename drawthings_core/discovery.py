"""Servers that announce themselves on the local network (mDNS, `_dt-grpc._tcp`; protocol.md section 8).

zeroconf is optional. It drops the announcements of gRPCServerCLI on Linux whole, whose header promises more records than there are;
those are read here with a corrected header. Such a server answers no question either: it is heard at its start and then every minute.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .errors import DiscoveryUnavailable
from .tls import TLSMode, join_address

SERVICE_TYPE = "_dt-grpc._tcp.local."
VARIABLE = "DRAWTHINGS_DISCOVERY"
"""In the environment: "off", or addresses of the network cards that `shared` listens on, with commas between; all when empty."""
ANNOUNCED_EVERY = 60.0
"""Seconds between two announcements of a server on Linux."""

GROUP, PORT = "224.0.0.251", 5353
_SUFFIXES = {"_tls": True, "_notls": False}
_MARK = b"\x08_dt-grpc\x04_tcp"
_HEADER = struct.Struct("!6H")
_RESPONSE = 0x8000
_POINTER, _SERVICE = 12, 33
_LARGEST = 9000  # bytes of a packet
_ASK_MILLISECONDS = 3000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Found:
    """One announced server. name: as its owner named it. host: what to connect to. tls: None where the announcement does not say it."""

    name: str
    host: str
    port: int
    tls: bool | None = None

    @property
    def address(self) -> str:
        return join_address(self.host, self.port)

    @property
    def mode(self) -> TLSMode:
        """How to reach it; what is announced as encrypted is never called in the clear."""
        return {True: TLSMode.pinned, False: TLSMode.plain, None: TLSMode.auto}[self.tls]


class Discovery:
    """Listens for announcements until it is closed; a context manager. Thread-safe.

    interfaces: IPv4 addresses of the network cards to use, all by default. Raises DiscoveryUnavailable.
    """

    def __init__(self, interfaces: Sequence[str] | None = None):
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Found, float]] = {}  # by instance name; until when it counts
        try:
            import zeroconf
        except ImportError as error:
            raise DiscoveryUnavailable("the package zeroconf is not installed (pip install zeroconf)") from error
        self._library = zeroconf
        self._asking = ThreadPoolExecutor(4, thread_name_prefix="drawthings-discovery")
        try:
            cards: Any = list(interfaces) if interfaces else zeroconf.InterfaceChoice.All
            self._network = zeroconf.Zeroconf(interfaces=cards, ip_version=zeroconf.IPVersion.V4Only)
        except (OSError, RuntimeError, ValueError) as error:  # ValueError: a card's address that is none
            self._asking.shutdown(wait=False)
            raise DiscoveryUnavailable(f"the network does not allow it ({error})") from error
        self._browser = zeroconf.ServiceBrowser(self._network, SERVICE_TYPE, handlers=[self._changed])
        self._malformed = _Malformed(interfaces, self._heard)

    def __enter__(self) -> Discovery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def found(self) -> list[Found]:
        """Those that are there now, by name."""
        now = time.monotonic()
        with self._lock:
            return sorted(found for found, until in self._found.values() if until > now)

    def close(self) -> None:
        """Stop listening."""
        self._malformed.close()
        self._browser.cancel()
        self._network.close()
        self._asking.shutdown(wait=False, cancel_futures=True)

    def _changed(self, zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self._asking.submit(self._look_up, zeroconf, service_type, name, state_change)

    def _look_up(self, network: Any, service_type: str, instance: str, change: Any) -> None:
        if change is self._library.ServiceStateChange.Removed:
            self._keep(instance, None, 0)
            return
        info = network.get_service_info(service_type, instance, _ASK_MILLISECONDS)
        if info is None or not info.port:
            _log.debug("%s does not tell its address", instance)
            return
        self._keep(instance, self._named(instance, info.server or "", info.parsed_addresses(), info.port), float("inf"))

    def _heard(self, instance: str, server: str, port: int, seconds: int, source: str) -> None:
        """A server on Linux, at `source`, for so many seconds."""
        if not seconds:
            self._keep(instance, None, 0)
            return

        def resolve() -> None:
            self._keep(instance, self._named(instance, server, [source], port), time.monotonic() + 1.5 * seconds)

        with contextlib.suppress(RuntimeError):
            self._asking.submit(resolve)

    def _named(self, instance: str, server: str, addresses: Sequence[str], port: int) -> Found:
        name, tls = _plain_name(instance)
        host = server.rstrip(".")
        if not (host and _leads_to(host, addresses)):
            host = addresses[0] if addresses else host
        return Found(name, host, port, tls)

    def _keep(self, instance: str, found: Found | None, until: float) -> None:
        with self._lock:
            if found is None:
                self._found.pop(instance, None)
            else:
                self._found[instance] = (found, until)


class _Malformed:
    """Hears what zeroconf cannot read. Where its port cannot be shared, nothing is heard."""

    def __init__(self, interfaces: Sequence[str] | None, heard: Any):
        self._heard = heard
        self._wake, self._woken = socket.socketpair()
        self._socket: socket.socket | None = None
        try:
            self._socket = _listening(interfaces)
        except OSError as error:
            _log.debug("Announcements of servers on Linux cannot be heard: %s", error)
            return
        self._thread = threading.Thread(target=self._run, args=(self._socket,), name="drawthings-discovery", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._wake.close()
        if self._socket is not None:
            self._thread.join(5)
            self._socket.close()
        self._woken.close()

    def _run(self, listening: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                if any(key.fileobj is self._woken for key, _ in selector.select()):
                    return
                with contextlib.suppress(OSError):
                    data, (source, _) = listening.recvfrom(_LARGEST)
                    for record in malformed(data):
                        self._heard(*record, source)


def malformed(data: bytes) -> Iterator[tuple[str, str, int, int]]:
    """(instance, server, port, seconds) of the services in a packet whose header promises records that are not there."""
    if _MARK not in data or len(data) < _HEADER.size:
        return
    from zeroconf import DNSIncoming, DNSService  # pyright: ignore[reportPrivateImportUsage]

    identifier, flags, questions, *_ = _HEADER.unpack_from(data)
    if not flags & _RESPONSE or questions or DNSIncoming(data).valid:
        return
    for count in (2, 1):  # PTR and SRV, or SRV alone
        repaired = DNSIncoming(_HEADER.pack(identifier, flags, 0, count, 0, 0) + data[_HEADER.size :])
        if repaired.valid:
            for record in repaired.answers():
                if isinstance(record, DNSService) and record.name.lower().endswith(SERVICE_TYPE) and record.port:
                    yield record.name, record.server, record.port, int(record.ttl)
            return


def _listening(interfaces: Sequence[str] | None) -> socket.socket:
    """A socket of the multicast group, beside others' on this machine."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("", PORT))
        for card in interfaces or ("0.0.0.0",):
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + socket.inet_aton(card))
    except OSError:
        made.close()
        raise
    return made


def _plain_name(instance: str) -> tuple[str, bool | None]:
    name = instance[: -len(SERVICE_TYPE) - 1] if instance.lower().endswith("." + SERVICE_TYPE) else instance
    for suffix, tls in _SUFFIXES.items():
        if name.endswith(suffix):
            return name[: -len(suffix)], tls
    return name, None


def _leads_to(host: str, addresses: Sequence[str]) -> bool:
    """Whether this system knows the name, and means the same machine by it: a name outlives an address."""
    try:
        known = {str(row[4][0]) for row in socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)}
    except OSError:
        return False
    return not addresses or bool(known & set(addresses))


_shared: Discovery | None = None
_shared_lock = threading.Lock()


def shared() -> Discovery:
    """The process's own, which listens from the first call on. Raises DiscoveryUnavailable, and tries again at the next call."""
    global _shared
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen.lower() == "off":
        raise DiscoveryUnavailable(f"{VARIABLE} says off")
    with _shared_lock:
        if _shared is None:
            _shared = Discovery([card.strip() for card in chosen.split(",") if card.strip()])
            atexit.register(_shared.close)
        return _shared
