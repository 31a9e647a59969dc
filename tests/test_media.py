"""What the runner writes in place of videos and sounds: stand-ins for Create Video, Save Video and Save Audio."""

from __future__ import annotations

import json
import wave

import numpy as np
import pytest
import torch
from comfyui_drawthings.runner import media, stand_ins
from comfyui_drawthings.runner.workflow import WorkflowError
from PIL import Image
from test_runner import Command

VIDEO = {
    "model": "ltx_2_19b_distilled_q8p.ckpt",
    "prompt": "rain on a roof",
    "negative_prompt": "",
    "seed": 5,
    "width": 192,
    "height": 128,
    "num_frames": 9,
    "steps": 2,
    "guidance": -1,
    "sampler": "recommended",
    "strength": 1.0,
    "fit": "crop",
}


def graph(**nodes):
    """Load Server -> Generate Video -> Create Video -> Save Video, in API format."""
    return {
        "1": {"class_type": "DrawThingsLoadServer", "inputs": {"host": "127.0.0.1", "port": 7859, "tls": "auto"}},
        "2": {"class_type": "DrawThingsVideo", "inputs": {"server": ["1", 0], **VIDEO}},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "audio": ["2", 1], "fps": ["2", 2]}},
        "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "filename_prefix": "clip", "format": "auto", "codec": "auto"}},
        **nodes,
    }


@pytest.fixture
def run(tmp_path, capsys, simulator):
    return Command(tmp_path, capsys, simulator.address)


@pytest.fixture
def folders(tmp_path):
    return stand_ins.Folders((tmp_path,), tmp_path)


def heard(path):
    """(samples [N, channels], rate) of a WAV."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return samples, file.getframerate()


def test_a_video_with_sound_runs_without_comfyui(run):
    alone = {"class_type": "SaveAudio", "inputs": {"audio": ["2", 1], "filename_prefix": "sound/alone"}}
    assert run(graph(**{"5": alone})) == 0, run.complained
    assert run.complained == ""
    assert {path.relative_to(run.out).as_posix() for path in run.written} == {
        "clip_00001_.webp",
        "clip_00001_.wav",
        "sound/alone_00001_.wav",
    }
    with Image.open(run.out / "clip_00001_.webp") as picture:
        assert (picture.n_frames, picture.size) == (9, (192, 128))
        exif = picture.getexif()
        sent = json.loads(exif[0x0110].removeprefix("prompt:"))
        assert sent["2"]["inputs"]["prompt"] == "rain on a roof"
    samples, rate = heard(run.out / "clip_00001_.wav")
    whole, _ = heard(run.out / "sound" / "alone_00001_.wav")
    assert rate == 24000
    assert samples.shape == whole.shape == (33 * 240, 2)
    assert np.abs(samples).max() > 3000
    assert "MP4 in ComfyUI" in run.said
    assert "FLAC in ComfyUI" in run.said


def test_files_are_numbered_on(run):
    assert run(graph()) == 0
    assert run(graph()) == 0
    assert run.written[0].name == "clip_00002_.webp"


def test_a_format_of_a_newer_comfyui_is_taken(run):
    document = graph()
    document["4"]["inputs"].update(format="webm", codec="av1")
    assert run(document) == 0


def pictures(count):
    """A white bar that grows: float [count, 64, 128, 3]."""
    return (torch.arange(128) <= torch.arange(count)[:, None]).float()[:, None, :, None].expand(count, 64, 128, 3)


@pytest.mark.parametrize(("fps", "frames"), [(16.0, 81), (24.0, 25), (23.976, 48), (30.0, 14), (120.0, 60)])
def test_an_animation_lasts_as_long_as_the_video(tmp_path, fps, frames):
    path = tmp_path / "a.webp"
    media.write_webp(path, media.Video(pictures(frames), None, fps), None, None)
    milliseconds = 0
    with Image.open(path) as animation:
        assert animation.n_frames == frames
        for number in range(frames):
            animation.seek(number)
            animation.load()
            milliseconds += animation.info["duration"]
            assert np.count_nonzero(np.asarray(animation.convert("L"))[32] > 127) == number + 1
    assert abs(milliseconds - frames * 1000 / fps) <= 1


def test_sound_is_cut_to_the_pictures_as_comfyui_does():
    audio = {"waveform": torch.ones(1, 1, 1000), "sample_rate": 100}
    sound, rate = media.Video(pictures(5), audio, 2.0).sound
    assert (sound.shape, rate) == ((1, 250), 100)
    assert media.Video(pictures(5), audio, 0.1).sound[0].shape == (1, 1000)
    assert media.Video(pictures(5), None, 2.0).sound is None


def test_a_video_without_sound_is_one_file(folders):
    made = stand_ins.bound(folders)
    (video,) = made["CreateVideo"]().create(pictures(3), 8.0)
    made["SaveVideo"]().save(video, "%width%x%height%/silent", "auto", "auto", None, {"workflow": {"id": "x"}, "other": 1})
    assert [path.relative_to(folders.out).as_posix() for path in folders.written] == ["128x64/silent_00001_.webp"]
    assert "sound" not in folders.remarks[0]
    with Image.open(folders.written[0]) as picture:
        assert picture.getexif()[0x010F] == 'workflow:{"id": "x"}'
        assert picture.getexif()[0x010E] == "other:1"


def test_samples_are_16_bit_and_clamped(tmp_path):
    sound = np.array([[0, 0.5, -1, 2], [0, -0.5, 1, -2]], np.float32)
    media.write_wav(tmp_path / "a.wav", sound, 48000)
    samples, rate = heard(tmp_path / "a.wav")
    assert rate == 48000
    assert samples.tolist() == [[0, 0], [16384, -16384], [-32767, 32767], [32767, -32767]]


def test_every_sound_of_a_batch_is_saved(folders):
    stand_ins.bound(folders)["SaveAudio"]().save({"waveform": torch.zeros(2, 1, 10), "sample_rate": 8000}, "a")
    assert [path.name for path in folders.written] == ["a_00001_.wav", "a_00002_.wav"]


@pytest.mark.parametrize("kind", ["SaveVideo", "SaveAudio"])
def test_nothing_is_written_outside_the_folder(folders, kind):
    values = {
        "SaveVideo": (media.Video(pictures(2), None, 8.0), "../x", "auto", "auto"),
        "SaveAudio": ({"waveform": torch.zeros(1, 1, 10), "sample_rate": 8000}, "../x"),
    }
    with pytest.raises(WorkflowError, match="outside the output folder"):
        stand_ins.bound(folders)[kind]().save(*values[kind])
    assert folders.written == []


def test_a_rate_that_is_no_whole_number():
    assert media.Video(pictures(24), {"waveform": torch.ones(1, 2, 96000), "sample_rate": 48000}, 23.976).sound[0].shape == (2, 48049)
