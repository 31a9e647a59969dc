"""Option nodes, options from and to JSON, and recommended settings, as a graph uses them."""

from __future__ import annotations

import inspect
import json
import time

import comfyui_drawthings
import numpy as np
import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import advice, errors, families
from comfyui_drawthings.drawthings_core.configuration import (
    CONFIGURATION,
    Configuration,
    Control,
    Kind,
    LoRA,
    Options,
    Sampler,
    app_json,
)
from comfyui_drawthings.drawthings_core.images import Fit
from comfyui_drawthings.drawthings_core.job import Job, plan
from comfyui_drawthings.nodes import options as option_nodes
from comfyui_drawthings.nodes import widgets
from hypothesis import given, settings
from hypothesis import strategies as st
from test_configuration import configurations, values_of
from test_nodes import MODEL, NODES, call, server, small

__all__ = ["server"]  # a fixture

OPTION_NODES = {topic: f"DrawThings{about.id}Options" for topic, about in option_nodes.TOPICS.items()}
FILES = {
    "refiner_model": "juggernaut_reborn_f16.ckpt",
    "upscaler": "realesrgan_x2plus_f16.ckpt",
    "face_restoration": "restoreformer_v1.0_f16.ckpt",
}

ON_GENERATE = {
    "start_width",
    "start_height",
    "seed",
    "steps",
    "guidance_scale",
    "strength",
    "model",
    "sampler",
    "batch_count",
    "batch_size",
    "loras",
    "controls",
}
"""Fields that have their own input on Generate."""


def inputs_of(node_id):
    definition = NODES[node_id].INPUT_TYPES()
    return {**definition["required"], **definition.get("optional", {})}


def another(row):
    """A widget value that is not the default, and what must arrive for it."""
    if row.file_kind:
        return FILES[row.name], FILES[row.name]
    if row.kind is Kind.switch:
        value = not row.default
        return {True: "on", False: "off"}[value] if row.varies else value, value
    if row.kind is Kind.choice:
        member = next(member for member in row.choice if member != row.default)
        return member.label, member.wire_name
    if row.kind is Kind.text:
        return f"about {row.name}", f"about {row.name}"
    value = row.default + row.step if row.default + row.step <= row.maximum else row.default - row.step
    return value, pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("topic", OPTION_NODES)
def test_every_widget_arrives_at_the_server(topic, server, simulator):
    wanted = {row.name: another(row) for row in option_nodes.rows_of(topic)}
    inputs = {CONFIGURATION[name].input_name: value for name, (value, _) in wanted.items()}
    (options,) = call(OPTION_NODES[topic], **inputs)
    call("DrawThingsGenerate", server=server, options=options, **small())
    arrived = simulator.requests()[-1]["configuration"]
    assert {name: arrived[name] for name in wanted} == {name: value for name, (_, value) in wanted.items()}


def test_widget_order_is_for_ever():
    """widgets_values in saved workflows are positional: new settings are appended to a node's list, and nothing moves."""
    order = {about.id: [row.input_name for row in option_nodes.rows_of(topic)] for topic, about in option_nodes.TOPICS.items()}
    assert order == {
        "Sampling": ["seed_mode", "sharpness", "shift", "stochastic_sampling_gamma", "resolution_dependent_shift"],
        "Guidance": ["image_guidance_scale", "zero_negative_prompt", "speed_up_with_guidance_embed", "guidance_embed"],
        "HiresFix": ["hires_fix", "hires_fix_width", "hires_fix_height", "hires_fix_strength"],
        "Tiling": [
            "tiled_decoding", "decoding_tile_width", "decoding_tile_height", "decoding_tile_overlap",
            "tiled_diffusion", "diffusion_tile_width", "diffusion_tile_height", "diffusion_tile_overlap",
        ],
        "Refiner": ["refiner_model", "refiner_start"],
        "Upscaler": ["upscaler", "upscaler_scale_factor", "face_restoration"],
        "TextEncoders": [
            "clip_skip", "t5_text_encoder", "separate_clip_l", "clip_l_text", "separate_open_clip_g", "open_clip_g_text",
            "separate_t5", "t5_text",
        ],
        "SDXL": [
            "original_image_height", "original_image_width", "crop_top", "crop_left", "target_image_height", "target_image_width",
            "aesthetic_score", "negative_aesthetic_score", "negative_original_image_height", "negative_original_image_width",
        ],
        "TeaCache": ["tea_cache", "tea_cache_start", "tea_cache_end", "tea_cache_threshold", "tea_cache_max_skip_steps"],
        "CFGZero": ["cfg_zero_star", "cfg_zero_init_steps"],
        "Video": ["num_frames"],
        "SVD": ["fps", "motion_scale", "guiding_frame_noise", "start_frame_guidance"],
        "CausalInference": ["causal_inference", "causal_inference_pad"],
        "StableCascade": ["stage_2_steps", "stage_2_guidance", "stage_2_shift"],
        "Kandinsky": ["clip_weight", "negative_prompt_for_image_prior", "image_prior_steps"],
        "Inpaint": ["mask_blur_outset", "preserve_original_after_inpaint", "mask_blur"],
        "Output": ["compression_artifacts", "compression_artifacts_quality", "color_calibration", "expand_prompt_to_json"],
    }  # fmt: skip


# -- option nodes


@pytest.mark.parametrize("topic", OPTION_NODES)
def test_widgets_come_from_the_table(topic):
    inputs = inputs_of(OPTION_NODES[topic])
    for row in option_nodes.rows_of(topic):
        kind, options = inputs[row.input_name]
        assert options["tooltip"].startswith(row.tooltip)
        assert row.unit != "px" or "pixel" in options["tooltip"], "the unit is said"
        if kind in ("INT", "FLOAT"):
            assert (options["max"], options["step"]) == (row.maximum, row.step)
            assert options["min"] == (widgets.sentinel(row) if row.varies else row.minimum)
            assert options["default"] == (widgets.sentinel(row) if row.varies else row.default)
        elif kind == "BOOLEAN":
            assert options["default"] == (row.default or row.name == option_nodes.main_switch(topic))
        if row.file_kind:
            assert kind[0] == options["default"] == "none"
            assert f"{row.input_name}_file" in inputs


def test_defaults_change_nothing_but_the_main_switch():
    for topic, node_id in OPTION_NODES.items():
        (options,) = call(node_id)
        defaults = Configuration()
        switched = option_nodes.main_switch(topic)
        assert {name for name, value in options.items() if value != defaults[name]} == ({switched} if switched else set()), topic
    assert [topic for topic in OPTION_NODES if option_nodes.main_switch(topic)] == ["hires_fix", "tea_cache", "cfg_zero"]


def test_what_the_presets_vary_can_be_left_to_them():
    """Else adding a node for one setting would quietly undo a recommendation for another."""
    differ = set()
    for preset in families._presets():
        known = families.family(preset["version"])
        suggested = families.recommended(preset["model"], preset["version"])
        differ |= {name for name, value in suggested.items() if known.matters(name) and value != CONFIGURATION[name].default}
    explicit = {"hires_fix", "hires_fix_start_width", "hires_fix_start_height", "tea_cache"}  # whoever adds the node wants them
    explicit |= {row.name for row in option_nodes.rows_of("sdxl")}  # 0 is the picture's own size, which suits every model
    left = {row.name for row in CONFIGURATION.values() if row.varies}
    assert differ - explicit - ON_GENERATE <= left


def test_nodes_chain_and_the_later_one_wins(server, simulator):
    (first,) = call("DrawThingsSamplingOptions", sharpness=1.0, shift=2.5)
    (second,) = call("DrawThingsSamplingOptions", sharpness=3.0, options=first)
    (both,) = call("DrawThingsTilingOptions", tiled_decoding=True, options=second)
    assert (first["sharpness"], second["sharpness"]) == (1.0, 3.0)
    assert "tiled_decoding" not in second
    assert both["shift"] == 2.5  # "recommended" in the second left it alone
    assert hash(first) != hash(second)
    call("DrawThingsGenerate", server=server, options=both, **small())
    arrived = simulator.requests()[-1]["configuration"]
    assert (arrived["sharpness"], arrived["shift"], arrived["tiled_decoding"]) == (3.0, 2.5, True)


def test_files_may_be_typed_or_none():
    (typed,) = call("DrawThingsUpscalerOptions", upscaler="a.ckpt", upscaler_file=" b.ckpt ")
    assert typed["upscaler"] == "b.ckpt"
    (none,) = call("DrawThingsUpscalerOptions", upscaler="none", options=typed)
    assert none["upscaler"] is None
    arguments = inspect.getfullargspec(NODES["DrawThingsUpscalerOptions"].VALIDATE_INPUTS)  # as ComfyUI looks
    assert (arguments.args, arguments.varkw) == (["cls", "upscaler", "face_restoration"], None)
    assert not hasattr(NODES["DrawThingsTilingOptions"], "VALIDATE_INPUTS")


@pytest.mark.parametrize(
    ("topic", "inputs", "words"),
    [
        ("tiling", {"decoding_tile_width": 100}, "Decoding tile width is 100"),
        ("sampling", {"shift": "much"}, "Shift is 'much'"),
        ("sampling", {"seed_mode": "Odd"}, "Seed mode is 'Odd'"),
        ("guidance", {"speed_up_with_guidance_embed": "perhaps"}, "true or false"),
        ("output", {"options": "settings"}, "'options' is str"),
        ("output", {"options": {"colour": 1}}, "colour is not a setting"),
    ],
)
def test_bad_options_are_named(topic, inputs, words):
    with pytest.raises(errors.InvalidInput, match=words):
        call(OPTION_NODES[topic], **inputs)


# -- what has no effect

SHELF = catalog(
    models=[
        model("sd_v1.5_f16.ckpt", "v1"),
        model("flux_1_dev_q8p.ckpt", "flux1", guidance_embed=True, default_scale=16),
        model("qwen_image_2512_q8p.ckpt", "qwen_image", default_scale=16),
        model("z_image_turbo_1.0_q8p.ckpt", "z_image", is_consistency_model=True, default_scale=16),
        model("svd_i2v_xt_1.1_f16.ckpt", "svd_i2v"),
        model("pix2pix_f16.ckpt", "v1", modifier="editing"),
        model("longcat_q8p.ckpt", "longcat_video_avatar_v1.5"),
        model("flux_1_schnell_q8p.ckpt", "flux1", is_consistency_model=True, default_scale=16),
        model("chroma_q8p.ckpt", "flux1", mmdit={"qk_norm": True, "dual_attention_layers": [], "distilled_guidance_layers": 5}),
        model("flux_2_klein_4b_q8p.ckpt", "flux2_4b", default_scale=16),
        model("sd_xl_base_1.0_f16.ckpt", "sdxl_base_v0.9", default_scale=16),
        model("sd_xl_refiner_1.0_f16.ckpt", "sdxl_refiner_v0.9", default_scale=16),
        model("wan_v2.1_1.3b_480p_f16.ckpt", "wan_v2.1_1.3b"),
        model("wan_cached.ckpt", "wan_v2.1_1.3b", tea_cache_coefficients=[1, 2, 3, 4, 5]),
    ],
    loras=[
        {"name": "LCM", "file": "lcm.ckpt", "prefix": "", "version": "v1", "is_consistency_model": True},
        {"name": "Turbo", "file": "turbo.ckpt", "prefix": "", "version": "flux1", "is_consistency_model": True},
        {"name": "Editor", "file": "editor.ckpt", "prefix": "", "version": "v1", "modifier": "editing"},
        {"name": "4 steps", "file": "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt", "prefix": "", "version": "qwen_image",
         "is_consistency_model": True},
    ],
)  # fmt: skip


def notes(**job):
    return list(plan(Job(**job), SHELF).notes)


def test_options_that_do_not_matter_for_the_family_are_one_note():
    options = Options({"tea_cache": True, "crop_top": 8, "sharpness": 2.0, "num_frames": 14})
    assert notes(model=MODEL, options=options) == ["Without effect with Stable Diffusion v1: TeaCache, Crop top."]
    assert notes(model="flux_1_dev_q8p.ckpt", options=options) == ["Without effect with FLUX.1: Crop top."]
    assert notes(model="flux_1_dev_q8p.ckpt", options={"steps": 5, "crop_top": 0}) == []


def test_what_a_widget_says_too_is_no_news():
    assert notes(model=MODEL, settings={"num_frames": 9}, options={"num_frames": 9}) == []


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"hires_fix_strength": 0.5}, "Without effect while High-resolution fix is off: Second pass strength."),
        ({"clip_l_text": "ink", "separate_clip_l": False}, "Without effect while Separate CLIP-L prompt is off: CLIP-L prompt."),
        ({"refiner_start": 0.2}, "Without effect while Refiner is none: Refiner start."),
        ({"guidance_embed": 9.0}, "Without effect while Speed up with guidance embedding is on: Guidance embedding."),
        ({"shift": 7.0, "resolution_dependent_shift": True}, "Without effect while Resolution-dependent shift is on: Shift."),
        ({"shift": 7.0, "resolution_dependent_shift": False}, None),
        ({"hires_fix_strength": 0.5, "hires_fix": True}, None),
        (
            {"stochastic_sampling_gamma": 0.7, "sampler": "DDIM Trailing"},
            "Without effect while the sampler is DDIM Trailing: Stochastic sampling gamma.",
        ),
        ({"stochastic_sampling_gamma": 0.7, "sampler": "TCD Trailing"}, None),
    ],
)
def test_options_that_another_one_keeps_from_acting(options, note):
    assert notes(model="flux_1_dev_q8p.ckpt", options=options) == ([note] if note else [])


SHIFTS = {"shift": 7.0, "resolution_dependent_shift": True}
SCHNELL, DEV, KLEIN, SDXL_BASE = "flux_1_schnell_q8p.ckpt", "flux_1_dev_q8p.ckpt", "flux_2_klein_4b_q8p.ckpt", "sd_xl_base_1.0_f16.ckpt"


@pytest.mark.parametrize(
    ("file", "options", "note"),
    [
        # The resolution decides the shift, but never of a consistency model; of a LoRA the server asks that for the guidance only.
        (DEV, SHIFTS, "Resolution-dependent shift is on: Shift"),
        (SCHNELL, SHIFTS, "flux_1_schnell_q8p.ckpt is made for few steps, at a fixed shift: Resolution-dependent shift"),
        (SCHNELL, {"shift": 7.0}, None),
        (DEV, {**SHIFTS, "loras": [LoRA(file="turbo.ckpt", weight=1)]}, "Resolution-dependent shift is on: Shift"),
        # Of the speed-up, and with it of the embedded guidance, the specification decides; Chroma takes none.
        (DEV, {"speed_up_with_guidance_embed": False, "guidance_embed": 9.0}, None),
        (DEV, {"guidance_embed": 9.0}, "Speed up with guidance embedding is on: Guidance embedding"),
        (KLEIN, {"guidance_embed": 9.0}, None),
        (KLEIN, {"speed_up_with_guidance_embed": False}, "flux_2_klein_4b_q8p.ckpt has no guidance built in: Speed up with guidance embedding"),
        ("chroma_q8p.ckpt", {"guidance_embed": 9.0}, "chroma_q8p.ckpt takes no embedded guidance: Guidance embedding"),
        ("not_described_flux.ckpt", {"guidance_embed": 9.0}, None),
        # CFG Zero* corrects guidance, and its first steps predict zero without any.
        (KLEIN, {"cfg_zero_star": True, "guidance_scale": 4.0}, None),
        (KLEIN, {"cfg_zero_star": True, "guidance_scale": 1.0}, "there is no guidance: CFG Zero*"),
        (KLEIN, {"cfg_zero_star": True, "guidance_scale": 1.0, "cfg_zero_init_steps": 2}, None),
        (KLEIN, {"cfg_zero_star": True, "guidance_scale": 4.0, "sampler": "TCD Trailing"}, "the sampler is TCD Trailing: CFG Zero*"),
        # TeaCache needs coefficients, which FLUX.1 has built in.
        (DEV, {"tea_cache": True, "tea_cache_start": 3}, None),
        ("wan_v2.1_1.3b_480p_f16.ckpt", {"tea_cache": True, "tea_cache_start": 3},
         "wan_v2.1_1.3b_480p has no coefficients for it: TeaCache, TeaCache start"),
        ("wan_cached.ckpt", {"tea_cache": True, "tea_cache_start": 3}, None),
        # Scores are the refiner's, and what is negative is read with guidance only.
        (SDXL_BASE, {"aesthetic_score": 8.0}, "no refiner that reads it takes over: Aesthetic score"),
        (SDXL_BASE, {"aesthetic_score": 8.0, "refiner_model": "sd_xl_refiner_1.0_f16.ckpt"}, None),
        ("sd_xl_refiner_1.0_f16.ckpt", {"aesthetic_score": 8.0, "negative_aesthetic_score": 1.0}, None),
        (SDXL_BASE, {"negative_original_image_width": 256, "guidance_scale": 1.0}, "there is no guidance: Negative original width"),
        (SDXL_BASE, {"negative_original_image_width": 256, "guidance_scale": 4.0}, None),
        # Image guidance is the instruction-editing models', or that of a LoRA which makes one.
        (MODEL, {"image_guidance_scale": 2.0}, "sd_v1.5 is no instruction-editing model: Image guidance"),
        ("pix2pix_f16.ckpt", {"image_guidance_scale": 2.0}, None),
        (MODEL, {"image_guidance_scale": 2.0, "loras": [LoRA(file="editor.ckpt", weight=1)]}, None),
        (MODEL, {"image_guidance_scale": 2.0, "loras": [LoRA(file="not_described.ckpt", weight=1)]}, None),
    ],
)  # fmt: skip
def test_options_that_the_model_keeps_from_acting(file, options, note):
    """model_families.json, rules; model_specs.md."""
    told = [sentence for sentence in notes(model=file, options=options) if sentence.startswith("Without effect")]
    assert told == ([f"Without effect while {note}."] if note else [])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, ""),
        ({"options": {"hires_fix": True, "hires_fix_start_width": 512}}, "its first pass, 512x448, must be smaller"),
        ({"options": {"hires_fix": True, "hires_fix_strength": 1.0}}, "at strength 1 there is no second pass"),
        ({"images": np.zeros((1, 64, 64, 3), np.float32), "settings": {"strength": 0.5}}, "acts on text to image only and was left out"),
        (
            {
                "images": np.zeros((1, 64, 64, 3), np.float32),
                "settings": {"strength": 0.5},
                "options": {"hires_fix": True, "hires_fix_start_width": 128},
            },
            "acts on text to image only and was left out",
        ),
    ],
)
def test_a_high_resolution_fix_that_does_nothing_is_told(more, words):
    told = notes(**{"model": MODEL, "options": {"hires_fix": True}, **more})
    assert [note for note in told if words in note] == told
    assert bool(told) == bool(words)


def test_what_only_the_app_does_is_told():
    shelf = catalog(models=[model("ltx.ckpt", "ltx2")])
    job = Job(model="ltx.ckpt", settings={"num_frames": 9}, options={"compression_artifacts": "JPEG"}, one_video=True)
    told = plan(job, shelf).notes
    assert told == ("Without effect while a server generates, since only the Draw Things app does it: Compression artifacts.",)


IMAGE = {"images": np.zeros((1, 64, 64, 3), np.float32)}
MASK = {**IMAGE, "masks": np.ones((1, 64, 64), np.float32)}
BORDERS = {**IMAGE, "fit": Fit.outpaint, "settings": {"start_width": 256, "start_height": 128}}


@pytest.mark.parametrize(
    ("options", "inputs", "note"),
    [
        ({"mask_blur": 3.0, "mask_blur_outset": 4}, {}, "Without effect while there is no mask: Mask blur, Mask outset."),
        ({"mask_blur": 3.0}, IMAGE, "Without effect while there is no mask: Mask blur."),
        ({"mask_blur": 3.0}, MASK, None),
        ({"mask_blur": 3.0}, BORDERS, None),
        ({"color_calibration": "Lab"}, {}, "Without effect while there is no image: Colour calibration."),
        ({"color_calibration": "Lab"}, IMAGE, None),
        ({"strength": 0.4}, {}, "Without effect while there is no image: Strength."),
        ({"strength": 0.4}, IMAGE, None),
        ({"strength": 1.0}, {"settings": {"strength": 0.7}}, None),
    ],
    ids=["no image", "image", "mask", "borders", "colour of nothing", "colour of an image", "strength of nothing", "strength", "all of it"],
)
def test_options_that_lack_their_picture(options, inputs, note):
    assert notes(model=MODEL, options={"strength": 0.5 if inputs else 1.0, **options}, **inputs) == ([note] if note else [])


def test_an_outpainting_of_slivers_is_told():
    """A recommended size follows the image's proportions, so that next to nothing is left to generate."""
    image = {"images": np.zeros((1, 500, 512, 3), np.float32), "fit": Fit.outpaint}
    (note,) = notes(model=MODEL, **image)
    assert note.startswith("Only 12 px beside the image are generated: a recommended size has its proportions")
    assert len(notes(model=MODEL, settings={"start_width": 768}, **image)) == 1
    assert notes(model=MODEL, settings={"start_width": 768, "start_height": 512}, **image) == []


def everything(known):
    """Options that set all of the option nodes' settings to something else than is recommended, but no files."""
    suggested = Configuration(families.recommended("x.ckpt", known.version))
    options = {}
    for topic in option_nodes.TOPICS:
        for row in option_nodes.rows_of(topic):
            if not row.file_kind:
                value = another(row)[1]
                value = row.choice.parse(value) if row.kind is Kind.choice else getattr(value, "expected", value)
                options[row.name] = value if value != suggested[row.name] else row.default
    return Options({**options, "hires_fix": False}), suggested


ALL = {*families.families()}
CASCADE = {"wurstchen_v3.0_stage_c", "wurstchen_v3.0_stage_b"}
SEEDVR2 = {"seedvr2_3b", "seedvr2_7b"}
SDXL = {"sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b"}
SD3 = {"sd3", "sd3_large"}
FLUX2 = {"flux2", "flux2_9b", "flux2_4b"}
WAN_2_1 = {"wan_v2.1_1.3b", "wan_v2.1_14b"}
VIDEO = {"svd_i2v", "hunyuan_video", *WAN_2_1, "wan_v2.2_5b", "ltx2", "ltx2.3", "longcat_video_avatar_v1.5"}
NO_HIRES = {"svd_i2v", "wurstchen_v3.0_stage_b", "hidream_o1", *SEEDVR2}
READ_BY = [
    ("refiner_start", ALL - CASCADE - SEEDVR2),
    ("hires_fix_start_width hires_fix_start_height", ALL - NO_HIRES),
    ("hires_fix_strength", ALL - NO_HIRES - CASCADE),
    ("cfg_zero_star cfg_zero_init_steps", ALL - {"v1", "v2", "kandinsky2.1", *SDXL, "svd_i2v", *CASCADE, "pixart"}),
    ("clip_skip", {"v1", "v2", "kandinsky2.1", *SDXL, *CASCADE, *SD3, "flux1", "hunyuan_video", "hidream_i1"}),
    (
        "resolution_dependent_shift",
        {*SD3, "flux1", "hidream_i1", "qwen_image", "z_image", "ernie_image", *FLUX2, "cosmos2.5_2b", "ideogram_4", "krea_2"},
    ),
    ("zero_negative_prompt", {"sdxl_base_v0.9", "ssd_1b", *SD3, "pixart", "flux1", "hidream_i1", "ideogram_4"}),
    ("num_frames", VIDEO),
    ("speed_up_with_guidance_embed", {"flux1", "hunyuan_video", "hidream_i1", *FLUX2}),
    ("guidance_embed", {"flux1", "hunyuan_video", *FLUX2}),
    ("separate_clip_l clip_l_text", {*SD3, "flux1", "hunyuan_video", "hidream_i1"}),
    ("separate_open_clip_g open_clip_g_text", {*SD3, "hidream_i1"}),
    ("separate_t5 t5_text", {"hidream_i1"}),
    ("t5_text_encoder", SD3),
    (
        "tea_cache tea_cache_start tea_cache_end tea_cache_threshold tea_cache_max_skip_steps",
        {"flux1", "hunyuan_video", *WAN_2_1, "hidream_i1"},
    ),
    ("original_image_width original_image_height target_image_width target_image_height crop_top crop_left", SDXL),
    ("negative_original_image_width negative_original_image_height aesthetic_score negative_aesthetic_score", SDXL),
    ("causal_inference causal_inference_pad", {*WAN_2_1, "wan_v2.2_5b"}),
    ("image_guidance_scale", {"v1", "hidream_i1"}),
    ("stage_2_steps stage_2_cfg stage_2_shift", CASCADE),
    ("compression_artifacts compression_artifacts_quality", {"ltx2", "ltx2.3"}),
    ("clip_weight image_prior_steps negative_prompt_for_image_prior", {"kandinsky2.1"}),
    ("cond_aug fps_id motion_bucket_id start_frame_cfg", {"svd_i2v"}),
    ("expand_prompt_to_json", {"ideogram_4"}),
]
"""Which families read a setting that not all of them read: model_families.json, configuration_fields_that_matter, turned round by hand."""


@pytest.mark.parametrize("version", families.families())
def test_options_without_effect_are_named_for_every_family(version):
    """Exactly those that do not matter for it, in one note, and none of them is an error."""
    known = families.family(version)
    shelf = catalog(models=[model("x.ckpt", version, default_scale=known.default_scale)])
    options, suggested = everything(known)
    told = plan(Job(model="x.ckpt", options=options, images=np.zeros((1, 64, 64, 3), np.float32)), shelf).notes
    foreign = {name for names, readers in READ_BY for name in names.split() if version not in readers}
    idle = [name for name in foreign if options[name] != suggested[name]]
    (note,) = [note for note in told if note.startswith(f"Without effect with {known.name}: ")] or [""]
    assert set(note.removeprefix(f"Without effect with {known.name}: ").removesuffix(".").split(", ")) - {""} == {
        CONFIGURATION[name].label for name in idle
    }
    assert idle, "no family reads everything"


FAMILIES = {
    "sd_v1.5_f16.ckpt": "TeaCache",
    "sd_xl_base_1.0_f16.ckpt": "CFG Zero*",
    "flux_1_schnell_q8p.ckpt": "Crop top",
    "qwen_image_2512_q8p.ckpt": "CLIP skip",
    "z_image_turbo_1.0_q8p.ckpt": "Image guidance",
    "wurstchen_3.0_stage_c_f32_f16.ckpt": "Frames",
    "kandinsky_f16.ckpt": "Stage 2 steps",
    "wan_v2.1_1.3b_480p_f16.ckpt": "Prior steps",
    "ltx_2_19b_distilled_q8p.ckpt": "Motion scale",
    "hidream_i1_fast_q8p.ckpt": "Causal inference",
    "pixart_sigma_xl_2_1024_ms_f16.ckpt": "Separate CLIP-L prompt",
    "flux_2_klein_4b_q8p.ckpt": "Aesthetic score",
}
"""Models of the simulator, and an option that does nothing for each."""


@pytest.mark.parametrize("file", FAMILIES)
def test_every_option_node_at_once_is_no_error_for_any_family(file, server):
    options, _ = everything(families.family(families.version_of_file(file) or "kandinsky2.1"))
    _, _, info = call(
        "DrawThingsGenerate", server=server, options=options.updated({"num_frames": 5, "steps": 2}), **small(model=file, steps=0)
    )
    (note,) = [note for note in json.loads(info)["notes"] if note.startswith("Without effect with ")]
    assert FAMILIES[file] in note.removesuffix(".").partition(": ")[2].split(", ")


def test_shift_acts_where_the_resolution_does_not_decide():
    assert notes(model=MODEL, options={"shift": 3.0}) == []


def test_the_notes_are_in_the_info(server):
    (options,) = call("DrawThingsTeaCacheOptions")
    _, _, info = call("DrawThingsGenerate", server=server, options=options, **small())
    assert "Without effect with Stable Diffusion v1: TeaCache." in json.loads(info)["notes"]


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"model": MODEL}, ""),
        ({"model": MODEL, "guidance_scale": 1.0005}, "the guidance is 1"),
        ({"model": MODEL, "guidance_scale": 0.0}, ""),
        ({"model": MODEL, "loras": [LoRA(file="lcm.ckpt", weight=1)]}, "LCM is made to run without guidance"),
        ({"model": MODEL, "loras": [LoRA(file="lcm.ckpt", weight=0)]}, ""),
        ({"model": MODEL, "sampler": Sampler.lcm}, "the sampler LCM runs without guidance"),
        ({"model": MODEL, "sampler": Sampler.tcd_trailing}, "the sampler TCD Trailing runs without guidance"),
        ({"model": "flux_1_dev_q8p.ckpt"}, "guidance is built into the model, with the speed-up on"),
        ({"model": "flux_1_dev_q8p.ckpt", "speed_up_with_guidance_embed": False}, ""),
        ({"model": "qwen_image_2512_q8p.ckpt"}, ""),
        ({"model": "z_image_turbo_1.0_q8p.ckpt"}, "z_image_turbo_1.0_q8p.ckpt is made to run without guidance"),
        ({"model": "pix2pix_f16.ckpt", "guidance_scale": 1}, ""),
        ({"model": "pix2pix_f16.ckpt", "guidance_scale": 1, "image_guidance_scale": 1}, "the guidance is 1"),
        ({"model": MODEL, "guidance_scale": 1, "loras": [LoRA(file="editor.ckpt", weight=1)]}, ""),
        ({"model": "svd_i2v_xt_1.1_f16.ckpt", "guidance_scale": 1}, "the guidance is 1"),
        ({"model": "svd_i2v_xt_1.1_f16.ckpt", "guidance_scale": 1, "start_frame_cfg": 2.0}, ""),
        ({"model": "longcat_q8p.ckpt"}, "this family runs without guidance"),
        ({"model": "unheard_of.ckpt"}, ""),
    ],
)
def test_when_there_is_no_guidance(configuration, reason):
    configuration = Configuration(configuration)
    entry = SHELF.find("model", configuration["model"])
    assert advice.guidance_off(configuration, SHELF, entry.version if entry else None) == reason


def test_a_negative_prompt_that_nobody_reads_is_told():
    assert notes(model="flux_1_dev_q8p.ckpt", negative_prompt="dogs") == [
        "The negative prompt has no effect: guidance is built into the model, with the speed-up on."
    ]
    assert notes(model="flux_1_dev_q8p.ckpt", negative_prompt=" ") == []


@pytest.mark.parametrize("sampler", Sampler)
def test_samplers_that_the_app_does_not_offer_are_told(sampler):
    assert len(notes(model="flux_1_dev_q8p.ckpt", settings={"sampler": sampler, "steps": 4})) == (sampler < 10)
    assert notes(model=MODEL, settings={"sampler": sampler, "steps": 4}) == []


# -- options from and to JSON

OPTION_FIELDS = {name: row for name, row in CONFIGURATION.items() if row.in_json and name != "id"}
some_options = st.fixed_dictionaries({}, optional={name: values_of(row) for name, row in OPTION_FIELDS.items()}).map(Options)


@settings(max_examples=200, deadline=None)
@given(some_options)
def test_import_of_export_is_the_same_for_some_settings(options):
    (text,) = call("DrawThingsOptionsToJSON", options=options, complete=False)
    imported, told, *_ = call("DrawThingsOptionsFromJSON", json=text)
    assert imported == options
    assert told == ""


@settings(max_examples=200, deadline=None)
@given(configurations)
def test_import_of_export_is_the_same_for_every_setting(configuration):
    configuration = configuration.updated(name=None)
    (text,) = call("DrawThingsOptionsToJSON", options=dict(configuration))
    imported, told, *_ = call("DrawThingsOptionsFromJSON", json=text)
    assert Configuration(imported) == configuration
    assert told == ""


def test_a_pasted_configuration_wins_over_the_widgets(server, simulator):
    document = {
        **app_json.write(Configuration(model="juggernaut_reborn_f16.ckpt", start_width=320, start_height=256, seed=77, steps=5)),
        "loras": [{"file": "add_detail_v1.5_lora_f16.ckpt", "weight": 0.4}],
    }
    options, told, *_ = call("DrawThingsOptionsFromJSON", json=json.dumps(document))
    assert told == ""
    (loras,) = call("DrawThingsLoRAStack", lora_1="moxin_v1_lora_f16.ckpt")
    _, _, info = call("DrawThingsGenerate", server=server, options=options, loras=loras, **small(seed=1))
    arrived = simulator.requests()[-1]["configuration"]
    wanted = {"model": "juggernaut_reborn_f16.ckpt", "start_width": 320, "start_height": 256, "seed": 77, "steps": 5}
    assert {name: arrived[name] for name in wanted} == wanted
    assert [lora["file"] for lora in arrived["loras"]] == ["add_detail_v1.5_lora_f16.ckpt", "moxin_v1_lora_f16.ckpt"]
    assert f"The options name the model juggernaut_reborn_f16.ckpt, which runs instead of {MODEL}." in json.loads(info)["notes"]


def test_model_size_and_seed_can_be_left_to_generate():
    text = json.dumps({"model": "m.ckpt", "width": 512, "height": 640, "seed": 5, "steps": 7})
    assert set(call("DrawThingsOptionsFromJSON", json=text)[0]) == {"model", "start_width", "start_height", "seed", "steps"}
    switches = {"take_model": False, "take_size": False, "take_seed": False}
    assert call("DrawThingsOptionsFromJSON", json=text, **switches)[0] == {"steps": 7}


def test_a_random_seed_is_left_to_generate():
    options, told, *_ = call("DrawThingsOptionsFromJSON", json='{"seed": -1, "steps": 7}', options={"sharpness": 1.0})
    assert options == {"steps": 7, "sharpness": 1.0}
    assert told == "seed was -1, which means random: the seed is left to the node that generates."


def test_notes_are_one_a_line():
    _, told, *_ = call("DrawThingsOptionsFromJSON", json='{"colour": 1, "width": 1000}')
    assert told.splitlines() == [
        "colour is not a Draw Things setting and was ignored.",
        "width was 1000 and became 960: sizes are multiples of 64.",
    ]
    _, told, *_ = call("DrawThingsOptionsFromJSON", json='{"name": "x", "negative": "blurry", "configuration": {"steps": 4}}')
    assert told == "The preset goes with the negative prompt: blurry"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Nothing is pasted yet: copy the configuration in Draw Things"),
        (" \n", "Nothing is pasted yet"),
        ("steps: 3", "not JSON"),
        ("[]", "JSON object"),
        ('{"prompt": "a cat", "steps": 20}', "HTTP API"),
        ('{"steps": 20, "clip_skip": 2}', "HTTP API"),
        ('{"steps": 20, "sampler": "Euler A"}', "sampler is 'Euler A'"),
        ('{"steps": 0}', "steps is 0"),
    ],
)
def test_what_is_no_configuration_is_said(text, words):
    with pytest.raises(errors.InvalidInput, match=words):
        call("DrawThingsOptionsFromJSON", json=text)


def test_the_comment_of_a_picture_is_read_too():
    text = '{"c": "a cat", "uc": "dogs", "steps": 20, "seed": 5, "v2": {"shift": 3, "steps": 20}}'
    options, told, prompt, negative = call("DrawThingsOptionsFromJSON", json=text, take_seed=False)
    assert options == {"steps": 20, "shift": 3}
    assert told == "This is a picture's metadata: its prompts and settings were read."
    assert (prompt, negative) == ("a cat", "dogs")
    assert call("DrawThingsOptionsFromJSON", json='{"steps": 20}')[1:] == ("", "", "")


MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"steps": NaN}', "steps is nan, but allowed is a whole number from 1 to 1000"),
        ('{"guidanceScale": -Infinity}', "guidanceScale is -inf, but allowed"),
        ('{"guidanceScale": 1e999}', "guidanceScale is inf"),
        ('{"steps": ' + "9" * 300 + "}", "steps is 9+…, but allowed"),
        ('{"seed": ' + "9" * 100_000 + "}", "seed is inf, but allowed is a whole number from 0 to 4294967295"),
        ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
        ('{"controls":[{"targetBlocks":' + "[" * 10_000 + "]" * 10_000 + "}]}", "nested too deeply"),
        ('{"clipLText": "' + "a" * 10 * MIB + '"}', "has 10 MiB"),
        ("x" * 10 * MIB, "has 10 MiB"),
        ('{"loras": [' + ",".join(["{}"] * 200_000) + "]}", "loras is 'a list of 200000', but allowed is a list of at most 1000 LoRAs"),
        ('{"steps": "' + "a" * 5 * MIB + '"}', "steps is 'a+…, but allowed"),
        ('{"steps": [20]}', r"steps is \[20\]"),
        ('{"steps": {"a": 1}}', "steps is {'a': 1}"),
        ('{"loras": {"file": "a"}}', "a list of LoRAs"),
        ('{"loras": [5]}', "a list of LoRAs"),
        ('{"loras": null}', "loras is null, but allowed is a list of LoRAs, or leave the key out"),
        ('{"controls": [{"targetBlocks": "up"}]}', "controls 1: targetBlocks is 'up', but allowed is a list of names"),
        ('{"hiresFix": "true"}', "true or false"),
        ('{"model": "../../model.ckpt"}', "a plain file name, without folders"),
        ('{"clipLText": "\\ud800"}', "without broken characters"),
        ('{"steps": 5,}', "not JSON"),
        ("{'steps': 5}", "not JSON"),
        ("\0", "not JSON"),
        ("5", "JSON object"),
        ('{"3": {"class_type": "KSampler"}}', "has no setting of Draw Things .its keys are 3.: copy the configuration in the app"),
        ('{"\\ud800": 1}', r"its keys are '\\ud800'"),
        ('{"seedMode": "Scale Alike"}', "seedMode is 'Scale Alike', but allowed is its number here, 2: words are of the app's HTTP API"),
        ('{"width": 100}', "width is 100, but allowed is a multiple of 64"),
    ],
    ids=range(29),
)
def test_hostile_json_is_a_sentence(text, words):
    started = time.perf_counter()
    with pytest.raises(errors.InvalidInput, match=words) as caught:
        call("DrawThingsOptionsFromJSON", json=text)
    assert time.perf_counter() - started < 30  # on a busy machine
    assert len(str(caught.value)) < 500
    str(caught.value).encode("utf-8")


def test_odd_json_that_can_be_read():
    def read(text):
        options, told, *_ = call("DrawThingsOptionsFromJSON", json=text)
        return options, told

    assert read('\ufeff{"steps": 20.0}') == ({"steps": 20}, "")
    assert read('{"steps": 5, "steps": 9}') == ({"steps": 9}, "steps is there more than once; the last value counts.")
    options, told = read('{"steps": 5, ' + ",".join(f'"key{number}": {{}}' for number in range(100_000)) + "}")
    assert options == {"steps": 5}
    assert told.splitlines()[9:] == [
        "key9 is not a Draw Things setting and was ignored.",
        "99990 more keys are not Draw Things settings and were ignored.",
    ]


def test_what_was_sent_can_be_exported_and_sent_again(server, simulator):
    (sampling,) = call("DrawThingsSamplingOptions", sharpness=1.25, seed_mode="Legacy")
    _, _, info = call("DrawThingsGenerate", server=server, options=sampling, **small(seed=99))
    first = simulator.requests()[-1]
    (text,) = call("DrawThingsOptionsToJSON", info=info)
    assert len(json.loads(text)) == 84
    for again in (text, info):
        options, *_ = call("DrawThingsOptionsFromJSON", json=again)
        call("DrawThingsGenerate", server=server, options=options, model=MODEL, prompt="a cat")
        assert simulator.requests()[-1]["configuration_sha256"] == first["configuration_sha256"]


def test_export_gathers_everything_that_is_connected():
    (hints,) = call("DrawThingsMoodboard", images=pictures(), control="adapter.ckpt", control_weight=0.5)
    options = {"loras": (LoRA(file="a.ckpt"),), "controls": (Control(file="c.ckpt"),), "steps": 9}
    (text,) = call("DrawThingsOptionsToJSON", complete=False, model="m.ckpt", options=options, loras=(LoRA(file="b.ckpt"),), hints=hints)
    document = json.loads(text)
    assert document["model"] == "m.ckpt"
    assert [lora["file"] for lora in document["loras"]] == ["a.ckpt", "b.ckpt"]
    assert [control["file"] for control in document["controls"]] == ["c.ckpt", "adapter.ckpt"]
    assert set(document) == {"model", "steps", "loras", "controls"}
    assert "model" not in json.loads(call("DrawThingsOptionsToJSON")[0])
    named = json.loads(call("DrawThingsOptionsToJSON", model="m.ckpt", options={"model": "n.ckpt"})[0])
    assert named["model"] == "n.ckpt"
    with pytest.raises(errors.InvalidInput, match="'info' is not what Generate tells"):
        call("DrawThingsOptionsToJSON", info="seconds: 3")


def test_what_info_has_already_is_not_exported_twice(server, simulator):
    """LoRAs and hints connected to Generate and beside its info; the two of options and a stack are both there, as they were sent."""
    (loras,) = call("DrawThingsLoRAStack", lora_1="add_detail_v1.5_lora_f16.ckpt", weight_1=0.5)
    (hints,) = call("DrawThingsMoodboard", images=pictures(), control="ip_adapter_plus_1.x_f16.ckpt")
    _, _, info = call("DrawThingsGenerate", server=server, loras=loras, hints=hints, **small(seed=9))
    more = LoRA(file="moxin_v1_lora_f16.ckpt")
    document = json.loads(call("DrawThingsOptionsToJSON", info=info, loras=(*loras, more), hints=hints)[0])
    assert [lora["file"] for lora in document["loras"]] == [loras[0]["file"], more["file"]]
    assert [control["file"] for control in document["controls"]] == ["ip_adapter_plus_1.x_f16.ckpt"]
    options = {"loras": loras}
    twice = json.loads(call("DrawThingsOptionsToJSON", info=info, options=options, loras=loras)[0])
    assert [lora["file"] for lora in twice["loras"]] == [loras[0]["file"]] * 2


def pictures():
    import torch

    return torch.zeros(1, 64, 64, 3)


# -- recommended settings


def advise(file, *loras):
    return advice.advise(file, SHELF, [LoRA(file=lora, weight=1) for lora in loras])


def test_recommended_settings_arrive(server, simulator):
    options, width, height, negative, told = call("DrawThingsRecommendedSettings", server=server, model=MODEL)
    assert (width, height) == (512, 512)
    assert "blurry" in negative
    assert "Stable Diffusion v1.5" in told
    assert "16 steps, guidance 5, DPM++ 2M AYS, shift 1." in told
    assert not {"start_width", "start_height", "strength", "model"} & set(options)
    call("DrawThingsGenerate", server=server, options=options, **small(steps=50, strength=0.4))
    arrived = simulator.requests()[-1]["configuration"]
    assert (arrived["steps"], arrived["guidance_scale"], arrived["sampler"], arrived["start_width"]) == (16, 5.0, "DPMPP2MAYS", 256)


def test_recommended_settings_of_every_model_of_a_server(server):
    for file in NODES["DrawThingsGenerate"].INPUT_TYPES()["required"]["model"][0]:
        options, width, height, negative, told = call("DrawThingsRecommendedSettings", server=server, model=file)
        assert width % 64 == height % 64 == 0
        assert ("A negative prompt has no effect" not in told) or negative == ""
        assert told
        Configuration(options, model=file)


@pytest.mark.parametrize(
    ("file", "loras", "negative"),
    [
        (MODEL, (), True),
        (MODEL, ("lcm.ckpt",), False),
        ("qwen_image_2512_q8p.ckpt", (), True),
        ("qwen_image_2512_q8p.ckpt", ("qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt",), False),
        ("flux_1_dev_q8p.ckpt", (), False),
        ("z_image_turbo_1.0_q8p.ckpt", (), False),
        ("longcat_q8p.ckpt", (), False),
        ("svd_i2v_xt_1.1_f16.ckpt", (), False),
    ],
)
def test_a_negative_prompt_where_one_helps(file, loras, negative):
    assert bool(advise(file, *loras).negative_prompt) == negative


def test_loras_have_recommendations_of_their_own():
    plain = advise("qwen_image_2512_q8p.ckpt")
    fast = advise("qwen_image_2512_q8p.ckpt", "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt")
    assert (plain.options["steps"], fast.options["steps"]) == (30, 4)
    assert "A negative prompt has no effect: 4 steps is made to run without guidance." in fast.notes


def test_what_goes_with_a_model_is_told():
    told = advise("wan_v2.2_a14b_hne_t2v_q6p_svd.ckpt").notes
    assert any(note.startswith("It goes with the refiner wan_v2.2_a14b_lne_t2v_q6p_svd.ckpt from 0.") for note in told)
    assert "81 frames." in told
    unknown = advise("brand_new.ckpt")
    assert unknown.notes[0].startswith("The app has no preset for this model")
    assert unknown.notes[-1] == "The server does not list brand_new.ckpt."
    assert unknown.size == (512, 512)
    shelf = catalog(models=[model("my_finetune.ckpt", "flux1", default_scale=16)])
    other = advice.advise("my_finetune.ckpt", shelf)
    assert other.notes[0].endswith(", made for another model of its family (FLUX.1).")
    assert other.size == (1024, 1024)


def test_recommended_settings_need_a_server_and_a_model(server):
    with pytest.raises(errors.InvalidInput, match="connect a Load Server"):
        call("DrawThingsRecommendedSettings", server=None, model=MODEL)
    with pytest.raises(errors.InvalidInput, match="No model is chosen"):
        call("DrawThingsRecommendedSettings", server=server, model="none")


def test_negative_prompts_are_for_known_families_that_can_use_them():
    data = families._negative_prompts()
    assert data["families"].keys() <= families.families().keys()
    assert all(len(families.negative_prompt(version)) < 200 for version in data["families"])
    never = {"flux1", "flux2", "svd_i2v", "seedvr2_3b", "seedvr2_7b", "longcat_video_avatar_v1.5", "hidream_o1"}
    assert not never & data["families"].keys()
    assert families.negative_prompt("brand_new_9") == families.negative_prompt(None) == ""


def test_the_package_offers_all_of_them():
    assert set(OPTION_NODES.values()) <= comfyui_drawthings.NODE_CLASS_MAPPINGS.keys()
    assert all(title.endswith(" Options (Draw Things)") for title in option_nodes.TITLES.values())
