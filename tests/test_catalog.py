"""Catalogues that a server should not send: what cannot be used is left out and said, in little time and memory."""

from __future__ import annotations

import json

import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core.catalog import LARGEST_SECTION, MOST_ENTRIES, MOST_SKIPPED, Catalog
from comfyui_drawthings.drawthings_core.configuration import Configuration
from comfyui_drawthings.proto import messages

GOOD = model("good_f16.ckpt", "v1")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("modifier", ["depth"]),
        ("frames_per_second", 10**400),
        ("default_scale", True),
        ("keyword", "half a \ud800 character"),
        ("prefix", "x" * 10_000),
        ("file", "half_\udc00.ckpt"),
        ("note", json.loads("[" * 200 + "]" * 200)),
    ],
)
def test_a_description_of_another_form_is_left_out(key, value):
    found = catalog(models=[{**model("strange_f16.ckpt", "v1"), key: value}, GOOD])
    assert list(found.entries["model"]) == ["good_f16.ckpt"]
    (sentence,) = found.skipped
    assert len(sentence) < 300
    assert "left out" in sentence
    assert found.override(Configuration(model="strange_f16.ckpt")) == messages.MetadataOverride()


def test_what_is_null_or_unknown_is_taken():
    found = catalog(models=[{**GOOD, "stage_models": None, "modifier": None, "of_a_newer_server": {"a": [1, {"b": None}]}}])
    assert not found.skipped
    assert found.entries["model"]["good_f16.ckpt"].modifier == "none"


def test_many_that_are_left_out_are_counted():
    found = catalog(models=[{"name": str(number)} for number in range(1000)])
    assert len(found.skipped) == MOST_SKIPPED + 1
    assert f"{1000 - MOST_SKIPPED} more" in found.skipped[-1]


def test_a_list_of_a_hundred_megabytes_is_left_out():
    reply = messages.EchoReply()
    reply.override.models = b"[" + b" " * (100 << 20) + b"]"
    assert len(reply.override.models) > LARGEST_SECTION
    found = Catalog.from_echo(reply)
    assert not found.entries["model"]
    assert found.skipped == ("The server's list of models was left out: it has 100 MB, which no collection comes to.",)


def test_entries_and_files_are_bounded():
    reply = messages.EchoReply(files=[f"{number}.ckpt" for number in range(MOST_ENTRIES + 10)])
    reply.override.loras = b"[" + b"0," * (MOST_ENTRIES + 10) + json.dumps(GOOD).encode() + b"]"
    found = Catalog.from_echo(reply)
    assert len(found.files) == MOST_ENTRIES
    assert not found.entries["LoRA"]
    assert f"{MOST_ENTRIES + 11 - MOST_SKIPPED} more" in found.skipped[-1]


def test_long_names_are_not_compared():
    files = [model("x" * 4000 + f"{number}.ckpt", "v1") for number in range(100)]
    found = catalog(models=[*files, GOOD])
    assert found.suggestions("model", "god_f16.ckpt") == ["good_f16.ckpt"]
    assert found.suggestions("model", "x" * 1_000_000) == []
