"""Saved servers, secrets and certificates for the page: list, save, forget, test, accept.

A secret comes in with `save` and never goes out: answers hold its name. What a graph names is checked as when it runs
(`server_from`), so a test does not send a secret where a run would not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ...drawthings_core import discovery, report, tls
from ...drawthings_core.client import Cancellation, Client
from ...drawthings_core.errors import (
    CertificateChanged,
    DiscoveryUnavailable,
    DrawThingsError,
    GenerationCancelled,
    InvalidInput,
    SecretNotAllowed,
)
from ...drawthings_core.servers import DEFAULT_PORT, Profiles, Server, parse_address
from ...drawthings_core.tls import TLSMode
from .. import known_files, widgets
from . import body as fields
from .body import Body
from .errors import as_json
from .newcomers import newcomers

_MOST_FORGOTTEN = 200
_REMEMBERING = (TLSMode.auto, TLSMode.pinned)


def servers(_body: Body, _cancellation: Cancellation) -> dict[str, Any]:
    """Everything that is saved, without secrets, and what announces itself on the network.

    discovered: servers that were heard since this was first asked; None where nobody can listen, and discovery_problem says why.
    """
    profiles = Profiles()
    found, problem = _discovered()
    return {
        "servers": [
            {"name": name, "address": tls.join_address(row["host"], row["port"]), **row} for name, row in profiles.server_rows().items()
        ],
        "secrets": [{"name": name, "allowed": profiles.allowed(name)} for name in profiles.secret_names()],
        "certificates": [
            {"address": address, "fingerprint": tls.fingerprint(certificate), "built_in": _built_in(certificate)}
            for address, certificate in profiles.certificates().items()
        ],
        "tls_modes": [mode.value for mode in TLSMode],
        "default_port": DEFAULT_PORT,
        "discovered": found,
        "discovery_problem": problem,
    }


def _discovered() -> tuple[list[dict[str, Any]] | None, str]:
    try:
        found = discovery.shared().found()
    except DiscoveryUnavailable as error:
        return None, str(error)
    rows = [{"name": one.name, "host": one.host, "port": one.port, "tls": one.mode.value, "address": one.address} for one in found]
    return rows, ""


def save(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """Save a server: {name, host, port, tls, ca_file, secret: a saved one's name, new_secret: a secret, instead_of: a saved server's name}.

    Answers as `servers`. Raises InvalidInput, ProfileError.
    """
    name = fields.text(body, "name").strip()
    host, port = parse_address(fields.text(body, "host"), fields.whole(body, "port", DEFAULT_PORT))
    mode = widgets.member(TLSMode, "tls", fields.text(body, "tls", TLSMode.auto.value))
    secret = fields.text(body, "secret", "").strip()
    new_secret = fields.secret(body)
    instead_of = fields.text(body, "instead_of", "")
    profiles = Profiles()
    if secret and not new_secret:
        profiles.secret(secret)
    ca_file = fields.text(body, "ca_file", "").strip() if mode is TLSMode.ca_file else ""
    profiles.save_server(name, host, port, mode, ca_file, secret, new_secret=new_secret, instead_of=instead_of)
    return servers(body, cancellation)


def forget(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """Remove what {servers: [name], secrets: [name], certificates: [address]} name. Answers as `servers`."""
    profiles = Profiles()
    for kind in ("servers", "secrets", "certificates"):
        for name in fields.items(body, kind, _MOST_FORGOTTEN):
            if not isinstance(name, str):
                raise InvalidInput(f"The field {kind!r} of the page's request holds something that is no name: reload the page.")
            profiles.forget(name, (kind,))
    return servers(body, cancellation)


def allow(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """Let graphs send a saved secret to an address: {secret, host, port}. Answers as `servers`."""
    host, port = parse_address(fields.text(body, "host"), fields.whole(body, "port", DEFAULT_PORT))
    Profiles().allow(fields.text(body, "secret"), host, port)
    return servers(body, cancellation)


def check(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """Connect to {server: Load Server's values} and tell what answers; see `_outcome`. A certificate that was not seen before is shown
    before it is trusted, and before a secret is sent.
    """
    given = fields.part(body, "server")
    seen = _Seen()
    server: Server | None = None
    try:
        server = fields.server(given)
        newcomers.admit(server)
        seen = _look(server, cancellation)
        if seen.question:
            return _outcome(server, seen)
        client = Client(server)
        try:
            told = report.ask(client, cancellation)
        finally:
            client.close()
    except GenerationCancelled:
        raise
    except DrawThingsError as error:
        return _outcome(server, seen, error=error)
    known_files.remember(server.address, told.catalog)
    return _outcome(server, seen, told)


def accept(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """Trust the certificate of {server} from now on when it is still the one with {fingerprint}. Answers as `servers`.

    Raises ConnectionFailed; CertificateChanged when another one is shown now.
    """
    server = fields.server(fields.part(body, "server"))
    wanted = fields.text(body, "fingerprint")
    newcomers.admit(server)
    probe = tls.probe(server.host, server.port, check=cancellation.check)
    if not probe.speaks_tls:
        raise InvalidInput(f"The server at {server.address} does not speak TLS now: there is no certificate to accept.")
    if probe.fingerprint != wanted:
        raise CertificateChanged(server.address, wanted, probe.fingerprint)
    Profiles().pin(server.address, probe.certificate)
    return servers(body, cancellation)


class _Seen(NamedTuple):
    """The certificate that a server shows. pinned: fingerprint of the one that is remembered. question: whether to ask for trust."""

    certificate: str = ""
    problem: str = ""
    pinned: str = ""
    question: bool = False


def _look(server: Server, cancellation: Cancellation) -> _Seen:
    """Raises ServerUnreachable, and CertificateChanged only through the client later: here it is a question."""
    if server.tls is TLSMode.plain:
        return _Seen()
    probe = tls.probe(server.host, server.port, check=cancellation.check)
    if not probe.speaks_tls:
        return _Seen()
    remembered = Profiles().certificate(server.address) if server.tls in _REMEMBERING else None
    pinned = tls.fingerprint(remembered) if remembered else ""
    question = server.tls in _REMEMBERING and not probe.problem and pinned != probe.fingerprint
    return _Seen(probe.certificate, probe.problem, pinned, question)


def _outcome(
    server: Server | None, seen: _Seen, told: report.ServerReport | None = None, error: DrawThingsError | None = None
) -> dict[str, Any]:
    """What a test gave.

    report, counts: of report.ServerReport, None where the server does not work. problem: of the error, as page/errors.py has it.
    change: {app, command}, what to change at the server. certificate: {fingerprint, built_in, problem, pinned}. ask: "certificate" or "secret" where the user has to decide before
    it goes on; `question` then names what.
    """
    ask, question, change = None, {}, None
    if seen.question and server is not None:
        ask = "certificate"
        question = {"fingerprint": tls.fingerprint(seen.certificate)}
        if seen.pinned:
            error = CertificateChanged(server.address, seen.pinned, tls.fingerprint(seen.certificate))
    if isinstance(error, SecretNotAllowed):
        ask, question = "secret", {"secret": error.name, "host": error.address}
    if error is not None:
        change = report.what_to_change(error, server.port if server is not None else DEFAULT_PORT)
    elif told is not None and not told.catalog.browsing:
        change = report.BROWSING
    return {
        "address": server.address if server is not None else None,
        "report": told.facts() if told is not None else None,
        "counts": told.counts() if told is not None else None,
        "files": len(told.catalog.files) if told is not None else None,
        "problem": as_json(error) if error is not None else None,
        "change": change._asdict() if change is not None else None,
        "certificate": {
            "fingerprint": tls.fingerprint(seen.certificate),
            "built_in": _built_in(seen.certificate),
            "problem": seen.problem,
            "pinned": seen.pinned,
        }
        if seen.certificate
        else None,
        "ask": ask,
        "question": question,
    }


def _built_in(certificate: str) -> bool:
    return tls.fingerprint(certificate) == tls.OFFICIAL_FINGERPRINT
