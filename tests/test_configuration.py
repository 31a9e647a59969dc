"""The one table: completeness against the schema, checked values, the wire, and the app's JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from comfyui_drawthings.drawthings_core import configuration as c
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, Kind, LoRA, app_json, flatbuffer
from comfyui_drawthings.drawthings_core.errors import InvalidInput, InvalidSetting
from comfyui_drawthings.proto import config_generated as wire
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(c.__file__).parents[2]
SCHEMA = (ROOT / "proto" / "config.fbs").read_text()


def schema_fields(table: str) -> list[tuple[str, bool]]:
    body = re.search(rf"table {table} {{(.*?)}}", SCHEMA, re.S)
    assert body
    return [(name, "deprecated" in rest) for name, rest in re.findall(r"^  (\w+): ([^\n]*)", body[1], re.M)]


def schema_enum(name: str) -> list[tuple[str, int]]:
    body = re.search(rf"enum {name} : byte {{(.*?)}}", SCHEMA, re.S)
    assert body
    return [(member, int(value)) for member, value in re.findall(r"(\w+) = (\d+)", body[1])]


@pytest.mark.parametrize(
    ("table", "rows", "count"), [("GenerationConfiguration", c.CONFIGURATION, 88), ("Control", c.CONTROL, 10), ("LoRA", c.LORA, 3)]
)
def test_every_field_of_the_schema_has_its_row(table, rows, count):
    fields = schema_fields(table)
    assert len(fields) == count
    assert list(rows) == [name for name, deprecated in fields if not deprecated]
    if table == "GenerationConfiguration":
        assert list(c.DEPRECATED) == [name for name, deprecated in fields if deprecated]


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("SamplerType", c.Sampler),
        ("SeedMode", c.SeedMode),
        ("ControlMode", c.ControlMode),
        ("ControlInputType", c.ControlInputType),
        ("LoRAMode", c.LoRAMode),
        ("CompressionMethod", c.CompressionMethod),
        ("ColorCalibration", c.ColorCalibration),
    ],
)
def test_every_enum_member_of_the_schema_has_its_choice(name, choice):
    assert schema_enum(name) == [(member.wire_name, int(member)) for member in choice]
    for member in choice:
        for word in (int(member), float(member), member.label, member.label.upper(), member.wire_name, member.name):
            assert choice.parse(word) is member
    assert choice.parse("no such thing") is None
    assert choice.parse(99) is None
    assert choice.parse(True) is None


@pytest.mark.parametrize("rows", [c.CONFIGURATION, c.CONTROL, c.LORA])
def test_rows_are_complete(rows):
    for row in rows.values():
        assert row.tooltip.endswith("."), row.name
        assert row.label, row.name
        if row.kind in (Kind.integer, Kind.number):
            assert None not in (row.minimum, row.maximum, row.step, row.hard_minimum, row.hard_maximum), row.name
            assert row.hard_minimum <= row.minimum < row.maximum <= row.hard_maximum, row.name
    keys = [row.json_key for row in rows.values() if row.in_json]
    assert len(keys) == len(set(keys))


def test_app_defaults():
    """Defaults.swift, by config_json.md."""
    expected = {
        "start_width": 512, "steps": 20, "guidance_scale": 4.5, "strength": 1.0, "sampler": c.Sampler.unipc_ays,
        "seed_mode": c.SeedMode.scale_alike, "mask_blur": 1.5, "refiner_start": 0.85, "hires_fix_start_width": 448,
        "decoding_tile_width": 640, "diffusion_tile_overlap": 128, "num_frames": 14, "causal_inference": 0, "model": None,
    }  # fmt: skip
    defaults = Configuration()
    assert {name: defaults[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 0}, "Steps is 0"),
        ({"steps": "20"}, "Steps is '20'"),
        ({"steps": 2.5}, "Steps is 2.5"),
        ({"steps": True}, "Steps is True"),
        ({"batch_size": 0}, "Batch size is 0"),
        ({"batch_size": 5}, "from 1 to 4"),
        ({"batch_count": 0}, "Batch count is 0"),
        ({"start_width": 100}, "Width is 100, but allowed is a multiple of 64 from 128 to 8192 px"),
        ({"start_width": 0}, "Width is 0"),
        ({"start_height": 16384}, "Height is 16384"),
        ({"strength": 1.01}, "Strength is 1.01, but allowed is a number from 0 to 1"),
        ({"strength": -0.01}, "Strength"),
        ({"strength": float("nan")}, "Strength is nan"),
        ({"guidance_scale": float("inf")}, "Guidance is inf"),
        ({"seed": -1}, "Seed is -1"),
        ({"seed": 2**32}, "Seed is 4294967296"),
        ({"sampler": 20}, "Sampler is 20, but allowed is one of DPM"),
        ({"seed_mode": 4}, "Seed mode is 4"),
        ({"hires_fix_start_width": 100}, "multiple of 64 .* or 0 for no first pass"),
        ({"num_frames": 0}, "Frames is 0"),
        ({"hires_fix": "yes"}, "true or false"),
        ({"model": 7}, "Model is 7"),
        ({"model": "\ud800"}, "Model"),
        ({"loras": [{"weight": 99}]}, "Weight is 99"),
        ({"controls": [{"guidance_end": 2}]}, "End is 2"),
        ({"loras": "x"}, "a list"),
        ({"loras": [5]}, "a list"),
        ({"controls": [{"target_blocks": 5}]}, "a list of names"),
        ({"controls": [{"target_blocks": ["\udc00"]}]}, "broken"),
        ({"controls": [{"weight": -1}]}, "Weight is -1"),
        ({"seed": 10**400}, "too large"),
        ({"model": "."}, "without folders"),
        ({"model": ".."}, "without folders"),
        ({"model": "a/b.ckpt"}, "without folders"),
        ({"loras": [{"file": "a\\b.ckpt"}]}, "without folders"),
        ({"upscaler": "a\0b"}, "without folders"),
        ({"colour": 1}, "colour is not a setting"),
    ],
)
def test_what_would_harm_a_server_is_refused_by_name(values, words):
    with pytest.raises(InvalidInput, match=words):
        Configuration(values)


def test_records_are_values():
    one = Configuration(steps=30, loras=[LoRA(file="a.ckpt", weight=0.5)])
    assert one == Configuration(steps=30, loras=({"file": "a.ckpt", "weight": 0.5},))
    assert hash(one) == hash(one.updated())
    assert one.updated(steps=31)["steps"] == 31
    assert one["steps"] == 30
    assert "steps" in repr(one)


def numbers(row: c.Setting) -> st.SearchStrategy:
    low, high = row.hard_minimum, row.hard_maximum
    if row.kind is Kind.integer:
        return st.integers(int(low) // row.multiple + bool(low % row.multiple), int(high) // row.multiple).map(lambda n: n * row.multiple)
    return st.floats(low, high)


def values_of(row: c.Setting) -> st.SearchStrategy:
    if row.kind is Kind.switch:
        return st.booleans()
    if row.kind is Kind.choice:
        return st.sampled_from(list(row.choice))
    if row.kind is Kind.text and not row.file_kind:
        return st.none() | st.text(min_size=1, max_size=30)
    if row.kind is Kind.text:
        return st.none() | st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and not set(text) & set("/\\."))
    if row.kind is Kind.names:
        return st.lists(st.text("abc_.", min_size=1), max_size=3).map(tuple)
    if row.name == "loras":
        return st.lists(st.fixed_dictionaries({name: values_of(r) for name, r in c.LORA.items()}).map(LoRA), max_size=3).map(tuple)
    if row.name == "controls":
        return st.lists(st.fixed_dictionaries({name: values_of(r) for name, r in c.CONTROL.items()}).map(Control), max_size=3).map(tuple)
    return numbers(row)


configurations = st.fixed_dictionaries({}, optional={name: values_of(row) for name, row in c.CONFIGURATION.items()}).map(Configuration)


@settings(max_examples=200, deadline=None)
@given(configurations)
def test_flatbuffer_round_trip(given_configuration):
    assert flatbuffer.unpack(flatbuffer.pack(given_configuration)) == given_configuration


@settings(max_examples=200, deadline=None)
@given(configurations)
def test_app_json_round_trip(given_configuration):
    text = app_json.dumps(given_configuration)
    imported = app_json.read(text)
    assert imported.notes == []
    expected = given_configuration.updated(name=None)  # the one field that has no key
    assert imported.configuration() == expected


def test_every_field_travels():
    """A value other than the wire's default for every field, each alone."""
    for name, row in c.CONFIGURATION.items():
        if name in ("loras", "controls"):
            continue
        value = another_value(row)
        if name == "causal_inference_enabled":
            continue  # follows causal_inference
        changes = {name: value} | ({"causal_inference": 7} if name == "causal_inference_pad" else {})
        assert flatbuffer.unpack(flatbuffer.pack(Configuration(changes)))[name] == value, name


def another_value(row: c.Setting):
    if row.kind is Kind.switch:
        return not row.wire_default
    if row.kind is Kind.choice:
        return next(member for member in row.choice if member != row.wire_default)
    if row.kind is Kind.text:
        return "some text ✓"
    return next(v for v in (row.maximum, row.minimum) if v != row.wire_default)


def test_scalars_at_the_schema_default_are_left_out():
    empty = flatbuffer.pack(Configuration.wire_default())
    assert len(empty) < 20
    assert flatbuffer.unpack(empty) == Configuration.wire_default()


def test_causal_inference_zero_is_off_on_the_wire():
    off = wire.GenerationConfigurationT.InitFromObj(wire.GenerationConfiguration.GetRootAs(flatbuffer.pack(Configuration()), 0))
    assert (off.causalInferenceEnabled, off.causalInference, off.causalInferencePad) == (False, 3, 0)
    on = Configuration(causal_inference=5, causal_inference_pad=2)
    assert on["causal_inference_enabled"]
    assert flatbuffer.unpack(flatbuffer.pack(on)) == on


# -- the app's JSON


def test_partial_document_lies_over_the_apps_defaults():
    imported = app_json.read('{"steps": 8, "width": 1024, "sampler": 10, "loras": [{"file": "x.ckpt", "weight": 0.4}]}')
    assert imported.settings["steps"] == 8
    assert set(imported.settings) == {"steps", "start_width", "sampler", "loras"}
    full = imported.configuration()
    assert (full["start_width"], full["start_height"], full["mask_blur"]) == (1024, 512, 1.5)
    assert full["loras"] == (LoRA(file="x.ckpt", weight=0.4),)


def test_import_over_another_base():
    assert app_json.read({"steps": 8}).configuration(Configuration(guidance_scale=7))["guidance_scale"] == 7


def test_reading_says_what_it_changed():
    imported = app_json.read(
        {"width": 1000, "seed": -1, "colour": 1, "batchSize": 9, "colorCalibration": "LAB", "compressionArtifacts": "gif"}
    )
    assert imported.settings["start_width"] == 960
    assert 0 <= imported.settings["seed"] < 2**32
    assert imported.settings["batch_size"] == 4
    assert imported.settings["color_calibration"] == c.ColorCalibration.lab
    assert any("width was 1000 and became 960" in note for note in imported.notes)
    assert any("colour" in note for note in imported.notes)
    assert any("'gif'" in note for note in imported.notes)


def test_causal_inference_and_empty_strings():
    full = app_json.read({"causalInference": 0, "upscaler": "", "refinerModel": "", "t5Text": None}).configuration()
    assert not full["causal_inference_enabled"]
    assert full["upscaler"] is None
    assert full["t5_text"] is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("not json", "not JSON"),
        ("[1]", "JSON object"),
        ('{"steps": null}', "steps is null"),
        ('{"steps": 2.5}', "steps is 2.5"),
        ('{"steps": "8"}', "steps is '8'"),
        ('{"sampler": 20}', "sampler is 20"),
        ('{"sampler": "Euler A"}', "its number here, 1: words are of the app's HTTP API"),
        ('{"sampler": "Heun"}', "10 .Euler A Trailing."),
        ('{"seedMode": 9}', "seedMode is 9"),
        ('{"seed": 4294967296}', "seed is 4294967296"),
        ('{"hiresFix": 1}', "true or false"),
        ('{"loras": [{"file": "a", "weight": "much"}]}', "loras 1: weight is 'much'"),
        ('{"loras": {"file": "a"}}', "a list of LoRAs"),
        ('{"c": "a cat", "uc": "", "steps": 8}', "metadata of a Draw Things picture"),
        ('{"negative_prompt": "", "guidance_scale": 7}', "HTTP API"),
        ("[" * 100000, "nested too deeply"),
    ],
)
def test_reading_refuses(document, words):
    with pytest.raises(InvalidInput, match=words):
        app_json.read(document)


def test_a_preset_is_read_by_its_configuration():
    assert app_json.read({"name": "FLUX", "configuration": {"steps": 4}}).settings == {"steps": 4}


def test_export_has_every_key_of_the_strict_decoder():
    document = app_json.write(Configuration(model="m.ckpt", loras=[LoRA(file="l")], controls=[Control(file="c")]))
    required = {row.json_key for row in c.CONFIGURATION.values() if row.in_json}
    assert set(document) == required
    assert len(document) == 84
    assert set(document["controls"][0]) == {row.json_key for row in c.CONTROL.values()}
    assert document["sampler"] == 18
    assert document["controls"][0]["controlImportance"] == "balanced"
    assert document["upscaler"] == ""
    assert json.loads(app_json.dumps(Configuration()))["shift"] == 1.0
    with pytest.raises(InvalidSetting):
        app_json.read({**document, "sampler": 77})
