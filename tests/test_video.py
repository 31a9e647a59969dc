"""Generate Video against a real server process, for every video family: frames, rate, sound, first frames, refusals, previews."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import errors
from comfyui_drawthings.drawthings_core.families import families
from comfyui_drawthings.drawthings_core.simulator.plan import audio_samples
from comfyui_drawthings.nodes import host, video
from test_nodes import NODES, call, server

__all__ = ["server"]  # a fixture

MODELS = {
    "svd_i2v": "svd_i2v_xt_1.1_f16.ckpt",
    "hunyuan_video": "hunyuan_video_t2v_720p_q8p.ckpt",
    "wan_v2.1_1.3b": "wan_v2.1_1.3b_480p_f16.ckpt",
    "wan_v2.1_14b": "wan_v2.2_a14b_hne_t2v_q8p.ckpt",
    "wan_v2.2_5b": "wan_v2.2_5b_ti2v_q8p.ckpt",
    "ltx2": "ltx_2_19b_distilled_q8p.ckpt",
    "ltx2.3": "ltx_2.3_22b_distilled_1.1_q8p.ckpt",
}
WAN_I2V = "wan_v2.1_14b_i2v_480p_q6p_svd.ckpt"
RATES = {"svd_i2v": 30, "hunyuan_video": 30, "wan_v2.1_1.3b": 16, "wan_v2.1_14b": 16, "wan_v2.2_5b": 24, "ltx2": 25, "ltx2.3": 25}
"""Of the specifications in the simulator's catalogue; svd_i2v's has none."""

STEPS = {"svd_i2v": 1, "ltx2": 8, "ltx2.3": 8}


def ramp(count: int) -> torch.Tensor:
    """Pictures of one grey each, brighter and brighter: float [count, 128, 192, 3]."""
    return torch.linspace(0.2, 0.8, count)[:, None, None, None].expand(count, 128, 192, 3).contiguous()


def make(server, version="wan_v2.1_1.3b", **inputs):
    """frames, audio, fps and the read info of a small quick video."""
    small = {"model": MODELS.get(version, version), "prompt": "a boat", "width": 192, "height": 128, "steps": 4, "seed": 3}
    frames, audio, fps, info = call("DrawThingsVideo", server=server, **{**small, **inputs})
    return frames, audio, fps, json.loads(info)


def needed(version, **inputs):
    """With an image where the family works on one."""
    return {"image": ramp(1), **inputs} if version == "svd_i2v" else inputs


def test_every_video_family_is_tried():
    assert set(MODELS) | {"longcat_video_avatar_v1.5"} == {version for version, known in families().items() if known.video}


@pytest.mark.parametrize("asked", [1, 9, 10, 14])
@pytest.mark.parametrize("version", MODELS)
def test_frames_come_as_the_family_makes_them(server, simulator, version, asked):
    frames, _, fps, told = make(server, version, **needed(version, num_frames=asked))
    step = STEPS.get(version, 4)
    expected = (asked - 1) // step * step + 1
    assert frames.shape == (expected, 128, 192, 3)
    assert frames.dtype == torch.float32
    assert isinstance(fps, float)
    assert fps == RATES[version]
    assert told["video"]["frames"] == expected
    assert told["video"]["seconds"] == round(expected / fps, 3)
    assert told["seeds"] == [3]
    assert any(f"makes {expected} frames where {asked}" in note for note in told["notes"]) == (asked != expected)
    (arrived,) = simulator.requests()
    assert arrived["configuration"]["num_frames"] == asked


@pytest.mark.parametrize("version", MODELS)
def test_frames_are_in_order_and_move(server, version):
    frames, _, _, _ = make(server, version, **needed(version, num_frames=17))
    bar = frames[:, -1, :, 0] > 0.9  # the simulator draws the time that has passed into the last row
    lengths = bar.sum(dim=1).tolist()
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]
    sky = frames[:, 16:64]
    assert all(float((one - other).abs().mean()) > 1e-4 for one, other in itertools.pairwise(sky))


@pytest.mark.parametrize("version", MODELS)
def test_sound(server, version):
    """LTX: as long as the server makes it, at the family's rate. Others: silence as long as the video."""
    frames, audio, fps, told = make(server, version, **needed(version, num_frames=17))
    known = families()[version]
    waveform, rate = audio["waveform"], audio["sample_rate"]
    assert waveform.dtype == torch.float32
    assert waveform.shape[:2] == (1, 2)
    if known.audio_output_rate is None:
        assert rate == video.SILENCE_RATE
        assert waveform.shape[2] == math.ceil(len(frames) / fps * rate)
        assert not waveform.any()
        assert told["video"]["sound_hz"] is None
    else:
        assert rate == {"ltx2": 24000, "ltx2.3": 48000}[version]
        assert waveform.shape[2] == audio_samples(version, 17)
        assert abs(waveform.shape[2] / rate - len(frames) / fps) < 0.05
        assert 0.1 < float(waveform.abs().max()) <= 1
        assert not torch.equal(waveform[0, 0], waveform[0, 1])
        assert told["video"]["sound_hz"] == rate
    assert not any("sound" in note for note in told["notes"])


def test_the_tone_depends_on_the_seed(server):
    pitches = []
    for seed in (3, 4):
        _, audio, _, _ = make(server, "ltx2", num_frames=9, seed=seed)
        spectrum = np.abs(np.fft.rfft(audio["waveform"][0, 0].numpy()))
        pitches.append(int(spectrum.argmax()))
    assert pitches[0] < pitches[1]


SPOILT_SOUND = {
    "missing_audio": "sent no sound",
    "nan_audio": "not numbers",
    "truncated_audio": "The sound was left out. It is damaged",
    "wrong_shape_audio": "The sound was left out: it came back as [1, 2,",
}


@pytest.mark.parametrize("fault", SPOILT_SOUND)
def test_sound_that_is_missing_or_damaged_is_told_and_costs_no_frame(server, simulator, fault):
    simulator.set_fault(fault)
    frames, audio, fps, told = make(server, "ltx2.3", num_frames=9)
    assert len(frames) == 9
    assert audio["sample_rate"] == 48000
    assert bool(torch.isfinite(audio["waveform"]).all())
    assert any(SPOILT_SOUND[fault] in note for note in told["notes"])
    if fault != "nan_audio":
        assert audio["waveform"].shape == (1, 2, math.ceil(9 / fps * 48000))
        assert not audio["waveform"].any()


@pytest.mark.parametrize("model", [WAN_I2V, "svd_i2v", "ltx2", "ltx2.3", "skyreels_v1_hunyuan_i2v_q8p.ckpt"])
def test_first_frame(server, simulator, model):
    frames, _, _, told = make(server, model, image=ramp(1), num_frames=9)
    (arrived,) = simulator.requests()
    assert arrived["image"]["shape"] == [1, 128, 192, 3]
    assert arrived["configuration"]["strength"] == 1
    assert told["video"]["input_frames"] == 1
    assert not any("influence" in note for note in told["notes"])
    seen = frames[:, 40:60, 96:180].reshape(len(frames), -1)
    assert torch.allclose(seen[0], torch.tensor(0.2), atol=0.01)
    assert float((seen[-1] - 0.2).abs().mean()) > 0.02


@pytest.mark.parametrize("model", [WAN_I2V, "ltx2.3"])
def test_several_first_frames_go_together(server, simulator, model):
    frames, _, _, told = make(server, model, image=ramp(5), num_frames=17)
    (arrived,) = simulator.requests()
    assert arrived["image"]["shape"] == [5, 128, 192, 3]
    assert told["video"]["input_frames"] == 5
    seen = frames[:5, 40:60, 96:180].mean(dim=(1, 2, 3))
    assert torch.allclose(seen, torch.linspace(0.2, 0.8, 5), atol=0.01)


def test_one_frame_families_take_the_first_of_a_batch(server, simulator):
    frames, _, _, told = make(server, "svd_i2v", image=ramp(3), num_frames=4)
    assert simulator.requests()[0]["image"]["shape"] == [1, 128, 192, 3]
    assert any("the first of the 3 input frames" in note for note in told["notes"])
    assert torch.allclose(frames[0, 40:60, 96:180], torch.tensor(0.2), atol=0.01)


def test_more_frames_than_the_video_has_are_cut(server, simulator):
    _, _, _, told = make(server, WAN_I2V, image=ramp(12), num_frames=10)
    assert simulator.requests()[0]["image"]["shape"] == [9, 128, 192, 3]
    assert any("Of the 12 input frames the first 9 were used" in note for note in told["notes"])


def test_video_to_video_below_strength_1(server, simulator):
    """A text-to-video model does not see the image at strength 1, and is told to."""
    frames, _, _, told = make(server, "wan_v2.2_5b", image=ramp(9), num_frames=9, strength=0.4)
    assert simulator.requests()[0]["image"]["shape"] == [9, 128, 192, 3]
    levels = frames[:, 40:60, 96:180].mean(dim=(1, 2, 3))
    assert levels.tolist() == sorted(levels.tolist())
    assert told["notes"] == []
    _, _, _, told = make(server, "wan_v2.2_5b", image=ramp(9), num_frames=9)
    assert told["video"]["input_frames"] == 0
    assert simulator.requests()[1]["image"] is None
    assert any("no influence" in note for note in told["notes"])


def test_first_frame_is_fitted_to_the_recommended_proportions(server):
    tall = torch.full((1, 200, 100, 3), 0.5)
    frames, *_ = make(server, WAN_I2V, image=tall, num_frames=5, width=0, height=256)
    assert frames.shape == (5, 256, 128, 3)


def test_recommended_numbers(server, simulator):
    frames, _, _, told = make(server, "wan_v2.1_1.3b", steps=0, width=128, height=128)
    (arrived,) = simulator.requests()
    assert (len(frames), arrived["configuration"]["num_frames"], arrived["configuration"]["steps"]) == (81, 81, 30)
    assert told["notes"] == []


def test_options_win_and_reach_the_server(server, simulator):
    (frames,) = call("DrawThingsVideoOptions", num_frames=7)
    (options,) = call("DrawThingsSVDOptions", fps=9, motion_scale=40, guiding_frame_noise=0.5, start_frame_guidance=2.0, options=frames)
    made, _, fps, told = make(server, "svd_i2v", image=ramp(1), num_frames=3, options=options)
    sent = simulator.requests()[0]["configuration"]
    assert (sent["num_frames"], sent["fps_id"], sent["motion_bucket_id"], sent["cond_aug"]) == (7, 9, 40, 0.5)
    assert len(made) == 7
    assert fps == 30
    assert told["notes"] == []
    (options,) = call("DrawThingsCausalInferenceOptions", causal_inference=3, causal_inference_pad=1)
    make(server, "wan_v2.1_1.3b", num_frames=5, options=options)
    sent = simulator.requests()[1]["configuration"]
    assert (sent["causal_inference"], sent["causal_inference_pad"]) == (3, 1)


def test_one_video_whatever_the_batch_count(server, simulator):
    options, *_ = call("DrawThingsOptionsFromJSON", json='{"batchCount": 3, "batchSize": 2}')
    frames, _, _, told = make(server, num_frames=5, options=options)
    assert len(frames) == 5
    assert len(simulator.requests()) == 1
    assert any("Batch count 3 was left out" in note for note in told["notes"])


def test_an_upscaler_enlarges_every_frame(server):
    (options,) = call("DrawThingsUpscalerOptions", upscaler="realesrgan_x2plus_f16.ckpt")
    frames, *_ = make(server, num_frames=5, options=options)
    assert frames.shape == (5, 256, 384, 3)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"model": "sd_v1.5_f16.ckpt"}, errors.InvalidInput, "makes pictures, not videos"),
        ({"model": "seedvr2_3b_q8p.ckpt", "image": ramp(1)}, errors.InvalidInput, "makes pictures, not videos"),
        ({"model": MODELS["svd_i2v"]}, errors.InvalidInput, "works on a picture: connect an image"),
        ({"model": "longcat_video_avatar_1.5_q8p.ckpt", "image": ramp(1)}, errors.InvalidInput, "speech features"),
        ({"strength": 0.0, "image": ramp(1), "model": WAN_I2V}, errors.InvalidSetting, "Strength is 0"),
        ({"num_frames": 5000}, errors.InvalidSetting, "Frames is 5000"),
        ({"num_frames": -1}, errors.InvalidSetting, "Frames is -1"),
        ({"image": "first.png"}, errors.InvalidImage, "'image' is str"),
        ({"model": "none"}, errors.InvalidInput, "No model is chosen"),
        ({"steps": 1, "sampler": "Euler A"}, errors.InvalidSetting, "Steps is 1"),
    ],
)
def test_refusals_leave_the_server_alone(server, simulator, inputs, error, words):
    with pytest.raises(error, match=words) as caught:
        make(server, **inputs)
    assert str(caught.value).endswith(".")
    assert simulator.requests() == []


def test_frames_beyond_what_a_server_accepts_are_refused(server, monkeypatch):
    from comfyui_drawthings.drawthings_core import request

    monkeypatch.setattr(request, "MESSAGE_LIMIT", 1 << 20)
    with pytest.raises(errors.InvalidInput, match="fewer or smaller"):
        make(server, WAN_I2V, image=ramp(9), num_frames=9)


def test_a_run_that_gives_fewer_frames_is_told(server, simulator):
    simulator.set_fault("missing_image")
    frames, audio, fps, told = make(server, num_frames=9)
    assert len(frames) == told["video"]["frames"] == 8
    assert audio["waveform"].shape[2] == math.ceil(8 / fps * audio["sample_rate"])
    assert any("8 images where 9 were asked for" in note for note in told["notes"])


class Shown:
    """What a host is told."""

    previews = True  # wanted

    def __init__(self):
        self.values, self.pictures = [], []

    def progress(self, node_id, value, total, preview):
        self.values.append(value / total)
        if preview is not None:
            self.pictures.append(preview)

    def say(self, node_id, doing):
        pass

    def interrupted(self):
        return False


@pytest.mark.parametrize("version", MODELS)
def test_progress_and_previews(server, simulator, monkeypatch, version):
    """Four frames of the latent, from beginning to end, in two rows. LTX latents have rows for the sound, and no formula."""
    shown = Shown()
    simulator.set("step_seconds", 0.05)  # a preview that nobody could see in time is left out
    monkeypatch.setattr(host, "listener", shown)
    make(server, version, **needed(version, num_frames=33, steps=8))
    assert shown.values == sorted(shown.values)
    assert shown.values[-1] == 1
    if version.startswith("ltx"):
        assert shown.pictures == []
        return
    cell = families()[version].pixels_per_latent
    assert {picture.size for picture in shown.pictures} == {(2 * 192 // cell, 2 * 128 // cell)}
    last = np.asarray(shown.pictures[-1], np.float32)
    height, width = 128 // cell, 192 // cell
    quarters = [last[:height, :width], last[:height, width:], last[height:, :width], last[height:, width:]]
    assert all(np.abs(one - other).mean() > 1 for one, other in itertools.pairwise(quarters))


def test_generate_still_takes_video_models(server):
    images, mask, info = call("DrawThingsGenerate", server=server, model=MODELS["ltx2"], prompt="x", width=192, height=128, steps=4)
    told = json.loads(info)
    assert images.shape[0] == mask.shape[0] == len(told["seeds"]) > 1
    assert any("Generate Video also gives its frame rate" in note for note in told["notes"])
    assert any("no output for: Generate Video has one" in note for note in told["notes"])


def test_what_is_sent_can_be_copied_to_the_app(server):
    _, _, _, info = call("DrawThingsVideo", server=server, model=MODELS["wan_v2.1_1.3b"], prompt="x", width=192, height=128, num_frames=5)
    (written,) = call("DrawThingsOptionsToJSON", info=info)
    assert json.loads(written)["numFrames"] == 5


def test_frames_can_be_saved_with_their_settings(server, tmp_path):
    """Save Image finds the one seed of all frames in the info."""
    from comfyui_drawthings.runner import stand_ins

    frames, _, _, info = call(
        "DrawThingsVideo", server=server, model=MODELS["wan_v2.1_1.3b"], prompt="x", seed=77, width=128, height=128, num_frames=5
    )
    folders = stand_ins.Folders((tmp_path,), tmp_path)
    with stand_ins.in_use(folders):
        call("DrawThingsSaveImage", images=frames, info=info, filename_prefix="frame")
        assert len(folders.written) == 5
        restored = call("DrawThingsLoadImage", image=folders.written[3].name)
    assert restored[2] == "x"
    assert restored[4]["seed"] == 77


def test_outputs_fit_create_video():
    node = NODES["DrawThingsVideo"]
    assert (node.RETURN_TYPES[:3], node.RETURN_NAMES[:3]) == (("IMAGE", "AUDIO", "FLOAT"), ("frames", "audio", "fps"))
