"""UploadFile with its table of errors (protocol.md section 7). Never writes outside the models directory, never holds a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ...proto import messages
from .catalog import ModelsDirectory, sha256_of
from .jobs import Ended

PROCESSING_ERROR = "unknown error processing request"
"""What grpc-swift says for any error that is not a status of its own."""


def internal() -> Ended:
    """The status of an error inside a handler of the real server."""
    return Ended("INTERNAL", PROCESSING_ERROR)


class _Upload:
    """The state of one stream. A second init opens a new .part and keeps the byte counter, as upstream does."""

    def __init__(self, directory: ModelsDirectory, room: float):
        self._directory = directory
        self._room = room
        self._init: Any = None
        self._file: BinaryIO | None = None
        self._part: Path | None = None
        self.received = 0

    def open(self, init: Any) -> None:
        self.discard()
        self._init = init
        part = self._directory.inside(init.filename + ".part")
        if part is None or not init.filename or part.parent == part:
            raise internal()
        try:
            self._part, self._file = part, part.open("wb")
        except (OSError, ValueError) as error:
            raise internal() from error

    def write(self, chunk: Any) -> None:
        if self._file is None:
            raise internal()
        if chunk.offset != self.received:
            raise Ended("DATA_LOSS", f"chunk at offset {chunk.offset}, but {self.received} bytes have arrived")
        if self.received + len(chunk.content) > self._room:
            raise internal()
        self._file.write(chunk.content)
        self.received += len(chunk.content)

    def finish(self) -> None:
        if self._file is None or self._part is None:
            raise internal()
        self._file.close()
        if self.received != self._init.totalSize:
            raise Ended("INVALID_ARGUMENT", f"{self.received} bytes have arrived, but {self._init.totalSize} were announced")
        if sha256_of(self._part) != self._init.sha256:
            raise Ended("DATA_LOSS", "the SHA-256 of the file is not the announced one")
        self._part.replace(self._part.with_suffix(""))  # removes .part alone
        self._file = self._part = None

    def discard(self) -> None:
        """Close and delete an unfinished .part."""
        if self._file is not None:
            self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
        self._file = self._part = None


def receive(
    requests: Iterable[Any],
    directory: ModelsDirectory,
    secret_is_right: Callable[[Any], bool],
    answering: Callable[[int], None],
    room: float = math.inf,
    log: Callable[[dict[str, Any]], None] = lambda facts: None,
) -> Iterator[Any]:
    """Answer one upload stream; raises Ended for its errors.

    answering: told before each answer how many chunks have come. room: bytes that fit on the disk. log: told at the end what came.
    """
    upload = _Upload(directory, room)
    facts: dict[str, Any] = {"filename": None, "total": 0, "chunks": 0, "largest": 0, "received": 0, "kept": False}
    try:
        for request in requests:
            if not secret_is_right(request):
                raise internal()
            which = request.WhichOneof("request")
            if which is None:
                continue
            if which == "initRequest":
                upload.open(request.initRequest)
                received, name = 0, request.initRequest.filename
                facts |= {"filename": name, "total": request.initRequest.totalSize}
            else:
                upload.write(request.chunk)
                received, name = upload.received, request.chunk.filename
                size = len(request.chunk.content)
                facts |= {"chunks": facts["chunks"] + 1, "largest": max(facts["largest"], size), "received": received}
            answering(facts["chunks"])
            yield messages.UploadResponse(chunkUploadSuccess=True, receivedOffset=received, filename=name, message="ok")
        upload.finish()
        facts["kept"] = True
    finally:
        upload.discard()
        log(facts)
