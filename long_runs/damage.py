"""Damaged data, made from one number each: what takes them gives a result, or one of our errors, in little time and memory.

A topic has `Attempt`s by name: functions of a number that give what came of it in a word, or raise. Anything raised but a DrawThingsError
whose sentence a person can read is a failure, and so is taking longer, or more memory, than LIMITS.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

from ..drawthings_core.errors import DrawThingsError
from ..drawthings_core.nesting import deeper_than
from .page import Section

Attempt = Callable[[int], str]

LIMITS = {"seconds": 20.0, "MB": 1500.0}
"""What one input may take, of the small ones that are made here; those that are large on purpose take the most."""
STUCK_SECONDS = 120.0
"""Without an answer for so long a process is ended, and the number that it was at is a failure."""
CHUNK = 500
"""Numbers that one process tries."""
LONGEST_SENTENCE = 1500
"""Characters of an error that somebody would still read."""


# -- damage


class Dice(random.Random):
    """Of one input."""

    def often(self, share: float) -> bool:
        return self.random() < share


def damaged(data: bytes, dice: Dice) -> bytes:
    """One to four changes of bytes: flipped, overwritten, left out, doubled, moved, cut off, added."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        size = len(changed)
        at, length = dice.randrange(size + 1), min(dice.choice([1, 1, 2, 4, 8, 64, 1000]), max(1, size))
        kind = dice.randrange(8)
        if kind == 0 and size:
            changed[dice.randrange(size)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[at : at + length] = dice.randbytes(length)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            taken = changed[at : at + length]
            del changed[at : at + length]
            to = dice.randrange(len(changed) + 1)
            changed[to:to] = taken
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            changed += dice.randbytes(length)
        else:
            at = at // 4 * 4
            changed[at : at + 4] = dice.choice(NUMBERS).to_bytes(4, "little")
    return bytes(changed)


NUMBERS = (0, 1, 2, 3, 4, 0x7F, 0xFF, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x20000, 0x80000, 0x217, 0xF7217)


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


# fmt: off
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 63, 64, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**400, 10**4000),
    *(0.5, -0.0, 1e-320, 1e308, math.nan, math.inf, -math.inf),
    *("", " ", "0", "-1", "a", "none", "null", "\0", "\n", "日本 🏰", "\ud800", "a\udfffb", "x" * 5000, "{" * 3000, "/*" * 3000, "<a>" * 1000),
    *("../../x", "/dev/zero", "C:\\x", "%width%", "9" * 5000, "1e999", "1x1", "999999999x999999999"),
    *([], {}, [[]], [None], [0] * 2000, [{}], {"": None}, {"a": {"b": {}}}, ["a", 0], ["1", 0], {"__value__": [1, 2]}, deep(30), deep(250)),
)
# fmt: on
"""Values that JSON can have, and few expect."""


def damaged_json(value: Any, dice: Dice) -> Any:
    """A copy with one to five changes: a value replaced by a strange one or by one from elsewhere, a key left out or added."""
    root = [_copied(value)]
    for _ in range(dice.choice([1, 1, 2, 3, 5])):
        if deeper_than(400, root):  # more could not be written as JSON
            break
        places = list(_places(root))
        whole, key = dice.choice(places)
        kind = dice.randrange(6)
        if kind <= 1:
            whole[key] = _copied(dice.choice(STRANGE))
        elif kind == 2 and whole is not root:
            del whole[key]
        elif kind == 3:
            other, where = dice.choice(places)
            whole[key] = _copied(other[where])
        elif kind == 4 and isinstance(whole, dict):
            whole[dice.choice(["", "x", "\ud800", "file", "id", str(key) * 2])] = _copied(dice.choice(STRANGE))
        elif isinstance(whole[key], int) or (isinstance(whole[key], float) and math.isfinite(whole[key])):
            whole[key] = dice.choice([-whole[key], whole[key] * 2**20, whole[key] + 1, str(whole[key])])
        elif isinstance(whole[key], str):
            text = whole[key][:5000]
            whole[key] = damaged(text.encode("utf-8", "surrogatepass"), dice).decode("utf-8", dice.choice(["replace", "ignore"]))
        else:
            whole[key] = [whole[key]] * dice.choice([1, 2, 50])
    return root[0]


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(root: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Every (list or object, index or key) in it."""
    rest: list[Any] = [root]
    while rest:
        whole = rest.pop()
        for key in range(len(whole)) if isinstance(whole, list) else list(whole):
            yield whole, key
            if isinstance(whole[key], (list, dict)):
                rest.append(whole[key])


# -- trying


@dataclass
class Tally:
    """outcomes: by the word for them, those of our errors by their class. seconds, megabytes: the most that one input took."""

    tried: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.tried += other.tried
        self.outcomes += other.outcomes
        self.seconds = max(self.seconds, other.seconds)
        self.megabytes = max(self.megabytes, other.megabytes)
        self.failures += other.failures

    @property
    def errors(self) -> int:
        """Those that ended in a sentence of ours."""
        return sum(number for name, number in self.outcomes.items() if name[:1].isupper())


def attempt(function: Attempt, what: str, number: int) -> Tally:
    """Try one input."""
    tally = Tally(1)
    before = _begin_memory()
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, of arithmetic that nobody thought of
            outcome = function(number)
    except DrawThingsError as error:
        outcome = type(error).__name__
        tally.failures += [f"{what}, number {number}: {problem}: {str(error)[:200]!r}" for problem in _no_sentence(str(error))]
    except Exception as error:
        outcome = "failed"
        tally.failures.append(f"{what}, number {number}: {type(error).__name__}: {str(error)[:200]} ({_where(error)})")
    tally.outcomes[outcome] += 1
    tally.seconds = time.perf_counter() - started
    tally.megabytes = max(0.0, _most_memory() - before)
    for unit, taken in (("seconds", tally.seconds), ("MB", tally.megabytes)):
        if taken > LIMITS[unit]:
            tally.failures.append(f"{what}, number {number}: took {taken:.0f} {unit} and became {outcome}")
    return tally


def try_all(attempts: Mapping[str, Attempt], numbers: Iterable[int]) -> Tally:
    """In this process, every kind in turn; a number is always of the same kind."""
    kinds = list(attempts)
    total = Tally()
    for number in numbers:
        kind = kinds[number % len(kinds)]
        total.add(attempt(attempts[kind], kind, number))
    return total


def _no_sentence(text: str) -> Iterator[str]:
    if not text.endswith((".", "?")):
        yield "no sentence"
    if len(text) > LONGEST_SENTENCE:
        yield f"a sentence of {len(text)} characters"


def _where(error: BaseException) -> str:
    """The last line of ours that it came through."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}long_runs{os.sep}" not in frame.filename]
    frames = [frame for frame in ours if "site-packages" not in frame.filename] or ours
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "here"


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _begin_memory() -> float:
    """Resident MB now; from here on the peak is counted. Infinite where a peak cannot be forgotten."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return math.inf
    return _memory("VmRSS:")


def _most_memory() -> float:
    return _memory("VmHWM:")


def _memory(name: str) -> float:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1e3
    return 0.0


# -- for long


def run(module: str, title: str, what: str, count: int, seed: int) -> Section:
    """Numbers from `seed` on, by processes of their own: one that crashes or hangs is a failure of the number that it was at.

    module: of the topic, which has ATTEMPTS.
    """
    total = Tally()
    rest = [range(first, min(first + CHUNK, seed + count)) for first in range(seed, seed + count, CHUNK)]
    running: dict[Future[tuple[Tally, range]], None] = {}
    while rest or running:
        while rest and len(running) < max(1, os.cpu_count() or 1):
            running[_in_thread(module, rest.pop(0))] = None
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            del running[done]
            tally, left = done.result()
            total.add(tally)
            if left:
                rest.insert(0, left)
        print(f"{total.tried:,} tried, {len(total.failures)} failures", flush=True)
    outcomes = ", ".join(f"{name} {number:,}" for name, number in total.outcomes.most_common())
    row = [
        total.tried,
        total.tried - total.errors,
        total.errors,
        f"{total.seconds:.1f} s",
        f"{total.megabytes:.0f} MB",
        len(total.failures),
    ]
    head = ["tried", "results", "errors of ours", "slowest", "most memory", "failures"]
    return Section(title, what, head, [row], [f"Outcomes: {outcomes}."], total.failures)


def _in_thread(module: str, numbers: range) -> Future[tuple[Tally, range]]:
    future: Future[tuple[Tally, range]] = Future()

    def body() -> None:
        try:
            future.set_result(_watched(module, numbers))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=body, daemon=True).start()
    return future


def _watched(module: str, numbers: range) -> tuple[Tally, range]:
    """What a process found, and the numbers that it did not come to."""
    total = Tally()
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_work, args=(there, module, numbers), daemon=True)
    process.start()
    there.close()
    number = numbers.start
    try:
        while number < numbers.stop:
            if not here.poll(STUCK_SECONDS):
                total.failures.append(f"{module}, number {number}: no end within {STUCK_SECONDS:.0f} s")
                break
            total.add(here.recv())
            number += 1
        else:
            return total, numbers[len(numbers) :]
    except EOFError:
        process.join(5)
        total.failures.append(f"{module}, number {number}: ended its process ({process.exitcode})")
    finally:
        if number < numbers.stop:
            process.kill()
        process.join(30)
        here.close()
    total.tried += 1
    return total, range(number + 1, numbers.stop)


def _work(pipe: Any, module: str, numbers: range) -> None:
    import importlib

    attempts = importlib.import_module(module).ATTEMPTS
    for number in numbers:
        pipe.send(try_all(attempts, [number]))
