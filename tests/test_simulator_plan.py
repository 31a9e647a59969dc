"""The simulator's pure parts against the figures of the server's source: start steps, events, shapes, counts, seeds, chunks."""

import itertools

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import preview, schedule
from comfyui_drawthings.drawthings_core.configuration import Sampler
from comfyui_drawthings.drawthings_core.families import families
from comfyui_drawthings.drawthings_core.schedule import Schedule, Start
from comfyui_drawthings.drawthings_core.simulator import latents, painting, plan, results, scene
from comfyui_drawthings.drawthings_core.simulator.plan import Path, Run, Stage, use_of_mask

FLOW, DDPM = Schedule("flow"), Schedule("ddpm", "v1")


@pytest.mark.parametrize(
    ("strength", "steps", "sampler", "how", "expected"),
    [
        (0.5, 8, Sampler.euler_a_trailing, FLOW, Start(4, 4)),
        (0.55, 8, Sampler.euler_a_trailing, FLOW, Start(3, 4)),
        (0.5, 8, Sampler.euler_a_trailing, Schedule("flow", shift=3.0), Start(6, 6)),
        (0.5, 8, Sampler.ddim_trailing, DDPM, Start(3, 4)),
        (0.901, 10, Sampler.ddim, DDPM, Start(0, 0)),
        (0.9, 10, Sampler.ddim, DDPM, Start(0, 1)),
        (0.5, 8, Sampler.plms, DDPM, Start(4, 4)),
        (0.55, 10, Sampler.plms, DDPM, Start(5, 5)),
        (0.0, 8, Sampler.euler_a_trailing, FLOW, Start(8, 8)),
        (1.5, 8, Sampler.euler_a_trailing, FLOW, Start(0, 0)),
        (float("nan"), 8, Sampler.euler_a_trailing, FLOW, Start(8, 8)),
    ],
)
def test_start_step(strength, steps, sampler, how, expected):
    assert schedule.start(strength, steps, sampler, how) == expected


def test_trailing_flow_runs_the_rounded_up_share():
    for steps in range(1, 30):
        for percent in range(1, 101):
            start = schedule.start(percent / 100, steps, Sampler.dpmpp_2m_trailing, FLOW)
            assert steps - start.floor == -(-percent * steps // 100)


@pytest.mark.parametrize("sampler", list(Sampler))
@pytest.mark.parametrize(
    "how",
    [FLOW, DDPM, Schedule("edm", "svd_i2v"), Schedule("cascade"), Schedule("flow", "flux1", 3.1), Schedule("ddpm", "sdxl_base_v0.9", 2.0)],
)
def test_schedules_fall_and_full_strength_starts_at_the_beginning(sampler, how):
    for steps in (1, 2, 8, 33):
        times = schedule.timesteps(steps, sampler, how)
        assert len(times) == steps + 1
        assert all(a >= b for a, b in itertools.pairwise(times))
        assert schedule.start(1.0, steps, sampler, how).floor == 0


def test_resolution_dependent_shift():
    assert schedule.resolution_dependent_shift(16, 16) == pytest.approx(3.1582, abs=1e-4)
    assert schedule.resolution_dependent_shift(8, 8) == pytest.approx(1.8776, abs=1e-4)


def listed(run):
    return [stage.signpost if stage.step is None else (stage.signpost, stage.step) for stage in run.events()]


def test_text_events():
    run = Run(Path.text, 2, Sampler.euler_a, Start(0, 0))
    assert listed(run) == ["textEncoded", "imageEncoded", ("sampling", 0), ("sampling", 1), ("sampling", 2), "imageDecoded"]
    assert run.signposts == {"textEncoded": None, "sampling": 2, "imageDecoded": None}


def test_text_previews_of_eight_steps():
    run = Run(Path.text, 8, Sampler.euler_a, Start(0, 0))
    assert [stage.step for stage in run.events() if stage.preview] == [1, 3, 5, 6, 7]


@pytest.mark.parametrize(
    ("first", "sampler", "expected"), [(5, Sampler.ddim, [1, 2]), (5, Sampler.plms, [0, 1, 2]), (4, Sampler.ddim, [1, 2, 3])]
)
def test_image_previews_go_by_the_absolute_step(first, sampler, expected):
    run = Run(Path.image, 8, sampler, Start(first, first))
    assert [stage.step for stage in run.events() if stage.preview] == expected


def test_image_events():
    run = Run(Path.image, 8, Sampler.euler_a, Start(6, 6), restores_faces=True, upscales=True)
    sampling = [("sampling", 0), ("sampling", 1), ("sampling", 2)]
    assert listed(run) == ["textEncoded", "imageEncoded", "imageEncoded", *sampling, "imageDecoded", "faceRestored", "imageUpscaled"]
    assert run.signposts["sampling"] == 2


def test_no_step_left_ends_after_the_text():
    run = Run(Path.image, 8, Sampler.euler_a, Start(8, 8), upscales=True)
    assert listed(run) == ["textEncoded"]
    assert run.signposts["sampling"] == 0


def test_strength_0_ends_after_the_text_with_every_schedule():
    """A linspace schedule ends at 0, so that strength 0 would match its last step."""
    how = Schedule("ddpm")
    for sampler in Sampler:
        assert listed(Run(Path.image, 8, sampler, schedule.start(0.0, 8, sampler, how), strength=0.0)) == ["textEncoded"]


def test_two_phases_report_the_start_step_twice():
    run = Run(Path.two_phase, 4, Sampler.euler_a, Start(1, 2))
    assert [step for name, step in (item for item in listed(run) if isinstance(item, tuple))] == [0, 1, 1, 2, 3, 4]
    assert run.signposts["sampling"] == 4


def test_hires_fix_events():
    run = Run(Path.text, 4, Sampler.euler_a, Start(0, 0), encodes_image=True, hires=True, second=Start(2, 2), second_steps=4)
    assert listed(run)[:3] == ["textEncoded", "imageEncoded", "imageEncoded"]
    second = [("secondPassSampling", step) for step in (0, 1, 2)]
    assert listed(run)[8:] == ["imageDecoded", "secondPassImageEncoded", "imageEncoded", *second, "secondPassImageDecoded"]
    assert run.signposts["secondPassSampling"] == 2


def test_cascade_text_ends_with_the_quirk():
    run = Run(Path.text, 2, Sampler.ddim, Start(0, 0), cascade=True, second_steps=10, quirk_start=3)
    values = [step for name, step in (item for item in listed(run) if isinstance(item, tuple)) if name == "secondPassSampling"]
    assert values == [*range(10), 7]
    assert run.signposts["secondPassSampling"] == 10


def test_cascade_image_announces_no_second_decoding():
    run = Run(Path.image, 4, Sampler.ddim, Start(2, 2), cascade=True, second=Start(5, 5), second_steps=10)
    assert run.signposts["secondPassSampling"] == 5
    assert "secondPassImageDecoded" not in run.signposts
    assert listed(run)[-1] == "secondPassImageDecoded"


def test_cascade_two_phases_sample_the_second_as_first():
    run = Run(Path.two_phase, 2, Sampler.ddim, Start(1, 1), cascade=True, second=Start(1, 1), second_steps=2)
    names = [stage.signpost for stage in run.events()]
    assert names[names.index("secondPassImageEncoded") + 1 :] == ["secondPassSampling", "sampling", "sampling", "secondPassImageDecoded"]


@pytest.mark.parametrize(
    ("codes", "transparent", "path", "overwrite_0"),
    [
        ({0}, False, Path.image, True),
        ({3}, False, Path.image, False),
        ({1}, False, Path.text, False),
        ({2}, False, Path.inpaint, False),
        ({4}, False, Path.inpaint, False),
        ({0, 3}, False, Path.inpaint, True),
        ({2, 3}, False, Path.inpaint, False),
        ({0, 2}, False, Path.inpaint, False),
        ({0, 1}, False, Path.two_phase, True),
        ({1, 3}, False, Path.two_phase, False),
        ({0, 1, 2}, False, Path.two_phase, False),
        ({0, 1, 2, 3}, False, Path.two_phase, True),
        ({7}, False, Path.image, True),
        ({1, 3}, True, Path.image, False),
        ({1, 2}, True, Path.inpaint, False),
    ],
)
def test_codes_of_a_mask(codes, transparent, path, overwrite_0):
    use = use_of_mask(frozenset(codes), transparent)
    assert (use.path, use.overwrite_0) == (path, overwrite_0)


@pytest.mark.parametrize(
    ("version", "count", "expected"),
    [
        ("v1", 2, (2, 64, 128, 4)),
        ("kandinsky2.1", 1, (1, 64, 128, 4)),
        ("flux1", 3, (3, 64, 128, 16)),
        ("flux2_4b", 1, (1, 64, 128, 32)),
        ("wan_v2.2_5b", 3, (3, 32, 64, 48)),
        ("ltx2", 3, (3, 17, 32, 128)),
        ("hidream_o1", 1, (1, 16, 32, 3072)),
        ("wurstchen_v3.0_stage_b", 1, (1, 128, 256, 4)),
    ],
)
def test_preview_shapes(version, count, expected):
    assert plan.preview_shape(version, 1024, 512, count) == expected


def test_cascade_previews():
    shapes = plan.cascade_shapes(1024, 1024, None, 1, Sampler.ddim)
    assert shapes == ((1, 192, 192, 3), (1, 256, 256, 4))
    assert plan.cascade_shapes(1024, 1024, (512, 448), 1, Sampler.ddim).first == (1, 112, 128, 3)
    assert plan.cascade_shapes(1024, 1024, None, 1, Sampler.plms).first == (1, 24, 24, 16)


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.version)
def test_every_family_agrees_with_the_table_of_families(family):
    if family.version != plan.CASCADE and family.version != "wurstchen_v3.0_stage_b":
        shape = plan.preview_shape(family.version, 1024, 1024, 1)
        assert shape.c == family.latent_channels
        assert shape.w == 1024 // family.pixels_per_latent
    if family.video:
        assert plan.image_count(family.version, 4, 14) == family.decoded_frames(14)
        assert plan.latent_frames(family.version, 14) is not None
    elif family.kind != "upscale":
        assert plan.image_count(family.version, 4, 14) == 4


@pytest.mark.parametrize(
    ("version", "frames", "count"),
    [("wan_v2.1_14b", 14, 13), ("wan_v2.1_14b", 81, 81), ("ltx2.3", 97, 97), ("svd_i2v", 14, 14), ("seedvr2_3b", 14, 1)],
)
def test_image_count(version, frames, count):
    assert plan.image_count(version, 2, frames) == count


def test_batch_seeds_are_an_xorshift():
    # by hand: 1 ^ 1<<13 = 0x2001; >>17 adds nothing; 0x2001 ^ 0x40020 = 0x42021
    assert plan.batch_seeds(1, 2) == [1, 0x42021]
    assert plan.batch_seeds(0, 2)[1] == plan.batch_seeds(0xBAD5EED, 2)[1]
    seeds = plan.batch_seeds(0xFFFFFFFF, 50)
    assert len(set(seeds)) == 50
    assert max(seeds) < 2**32


@pytest.mark.parametrize(
    ("version", "samples"), [("ltx2", ((9 - 1) * 4 + 1) * 240), ("ltx2.3", ((9 - 1) * 4 + 1) * 480), ("wan_v2.1_14b", 0)]
)
def test_audio_samples(version, samples):
    assert plan.audio_samples(version, 9) == samples


def messages_of(sizes, chunked, audio=(), limit=10):
    return list(
        results.result_messages([bytes(size) for size in sizes], [bytes(size) for size in audio], chunked=chunked, scale=2, limit=limit)
    )


def test_small_results_are_sent_whole():
    first, *rest = messages_of([4, 6], chunked=True)
    assert first.downloadSize == 10
    assert not first.generatedImages
    assert [(len(message.generatedImages[0]), message.chunkState, message.scaleFactor) for message in rest] == [(4, 0, 2), (6, 0, 2)]


def test_large_results_are_cut_only_when_the_client_can_reassemble():
    assert [len(message.generatedImages[0]) for message in messages_of([25], chunked=False)[1:]] == [25]
    pieces = messages_of([4, 25], chunked=True)[1:]
    assert [(len(message.generatedImages[0]), message.chunkState) for message in pieces] == [(4, 0), (10, 1), (10, 1), (5, 0)]
    assert [(len(message.generatedImages[0]), message.chunkState) for message in messages_of([20], chunked=True)[1:]] == [(10, 1), (10, 0)]


def test_audio_is_cut_by_the_images_total():
    whole = messages_of([4], chunked=True, audio=[30])[2:]
    assert [len(message.generatedAudio[0]) for message in whole] == [30]
    cut = messages_of([11], chunked=True, audio=[12])[3:]
    assert [(len(message.generatedAudio[0]), message.chunkState) for message in cut] == [(10, 1), (2, 0)]
    assert not cut[0].HasField("scaleFactor")


def test_empty_result_is_one_message():
    (message,) = messages_of([], chunked=True)
    assert message.scaleFactor == 2
    assert not message.HasField("downloadSize")


@pytest.mark.parametrize("version", [version for version in families() if not version.startswith(("ltx", "wurst"))])
def test_previews_show_the_picture_and_clear_up(version):
    shape = plan.preview_shape(version, 256, 256, 1)
    width, height = latents.picture_size(version, shape)
    key = scene.SceneKey("a hill", "", version, 3, 0, 8, 4.5, 0)
    wanted = (scene.paint(key, width, height) * 255).astype(np.uint8)[None]

    def error(done):
        rgb = preview.rgb(latents.latent(version, shape, wanted, done), version)
        assert rgb is not None
        return np.abs(rgb.astype(int) - wanted).mean()

    assert error(1.0) < 4
    assert error(1.0) < error(0.6) < error(0.0)


def test_scene_depends_on_every_part_and_is_the_same_again():
    key = scene.SceneKey("fox", "", "m.ckpt", 1, 0, 8, 4.5, 0)
    picture = scene.paint(key, 64, 48)
    assert np.array_equal(picture, scene.paint(key, 64, 48))
    changes = {"prompt": "cat", "negative_prompt": "x", "model": "n", "seed": 2, "member": 1, "steps": 30, "guidance": 9.0, "sampler": 5}
    for name, value in changes.items():
        assert not np.array_equal(picture, scene.paint(key._replace(**{name: value}), 64, 48)), name
    assert not np.array_equal(picture, scene.paint(key, 64, 48, 0.5))


def test_areas_grow_and_shrink():
    area = np.zeros((20, 20), bool)
    area[8:12, 8:12] = True
    for pixels in (-2, -1, 0, 1, 3):
        side = 4 + 2 * pixels
        assert painting.shifted_area(area, pixels).sum() == max(side, 0) ** 2
    assert painting.shifted_area(np.ones((5, 5), bool), -2).all()


def test_stage_is_a_plain_value():
    assert Stage("sampling", 1) == ("sampling", 1, None, 0, 1)
