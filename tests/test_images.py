"""Pictures, masks and hints: value ranges, rounding, alpha, and where every pixel lands."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import images
from comfyui_drawthings.drawthings_core.errors import InvalidImage, NonFiniteImage, TensorError
from comfyui_drawthings.drawthings_core.images import Fit, HintValues
from hypothesis import given, settings
from hypothesis import strategies as st

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)


@pytest.mark.parametrize("picture", [LEVELS, LEVELS.astype(np.float32) / 255, LEVELS.astype(np.float64) / 255])
def test_all_256_levels_survive(picture):
    tensor = images.image_tensor(picture)
    assert tensor.dtype == np.float16
    np.testing.assert_array_equal(images.to_bytes(images.picture_from_tensor(tensor).rgb[None]), LEVELS)


def test_levels_survive_comfyuis_truncating_save_image():
    picture = images.picture_from_tensor(images.image_tensor(LEVELS.astype(np.float32) / 255)).rgb
    np.testing.assert_array_equal(np.clip(255.0 * picture, 0, 255).astype(np.uint8), LEVELS[0])
    wide = images.picture_from_tensor(images.image_tensor(LEVELS).astype(np.float32)).rgb
    np.testing.assert_array_equal(wide, picture)


def test_values_outside_are_clamped_never_wrapped():
    picture = np.array([[[[-0.5, 1.5, 70000.0]]]], np.float32)
    np.testing.assert_array_equal(images.image_tensor(picture), [[[[-1, 1, 1]]]])
    np.testing.assert_array_equal(images.to_bytes(picture), [[[[0, 255, 255]]]])
    np.testing.assert_array_equal(images.picture_from_tensor(np.array([[[[-3, 3, 0.5]]]], np.float16)).rgb, [[[0, 1, 0.75]]])


def test_inputs_are_not_modified():
    picture = np.full((1, 8, 8, 4), 2.0, np.float32)
    picture[..., 3] = 0
    before = picture.copy()
    images.image_tensor(picture)
    images.fit_image(picture, 64, 64)
    images.hint_tensor(picture, HintValues.gray_signed)
    np.testing.assert_array_equal(picture, before)


def test_alpha_comes_first_in_four_channel_results():
    tensor = np.zeros((1, 2, 2, 4), np.float16)
    tensor[..., 0] = 1.2  # alpha may exceed its range
    tensor[..., 1] = 1.0
    picture = images.picture_from_tensor(tensor)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, np.ones((2, 2)))
    np.testing.assert_array_equal(picture.rgb[0, 0], [1, 0.5, 0.5])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 3])
def test_non_finite_results_say_which_image(value, channel):
    tensor = np.zeros((1, 4, 4, 4), np.float16)
    tensor[0, 3, 2, channel] = value
    with pytest.raises(NonFiniteImage, match="Image 3 came"):
        images.picture_from_tensor(tensor, 2)


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 4, 4, 3), (1, 4, 4, 1), (1, 4, 4, 16)])
def test_results_of_another_shape_are_refused(shape):
    with pytest.raises(TensorError, match="Image 1"):
        images.picture_from_tensor(np.zeros(shape, np.float16))


def test_one_channel_is_repeated_and_transparent_pixels_become_mid_grey():
    np.testing.assert_array_equal(images.image_tensor(np.full((1, 1, 1, 1), 0.25, np.float32)), [[[[-0.5, -0.5, -0.5]]]])
    picture = np.ones((1, 1, 2, 4), np.float32)
    picture[0, 0, 1, 3] = 0
    np.testing.assert_array_equal(images.image_tensor(picture), [[[[1, 1, 1], [0, 0, 0]]]])


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((1, 4, 4, 2), np.float32),
        np.zeros((0, 4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.int32),
        np.full((1, 4, 4, 3), np.nan, np.float32),
        np.full((1, 4, 4, 3), np.inf, np.float32),
    ],
)
def test_bad_pictures_are_refused_by_name(picture):
    with pytest.raises(InvalidImage, match="The input 'image'"):
        images.check_image(picture, "The input 'image'")


@pytest.mark.parametrize(
    "mask", [[[True, False]], np.array([[0.5, 0.499]], np.float32), np.array([[0.5, -1.0]]), np.array([[128, 127]], np.uint8)]
)
def test_mask_tensor(mask):
    np.testing.assert_array_equal(images.mask_tensor(np.asarray(mask)), np.array([[2, 3]], np.uint8))
    rows = np.repeat(np.asarray(mask), 1 << 16, axis=0)  # in more than one block
    np.testing.assert_array_equal(images.mask_tensor(rows), np.tile(np.array([[2, 3]], np.uint8), (1 << 16, 1)))


@pytest.mark.parametrize("mask", [np.zeros((1, 2, 2), bool), np.zeros((0, 2), bool), np.zeros((2, 2), np.int64)])
def test_what_no_mask_is_makes_no_tensor(mask):
    with pytest.raises(InvalidImage):
        images.mask_tensor(mask)


def test_what_is_not_opaque_is_empty_with_its_alpha_in_the_upper_bits():
    alpha = np.array([[1, 1, 254.6 / 255, 0.5, 0, 0]])
    repaint = np.array([[False, True, False, False, False, True]])
    # 128 / 255 is 0.502: to eight bits 128, whose upper five are kept
    np.testing.assert_array_equal(images.mask_tensor(repaint, alpha), [[3, 2, 3, 128 | 1, 1, 1]])
    np.testing.assert_array_equal(images.mask_tensor(repaint, alpha, fills=False), [[3, 2, 3, 128 | 1, 1, 2]])
    assert images.any_transparent(alpha)
    assert images.any_transparent(np.array([[255, 254]], np.uint8))
    assert not images.any_transparent(np.array([[1, 254.6 / 255]]))


def test_what_is_transparent_lends_no_colour_when_a_picture_is_scaled():
    picture = np.zeros((1, 64, 64, 4), np.float32)
    picture[:, :, 32:] = (1, 0.5, 0.25, 1)  # beside it: transparent black
    fitted = images.fit_image(picture, 192, 192)
    shown = fitted[..., 3] > 0.05
    np.testing.assert_allclose(fitted[shown][:, :3], np.broadcast_to([1, 0.5, 0.25], (shown.sum(), 3)), atol=1e-3)


def test_hint_ranges():
    picture = np.array([[[[0.0, 0.5, 1.0]]]], np.float32)
    np.testing.assert_array_equal(images.hint_tensor(picture, HintValues.rgb_signed), [[[[-1, 0, 1]]]])
    np.testing.assert_array_equal(images.hint_tensor(picture, HintValues.rgb_unit), [[[[0, 0.5, 1]]]])
    np.testing.assert_array_equal(images.hint_tensor(picture, HintValues.gray_signed), [[[[0]]]])
    assert images.hint_tensor(LEVELS[..., :1], HintValues.rgb_unit).shape == (1, 16, 16, 3)
    assert all(images.hint_tensor(picture, kind).dtype == np.float16 for kind in HintValues)


sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.sampled_from(list(Fit)))
def test_placement_is_exact(source, canvas, fit):
    place = images.placement(source, canvas, fit)
    left, top, right, bottom = place.box
    if fit in (Fit.pad, Fit.outpaint):
        assert place.box == (0, 0, *source)
        assert place.width == canvas[0] or place.height == canvas[1]
        assert abs((canvas[0] - place.width) - 2 * place.left) <= 1  # centred
        assert abs((canvas[1] - place.height) - 2 * place.top) <= 1
        # the free side is the true one to within half a pixel, but never empty
        fills_width = source[0] * canvas[1] >= source[1] * canvas[0]
        true = source[1] * canvas[0] / source[0] if fills_width else source[0] * canvas[1] / source[1]
        free = place.height if fills_width else place.width
        assert abs(free - true) <= 0.5 or free == 1
    else:
        assert (place.left, place.top, place.width, place.height) == (0, 0, *canvas)
    if fit == Fit.crop:
        assert left == pytest.approx(source[0] - right)
        assert top == pytest.approx(source[1] - bottom)
        assert (right - left) / (bottom - top) == pytest.approx(canvas[0] / canvas[1])
        assert right - left == pytest.approx(source[0]) or bottom - top == pytest.approx(source[1])
    if fit == Fit.stretch:
        assert place.box == (0, 0, *source)


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.sampled_from(list(Fit)))
def test_fit_keeps_a_flat_picture_flat_and_the_size_exact(source, canvas, fit):
    picture = np.full((2, source[1], source[0], 3), 0.3, np.float32)
    fitted = images.fit_image(picture, *canvas, fit)
    empty = fit == Fit.outpaint and images.leaves_borders(source, canvas, fit)
    assert fitted.shape == (2, canvas[1], canvas[0], 4 if empty else 3)
    place = images.placement(source, canvas, fit)
    inside = fitted[:, place.top : place.top + place.height, place.left : place.left + place.width]
    np.testing.assert_allclose(inside[..., :3], 0.3, atol=1e-5)
    assert np.isclose(fitted[..., :3], 0.3, atol=1e-5).sum() == inside[..., :3].size  # and the rest is black
    if empty:
        assert (inside[..., 3] >= 1 - 1e-5).all()
        assert fitted[..., 3].sum() == pytest.approx(inside[..., 3].size, rel=1e-4)  # and the rest is transparent
    mask = images.fit_mask(np.ones((1, source[1], source[0]), np.float32), *canvas, fit)
    assert mask.sum() == place.width * place.height


def test_fit_of_the_right_size_changes_nothing():
    picture = np.random.default_rng(0).random((1, 64, 128, 3), np.float32)
    np.testing.assert_array_equal(images.fit_image(picture, 128, 64), picture)


def test_crop_takes_the_middle_and_pad_shows_all():
    picture = np.zeros((1, 64, 192, 3), np.float32)
    picture[:, :, 64:128] = 1
    np.testing.assert_allclose(images.fit_image(picture, 64, 64, Fit.crop), 1)
    padded = images.fit_image(picture, 192, 192, Fit.pad)
    np.testing.assert_array_equal(padded[:, 64:128], picture)
    assert not padded[:, :64].any()
    assert not padded[:, 128:].any()


def test_a_mask_of_another_size_is_stretched_to_its_image_first():
    mask = np.zeros((1, 64, 64), np.float32)
    mask[:, :, 32:] = 1
    fitted = images.fit_mask(mask, 64, 64, Fit.crop, image_size=(256, 64))
    # stretched to 256x64 the right half is x >= 128, and the crop shows 96..160
    assert not fitted[0, :, :31].any()
    assert fitted[0, :, 33:].all()


def test_mask_threshold_is_one_half():
    np.testing.assert_array_equal(images.fit_mask(np.array([[[0.49, 0.5]]]), 2, 1)[0], [[False, True]])


def test_a_picture_larger_than_the_canvas_is_not_extended():
    picture = np.zeros((1, 64, 64, 3), np.float32)
    assert images.fit_image(picture, 128, 64, images.Extended(100, 64)).shape == (1, 64, 128, 3)
    for fit in (images.Extended(200, 64), images.Extended(100, 65), images.Extended(0, 64)):
        with pytest.raises(InvalidImage, match="does not fit on a canvas of 128x64"):
            images.fit_image(picture, 128, 64, fit)
        with pytest.raises(InvalidImage, match="does not fit"):
            images.fit_mask(picture[..., 0], 128, 64, fit)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fit", list(Fit))
def test_a_picture_scaled_in_bands_is_the_same(monkeypatch, channels, fit):
    picture = np.random.default_rng(3).random((1, 90, 37, channels), np.float32)
    whole = [images.fit_image(picture, *canvas, fit) for canvas in ((20, 31), (64, 150), (150, 64))]
    mask = images.fit_mask(picture[..., 0], 64, 50, fit)
    monkeypatch.setattr(images, "_BAND", 300)
    for expected in whole:
        np.testing.assert_allclose(images.fit_image(picture, expected.shape[2], expected.shape[1], fit), expected, atol=2e-7)
    np.testing.assert_array_equal(images.fit_mask(picture[..., 0], 64, 50, fit), mask)


@pytest.mark.parametrize("fit", list(Fit))
def test_a_much_larger_picture_is_averaged_first_and_looks_the_same(monkeypatch, fit):
    down, across = np.indices((1501, 901), np.float32)
    waves = np.stack([np.sin(across / 97), np.cos(down / 51), np.sign(np.sin((across + down) / 120))], axis=-1)[None] / 2 + 0.5
    averaged = images.fit_image(waves, 64, 48, fit)
    monkeypatch.setattr(images, "_GAP", np.inf)
    difference = np.abs(averaged - images.fit_image(waves, 64, 48, fit))
    assert 0 < difference.max() < 0.05
    assert difference.mean() < 0.0005


@pytest.mark.parametrize("fit", list(Fit))
def test_a_mask_is_not_stretched_to_all_of_a_much_larger_picture(monkeypatch, fit):
    down, across = np.indices((64, 64))
    masks = np.stack([np.hypot(down - 30, across - 20) < 17, (down + across) % 40 < 20]).astype(np.float32)
    averaged = images.fit_mask(masks, 64, 48, fit, (1501, 901))
    tracemalloc.start()
    try:
        images.fit_mask(masks, 64, 48, fit, (8000, 6000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32 << 20  # stretched, one would take 192 MB
    monkeypatch.setattr(images, "_GAP", np.inf)
    differs = averaged != images.fit_mask(masks, 64, 48, fit, (1501, 901))
    assert differs.mean() < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_a_large_picture_is_never_held_as_floats(dtype):
    """By its shape: as float32 it would take 150 MB, and its planes 50 MB each."""
    picture = np.broadcast_to(np.ones((), dtype), (1, 4096, 3072, 3))
    tracemalloc.start()
    try:
        fitted = images.fit_image(picture, 128, 128)
        mask = images.fit_mask(picture[..., 0], 128, 128)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32 << 20
    np.testing.assert_allclose(fitted, 1 / 255 if dtype == np.uint8 else 1, atol=1e-5)
    assert mask.all() == (dtype != np.uint8)


def test_doubles_too_large_for_floats_are_no_numbers():
    tensor = np.zeros((1, 4, 4, 3))
    tensor[0, 1, 1, 1] = 1e300
    with np.errstate(all="raise"), pytest.raises(NonFiniteImage):
        images.picture_from_tensor(tensor)
