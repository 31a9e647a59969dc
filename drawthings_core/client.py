"""The client: blocking, thread-safe, one channel per server for the life of the process.

Cancel from another thread with a `Cancellation`; every error that leaves here is a DrawThingsError.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np

from ..proto import messages
from . import compression, decoding, rules, tensor
from .album import Album
from .catalog import FACE_RESTORATION_FILES, SECTIONS, Catalog, capital
from .configuration import Configuration
from .connection import Connection, open_connection, why_lost
from .errors import (
    AccessDenied,
    BadResult,
    ConnectionLost,
    DecoderUnavailable,
    DrawThingsError,
    FileNotOnServer,
    FileNotUsable,
    GenerationCancelled,
    MessageTooLarge,
    NotSupported,
    QuotaExceeded,
    SecretRejected,
    ServerFailed,
    ServerStalled,
    ServerUnreachable,
    UploadFailed,
)
from .families import expected_pictures
from .images import Picture
from .model_files import Chosen, Opened
from .packing import content_of
from .receiving import Inbox, Received, Receiver
from .request import GenerationRequest, build
from .response import Event, Image, ResponseReader, Step, Waiting
from .secret import Sealed, SealedBytes
from .servers import CompressUploads, Profiles, Server
from .uplink import Uplink
from .uploading import Existing, Sending, Teller, Uploaded, UploadProgress, upload_files
from .watch import NO_LIFE, NOT_ASKING, Patience, Watch, asleep

CLIENT_NAME = "ComfyUI"
_LOCK_SECONDS = 0.1
"""How often a call that waits for another one's connection looks whether it was cancelled."""

CALL_TIMEOUT = 3600.0
"""Seconds that a unary call may take. A server reads files of many GB to hash them, on the thread that answers everyone, and may let
Echo wait for its queue (--echo-on-queue): one that is there answers late, and one that is gone gives no sign of life (see watch).
"""


class Cancellation:
    """Asks a running call to stop, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop: Callable[[], Any] | None = None
        self.requested = False

    def cancel(self) -> None:
        """Stop the call that uses this now, or the next one that starts with it."""
        with self._lock:
            self.requested = True
            stop = self._stop
        if stop is not None:
            stop()

    def attach(self, stop: Callable[[], Any]) -> None:
        """Have `stop` called on cancel; at once when that was already asked for."""
        with self._lock:
            self._stop = stop
            requested = self.requested
        if requested:
            stop()

    def detach(self) -> None:
        with self._lock:
            self._stop = None

    def check(self) -> None:
        """Raise GenerationCancelled when cancelling was asked for."""
        if self.requested:
            raise GenerationCancelled()


@dataclass
class GenerationResult:
    """What one run gave. pictures: in the server's order (batch members, frames or layers), views of the arrays of an album.

    audio: float32 [2, N] or None. scale_factor: how many times larger than the canvas an upscaler made them. notes: what a user
    should know about it. problem: why pictures are missing; None where all came.
    """

    pictures: list[Picture] = field(default_factory=list)
    audio: np.ndarray | None = None
    scale_factor: int = 1
    notes: list[str] = field(default_factory=list)
    problem: DrawThingsError | None = None

    @property
    def whole(self) -> bool:
        """Whether all came."""
        return self.problem is None


class _Unread(grpc.RpcError):
    """What a call ended with, apart from the call: whoever reads that may never hear of it, and would hold what was made of it."""

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(code, details)
        self._code, self._details = code, details

    @classmethod
    def of(cls, call: Any) -> _Unread | None:
        """None while it goes on, or where it ended well."""
        if call.is_active() or call.code() is grpc.StatusCode.OK:
            return None
        return cls(call.code(), call.details())

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class _KeptCatalog(NamedTuple):
    catalog: Catalog
    asked: float  # time.monotonic()


class FileState(NamedTuple):
    """One answer of FilesExist. sha256: raw 32 bytes, or b"" when not asked for or not there."""

    file: str
    exists: bool
    sha256: bytes


class Client:
    """Everything one server can be asked. Make it with `client_for`, so that connections are shared.

    decoders: the processes that decode compressed results, by default those that all clients share. patience: with a silent generation or upload.
    """

    def __init__(
        self,
        server: Server,
        profiles: Profiles | None = None,
        decoders: decoding.Pool | None = None,
        patience: Patience = Patience(),  # noqa: B008  immutable
    ):
        self.server = server
        self._patience = patience
        self._decoders = decoders
        self._compresses: bool | None = None  # not known yet
        self._profiles = profiles or Profiles()
        self._uplink = Uplink()
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._catalog: _KeptCatalog | None = None
        self._generating: list[Inbox] = []
        """The calls that run or wait, as they were begun: the server takes them one by one."""

    # -- what a server can be asked

    def echo(
        self, timeout: float = CALL_TIMEOUT, cancellation: Cancellation | None = None, patience: Patience | None = None
    ) -> messages.EchoReply:
        """Greet the server. patience: in place of the client's. Raises SecretRejected when it does not take our secret, ConnectionFailed when
        it is not there.
        """
        request = messages.EchoRequest(name=CLIENT_NAME)
        reply = self._unary("Echo", Sealed(request, self.server.secret), timeout, cancellation, patience)
        if reply.sharedSecretMissing:
            raise SecretRejected(self.server.address, given=bool(self.server.secret))
        return reply

    def asks_for_secret(self, cancellation: Cancellation | None = None) -> bool:
        """Whether the server refuses who gives no secret. One that has none takes any."""
        return self._unary("Echo", messages.EchoRequest(name=CLIENT_NAME), CALL_TIMEOUT, cancellation).sharedSecretMissing

    def catalog(self, max_age: float = math.inf, cancellation: Cancellation | None = None, patience: Patience | None = None) -> Catalog:
        """What the server offers, asked once for each connection and kept; asked again when it is older than `max_age` seconds."""
        kept = self._catalog
        if kept is None or time.monotonic() - kept.asked > max_age:
            return self.greeting(cancellation, patience)[1]
        return kept.catalog

    def greeting(self, cancellation: Cancellation | None = None, patience: Patience | None = None) -> tuple[messages.EchoReply, Catalog]:
        """A fresh reply and what it offers, which is kept. Raises what `echo` raises."""
        reply = self.echo(cancellation=cancellation, patience=patience)
        catalog = Catalog.from_echo(reply)
        self._catalog = _KeptCatalog(catalog, time.monotonic())
        return reply, catalog

    def catalog_with(
        self,
        model: str,
        cancellation: Cancellation | None = None,
        more: Iterable[tuple[str, str]] = (),
        patience: Patience | None = None,
    ) -> Catalog:
        """The kept catalogue, or a fresh one when it does not describe this model, which may be new on the server.

        more: (kind, file) of others that it should describe.
        """
        catalog = self.catalog(cancellation=cancellation, patience=patience)
        wanted = [("model", model), *more]
        if catalog.describes and any(file and catalog.find(kind, file) is None for kind, file in wanted):
            catalog = self.catalog(max_age=0, cancellation=cancellation, patience=patience)
        return catalog

    @property
    def connected(self) -> bool:
        """Whether a connection is open."""
        return self._connection is not None

    @property
    def certificate(self) -> str | None:
        """PEM of the server's certificate on the connection that is open, None without TLS."""
        connection = self._connection  # which another thread may give up
        return connection.certificate if connection is not None else None

    def files_exist(
        self, files: Sequence[str], hashes: bool = False, timeout: float = CALL_TIMEOUT, cancellation: Cancellation | None = None
    ) -> list[FileState]:
        """Which of `files` are on the server, in order. With `hashes`, the server reads the whole files: it takes its time."""
        request = messages.FileListRequest(files=files, filesWithHash=files if hashes else ())
        patience = NOT_ASKING if hashes else None  # who hashes answers nobody
        reply = self._unary("FilesExist", Sealed(request, self.server.secret), timeout, cancellation, patience)
        if list(reply.files) != list(files) or len(reply.existences) != len(files):
            raise BadResult(f"The server at {self.server.address} answers about other files than it was asked for: try again.")
        digests = list(reply.hashes) + [b""] * (len(reply.files) - len(reply.hashes))  # a proxy sends none
        return [FileState(*row) for row in zip(reply.files, reply.existences, digests, strict=False)]

    def pubkey(self, cancellation: Cancellation | None = None) -> str:
        """The cloud's signing key; "" from a plain server."""
        return self._unary("Pubkey", messages.PubkeyRequest(name=CLIENT_NAME), CALL_TIMEOUT, cancellation).pubkey

    def hours(self, cancellation: Cancellation | None = None, patience: Patience | None = None) -> messages.ComputeUnitThreshold | None:
        """The cloud's raised thresholds; None from a plain server, which answers at once even while it generates. patience: see `echo`."""
        reply = self._unary("Hours", messages.HoursRequest(), CALL_TIMEOUT, cancellation, patience)
        return reply.thresholds if reply.HasField("thresholds") else None

    def prepare(self, request: GenerationRequest, cancellation: Cancellation | None = None) -> Catalog:
        """Check a request against the rules and the server's files without running it; the catalogue it was checked with.

        Raises InvalidInput and its children, SecretRejected, ConnectionFailed.
        """
        catalog = self.catalog(cancellation=cancellation)
        if catalog.describes and any(catalog.find(kind, file) is None for kind, file in _described_files(request.configuration)):
            catalog = self.catalog(max_age=0, cancellation=cancellation)  # downloaded since we last asked, perhaps
        rules.check(request, catalog)
        self._check_files(request.configuration, catalog, cancellation)
        return catalog

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_event: Callable[[Event], Any] | None = None,
        cancellation: Cancellation | None = None,
        album: Album | None = None,
        compress: CompressUploads = CompressUploads.auto,
        previews: bool = True,
    ) -> GenerationResult:
        """Run one request to its end. Blocks for as long as the server takes, queue included.

        on_event is called in this thread for everything that the server reports; what it raises ends the call. A preview that
        another one overtakes is left out. album: where the pictures go after those that it has, by default a new one. compress: whether
        the request's pictures are. previews: False leaves them all out, undecoded.
        Raises GenerationCancelled, BadResult, ServerFailed, and what `prepare` raises.
        """
        cancellation = cancellation or Cancellation()
        cancellation.check()
        catalog = self.prepare(request, cancellation)
        pool = self._decoders or decoding.shared()
        contents = {id(array): content_of(array) for array in request.tensors}
        size = sum(len(content.data) for content in contents.values())
        if compress == CompressUploads.always or (compress == CompressUploads.auto and self._uplink.slow):
            compression.compress(contents.values(), pool, cancellation.check)
            contents = {key: content.smaller or content for key, content in contents.items()}
        message = SealedBytes(build(request, catalog, secret=self.server.secret, content=lambda array: contents[id(array)]))
        cancellation.check()
        expected = expected_pictures(rules.version_of(request.configuration, catalog), request.configuration)
        album = Album(expected) if album is None else album
        failures = pool.failures
        before = len(album.pictures)
        result = GenerationResult()
        if compress == CompressUploads.always and contents and not tensor.fpzip_available():
            result.notes.append(
                "The input pictures were sent as they are: compressing them needs the fpzip package, which is not installed."
            )
        reader = ResponseReader(self.server.address, Received.checked)
        tell = on_event or (lambda event: None)
        with self._using(cancellation) as connection:
            if compress == CompressUploads.auto and self._uplink.due(size):
                call = connection.stub.GenerateImageFrom(self._uplink.measured(message, connection.stub))
            else:
                call = connection.stub.GenerateImage(message)
            watch = Watch(self.server.address, self._patience, connection.sign_of_life, call.cancel)
            inbox = Inbox(call, watch.heard, lambda: _Unread.of(call))
            receiver = Receiver(pool, album, cancellation.check, inbox.wake, canvas=request.largest_size, previews=previews)
            try:
                cancellation.attach(call.cancel)
                self._queue(inbox)
                for event in _events(reader, inbox, receiver, lambda: self._generating.index(inbox)):
                    if isinstance(event, Step):
                        self._prepare_decoders(pool, expected)
                        reason = pool.unavailable(failures) if receiver.compressed else None
                        if reason is not None:  # nobody should wait for pictures that are lost
                            raise DecoderUnavailable(reason)
                    elif isinstance(event, Image):
                        result.scale_factor = event.scale_factor
                    tell(event)
                done = reader.finish()
                result.audio = receiver.finish()
            except grpc.RpcError as error:
                if isinstance(error, _Unread):  # only the end of its connection ends the thread that reads such a call
                    self._give_up(connection)
                if cancellation.requested:
                    raise GenerationCancelled() from error
                problem = self._stalled(watch, connection) or self._translated(
                    error, "GenerateImage", reader.messages, connection, cancellation
                )
                result.pictures = album.pictures[before:]
                if not result.pictures:
                    raise problem from error
                # As the official client does: what has arrived is not thrown away.
                result.audio = receiver.finish()
                result.problem = problem
                result.notes.append(f"The call ended with an error after {len(result.pictures)} images: {problem}")
                return result
            finally:
                cancellation.detach()
                watch.close()
                call.cancel()  # no effect on a finished call; ends it when we leave by an error of our own
                receiver.abandon()
                self._unqueue(inbox)
                inbox.close()
                self._compresses = self._compresses if receiver.compressed is None else receiver.compressed
        result.pictures = album.pictures[before:]
        result.notes += reader.problems + receiver.problems
        tell(done)
        if reader.missing_bytes:
            result.problem = BadResult(f"The server announced {reader.missing_bytes} bytes more than it sent: images are missing.")
            result.notes.append(str(result.problem))
        return result

    def _stalled(self, watch: Watch, connection: Connection) -> ServerStalled | None:
        """Why a watch ended its call. What comes next must not wait for an answer on that connection."""
        if watch.problem is not None:
            self._give_up(connection)
        return watch.problem

    def _queue(self, inbox: Inbox) -> None:
        with self._lock:
            self._generating.append(inbox)

    def _unqueue(self, inbox: Inbox) -> None:
        """Tell those behind it."""
        with self._lock:
            if inbox in self._generating:
                self._generating.remove(inbox)
            for other in self._generating:
                other.wake()

    def _prepare_decoders(self, pool: decoding.Pool, pictures: int) -> None:
        """While the server samples: their start takes longer than decoding a small picture."""
        if self._compresses is not False and tensor.fpzip_available():
            pool.warm(pictures)

    def upload(
        self,
        source: Path,
        name: str = "",
        *,
        existing: Existing = Existing.keep,
        on_progress: Callable[[UploadProgress], Any] | None = None,
        cancellation: Cancellation | None = None,
    ) -> Uploaded:
        """Put a file into the server's models folder as `name`, its own name by default.

        on_progress is called in this thread. Raises UploadFailed; NotUploadable for a file that is empty, changes, or would replace
        another one; InvalidInput for a name with path parts; GenerationCancelled.
        """
        files = [Chosen(name or source.name, source)]
        (done,) = upload_files(self, files, cancellation or Cancellation(), existing=existing, on_progress=on_progress)
        return done

    def send_file(self, file: Opened, name: str, sha256: bytes, teller: Teller, cancellation: Cancellation) -> None:
        """The call UploadFile, whatever is on the server; `upload` looks first. Raises what `upload` raises."""
        sending = Sending(file, name, sha256, self.server.secret, cancellation)
        with self._using(cancellation) as connection:
            try:
                sending.run(connection.stub.UploadFile, teller, self.server.address, self._patience)
            except grpc.RpcError as error:
                if cancellation.requested:
                    raise GenerationCancelled() from error
                raise self._translated(error, "UploadFile", 0, connection, cancellation) from error
            except ServerStalled:
                self._give_up(connection)
                raise

    def close(self) -> None:
        """Give the connection up: the next call opens a new one, and running calls end on the old one."""
        with self._lock:
            if self._connection is not None:
                self._give_up(self._connection)

    # -- files that a request names

    def _check_files(self, configuration: Configuration, catalog: Catalog, cancellation: Cancellation | None) -> None:
        """A server silently replaces a missing model and skips a missing or foreign LoRA, control or upscaler.

        Asked for every run: files come and go while a server and its catalogue stay.
        """
        named = dict(_named_files(configuration))
        if not named:
            return
        for state in self.files_exist(list(named), cancellation=cancellation):
            if not state.exists:
                kind = named[state.file]
                what = "refiner" if state.file == configuration["refiner_model"] != configuration["model"] else kind
                suggestions = catalog.suggestions(kind, state.file)
                raise FileNotOnServer(capital(what), state.file, self.server.address, suggestions, catalog.browsing)
        if not catalog.describes:
            return
        for kind, file in _described_files(configuration):
            if catalog.find(kind, file) is None:
                raise self._not_usable(kind, file, catalog)

    def _not_usable(self, kind: str, file: str, catalog: Catalog) -> FileNotUsable:
        other = catalog.kind_of(file)
        if other is not None:
            return FileNotUsable(f"{file!r} is a {other}, not a {kind}: choose a {kind} there.")
        return FileNotUsable(
            f"{capital(kind)} {file!r} is on the server at {self.server.address}, but the server does not know what it is: import it in Draw "
            f"Things, or finish the download of all its parts."
        )

    # -- connection

    @contextlib.contextmanager
    def _using(self, cancellation: Cancellation) -> Iterator[Connection]:
        """The connection, opened when there is none, for the length of one call."""
        while not self._lock.acquire(timeout=_LOCK_SECONDS):  # another thread is opening it
            cancellation.check()
        try:
            if self._connection is None:
                self._connection = open_connection(self.server, self._profiles, cancellation.check)
            connection = self._connection
            connection.users += 1
        finally:
            self._lock.release()
        try:
            yield connection
            connection.proven = True
        finally:
            with self._lock:
                connection.users -= 1
                if connection.given_up and connection.users == 0:
                    connection.channel.close()

    def _give_up(self, connection: Connection) -> None:
        with self._lock:
            if self._connection is connection:
                self._connection = self._catalog = None  # behind the next one may be another server, or this one after an update
            if not connection.given_up:
                connection.given_up = True
                if connection.users == 0:
                    connection.channel.close()

    def _unary(
        self, method: str, request: Any, timeout: float, cancellation: Cancellation | None = None, patience: Patience | None = None
    ) -> Any:
        """One call that may be repeated: a connection that worked before and is gone is replaced once."""
        cancellation = cancellation or Cancellation()
        with self._using(cancellation) as connection:
            proven = connection.proven
            started = time.monotonic()
            call = getattr(connection.stub, method).future(request, timeout=timeout)
            try:
                reply = self._reply(call, connection, cancellation, patience or self._patience)
                self._uplink.answered(time.monotonic() - started)
                return reply
            except grpc.FutureCancelledError as error:
                raise GenerationCancelled() from error
            except grpc.RpcError as error:
                if proven and error.code() == grpc.StatusCode.UNAVAILABLE:  # type: ignore[attr-defined]
                    self._give_up(connection)
                else:
                    raise self._translated(error, method, 0, connection, cancellation) from error
            finally:
                cancellation.detach()
        return self._unary(method, request, timeout, cancellation, patience)

    def _reply(self, call: Any, connection: Connection, cancellation: Cancellation, patience: Patience) -> Any:
        """What a unary call gives. Raises ServerStalled once a server that is silent gives no sign of life; as the call does."""
        started = time.monotonic()
        ask_after = None if math.isinf(patience.ask_after) else patience.ask_after
        while True:
            cancellation.attach(call.cancel)
            with contextlib.suppress(grpc.FutureTimeoutError):
                return call.result(ask_after)
            life = connection.sign_of_life(patience.unanswered)
            cancellation.attach(lambda life=life: (call.cancel(), life.cancel()))
            call.add_done_callback(lambda _, life=life: life.cancel())
            if life.code() in NO_LIFE and not call.done():
                call.cancel()
                self._give_up(connection)
                raise asleep(self.server.address, time.monotonic() - started)

    # -- errors

    def _translated(
        self, error: grpc.RpcError, method: str, received: int, connection: Connection, cancellation: Cancellation
    ) -> DrawThingsError:
        """The one place where gRPC's errors become ours. Raises GenerationCancelled, since it looks at the server once more."""
        address = self.server.address
        status, details = error.code(), (error.details() or "").strip()  # type: ignore[attr-defined]
        code = status.name
        if status == grpc.StatusCode.UNAVAILABLE:
            self._give_up(connection)
            answered = received > 0 or connection.proven
            return why_lost(self.server, self._profiles, answered, cancellation.check)
        if status == grpc.StatusCode.CANCELLED:
            return ConnectionLost(address, f"The server at {address} ended the call: see whether it is stopping, then try again.")
        if status == grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerUnreachable(address, "it is connected but does not answer", "it may be busy or overloaded; try again")
        if status == grpc.StatusCode.PERMISSION_DENIED and "throttlePolicy" in details:
            return QuotaExceeded(address, code, f"The server at {address} limits how often you may generate: wait a little and try again.")
        if status in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
            return AccessDenied(address, code, f"The server at {address} refuses this request{_said(details)}: check your account there.")
        if status == grpc.StatusCode.RESOURCE_EXHAUSTED:
            return MessageTooLarge(
                address, code, f"The server at {address} refuses the message as too large{_said(details)}: use fewer or smaller pictures."
            )
        if status == grpc.StatusCode.UNIMPLEMENTED:
            return NotSupported(
                address, code, f"The server at {address} does not offer {method}: it is a proxy, or not a Draw Things server."
            )
        if status == grpc.StatusCode.INTERNAL and method != "Echo" and self._secret_refused(cancellation):
            return SecretRejected(address, given=bool(self.server.secret))
        if method == "UploadFile":
            return UploadFailed(
                address,
                code,
                f"The server at {address} did not keep the file ({code}{_said(details)}): {_UPLOAD_ADVICE.get(code, 'try again')}.",
            )
        return ServerFailed(
            address, code, f"The server at {address} failed ({code}{_said(details)}): look at its log, or try other settings."
        )

    def _secret_refused(self, cancellation: Cancellation) -> bool:
        """INTERNAL is what a wrong secret gives on every call but Echo, which says so plainly."""
        try:
            self.echo(cancellation=cancellation)
        except SecretRejected:
            return True
        except GenerationCancelled:
            raise
        except DrawThingsError:
            return False
        return False


def _events(reader: ResponseReader, inbox: Inbox, receiver: Receiver, ahead: Callable[[], int]) -> Iterator[Event]:
    """What a listener is told, in order. ahead: how many calls of this client go first. Raises as the call, the reader and the
    receiver do.
    """
    before = ahead()
    yield Waiting(before > 0, before)
    for answer in inbox:
        if answer is None:
            yield from receiver.previews()
            if reader.quiet and (now := ahead()) != before:
                before = now
                yield Waiting(now > 0, now)
            continue
        for event in reader.feed(answer):
            if isinstance(event, Waiting):
                event = event._replace(ahead=ahead())
            yield from receiver.take(event)


def _named_files(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """(file, kind) of every file on the server that a configuration names and that would be used."""
    for row in configuration.ROWS.values():
        if row.file_kind and configuration[row.name]:
            yield configuration[row.name], row.file_kind
            for companion in FACE_RESTORATION_FILES.get(configuration[row.name], ()):
                yield companion, f"second file of the {row.file_kind}"
    for kind, name in (("LoRA", "loras"), ("control", "controls")):
        for record in configuration[name]:
            if record["file"] and record["weight"]:
                yield record["file"], kind


def _described_files(configuration: Configuration) -> list[tuple[str, str]]:
    """(kind, file) of those that a catalogue describes; face restoration models are in none."""
    return [(kind, file) for file, kind in _named_files(configuration) if kind in SECTIONS]


_UPLOAD_ADVICE = {
    "INTERNAL": "see whether its disk is full, and whether it may write into its models folder",
    "DATA_LOSS": "what arrived is not what was sent, so try again",
    "INVALID_ARGUMENT": "it counts other bytes than were sent, so try again",
}
"""By the table of protocol.md section 7."""


def _said(details: str) -> str:
    return f", saying {details[:200]!r}" if details else ""


_clients: dict[Server, Client] = {}
_clients_lock = threading.Lock()
_MOST_CLIENTS = 100
"""From then on those without a connection are let go of when another is made: mostly typing mistakes."""


def client_for(server: Server) -> Client:
    """The process's one client for a server: its connection and catalogue are shared by all nodes and runs."""
    with _clients_lock:
        if server not in _clients:
            if len(_clients) >= _MOST_CLIENTS:
                for idle in [known for known, client in _clients.items() if not client.connected]:
                    del _clients[idle]
            _clients[server] = Client(server)
        return _clients[server]
