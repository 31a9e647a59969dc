"""What a node is doing, from the events of its calls: one line of words, and the time left from the pace of the steps. No I/O.

WORDS and AROUND are the one place of the English words; a translation says the same in as many keys with the same values.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .file_check import HASHING
from .response import SECOND_PASS, Event, RemoteDownload, Stage, Step, Transfer, Waiting
from .uploading import UploadProgress, UploadStage, size_words

WORDS: dict[str, str] = {
    "asking": "Asking the server",
    "waiting": "Encoding text, or in the server's queue",
    "queued": "Waiting in the server's queue",
    "queued_behind": "Waiting in the server's queue, {ahead} of this ComfyUI before it",
    "downloading": "The server downloads model {item} of {items}",
    "downloading_part": "The server downloads model {item} of {items}: {done} of {total}",
    "encoding": "Encoding images",
    "preparing": "Preparing to sample",
    "sampling": "Step {step} of {steps}",
    "sampling_uncounted": "Step {step}",
    "decoding": "Decoding",
    "second_preparing": "Second pass: preparing",
    "second_sampling": "Second pass, step {step} of {steps}",
    "second_sampling_uncounted": "Second pass, step {step}",
    "second_decoding": "Second pass: decoding",
    "restoring": "Restoring faces",
    "enlarging": "Enlarging",
    "packing": "Waiting for the result",
    "receiving": "Receiving {total}",
    "receiving_part": "Receiving {total}: {done} so far",
    "finishing": "Unpacking the result",
    "shared": "{done} of {runs} done",
    "writing": "Writing picture {number} of {total}",
    "hashing": HASHING,
    **{f"upload_{stage.name}": stage.words for stage in UploadStage},
}
"""Stage -> what is said, a template."""

AROUND: dict[str, str] = {"run": "{run} of {runs}: {doing}", "at_server": "{server}: {doing}"}
"""What is said around it: when a node sends several requests, and of each of several servers that work for a node."""

_PACED = 8
"""The steps whose mean duration is the pace."""


class Doing(NamedTuple):
    """stage: a key of WORDS; values: of its template. run: the request, from 1, of `runs`. left: seconds, None when not known.

    parts: what each of several servers does, by its name.
    """

    stage: str
    values: Mapping[str, str | int] = {}
    run: int = 1
    runs: int = 1
    left: float | None = None
    parts: tuple[tuple[str, Doing], ...] = ()

    @property
    def subject(self) -> tuple[object, ...]:
        """What is done, without how far it is."""
        parts = tuple((server, doing.subject) for server, doing in self.parts)
        return (self.stage, self.run, self.values.get("file"), self.values.get("item"), self.values.get("done") if parts else None, parts)

    @property
    def text(self) -> str:
        """In English, without the time left."""
        doing = WORDS[self.stage].format(**self.values)
        doing = "; ".join((doing, *(AROUND["at_server"].format(server=server, doing=part.text) for server, part in self.parts)))
        return AROUND["run"].format(run=self.run, runs=self.runs, doing=doing) if self.runs > 1 else doing

    @property
    def lines(self) -> list[str]:
        """The same on several lines: the node's, and one for each server."""
        whole = self._replace(parts=()).text
        return [whole, *(AROUND["at_server"].format(server=server, doing=part.text) for server, part in self.parts)]

    def told(self) -> dict[str, Any]:
        """As JSON for a page."""
        told = {**self._asdict(), "text": self.text}
        del told["parts"]
        return {**told, "parts": [{"server": server, **part.told()} for server, part in self.parts]} if self.parts else told


def of_upload(made: UploadProgress) -> Doing:
    return Doing(f"upload_{made.stage.name}", made.values())


class Follower:
    """The requests of one node, one after the other. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._runs = 1
        self._run = 0
        self._first_item = 1
        self._pace = _Pace(clock)
        self._second = False

    def begin(self, run: int, runs: int) -> Doing:
        """Request `run`, from 1, is made."""
        self._run, self._runs, self._second = run, runs, False
        self._pace.begin()
        return self._doing("asking")

    def event(self, event: Event) -> Doing | None:
        """What the node does from now on; None: nothing else than before."""
        if isinstance(event, Waiting):
            return self._waiting(event)
        if isinstance(event, RemoteDownload):
            return self._downloading(event)
        if isinstance(event, Stage):
            return self._after(event)
        if isinstance(event, Step):
            return self._step(event)
        if isinstance(event, Transfer):
            return self._transfer(event)
        return None

    def _doing(self, stage: str, left: float | None = None, **values: str | int) -> Doing:
        return Doing(stage, values, self._run, self._runs, left)

    def _waiting(self, event: Waiting) -> Doing:
        if event.ahead:
            return self._doing("queued_behind", ahead=event.ahead)
        return self._doing("queued" if event.queued else "waiting")

    def _downloading(self, event: RemoteDownload) -> Doing:
        if event.item <= 0:
            self._first_item = 0
        item = event.item - self._first_item + 1
        numbers = {"item": item, "items": max(item, event.items)}
        if event.expected <= 0:
            return self._doing("downloading", **numbers)
        return self._doing("downloading_part", **numbers, done=size_words(event.received), total=size_words(event.expected))

    def _after(self, event: Stage) -> Doing:
        """What follows a stage that was finished; server_semantics.md section 2."""
        to_come = event.announced
        if event.name == "text encoded":
            return self._doing("encoding" if "image encoded" in to_come else "preparing")
        if event.name == "second pass image encoded" or (event.name == "image decoded" and SECOND_PASS in to_come and not self._second):
            self._second = True
        elif event.name in ("image decoded", "second pass image decoded") and "face restored" in to_come:
            return self._doing("restoring")
        elif event.name in ("image decoded", "second pass image decoded", "face restored") and "image upscaled" in to_come:
            return self._doing("enlarging")
        elif event.name != "image encoded":
            return self._doing("packing")
        return self._doing("second_preparing" if self._second else "preparing")

    def _step(self, event: Step) -> Doing:
        self._second = event.second_pass
        self._pace.step(event)
        prefix = "second_" if event.second_pass else ""
        if event.total and event.step >= event.total:  # is said when the last one is done
            return self._doing(f"{prefix}decoding", self._pace.left(event, self._runs - self._run))
        left = self._pace.left(event, self._runs - self._run)
        if not event.total:
            return self._doing(f"{prefix}sampling_uncounted", step=event.step + 1)
        return self._doing(f"{prefix}sampling", left, step=event.step + 1, steps=event.total)

    def _transfer(self, event: Transfer) -> Doing:
        if not event.expected:
            return self._doing("receiving", total=size_words(event.received))
        if 0 < event.received < event.expected:
            return self._doing("receiving_part", done=size_words(event.received), total=size_words(event.expected))
        return self._doing("finishing" if event.received else "receiving", total=size_words(event.expected))


class SharedFollower:
    """The requests of one node, shared out among several servers: how many are done, and what each server does.

    order: names of the servers. left: seconds until all is done, by whoever shares them out. aside: how many are done without a server.
    """

    def __init__(self, order: Sequence[str], runs: int, left: Callable[[], float | None], aside: Callable[[], int] = lambda: 0):
        self._order = order
        self._runs = runs
        self._left = left
        self._aside = aside
        self._done = 0
        self._now: dict[str, tuple[Follower, Doing]] = {}

    def began(self, server: str) -> Doing:
        follower = Follower()
        self._now[server] = follower, follower.begin(1, 1)
        return self._doing()

    def event(self, server: str, event: Event) -> Doing | None:
        """As Follower.event."""
        follower, _ = self._now[server]
        doing = follower.event(event)
        if doing is None:
            return None
        self._now[server] = follower, doing
        return self._doing()

    def ended(self, server: str, done: bool) -> Doing:
        """done: False for one that was given back."""
        self._now.pop(server, None)
        self._done += done
        return self._doing()

    def _doing(self) -> Doing:
        parts = tuple((server, self._now[server][1]._replace(left=None)) for server in self._order if server in self._now)
        return Doing("shared", {"done": self._done + self._aside(), "runs": self._runs}, left=self._left(), parts=parts)


class _Pace:
    """Seconds a step, of each pass: those of the second are larger. The first step of a pass is not counted: a model is loaded in it."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._durations: dict[bool, deque[float]] = {False: deque(maxlen=_PACED), True: deque(maxlen=_PACED)}
        self._last: tuple[bool, int, float] | None = None
        self._totals = {False: 0, True: 0}

    def begin(self) -> None:
        """Another request, at the same pace as far as we know."""
        self._last = None

    def step(self, event: Step) -> None:
        now = self._clock()
        self._totals[event.second_pass] = event.total
        self._totals[not event.second_pass] = max(0, event.planned - event.total)
        if self._last is not None:
            second, step, then = self._last
            if second == event.second_pass and step > 0 and event.step > step:
                self._durations[second].append((now - then) / (event.step - step))
        self._last = (event.second_pass, event.step, now)

    def left(self, event: Step, runs: int) -> float | None:
        """Seconds for the steps that are left, and those of `runs` more requests. None while the pace of one is not known."""
        remaining = {event.second_pass: max(0, event.total - event.step)}
        remaining[not event.second_pass] = 0 if event.second_pass else self._totals[True]
        seconds = 0.0
        for second in (False, True):
            steps = remaining[second] + runs * self._totals[second]
            paces = self._durations[second]
            if steps and not paces:
                return None
            seconds += steps * sum(paces) / len(paces) if steps else 0.0
        return seconds
