"""What the page asks to paste and to copy."""

from __future__ import annotations

import base64
import io
import json
import struct

import pytest
from comfyui_drawthings.drawthings_core import metadata, xmp
from comfyui_drawthings.drawthings_core.client import Cancellation
from comfyui_drawthings.drawthings_core.configuration import Configuration, app_json
from comfyui_drawthings.drawthings_core.errors import DrawThingsError, InvalidInput
from comfyui_drawthings.nodes.page import ROUTES
from PIL import Image
from PIL.PngImagePlugin import PngInfo

NODE = {"kind": "DrawThingsGenerate", "widgets": {}, "linked": []}


def ask(route, body):
    """As routes.py does: through JSON."""
    return json.loads(json.dumps(ROUTES[route].answer(json.loads(json.dumps(body)), Cancellation())))


def picture(with_pixels=True, packet=None):
    settings = metadata.PictureSettings("a cat", "a dog", Configuration(model="x.ckpt", steps=17, sharpness=3.0))
    info = PngInfo()
    info.add_itxt(xmp.PNG_KEYWORD, metadata.packet(settings) if packet is None else packet)
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=info)
    data = file.getvalue()
    return base64.b64encode(data if with_pixels else without_pixels(data)).decode()


def without_pixels(data):
    kept, position = data[:8], 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        chunk = data[position : position + 12 + length]
        kept += b"" if chunk[4:8] == b"IDAT" else chunk
        position += len(chunk)
    return kept


@pytest.mark.parametrize("with_pixels", [True, False])
def test_a_picture_gives_prompts_and_settings(with_pixels):
    answer = ask("paste", {"picture": picture(with_pixels), "node": NODE})
    assert answer["kind"] == "DrawThingsGenerate"
    assert {name: answer["widgets"][name] for name in ("prompt", "negative_prompt", "steps", "model")} == {
        "prompt": "a cat", "negative_prompt": "a dog", "steps": 17, "model": "x.ckpt",
    }  # fmt: skip
    sampling = next(node for node in answer["nodes"] if node["kind"] == "DrawThingsSamplingOptions")
    assert (sampling["chain"], sampling["reuse"], sampling["widgets"]["sharpness"]) == ("options", None, 3.0)


def test_a_new_node_is_named():
    assert ask("paste", {"text": '{"steps": 5}', "node": None})["kind"] == "DrawThingsGenerate"


def test_nodes_of_the_chains_are_used():
    tiling = {"kind": "DrawThingsTilingOptions", "widgets": {"tiled_decoding": False}, "linked": ["options"]}
    foreign = {"kind": "SomeoneElses", "widgets": {"value": 3}, "linked": []}
    answer = ask("paste", {"text": '{"tiledDecoding": true}', "node": NODE, "chains": {"options": [tiling, foreign]}})
    assert [(node["reuse"], node["widgets"]) for node in answer["nodes"]] == [(0, {"tiled_decoding": True})]


def test_copy_gives_a_configuration():
    prompt = {"1:5": {"class_type": "DrawThingsGenerate", "inputs": {"steps": 33, "model": "x.ckpt"}}}
    answer = ask("copy", {"prompt": prompt, "node": "1:5"})
    assert app_json.read(answer["json"]).configuration()["steps"] == 33


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "", "node": NODE},
        {"text": "{}" * 3, "node": NODE},
        {"text": '{"last_node_id": 3, "nodes": []}', "node": NODE},
        {"text": '{"steps": 5}', "node": "DrawThingsGenerate"},
        {"text": '{"steps": 5}', "node": {"kind": "DrawThingsLoadServer"}},
        {"text": '{"steps": 5}', "node": {**NODE, "linked": [5]}},
        {"text": '{"steps": 5}', "node": {**NODE, "widgets": []}},
        {"text": '{"steps": 5}', "node": NODE, "chains": {"options": [5]}},
        {"text": '{"steps": 5}', "node": NODE, "chains": {"options": [{"kind": "x"}] * 1000}},
        {"picture": "§", "node": NODE},
        {"picture": base64.b64encode(b"GIF89a").decode(), "node": NODE},
        {"picture": picture(packet="<x:xmpmeta/>"), "node": NODE},
    ],
)
def test_nonsense_ends_in_a_sentence(body):
    with pytest.raises(DrawThingsError):
        ask("paste", body)


@pytest.mark.parametrize("body", [{}, {"prompt": [], "node": "1"}, {"prompt": {"1": 5}, "node": "1"}, {"prompt": {}, "node": 1}])
def test_nonsense_cannot_be_copied(body):
    with pytest.raises(InvalidInput):
        ask("copy", body)
