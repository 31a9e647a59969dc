"""What can be known about a server, for people and as JSON: Server Info and `drawthings-servers check` say it in these words.

Nothing here holds a secret. Names and files are a server's: they are put on one line before they are shown.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple

from ..proto import messages
from . import rules, tls
from .catalog import SECTIONS, Catalog, Entry
from .client import Cancellation, Client
from .errors import (
    CertificateChanged,
    CertificateRejected,
    ConnectionLost,
    DrawThingsError,
    NotSupported,
    SecretRejected,
    ServerUnreachable,
    TLSMismatch,
)
from .families import family, name_of
from .servers import DEFAULT_PORT, Server
from .tls import TLSMode

_ROUND_TRIPS = 3


class Change(NamedTuple):
    """What to change at the server: in the settings of the app, and on the command line of gRPCServerCLI."""

    app: str
    command: str


BROWSING = Change("Switch Enable Model Browsing on, next to API Server.", "gRPCServerCLI MODELS_FOLDER --model-browser")


def what_to_change(error: DrawThingsError, port: int = DEFAULT_PORT) -> Change | None:
    """What at the server would cure this; None where nothing there does. port: where it is looked for."""
    if isinstance(error, TLSMismatch) and error.server_speaks_tls:
        return Change(
            "Nothing, if you choose the TLS mode auto; or switch Transport Layer Security off.", "gRPCServerCLI MODELS_FOLDER --no-tls"
        )
    if isinstance(error, SecretRejected) and not error.given:
        return Change(
            "Nothing, if you save the API server's shared secret where ComfyUI runs; or take it away there.",
            "gRPCServerCLI MODELS_FOLDER  (without --shared-secret)",
        )
    if isinstance(error, ServerUnreachable) and error.no_such_name:
        return _ADDRESS
    for kind, change in _CHANGES.items():
        if isinstance(error, kind):
            return Change(change.app.format(port=port), change.command.format(port=port))
    return None


_ADDRESS = Change(
    "Nothing, if you write the IP address, which System Settings shows under Network on the server's Mac.",
    "hostname -I  (on Linux; tells the IP address to write)",
)

_CHANGES: dict[type[DrawThingsError], Change] = {
    ServerUnreachable: Change(
        "Switch API Server on, with protocol gRPC and port {port}; the Mac must be awake, on the same network, and its firewall must let "
        "Draw Things take connections.",
        "gRPCServerCLI MODELS_FOLDER --port {port}",
    ),
    TLSMismatch: Change("Switch Transport Layer Security on.", "gRPCServerCLI MODELS_FOLDER  (without --no-tls)"),
    CertificateChanged: Change(
        "Nothing: accept the new certificate if you reinstalled or replaced the server.",
        "Nothing: gRPCServerCLI brings its certificate.",
    ),
    CertificateRejected: Change(
        "Update Draw Things, which brings its certificate, or choose the TLS mode auto.",
        "Update gRPCServerCLI, or renew the certificate of the proxy in front of it.",
    ),
    ConnectionLost: Change(
        "See whether Draw Things crashed or was closed, and switch API Server on again.", "gRPCServerCLI MODELS_FOLDER --port {port}"
    ),
    SecretRejected: Change(
        "Compare the API server's shared secret, letter by letter, with the one that was saved where ComfyUI runs, and save it again.",
        "gRPCServerCLI MODELS_FOLDER --shared-secret THE_SAME",
    ),
    NotSupported: Change("Update Draw Things; a proxy in front of it does not pass everything on.", "Update gRPCServerCLI."),
}


class Secret(Enum):
    """What the shared secret is good for."""

    not_asked = "not asked for"
    accepted = "accepted"
    ignored = "given, but the server asks for none"


@dataclass(frozen=True)
class ServerReport:
    """What one server told.

    certificate: PEM, None without TLS. seconds: the quickest round trip of a small call. thresholds: of the cloud, by where they came
    from; empty on a plain server. not_offered: calls that it does not have.
    """

    address: str
    mode: TLSMode
    certificate: str | None
    seconds: float
    secret: Secret
    catalog: Catalog
    thresholds: Mapping[str, messages.ComputeUnitThreshold]
    not_offered: tuple[str, ...]

    # -- for people

    def text(self) -> str:
        """A few lines about the server, then every file. What is indented is a server's own, which the page leaves as it is."""
        return "\n".join((*self.summary(), *self._sections(), *self._rest()))

    def summary(self) -> Iterator[str]:
        """The lines about the server itself."""
        yield f"Draw Things server at {self.address}"
        yield f"It answers in {self.seconds * 1000:.1f} ms."
        if self.certificate is None:
            yield f"TLS: off (mode {self.mode.value})."
        else:
            own = ", Draw Things' built-in certificate" if self._official() else ""
            yield f"TLS: on (mode {self.mode.value}{own}), SHA-256 {tls.fingerprint(self.certificate)}."
        yield f"Shared secret: {self.secret.value}."
        yield self._browsing()
        yield f"Version: a server does not tell it; this run of the server has the number {self.catalog.server_identifier}."
        if self.not_offered:
            yield f"It is older than these calls, or another program: {', '.join(self.not_offered)}."
        unknown = sorted({entry.version for entry in self._entries() if entry.version and family(entry.version) is None})
        if unknown:
            yield f"Families that are new to this package: {', '.join(map(one_line, unknown))}."
        for source, threshold in self.thresholds.items():
            yield f"Cloud thresholds ({source}): {_threshold_words(threshold)}."

    def _browsing(self) -> str:
        if not self.catalog.browsing:
            return "Model browser: off, so nothing is listed. Type file names by hand, or switch it on in Draw Things (gRPCServerCLI: --model-browser)."
        if not self.catalog.describes:
            named = _count(len(self.catalog.files), "file")
            return f"Model browser: {named} by name only: it is a proxy, or has no complete model: import or download one in Draw Things."
        return f"Model browser: on, {', '.join(_count(len(self.catalog.entries[kind]), kind) for kind in SECTIONS)}."

    def _sections(self) -> Iterator[str]:
        for kind in SECTIONS:
            entries = self.catalog.entries[kind]
            if entries:
                yield f"\n{kind[:1].upper()}{kind[1:]}s ({len(entries)}):"
                yield from (f"  {one_line(entry.name)}: {one_line(entry.file)}{_extra(entry)}" for entry in _by_name(entries))

    def _rest(self) -> Iterator[str]:
        parts, unknown = self._other_files()
        for title, files in (
            ("Parts of these:", parts),
            ("Files that no entry is about (helpers, or models that were never imported):", unknown),
        ):
            if files and self.catalog.describes:
                yield f"\n{title}"
                yield from (f"  {one_line(file)}" for file in files)
        if self.catalog.files and not self.catalog.describes:
            yield "\nFiles:"
            yield from (f"  {one_line(file)}" for file in sorted(self.catalog.files, key=str.casefold))
        if self.catalog.skipped:
            yield "\nLeft out here:"
            yield from map(one_line, self.catalog.skipped)

    # -- for programs

    def json(self) -> str:
        """The same as an object."""
        return _json(self.data())

    def data(self) -> dict[str, Any]:
        """What `json` writes. The number of the server's run is text: it has 64 bits."""
        parts, unknown = self._other_files()
        return {
            **self.facts(),
            **{_key(kind): [_entry_data(entry) for entry in _by_name(self.catalog.entries[kind])] for kind in SECTIONS},
            "parts": parts,
            "other_files": unknown,
            "left_out": list(self.catalog.skipped),
        }

    def facts(self) -> dict[str, Any]:
        """The lines about the server itself."""
        return {
            "address": self.address,
            "latency_ms": round(self.seconds * 1000, 2),
            "tls": {
                "mode": self.mode.value,
                "encrypted": self.certificate is not None,
                "fingerprint": tls.fingerprint(self.certificate) if self.certificate else None,
                "built_in_certificate": self._official(),
            },
            "secret": self.secret.name,
            "model_browser": self.catalog.browsing,
            "describes_files": self.catalog.describes,
            "server_identifier": str(self.catalog.server_identifier),
            "not_offered": list(self.not_offered),
            "thresholds": {source: _threshold_data(threshold) for source, threshold in self.thresholds.items()},
        }

    def counts(self) -> dict[str, int]:
        """How many files of each kind can be chosen: as many as the nodes' lists have."""
        return {_key(kind): sum(map(rules.chosen, self.catalog.entries[kind].values())) for kind in SECTIONS}

    def _official(self) -> bool:
        return self.certificate is not None and tls.fingerprint(self.certificate) == tls.OFFICIAL_FINGERPRINT

    def _entries(self) -> Iterator[Entry]:
        for section in self.catalog.entries.values():
            yield from section.values()

    def _other_files(self) -> tuple[list[str], list[str]]:
        """Listed files that no entry is about: those that entries are made of, and those that nothing names."""
        named = set(_strings([entry.specification for entry in self._entries()]))
        own = {entry.file for entry in self._entries()}
        others = sorted((file for file in self.catalog.files if file not in own), key=str.casefold)
        return [file for file in others if file in named], [file for file in others if file not in named]


def text_of_several(told: Mapping[Server, ServerReport | DrawThingsError]) -> str:
    """What servers told, one after the other, or why they did not."""
    return "\n\n".join(
        one.text() if isinstance(one, ServerReport) else f"Draw Things server at {server.address}\n{one}" for server, one in told.items()
    )


def json_of_several(told: Mapping[Server, ServerReport | DrawThingsError]) -> str:
    """The same as an object: that of a single server, or {servers: [...]} in which one that failed has its address and an error."""
    rows = [one.data() if isinstance(one, ServerReport) else {"address": server.address, "error": str(one)} for server, one in told.items()]
    return _json(rows[0] if len(rows) == 1 else {"servers": rows})


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()


def ask(client: Client, cancellation: Cancellation | None = None) -> ServerReport:
    """Ask a server everything that it tells. Raises ConnectionFailed, SecretRejected, GenerationCancelled."""
    cancellation = cancellation or Cancellation()
    greeting, catalog = client.greeting(cancellation)
    thresholds = {"now": greeting.thresholds} if greeting.HasField("thresholds") else {}
    secret = Secret.not_asked
    if client.server.secret:
        secret = Secret.accepted if client.asks_for_secret(cancellation) else Secret.ignored
    not_offered: list[str] = []
    times: list[float] = []
    for _ in range(_ROUND_TRIPS):
        started = time.perf_counter()
        try:
            raised = client.hours(cancellation)
        except NotSupported:
            raised, not_offered = None, ["Hours"]
        times.append(time.perf_counter() - started)
        if raised is not None:
            thresholds["raised at these hours"] = raised
    try:
        client.pubkey(cancellation)
    except NotSupported:
        not_offered.append("Pubkey")
    server = client.server
    return ServerReport(server.address, server.tls, client.certificate, min(times), secret, catalog, thresholds, tuple(not_offered))


def _key(kind: str) -> str:
    return f"{kind}s".lower().replace(" ", "_")


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _by_name(entries: Mapping[str, Entry]) -> list[Entry]:
    return sorted(entries.values(), key=lambda entry: (entry.name.casefold(), entry.file))


_SHOWN: dict[str, tuple[str, ...]] = {
    "model": ("modifier", "prefix"),
    "LoRA": ("modifier", "prefix"),
    "control": ("type", "modifier"),
    "textual inversion": ("keyword",),
    "upscaler": ("scale_factor",),
}
"""Keys of a specification that tell how an entry is used."""


def _facts(entry: Entry) -> dict[str, Any]:
    found = {key: entry.specification.get(key) for key in _SHOWN[entry.kind]}
    return {key: value for key, value in found.items() if isinstance(value, (str, int)) and value not in ("", "none")}


def _extra(entry: Entry) -> str:
    """What stands behind a file name: the family, and how the entry is used."""
    words = [name_of(entry.version)] if entry.version else []
    for key, value in _facts(entry).items():
        words.append({"prefix": "prompt begins {!r}", "keyword": "<{}>", "scale_factor": "{} times"}.get(key, "{}").format(value))
    return f" ({one_line(', '.join(words))})" if words else ""


def _entry_data(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {"name": entry.name, "file": entry.file}
    if entry.version:
        data |= {"version": entry.version, "family": name_of(entry.version)}
    return {**data, **_facts(entry)}


def _threshold_data(threshold: messages.ComputeUnitThreshold) -> dict[str, Any]:
    units = {name: value if math.isfinite(value := getattr(threshold, name)) else None for name in ("community", "plus")}
    return {**units, "expires": _time(threshold.expireAt)}


def _threshold_words(threshold: messages.ComputeUnitThreshold) -> str:
    until = f", until {_time(threshold.expireAt)}" if threshold.expireAt else ""
    return f"community {threshold.community:,.0f}, plus {threshold.plus:,.0f} compute units{until}"


def _time(seconds: int) -> str | None:
    """Unix time as ISO 8601 in UTC; None for 0, which is not set, and for what is no date."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z") if seconds else None
    except (OverflowError, ValueError, OSError):
        return None


def _strings(value: Any) -> Iterator[str]:
    """Every text in nested lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def one_line(text: str, limit: int = 300) -> str:
    """On one line, without control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
