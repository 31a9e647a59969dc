"""What results cost on their way from messages to float32 pictures, against numpy and against fpzip itself in this process."""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
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
from measure import Row, Work, compare
from other_client import OtherClient

SERIAL = "fpzip.decompress, one after the other"


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    size = 512 if quick else 1024
    budget = 0.5 if quick else 4.0
    raw, packed = (tensor.encode(prepared.picture(size, size, 3), compress=compress) for compress in (False, True))
    frame, frames = tensor.encode(prepared.picture(480, 832, 3), compress=True), 9 if quick else 81
    with Pool() as pool:
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
        one = other.work("decode", file=other.file("packed", packed))
        yield _packed(f"compressed {size}x{size} response, warm pool", [packed], pool, 1.15, one, budget)
        yield _packed(f"8 compressed {size}x{size} images", [packed] * 8, pool, 0.6, None, 3 * budget)
        yield _packed(f"{frames} compressed frames 832x480", [frame] * frames, pool, 0.6, None, 3 * budget)
    yield _two_processes(other.file("packed", packed), size, _alone([packed] * 8), budget)


def arriving(images: Sequence[bytes]) -> list[Any]:
    """A call's last answers, as gRPC hands them over."""
    return list(results.result_messages(images, [], chunked=True, scale=1))


def receive(answers: Sequence[Any], pool: Pool) -> Album:
    """Their way through the client to pictures."""
    pictures = sum(answer.chunkState == messages.LAST_CHUNK for answer in answers if answer.generatedImages)
    reader, album = ResponseReader("benchmark", Received.checked), Album(pictures)
    receiver = Receiver(pool, album, lambda: None, lambda: None)
    for answer in answers:
        for event in reader.feed(answer):
            for _ in receiver.take(event):
                pass
    receiver.finish()
    return album


def _packed(what: str, images: Sequence[bytes], pool: Pool, most: float, other: Work | None, budget: float) -> Row:
    answers = arriving(images)
    alone = SERIAL if len(images) > 1 else "fpzip.decompress"
    note = f"{pool.size} decoders"
    return compare(what, lambda: receive(answers, pool), _alone(images), floor_is=alone, most=most, other=other, note=note, budget=budget)


def _alone(images: Sequence[bytes]) -> Callable[[], Any]:
    payloads = [data[tensor.HEADER_SIZE :] for data in images]

    def work() -> None:
        for payload in payloads:
            fpzip.decompress(payload, order="C")

    return work


def _two_processes(file: str, size: int, floor: Work, budget: float) -> Row:
    """What the machine itself gives to two processes at once: no pool of two can be better."""
    with Child(sys.executable, "decode.py") as first, Child(sys.executable, "decode.py") as second, ThreadPoolExecutor(2) as threads:

        def both() -> None:
            for half in [threads.submit(child.ask, "decompress", file=file, count=4) for child in (first, second)]:
                half.result()

        what = f"the same 8 {size}x{size} in two bare processes: this machine's own limit"
        return compare(what, both, floor, floor_is=SERIAL, budget=budget)


def decompress(file: str, count: int) -> None:
    """In one of the two processes."""
    _alone([Path(file).read_bytes()] * count)()


if __name__ == "__main__":
    serve(globals())
