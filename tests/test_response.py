"""Response messages -> events: order, chunks, what newer servers and proxies add, and what must be an error."""

from __future__ import annotations

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import decoding, response, tensor
from comfyui_drawthings.drawthings_core.album import Album
from comfyui_drawthings.drawthings_core.errors import CodecUnavailable, NoImage, TensorError
from comfyui_drawthings.drawthings_core.receiving import Received, Receiver
from comfyui_drawthings.drawthings_core.response import (
    Audio,
    Done,
    Image,
    Preview,
    RemoteDownload,
    ResponseReader,
    Stage,
    Step,
    Transfer,
    Waiting,
)
from comfyui_drawthings.proto import messages as m

PICTURE = tensor.encode(np.zeros((1, 4, 4, 3), np.float16))


def sampling(step: int, second: bool = False, totals: tuple[int, int] = (8, 0), **more) -> m.ImageGenerationResponse:
    announced = [m.ImageGenerationSignpostProto(sampling=m.ImageGenerationSignpostProto.Sampling(step=totals[0]))]
    if totals[1]:
        announced.append(
            m.ImageGenerationSignpostProto(secondPassSampling=m.ImageGenerationSignpostProto.SecondPassSampling(step=totals[1]))
        )
    current = (
        m.ImageGenerationSignpostProto(secondPassSampling=m.ImageGenerationSignpostProto.SecondPassSampling(step=step))
        if second
        else m.ImageGenerationSignpostProto(sampling=m.ImageGenerationSignpostProto.Sampling(step=step))
    )
    return m.ImageGenerationResponse(currentSignpost=current, signposts=announced, **more)


def events(*answers: m.ImageGenerationResponse, finish: bool = True):
    reader = ResponseReader("host:1")
    found = [event for answer in answers for event in reader.feed(answer)]
    return [*found, reader.finish()] if finish else found


def images(*payloads: bytes, more: bool = False, scale: int | None = 1) -> m.ImageGenerationResponse:
    return m.ImageGenerationResponse(
        generatedImages=payloads, chunkState=m.MORE_CHUNKS if more else m.LAST_CHUNK, **({} if scale is None else {"scaleFactor": scale})
    )


def test_a_whole_run():
    text = m.ImageGenerationResponse(
        currentSignpost=m.ImageGenerationSignpostProto(textEncoded=m.ImageGenerationSignpostProto.TextEncoded())
    )
    latent = tensor.encode(np.zeros((1, 8, 8, 4), np.float16))
    got = events(
        m.ImageGenerationResponse(remoteDownload=m.RemoteDownloadResponse(bytesReceived=5, bytesExpected=10, item=1, itemsExpected=2)),
        text,
        sampling(0),
        sampling(1, previewImage=latent),
        sampling(8),
        m.ImageGenerationResponse(downloadSize=len(PICTURE)),
        images(PICTURE, scale=2),
    )
    assert got[0] == RemoteDownload(5, 10, 1, 2)
    assert got[1] == Stage("text encoded")
    assert got[2] == Step(0, 8, False, 0, 8)
    assert got[3] == Step(1, 8, False, 1, 8)
    assert isinstance(got[4], Preview)
    assert got[4].latent.shape == (1, 8, 8, 4)
    assert got[6] == Transfer(0, len(PICTURE))
    assert got[7] == Transfer(len(PICTURE), len(PICTURE))
    assert isinstance(got[8], Image)
    assert (got[8].number, got[8].scale_factor) == (0, 2)
    assert got[9] == Done(1)


def test_steps_of_two_passes_count_together():
    got = [e for e in events(sampling(8, totals=(8, 4)), sampling(3, True, (8, 4)), images(PICTURE)) if isinstance(e, Step)]
    assert got == [Step(8, 8, False, 8, 12), Step(3, 4, True, 11, 12)]


def test_steps_without_announcement_never_exceed_their_plan():
    answer = m.ImageGenerationResponse(
        currentSignpost=m.ImageGenerationSignpostProto(sampling=m.ImageGenerationSignpostProto.Sampling(step=3))
    )
    assert events(answer, finish=False) == [Step(3, 0, False, 3, 3)]


def test_chunks_are_put_together():
    whole = tensor.encode(np.arange(48, dtype=np.float16).reshape(1, 4, 4, 3) / 48)
    got = events(images(whole[:50], more=True), images(whole[50:100], more=True), images(whole[100:], PICTURE), images(PICTURE))
    pictures = [e for e in got if isinstance(e, Image)]
    assert [p.number for p in pictures] == [0, 1, 2]
    np.testing.assert_array_equal(pictures[0].tensor, tensor.decode(whole))


def test_image_and_audio_chunks_do_not_mix():
    sound = tensor.encode(np.ones((2, 10), np.float32))
    got = events(
        images(PICTURE[:80], more=True),
        m.ImageGenerationResponse(generatedAudio=[sound[:70]], chunkState=m.MORE_CHUNKS),
        m.ImageGenerationResponse(generatedAudio=[sound[70:]]),
        images(PICTURE[80:]),
    )
    (audio,) = [e for e in got if isinstance(e, Audio)]
    assert audio.tensor.shape == (2, 10)
    assert got[-1] == Done(1)


def test_empty_messages_before_all_others_mean_that_a_proxy_has_not_begun():
    empty = m.ImageGenerationResponse()
    assert events(empty, empty, sampling(0), empty, images(PICTURE))[:3] == [Waiting(True, 0), Waiting(True, 0), Step(0, 8, False, 0, 8)]
    assert sum(isinstance(event, Waiting) for event in events(empty, sampling(0), empty, images(PICTURE))) == 1


def test_newer_signposts_are_passed_over():
    # field 15 of the signpost's oneof, and field 99 of the response: what a newer server might add
    unknown_signpost = m.ImageGenerationResponse.FromString(b"\x12\x02\x7a\x00")
    unknown_field = m.ImageGenerationResponse.FromString(b"\x9a\x06\x01x")
    assert events(unknown_signpost, unknown_field, finish=False) == []


def test_a_damaged_preview_is_dropped():
    got = events(sampling(1, previewImage=b"not a tensor"), images(PICTURE))
    assert not [e for e in got if isinstance(e, Preview)]


def test_ok_without_an_image_is_an_error():
    with pytest.raises(NoImage, match="host:1"):
        events(sampling(1), m.ImageGenerationResponse(scaleFactor=1))


def test_a_missing_last_chunk_is_an_error():
    with pytest.raises(TensorError, match=r"Image 2 .* incomplete"):
        events(images(PICTURE), images(PICTURE[:80], more=True))


def test_a_damaged_image_is_named():
    with pytest.raises(TensorError, match="Image 2 is damaged"):
        events(images(PICTURE), images(PICTURE[:-1]))
    with pytest.raises(TensorError, match="Image 1 is damaged"):
        events(images(tensor.encode(np.zeros((4, 4), np.uint8))))


def test_compressed_images_without_fpzip_say_what_to_do(monkeypatch):
    compressed = tensor.encode(np.zeros((1, 64, 64, 3), np.float16), compress=True)
    monkeypatch.setattr(tensor, "_fpzip", None)
    with pytest.raises(CodecUnavailable, match="response compression"):
        events(images(compressed))
    preview = m.ImageGenerationResponse(previewImage=compressed)
    with pytest.raises(CodecUnavailable, match="response compression"):  # before the server has sampled for nothing
        events(preview)


def test_sound_that_is_damaged_costs_no_picture():
    sound = tensor.encode(np.ones((2, 10), np.float32))
    spoilt = {
        "is damaged": [m.ImageGenerationResponse(generatedAudio=[sound[:-1]])],
        "[3, 4, 5]": [m.ImageGenerationResponse(generatedAudio=[tensor.encode(np.zeros((3, 4, 5), np.float32))])],
        "its last part never came": [m.ImageGenerationResponse(generatedAudio=[sound[:90]], chunkState=m.MORE_CHUNKS)],
    }
    for words, messages in spoilt.items():
        reader = ResponseReader("host:1")
        got = [event for message in (images(PICTURE), *messages) for event in reader.feed(message)]
        assert reader.finish() == Done(1)
        assert not [event for event in got if isinstance(event, Audio)]
        (problem,) = reader.problems
        assert words in problem
        assert "left out" in problem


def test_parts_without_end_are_refused_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(response, "_LARGEST", 1000)
    reader = ResponseReader("host:1")
    for _ in range(10):
        list(reader.feed(images(bytes(100), more=True)))
    with pytest.raises(TensorError, match=r"Image 1 is damaged.* come to more than"):
        list(reader.feed(images(bytes(100), more=True)))
    for _ in range(100):
        assert not list(reader.feed(m.ImageGenerationResponse(generatedAudio=[bytes(100)], chunkState=m.MORE_CHUNKS)))
    assert "come to more than" in reader.problems[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_sound_that_is_no_numbers_is_left_out(value):
    sound = np.zeros((2, 10), np.float64)
    receiver = Receiver(decoding.shared(), Album(), lambda: None, lambda: None)
    list(receiver.take(Audio(Received.checked(tensor.encode(sound), datatypes=response.FLOATS))))
    made = receiver.finish()
    assert made is not None
    assert made.dtype == np.float32
    sound[1, 3] = value
    list(receiver.take(Audio(Received.checked(tensor.encode(sound), datatypes=response.FLOATS))))
    assert receiver.finish() is None
    assert "not numbers" in receiver.problems[0]


def test_sounds_without_end_are_told_a_few_times():
    reader = ResponseReader("host:1")
    for number in range(100):
        list(reader.feed(m.ImageGenerationResponse(generatedAudio=[bytes(number)])))
    assert 1 <= len(reader.problems) <= 20
