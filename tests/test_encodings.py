"""Encoding: the same bits as numpy's own conversion, nothing copied on the way, and nothing encoded twice while it stays the same."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import halves, images, packing, tensor
from comfyui_drawthings.drawthings_core import job as jobs
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import ControlInputType
from comfyui_drawthings.drawthings_core.encodings import Encodings
from comfyui_drawthings.drawthings_core.errors import InvalidImage
from comfyui_drawthings.drawthings_core.hint_inputs import HintInput
from comfyui_drawthings.drawthings_core.images import Fit, HintValues
from comfyui_drawthings.drawthings_core.job import Job
from comfyui_drawthings.drawthings_core.request import build
from comfyui_drawthings.proto import messages


def plain_halves(image: np.ndarray, values: HintValues) -> np.ndarray:
    """What a tensor holds, in numpy's own words."""
    colour = image[..., :3]
    scale = np.float32(2 / 255 if image.dtype == np.uint8 else 2)
    unit = colour.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else colour.astype(np.float32)
    if values == HintValues.gray_signed:
        return np.clip(unit.mean(axis=3, keepdims=True, dtype=np.float32) * np.float32(2) - 1, -1, 1).astype(np.float16)
    if values == HintValues.rgb_unit:
        result = np.clip(unit, 0, 1).astype(np.float16)
    else:
        result = np.clip(np.multiply(colour, scale, dtype=np.float32) - 1, -1, 1).astype(np.float16)
        if image.shape[3] == 4:
            result[image[..., 3] <= 0] = 0
    return np.repeat(result, 3, axis=3) if image.shape[3] == 1 else result


def bits(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).view(np.uint16)


LAYOUTS = {"contiguous": lambda a: a, "strided": lambda a: a[:, ::2, ::-1], "fortran": np.asfortranarray}
RANGES = {"0..1": (0, 1), "beyond": (-0.5, 1.5), "around one half": (0.49999, 0.50001), "nearly black": (0, 1e-6)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limits", RANGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_halves_are_numpys_bit_for_bit(channels, dtype, limits, layout):
    picture = np.random.default_rng(channels).uniform(*RANGES[limits], (2, 130, 97, channels))
    picture[0, 0, :5] = 0
    picture[0, 1, :5] = 1
    if channels == 4:
        picture[1, :50, :, 3] = 0
    picture = LAYOUTS[layout]((picture * 255).clip(0, 255).astype(dtype) if dtype == np.uint8 else picture.astype(dtype))
    before = picture.copy()
    for values in HintValues:
        np.testing.assert_array_equal(bits(images.hint_tensor(picture, values)), bits(plain_halves(picture, values)))
    np.testing.assert_array_equal(picture, before)


def test_every_float_near_a_rounding_boundary_of_halves():
    """Each of the halves in -1..1, the middle between it and the next, and the floats beside both."""
    halves_bits = np.arange(0x3C00, dtype=np.uint16)
    values = halves_bits.view(np.float16).astype(np.float64)
    points = np.concatenate([values, (values + (halves_bits + np.uint16(1)).view(np.float16)) / 2])
    signed = np.concatenate([points, -points])
    unit = ((signed + 1) / 2).astype(np.float32)
    unit = np.concatenate([np.nextafter(unit, np.float32(-1)), unit, np.nextafter(unit, np.float32(2))]).clip(0, 1)
    picture = np.resize(unit, (1, 512, -(-unit.size // 1536), 3))
    np.testing.assert_array_equal(bits(images.image_tensor(picture)), bits(plain_halves(picture, HintValues.rgb_signed)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("values", HintValues)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_number_is_refused_wherever_it_is(dtype, values, value):
    picture = np.full((1, 300, 200, 3), 0.5, dtype)
    picture[0, 299, 199, 2] = value
    with pytest.raises(InvalidImage, match="The hint image holds values that are not numbers"):
        images.hint_tensor(picture, values)
    with pytest.raises(InvalidImage, match="The image"):
        images.image_tensor(picture)


def test_finite_halves():
    values = np.zeros((1, 200, 200, 3), np.float16)
    assert halves.all_finite(values)
    values[0, 5, 5, 1] = -65504
    assert halves.all_finite(values[:, ::-1])
    for bad in (np.nan, np.inf, -np.inf):
        values[0, 199, 199, 2] = bad
        assert not halves.all_finite(values)


# -- no copies


def test_a_packed_tensor_lies_in_its_encoded_form():
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    packed = images.image_tensor(picture)
    content = packing.content_of(packed)
    assert bytes(content.data) == tensor.encode(np.array(packed))
    assert content.digest == hashlib.sha256(content.data).digest()
    assert np.shares_memory(content.data, packed)
    assert packing.content_of(packed) is content
    for array in (packed, content.data):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    derived = packed[:, :32]
    assert bytes(packing.content_of(derived).data) == tensor.encode(np.array(derived))
    assert packed.copy().content is None


def test_masks_are_packed_too():
    mask = images.mask_tensor(np.eye(64, dtype=bool))
    assert bytes(packing.content_of(mask).data) == tensor.encode(np.array(mask))


# -- encoded once


class Counted:
    """A `make` that counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return images.image_tensor(picture)


def noise(seed=0, size=64):
    return np.random.default_rng(seed).random((1, size, size, 3), np.float32)


def test_the_same_values_are_encoded_once():
    kept, make = Encodings(), Counted()
    picture = noise()
    first = kept.get(picture, ("a",), make)
    assert kept.get(picture, ("a",), make) is first
    assert kept.get(picture.copy(), ("a",), make) is first
    assert kept.get(np.asfortranarray(picture), ("a",), make) is first
    assert make.calls == 1
    kept.get(picture, ("b",), make)
    kept.get(picture.astype(np.float64), ("a",), make)
    assert make.calls == 3


def test_a_mask_of_the_canvas_size_is_hashed_once():
    kept = Encodings()
    mask = np.random.default_rng(0).random((1, 64, 128)).astype(np.float32)
    first = kept.mask(mask, (128, 64), Fit.crop, (128, 64))
    np.testing.assert_array_equal(first, images.mask_tensor(mask[0] >= 0.5))
    assert kept.mask(np.rint(mask), (128, 64), Fit.crop, None) is first  # what is sent is the same
    mask[0, 63, 127] = 1 - np.round(mask[0, 63, 127])
    second = kept.mask(mask, (128, 64), Fit.crop, None)
    np.testing.assert_array_equal(second, images.mask_tensor(mask[0] >= 0.5))
    assert second is not first
    scaled = kept.mask(mask, (64, 64), Fit.crop, None)
    assert kept.mask(mask, (64, 64), Fit.crop, None) is scaled


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 33, 35, 1), (0, 63, 63, 2)])
def test_a_picture_that_was_written_to_is_encoded_again(place):
    """The very same array, one value changed by the least that there is."""
    kept, make = Encodings(), Counted()
    picture = noise()
    first = kept.get(picture, (), make)
    picture[place] = np.nextafter(picture[place], np.float32(2))
    second = kept.get(picture, (), make)
    assert make.calls == 2
    assert second is not first
    assert kept.get(picture, (), make) is second


def test_what_is_kept_belongs_to_the_values_it_was_made_of():
    """The source changes while it is being encoded, as another node's thread may do."""
    kept = Encodings()
    picture = noise()
    before = picture.copy()

    def make(given):
        picture[:] = 0
        return images.image_tensor(given)

    np.testing.assert_array_equal(kept.get(picture, (), make), images.image_tensor(before))
    np.testing.assert_array_equal(kept.get(picture, (), images.image_tensor), images.image_tensor(picture))


def test_memory_is_bounded_and_the_last_used_stay():
    one = noise(0, 64)
    size = one.nbytes + packing.content_of(images.image_tensor(one)).size
    kept, make = Encodings(limit=3 * size), Counted()
    for seed in (0, 1, 2, 0, 3):  # 0 is used again, so that 1 is the oldest
        kept.get(noise(seed), (), make)
    assert make.calls == 4
    kept.get(noise(0), (), make)
    assert make.calls == 4
    kept.get(noise(1), (), make)
    assert make.calls == 5
    large = noise(0, 256)
    assert kept.get(large, (), make) is not kept.get(large, (), make)  # larger than all that may be kept
    kept.get(noise(1), (), make)
    assert make.calls == 7


def test_many_threads():
    kept = Encodings(limit=1 << 20)
    pictures = [noise(seed) for seed in range(12)]
    expected = [np.array(images.image_tensor(picture)) for picture in pictures]
    wrong = []

    def work(seed):
        for number in np.random.default_rng(seed).integers(0, len(pictures), 40):
            if not np.array_equal(kept.get(pictures[number], (), images.image_tensor), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- through a job


EMPTY = Catalog.empty()


def runs(**more):
    settings = {"start_width": 192, "start_height": 128, "strength": 0.5, **more.pop("settings", {})}
    return list(jobs.plan(Job("x.ckpt", settings=settings, **more), EMPTY).runs())


def test_a_repeated_run_sends_the_same_tensors_again():
    picture, mask = np.concatenate([noise(0), noise(1)]), np.eye(64, dtype=np.float32)[None]
    hint = HintInput(ControlInputType.shuffle, noise(2))
    given = {"images": picture, "masks": mask, "hints": (hint,), "settings": {"batch_count": 2}}
    first, second = runs(**given), runs(**given)
    assert len(first) == 4
    for one, other in zip(first, [*first[2:], *first[:2]], strict=True):  # once in a node's run
        assert one.request.image is other.request.image
        assert one.request.mask is other.request.mask
    for one, other in zip(first, second, strict=True):  # and once in two
        assert one.request.image is other.request.image
        assert one.request.mask is other.request.mask
        assert one.request.hints[0].tensors[0][0] is other.request.hints[0].tensors[0][0]
    assert first[0].request.image is not first[1].request.image


def test_another_fit_or_canvas_is_another_tensor():
    picture = noise()
    tensors = [
        runs(images=picture)[0].request.image,
        runs(images=picture, fit=Fit.pad)[0].request.image,
        runs(images=picture, settings={"start_width": 128})[0].request.image,
    ]
    for fit, canvas, found in zip((Fit.crop, Fit.pad, Fit.crop), ((192, 128), (192, 128), (128, 128)), tensors, strict=True):
        np.testing.assert_array_equal(found, images.image_tensor(images.fit_image(picture, *canvas, fit)))


def test_the_message_is_what_protobuf_would_make_of_it():
    (run,) = runs(images=noise(size=200), masks=np.eye(200, dtype=np.float32)[None])
    message = messages.ImageGenerationRequest.FromString(build(run.request, EMPTY))
    again = messages.ImageGenerationRequest.FromString(message.SerializeToString())
    assert message == again
    assert [hashlib.sha256(blob).digest() for blob in message.contents] == [message.image, message.mask]
    np.testing.assert_array_equal(tensor.decode(message.contents[0]), run.request.image)
    np.testing.assert_array_equal(tensor.decode(message.contents[1]), run.request.mask)
