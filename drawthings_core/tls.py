"""TLS towards a server: plain, the system's trust, an own CA file, or the server's own certificate pinned on first use.

Draw Things' own certificate is for "localhost" and signed by a private root, and its private key is published, so a pin says
"the same server as last time" and no more. gRPC cannot switch off the host name check alone; the name is overridden instead.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import selectors
import socket
import ssl
import stat
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .errors import ServerUnreachable

_NAP_SECONDS = 0.1
"""How often a wait looks whether it shall end."""

OVERRIDE_NAME = "localhost"
"""The name in Draw Things' certificate."""

OFFICIAL_FINGERPRINT = "05:60:47:12:AF:A5:0D:D8:12:3C:86:92:59:1F:01:B1:38:B1:59:E3:95:08:FE:0A:29:38:10:4A:BE:76:03:38"
"""The certificate built into the app and gRPCServerCLI (valid until 2034)."""


class TLSMode(str, Enum):
    """How to reach a server. auto finds out whether it speaks TLS, and pins its certificate when it does."""

    auto = "auto"
    plain = "plain"
    system = "system"
    ca_file = "CA file"
    pinned = "pinned"


class Probe(NamedTuple):
    """What answers at an address.

    speaks_tls: False for a plain server. certificate: PEM of the leaf. names: DNS names it is for, or its common name.
    problem: why it does not even verify against itself ("certificate has expired"), "" when it does.
    """

    speaks_tls: bool
    certificate: str = ""
    names: tuple[str, ...] = ()
    problem: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, upper-case hex with colons; "" when there is none."""
        return fingerprint(self.certificate) if self.certificate else ""

    def name_for(self, host: str) -> str:
        """The name to expect in the certificate of `host`: its own where it is named there, else one that is."""
        if host in self.names:
            return host
        if OVERRIDE_NAME in self.names or "*" in self.names or not self.names:
            return OVERRIDE_NAME
        return self.names[0]


def fingerprint(certificate: str) -> str:
    """SHA-256 over the DER form of a PEM certificate, as openssl prints it."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


Check = Callable[[], object]
"""Called every tenth of a second of a wait; what it raises ends the wait."""


def _go_on() -> None:
    pass


def probe(host: str, port: int, timeout: float = 5.0, check: Check = _go_on) -> Probe:
    """Look at what answers: TCP connections, up to two TLS handshakes, an HTTP/2 greeting. `timeout` in seconds for each.

    Raises ServerUnreachable when nothing accepts the connection, nothing answers, or something else answers; and what `check` raises.
    """
    looking = _context()
    looking.verify_mode = ssl.CERT_NONE  # trust is decided afterwards
    try:
        certificate = _handshake(host, port, looking, timeout, check, lambda peer: peer.getpeercert(binary_form=True))
    except (ssl.SSLError, ConnectionError, TimeoutError):
        # Not TLS, or too busy for it. Only an HTTP/2 answer makes it a plain server: a secret must not go out on a guess.
        _greet_plain(host, port, timeout, check)
        return Probe(False)
    pem = ssl.DER_cert_to_PEM_cert(certificate or b"")

    # The standard library reads only certificates that it has verified: verify it against itself.
    reading = _context()
    reading.load_verify_locations(cadata=pem)
    reading.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        details = _handshake(host, port, reading, timeout, check, lambda peer: peer.getpeercert()) or {}
    except ssl.SSLCertVerificationError as error:
        return Probe(True, pem, (), error.verify_message)
    except (ssl.SSLError, ConnectionError, TimeoutError) as error:
        return Probe(True, pem, (), str(error))
    names = [str(value) for kind, value in details.get("subjectAltName", ()) if kind == "DNS"]
    common = [str(value) for part in details.get("subject", ()) for key, value in part if key == "commonName"]
    return Probe(True, pem, tuple(names or common))


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How an HTTP/2 client begins: the preface and an empty SETTINGS frame. A server answers with a SETTINGS frame."""


def _greet_plain(host: str, port: int, timeout: float, check: Check) -> None:
    """Return when a plain HTTP/2 server answers. Raises ServerUnreachable."""
    address = join_address(host, port)
    head = b""
    try:
        with _connection(host, port, timeout, check) as raw:
            raw.sendall(_PREFACE)
            end = time.monotonic() + timeout
            while len(head) < 9 and (piece := _patiently(raw, functools.partial(raw.recv, 9 - len(head)), end, check)):
                head += piece
    except TimeoutError as error:
        raise ServerUnreachable(address, "it accepts connections but does not answer", "it may be busy; try again in a while") from error
    except ConnectionError:
        pass
    if len(head) < 9 or head[3] != 4:
        raise ServerUnreachable(
            address,
            "something that is not Draw Things' gRPC answers there",
            "choose protocol gRPC in Draw Things, and its port, usually 7859",
        )


def system_roots() -> bytes | None:
    """PEM of the certificates that this machine trusts, or None where Python cannot list them: gRPC then uses its own."""
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates)).encode("ascii") or None


_LARGEST_PEM = 4 << 20


def read_certificates(path: Path) -> bytes:
    """The PEM file at `path`, which a workflow names: no pipe is waited for, and no device read without end. Raises OSError, ValueError."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no file")
        pem = file.read(_LARGEST_PEM + 1)
    if len(pem) > _LARGEST_PEM:
        raise ValueError(f"it is larger than {_LARGEST_PEM >> 20} MB")
    return pem


def check_certificates(pem: bytes) -> None:
    """Raise ValueError when `pem` holds no certificate that can be trusted."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ValueError(str(error)) from error


def join_address(host: str, port: int) -> str:
    """host:port, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])  # a Draw Things server hangs up on a client that negotiates nothing
    return context


Read = TypeVar("Read")


def _handshake(host: str, port: int, context: ssl.SSLContext, timeout: float, check: Check, read: Callable[[ssl.SSLSocket], Read]) -> Read:
    with (
        _connection(host, port, timeout, check) as raw,
        context.wrap_socket(raw, server_hostname=OVERRIDE_NAME, do_handshake_on_connect=False) as peer,
    ):
        _patiently(peer, peer.do_handshake, time.monotonic() + timeout, check)
        return read(peer)


def target(host: str, port: int, timeout: float = 5.0, check: Check = _go_on) -> str:
    """The address that accepts connections, as a gRPC target ("ipv4:192.168.1.20:7859").

    The system resolves the name, since gRPC's own resolver does not know the local network's .local names. Raises
    ServerUnreachable, and what `check` raises.
    """
    with _connection(host, port, timeout, check) as raw:
        peer = raw.getpeername()
        if raw.family == socket.AF_INET6:
            zone = f"%25{peer[3]}" if peer[3] and "%" not in peer[0] else ""
            return f"ipv6:[{peer[0].replace('%', '%25')}{zone}]:{peer[1]}"
        return f"ipv4:{peer[0]}:{peer[1]}"


def _connection(host: str, port: int, timeout: float, check: Check) -> socket.socket:
    """A connected socket that does not block. Only the look-up of the name, which the system does, cannot be cut short."""
    address = join_address(host, port)
    try:
        return _connected(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), timeout, check)
    except socket.gaierror as error:
        raise ServerUnreachable(address, f"the name {host} is not known", no_such_name=True) from error
    except TimeoutError as error:
        raise ServerUnreachable(address, f"no answer within {timeout:g} s") from error
    except (UnicodeError, ValueError) as error:
        raise ServerUnreachable(address, "that is not a host name", no_such_name=True) from error
    except (OSError, OverflowError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise ServerUnreachable(address, detail[:1].lower() + detail[1:]) from error


def _connected(rows: Sequence[Any], timeout: float, check: Check) -> socket.socket:
    """A connection to the first address that takes one. rows: of getaddrinfo; timeout: seconds for each. Raises OSError."""
    problem: OSError = OSError("the name has no address")
    for family, kind, protocol, _, place in rows:
        try:
            raw = socket.socket(family, kind, protocol)
            try:
                _connect(raw, place, time.monotonic() + timeout, check)
                return raw
            except BaseException:
                raw.close()
                raise
        except OSError as error:
            problem = error
    raise problem


_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY)


def _connect(raw: socket.socket, place: Any, end: float, check: Check) -> None:
    raw.setblocking(False)
    code = raw.connect_ex(place)
    if code in _UNDER_WAY:
        _wait(raw, selectors.EVENT_WRITE, end, check)
        code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _patiently(raw: socket.socket, work: Callable[[], Read], end: float, check: Check) -> Read:
    """What `work` gives, once the socket lets it. Raises TimeoutError after `end`, and what `work` and `check` raise."""
    while True:
        try:
            return work()
        except (ssl.SSLWantReadError, BlockingIOError):
            wanted = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            wanted = selectors.EVENT_WRITE
        _wait(raw, wanted, end, check)


def _wait(raw: socket.socket, wanted: int, end: float, check: Check) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(raw, wanted)
        while not selector.select(min(_NAP_SECONDS, max(end - time.monotonic(), 0))):
            check()
            if time.monotonic() >= end:
                raise TimeoutError("no answer in time")
