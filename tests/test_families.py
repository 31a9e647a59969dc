"""Families, recommended settings, hint rules and previews: every family has its row, every figure its place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import families, halves, hints, preview
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, Configuration, ControlInputType, Sampler
from comfyui_drawthings.drawthings_core.families import family

# fmt: off
VERSIONS = [
    "v1", "v2", "kandinsky2.1", "sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b",
    "svd_i2v", "wurstchen_v3.0_stage_c", "wurstchen_v3.0_stage_b", "sd3", "pixart", "auraflow",
    "flux1", "sd3_large", "hunyuan_video", "wan_v2.1_1.3b", "wan_v2.1_14b", "hidream_i1",
    "hidream_o1", "qwen_image", "wan_v2.2_5b", "z_image", "ernie_image", "flux2",
    "flux2_9b", "flux2_4b", "cosmos2.5_2b", "ideogram_4", "krea_2", "ltx2",
    "ltx2.3", "seedvr2_3b", "seedvr2_7b", "longcat_video_avatar_v1.5",
]
# fmt: on


def test_every_version_has_a_family_and_a_preview_row():
    assert list(families.families()) == VERSIONS
    assert {version for version, _ in preview.formulas()} == set(VERSIONS)
    assert sum(1 for formula in preview.formulas().values() if formula.kind != "none") == 34  # 32 families, Stable Cascade's two twice


@pytest.mark.parametrize("version", VERSIONS)
def test_family_row(version):
    known = family(version)
    assert known is not None
    assert known.settings <= set(CONFIGURATION)
    assert known.matters("steps")
    assert known.default_scale > 0
    assert known.video == (known.frame_step > 0)
    assert (known.frame_rate is not None) == known.video
    assert (known.audio_output_rate is not None) == version.startswith("ltx")
    assert (len(known.samplers) == 10) == known.flow


SDXL = {"sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b"}
FEW_HAVE = {
    "needs_image": {"svd_i2v", "seedvr2_3b", "seedvr2_7b"},
    "never_guided": {"longcat_video_avatar_v1.5"},
    "hires_fix_fails": {"hidream_o1"},
    "cascade_stage": {"wurstchen_v3.0_stage_c", "wurstchen_v3.0_stage_b"},
    "ays": {"v1", "v2", "svd_i2v", *SDXL},
    "signed_pose": {"flux1", "wan_v2.1_1.3b", "wan_v2.1_14b"},
    "vace": {"wan_v2.1_1.3b", "wan_v2.1_14b", "wan_v2.2_5b"},
    "tea_cache_built_in": {"flux1", "hunyuan_video", "hidream_i1"},
    "read_by_refiner": SDXL - {"sdxl_refiner_v0.9"},
    "also_loras": {"kandinsky2.1"},
}
"""model_families.json (rules, notes), server_semantics.md sections 1 and 3, app_behaviour.md section 3, model_specs.md."""


@pytest.mark.parametrize("fact", FEW_HAVE)
def test_what_few_families_have(fact):
    assert {version for version in VERSIONS if getattr(family(version), fact)} == FEW_HAVE[fact]


def test_unknown_family():
    assert family("brand_new_9") is None
    assert family(None) is None
    assert families.name_of("brand_new_9") == "brand_new_9"
    assert families.recommended("brand_new_9_q8p.ckpt", "brand_new_9") == {"start_width": 512, "start_height": 512}


@pytest.mark.parametrize(
    ("version", "asked", "given"),
    [("wan_v2.1_14b", 14, 13), ("wan_v2.1_14b", 81, 81), ("ltx2", 97, 97), ("ltx2", 100, 97), ("svd_i2v", 14, 14), ("hunyuan_video", 1, 1)],
)
def test_decoded_frames(version, asked, given):
    assert family(version).decoded_frames(asked) == given


@pytest.mark.parametrize(
    ("file", "version", "expected"),
    [
        (
            "flux_1_dev_q5p.ckpt",
            None,
            {"start_width": 1024, "steps": 28, "guidance_scale": 4.5, "sampler": Sampler.euler_a_trailing},
        ),  # exact
        ("flux_1_schnell_q8p.ckpt", None, {"steps": 4}),  # same stem
        ("flux_1_dev_finetuned_by_me_q8p.ckpt", "flux1", {"steps": 28}),  # stem is a prefix
        ("something_else.ckpt", "flux1", {"steps": 28}),  # the family's own preset
        ("sd_v1.5_f16.ckpt", None, {"start_width": 512, "steps": 16, "sampler": Sampler.dpmpp_2m_ays}),
    ],
)
def test_recommended(file, version, expected):
    settings = families.recommended(file, version)
    assert {name: settings[name] for name in expected} == expected
    Configuration(settings)


def test_recommended_looks_at_loras_first():
    plain = families.recommended("qwen_image_1.0_q6p.ckpt", "qwen_image")
    presets = [p for p in families._presets() if p["model"] == "qwen_image_1.0_q6p.ckpt" and p["configuration"].get("loras")]
    lora = presets[0]["configuration"]["loras"][0]["file"]
    with_lora = families.recommended("qwen_image_1.0_q6p.ckpt", "qwen_image", loras=[lora])
    assert with_lora["steps"] == presets[0]["configuration"]["steps"]
    assert with_lora["steps"] != plain["steps"]


def test_which_families_refine_one_another():
    assert all(families.refines(version, version) for version in VERSIONS)
    pairs = {(one, other) for one in VERSIONS for other in VERSIONS if one < other and families.refines(one, other)}
    assert pairs == {
        ("sdxl_base_v0.9", "sdxl_refiner_v0.9"),
        ("sdxl_base_v0.9", "ssd_1b"),
        ("sdxl_refiner_v0.9", "ssd_1b"),
        ("sd3", "sd3_large"),
        ("wan_v2.1_1.3b", "wan_v2.1_14b"),
    }


def test_every_preset_can_be_sent():
    for preset in families._presets():
        settings = families.recommended(preset["model"], preset["version"])
        Configuration(settings, model=preset["model"])
        assert "loras" not in settings


def test_hint_rules_cover_what_a_server_reads():
    missing = set(ControlInputType) - set(hints.RULES)
    assert missing == {ControlInputType.unspecified, ControlInputType.inpaint, ControlInputType.ip2p}
    assert {rule.wire for rule in hints.RULES.values()} == set(hints.CHANNELS)
    assert hints.RULES[ControlInputType.depth].values.name == "gray_signed"
    assert {kind.name for kind, rule in hints.RULES.items() if rule.values.name == "rgb_unit"} == {"scribble", "pose"}


@pytest.mark.parametrize(("version", "channels"), [key for key, formula in preview.formulas().items() if formula.kind != "none"])
def test_preview_of_every_family(version, channels):
    latent = np.random.default_rng(1).normal(size=(2, 6, 4, channels)).astype(np.float16)
    pictures = preview.rgb(latent, version)
    scale = 32 if version == "hidream_o1" else 1
    assert pictures is not None
    assert pictures.shape == (2, 6 * scale, 4 * scale, 3)
    assert pictures.dtype == np.uint8
    assert pictures.std() > 5
    latent[0, 0, 0, 0] = np.nan
    assert preview.rgb(latent, version) is not None


def test_preview_formulas_by_hand():
    v1 = preview.rgb(np.array([[[[1, 0, 0, 0]]]], np.float16), "v1")
    np.testing.assert_array_equal(v1, [[[[149, 140, 139]]]])  # 99.9368 + 49.521, truncated
    flux = preview.rgb(np.zeros((1, 1, 1, 16), np.float16), "flux1")
    np.testing.assert_array_equal(flux, [[[[123, 118, 116]]]])  # bias * 127.5 + 127.5
    cascade = preview.rgb(np.array([[[[0.5, 1.2, -1]]]], np.float32), "wurstchen_v3.0_stage_c")
    np.testing.assert_array_equal(cascade, [[[[128, 255, 0]]]])  # rounded, the only one
    lightness = 0.88591
    linear = [row_sum * lightness**3 for row_sum in (1.0000000, 1.0000000, 1.0)]
    expected = math.floor(((linear[0] + 0.055) / 1.055) ** 2.4 * 255)
    oklab = preview.rgb(np.zeros((1, 1, 1, 4), np.float16), "kandinsky2.1")
    assert oklab is not None
    assert abs(int(oklab[0, 0, 0].mean()) - expected) < 12  # a and b of the bias tint it slightly


VIEWABLE = [key for key, formula in preview.formulas().items() if formula.kind != "none"]


@pytest.mark.parametrize(("version", "channels"), VIEWABLE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_large_preview_is_thinned_out_before_it_is_converted(version, channels, dtype):
    latent = np.random.default_rng(2).normal(size=(2, 8, 6, channels)).astype(dtype)
    whole = preview.rgb(latent, version)
    assert whole is not None
    height = whole.shape[1]
    for largest, step in ((height, 1), (height - 1, 2), (height // 2, 2), (height // 4, 4), (1 << 20, 1)):
        thinned = preview.rgb(latent, version, largest)
        assert thinned is not None
        assert max(thinned.shape[1:3]) <= largest
        np.testing.assert_array_equal(thinned, whole[:, step // 2 :: step, step // 2 :: step])


@pytest.mark.parametrize("shape", [(1, 1, 5000, 4), (1, 5000, 1, 4), (2, 3, 4000, 4)])
def test_a_strip_is_thinned_out_to_a_line_not_to_nothing(shape):
    thinned = preview.rgb(np.zeros(shape, np.float16), "v1", 512)
    assert thinned is not None
    assert min(thinned.shape[1:3]) == 1
    assert 400 < max(thinned.shape[1:3]) <= 512


@pytest.mark.parametrize(("version", "channels"), VIEWABLE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_black_and_the_rest_stays(version, channels, dtype, value):
    latent = np.random.default_rng(3).normal(size=(1, 6, 4, channels)).astype(dtype)
    before = preview.rgb(latent, version)
    assert before is not None
    latent[0, 2, 3, 0] = value
    after = preview.rgb(latent, version)
    assert after is not None
    scale = 32 if channels == 3072 else 1
    patch = np.s_[0, 2 * scale : 3 * scale, 3 * scale : 4 * scale]
    if channels in (3, 3072):  # one colour of one pixel
        assert after[patch][0, 0, 0] == 0
        after[patch][0, 0, 0] = before[patch][0, 0, 0]
    else:
        assert not after[patch].any()
        after[patch] = before[patch]
    np.testing.assert_array_equal(after, before)


def test_every_half_is_widened_exactly():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for values in (every, every[np.isfinite(every)], every[::-1][: 1 << 15 : 2]):
        np.testing.assert_array_equal(halves.widened(values).view(np.uint32), values.astype(np.float32).view(np.uint32))


def test_pixel_patches_are_put_in_place():
    latent = np.zeros((1, 1, 2, 3072), np.float16)
    latent[0, 0, 1, 1024 + 5 * 32 + 7] = 1  # green, row 5, column 7 of the second patch
    pictures = preview.rgb(latent, "hidream_o1")
    assert pictures is not None
    assert pictures.shape == (1, 32, 64, 3)
    assert tuple(pictures[0, 5, 32 + 7]) == (127, 255, 127)


@pytest.mark.parametrize(
    ("version", "shape"),
    [
        ("ltx2", (1, 4, 4, 128)),
        ("v1", (1, 4, 4, 16)),
        ("unknown", (1, 4, 4, 4)),
        ("wurstchen_v3.0_stage_c", (1, 4, 4, 16)),
        ("v1", (4, 4, 4)),
    ],
)
def test_what_is_not_viewable_is_none(version, shape):
    assert preview.rgb(np.zeros(shape, np.float16), version) is None
