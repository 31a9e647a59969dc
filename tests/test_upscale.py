"""Upscale: what is sent, and that a picture of any size comes back at exactly its size times the scale, whole and undistorted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import errors, families, upscaling
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import Configuration
from comfyui_drawthings.drawthings_core.images import Extended, fit_image
from comfyui_drawthings.drawthings_core.job import Job, plan
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nodes import call, checkerboard, server

__all__ = ["server"]  # a fixture

MODEL, SEEDVR2 = "sd_v1.5_f16.ckpt", "seedvr2_3b_q8p.ckpt"
TWICE, FOUR_TIMES = "realesrgan_x2plus_f16.ckpt", "4x_ultrasharp_f16.ckpt"
FACES = "restoreformer_v1.0_f16.ckpt"


def waves(width: int, height: int, batch: int = 1) -> torch.Tensor:
    """Smooth, and different in each corner, so that a shift, a crop or a border shows."""
    y, x = np.mgrid[:height, :width] + 0.5
    one = np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 17) * np.cos(y / 13)], axis=2).astype(np.float32)
    return torch.from_numpy(np.stack([one * (1 - 0.2 * number) for number in range(batch)]))


@pytest.fixture(scope="module")
def plainly() -> Iterator[object]:
    """A server whose simulator writes nothing on what it passes through."""
    with SimulatorProcess(
        "--no-tls", "--model-browser", "--step-seconds", "0", "--picture", "plain", "--no-response-compression"
    ) as simulator:
        yield call("DrawThingsLoadServer", host=simulator.host, port=simulator.port)[0]


def expected(image: torch.Tensor, width: int, height: int) -> np.ndarray:
    return fit_image(image.numpy(), width, height)


# -- exact sizes


@pytest.mark.parametrize(
    ("size", "upscaler", "scale", "result"),
    [
        ((256, 192), TWICE, 0, (512, 384)),
        ((200, 150), TWICE, 0, (400, 300)),
        ((200, 150), FOUR_TIMES, 0, (800, 600)),
        ((200, 150), FOUR_TIMES, 2, (400, 300)),
        ((200, 150), TWICE, 4, (800, 600)),
        ((200, 150), TWICE, 1.5, (300, 225)),
        ((201, 151), FOUR_TIMES, 3, (603, 453)),
        ((201, 151), FOUR_TIMES, 2.5, (503, 378)),
        ((200, 150), TWICE, 1, (200, 150)),
        ((1, 1), TWICE, 0, (2, 2)),
        ((65, 300), TWICE, 0, (130, 600)),
        ((200, 150), "", 0, (200, 150)),
        ((200, 150), "", 1, (200, 150)),
    ],
)
def test_a_picture_of_any_size_comes_back_whole(plainly, size, upscaler, scale, result):
    image = waves(*size)
    inputs = {"model": MODEL, "upscaler": upscaler or "none", "face_restoration": FACES, "scale": scale}
    images, info = call("DrawThingsUpscale", server=plainly, image=image, **inputs)
    assert images.shape == (1, result[1], result[0], 3)
    difference = np.abs(images.numpy() - expected(image, *result))
    assert difference.max() < 0.06
    assert difference.mean() < 0.005
    told = json.loads(info)
    assert (told["seeds"], told["notes"]) == ([None], [])


def test_what_is_sent_to_an_upscaler(server, simulator):
    image = waves(200, 150)
    call("DrawThingsUpscale", server=server, model=MODEL, image=image, upscaler=FOUR_TIMES, face_restoration=FACES, scale=2, seed=9)
    arrived = simulator.requests()[-1]
    assert arrived["image"]["shape"] == [1, 192, 256, 3]
    assert arrived["mask"] is None
    assert arrived["scale_factor"] == 1
    configuration = arrived["configuration"]
    wanted = {"strength": 0.0, "upscaler": FOUR_TIMES, "upscaler_scale_factor": 2, "face_restoration": FACES, "batch_size": 1}
    assert {name: configuration[name] for name in wanted} == wanted
    assert (configuration["start_width"], configuration["start_height"]) == (256, 192)
    assert [spec["file"] for spec in arrived["override"]["upscalers"]] == [FOUR_TIMES]


def test_each_picture_of_a_batch_is_a_request(plainly):
    image = waves(100, 90, batch=3)
    images, info = call("DrawThingsUpscale", server=plainly, model=MODEL, image=image, upscaler=TWICE)
    assert np.abs(images.numpy() - expected(image, 200, 180)).max() < 0.06
    assert [row["input_image"] for row in json.loads(info)["images"]] == [0, 1, 2]


def test_the_simulator_shows_what_was_done(server):
    image = waves(256, 192)
    enlarged, _ = call("DrawThingsUpscale", server=server, model=MODEL, image=image, upscaler=TWICE)
    restored, _ = call("DrawThingsUpscale", server=server, model=MODEL, image=image, face_restoration=FACES)
    for images, width in ((enlarged, 512), (restored, 256)):
        difference = (images[0] - torch.from_numpy(expected(image, width, width * 3 // 4))[0]).abs()
        assert difference[: width // 10].max() > 0.2
        assert difference[width // 4 :].max() < 0.06


def test_a_result_of_4096_pixels(plainly):
    images, _ = call("DrawThingsUpscale", server=plainly, model=MODEL, image=waves(1023, 1024), upscaler=FOUR_TIMES)
    assert images.shape == (1, 4096, 4092, 3)
    assert images.is_contiguous()
    corners = images[0, [0, 0, -1, -1], [0, -1, 0, -1], :2]
    assert torch.equal(corners.round(), torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))


def test_large_compressed_results(server):
    images, _ = call("DrawThingsUpscale", server=server, model=MODEL, image=waves(520, 500), upscaler=FOUR_TIMES)
    assert images.shape == (1, 2000, 2080, 3)


# -- SeedVR2


@pytest.mark.parametrize(
    ("size", "scale", "upscaler", "canvas", "result"),
    [
        ((200, 150), 0, "", (448, 320), (400, 300)),
        ((200, 150), 1, "", (256, 192), (200, 150)),
        ((200, 150), 1.75, "", (384, 320), (350, 263)),
        ((200, 150), 0, TWICE, (256, 192), (400, 300)),
        ((200, 150), 3, TWICE, (320, 256), (600, 450)),
        ((200, 150), 2, FOUR_TIMES, (256, 192), (400, 300)),
    ],
)
def test_seedvr2_restores_at_the_size_that_the_picture_is_to_have(server, simulator, size, scale, upscaler, canvas, result):
    inputs = {"model": SEEDVR2, "upscaler": upscaler or "none", "scale": scale, "seed": 5}
    images, info = call("DrawThingsUpscale", server=server, image=waves(*size), **inputs)
    assert images.shape == (1, result[1], result[0], 3)
    arrived = simulator.requests()[-1]
    assert arrived["image"]["shape"] == [1, canvas[1], canvas[0], 3]
    configuration = arrived["configuration"]
    assert (configuration["strength"], configuration["steps"], configuration["guidance_scale"]) == (1.0, 1, 1.0)
    assert (configuration["start_width"], configuration["start_height"]) == canvas
    told = json.loads(info)
    assert (told["seeds"], told["notes"]) == ([5], [])
    difference = (images[0] - torch.from_numpy(expected(waves(*size), *result))[0]).abs()
    assert difference.median() < 0.03  # of most, apart from what the simulator writes


def test_one_step_is_recommended_for_seedvr2():
    found = families.recommended(SEEDVR2, "seedvr2_3b")
    assert (found["steps"], found["guidance_scale"]) == (1, 1.0)


# -- options


def test_options_of_the_upscaler_win_and_others_are_named(server, simulator):
    options = {"upscaler": TWICE, "upscaler_scale_factor": 4, "steps": 33, "start_width": 640, "tiled_decoding": True}
    images, info = call("DrawThingsUpscale", server=server, model=MODEL, image=waves(128, 128), upscaler=FOUR_TIMES, options=options)
    assert images.shape == (1, 512, 512, 3)
    arrived = simulator.requests()[-1]["configuration"]
    assert (arrived["upscaler"], arrived["upscaler_scale_factor"], arrived["start_width"]) == (TWICE, 4, 128)
    assert json.loads(info)["notes"] == ["Without effect on enlarging: Steps, Width, Tiled decoding."]


def test_options_for_seedvr2_reach_it(server, simulator):
    options = {"tiled_decoding": True, "decoding_tile_width": 512, "strength": 0.3, "hires_fix": True}
    _, info = call("DrawThingsUpscale", server=server, model=SEEDVR2, image=waves(128, 128), options=options)
    arrived = simulator.requests()[-1]["configuration"]
    assert (arrived["tiled_decoding"], arrived["decoding_tile_width"], arrived["strength"]) == (True, 512, 1.0)
    assert json.loads(info)["notes"] == ["Without effect on enlarging: Strength, High-resolution fix."]


def test_a_copied_configuration_says_which_model_and_upscaler(server, simulator):
    copied = Configuration(model=MODEL, upscaler=TWICE, steps=20)
    images, _ = call("DrawThingsUpscale", server=server, model=SEEDVR2, image=waves(128, 128), options=dict(copied))
    assert images.shape == (1, 256, 256, 3)
    assert simulator.requests()[-1]["configuration"]["model"] == MODEL


def test_alpha_is_left_out_and_said(server):
    images, info = call("DrawThingsUpscale", server=server, model=SEEDVR2, image=torch.rand(1, 64, 64, 4))
    assert images.shape == (1, 128, 128, 3)
    assert json.loads(info)["notes"] == ["The image's alpha channel was left out."]
    images, _ = call("DrawThingsUpscale", server=server, model=MODEL, upscaler=TWICE, image=torch.rand(1, 64, 64, 1))
    assert images.shape == (1, 128, 128, 3)


# -- what is refused


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({}, errors.InvalidInput, "nothing to do: choose an upscaler"),
        ({"scale": 2}, errors.InvalidInput, "nothing to do"),
        ({"scale": 2, "face_restoration": FACES}, errors.InvalidInput, "Nothing enlarges the image 2 times"),
        ({"scale": 5, "upscaler": FOUR_TIMES}, errors.InvalidSetting, "Scale is 5, but allowed is 4 at most"),
        ({"scale": 0.5, "upscaler": FOUR_TIMES}, errors.InvalidSetting, "Scale is 0.5"),
        ({"scale": -1, "model": SEEDVR2}, errors.InvalidSetting, "Scale is -1"),
        ({"scale": float("nan"), "model": SEEDVR2}, errors.InvalidSetting, "Scale is nan"),
        ({"scale": "2", "model": SEEDVR2}, errors.InvalidSetting, "Scale is '2'"),
        ({"scale": 8, "model": SEEDVR2, "image": torch.zeros(1, 16, 1100, 3)}, errors.InvalidImage, "8832x128 px, but allowed is 8192"),
        ({"upscaler": FOUR_TIMES, "image": torch.zeros(1, 4096, 4096, 3)}, errors.InvalidImage, "16384x16384 px"),
        ({"upscaler": "nothing_x2.ckpt"}, errors.FileNotOnServer, "Upscaler 'nothing_x2.ckpt'"),
        ({"face_restoration": "nobody.ckpt"}, errors.FileNotOnServer, "nobody.ckpt"),
        ({"upscaler": TWICE, "model": "none"}, errors.InvalidInput, "No model is chosen"),
        ({"upscaler": TWICE, "image": torch.zeros(4, 4)}, errors.InvalidImage, "'image' has the shape"),
    ],
)
def test_refused_in_words(server, simulator, inputs, error, words):
    simulator.clear()
    with pytest.raises(error, match=words):
        call("DrawThingsUpscale", **{"server": server, "model": MODEL, "image": checkerboard(), **inputs})
    assert simulator.requests() == []


def settled(scale, size, known: Catalog, version="v1", **asked):
    return upscaling.enlarging(scale, size, asked, {}, version, known)


def test_an_upscaler_of_unknown_factor_is_measured():
    made = settled(0, (100, 50), Catalog.empty(), upscaler="own.ckpt")
    assert made.fit == Extended(100, 50)
    configuration = Configuration(made.settings)
    assert configuration["upscaler_scale_factor"] == 0
    results = np.zeros((1, 512, 512, 3), np.float32)  # 4 times the canvas, 128x128
    assert upscaling.finished(results, 0, (100, 50), made.fit, configuration).shape == (1, 200, 400, 3)


@pytest.mark.parametrize("factor", [1, 3])
def test_a_factor_that_no_server_knows_means_the_upscalers_own(factor):
    """server_semantics.md section 4: upscaler_scale_factor counts when it is 2 or 4."""
    shelf = catalog(upscalers=[{"name": "X", "file": "x.ckpt", "scale_factor": 4, "blocks": 23}])
    made = upscaling.enlarging(0, (100, 50), {"upscaler": "x.ckpt"}, {"upscaler_scale_factor": factor}, "v1", shelf)
    assert made.settings["upscaler_scale_factor"] == made.options["upscaler_scale_factor"] == 0
    assert made.fit == Extended(100, 50)


@pytest.mark.parametrize("own", ["4", 2.5, None, [4], True])
def test_a_factor_that_is_no_number_is_not_known(own):
    shelf = catalog(upscalers=[{"name": "X", "file": "x.ckpt", "scale_factor": own, "blocks": 23}])
    assert settled(0, (100, 50), shelf, upscaler="x.ckpt").fit == Extended(100, 50)


def test_a_server_that_did_not_enlarge_is_told():
    canvas = Configuration(start_width=128, start_height=128, upscaler="own.ckpt")
    with pytest.raises(errors.BadResult, match=r"does not have the upscaler own\.ckpt"):
        upscaling.finished(np.zeros((1, 128, 128, 3), np.float32), 2, (100, 100), Extended(100, 100), canvas)
    with pytest.raises(errors.BadResult, match="no multiple"):
        upscaling.finished(np.zeros((1, 200, 256, 3), np.float32), 2, (100, 100), Extended(100, 100), canvas)


@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.sampled_from([0, 1, 1.25, 2, 2.6, 3, 4]),
    st.sampled_from([2, 4]),
    st.sampled_from(["v1", "seedvr2_3b"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_size_and_scale_comes_out_exactly(width, height, scale, own, version, with_upscaler):
    """Of what a server would send back for what we would send."""
    if version == "v1":
        with_upscaler = True
    specification = {"name": "u", "file": "u.ckpt", "scale_factor": own, "blocks": 23}
    known = catalog(models=[model("m.ckpt", version)], upscalers=[specification])
    asked = {"upscaler": "u.ckpt"} if with_upscaler else {}
    planned = plan(Job("m.ckpt", settings=asked, images=np.zeros((1, height, width, 3), np.float32), scale=scale), known)
    (run,) = planned.runs()
    assert run.request is not None
    assert run.request.image is not None
    _, sent_height, sent_width, _ = run.request.image.shape
    assert sent_width % 64 == sent_height % 64 == 0
    factor = (planned.configuration["upscaler_scale_factor"] or own) if with_upscaler else 1
    sent_back = np.zeros((1, sent_height * factor, sent_width * factor, 1), np.float32)
    assert isinstance(planned.job.fit, Extended)
    made = upscaling.finished(sent_back, scale, (width, height), planned.job.fit, planned.configuration)
    by = scale or (own if with_upscaler else 2)
    assert made.shape[1:3] == (int(height * by + 0.5), int(width * by + 0.5))


def test_faces_are_not_restored_in_part(plainly):
    """model_specs.md: the face model needs a second file, without which a server skips it without a word."""
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as simulator:
        (simulator.models_directory / "parsenet_v1.0_f16.ckpt").unlink()
        server = call("DrawThingsLoadServer", host=simulator.host, port=simulator.port)[0]
        with pytest.raises(errors.FileNotOnServer, match=r"Second file of the face restoration model 'parsenet_v1\.0_f16\.ckpt' is not on"):
            call("DrawThingsUpscale", server=server, image=waves(64, 64), model=MODEL, face_restoration=FACES)
        assert simulator.requests() == []
