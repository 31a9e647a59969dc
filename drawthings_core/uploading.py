"""UploadFile, the client's half (protocol.md section 7): hashed first, then sent in pieces, a window ahead of the answers.

The server wants the SHA-256 in its first message, so a file is read twice; no more of it than a window is ever in memory. There is
no resumption: a server deletes what it has when the stream breaks.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..proto import messages
from .catalog import Catalog
from .errors import ConnectionFailed, DrawThingsError, NotUploadable, ServerFailed, UploadFailed
from .families import name_of
from .model_files import MODEL_ENDING, WEIGHTS_SUFFIX, Chosen, Opened, check_format, plain_name
from .secret import Sealed
from .watch import Patience, Watch

if TYPE_CHECKING:
    from .client import Cancellation, Client
    from .secret import Secret

CHUNK_SIZE = 1 << 20
WINDOW = 50
"""Unanswered chunks in flight, as in the official client."""

_TELL_SECONDS = 0.1
"""Between two reports of progress."""


class Existing(Enum):
    """What becomes of a file of that name on the server. Equal contents are left alone, unless they are to be sent anyway."""

    keep = "keep"
    replace = "replace"
    send_anyway = "send anyway"


class UploadStage(Enum):
    """What an upload is doing, in order; comparing happens only when the server has a file of that name."""

    reading = "Reading"
    comparing = "The server reads its own"
    sending = "Sending"
    checking = "The server checks"

    @property
    def words(self) -> str:
        """A template of `file`, `done` and `total`."""
        known = self in (UploadStage.reading, UploadStage.sending)
        return f"{self.value} {{file}}: {{done}} of {{total}}" if known else f"{self.value} {{file}} ({{total}})"


class UploadProgress(NamedTuple):
    """done and total: bytes of this stage; a server does not say how far it is, so done is 0 while it reads."""

    stage: UploadStage
    name: str
    done: int
    total: int

    def values(self) -> dict[str, str]:
        """For `stage.words`."""
        return {"file": self.name, "done": size_words(self.done), "total": size_words(self.total)}

    def __str__(self) -> str:
        return self.stage.words.format(**self.values())


class Uploaded(NamedTuple):
    """What came of an upload. sha256: hex. sent: False when the server had these contents under that name already. seconds: of sending."""

    name: str
    size: int
    sha256: str
    sent: bool
    seconds: float

    def __str__(self) -> str:
        if not self.sent:
            return f"{self.name} is on the server already, with the same contents ({size_words(self.size)}, SHA-256 {self.sha256})."
        rate = size_words(round(self.size / max(self.seconds, 0.001)))
        return f"Uploaded {self.name}: {size_words(self.size)} in {self.seconds:.1f} s ({rate}/s), SHA-256 {self.sha256}."


Tell = Callable[[UploadProgress], Any]


class Teller:
    """Reports progress, not more often than anyone can see."""

    def __init__(self, tell: Tell | None, name: str, total: int):
        self._tell = tell
        self._name = name
        self._total = total
        self._last: tuple[UploadStage | None, float] = (None, 0.0)

    def __call__(self, stage: UploadStage, done: int = 0) -> None:
        now = time.monotonic()
        stage_before, then = self._last
        if self._tell is not None and (stage is not stage_before or done == self._total or now - then >= _TELL_SECONDS):
            self._last = stage, now
            self._tell(UploadProgress(stage, self._name, done, self._total))


def digest_of(file: Opened, teller: Teller, cancellation: Cancellation) -> bytes:
    """SHA-256 of the whole file. Raises GenerationCancelled, NotUploadable."""
    digest, done = hashlib.sha256(), 0
    for piece in file.pieces(CHUNK_SIZE):
        cancellation.check()
        digest.update(piece)
        done += len(piece)
        teller(UploadStage.reading, done)
    return digest.digest()


class Sending:
    """One call. `requests` is read by gRPC in a thread of its own, which must not raise: `problem` says why it stopped early."""

    def __init__(self, file: Opened, name: str, sha256: bytes, secret: Secret | None, cancellation: Cancellation):
        self.problem: DrawThingsError | None = None
        self._file = file
        self._init = messages.InitUploadRequest(filename=name, sha256=sha256, totalSize=file.size)
        self._secret = secret
        self._cancellation = cancellation
        self._window = threading.Semaphore(WINDOW)
        self._ended = threading.Event()
        self._abort: Callable[[], Any] = lambda: None

    def run(self, start: Callable[[Iterator[Sealed]], Any], teller: Teller, address: str, patience: Patience) -> None:
        """Send the file with the call that `start` makes of the requests. Raises grpc.RpcError, UploadFailed, NotUploadable, ServerStalled."""
        call = start(self._requests())
        self._abort = call.cancel
        watch = Watch(address, patience.of_upload, None, call.cancel, "has said nothing of this upload")
        try:
            self._cancellation.attach(call.cancel)
            for answer in call:
                self._window.release()
                if not answer.chunkUploadSuccess:
                    raise UploadFailed(address, "OK", f"The server at {address} refused a part of {self._file.name!r}: try again.")
                finished = answer.receivedOffset >= self._file.size
                watch.heard(finished)
                teller(UploadStage.checking if finished else UploadStage.sending, 0 if finished else answer.receivedOffset)
        finally:
            self._ended.set()
            self._cancellation.detach()
            watch.close()
            call.cancel()
            problem = self.problem or watch.problem
            if problem is not None:
                raise problem

    def _requests(self) -> Iterator[Sealed]:
        yield Sealed(messages.FileUploadRequest(initRequest=self._init), self._secret)
        try:
            yield from self._chunks()
        except DrawThingsError as error:
            self.problem = error
            self._abort()  # or the server would take what it has for the whole

    def _chunks(self) -> Iterator[Sealed]:
        offset = 0
        for piece in self._file.pieces(CHUNK_SIZE):
            while not self._window.acquire(timeout=0.5):
                if self._ended.is_set():
                    return
            chunk = messages.FileChunk(content=piece, filename=self._init.filename, offset=offset)
            yield Sealed(messages.FileUploadRequest(chunk=chunk), self._secret)
            offset += len(piece)


def upload_model(
    client: Client,
    files: Sequence[Chosen],
    name: str,
    cancellation: Cancellation,
    *,
    existing: Existing = Existing.keep,
    other_formats: bool = False,
    on_progress: Tell | None = None,
) -> list[Uploaded]:
    """Upload the files of one model, the model's own file last, as `name` unless that is empty. Raises what `upload_files` raises."""
    model = files[-1]
    name = plain_name(name or model.name)
    with Opened(model.path) as file:
        check_format(file, name, other_formats)
    renamed = [Chosen(name + one.name[len(model.name) :], one.path) for one in files]
    return upload_files(client, renamed, cancellation, existing=existing, on_progress=on_progress)


def upload_files(
    client: Client,
    files: Sequence[Chosen],
    cancellation: Cancellation,
    *,
    existing: Existing = Existing.keep,
    on_progress: Tell | None = None,
) -> list[Uploaded]:
    """Put files into a server's models folder under their names; nothing is sent before all were compared with what is there.

    on_progress is called in this thread. Raises UploadFailed; NotUploadable for a file that is empty, changes, or would replace another
    one; InvalidInput for a name with path parts; GenerationCancelled.
    """
    names = [plain_name(one.name) for one in files]
    with contextlib.ExitStack() as opened:
        sources = [opened.enter_context(Opened(one.path)) for one in files]
        client.echo(cancellation=cancellation)  # a wrong secret would end the upload with an error that does not say so
        looked_at = []
        for name, source in zip(names, sources, strict=True):
            teller = Teller(on_progress, name, source.size)
            sha256 = digest_of(source, teller, cancellation)
            needed = existing is Existing.send_anyway or not _is_there(client, name, sha256, existing, teller, cancellation)
            looked_at.append((name, source, sha256, needed, teller))
        done: list[Uploaded] = []
        for name, source, sha256, needed, teller in looked_at:
            started = time.perf_counter()
            if needed:
                try:
                    client.send_file(source, name, sha256, teller, cancellation)
                except (ServerFailed, ConnectionFailed) as error:
                    sent = [one.name for one in done if one.sent]
                    if not sent:
                        raise
                    raise _in_part(client, error, sent, name) from error
            done.append(Uploaded(name, source.size, sha256.hex(), needed, time.perf_counter() - started))
        return done


def _in_part(client: Client, error: DrawThingsError, sent: Sequence[str], name: str) -> UploadFailed:
    """The error, which also says that other files of the same model are on the server now and `name` is not."""
    words = f"{error} The server has {', '.join(sent)} of the new model but not {name!r}: upload it again before you use it."
    return UploadFailed(client.server.address, error.code if isinstance(error, ServerFailed) else "UNAVAILABLE", words)


def _is_there(client: Client, name: str, sha256: bytes, existing: Existing, teller: Teller, cancellation: Cancellation) -> bool:
    """Whether the server has these contents under this name. Raises NotUploadable when it has others, which are to be kept."""
    (there,) = client.files_exist([name], cancellation=cancellation)
    if not there.exists:
        return False
    teller(UploadStage.comparing)
    (there,) = client.files_exist([name], hashes=True, cancellation=cancellation)
    if not there.sha256 and existing is Existing.keep:
        raise NotUploadable(
            f"The server at {client.server.address} has a file named {name!r} and does not tell its hash, so whether it is the same is not known: "
            f"upload under another name, or choose replace."
        )
    if there.sha256 != sha256 and existing is Existing.keep:
        raise NotUploadable(
            f"The server at {client.server.address} has another file named {name!r}: upload under another name, or choose replace."
        )
    return there.sha256 == sha256


def what_became_of(name: str, catalog: Catalog) -> str:
    """What a server makes of an uploaded file, by the catalogue that it gives afterwards."""
    kind = catalog.kind_of(name)
    if kind is not None:
        entry = catalog.entries[kind][name]
        return f"The server knows it as the {kind} {entry.name}{f' ({name_of(entry.version)})' if entry.version else ''}."
    if name.endswith(WEIGHTS_SUFFIX):
        return "It holds the weights of the model of that name."
    if not catalog.browsing:
        return "The server lists no files: type the name where it is used."
    if name not in catalog.files:
        return f"The server does not list it, since its name does not end in {MODEL_ENDING}."
    return (
        "The server lists it, but does not know what it is: Draw Things described it in custom.json or custom_lora.json (and so on) when it was "
        "imported, and that entry belongs into the server's file of that name."
    )


def size_words(count: int) -> str:
    """A number of bytes for people, as Finder counts: 1 kB = 1000 bytes."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"
