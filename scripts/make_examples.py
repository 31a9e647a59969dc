#!/usr/bin/env python3
"""Write example_workflows/: one workflow a subject in ComfyUI's UI format, its thumbnail, and the pictures that they load.

    python3 scripts/make_examples.py            # write
    python3 scripts/make_examples.py --check    # exit 1 when a committed file is not what this script gives

Widget values are laid out from the node classes' own INPUT_TYPES, so that they cannot be out of order.
Needs the package installed (scripts/test.py makes such an environment).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from comfyui_drawthings.drawthings_core import metadata  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner import execution, overrides, workflow  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.inputs import InputSpec, input_specs  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.stand_ins import STAND_INS, TITLES, Folders, bound, in_use  # pyright: ignore[reportMissingImports]
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _pictures
import _thumbnails
import demo

FOLDER = Path(__file__).resolve().parent.parent / "example_workflows"
CLASSES: dict[str, Any] = {**NODE_CLASS_MAPPINGS, **STAND_INS}
DISPLAY = {**NODE_DISPLAY_NAME_MAPPINGS, **TITLES}
OPTIONAL_SOCKET = 7
"""LiteGraph's shape of an input that may stay unconnected."""

TITLE_HEIGHT = 30
SLOT_HEIGHT = 20
WIDGET_HEIGHT = 26
TEXT_HEIGHT = 110
PICTURE_HEIGHT = 260
MARGIN = 14
GAP = 50
"""Pixels between two nodes, and between columns; titles are inside a node's own height here."""

TITLE_LETTER = 7.4
"""Pixels of a letter of a title, with what a node's sides take: a node is not drawn narrower than its title."""
TITLE_SIDES = 48

ROOM = 26
ROOM_OF_WIDGET = 6
ROOM_OF_EXTENSION = {"DrawThingsLoadServer": 72}
"""Pixels by which Nodes 2.0 draws nodes higher than the classic rendering: each, for each widget, and for the lines that the browser
extension adds. Measured; tests/browser/test_workflows.py looks that they are enough.
"""

NOTE_COLOUR = ("#432", "#653")
SEED_CONTROL = "fixed"
NEARLY = 3
"""Mean difference of two pictures' levels, of 255, that other fonts on the simulator's picture may make."""

OUTPUT_TYPES = {"LoadImage": ("IMAGE", "MASK"), "LoadImageMask": ("MASK",), "SaveImage": ()}


class Socket(NamedTuple):
    """An output of a node."""

    node: Placed
    slot: int


@dataclass
class Placed:
    """A node on the canvas. Values are those that differ from the class's defaults."""

    id: int
    type: str
    title: str
    x: int
    y: int
    width: int
    height: int
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Socket] = field(default_factory=dict)

    def __getitem__(self, slot: int) -> Socket:
        return Socket(self, slot)

    @property
    def bottom(self) -> int:
        return self.y + self.height


class Sheet:
    """One workflow that is being laid out: columns from left to right, nodes in a column from top to bottom."""

    def __init__(self, name: str, note: str):
        self.name = name
        self.nodes: list[Placed] = []
        self.groups: list[tuple[str, str, Sequence[Placed]]] = []
        self._x = 0
        self._y = 0
        self._widest = 0
        self._note(note)

    def column(self) -> None:
        """Begin the next column."""
        self._x += self._widest + GAP
        self._y = self._widest = 0

    def add(
        self,
        kind: str,
        title: str = "",
        width: int = 300,
        values: Mapping[str, Any] | None = None,
        links: Mapping[str, Socket] | None = None,
        **sources: Socket,
    ) -> Placed:
        """A node under the last one of this column, its inputs connected to `sources`; `links` is for names that are taken here."""
        sources.update(links or {})
        self._check(kind, values or {}, sources)
        height = _height(kind)
        return self._place(kind, title or DISPLAY[kind], width, height, values or {}, sources)

    def group(self, title: str, colour: str, *nodes: Placed) -> None:
        self.groups.append((title, colour, nodes))

    def _note(self, text: str) -> None:
        lines = sum(1 + len(line) // 38 for line in text.splitlines())
        self._place("MarkdownNote", "What this does", 300, 60 + 18 * lines, {"text": text}, {})

    def _place(self, kind: str, title: str, width: int, height: int, values: Mapping[str, Any], sources: Mapping[str, Socket]) -> Placed:
        width = max(width, round(TITLE_SIDES + TITLE_LETTER * len(title)))
        placed = Placed(len(self.nodes) + 1, kind, title, self._x, self._y + TITLE_HEIGHT, width, height, values, sources)
        self.nodes.append(placed)
        self._y = placed.bottom + _room(placed) + GAP
        self._widest = max(self._widest, width)
        return placed

    @staticmethod
    def _check(kind: str, values: Mapping[str, Any], sources: Mapping[str, Socket]) -> None:
        specs = input_specs(CLASSES[kind])
        unknown = (values.keys() | sources.keys()) - specs.keys()
        if unknown:
            raise ValueError(f"{kind} has no input {', '.join(sorted(unknown))}")


def _height(kind: str) -> int:
    """Of a node's body, in pixels: sockets, widgets, and a picture where one is shown."""
    specs = list(input_specs(CLASSES[kind]).values())
    sockets = sum(not spec.widget for spec in specs)
    outputs = len(CLASSES[kind].RETURN_TYPES)
    widgets = sum(
        (TEXT_HEIGHT if spec.options.get("multiline") else WIDGET_HEIGHT) + spec.extra_values * WIDGET_HEIGHT
        for spec in specs
        if spec.widget
    )
    upload = WIDGET_HEIGHT if any(spec.options.get("image_upload") for spec in specs) else 0
    picture = PICTURE_HEIGHT if upload or getattr(CLASSES[kind], "OUTPUT_NODE", False) else 0
    return MARGIN + SLOT_HEIGHT * max(sockets, outputs) + widgets + upload + picture


def _room(placed: Placed) -> int:
    """What a node may be higher than `_height`, in pixels."""
    widgets = [spec.name for spec in input_specs(CLASSES[placed.type]).values() if spec.widget] if placed.type in CLASSES else []
    picture = 0
    if _loads_picture(placed.type):  # Nodes 2.0 shows it as wide as the node
        with Image.open(FOLDER / "input" / placed.values["image"]) as file:
            picture = max(0, placed.width * file.height // file.width - PICTURE_HEIGHT)
    return ROOM + ROOM_OF_WIDGET * len(widgets) + ROOM_OF_EXTENSION.get(placed.type, 0) + picture


def _loads_picture(kind: str) -> bool:
    return kind in CLASSES and any(spec.options.get("image_upload") for spec in input_specs(CLASSES[kind]).values())


def _widgets(placed: Placed) -> list[Any]:
    """widgets_values: in the order of the widgets, each seed followed by its control, each upload by its button."""
    if placed.type not in CLASSES:
        return list(placed.values.values())
    specs = [spec for spec in input_specs(CLASSES[placed.type]).values() if spec.widget]
    values: list[Any] = []
    for spec in specs:
        values.append(_value(spec, placed))
        values.extend([SEED_CONTROL] * spec.extra_values)
    if any(spec.options.get("image_upload") for spec in specs):
        values.append("image")
    return values


def _value(spec: InputSpec, placed: Placed) -> Any:
    return placed.values.get(spec.name, spec.default)


def document(sheet: Sheet) -> dict[str, Any]:
    """The workflow as ComfyUI's frontend would save it (schema 0.4)."""
    links = [(source, target, name) for target in sheet.nodes for name, source in target.sources.items()]  # numbered from 1 in this order
    numbers = {(id(target), name): number for number, (_, target, name) in enumerate(links, 1)}
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfyui-drawthings/{sheet.name}")),
        "revision": 0,
        "last_node_id": len(sheet.nodes),
        "last_link_id": len(links),
        "nodes": [_node(placed, order, links, numbers) for order, placed in enumerate(sheet.nodes)],
        "links": [
            [number, source.node.id, source.slot, target.id, _slot(target, name), _output_types(source.node)[source.slot]]
            for number, (source, target, name) in enumerate(links, 1)
        ],
        "groups": list(_groups(sheet)),
        "config": {},
        "extra": {"ds": {"scale": 0.7, "offset": [80, 80]}},
        "version": 0.4,
    }


Links = Sequence[tuple[Socket, Placed, str]]


def _node(placed: Placed, order: int, links: Links, numbers: Mapping[tuple[int, str], int]) -> dict[str, Any]:
    node: dict[str, Any] = {
        "id": placed.id,
        "type": placed.type,
        "pos": [placed.x, placed.y],
        "size": [placed.width, placed.height],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": [{**_input(spec), "link": numbers.get((id(placed), spec.name))} for spec in _sockets(placed)],
        "outputs": [
            {
                "name": name,
                "type": kind,
                "links": [number for number, (source, _, _) in enumerate(links, 1) if source.node is placed and source.slot == slot]
                or None,
            }
            for slot, (name, kind) in enumerate(zip(_output_names(placed), _output_types(placed), strict=True))
        ],
        **({"title": placed.title} if placed.title != DISPLAY.get(placed.type) else {}),  # ComfyUI's own is in the user's language
        "properties": {"Node name for S&R": placed.type} if placed.type in CLASSES else {},
        "widgets_values": _widgets(placed),
    }
    if placed.type not in CLASSES:
        node["color"], node["bgcolor"] = NOTE_COLOUR
    return node


def _input(spec: InputSpec) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": spec.name, "type": spec.kind}
    if not spec.required:
        entry["shape"] = OPTIONAL_SOCKET
    if spec.widget:
        entry["widget"] = {"name": spec.name}
    return entry


def _sockets(placed: Placed) -> list[InputSpec]:
    """Inputs in the frontend's order: sockets first, then those of widgets."""
    if placed.type not in CLASSES:
        return []
    return sorted(input_specs(CLASSES[placed.type]).values(), key=lambda spec: spec.widget)


def _slot(placed: Placed, name: str) -> int:
    return [spec.name for spec in _sockets(placed)].index(name)


def _output_types(placed: Placed) -> tuple[str, ...]:
    return CLASSES[placed.type].RETURN_TYPES if placed.type in CLASSES else ()


def _output_names(placed: Placed) -> tuple[str, ...]:
    return getattr(CLASSES.get(placed.type), "RETURN_NAMES", None) or _output_types(placed)


def _groups(sheet: Sheet) -> Iterator[dict[str, Any]]:
    border = 16
    for number, (title, colour, nodes) in enumerate(sheet.groups, 1):
        left, top = min(node.x for node in nodes) - border, min(node.y for node in nodes) - TITLE_HEIGHT - border - 24
        right, bottom = max(node.x + node.width for node in nodes) + border, max(node.bottom + _room(node) for node in nodes) + border
        yield {
            "id": number,
            "title": title,
            "bounding": [left, top, right - left, bottom - top],
            "color": colour,
            "font_size": 24,
            "flags": {},
        }


# -- the examples

CONNECT = "1. Start the API server in Draw Things (protocol gRPC), or gRPCServerCLI, and set its address in **Load Server**."
CHOOSE = "2. Press R, choose a model that your server has, and run."


def _sheet(name: str, what: str, more: str, choose: str = CHOOSE) -> Sheet:
    """A sheet with the note in its first column. choose: its second step."""
    return Sheet(name, "\n\n".join((what, f"{CONNECT}\n{choose}", more)))


def _server(sheet: Sheet) -> Placed:
    """Beside the node that generates, so that no other node hides the link."""
    return sheet.add("DrawThingsLoadServer", values={"host": "127.0.0.1", "port": 7859, "tls": "auto", "secret": ""})


def _finish(sheet: Sheet, generated: Placed) -> Sheet:
    sheet.column()
    sheet.add("SaveImage", width=420, values={"filename_prefix": sheet.name}, images=generated[0])
    return sheet


def _finish_video(sheet: Sheet, generated: Placed, sound: bool = False) -> Sheet:
    """Frames and rate into a file; the sound too where the model makes one."""
    sheet.column()
    heard = {"audio": generated[1]} if sound else {}
    video = sheet.add("CreateVideo", width=420, links={"fps": generated[2], **heard}, images=generated[0])
    sheet.add("SaveVideo", width=420, values={"filename_prefix": sheet.name}, video=video[0])
    return sheet


def text_to_image() -> Sheet:
    sheet = _sheet("text_to_image", "Makes a picture from text.", "Sizes, steps and guidance of 0 or -1 are the model's own.")
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a small house in a meadow at sunrise, hills in the mist, watercolour",
            "negative_prompt": "text, frame",
            "seed": 1001,
            "width": 768,
            "height": 512,
            "steps": 20,
        },
        server=server[0],
    )
    return _finish(sheet, generated)


def image_to_image() -> Sheet:
    sheet = _sheet(
        "image_to_image",
        "Makes a new picture from an old one.",
        "**strength** says how much may change: 0.3 keeps most of it, 0.8 little. The size follows the image.",
    )
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to start from", values={"image": "landscape.png"})
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "the same landscape in deep winter, snow on the roof, evening light",
            "negative_prompt": "people",
            "seed": 2002,
            "width": 768,
            "height": 512,
            "steps": 24,
            "strength": 0.6,
        },
        server=server[0],
        image=image[0],
    )
    return _finish(sheet, generated)


def inpaint() -> Sheet:
    sheet = _sheet(
        "inpaint",
        "Repaints the white part of the mask and keeps the rest.",
        "To draw a mask of your own, right-click **Image to repair**, open the mask editor, and connect its MASK output instead.",
    )
    sheet.column()
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to repair", values={"image": "landscape.png"})
    mask = sheet.add("LoadImageMask", "Mask: white is repainted", values={"image": "landscape_house_mask.png", "channel": "red"})
    sheet.column()
    generated = sheet.add(
        "DrawThingsInpaint",
        width=400,
        values={
            "model": "sd_v1.5_inpainting_f16.ckpt",
            "prompt": "an old windmill with white sails",
            "negative_prompt": "blurry",
            "seed": 3003,
            "width": 768,
            "height": 512,
            "steps": 24,
        },
        server=server[0],
        image=image[0],
        mask=mask[0],
    )
    sheet.group("What to repaint", "#3f789e", image, mask)
    return _finish(sheet, generated)


def controlnet_hint() -> Sheet:
    sheet = _sheet(
        "controlnet_hint",
        "Makes a picture that follows a depth map.",
        "The ControlNet must be made for the model's family: both are for Stable Diffusion 1.5 here.",
    )
    depth = sheet.add("LoadImage", "Depth map: near is bright", values={"image": "landscape_depth.png"})
    sheet.column()
    server = _server(sheet)
    hint = sheet.add(
        "DrawThingsControlNetHint",
        values={"hint_type": "Depth", "control": "controlnet_depth_1.x_v1.1_f16.ckpt", "weight": 0.9, "start": 0.0, "end": 0.8},
        image=depth[0],
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_v1.5_f16.ckpt",
            "prompt": "a castle on a green hill, two old oaks, summer, oil painting",
            "negative_prompt": "modern",
            "seed": 4004,
            "width": 768,
            "height": 512,
            "steps": 24,
        },
        server=server[0],
        hints=hint[0],
    )
    return _finish(sheet, generated)


def controlnet_canny() -> Sheet:
    sheet = _sheet(
        "controlnet_canny",
        "Makes a new picture along the edges of another.",
        "The server finds the edges itself, so **ControlNet Hint** has no image of its own: the control follows the image of **Generate**. At "
        "strength 1 nothing else of that image is kept.",
    )
    image = sheet.add("LoadImage", "Image whose edges count", values={"image": "landscape.png"})
    sheet.column()
    server = _server(sheet)
    hint = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): edges of the image",
        values={"hint_type": "Canny", "control": "controlnet_canny_1.x_v1.1_f16.ckpt", "weight": 0.9},
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_v1.5_f16.ckpt",
            "prompt": "a cottage of gingerbread under a candy sun, icing on the roof",
            "negative_prompt": "people",
            "seed": 1515,
            "width": 768,
            "height": 512,
            "steps": 24,
            "strength": 1.0,
        },
        server=server[0],
        image=image[0],
        hints=hint[0],
    )
    return _finish(sheet, generated)


def pose_high_resolution() -> Sheet:
    sheet = _sheet(
        "pose_high_resolution",
        "Makes a person in a given pose, in two passes.",
        "A pose is a drawn skeleton on black. A server does not scale it, so it is sent once for each pass of the high-resolution fix, at the "
        "size of that pass.",
    )
    pose = sheet.add("LoadImage", "Pose", values={"image": "dancer_pose.png"})
    sheet.column()
    hint = sheet.add(
        "DrawThingsControlNetHint",
        values={"hint_type": "Pose", "control": "controlnet_openpose_sdxl_v1.0_f16.ckpt", "weight": 0.85},
        image=pose[0],
    )
    passes = sheet.add("DrawThingsHiresFixOptions", values={"hires_fix_width": 384, "hires_fix_height": 512, "hires_fix_strength": 0.6})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a dancer in a red coat on a rooftop, dusk, wind",
            "negative_prompt": "crowd",
            "seed": 1616,
            "width": 768,
            "height": 1024,
            "steps": 24,
        },
        server=server[0],
        hints=hint[0],
        options=passes[0],
    )
    return _finish(sheet, generated)


def controlnet_union() -> Sheet:
    sheet = _sheet(
        "controlnet_union",
        "Two kinds of map through one union control.",
        "A union control follows many kinds of map and is told which by the **hint type**. The second hint has no image of its own: it follows "
        "the tiles of the image that **Generate** starts from.",
    )
    depth = sheet.add("LoadImage", "Depth map: near is bright", values={"image": "landscape_depth.png"})
    image = sheet.add("LoadImage", "Image to start from", values={"image": "landscape.png"})
    sheet.column()
    first = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): depth map",
        values={"hint_type": "Depth", "control": "controlnet_union_promax_sdxl_v1.0_f16.ckpt", "weight": 0.7, "end": 0.8},
        image=depth[0],
    )
    both = sheet.add(
        "DrawThingsControlNetHint",
        "ControlNet Hint (Draw Things): tiles of the image",
        values={
            "hint_type": "Tile",
            "control": "controlnet_union_promax_sdxl_v1.0_f16.ckpt",
            "weight": 0.4,
            "start": 0.2,
            "down_sampling_rate": 2.0,
        },
        hints=first[0],
    )
    sheet.column()
    server = _server(sheet)
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a farmhouse at harvest time, hay bales, warm evening light, photo",
            "negative_prompt": "drawing",
            "seed": 1717,
            "width": 768,
            "height": 512,
            "steps": 24,
            "strength": 0.8,
        },
        server=server[0],
        image=image[0],
        hints=both[0],
    )
    sheet.group("Maps", "#3f789e", first, both)
    return _finish(sheet, generated)


def prompt_words() -> Sheet:
    sheet = _sheet(
        "prompt_words",
        "Adds the words that LoRAs and textual inversions want to see in a prompt.",
        "**Trigger Words** looks up what the chosen LoRAs and the model are triggered by, and puts it before the prompt. **Textual Inversion** "
        "writes a keyword; it acts where the Draw Things app is the server.",
    )
    sheet.column()
    server = _server(sheet)
    loras = sheet.add(
        "DrawThingsLoRAStack",
        values={"lora_1": "moxin_v1_lora_f16.ckpt", "weight_1": 0.8, "lora_2": "add_detail_v1.5_lora_f16.ckpt", "weight_2": 0.5},
    )
    sheet.column()
    triggered = sheet.add(
        "DrawThingsTriggerWords",
        width=360,
        values={"text": "a heron in the reeds, morning mist", "model": "none"},
        server=server[0],
        loras=loras[0],
    )
    worse = sheet.add(
        "DrawThingsTextualInversion",
        width=360,
        values={"inversion": "easynegative_ti_f16.ckpt", "text": "photo, frame", "weight": 0.8},
        server=server[0],
    )
    sheet.add("PreviewAny", "What each file wants", width=360, source=triggered[2])
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={"model": "sd_v1.5_f16.ckpt", "seed": 1818, "width": 768, "height": 512, "steps": 20},
        server=server[0],
        loras=loras[0],
        links={"prompt": triggered[0], "negative_prompt": worse[0]},
    )
    return _finish(sheet, generated)


def moodboard() -> Sheet:
    sheet = _sheet(
        "moodboard",
        "Makes a picture in the mood of two others.",
        "An IP-Adapter reads them. The second **Moodboard** only adds its picture, so its control is none; instruction models (FLUX.2, Qwen "
        "Image Edit) need no control at all.",
    )
    sheet.column()
    first = sheet.add("LoadImage", "Reference 1", values={"image": "moodboard_autumn.png"})
    second = sheet.add("LoadImage", "Reference 2", values={"image": "moodboard_tiles.png"})
    sheet.column()
    server = _server(sheet)
    adapter = sheet.add(
        "DrawThingsMoodboard",
        "Moodboard (Draw Things): picture 1",
        values={"control": "ip_adapter_plus_xl_base_open_clip_h14_f16.ckpt", "control_weight": 0.8},
        images=first[0],
    )
    both = sheet.add(
        "DrawThingsMoodboard",
        "Moodboard (Draw Things): picture 2",
        values={"control": "none", "weight_1": 0.6},
        images=second[0],
        hints=adapter[0],
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a teapot and two cups on a table by the window",
            "negative_prompt": "hands",
            "seed": 5005,
            "width": 768,
            "height": 768,
            "steps": 24,
        },
        server=server[0],
        hints=both[0],
    )
    sheet.group("References", "#3f789e", first, second)
    return _finish(sheet, generated)


def lora_stack() -> Sheet:
    sheet = _sheet(
        "lora_stack",
        "Makes a picture with two LoRAs.",
        "LoRAs must be made for the model's family. Slots set to none are left out.",
    )
    sheet.column()
    server = _server(sheet)
    loras = sheet.add(
        "DrawThingsLoRAStack",
        values={
            "lora_1": "flux_1_watercolor_lora_f16.ckpt",
            "weight_1": 0.8,
            "lora_2": "flux_1_realism_lora_f16.ckpt",
            "weight_2": 0.4,
        },
    )
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "flux_1_dev_q8p.ckpt",
            "prompt": "a fishing boat in a quiet harbour, morning, loose brush strokes",
            "seed": 6006,
            "width": 768,
            "height": 512,
            "steps": 20,
        },
        server=server[0],
        loras=loras[0],
    )
    return _finish(sheet, generated)


def high_resolution() -> Sheet:
    sheet = _sheet(
        "high_resolution",
        "Makes a picture in two passes, then enlarges it twofold.",
        "Option nodes chain: each lays its settings over those before it, and all of them win over the widgets of **Generate**. **Tiling** "
        "decodes large pictures piece by piece, so that memory lasts.",
    )
    sheet.column()
    passes = sheet.add("DrawThingsHiresFixOptions", values={"hires_fix_width": 512, "hires_fix_height": 384, "hires_fix_strength": 0.6})
    enlarged = sheet.add("DrawThingsUpscalerOptions", values={"upscaler": "realesrgan_x2plus_f16.ckpt"}, options=passes[0])
    tiled = sheet.add("DrawThingsTilingOptions", values={"tiled_decoding": True, "decoding_tile_width": 512}, options=enlarged[0])
    sampled = sheet.add("DrawThingsSamplingOptions", values={"sharpness": 2.0}, options=tiled[0])
    sheet.column()
    server = _server(sheet)
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a mountain village above a lake, slate roofs, first snow, evening",
            "negative_prompt": "fog",
            "seed": 7007,
            "width": 1024,
            "height": 768,
            "steps": 20,
        },
        server=server[0],
        options=sampled[0],
    )
    sheet.group("Options", "#3f789e", passes, enlarged, tiled, sampled)
    return _finish(sheet, generated)


def sdxl_refiner() -> Sheet:
    sheet = _sheet(
        "sdxl_refiner",
        "Makes a picture with Stable Diffusion XL and its refiner.",
        "The refiner takes over for the last fifth of the steps. **SDXL Options** are the "
        "sizes that the model is told, not those of the picture.",
    )
    sheet.column()
    refined = sheet.add("DrawThingsRefinerOptions", values={"refiner_model": "sd_xl_refiner_1.0_f16.ckpt", "refiner_start": 0.8})
    told = sheet.add(
        "DrawThingsSDXLOptions",
        values={"original_image_width": 1024, "original_image_height": 1024, "target_image_width": 1024, "target_image_height": 1024},
        options=refined[0],
    )
    encoded = sheet.add("DrawThingsTextEncodersOptions", values={"clip_skip": 2}, options=told[0])
    sheet.column()
    server = _server(sheet)
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "portrait of an old lighthouse keeper, wool cap, kind eyes",
            "negative_prompt": "hat with a logo",
            "seed": 8008,
            "width": 768,
            "height": 768,
            "steps": 25,
        },
        server=server[0],
        options=encoded[0],
    )
    sheet.group("Options", "#3f789e", refined, told, encoded)
    return _finish(sheet, generated)


def flux_tea_cache() -> Sheet:
    sheet = _sheet(
        "flux_tea_cache",
        "Makes a picture with FLUX.1 faster, and with real guidance.",
        "**TeaCache** skips steps that change little. With the speed-up off, FLUX.1 runs with guidance and reads the negative prompt, at twice "
        "the time; **CFG Zero*** corrects that guidance.",
    )
    sheet.column()
    cached = sheet.add("DrawThingsTeaCacheOptions")
    guided = sheet.add(
        "DrawThingsGuidanceOptions", values={"speed_up_with_guidance_embed": "off", "guidance_embed": 3.5}, options=cached[0]
    )
    corrected = sheet.add("DrawThingsCFGZeroOptions", values={"cfg_zero_init_steps": 1}, options=guided[0])
    sheet.column()
    server = _server(sheet)
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "flux_1_dev_q8p.ckpt",
            "prompt": "a glass greenhouse at night, lit from inside, ferns, light rain",
            "negative_prompt": "people",
            "seed": 9009,
            "width": 768,
            "height": 512,
            "steps": 20,
            "guidance": 2.0,
        },
        server=server[0],
        options=corrected[0],
    )
    sheet.group("Options", "#3f789e", cached, guided, corrected)
    return _finish(sheet, generated)


def stable_cascade() -> Sheet:
    sheet = _sheet(
        "stable_cascade",
        "Makes a picture with Stable Cascade.",
        "**Generate** has the settings of the first stage, the options those of the second. Both stages must be on the server.",
    )
    sheet.column()
    second = sheet.add("DrawThingsStableCascadeOptions", values={"stage_2_steps": 12, "stage_2_guidance": 1.1})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "wurstchen_3.0_stage_c_f32_f16.ckpt",
            "prompt": "a paper boat on a puddle, reflections of a red umbrella",
            "negative_prompt": "blurry",
            "seed": 1010,
            "width": 768,
            "height": 512,
            "steps": 20,
            "guidance": 4.0,
        },
        server=server[0],
        options=second[0],
    )
    return _finish(sheet, generated)


def kandinsky() -> Sheet:
    sheet = _sheet(
        "kandinsky", "Makes a picture with Kandinsky 2.1.", "Its prior turns the text into an image embedding first, in steps of its own."
    )
    sheet.column()
    prior = sheet.add("DrawThingsKandinskyOptions", values={"image_prior_steps": 10})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "kandinsky_f16.ckpt",
            "prompt": "a fox made of autumn leaves, poster",
            "negative_prompt": "text",
            "seed": 1111,
            "width": 768,
            "height": 512,
            "steps": 25,
        },
        server=server[0],
        options=prior[0],
    )
    return _finish(sheet, generated)


def inpaint_seam() -> Sheet:
    sheet = _sheet(
        "inpaint_seam",
        "Repaints a part of an image with a soft seam and matching colours.",
        "The outset lets the repainted part grow beyond the mask; the blur softens the seam where the kept pixels are pasted back. Colour "
        "calibration brings the colours of the result to those of the image.",
    )
    sheet.column()
    image = sheet.add("LoadImage", "Image to repair", values={"image": "landscape.png"})
    mask = sheet.add("LoadImageMask", "Mask: white is repainted", values={"image": "landscape_house_mask.png", "channel": "red"})
    sheet.column()
    seam = sheet.add("DrawThingsInpaintOptions", values={"mask_blur": 4.0, "mask_blur_outset": 12})
    coloured = sheet.add("DrawThingsOutputOptions", values={"color_calibration": "Lab"}, options=seam[0])
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsInpaint",
        width=400,
        values={
            "model": "sd_v1.5_inpainting_f16.ckpt",
            "prompt": "a round stone tower with a copper roof",
            "negative_prompt": "blurry",
            "seed": 1212,
            "width": 768,
            "height": 512,
            "steps": 24,
        },
        server=server[0],
        image=image[0],
        mask=mask[0],
        options=coloured[0],
    )
    sheet.group("What to repaint", "#3f789e", image, mask)
    return _finish(sheet, generated)


COPIED = """{
  "width": 768,
  "height": 512,
  "seed": 1313,
  "steps": 18,
  "guidanceScale": 6.5,
  "sampler": 15,
  "seedMode": 2,
  "clipSkip": 2,
  "sharpness": 1.5,
  "loras": [{"file": "pixel_art_xl_v1.1_lora_f16.ckpt", "weight": 0.8, "mode": "all"}]
}"""


def options_from_json() -> Sheet:
    sheet = _sheet(
        "options_from_json",
        "Uses a configuration that was copied in Draw Things.",
        "In the app, copy the configuration from the menu of the settings and paste it over the text. What it names wins over the widgets of "
        "**Generate**; the switches leave model, size or seed to them. **Options to JSON** gives back what was sent, to be pasted in the app.",
    )
    sheet.column()
    read = sheet.add("DrawThingsOptionsFromJSON", width=360, values={"json": COPIED})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a knight and a small dragon share an umbrella",
            "negative_prompt": "photo",
        },
        server=server[0],
        options=read[0],
    )
    _finish(sheet, generated)
    written = sheet.add("DrawThingsOptionsToJSON", width=420, info=generated[2])
    sheet.column()
    sheet.add("PreviewAny", "For Draw Things: copy this", width=420, source=written[0])
    sheet.add("PreviewAny", "Notes of the reader", width=420, source=read[1])
    return sheet


def recommended_settings() -> Sheet:
    sheet = _sheet(
        "recommended_settings",
        "Uses what Draw Things recommends for a model, and a LoRA that makes it fast.",
        "Choose the same model in both nodes. Without the LoRA the recommendation is another: many steps, guidance, and a negative prompt. "
        "Width, height and negative prompt are outputs, so that other nodes can use them too.",
    )
    sheet.column()
    server = _server(sheet)
    loras = sheet.add("DrawThingsLoRAStack", values={"lora_1": "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt", "weight_1": 1.0})
    sheet.column()
    advice = sheet.add(
        "DrawThingsRecommendedSettings", width=360, values={"model": "qwen_image_2512_q8p.ckpt"}, server=server[0], loras=loras[0]
    )
    sheet.add("PreviewAny", "Where it comes from", width=360, source=advice[4])
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "qwen_image_2512_q8p.ckpt",
            "prompt": "a market stall with oranges and a hand-written sign",
            "seed": 1414,
        },
        server=server[0],
        loras=loras[0],
        options=advice[0],
        links={"width": advice[1], "height": advice[2], "negative_prompt": advice[3]},
    )
    return _finish(sheet, generated)


def save_with_settings() -> Sheet:
    sheet = _sheet(
        "save_with_settings",
        "Saves pictures from which both ComfyUI and Draw Things restore how they were made.",
        "Drop the PNG on ComfyUI's page and this graph is back; import it in Draw Things, or load it with **Load Draw Things Image**, and prompt, "
        "seed and settings are. Each picture of the batch has its own seed in its file.",
    )
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={**_SAVED, "batch_size": 2},
        server=server[0],
    )
    sheet.column()
    sheet.add(
        "DrawThingsSaveImage",
        width=420,
        values={"filename_prefix": sheet.name},
        images=generated[0],
        info=generated[2],
    )
    return sheet


def load_with_settings() -> Sheet:
    sheet = _sheet(
        "load_with_settings",
        "Makes a picture again from the settings in its file.",
        f"Choose a PNG that Draw Things or **Save Image (Draw Things)** wrote. Its settings win over the widgets of **Generate**; here the model "
        f"is left to Generate (take_model is off), since yours may be another. Change the prompt or switch take_seed off for a variation. "
        f"{SAVED_PICTURE} is in the folder of the examples' pictures.",
    )
    sheet.column()
    server = _server(sheet)
    restored = sheet.add("DrawThingsLoadImage", width=360, values={"image": SAVED_PICTURE, "take_model": False})
    sheet.add("PreviewAny", "What could not be read", width=360, source=restored[5])
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={"model": _SAVED["model"]},
        server=server[0],
        options=restored[4],
        links={"prompt": restored[2], "negative_prompt": restored[3]},
    )
    sheet.column()
    sheet.add("DrawThingsSaveImage", width=420, values={"filename_prefix": sheet.name}, images=generated[0], info=generated[2])
    return sheet


SAVED_PICTURE = "saved_with_settings.png"
_SAVED = {
    "model": "sd_xl_base_1.0_f16.ckpt",
    "prompt": "a lighthouse on a rock, a red boat below, stormy sky, gouache",
    "negative_prompt": "people, text",
    "seed": 1515,
    "width": 768,
    "height": 512,
    "steps": 22,
    "guidance": 6.5,
}


def outpaint() -> Sheet:
    sheet = _sheet(
        "outpaint",
        "Widens a picture: keeps it, and generates what lies left and right of it.",
        "**fit** is *outpaint*, and width and height have other proportions than the image, so that it leaves borders. What is transparent "
        "in an image is generated likewise. To repaint something inside it as well, use **Inpaint** with the same fit.",
    )
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to widen", values={"image": "landscape.png"})
    sheet.column()
    generated = sheet.add(
        "DrawThingsGenerate",
        width=400,
        values={
            "model": "sd_xl_base_1.0_f16.ckpt",
            "prompt": "a small house in a wide valley, hills in the mist, watercolour",
            "negative_prompt": "frame, border",
            "seed": 3103,
            "width": 1152,
            "height": 512,
            "steps": 24,
            "fit": "outpaint",
        },
        server=server[0],
        image=image[0],
    )
    return _finish(sheet, generated)


def text_to_video() -> Sheet:
    sheet = _sheet(
        "text_to_video",
        "Makes a video from text with Wan 2.2.",
        "Its two experts share the work: the refiner takes over from the model. Frames and size are small here, so that it is quick: 0 "
        "takes what Wan is made for, 81 frames of 832x448. Wan makes 4k+1 frames. Connect **audio** only for models that make sound.",
    )
    sheet.column()
    experts = sheet.add("DrawThingsRefinerOptions", values={"refiner_model": "wan_v2.2_a14b_lne_t2v_q8p.ckpt", "refiner_start": 0.125})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        width=400,
        values={
            "model": "wan_v2.2_a14b_hne_t2v_q8p.ckpt",
            "prompt": "a sailing boat glides over a calm lake at dawn, mist drifts between the hills, slow camera",
            "negative_prompt": "shaking, text",
            "seed": 1515,
            "width": 512,
            "height": 320,
            "num_frames": 17,
            "steps": 12,
        },
        server=server[0],
        options=experts[0],
    )
    return _finish_video(sheet, generated)


def image_to_video() -> Sheet:
    sheet = _sheet(
        "image_to_video",
        "Makes a video that begins with a picture, with Stable Video Diffusion.",
        "**Motion scale** says how much moves. It needs no prompt. Other models that start from a picture: Wan I2V and LTX, which also "
        "continue from several frames in one batch. With a strength below 1 the picture itself is changed.",
    )
    sheet.column()
    frames = sheet.add("DrawThingsVideoOptions", values={"num_frames": 14})
    motion = sheet.add("DrawThingsSVDOptions", values={"fps": 7, "motion_scale": 160, "guiding_frame_noise": 0.02}, options=frames[0])
    sheet.column()
    image = sheet.add("LoadImage", "First frame", values={"image": "landscape.png"})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        width=400,
        values={"model": "svd_i2v_xt_1.1_f16.ckpt", "seed": 1616, "width": 512, "height": 320, "steps": 12},
        server=server[0],
        image=image[0],
        options=motion[0],
    )
    sheet.group("Options", "#3f789e", frames, motion)
    return _finish_video(sheet, generated)


def video_with_sound() -> Sheet:
    sheet = _sheet(
        "video_with_sound",
        "Makes a video with its sound, with LTX-2.3.",
        "Write into the prompt what is to be heard, too. LTX makes 8k+1 frames; 0 frames and sizes of 0 take what it is made for, 121 "
        "frames of 1280x768. To begin with a picture, connect it to **image**. **Save Audio** keeps the sound alone.",
    )
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        width=400,
        values={
            "model": "ltx_2.3_22b_distilled_1.1_q8p.ckpt",
            "prompt": "a steam train crosses a stone bridge in the evening sun; its whistle echoes, wheels clatter over the rails",
            "seed": 1717,
            "width": 512,
            "height": 320,
            "num_frames": 25,
        },
        server=server[0],
    )
    _finish_video(sheet, generated, sound=True)
    sheet.column()
    sheet.add("SaveAudio", width=360, values={"filename_prefix": f"{sheet.name}_alone"}, audio=generated[1])
    sheet.add("PreviewAny", "What was sent, and notes", width=360, source=generated[3])
    return sheet


def long_video() -> Sheet:
    sheet = _sheet(
        "long_video",
        "Makes a video chunk by chunk with Wan 2.1.",
        "With **Causal inference** each chunk, here of 3 latent frames (12 frames of the video), sees only what came before. To go on "
        "after the end, connect the last frames, as one batch, to **image** of another Generate Video with a Wan I2V or LTX model.",
    )
    sheet.column()
    chunks = sheet.add("DrawThingsCausalInferenceOptions", values={"causal_inference": 3})
    server = _server(sheet)
    sheet.column()
    generated = sheet.add(
        "DrawThingsVideo",
        width=400,
        values={
            "model": "wan_v2.1_1.3b_480p_f16.ckpt",
            "prompt": "a walk along a beach, waves roll in, gulls cross the sky",
            "negative_prompt": "people",
            "seed": 1818,
            "width": 384,
            "height": 256,
            "num_frames": 33,
            "steps": 10,
        },
        server=server[0],
        options=chunks[0],
    )
    return _finish_video(sheet, generated)


def edit_image() -> Sheet:
    sheet = _sheet(
        "edit_image",
        "Changes a picture as an instruction says.",
        "For instruction models: FLUX.1 Kontext, Qwen Image Edit, FLUX.2. The size follows the image. At **strength** 1 the model sees the image "
        "all the same; below 1 the new picture also begins from it.",
    )
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to change", values={"image": "landscape.png"})
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        width=400,
        values={
            "model": "flux_1_kontext_dev_q8p.ckpt",
            "instruction": "Make it night: a full moon instead of the sun, light in the windows. Keep everything else.",
            "seed": 1515,
            "steps": 20,
        },
        server=server[0],
        image=image[0],
    )
    return _finish(sheet, edited)


def edit_references() -> Sheet:
    sheet = _sheet(
        "edit_references",
        "Changes a picture with the help of others.",
        "The instruction names pictures by their number: **image** is picture 1, **image_2** picture 2. They keep their own size, and a batch is "
        "several pictures. FLUX.2, FLUX.1 Kontext and Qwen Image Edit read several.",
    )
    sheet.column()
    first = sheet.add("LoadImage", "Picture 1: the one to change", values={"image": "landscape.png"})
    second = sheet.add("LoadImage", "Picture 2", values={"image": "moodboard_autumn.png"})
    third = sheet.add("LoadImage", "Picture 3", values={"image": "moodboard_tiles.png"})
    sheet.column()
    server = _server(sheet)
    loras = sheet.add("DrawThingsLoRAStack", values={"lora_1": "qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt", "weight_1": 1.0})
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        width=400,
        values={
            "model": "qwen_image_edit_2511_q6p.ckpt",
            "instruction": "Give the trees the colours of picture 2 and cover the wall of the house with the tiles of picture 3.",
            "seed": 1616,
        },
        server=server[0],
        image=first[0],
        image_2=second[0],
        image_3=third[0],
        loras=loras[0],
    )
    sheet.group("Pictures", "#3f789e", first, second, third)
    return _finish(sheet, edited)


def layers() -> Sheet:
    sheet = _sheet(
        "layers",
        "Takes a picture apart into layers with transparency.",
        "The **batch size** is the number of layers. They come as a batch; the mask says where each is transparent, and joined with it each is saved "
        "as a PNG with alpha.",
    )
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to take apart", values={"image": "landscape.png"})
    sheet.column()
    edited = sheet.add(
        "DrawThingsEdit",
        width=400,
        values={
            "model": "qwen_image_layered_1.0_q8p.ckpt",
            "instruction": "a house in a meadow, trees, hills, a sunny sky",
            "seed": 1717,
            "steps": 30,
            "batch_size": 4,
        },
        server=server[0],
        image=image[0],
    )
    sheet.column()
    joined = sheet.add("JoinImageWithAlpha", image=edited[0], alpha=edited[1])
    return _finish(sheet, joined)


def server_info() -> Sheet:
    sheet = _sheet(
        "server_info",
        "Shows what your server is and has.",
        "**Server Info** shows the connection, TLS, whether the secret was accepted, and every model, LoRA, control, textual inversion and upscaler "
        "with its family. From then on the lists in all nodes hold these files (press R).",
        choose="2. Run.",
    )
    sheet.column()
    server = _server(sheet)
    sheet.column()
    info = sheet.add("DrawThingsServerInfo", width=620, server=server[0])
    sheet.column()
    sheet.add("PreviewAny", "The same for programs", width=420, source=info[1])
    return sheet


def upload_model() -> Sheet:
    sheet = _sheet(
        "upload_model",
        "Puts a model file into your server's models folder.",
        "The file is one that Draw Things made (.ckpt): in one of ComfyUI's model folders, or in the uploads folder, which is .drawthings-comfyui/uploads "
        "in your home folder unless DRAWTHINGS_UPLOADS names another. What the server has already is not sent again. **Files Exist** then has the server "
        "hash what arrived.",
        choose="2. Choose a file in **Upload Model**, and run.",
    )
    sheet.column()
    server = _server(sheet)
    sheet.column()
    uploaded = sheet.add("DrawThingsUploadModel", width=420, server=server[0])
    sheet.column()
    sheet.add(
        "DrawThingsFilesExist",
        "Is it there, and whole?",
        width=420,
        values={"hashes": True},
        server=uploaded[0],
        links={"files": uploaded[1]},
    )
    return sheet


def upscale() -> Sheet:
    sheet = _sheet(
        "upscale",
        "Enlarges a picture with an upscaler.",
        "Nothing is generated, yet a server wants a **model**: any that it has. **Scale** 0 is the upscaler's own factor. Choose a face restoration "
        "model to restore faces as well, or alone.",
    )
    server = _server(sheet)
    image = sheet.add("LoadImage", "Image to enlarge", values={"image": "landscape.png"})
    sheet.column()
    enlarged = sheet.add(
        "DrawThingsUpscale",
        width=400,
        values={"model": "sd_v1.5_f16.ckpt", "upscaler": "realesrgan_x2plus_f16.ckpt"},
        server=server[0],
        image=image[0],
    )
    return _finish(sheet, enlarged)


def seedvr2_upscale() -> Sheet:
    sheet = _sheet(
        "seedvr2_upscale",
        "Restores and enlarges a picture with SeedVR2.",
        "The model itself enlarges, at any **scale**: no upscaler is needed. **Tiling Options** keep the memory small that large pictures take.",
    )
    sheet.column()
    image = sheet.add("LoadImage", "Image to restore", values={"image": "landscape.png"})
    sheet.column()
    tiled = sheet.add("DrawThingsTilingOptions", values={"tiled_decoding": True})
    server = _server(sheet)
    sheet.column()
    enlarged = sheet.add(
        "DrawThingsUpscale",
        width=400,
        values={"model": "seedvr2_3b_q8p.ckpt", "scale": 1.75, "seed": 1818},
        server=server[0],
        image=image[0],
        options=tiled[0],
    )
    return _finish(sheet, enlarged)


EXAMPLES = (
    text_to_image,
    image_to_image,
    inpaint,
    controlnet_hint,
    moodboard,
    lora_stack,
    high_resolution,
    sdxl_refiner,
    flux_tea_cache,
    stable_cascade,
    kandinsky,
    inpaint_seam,
    options_from_json,
    recommended_settings,
    save_with_settings,
    load_with_settings,
    outpaint,
    text_to_video,
    image_to_video,
    video_with_sound,
    long_video,
    edit_image,
    edit_references,
    layers,
    server_info,
    upload_model,
    controlnet_canny,
    pose_high_resolution,
    controlnet_union,
    prompt_words,
    upscale,
    seedvr2_upscale,
)


# -- files


def texts() -> dict[str, str]:
    """File name -> JSON text."""
    return {f"{made.name}.json": json.dumps(document(made), indent=1, ensure_ascii=False) + "\n" for made in (make() for make in EXAMPLES)}


def mark(sheet: Sheet) -> str:
    """What a thumbnail's comment says: a digest of what its example makes, whatever stands where and whatever is left as it is."""
    rows = [
        [placed.type, dict(placed.values), {name: [source.node.id, source.slot] for name, source in placed.sources.items()}]
        for placed in sheet.nodes
        if placed.type in CLASSES
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def thumbnails(sheets: Sequence[Sheet], folder: Path) -> dict[str, Path]:
    """File name -> a new thumbnail in `folder`, from what the simulator makes of each example."""
    if not sheets:
        return {}
    uploads = folder / "uploads"
    demo.make_upload(uploads)
    os.environ[demo.UPLOADS_VARIABLE] = str(uploads)
    made = {}
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as simulator:
        for sheet in sheets:
            picture = _thumbnails.draw(_made(sheet, folder / sheet.name, {"host": simulator.host, "port": simulator.port}))
            made[f"{sheet.name}.jpg"] = path = folder / f"{sheet.name}.jpg"
            path.write_bytes(_thumbnails.encoded(picture, mark(sheet)))
    return made


def _made(sheet: Sheet, out: Path, server: Mapping[str, Any]) -> _thumbnails.Made:
    folders = Folders((FOLDER / "input",), out)
    classes = {**NODE_CLASS_MAPPINGS, **bound(folders)}
    saved = document(sheet)
    graph = overrides.use_server(workflow.parse(saved, classes, DISPLAY), server)
    for number in demo.uploading(saved):
        graph = graph.with_inputs(str(number), {"file": f"uploads/{demo.UPLOADED}"})
    with in_use(folders):
        outcome = execution.run(graph, classes)
    shown = "\n".join(text for node, text in outcome.shown if node.type in NODE_CLASS_MAPPINGS)
    text = shown.replace(f"{server['host']}:{server['port']}", "127.0.0.1:7859")
    enlarged = [placed.sources["image"].node for placed in sheet.nodes if placed.type == "DrawThingsUpscale"]
    return _thumbnails.Made(
        [path for path in folders.written if path.suffix in demo.PICTURES],
        [path for path in folders.written if path.suffix == ".wav"],
        text,
        FOLDER / "input" / enlarged[0].values["image"] if enlarged else None,
    )


def pictures() -> dict[str, np.ndarray]:
    """File name -> uint8 pixels. PNG bytes differ with the version of zlib; pixels do not."""
    return {name: _pictures.eight_bit(paint()) for name, paint in _pictures.PICTURES.items()}


def saved_picture(folder: Path) -> Path:
    """The picture that has its settings in it, as Save Image writes what the simulator makes of them."""

    async def make(kind: str, **inputs: Any) -> Any:
        defaults = {name: spec.default for name, spec in input_specs(CLASSES[kind]).items() if spec.widget and spec.required}
        made = getattr(CLASSES[kind](), CLASSES[kind].FUNCTION)(**{**defaults, **inputs})
        return await made if inspect.isawaitable(made) else made

    async def save(host: str, port: int) -> None:
        (server,) = await make("DrawThingsLoadServer", host=host, port=port, tls="plain")
        images, _, info = await make("DrawThingsGenerate", server=server, **_SAVED)
        await make("DrawThingsSaveImage", images=images, info=info, compression=9)

    folders = Folders((), folder)
    flags = ("--no-tls", "--model-browser", "--no-response-compression", "--step-seconds", "0")
    with in_use(folders), SimulatorProcess(*flags) as simulator:
        asyncio.run(save(simulator.host, simulator.port))
    return folders.written[0]


def _nearly_same(one: Path, other: Path) -> bool:
    """Whether two pictures have the same settings, and pixels as near as fonts of different machines allow."""
    with Image.open(one) as a, Image.open(other) as b:
        if a.size != b.size or metadata.in_picture(a) != metadata.in_picture(b):
            return False
        return bool(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean() < NEARLY)


def stale(folder: Path) -> dict[Path, Path | np.ndarray | str]:
    """Committed files that are not what this script gives, and what it gives: text, pixels, or a file in `folder`."""
    found: dict[Path, Path | np.ndarray | str] = {}
    for name, text in texts().items():
        path = FOLDER / name
        if not path.is_file() or path.read_text("utf-8") != text:
            found[path] = text
    for name, pixels in pictures().items():
        path = FOLDER / "input" / name
        if not path.is_file() or not np.array_equal(np.asarray(Image.open(path)), pixels):
            found[path] = pixels
    old = [sheet for sheet in (make() for make in EXAMPLES) if _thumbnails.comment_of(FOLDER / f"{sheet.name}.jpg") != mark(sheet)]
    found.update({FOLDER / name: path for name, path in thumbnails(old, folder).items()})
    saved, made = FOLDER / "input" / SAVED_PICTURE, saved_picture(folder)
    if not saved.is_file() or not _nearly_same(saved, made):
        found[saved] = made
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    (FOLDER / "input").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = stale(Path(folder))
        for path, content in found.items():
            print(f"{'stale' if check else 'written'}: {path.relative_to(FOLDER.parent)}")
            if not check:
                _write(path, content)
    return 1 if check and found else 0


def _write(path: Path, content: Path | np.ndarray | str) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="\n")
    elif isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        Image.fromarray(content).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
