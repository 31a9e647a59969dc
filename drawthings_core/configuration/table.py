"""The one table of generation settings: GenerationConfiguration, Control and LoRA.

Wire types, slots and wire defaults are in proto/config.fbs and are read from the code generated from it. Everything else
is here and only here: FlatBuffers packing, the app's JSON, checks, widgets and documentation derive from these rows.

Facts: generation_configuration.json and config_json.md of the server's public source; widget ranges are the ones that the
app's HTTP API enforces. Values are in user units everywhere above the wire: pixels, not units of 64.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

from ...proto import config_generated as wire
from . import choices

SIZE_UNIT = 64
"""Pixels in one unit of the wire's canvas, first-pass and tile sizes."""


class Kind(enum.Enum):
    """What a setting's value is."""

    switch = "true or false"
    integer = "a whole number"
    number = "a number"
    text = "text"
    choice = "one of a list"
    records = "a list of LoRAs or controls"
    names = "a list of names"


@dataclass(frozen=True)
class Setting:
    """One row. `name` is the FlatBuffers field; `minimum`, `maximum`, `step` are the widget's.

    hard_minimum, hard_maximum: what we agree to send; the widget's range unless a wider one is known to be harmless.
    multiple: pixel values must be multiples of it. per_unit: pixels per wire unit. zero_means: why 0 is also allowed.
    default: what the app starts from, None for "absent". optional: the JSON key may be missing or null.
    file_kind: the value is a file of this kind on the server. in_json False: the field has no JSON key.
    needs: the setting that must be on (or chosen) for this one to act; unless: the one that must be off.
    needs_input: "image" or "mask", without which it does nothing.
    varies: presets of the app set it differently from model to model, so a widget offers "recommended".
    """

    name: str
    label: str
    kind: Kind
    tooltip: str
    topic: str
    json_key: str
    default: Any
    wire_default: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    unit: str = ""
    hard_minimum: float | None = None
    hard_maximum: float | None = None
    multiple: int = 1
    per_unit: int = 1
    zero_means: str = ""
    choice: type[choices.Choice] | None = None
    optional: bool = False
    file_kind: str = ""
    in_json: bool = True
    server_reads: bool = True
    needs: str = ""
    unless: str = ""
    needs_input: str = ""
    varies: bool = False

    @property
    def attribute(self) -> str:
        """The name in flatc's object API."""
        return camel_case(self.name)

    @property
    def input_name(self) -> str:
        """The name of a node's input for it: the JSON key in snake_case (hiresFixWidth -> hires_fix_width)."""
        return snake_case(self.json_key)


def camel_case(name: str) -> str:
    """FlatBuffers snake_case -> flatc's lower camel case (start_width -> startWidth)."""
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)


def snake_case(name: str) -> str:
    """JSON key -> snake_case (hiresFixWidth -> hires_fix_width, stage2Steps -> stage_2_steps)."""
    return re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z]{2})(?=\d)", "_", name).lower()


_ABSENT: Any = object()


class _Rows:
    """Builds the rows of one FlatBuffers table; wire defaults are looked up in the generated code."""

    def __init__(self, empty: Any):
        self._empty = empty
        self.rows: dict[str, Setting] = {}

    def add(self, name: str, label: str, kind: Kind, tooltip: str, topic: str, default: Any = _ABSENT, **more: Any) -> None:
        raw = getattr(self._empty, camel_case(name))
        choice, per_unit = more.get("choice"), more.get("per_unit", 1)
        if name == "causal_inference":
            wire_default = 0  # off, which the wire says with causal_inference_enabled
        elif choice is not None:
            wire_default: Any = choice(raw)
        elif kind in (Kind.records, Kind.names):
            wire_default = ()
        else:
            wire_default = raw * per_unit if per_unit > 1 else raw
        more.setdefault("json_key", camel_case(name))
        if default is _ABSENT:
            default = wire_default
        for bound in ("minimum", "maximum"):
            more.setdefault(f"hard_{bound}", more.get(bound))
        self.rows[name] = Setting(name, label, kind, tooltip, topic, default=default, wire_default=wire_default, **more)

    def switch(self, name: str, label: str, tooltip: str, topic: str, default: Any = _ABSENT, **more: Any) -> None:
        self.add(name, label, Kind.switch, tooltip, topic, default, **more)

    def integer(self, name: str, label: str, low: int, high: int, tooltip: str, topic: str, default: Any = _ABSENT, **more: Any) -> None:
        self.add(name, label, Kind.integer, tooltip, topic, default, minimum=low, maximum=high, **{"step": 1, **more})

    def number(
        self, name: str, label: str, low: float, high: float, step: float, tooltip: str, topic: str, default: Any = _ABSENT, **more: Any
    ) -> None:
        self.add(name, label, Kind.number, tooltip, topic, default, minimum=low, maximum=high, step=step, **more)

    def size(self, name: str, label: str, low: int, high: int, tooltip: str, topic: str, default: Any = _ABSENT, **more: Any) -> None:
        """Pixels in steps of 64, units of 64 px on the wire."""
        self.integer(
            name,
            label,
            low,
            high,
            tooltip,
            topic,
            default,
            **{"step": SIZE_UNIT, "multiple": SIZE_UNIT, "per_unit": SIZE_UNIT, "unit": "px", **more},
        )

    def text(self, name: str, label: str, tooltip: str, topic: str, **more: Any) -> None:
        self.add(name, label, Kind.text, tooltip, topic, **{"optional": True, **more})

    def choice(
        self, name: str, label: str, choice: type[choices.Choice], tooltip: str, topic: str, default: Any = _ABSENT, **more: Any
    ) -> None:
        self.add(name, label, Kind.choice, tooltip, topic, default, choice=choice, **more)


# One row a line: a table is read down its columns.
# fmt: off
def _configuration_rows() -> dict[str, Setting]:
    t = _Rows(wire.GenerationConfigurationT())
    wide = {"hard_minimum": -1000.0, "hard_maximum": 1000.0}
    positive = {"hard_minimum": 0.0, "hard_maximum": 1000.0}

    t.integer("id", "Preset id", -(2**63), 2**63 - 1, "Database key of a preset in the app. Not used for generating.", "app", server_reads=False)
    t.size("start_width", "Width", 128, 8192, "Width of the picture in pixels, a multiple of 64.", "canvas", 512, json_key="width")
    t.size("start_height", "Height", 128, 8192, "Height of the picture in pixels, a multiple of 64.", "canvas", 512, json_key="height")
    t.integer("seed", "Seed", 0, 2**32 - 1, "Start value of the noise: the same seed and settings give the same picture.", "generate")
    t.integer("steps", "Steps", 1, 150, "Sampling steps of a full-strength run.", "generate", 20, hard_maximum=1000)
    t.number("guidance_scale", "Guidance", 0, 50, 0.1, "Text guidance (CFG): how closely the picture follows the prompt. 1 switches the negative prompt off.", "generate", 4.5, **wide)
    t.number("strength", "Strength", 0, 1, 0.01, "How much of an input image is replaced: 1 starts from noise, 0 keeps it and only upscales or restores faces.", "generate", 1.0, needs_input="image")
    t.text("model", "Model", "File name of the model on the server.", "generate", file_kind="model")
    t.choice("sampler", "Sampler", choices.Sampler, "Sampling algorithm and noise schedule. Flow models (FLUX, Qwen, Wan, ...) want a Trailing or AYS one.", "generate", choices.Sampler.unipc_ays)
    t.integer("batch_count", "Batch count", 1, 100, "How many times the generation is repeated, each with the next seed. The client does this, not the server.", "generate", server_reads=False, hard_maximum=10000)
    t.integer("batch_size", "Batch size", 1, 4, "Pictures made together in one run. Layers for a layered Qwen model; ignored by video models.", "generate")
    t.switch("hires_fix", "High-resolution fix", "Two passes: a small picture first, then enlarged and refined. Text to image only.", "hires_fix")
    t.size("hires_fix_start_width", "First pass width", 128, 2048, "Width of the first pass in pixels; must be smaller than the picture.", "hires_fix", 448, json_key="hiresFixWidth", zero_means="no first pass", hard_maximum=8192, needs="hires_fix")
    t.size("hires_fix_start_height", "First pass height", 128, 2048, "Height of the first pass in pixels; must be smaller than the picture.", "hires_fix", 448, json_key="hiresFixHeight", zero_means="no first pass", hard_maximum=8192, needs="hires_fix")
    t.number("hires_fix_strength", "Second pass strength", 0, 1, 0.01, "How much the second pass changes; 1 switches the high-resolution fix off.", "hires_fix", needs="hires_fix")
    t.text("upscaler", "Upscaler", "File name of an upscaler that enlarges the finished picture.", "upscaler", file_kind="upscaler")
    t.number("image_guidance_scale", "Image guidance", 0, 25, 0.1, "How closely an instruction-editing model follows the input image.", "guidance", **wide)
    t.choice("seed_mode", "Seed mode", choices.SeedMode, "How noise is made from the seed. Scale Alike gives similar pictures at different sizes.", "sampling", choices.SeedMode.scale_alike, varies=True)
    t.integer("clip_skip", "CLIP skip", 1, 23, "Which CLIP layer from the end is used; 1 is the last one, so nothing is skipped.", "text_encoders", varies=True)
    t.add("controls", "Controls", Kind.records, "ControlNets and adapters.", "controls")
    t.add("loras", "LoRAs", Kind.records, "LoRAs with their weights.", "loras")
    t.number("mask_blur", "Mask blur", 0, 25, 0.5, "Blur (sigma, in pixels) of the seam where kept pixels are pasted back after inpainting.", "inpaint", 1.5, unit="px", **positive, needs="preserve_original_after_inpaint", varies=True, needs_input="mask")
    t.text("face_restoration", "Face restoration", "File name of a face restoration model. Not run by Linux servers.", "upscaler", file_kind="face restoration model")
    t.number("clip_weight", "CLIP weight", 0, 1, 0.05, "Kandinsky: weight of the CLIP embedding in the image prior.", "kandinsky", **wide)
    t.switch("negative_prompt_for_image_prior", "Negative prompt for the prior", "Kandinsky: use the negative prompt in the image prior too.", "kandinsky")
    t.integer("image_prior_steps", "Prior steps", 3, 60, "Kandinsky: sampling steps of the image prior.", "kandinsky", hard_minimum=2, hard_maximum=1000)
    t.text("refiner_model", "Refiner", "File name of a second model that takes over late in sampling.", "refiner", file_kind="model")
    for side in ("height", "width"):
        t.integer(f"original_image_{side}", f"Original {side}", 0, 2048, f"SDXL: {side} in pixels of the imagined original; 0 is the size of the picture.", "sdxl", unit="px", step=64, hard_maximum=65536)
    t.integer("crop_top", "Crop top", 0, 1024, "SDXL: pixels imagined cut off at the top.", "sdxl", unit="px", hard_minimum=-65536, hard_maximum=65536)
    t.integer("crop_left", "Crop left", 0, 1024, "SDXL: pixels imagined cut off at the left.", "sdxl", unit="px", hard_minimum=-65536, hard_maximum=65536)
    for side in ("height", "width"):
        t.integer(f"target_image_{side}", f"Target {side}", 0, 2048, f"SDXL: {side} in pixels that is aimed at; 0 is the size of the picture.", "sdxl", unit="px", step=64, hard_maximum=65536)
    t.number("aesthetic_score", "Aesthetic score", 0, 10, 0.1, "SDXL refiner: score asked of the picture.", "sdxl", **wide)
    t.number("negative_aesthetic_score", "Negative aesthetic score", 0, 10, 0.1, "SDXL refiner: score of the negative side.", "sdxl", **wide)
    t.switch("zero_negative_prompt", "Zero negative prompt", "Use zeros instead of the encoded negative prompt.", "guidance", varies=True)
    t.number("refiner_start", "Refiner start", 0, 1, 0.01, "Fraction of the schedule after which the refiner takes over.", "refiner", 0.85, needs="refiner_model")
    for side in ("height", "width"):
        t.integer(f"negative_original_image_{side}", f"Negative original {side}", 0, 2048, f"SDXL: original {side} in pixels for the negative side; 0 is the same as the positive.", "sdxl", unit="px", step=64, hard_maximum=65536)
    t.text("name", "Preset name", "Name of a preset in the app. Not used for generating.", "app", in_json=False, server_reads=False)
    t.integer("fps_id", "Conditioning frame rate", 1, 30, "SVD: frame rate the motion is made for; not the playback rate.", "svd", json_key="fps", hard_maximum=1000)
    t.integer("motion_bucket_id", "Motion scale", 0, 255, "SVD: amount of motion.", "svd", json_key="motionScale", hard_maximum=10000)
    t.number("cond_aug", "Guiding frame noise", 0, 1, 0.01, "SVD: noise added to the first frame.", "svd", json_key="guidingFrameNoise", **positive)
    t.number("start_frame_cfg", "Start frame guidance", 0, 25, 0.1, "SVD: guidance at the first frame; it rises to the text guidance at the last.", "svd", json_key="startFrameGuidance", **wide)
    t.integer("num_frames", "Frames", 1, 201, "Frames of a video. Wan and Hunyuan make 4k+1, LTX 8k+1.", "video", unit="frames", hard_maximum=2049, varies=True)
    t.integer("mask_blur_outset", "Mask outset", -100, 1000, "Positive: repaints that many pixels more around the mask. Negative: pasted back, the kept pixels reach that many pixels into it. The seam follows only with Mask blur above 0.", "inpaint", unit="px", needs_input="mask")
    t.number("sharpness", "Sharpness", 0, 30, 0.1, "Sharpening inside the sampler; 0 is off.", "sampling", **positive)
    t.number("shift", "Shift", 0.1, 8, 0.01, "Shift of the noise schedule: larger spends more steps on the composition.", "sampling", hard_minimum=0.01, hard_maximum=100.0, unless="resolution_dependent_shift", varies=True)
    t.integer("stage_2_steps", "Stage 2 steps", 1, 150, "Stable Cascade: steps of stage B.", "cascade", hard_maximum=1000)
    t.number("stage_2_cfg", "Stage 2 guidance", 0, 25, 0.1, "Stable Cascade: guidance of stage B.", "cascade", json_key="stage2Guidance", **wide)
    t.number("stage_2_shift", "Stage 2 shift", 0.1, 5, 0.01, "Stable Cascade: shift of stage B.", "cascade", hard_minimum=0.01, hard_maximum=100.0)
    t.switch("tiled_decoding", "Tiled decoding", "Decode the latent in tiles: less memory for large pictures.", "tiling")
    for side in ("width", "height"):
        t.size(f"decoding_tile_{side}", f"Decoding tile {side}", 128, 2048, f"{side.title()} of a decoding tile in pixels.", "tiling", hard_minimum=64, hard_maximum=8192, needs="tiled_decoding")
    t.size("decoding_tile_overlap", "Decoding tile overlap", 64, 1024, "Overlap of decoding tiles in pixels.", "tiling", hard_minimum=0, hard_maximum=4096, needs="tiled_decoding")
    t.number("stochastic_sampling_gamma", "Stochastic sampling gamma", 0, 1, 0.01, "Randomness of the TCD samplers.", "sampling")
    t.switch("preserve_original_after_inpaint", "Keep original pixels", "Pastes the kept pixels of the input back after inpainting; without it they change a little on their way through the model.", "inpaint", needs_input="mask")
    t.switch("tiled_diffusion", "Tiled diffusion", "Run the model in tiles: pictures larger than the model was made for.", "tiling")
    for side in ("width", "height"):
        t.size(f"diffusion_tile_{side}", f"Diffusion tile {side}", 128, 2048, f"{side.title()} of a diffusion tile in pixels.", "tiling", hard_minimum=64, hard_maximum=8192, needs="tiled_diffusion")
    t.size("diffusion_tile_overlap", "Diffusion tile overlap", 64, 1024, "Overlap of diffusion tiles in pixels.", "tiling", hard_minimum=0, hard_maximum=4096, needs="tiled_diffusion")
    t.integer("upscaler_scale_factor", "Upscaler factor", 0, 4, "Forces the upscaler to 2 or 4 times; 0 uses the upscaler's own factor.", "upscaler", step=2, needs="upscaler")
    t.switch("t5_text_encoder", "T5 text encoder", "Use the T5 encoder where it is optional (Stable Diffusion 3).", "text_encoders")
    t.switch("separate_clip_l", "Separate CLIP-L prompt", "Give CLIP-L its own prompt.", "text_encoders")
    t.text("clip_l_text", "CLIP-L prompt", "Prompt for CLIP-L, when separate.", "text_encoders", needs="separate_clip_l")
    t.switch("separate_open_clip_g", "Separate OpenCLIP-G prompt", "Give OpenCLIP-G its own prompt.", "text_encoders")
    t.text("open_clip_g_text", "OpenCLIP-G prompt", "Prompt for OpenCLIP-G, when separate.", "text_encoders", needs="separate_open_clip_g")
    t.switch("speed_up_with_guidance_embed", "Speed up with guidance embedding", "For distilled models: one pass a step with the guidance as an input, without a negative prompt.", "guidance", varies=True)
    t.number("guidance_embed", "Guidance embedding", 0, 25, 0.1, "Embedded guidance when the speed-up is off.", "guidance", **wide, unless="speed_up_with_guidance_embed", varies=True)
    t.switch("resolution_dependent_shift", "Resolution-dependent shift", "Computes the shift from the size where the model supports it; Shift is then not read.", "sampling", varies=True)
    t.integer("tea_cache_start", "TeaCache start", 0, 1000, "First step that TeaCache may skip.", "tea_cache", hard_minimum=-1000, needs="tea_cache")
    t.integer("tea_cache_end", "TeaCache end", -1000, 1000, "Last step that TeaCache may skip; negative counts from the end.", "tea_cache", needs="tea_cache")
    t.number("tea_cache_threshold", "TeaCache threshold", 0, 1, 0.01, "Larger skips more steps and loses more detail.", "tea_cache", **positive, needs="tea_cache", varies=True)
    t.switch("tea_cache", "TeaCache", "Skip steps that change little (FLUX.1, Hunyuan, Wan, HiDream I1).", "tea_cache")
    t.switch("separate_t5", "Separate T5 prompt", "Give T5 its own prompt (HiDream I1).", "text_encoders")
    t.text("t5_text", "T5 prompt", "Prompt for T5, when separate.", "text_encoders", needs="separate_t5")
    t.integer("tea_cache_max_skip_steps", "TeaCache longest skip", 1, 1000, "Most steps that are skipped in a row.", "tea_cache", hard_minimum=0, needs="tea_cache")
    t.switch("causal_inference_enabled", "Causal inference on", "Set by Causal inference above 0.", "causal", in_json=False)
    t.integer("causal_inference", "Causal inference", 0, 1000, "Wan: latent frames that are attended to together; 0 is off.", "causal")
    t.integer("causal_inference_pad", "Causal inference padding", 0, 1000, "Wan: latent frames of padding between chunks.", "causal", needs="causal_inference")
    t.switch("cfg_zero_star", "CFG Zero*", "Corrected guidance for flow models.", "cfg_zero")
    t.integer("cfg_zero_init_steps", "CFG Zero* initial steps", 0, 1000, "First steps that predict zero.", "cfg_zero", needs="cfg_zero_star")
    t.choice("compression_artifacts", "Compression artifacts", choices.CompressionMethod, "Imitates a codec on the input frame (LTX). Done by the app, not by the server.", "output", optional=True, server_reads=False, varies=True)
    t.number("compression_artifacts_quality", "Compression quality", 0, 100, 0.1, "Quality in percent for the compression artifacts.", "output", optional=True, server_reads=False, needs="compression_artifacts", varies=True)
    t.choice("color_calibration", "Colour calibration", choices.ColorCalibration, "Matches the colours of the result to those of the input image, also at strength 1; nothing without one.", "output", optional=True, needs_input="image")
    t.switch("expand_prompt_to_json", "Expand prompt to JSON", "Ideogram 4: done by the app, not by the server.", "output", server_reads=False, varies=True)
    return t.rows


def _control_rows() -> dict[str, Setting]:
    t = _Rows(wire.ControlT())
    t.text("file", "Control", "File name of the control on the server.", "controls", file_kind="control")
    t.number("weight", "Weight", 0, 2, 0.05, "Strength of the control; 0 switches it off.", "controls", hard_maximum=10.0)
    t.number("guidance_start", "Start", 0, 1, 0.01, "Fraction of the steps where the control begins.", "controls")
    t.number("guidance_end", "End", 0, 1, 0.01, "Fraction of the steps where the control ends.", "controls")
    t.switch("no_prompt", "No prompt", "Kept with the picture's settings; the server does not read it.", "controls", server_reads=False)
    t.switch("global_average_pooling", "Global average pooling", "Only for shuffle controls.", "controls")
    t.number("down_sampling_rate", "Down-sampling", 1, 8, 0.1, "Tile family: blurs the image by shrinking it; acts above 1.1.", "controls", hard_minimum=0.0, hard_maximum=64.0)
    t.choice("control_mode", "Importance", choices.ControlMode, "Whether prompt or control weighs more.", "controls", json_key="controlImportance")
    t.add("target_blocks", "Target blocks", Kind.names, "Names of network blocks to act on; none means all.", "controls")
    t.choice("input_override", "Input type", choices.ControlInputType, "What a union control is fed with.", "controls")
    return t.rows


def _lora_rows() -> dict[str, Setting]:
    t = _Rows(wire.LoRAT())
    t.text("file", "LoRA", "File name of the LoRA on the server.", "loras", file_kind="LoRA")
    t.number("weight", "Weight", -1.5, 2.5, 0.05, "Strength of the LoRA.", "loras", hard_minimum=-10.0, hard_maximum=10.0)
    t.choice("mode", "Mode", choices.LoRAMode, "With a refiner: whether it acts on the base model, the refiner or both.", "loras", optional=True)
    return t.rows


# fmt: on
CONFIGURATION = _configuration_rows()
CONTROL = _control_rows()
LORA = _lora_rows()

DEPRECATED = ("decode_with_attention", "hires_fix_decode_with_attention")
"""Fields of config.fbs that keep their slot and are never written."""
