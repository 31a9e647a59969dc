"""ImageGenerationResponse messages -> typed events. No I/O: feed it messages, in order, and tell it when the call ended.

Order and chunking: protocol.md section 6. What a newer server adds (unknown signposts, unknown fields) is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..proto import messages
from . import tensor
from .errors import CodecUnavailable, DecoderFailed, NoImage, TensorError

FLOATS = (tensor.DataType.FLOAT16, tensor.DataType.FLOAT32, tensor.DataType.FLOAT64, tensor.DataType.BFLOAT16)
"""Datatypes of results and previews: half everywhere, float32 from x86-64 Macs."""

_STAGES = {
    "textEncoded": "text encoded",
    "imageEncoded": "image encoded",
    "imageDecoded": "image decoded",
    "secondPassImageEncoded": "second pass image encoded",
    "secondPassImageDecoded": "second pass image decoded",
    "faceRestored": "face restored",
    "imageUpscaled": "image upscaled",
}
_STEPS = {"sampling": False, "secondPassSampling": True}


SECOND_PASS = "second pass sampled"
"""A stage that is announced and counted in steps, and never said to be finished."""


class Waiting(NamedTuple):
    """Nothing came back yet. queued: the call is known to wait its turn. ahead: how many of our own go first, as far as we know.

    A plain server does not say whose turn it is (protocol.md section 6.2); a proxy sends empty messages until it comes.
    """

    queued: bool
    ahead: int


class Stage(NamedTuple):
    """A stage was finished; `name` is one of the values of _STAGES. announced: those of the whole run, SECOND_PASS too."""

    name: str
    announced: frozenset[str] = frozenset()


class Step(NamedTuple):
    """`step` sampling steps are done of `total` (0 when the server announced none); counted anew in the second pass.

    done, planned: the same over both passes together.
    """

    step: int
    total: int
    second_pass: bool
    done: int
    planned: int


class Preview(NamedTuple):
    """A latent [N, h, w, C] of the picture so far; see `preview.rgb`. From a reader: what its `decode` gave."""

    latent: Any


class RemoteDownload(NamedTuple):
    """The server fetches a file before it can begin. item: protocol.md does not say whether it counts from 0 or from 1."""

    received: int
    expected: int
    item: int
    items: int


class Transfer(NamedTuple):
    """Bytes of the results that have arrived, of those announced (0: not announced)."""

    received: int
    expected: int


class Image(NamedTuple):
    """Result `number` (from 0) has arrived; `tensor`, float [1, H, W, 3 or 4], is what the reader's `decode` gave for it.

    scale_factor: the upscaler's.
    """

    number: int
    tensor: Any
    scale_factor: int


class Audio(NamedTuple):
    """Float [2, N], left and right, -1..1, as the reader's `decode` gave it; the rate comes from the model's family."""

    tensor: Any


class Done(NamedTuple):
    """The call ended well, with this many images."""

    images: int


Event = Waiting | Stage | Step | Preview | RemoteDownload | Transfer | Image | Audio | Done
Decode = Callable[..., Any]


_LARGEST = tensor.DEFAULT_LIMIT + tensor.HEADER_SIZE
_MOST_PROBLEMS = 20


class _Chunks:
    """Pieces of tensors -> whole tensors: MORE_CHUNKS appends, LAST_CHUNK completes (one buffer each for image and audio)."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> bool:
        return bool(self._pieces)

    def feed(self, entries: list[bytes], state: int) -> list[bytes]:
        """Raises TensorError, and forgets the pieces, when they come to more than any tensor has."""
        self._size += len(entries[0])
        if self._pieces and self._size > _LARGEST:
            self._clear()
            raise TensorError(f"Its parts come to more than {_LARGEST >> 20} MB.")
        if state == messages.MORE_CHUNKS:
            if entries[0]:
                self._pieces.append(entries[0])
            return []
        first = entries[0] if not self._pieces else b"".join((*self._pieces, entries[0]))
        self._clear()
        return [first, *entries[1:]]

    def _clear(self) -> None:
        self._pieces.clear()
        self._size = 0


class ResponseReader:
    """Turns one call's messages into events.

    decode: bytes -> array, or anything else with its `shape`, so that decoding can happen elsewhere and later, as it must for what
    comes from a network: the default decodes in this process, which a damaged fpzip stream may end. Damaged previews are dropped;
    a damaged result raises TensorError that says which image.
    problems: what was left out for being damaged, a sentence each: sound, which is not worth losing the pictures for.
    """

    def __init__(self, address: str, decode: Decode = tensor.decode):
        self._address = address
        self._decode = decode
        self._announced: frozenset[str] = frozenset()
        self._images = _Chunks()
        self._audio = _Chunks()
        self._totals: dict[bool, int] = {}
        self._expected = 0
        self._received = 0
        self.image_count = 0
        self.messages = 0
        self.quiet = True
        """Until the first message that is not empty."""
        self.problems: list[str] = []

    def feed(self, message: messages.ImageGenerationResponse) -> Iterator[Event]:
        """The events of one message. Raises TensorError."""
        self.messages += 1
        if self.quiet and not message.ByteSize():
            yield Waiting(queued=True, ahead=0)
            return
        self.quiet = False
        if message.HasField("remoteDownload"):
            got = message.remoteDownload
            yield RemoteDownload(got.bytesReceived, got.bytesExpected, got.item, got.itemsExpected)
        self._announcements(message.signposts)
        if message.HasField("downloadSize"):
            self._expected = max(0, message.downloadSize)
            yield Transfer(self._received, self._expected)
        if message.HasField("currentSignpost"):
            yield from self._signpost(message.currentSignpost)
        if message.HasField("previewImage") and message.previewImage:
            yield from self._preview(message.previewImage)
        if message.generatedImages:
            yield from self._results(message)
        if message.generatedAudio:
            yield from self._sound(message)

    @property
    def missing_bytes(self) -> int:
        """Bytes of images that were announced and did not come."""
        return max(0, self._expected - self._received)

    def finish(self) -> Done:
        """Call when the stream ended with status OK. Raises NoImage, or TensorError when the last image is incomplete."""
        if self._images.pending:
            raise TensorError(f"Image {self.image_count + 1} from {self._address} is incomplete: its last part never came; try again.")
        if self.image_count == 0:
            raise NoImage(self._address)
        if self._audio.pending:
            self._note(f"The sound from {self._address} is incomplete and was left out: its last part never came.")
        return Done(self.image_count)

    def _announcements(self, signposts: Iterable[messages.ImageGenerationSignpostProto]) -> None:
        """The same in all messages of a run."""
        announced = set()
        for signpost in signposts:
            kind = signpost.WhichOneof("signpost")
            if kind in _STEPS:
                self._totals[_STEPS[kind]] = max(0, getattr(signpost, kind).step)
            if kind in _STAGES:
                announced.add(_STAGES[kind])
            elif kind == "secondPassSampling":
                announced.add(SECOND_PASS)
        if announced:
            self._announced = frozenset(announced)

    def _signpost(self, signpost: messages.ImageGenerationSignpostProto) -> Iterator[Event]:
        kind = signpost.WhichOneof("signpost")
        if kind in _STEPS:
            second, step = _STEPS[kind], max(0, getattr(signpost, kind).step)
            before = self._totals.get(False, 0) if second else 0
            planned = max(sum(self._totals.values()), before + step)
            yield Step(step, self._totals.get(second, 0), second, before + step, planned)
        elif kind in _STAGES:
            yield Stage(_STAGES[kind], self._announced)

    def _preview(self, data: bytes) -> Iterator[Event]:
        try:
            latent = self._decode(data, datatypes=FLOATS)
        except CodecUnavailable:
            raise  # the result will be compressed, too, and is lost to whoever waits for it
        except TensorError:
            return  # a picture of the way is not worth losing the result for
        yield Preview(latent)

    def _results(self, message: messages.ImageGenerationResponse) -> Iterator[Event]:
        entries = list(message.generatedImages)  # each look at one copies it
        self._received += sum(map(len, entries))
        yield Transfer(self._received, self._expected)
        scale = message.scaleFactor if message.HasField("scaleFactor") else 1
        try:
            whole = self._images.feed(entries, message.chunkState)
        except TensorError as error:
            raise about(f"Image {self.image_count + 1}", error) from error
        for data in whole:
            index = self.image_count
            try:
                array = self._decode(data, datatypes=FLOATS)
            except TensorError as error:
                raise about(f"Image {index + 1}", error) from error
            self.image_count += 1
            yield Image(index, array, max(1, scale))

    def _sound(self, message: messages.ImageGenerationResponse) -> Iterator[Event]:
        try:
            whole = self._audio.feed(list(message.generatedAudio), message.chunkState)
        except TensorError as error:
            self._note(without_sound(error))
            return
        for data in whole:
            try:
                array = self._decode(data, datatypes=FLOATS)
            except TensorError as error:
                self._note(without_sound(error))
                continue
            if len(array.shape) != 2 or array.shape[0] not in (1, 2):
                self._note(f"The sound was left out: it came back as {list(array.shape)}, but sound is [2, samples].")
                continue
            yield Audio(array)

    def _note(self, problem: str) -> None:
        if problem not in self.problems and len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


def about(what: str, error: TensorError) -> TensorError:
    """The same error, saying which part of the result it is about: "Image 3", "The sound"."""
    if isinstance(error, CodecUnavailable):
        return error  # nothing is wrong with this part
    reason = str(error)[:1].lower() + str(error)[1:].rstrip(".")
    if isinstance(error, DecoderFailed):
        return type(error)(f"{what} cannot be decoded: {reason}.")
    return type(error)(
        f"{what} is damaged, since {reason}: run it again, and if it comes back, switch response compression off in Draw Things."
    )


def without_sound(error: TensorError) -> str:
    """What a user is told of a video whose sound cannot be read."""
    return f"The sound was left out. {about('It', error)}"
