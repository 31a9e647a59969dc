"""Which files are on a server, with their hashes where they are asked for: Files Exist and `drawthings-servers files`.

A server reads a whole file to hash it, on the thread that answers everyone (protocol.md section 3), so files are hashed one call each.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .client import Cancellation, Client
from .errors import InvalidInput, ServerUnreachable
from .model_files import plain_name

DEFAULT_MINUTES = 60
_SHORT_HASH = 12
_WITH_HASH = re.compile(r"(?:(?P<before>[0-9A-Fa-f]{64})\s+\*?(?P<file>.+))|(?:(?P<name>.+?)\s+(?P<after>[0-9A-Fa-f]{64}))")
"""As sha256sum writes it, or the other way round."""


class Wanted(NamedTuple):
    """A file that should be there. sha256: lower-case hex that it should have, "" for any."""

    file: str
    sha256: str = ""


def wanted(text: str) -> list[Wanted]:
    """One file a line, with its SHA-256 before or behind it where that matters. Raises InvalidInput."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _WITH_HASH.fullmatch(line)
        file = plain_name((match["file"] or match["name"]) if match else line)
        sha256 = (match["before"] or match["after"]).lower() if match else ""
        if sha256 and found.get(file) not in (None, "", sha256):
            raise InvalidInput(f"{file!r} is named with two different hashes: write the one that it should have.")
        found[file] = sha256 or found.get(file, "")
    if not found:
        raise InvalidInput("No file is named: write file names, one a line.")
    return [Wanted(file, sha256) for file, sha256 in found.items()]


class Finding(NamedTuple):
    """What a server says of one file. sha256: hex; "" when it was not asked for, or not told."""

    file: str
    exists: bool
    asked: bool
    sha256: str
    expected: str

    @property
    def right(self) -> bool:
        """There, and with the hash that it should have."""
        return self.exists and (not self.expected or self.sha256 == self.expected)

    def __str__(self) -> str:
        if not self.exists:
            return f"missing  {self.file}"
        if not self.asked:
            return f"there    {self.file}"
        if not self.sha256:
            return f"{'unknown' if self.expected else 'there  '}  {self.file}  (the server tells no hash)"
        if self.right:
            return f"there    {self.file}  SHA-256 {self.sha256}"
        return f"differs  {self.file}  SHA-256 {self.sha256}, expected {self.expected[:_SHORT_HASH]}…"


@dataclass(frozen=True)
class FileReport:
    """What a server says of all of them, in the order they were named."""

    address: str
    findings: tuple[Finding, ...]

    @property
    def all_right(self) -> bool:
        return all(finding.right for finding in self.findings)

    def text(self) -> str:
        """A sentence, then a line a file."""
        right, total = sum(finding.right for finding in self.findings), len(self.findings)
        contents = ", with the right contents" if any(finding.expected for finding in self.findings) else ""
        return "\n".join((f"On the server at {self.address}: {right} of {total}{contents}.", *map(str, self.findings)))

    def json(self) -> str:
        """The same as an object."""
        return json_of((self,))

    def data(self) -> dict[str, Any]:
        """What `json` writes: all_there, and a row a file; sha256 is null where it is not known."""
        rows = [
            {"file": one.file, "exists": one.exists, "sha256": one.sha256 or None, "expected": one.expected or None, "right": one.right}
            for one in self.findings
        ]
        return {"address": self.address, "all_there": self.all_right, "files": rows}


def json_of(reports: Sequence[FileReport]) -> str:
    """What one server said, or {all_there, servers: [...]}."""
    rows = [report.data() for report in reports]
    data = rows[0] if len(rows) == 1 else {"all_there": all(report.all_right for report in reports), "servers": rows}
    return json.dumps(data, indent=2, ensure_ascii=False)


HASHING = "The server reads {file} ({number} of {total})"
"""What is said while a file is hashed; number counts from 1."""


def check(
    client: Client,
    files: Sequence[Wanted],
    *,
    hashes: bool = False,
    minutes: float = DEFAULT_MINUTES,
    tell: Callable[[str, int, int], Any] | None = None,
    cancellation: Cancellation | None = None,
) -> FileReport:
    """Ask for all files at once, then for the hashes of those that are there: all with `hashes`, else those that should have one.

    minutes: for all hashes together. tell(file, number, of how many) before each is hashed. Raises ServerUnreachable when the time is over.
    """
    cancellation = cancellation or Cancellation()
    there = {state.file: state.exists for state in client.files_exist([one.file for one in files], cancellation=cancellation)}
    asked = [one.file for one in files if there.get(one.file) and (hashes or one.sha256)]
    digests: dict[str, str] = {}
    end = time.monotonic() + minutes * 60
    for number, file in enumerate(asked):
        if tell is not None:
            tell(file, number, len(asked))
        digests[file] = _hash(client, file, end, minutes, cancellation)
    findings = (Finding(one.file, bool(there.get(one.file)), one.file in digests, digests.get(one.file, ""), one.sha256) for one in files)
    return FileReport(client.server.address, tuple(findings))


def _hash(client: Client, file: str, end: float, minutes: float, cancellation: Cancellation) -> str:
    try:
        (state,) = client.files_exist([file], hashes=True, timeout=max(end - time.monotonic(), 0.1), cancellation=cancellation)
    except ServerUnreachable as error:
        if time.monotonic() < end:
            raise
        raise ServerUnreachable(
            client.server.address,
            f"it has not read {file!r} to its end within {minutes:g} minutes",
            "give it more minutes, or ask without hashes",
        ) from error
    return state.sha256.hex()
