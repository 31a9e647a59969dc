"""One call's answers on their way to pixels: read ahead in a thread, decoded in other processes while later ones arrive."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

import numpy as np

from . import tensor
from .album import Album
from .decoding import NotFinite, Pool
from .errors import BadResult, NonFiniteImage, TensorError
from .images import check_result, write_picture
from .response import Audio, Event, Image, Preview, about, without_sound
from .upscaling import FACTORS

_POLL_SECONDS = 0.05
_READ_AHEAD = 2
"""Answers with results that wait for their reader; the next ones stay in gRPC's window, and then on the server."""

_PROGRESS_AHEAD = 1000
"""All answers that wait. Those that only report are small, and are read at once: the newest preview is not to wait behind others."""

_FORGOTTEN_SECONDS = 1.0
"""How long a call that has failed may leave its reader without its end. Where a server is gone before it accepted a call, and the repetitions
find nobody, gRPC (1.85) leaves it so for good, until its channel is closed.
"""


class Received(NamedTuple):
    """A tensor that is checked but not decoded. What the reader's `decode` gives here."""

    header: tensor.Header
    data: bytes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.dims

    @property
    def dtype(self) -> np.dtype:
        """As decoded."""
        return np.dtype(np.float32) if self.header.datatype == tensor.DataType.BFLOAT16 else self.header.dtype

    @property
    def compressed(self) -> bool:
        """Whether it must not be decoded in this process."""
        return self.header.codec == tensor.Codec.FPZIP

    @classmethod
    def checked(cls, data: bytes, *, datatypes: tuple[tensor.DataType, ...]) -> Received:
        """Raises TensorError, as tensor.decode."""
        return cls(tensor.check(data, datatypes=datatypes), data)


class Inbox:
    """The answers of a call, read by a thread, for one thread that also has to hear of other things.

    Iterating gives answers, and None after each `wake`; it ends as the call does, with its error. Of the answers that wait, only the
    last with a preview keeps it: a slow listener sees the newest, never one after the other.

    heard: called in the reading thread with each answer, with whether it brings results or announces them; waiting for the listener is no
    silence.
    failed: the error that the call has ended with, None while it goes on.
    """

    def __init__(
        self,
        call: Iterable[Any],
        heard: Callable[[bool], Any] = lambda result: None,
        failed: Callable[[], BaseException | None] = lambda: None,
    ):
        self._call = call
        self._heard = heard
        self._failed = failed
        self._forgotten = False
        self._changed = threading.Condition()
        self._answers: deque[Any] = deque()
        self._results = 0  # of them
        self._previewing: Any = None  # of them
        self._woken = False
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="drawthings-receive", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while True:
            with self._changed:
                self._wait()
                if self._woken:
                    self._woken, answer = False, None
                elif self._answers:
                    answer = self._take()
                    self._changed.notify_all()
                elif self._error is not None:
                    raise self._error
                else:
                    return
            yield answer

    def wake(self) -> None:
        """Have the iterating thread see a None soon. From any thread."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for the thread; the call must have ended or been cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if not self._forgotten:
            self._thread.join(5)

    def _wait(self) -> None:
        """Until there is something to give. Raises the error of a call that has ended while its reader still waits."""
        error = None
        while not self._changed.wait_for(lambda: self._answers or self._woken or self._ended, _FORGOTTEN_SECONDS):
            before, error = error, self._failed()
            if before is not None and error is not None:
                self._forgotten = True
                raise error

    def _take(self) -> Any:
        answer = self._answers.popleft()
        self._results -= _brings_results(answer)
        if self._previewing is answer:
            self._previewing = None
        return answer

    def _add(self, answer: Any) -> None:
        self._answers.append(answer)
        self._results += _brings_results(answer)
        if answer.previewImage:
            if self._previewing is not None:
                self._previewing.ClearField("previewImage")
            self._previewing = answer

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for answer in self._call:
                results = _brings_results(answer) or answer.HasField("downloadSize")  # which follow that at once
                self._heard(results)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or (self._results < _READ_AHEAD and len(self._answers) < _PROGRESS_AHEAD))
                    if self._closed:
                        return
                    self._add(answer)
                    self._changed.notify_all()
                self._heard(results)
        except BaseException as caught:
            error = caught
        finally:
            with self._changed:
                self._ended, self._error = True, error
                self._changed.notify_all()


def _brings_results(answer: Any) -> bool:
    return bool(answer.generatedImages or answer.generatedAudio)


class Receiver:
    """Brings the tensors of one call's events where they belong. Used by one thread.

    album: gets the pictures. check: raises when the user wants to stop. wake: called, in any thread, when `previews` has one.
    canvas: (width, height) that was asked for; pictures must not be larger than an upscaler makes of it. previews: False leaves them
    all out, undecoded.
    """

    def __init__(
        self,
        pool: Pool,
        album: Album,
        check: Callable[[], None],
        wake: Callable[[], None],
        *,
        canvas: tuple[int, int] | None = None,
        previews: bool = True,
    ):
        self._pool = pool
        self._canvas = canvas
        self._shows_previews = previews
        self._album = album
        self._check = check
        self._wake = wake
        self._pictures: deque[tuple[int, Future[None]]] = deque()
        self._sound: Future[np.ndarray] | np.ndarray | None = None
        self._preview: Future[np.ndarray] | None = None
        self._next_preview: Received | None = None
        self.compressed: bool | None = None
        """Whether the server compresses; None before the first picture or compressed preview: noisy ones come as they are."""
        self.problems: list[str] = []
        """What was left out for being damaged, a sentence each."""

    def take(self, event: Event) -> Iterator[Event]:
        """What the listener is told of a reader's event. Raises TensorError and NonFiniteImage, for earlier pictures too."""
        if isinstance(event, Preview):
            yield from self._take_preview(event.latent)
            return
        if isinstance(event, Image):
            self._take_picture(event.number, event.tensor)
        elif isinstance(event, Audio):
            self._take_sound(event.tensor)
        yield event

    def previews(self) -> Iterator[Preview]:
        """The preview that was decoded since, if any; begins with the one that waited for that."""
        if self._preview is not None and self._preview.done():
            finished, self._preview = self._preview, None
            if not finished.cancelled() and finished.exception() is None:
                yield Preview(finished.result())
        if self._preview is None and self._next_preview is not None:
            received, self._next_preview = self._next_preview, None
            try:
                self._preview = self._pool.submit(received.data, header=received.header, preview=True)
            except TensorError:
                return  # a picture of the way is not worth losing the result for
            wake = self._wake  # through `self` the album would be in a cycle, and a clip's memory wait for the garbage collector
            self._preview.add_done_callback(lambda _: wake())

    def finish(self) -> np.ndarray | None:
        """Wait until everything is decoded; the sound, float32 [2, N], unless it is damaged. Raises as `take`, for pictures."""
        self._settle(0)
        sound = self._sound
        if isinstance(sound, Future):
            try:
                sound = self._result(sound)
            except TensorError as error:
                self.problems.append(without_sound(error))
                return None
        if sound is None:
            return None
        with np.errstate(over="ignore"):
            sound = sound.astype(np.float32, copy=False)
        if not np.isfinite(sound).all():
            self.problems.append("The sound was left out: it holds values that are not numbers (NaN or infinity).")
            return None
        return sound

    def abandon(self) -> None:
        """What is not decoded yet is not wanted any more."""
        unwanted = [self._preview, self._sound, *(future for _, future in self._pictures)]
        for future in unwanted:
            if isinstance(future, Future):
                future.cancel()

    def _take_preview(self, received: Received) -> Iterator[Preview]:
        self.compressed = received.compressed or self.compressed
        if not self._shows_previews:
            return
        if not received.compressed:
            self._preview = self._next_preview = None  # older ones, which come too late now
            with contextlib.suppress(TensorError):  # as in `previews`
                yield Preview(tensor.decode(received.data))
            return
        self._next_preview = received  # in the place of one that is still waiting
        if self._preview is not None and self._preview.cancel():
            self._preview = None
        yield from self.previews()

    def _take_picture(self, number: int, received: Received) -> None:
        check_result(received.shape, received.dtype, number)
        # Compressed results must not pile up here while the decoders are behind
        self._settle(self._pool.size)
        _, height, width, channels = received.shape
        self._check_size(number, width, height)
        place = self._album.place(height, width, alpha=channels == 4)
        try:
            if received.compressed:
                self._pictures.append((number, self._pool.submit_picture(received.data, *place, header=received.header)))
            else:
                write_picture(tensor.decode(received.data), place, number)
        except TensorError as error:
            raise about(f"Image {number + 1}", error) from error
        if received.header.datatype != tensor.DataType.BFLOAT16:  # which fpzip cannot hold
            self.compressed = bool(self.compressed) or received.compressed

    def _check_size(self, number: int, width: int, height: int) -> None:
        """A few bytes can be said to hold a gigabyte of one colour: memory is taken for what was asked for only."""
        if self._canvas is not None and width * height > self._canvas[0] * self._canvas[1] * max(FACTORS) ** 2:
            asked = "x".join(map(str, self._canvas))
            raise BadResult(
                f"Image {number + 1} came back as {width}x{height}, more than any upscaler makes of the {asked} that were asked for: "
                f"update the server, or report it."
            )

    def _take_sound(self, received: Received) -> None:
        try:
            self._sound = self._pool.submit(received.data, header=received.header) if received.compressed else tensor.decode(received.data)
        except TensorError as error:
            self.problems.append(without_sound(error))

    def _settle(self, leave: int) -> None:
        """Wait for pictures, in order, until `leave` are left, and learn what became of those that are done."""
        while self._pictures and (len(self._pictures) > leave or self._pictures[0][1].done()):
            number, future = self._pictures[0]
            try:
                self._result(future)
            except NotFinite as error:
                raise NonFiniteImage(number) from error
            except TensorError as error:
                raise about(f"Image {number + 1}", error) from error
            self._pictures.popleft()

    def _result(self, future: Future[Any]) -> Any:
        while not wait((future,), _POLL_SECONDS).done:
            self._check()
        return future.result()
