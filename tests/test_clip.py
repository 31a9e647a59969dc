"""A job as one video: which models, how many frames go in and come out, how fast it is played. No server."""

from __future__ import annotations

import numpy as np
import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import clip
from comfyui_drawthings.drawthings_core.errors import InvalidInput, InvalidSetting
from comfyui_drawthings.drawthings_core.families import families
from comfyui_drawthings.drawthings_core.job import Job, plan

VIDEO = {version for version, known in families().items() if known.video}
CONTINUES = {"wan_v2.1_1.3b", "wan_v2.1_14b", "wan_v2.2_5b", "ltx2", "ltx2.3", "longcat_video_avatar_v1.5"}
SHELF = catalog(
    models=[
        *(model(f"{version}.ckpt", version) for version in families()),
        model("wan_i2v.ckpt", "wan_v2.1_14b", modifier="inpainting"),
        model("newer.ckpt", "brand_new_video"),
        model("ltx_2.3_22b_dev_q8p.ckpt", "ltx2.3"),
    ]
)


def planned(version, frames=0, settings=None, **more):
    images = np.zeros((frames, 64, 64, 3), np.float32) if frames else None
    sized = {"start_width": 128, "start_height": 128, **(settings or {})}
    return plan(Job(model=f"{version}.ckpt", images=images, settings=sized, one_video=True, **more), SHELF)


def sent(version, frames, **settings):
    """Shape of the image that a request for one video carries, at a strength at which every model looks at it."""
    (run,) = planned(version, frames, {"strength": 0.8, **settings}).runs()
    return run.request.image.shape


@pytest.mark.parametrize("version", [version for version in families() if version not in VIDEO])
def test_models_that_make_pictures_are_refused(version):
    with pytest.raises(InvalidInput, match="makes pictures, not videos"):
        planned(version, 1)


@pytest.mark.parametrize("version", sorted(VIDEO))
def test_input_frames_by_family(version):
    assert sent(version, 1, num_frames=9) == (1, 128, 128, 3)
    assert sent(version, 5, num_frames=9) == (5 if version in CONTINUES else 1, 128, 128, 3)
    assert sent(version, 20, num_frames=10) == (9 if version in CONTINUES else 1, 128, 128, 3)
    told = planned(version, 20, {"num_frames": 9}).notes
    words = "the first 9 were used" if version in CONTINUES else "the first of the 20 input frames was used"
    assert any(words in note for note in told)
    assert not any("input frames" in note for note in planned(version, 1, {"num_frames": 9}).notes)


def test_a_family_that_is_not_known_gets_what_is_there():
    made = planned("newer", 3, {"num_frames": 2, "strength": 0.8})
    assert made.frame_rate == 30
    (run,) = made.runs()
    assert run.request.image.shape[0] == 2
    assert made.pictures_of(run) == 2


@pytest.mark.parametrize("version", sorted(VIDEO))
def test_a_recommended_number_of_frames_is_one_that_comes_back(version):
    made = planned(version)
    frames = made.configuration["num_frames"]
    assert families()[version].decoded_frames(frames) == frames
    assert not any("asked for" in note for note in made.notes)


def test_frames_asked_for_are_rounded_by_the_server_and_said():
    made = planned("ltx2", settings={"num_frames": 100})
    assert made.configuration["num_frames"] == 100
    assert "LTX-2 makes 97 frames where 100 were asked for." in made.notes


def test_one_video_a_run():
    made = planned("wan_v2.1_14b", options={"batch_count": 3})
    assert made.count == 1
    assert made.configuration["batch_count"] == 1
    assert any(note.startswith("Batch count 3 was left out") for note in made.notes)
    assert planned("wan_i2v", 4).count == 1


def test_strength_0_makes_no_video():
    with pytest.raises(InvalidSetting, match="Strength is 0"):
        planned("wan_i2v", 1, {"strength": 0})
    assert planned("wan_i2v", 0, {"strength": 0}).configuration["strength"] == 1


@pytest.mark.parametrize(("version", "blind"), [("wan_v2.2_5b", True), ("wan_v2.1_14b", True), ("wan_i2v", False), ("svd_i2v", False)])
def test_an_image_that_the_model_does_not_see_is_told(version, blind):
    assert any("no influence" in note for note in planned(version, 1).notes) == blind
    (run,) = planned(version, 1).runs()
    assert (run.request.image is None) == blind
    assert not any("no influence" in note for note in planned(version, 1, {"strength": 0.8}).notes)


@pytest.mark.parametrize("version", sorted(VIDEO))
def test_frame_rate_of_a_family(version):
    assert planned(version).frame_rate == families()[version].frame_rate


@pytest.mark.parametrize(
    ("own", "rate"),
    [(24, 24), (23.976, 23.976), (1, 1), (0, 16), (-8, 16), (1000, 16), (float("nan"), 16), ("24", 16), (True, 16), (None, 16)],
)
def test_a_specification_has_the_last_word_on_the_frame_rate(own, rate):
    entry = catalog(models=[model("wan.ckpt", "wan_v2.1_14b", frames_per_second=own)]).find("model", "wan.ckpt")
    assert clip.frame_rate(entry, "wan_v2.1_14b") == rate


@pytest.mark.parametrize(
    ("size", "first"),
    [
        ((1280, 768), (640, 384)),
        ((768, 1280), (384, 640)),
        ((1024, 1024), (512, 512)),
        ((1408, 768), (704, 384)),
        ((768, 1344), None),  # half of it is no multiple of 64
        ((960, 960), None),
        ((512, 512), None),  # less than the recommended first pass
        ((128, 128), None),
    ],
)
def test_a_recommended_first_pass_is_made_for_its_canvas(size, first):
    """LTX-2.3's recommendation has a first pass of 640x384 for a canvas of 1280x768."""
    made = planned("ltx_2.3_22b_dev_q8p", 1, settings={"start_width": size[0], "start_height": size[1]})
    settings = made.configuration
    assert settings["hires_fix"] == (first is not None)
    if first is not None:
        assert (settings["hires_fix_start_width"], settings["hires_fix_start_height"]) == first
    assert not any("high-resolution" in note for note in made.notes)


def test_a_portrait_first_frame_gets_a_portrait_first_pass():
    images = np.zeros((1, 1280, 768, 3), np.float32)
    made = plan(Job(model="ltx_2.3_22b_dev_q8p.ckpt", images=images, settings={"strength": 1.0}, one_video=True), SHELF).configuration
    sides = ("start_width", "start_height", "hires_fix_start_width", "hires_fix_start_height")
    assert [made[side] for side in sides] == [768, 1280, 384, 640]


def test_a_first_pass_that_was_asked_for_stays_and_is_told():
    asked = planned("ltx_2.3_22b_dev_q8p", options={"hires_fix": True})
    assert any("must be smaller" in note for note in asked.notes)
    tall = {"start_width": 768, "start_height": 1280}
    asked = planned("ltx_2.3_22b_dev_q8p", settings=tall, options={"hires_fix": True})
    assert asked.configuration["hires_fix_start_width"] == 384
    assert not any("stretches" in note for note in asked.notes)
    sizes = {"hires_fix": True, "hires_fix_start_width": 640, "hires_fix_start_height": 384}
    asked = planned("ltx_2.3_22b_dev_q8p", settings=tall, options=sizes)
    assert (asked.configuration["hires_fix_start_width"], asked.configuration["hires_fix_start_height"]) == (640, 384)
    assert any("stretches its first pass, 640x384, to 768x1280" in note and note.endswith("such as 384x640.") for note in asked.notes)
    near = {**sizes, "hires_fix_start_width": 448, "hires_fix_start_height": 704}
    assert not any("stretches" in note for note in planned("ltx_2.3_22b_dev_q8p", settings=tall, options=near).notes)


def test_plain_generate_takes_video_models_and_names_the_other_node():
    images = np.zeros((2, 64, 64, 3), np.float32)
    made = plan(Job(model="wan_i2v.ckpt", images=images, settings={"start_width": 128, "start_height": 128, "num_frames": 5}), SHELF)
    assert [run.request.image.shape[0] for run in made.runs()] == [1, 1]
    assert any("Generate Video" in note for note in made.notes)


def test_an_image_at_strength_0_comes_back_alone():
    """server_semantics.md section 2: the image path stops at once."""
    images = np.zeros((1, 128, 128, 3), np.float32)
    made = plan(Job(model="wan_i2v.ckpt", images=images, settings={"strength": 0, "num_frames": 5}), SHELF)
    (run,) = made.runs()
    assert made.pictures_of(run) == 1
