"""The six calls of ImageGenerationService on a grpcio server, with the habits of the real one (protocol.md)."""

from __future__ import annotations

import hmac
import json
import math
import secrets
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc

from ...proto import messages, service
from . import catalog, faults, generation, summary, uploads
from .certificate import Certificate
from .faults import Faults
from .generation import Settings
from .inputs import Trap
from .jobs import Ended, Job, SerialQueue, pause
from .relay import Relay
from .results import response

_MAXIMUM_MESSAGE = 1 << 30
_CALLS_AT_ONCE = 128
_IDENTITY_ONLY = 1
TRAP_EXIT = 70


@dataclass
class Options:
    """How the server behaves. strict: "" polite, "exit" the process ends at a trap, "drop" the call's connection drops.

    gpus: generations at once, behind a proxy. thresholds, pubkey: what only the cloud's proxies tell; thresholds is a ComputeUnitThreshold, None: there are none.
    """

    shared_secret: str = ""
    model_browser: bool = False
    echo_on_queue: bool = False
    strict: str = ""
    proxy_seconds: float | None = None
    gpus: int = 1
    thresholds: Any = None
    pubkey: str = ""
    settings: Settings = field(default_factory=Settings)


class Simulator:
    """Handlers and their state. `leave(code)` ends the process, as a trap or a kill fault does."""

    def __init__(self, directory: catalog.ModelsDirectory, options: Options, leave: Callable[[int], None]):
        self.options = options
        self.directory = directory
        self.catalog = catalog.Catalog(directory)
        self.faults = Faults()
        self.log = summary.CallLog()
        self.queue = SerialQueue(options.gpus)
        self.traps: list[str] = []
        self.identifier = secrets.randbits(64)
        self.relay: Relay | None = None
        """What clients connect through, once there is one."""
        self._leave = leave
        self._echoes = 0
        self._calls: Counter[str] = Counter()
        self._peers: set[str] = set()
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, Callable[..., Any]]:
        """Method name -> handler, for proto.service.add_servicer."""
        plain = {
            "Echo": self.echo,
            "FilesExist": self.files_exist,
            "GenerateImage": self.generate_image,
            "UploadFile": self.upload_file,
            "Pubkey": lambda request, context: messages.PubkeyResponse(pubkey=self.options.pubkey),
            "Hours": lambda request, context: messages.HoursResponse(thresholds=self.options.thresholds),
        }
        return {name: self._counted(name, handler) for name, handler in plain.items()}

    def _counted(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            with self._lock:
                self._calls[name] += 1
                self._peers.add(context.peer())
            if name in faults.CAN_BE_UNAVAILABLE and self.faults.listing().get("unavailable", "") in (None, name):
                self.faults.take("unavailable")
                _abort(context, Ended("UNAVAILABLE", "busy"))
            return handler(request, context)

        return handle

    def clear(self) -> None:
        """Forget what arrived."""
        self.log.clear()
        with self._lock:
            self._calls.clear()
            self._peers.clear()

    def secret_is_right(self, request: Any) -> bool:
        """Compared for equality; no secret configured takes anything."""
        wanted = self.options.shared_secret
        given = request.sharedSecret if request.HasField("sharedSecret") else ""
        return not wanted or hmac.compare_digest(given.encode("utf-8"), wanted.encode("utf-8"))

    # Unary calls

    def echo(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Greeting, and with model browsing what is there. A wrong secret is answered, not refused."""
        wrong = self.faults.take("slow_echo", "secret_missing_flips")
        right = self.secret_is_right(request)
        self.log.add({"method": "Echo", "name": request.name, "secret_given": request.HasField("sharedSecret"), "secret_right": right})
        if "slow_echo" in wrong:
            pause(faults.number(wrong["slow_echo"], 1), context.is_active)
        with self._lock:
            self._echoes += 1
            flipped = "secret_missing_flips" in wrong and self._echoes % 2 == 1
        if not right or flipped:
            return messages.EchoReply(sharedSecretMissing=True)
        if self.options.echo_on_queue:
            self.queue.wait_for_turn(context.is_active)
        reply = messages.EchoReply(message=f"HELLO {request.name}", serverIdentifier=self.identifier)
        proxy = self.options.proxy_seconds is not None
        if self.options.model_browser or proxy:
            reply.files.extend(self.directory.listing())
            if not proxy:
                self._describe(reply.override)
        if proxy and self.options.thresholds is not None:
            reply.thresholds.CopyFrom(self.options.thresholds)
        return reply

    def _describe(self, override: Any) -> None:
        for kind, name in (
            ("models", "models"),
            ("loras", "loras"),
            ("control_nets", "controlNets"),
            ("textual_inversions", "textualInversions"),
            ("upscalers", "upscalers"),
        ):
            setattr(override, name, json.dumps(self.catalog.installed(kind)).encode("utf-8"))

    def files_exist(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Plain existence of each name, with hashes where they are asked for."""
        right = self.secret_is_right(request)
        self.log.add({"method": "FilesExist", "files": list(request.files), "hashed": list(request.filesWithHash), "secret_right": right})
        if not right:
            _abort(context, uploads.internal())
        wrong = self.faults.take("slow_hash")
        hashed = set(request.filesWithHash) if self.options.proxy_seconds is None else set()
        reply = messages.FileExistenceResponse()
        for name in request.files:
            reply.files.append(name)
            reply.existences.append(self.directory.exists(name))
            if name in hashed and "slow_hash" in wrong:
                pause(faults.number(wrong["slow_hash"], 1), context.is_active)
            reply.hashes.append(self.directory.hash(name) if name in hashed else b"")
        return reply

    # Streams

    def upload_file(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """Receive a file; the stream ends without a further message."""
        if self.options.proxy_seconds is not None:
            _abort(context, Ended("UNIMPLEMENTED", "uploads go to a server, not to a proxy"))
        wrong = self.faults.take(*faults.UPLOAD)
        facts: dict[str, Any] = {"method": "UploadFile"}
        self.log.add(facts)
        error, error_after = faults.error_of(wrong["upload_error"]) if "upload_error" in wrong else (None, 0)

        def answering(chunks: int) -> None:
            if "slow_upload" in wrong:
                pause(faults.number(wrong["slow_upload"], 0.2), context.is_active)
            if "upload_stalls" in wrong and chunks >= faults.number(wrong["upload_stalls"], 0):
                pause(generation.FOREVER, context.is_active)
            if "upload_kill" in wrong and chunks >= faults.number(wrong["upload_kill"], 1):
                self._leave(TRAP_EXIT)
            if error is not None and chunks >= error_after:
                raise error

        room = faults.number(wrong["disk_full"], 0) if "disk_full" in wrong else math.inf
        arriving = map(faults.spoil_upload, requests) if "upload_spoils" in wrong else requests
        try:
            yield from uploads.receive(arriving, self.directory, self.secret_is_right, answering, room, facts.update)
        except Ended as ended:
            _abort(context, ended)

    def generate_image(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Queue a generation and pass on what it sends."""
        right = self.secret_is_right(request)
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() if key != "authorization"}
        self.log.add_later(request.ByteSize(), lambda: summary.of_generation(request, right, metadata))
        if self.faults.take("kill_unaccepted"):
            self._leave(TRAP_EXIT)
        context.send_initial_metadata(())
        if not right:
            _abort(context, uploads.internal())
        wrong = self.faults.take(*faults.GENERATION)
        job = Job(lambda job: self._work(request, wrong, job))
        if not context.add_callback(job.cancel):
            return
        self.queue.submit(job)
        try:
            yield from self._delivered(job, wrong, context)
        except Trap as trap:
            self._trapped(str(trap), context)
        except Ended as error:
            _abort(context, error)
        except Exception:
            if job.failed:
                traceback.print_exc()
                _abort(context, uploads.internal())
            raise

    def _work(self, request: Any, wrong: dict[str, Any], job: Job) -> None:
        """On the queue's thread."""
        if "stall_first" in wrong:
            job.checkpoint(generation.FOREVER)
        if "delay_first" in wrong:
            job.checkpoint(faults.number(wrong["delay_first"], 1))
        decoded = generation.decode(request, self.catalog)
        job.facts = generation.facts(decoded)
        for note in (*decoded.inputs.notes, *(f"{name} skipped" for name in decoded.resolved.skipped)):
            print(note, file=sys.stderr, flush=True)
        previewer = self.directory.exists(catalog.CASCADE_PREVIEWER)
        generation.Generation(decoded, self.options.settings, wrong, previewer).run(job)

    def _delivered(self, job: Job, wrong: dict[str, Any], context: grpc.ServicerContext) -> Iterator[Any]:
        """The job's messages with the faults that concern their delivery."""
        error, error_after = faults.error_of(wrong["error_status"]) if "error_status" in wrong else (None, 0)
        every = self.options.proxy_seconds
        if "heartbeats" in wrong:
            every = faults.number(wrong["heartbeats"], 0.1)
        images = 0

        def cut(sent: int) -> None:
            if error is not None and sent >= error_after:
                raise error
            if "kill_after" in wrong and sent >= faults.number(wrong["kill_after"], 1):
                self._leave(TRAP_EXIT)
            if "drop_after" in wrong and sent >= faults.number(wrong["drop_after"], 1):
                raise Ended("UNAVAILABLE", "Socket closed")

        cut(0)
        for sent, message in enumerate(job.messages(every, response, also_running="heartbeats" in wrong), 1):
            if message.generatedImages:
                if "stall_chunk" in wrong and images >= faults.number(wrong["stall_chunk"], 1):
                    pause(generation.FOREVER, context.is_active)
                if "slow_transfer" in wrong:
                    pause(faults.number(wrong["slow_transfer"], 0.2), context.is_active)
                if "stall_inside" in wrong and images == int(faults.number(wrong["stall_inside"], 0)):
                    self._hold(context, message.ByteSize() // 2)
                images += 1
            yield faults.mark(message, wrong)
            cut(sent)

    def _hold(self, context: grpc.ServicerContext, after: int) -> None:
        """Let the caller get so many bytes more on this connection. Raises Ended where nothing is between that could see to it."""
        if self.relay is None:
            raise Ended("INTERNAL", "stall_inside needs --relay")
        self.relay.hold(int(context.peer().rpartition(":")[2]), after)

    def _trapped(self, reason: str, context: grpc.ServicerContext) -> None:
        self.traps.append(reason)
        event = json.dumps({"event": "trap", "reason": reason})
        print(event, file=sys.stderr, flush=True)
        if self.options.strict == "exit":
            print(event, flush=True)
            self._leave(TRAP_EXIT)
        if self.options.strict == "drop":
            _abort(context, Ended("UNAVAILABLE", "Socket closed"))
        _abort(context, Ended("INVALID_ARGUMENT", f"A real server would stop here: {reason}."))

    # For the control channel

    def state(self) -> dict[str, Any]:
        """Counts and the last jobs. calls: by method, connections: on which they came, both since the start or the last clear."""
        with self._lock:
            calls, connections = dict(self._calls), len(self._peers)
        return {
            "calls": calls,
            "connections": connections,
            **self.queue.counts(),
            "traps": len(self.traps),
            "trap_reasons": list(self.traps),
            "faults": self.faults.listing(),
            "history": [{"outcome": job.outcome, "stage": job.stage, **job.facts} for job in self.queue.history],
        }


def _abort(context: grpc.ServicerContext, error: Ended) -> None:
    code = getattr(grpc.StatusCode, error.code, grpc.StatusCode.UNKNOWN)
    context.abort(code, error.details)


def start(simulator: Simulator, address: str, port: int, certificate: Certificate | None) -> tuple[grpc.Server, int]:
    """A running server and its port. Raises OSError when the address cannot be bound."""
    server = grpc.server(
        futures.ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="call"),
        options=[
            ("grpc.max_receive_message_length", _MAXIMUM_MESSAGE),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # The real server takes no compressed requests and compresses nothing.
            ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
        ],
    )
    service.add_servicer(server, simulator.handlers())
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        if certificate is None:
            bound = server.add_insecure_port(where)
        else:
            pair = (certificate.key.encode("ascii"), certificate.leaf.encode("ascii"))
            bound = server.add_secure_port(where, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {where}: {error}") from error
    if bound == 0:
        raise OSError(f"cannot listen on {where}")
    server.start()
    return server, bound
