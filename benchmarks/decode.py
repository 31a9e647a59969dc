"""What results cost on their way from messages to float32 pictures, against numpy and against fpzip itself in this process."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fpzip
import numpy as np
from child import Child, serve
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.album import Album
from comfyui_drawthings.drawthings_core.decoding import Pool
from comfyui_drawthings.drawthings_core.receiving import Received, Receiver
from comfyui_drawthings.drawthings_core.response import ResponseReader
from comfyui_drawthings.drawthings_core.simulator import prepared, results
from comfyui_drawthings.proto import messages
from measure import Row, compare, fresh
from other_client import OtherClient


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    size = 512 if quick else 1024
    budget = 0.5 if quick else 4.0
    raw, packed = (tensor.encode(prepared.picture(size, size, 3), compress=compress) for compress in (False, True))
    frame, frames = tensor.encode(prepared.picture(480, 832, 3), compress=True), 9 if quick else 81
    packed_file, frame_file = other.file("packed", packed), other.file("frame", frame)
    with Pool() as pool, _Two() as two:
        receive(arriving([packed] * 2 * pool.size), pool)
        answers = arriving([raw])
        yield compare(
            f"raw {size}x{size} response to float32",
            lambda: receive(answers, pool),
            lambda: np.frombuffer(raw, np.float16, offset=tensor.HEADER_SIZE).astype(np.float32) * np.float32(0.5) + np.float32(0.5),
            floor_is="fp16 to float32 in 0..1",
            most=1.3,
            other=other.work("decode", file=other.file("raw", raw)),
            budget=budget,
        )
        answer = arriving([packed])
        yield compare(
            f"compressed {size}x{size} response, warm pool",
            lambda: receive(answer, pool),
            lambda: alone(packed, 1),
            floor_is="fpzip.decompress",
            most=1.15,
            other=other.work("decode", file=packed_file),
            budget=budget,
            rounds=5 if quick else 20,
        )
        for what, data, file, count, rounds in (
            (f"8 compressed {size}x{size} images", packed, packed_file, 8, 18),
            (f"{frames} compressed frames 832x480", frame, frame_file, frames, 7),
        ):
            yield _several(what, data, file, count, pool, two, 3 if quick else rounds)


def _several(what: str, data: bytes, file: str, count: int, pool: Pool, two: _Two, rounds: int) -> Row:
    answers = arriving([data] * count)
    height, width = tensor.check(data).dims[1:3]
    return compare(
        what,
        fresh(lambda: _ready(count, height, width), lambda album: receive(answers, pool, album)),
        lambda: alone(data, count),
        floor_is="fpzip.decompress, one after the other",
        most=0.6,
        limit=lambda: two.decompress(file, count),
        limit_is="fpzip alone in two processes at once",
        fully=lambda: receive(answers, pool),
        fully_is="into memory new from the system",
        note=f"{pool.size} decoders",
        budget=0,
        rounds=rounds,
    )


def arriving(images: Sequence[bytes]) -> list[Any]:
    """A call's last answers, as gRPC hands them over."""
    return list(results.result_messages(images, [], chunked=True, scale=1))


def receive(answers: Sequence[Any], pool: Pool, album: Album | None = None) -> Album:
    """Their way through the client to pictures."""
    pictures = sum(answer.chunkState == messages.LAST_CHUNK for answer in answers if answer.generatedImages)
    reader, album = ResponseReader("benchmark", Received.checked), album or Album(pictures)
    receiver = Receiver(pool, album, lambda: None, lambda: None)
    for answer in answers:
        for event in reader.feed(answer):
            for _ in receiver.take(event):
                pass
    receiver.finish()
    return album


def _ready(count: int, height: int, width: int) -> Album:
    """An album whose memory the process already has, as the floor has: the C library gives fpzip the same memory again for each picture. What a
    system takes to give new memory differs by ten times, and is most where the machine is a virtual one; the note has it.
    """
    album = Album(count)
    for _ in range(count):
        album.place(height, width, alpha=False).rgb[:] = 0
    album.discard(0)
    return album


def alone(data: bytes, count: int) -> None:
    """What nobody can spare: the same tensor, `count` times."""
    for _ in range(count):
        fpzip.decompress(data[tensor.HEADER_SIZE :], order="C")


class _Two:
    """Two bare processes that share the work: no pool of two can be quicker on this machine."""

    def __enter__(self) -> _Two:
        self._children = [Child(sys.executable, "decode.py") for _ in range(2)]
        self._threads = ThreadPoolExecutor(2)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.close()
        self._threads.shutdown()

    def decompress(self, file: str, count: int) -> None:
        shares = (count // 2, count - count // 2)
        halves = [
            self._threads.submit(child.ask, "decompress", file=file, count=share)
            for child, share in zip(self._children, shares, strict=True)
        ]
        for half in halves:
            half.result()


def decompress(file: str, count: int) -> None:
    """In one of the two."""
    alone(Path(file).read_bytes(), count)


if __name__ == "__main__":
    serve(globals())
