#!/usr/bin/env python3
"""What decoding outside of the process costs and gains, against fpzip alone in the same run. Writes JSON and a Markdown table.

    python benchmarks/decode.py [--out FOLDER] [--rounds N]

Needs the package installed (pip install -e .) with fpzip.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fpzip
import numpy as np
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.decoding import Pool


def compressed_picture(height: int, width: int) -> bytes:
    """A result as a server sends it: smooth, with some grain; about a third of its raw size."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / 1024
    waves = np.stack([np.sin(9 * x + 3 * y), np.cos(7 * y), x * y], axis=-1)
    grain = np.random.default_rng(0).normal(0, 0.03, waves.shape)
    return tensor.encode((waves + grain).clip(-1, 1).astype(np.float16)[None], compress=True)


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, ours: Callable[[], Any], floor: Callable[[], Any], rounds: int, goal: float) -> dict[str, Any]:
    """Both in turns, so that a busy machine slows both; the ratio is the median of the rounds' ratios."""
    ours()
    pairs = [(seconds(ours), seconds(floor)) for _ in range(rounds)]
    ratio = statistics.median(mine / least for mine, least in pairs)
    mine, least = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"name": name, "ms": round(mine * 1000, 1), "floor_ms": round(least * 1000, 1), "ratio": round(ratio, 3), "goal": goal}


def measure(rounds: int, frames: int) -> list[dict[str, Any]]:
    image, frame = compressed_picture(1024, 1024), compressed_picture(480, 832)

    def alone(data: bytes, count: int) -> Callable[[], Any]:
        payload = data[tensor.HEADER_SIZE :]
        return lambda: [fpzip.decompress(payload, order="C") for _ in range(count)]

    def through(pool: Pool, data: bytes, count: int) -> Callable[[], Any]:
        _, height, width, _ = tensor.check(data).dims

        def work() -> None:
            result = np.empty((count, height, width, 3), np.float32)
            for future in [pool.submit_picture(data, place, None) for place in result]:
                future.result()

        return work

    with Pool() as pool:
        pool.warm(pool.size)
        through(pool, image, 2 * pool.size)()
        return [
            compare("one 1024x1024 image, to float32", through(pool, image, 1), alone(image, 1), rounds, 1.15),
            compare("8 images 1024x1024", through(pool, image, 8), alone(image, 8), max(3, rounds // 3), 0.6),
            compare(f"{frames} frames 832x480", through(pool, frame, frames), alone(frame, frames), 3, 0.6),
        ]


def starting() -> dict[str, Any]:
    """How long the first tensor waits when nothing was warmed."""

    def work() -> None:
        with Pool(1) as pool:
            pool.submit(small).result()

    small = compressed_picture(64, 64)
    return {
        "name": "first small tensor, cold start and end of a worker",
        "ms": round(statistics.median(map(seconds, [work] * 5)) * 1000, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | ms | fpzip alone, ms | ratio | goal |", "|---|---|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {' | '.join(str(row.get(key, '')) for key in ('name', 'ms', 'floor_ms', 'ratio', 'goal'))} |" for row in rows)]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for decode.json and decode.md")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=81)
    arguments = parser.parse_args()
    rows = [*measure(arguments.rounds, arguments.frames), starting()]
    print(table(rows))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        machine = {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        (arguments.out / "decode.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")
        (arguments.out / "decode.md").write_text(table(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
