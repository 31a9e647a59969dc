"""Answers of a server to one generation, message for message: left out, repeated, in another order, damaged, or of another call."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Sequence
from concurrent import futures

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from ..drawthings_core import decoding, tensor
from ..drawthings_core.album import Album
from ..drawthings_core.client import Cancellation, client_for
from ..drawthings_core.configuration import Sampler
from ..drawthings_core.job import Job
from ..drawthings_core.receiving import Received, Receiver
from ..drawthings_core.response import Preview, ResponseReader
from ..drawthings_core.servers import Server
from ..drawthings_core.tls import TLSMode
from ..nodes.generation import Generated, generate, preview_picture
from ..nodes.video import Clip
from ..proto import messages
from ..proto.service import METHODS, SERVICE_NAME
from . import damage, tensors
from .damage import NUMBERS, Dice, damaged
from .page import Section

COUNT = 50_000
SIZE = 64
VERSIONS = ("v1", "flux1", "wan_v2.1_14b", "hidream_o1", "ltx2.3", "wurstchen_v3.0_stage_c", None)
"""Whose previews are shown: small latents, large ones, patches of pixels, none."""

Answer = messages.ImageGenerationResponse
Signpost = messages.ImageGenerationSignpostProto


def sample(dice: Dice) -> list[Answer]:
    """A whole run that is right: progress with previews, pictures, in one piece or several, perhaps sound."""
    steps = dice.choice([1, 2, 5])
    announced = [Signpost(textEncoded={}), Signpost(sampling={"step": steps}), Signpost(imageDecoded={})]
    answers = [Answer() for _ in range(dice.choice([0, 0, 1, 3]))]
    if dice.often(0.2):
        answers.append(Answer(remoteDownload={"bytesReceived": 5, "bytesExpected": 10, "item": 1, "itemsExpected": 2}))
    answers.append(Answer(signposts=announced, currentSignpost=announced[0]))
    for step in range(1, steps + 1):
        answers.append(Answer(signposts=announced, currentSignpost=Signpost(sampling={"step": step})))
        if dice.often(0.5):
            answers[-1].previewImage = _preview(dice)
    answers.append(Answer(signposts=announced, currentSignpost=announced[2]))
    pictures = [_picture(dice) for _ in range(dice.choice([1, 1, 2, 4]))]
    if dice.often(0.7):
        answers.append(Answer(downloadSize=sum(map(len, pictures))))
    if dice.often(0.3):
        sound = tensor.encode(np.random.default_rng(0).standard_normal((2, 300)).astype(np.float16), compress=_compresses(dice))
        answers += _sent([sound], _with_sound, dice)
    answers += _sent(pictures, _with_pictures, dice)
    return answers


def _compresses(dice: Dice) -> bool:
    return dice.often(0.4) and tensor.fpzip_available()


def _picture(dice: Dice) -> bytes:
    values = np.random.default_rng(dice.randrange(2**32)).uniform(-1, 1, (1, SIZE, SIZE, dice.choice([3, 3, 3, 4])))
    return tensor.encode(values.astype(dice.choice([np.float16, np.float32])), compress=_compresses(dice))


def _preview(dice: Dice) -> bytes:
    shape = (dice.choice([1, 1, 2, 21]), dice.choice([1, 8, 16, 600]), dice.choice([1, 8, 16, 600]), dice.choice([3, 4, 16, 48, 128, 3072]))
    while np.prod(shape) > 200_000:
        shape = (1, min(shape[1], 16), *shape[2:])
        shape = (*shape[:2], min(shape[2], 600), min(shape[3], 16))
    values = np.random.default_rng(dice.randrange(2**32)).standard_normal(shape)
    return tensor.encode(values.astype(dice.choice([np.float16, np.float32])), compress=_compresses(dice))


def _with_pictures(payloads: Sequence[bytes]) -> Answer:
    return Answer(generatedImages=payloads, scaleFactor=1)


def _with_sound(payloads: Sequence[bytes]) -> Answer:
    return Answer(generatedAudio=payloads)


def _sent(payloads: Sequence[bytes], answer: Callable[[Sequence[bytes]], Answer], dice: Dice) -> list[Answer]:
    """As a server sends them: all at once, or one by one in pieces."""
    if dice.often(0.4):
        return [answer(payloads)]
    answers = []
    for payload in payloads:
        size = max(1, len(payload) // dice.choice([1, 2, 5]))
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
        for number, piece in enumerate(pieces):
            answers.append(answer([piece]))
            answers[-1].chunkState = messages.LAST_CHUNK if number == len(pieces) - 1 else messages.MORE_CHUNKS
    return answers


def wrong(answers: list[Answer], dice: Dice) -> list[bytes]:
    """The same as bytes, with one to four changes; a few stay right."""
    stream = [answer.SerializeToString() for answer in answers]
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        if not stream:
            break
        at, to = dice.randrange(len(stream)), dice.randrange(len(stream))
        kind = dice.randrange(8)
        if kind == 0:
            del stream[at]
        elif kind == 1:
            stream.insert(to, stream[at])
        elif kind == 2:
            stream[at], stream[to] = stream[to], stream[at]
        elif kind == 3:
            dice.shuffle(stream)
        elif kind == 4:
            del stream[at:]
        elif kind == 5:
            stream[at] = damaged(stream[at], dice)
        elif kind == 6:
            other = sample(dice)
            stream[at:at] = [answer.SerializeToString() for answer in dice.sample(other, min(len(other), 3))]
        else:
            stream[at] = _changed(stream[at], dice)
    return stream


def _changed(data: bytes, dice: Dice) -> bytes:
    """A message with one field that means something else."""
    try:
        answer = Answer.FromString(data)
    except DecodeError:
        return data
    number = dice.choice([*NUMBERS, 2**31 - 1, 2**63 - 1])
    number = number if dice.often(0.7) else -number
    small = (number + 2**31) % 2**32 - 2**31
    kind = dice.randrange(9)
    if kind == 0:
        answer.chunkState = small  # type: ignore[assignment]  one that no enumeration has
    elif kind == 1:
        answer.downloadSize = number
    elif kind == 2:
        answer.scaleFactor = small
    elif kind == 3:
        answer.currentSignpost.CopyFrom(Signpost(**{dice.choice(["sampling", "secondPassSampling"]): {"step": small}}))
    elif kind == 4:
        answer.signposts.add(**{dice.choice(["sampling", "secondPassSampling"]): {"step": small}})
    elif kind == 5:
        answer.previewImage = tensors.wrong(tensors.sample(dice), dice)
    elif kind == 6:
        answer.generatedAudio.append(tensors.wrong(tensors.sample(dice), dice))
    elif kind == 7:
        answer.remoteDownload.bytesReceived = number
        answer.remoteDownload.item = small
    else:
        images = list(answer.generatedImages) or [_picture(dice)]
        where = dice.randrange(len(images))
        images[where] = tensors.wrong(images[where] if dice.often(0.7) else tensors.sample(dice), dice)
        answer.generatedImages[:] = images
    return answer.SerializeToString() + dice.choice([b"", b"", b"\xf8\x3f\x05", b"\xfa\x3f\x03abc"])  # a field of a newer server


def without_network(number: int) -> str:
    """Reader, receiver and album, message for message."""
    dice = Dice(number)
    version = dice.choice(VERSIONS)
    answers = []
    for data in wrong(sample(dice), dice):
        try:
            answers.append(Answer.FromString(data))
        except DecodeError:
            break  # gRPC would end the call here
    album = Album(dice.choice([1, 2, 4, 10_000]))
    reader = ResponseReader("127.0.0.1:1", Received.checked)
    receiver = Receiver(decoding.shared(), album, lambda: None, lambda: None)
    try:
        for answer in answers:
            for event in reader.feed(answer):
                for told in receiver.take(event):
                    if isinstance(told, Preview):
                        preview_picture(told.latent, version)
            for event in receiver.previews():
                preview_picture(event.latent, version)
        reader.finish()
        sound = receiver.finish()
    finally:
        receiver.abandon()
    for picture in album.pictures:
        if not (picture.rgb.min() >= 0 and picture.rgb.max() <= 1):
            raise AssertionError("pixels outside of 0..1 came out")
    if sound is not None and not np.isfinite(sound).all():
        raise AssertionError("sound came out that is not finite")
    return "pictures" if sound is None else "pictures and sound"


def by_a_node(number: int) -> str:
    """The same over a socket, by the code of Generate, to the tensors that it gives."""
    dice = Dice(number)
    own = answering()
    own.stream = wrong(sample(dice), dice)
    settings = {"start_width": 128, "start_height": 128, "steps": 2, "sampler": Sampler.euler_a, "seed": number, "batch_size": 2}
    job = Job("some_model_f16.ckpt", "a lighthouse", settings=settings)
    made = generate(own.server, job, None, Cancellation(), dice.choice([Generated, Clip]))
    pictures, masks, info = made.images(), made.masks(), made.info()
    if len(pictures) != len(masks) or not info or not bool((pictures >= 0).all()) or not bool((pictures <= 1).all()):
        raise AssertionError("not pictures as ComfyUI has them")
    return "pictures"


class Answering:
    """A server that answers every generation with the stream that it was given."""

    def __init__(self) -> None:
        self.stream: list[bytes] = []
        self._grpc = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", -1)])
        echo = messages.EchoReply(message="HELLO", serverIdentifier=1).SerializeToString()
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(lambda request, context: echo),
            "FilesExist": grpc.unary_unary_rpc_method_handler(self._files),
            "GenerateImage": grpc.unary_stream_rpc_method_handler(lambda request, context: iter(self.stream)),
        }
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
        port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._grpc.start()
        self.server = Server("127.0.0.1", port, TLSMode.plain)
        atexit.register(self._end)

    def _end(self) -> None:
        client_for(self.server).close()  # first: gRPC would write to stderr about a server that goes away
        self._grpc.stop(None).wait()

    @staticmethod
    def _files(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = METHODS["FilesExist"].request.FromString(request).files
        return METHODS["FilesExist"].response(files=asked, existences=[True] * len(asked)).SerializeToString()


@functools.cache
def answering() -> Answering:
    """The one of this process."""
    return Answering()


ATTEMPTS: dict[str, damage.Attempt] = {"stream": without_network, "stream to a node": by_a_node}


def run(count: int, seed: int) -> Section:
    return damage.run(
        __name__,
        "Damaged answers",
        "Whole answers to a generation, with previews, pictures in pieces and sound, whose messages were left out, repeated, reordered, damaged or "
        "mixed with those of another call: fed to reader, receiver and album, and sent by a server to the code of Generate.",
        count,
        seed,
    )
