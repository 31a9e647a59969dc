"""The connection to one server: how it is opened, what it trusts, and why it was lost.

What a TLS mode means is decided here and nowhere else (protocol.md section 3).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from ..proto import messages
from ..proto.service import SERVICE_NAME, Stub
from . import tls
from .errors import (
    CertificateChanged,
    CertificateRejected,
    ConnectionFailed,
    ConnectionLost,
    InvalidInput,
    ServerUnreachable,
    TLSMismatch,
)
from .request import MESSAGE_LIMIT
from .servers import Profiles, Server
from .tls import TLSMode

REPEATED = ("Echo", "FilesExist", "GenerateImage")
"""Calls that gRPC repeats when they end as UNAVAILABLE before anything came back. A server accepts a generation with headers at once
(protocol.md section 6.2), so one that it has begun, or queued, is never repeated.
"""

_RETRIED = {
    "maxAttempts": 3,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.enable_http_proxy", 0),  # servers are on the local network
    ("grpc.use_local_subchannel_pool", 1),  # a closed channel takes its connection with it
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Servers close the connection of a client that pings more often than every 5 minutes (protocol.md section 3).
    ("grpc.keepalive_time_ms", 400_000),  # later than a sign of life is waited for (see watch), whose error says more
    # Longer than a sign of life is waited for, too: by it gRPC also sets TCP_USER_TIMEOUT, after which lost packets end a connection.
    ("grpc.keepalive_timeout_ms", 360_000),
    # gRPC's own estimate lets a fast server run up to 40 MB ahead of the decoders. A window of 1 MiB holds nobody up below 10 ms and 100 MB/s.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.per_rpc_retry_buffer_size", MESSAGE_LIMIT),  # of 256 KiB otherwise: a request with a picture would never be repeated
    (
        "grpc.service_config",
        json.dumps({"methodConfig": [{"name": [{"service": SERVICE_NAME, "method": name} for name in REPEATED], "retryPolicy": _RETRIED}]}),
    ),
)


@dataclass
class Connection:
    """One channel. Once given up it is closed when the last call on it has ended, since other nodes may share it.

    certificate: PEM of the server's, None without TLS. proven: a call on it has succeeded.
    """

    channel: grpc.Channel
    certificate: str | None
    users: int = 0
    given_up: bool = False
    proven: bool = False

    def __post_init__(self) -> None:
        self.stub = Stub(self.channel)

    def sign_of_life(self, seconds: float) -> Any:
        """The future of a call that is answered at once even while a server generates."""
        return self.stub.Hours.future(messages.HoursRequest(), timeout=seconds)


def open_connection(server: Server, profiles: Profiles, check: tls.Check) -> Connection:
    """A new connection as the server's TLS mode wants it. In the mode auto, the first certificate that is seen is remembered.

    check: see tls.Check. Raises ServerUnreachable, TLSMismatch, CertificateRejected, CertificateChanged, and InvalidInput for a CA
    file that is none.
    """
    target = tls.target(server.host, server.port, check=check)
    if server.tls == TLSMode.plain:
        return _plain(server, target)
    seen = tls.probe(server.host, server.port, check=check)
    pinned = _pinned(server, profiles)
    if not seen.speaks_tls:
        if server.tls == TLSMode.auto and pinned is None:
            return _plain(server, target)
        raise _no_tls_there(server, bool(pinned))
    if server.tls == TLSMode.system:
        roots, name = tls.system_roots(), server.host
    elif server.tls == TLSMode.ca_file:
        roots, name = _read_ca_file(server), seen.name_for(server.host)
    else:
        roots, name = _trusted(server, profiles, seen, pinned).encode("ascii"), seen.name_for(server.host)
    # The target is a bare IP address, so the name it stands for is given apart; gRPC compares the authority with the certificate too
    named = (("grpc.ssl_target_name_override", name), ("grpc.default_authority", name))
    return Connection(grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), (*OPTIONS, *named)), seen.certificate)


def _plain(server: Server, target: str) -> Connection:
    return Connection(grpc.insecure_channel(target, (*OPTIONS, ("grpc.default_authority", server.address))), None)


def _pinned(server: Server, profiles: Profiles) -> str | None:
    """The remembered certificate, where the mode goes by it."""
    return profiles.certificate(server.address) if server.tls in (TLSMode.auto, TLSMode.pinned) else None


def _trusted(server: Server, profiles: Profiles, seen: tls.Probe, pinned: str | None) -> str:
    """The certificate to accept: the pinned one, or on first use the one that is there."""
    if seen.problem:
        raise _rejected(server, seen.problem)
    if pinned is None:
        profiles.pin(server.address, seen.certificate)
        return seen.certificate
    if tls.fingerprint(pinned) != seen.fingerprint:
        raise CertificateChanged(server.address, tls.fingerprint(pinned), seen.fingerprint)
    return pinned


def why_lost(server: Server, profiles: Profiles, answered: bool, check: tls.Check) -> ConnectionFailed:
    """Why a connection is UNAVAILABLE, by looking at the address once more rather than by parsing gRPC's words.

    answered: whether the server had answered on it, this call or an earlier one.
    """
    try:
        seen = tls.probe(server.host, server.port, check=check)
    except ServerUnreachable as error:
        if not answered:
            return error
        return ConnectionLost(
            server.address, f"The server at {server.address} went away during the call: see whether it crashed, then try again."
        )
    if server.tls == TLSMode.plain and seen.speaks_tls:
        return TLSMismatch(server.address, f"The server at {server.address} speaks TLS, but Load Server says plain: choose auto.", True)
    if server.tls in (TLSMode.system, TLSMode.ca_file, TLSMode.pinned) and not seen.speaks_tls:
        return _no_tls_there(server, False)
    pinned = _pinned(server, profiles)
    if seen.speaks_tls and pinned and tls.fingerprint(pinned) != seen.fingerprint:
        return CertificateChanged(server.address, tls.fingerprint(pinned), seen.fingerprint)
    if seen.problem:
        return _rejected(server, seen.problem)
    if seen.speaks_tls and server.tls in (TLSMode.system, TLSMode.ca_file) and not answered:
        return _rejected(server, "it is not signed by what you trust")
    return ConnectionLost(server.address, f"The server at {server.address} closed the connection: see whether it crashed, then try again.")


def _read_ca_file(server: Server) -> bytes:
    if not server.ca_file:
        raise InvalidInput("The TLS mode 'CA file' needs the path of a PEM file: write it into ca_file, or choose auto.")
    try:
        pem = tls.read_certificates(Path(server.ca_file).expanduser())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"The CA file {server.ca_file!r} cannot be read ({reason}): give the path of a PEM file.") from error
    try:
        tls.check_certificates(pem)
    except ValueError as error:
        raise InvalidInput(f"The CA file {server.ca_file!r} holds no certificate: give the path of a PEM file.") from error
    return pem


def _no_tls_there(server: Server, was_pinned: bool) -> TLSMismatch:
    if was_pinned:
        return TLSMismatch(
            server.address,
            f"The server at {server.address} used TLS before and does not now: if you switched it off, choose plain in Load Server or "
            f"forget its certificate in the sidebar's Draw Things tab or with 'drawthings-servers forget {server.address}'.",
            False,
        )
    return TLSMismatch(
        server.address,
        f"The server at {server.address} does not speak TLS, but Load Server says {server.tls.value}: choose auto or plain, or switch TLS on in "
        f"Draw Things.",
        False,
    )


def _rejected(server: Server, problem: str) -> CertificateRejected:
    return CertificateRejected(
        server.address,
        f"The certificate of {server.address} cannot be trusted ({problem}): renew it on the server, or choose the TLS mode that fits it.",
    )
