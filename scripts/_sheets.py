"""Workflows as ComfyUI's frontend saves them, laid out from the node classes' own INPUT_TYPES, so that no value can be out of order."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.inputs import InputSpec, input_specs  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.stand_ins import STAND_INS, TITLES  # pyright: ignore[reportMissingImports]
from PIL import Image

INPUT = Path(__file__).resolve().parent.parent / "example_workflows" / "input"
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

WIDTH = 300
WIDTHS = {
    **dict.fromkeys((f"DrawThings{name}" for name in ("Generate", "Inpaint", "Edit", "Video", "Upscale")), 400),
    **dict.fromkeys(("SaveImage", "DrawThingsSaveImage", "CreateVideo", "SaveVideo", "DrawThingsOptionsToJSON"), 420),
    **dict.fromkeys(("DrawThingsUploadModel", "DrawThingsFilesExist"), 420),
    **dict.fromkeys(("DrawThingsTriggerWords", "DrawThingsTextualInversion", "DrawThingsRecommendedSettings"), 360),
    **dict.fromkeys(("DrawThingsOptionsFromJSON", "DrawThingsLoadImage", "PreviewAny", "SaveAudio"), 360),
    "DrawThingsServerInfo": 620,
}
"""Pixels of nodes that are wider than the others, by type."""

TITLE_LETTER = 7.4
"""Pixels of a letter of a title, with what a node's sides take: a node is not drawn narrower than its title."""
TITLE_SIDES = 48

ROOM = 26
ROOM_OF_WIDGET = 6
ROOM_OF_EXTENSION = {
    "DrawThingsLoadServer": 72,
    **dict.fromkeys((f"DrawThings{name}" for name in ("Generate", "Inpaint", "Edit", "Video")), 32),
}
"""Pixels by which Nodes 2.0 draws nodes higher than the classic rendering: each, for each widget, and for the lines and buttons that the browser
extension adds. Measured; tests/browser/test_workflows.py looks that they are enough.
"""

NOTE_COLOUR = ("#432", "#653")
SEED_CONTROL = "fixed"
GROUP_COLOUR = "#3f789e"


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
        self.groups: list[tuple[str, Sequence[Placed]]] = []
        self._server: Placed | None = None
        self._x = 0
        self._y = 0
        self._widest = 0
        self._note(note)

    def column(self, room: int = 0) -> None:
        """Begin the next column. room: pixels in front of it for links that come from far below, which else run behind the nodes."""
        self._x += self._widest + GAP + room
        self._y = self._widest = 0

    def server(self) -> Placed:
        """Load Server, to which every later node with such an input is connected. Its place is beside the node that generates, so that
        no other node hides the link.
        """
        self._server = self.add("DrawThingsLoadServer", host="127.0.0.1", port=7859, tls="auto", secret="")
        return self._server

    def add(self, kind: str, title: str = "", /, *, wide: int = 0, **inputs: Any) -> Placed:
        """A node under the last one of this column. inputs: values of widgets; an output connects, and a node stands for its first one."""
        specs = input_specs(CLASSES[kind])
        if unknown := inputs.keys() - specs.keys():
            raise ValueError(f"{kind} has no input {', '.join(sorted(unknown))}")
        if self._server is not None and "server" in specs:
            inputs = {"server": self._server, **inputs}
        sources = {name: given[0] if isinstance(given, Placed) else given for name, given in inputs.items() if _connects(given)}
        values = {name: given for name, given in inputs.items() if not _connects(given)}
        return self._place(kind, title or DISPLAY[kind], wide or WIDTHS.get(kind, WIDTH), _height(kind), values, sources)

    def save(self, images: Placed) -> None:
        """Save Image, in a column of its own."""
        self.column()
        self.add("SaveImage", filename_prefix=self.name, images=images)

    def save_video(self, generated: Placed, sound: bool = False) -> None:
        """Frames and rate of Generate Video into a file, in a column of their own; the sound too where the model makes one."""
        self.column()
        heard: dict[str, Any] = {"audio": generated[1]} if sound else {}
        video = self.add("CreateVideo", images=generated, fps=generated[2], **heard)
        self.add("SaveVideo", filename_prefix=self.name, video=video)

    def group(self, title: str, *nodes: Placed) -> None:
        self.groups.append((title, nodes))

    @property
    def loads_pictures(self) -> bool:
        return any(_loads_picture(placed.type) for placed in self.nodes)

    def _note(self, text: str) -> None:
        lines = sum(1 + len(line) // 38 for line in text.splitlines())
        self._place("MarkdownNote", "What this does", WIDTH, 60 + 18 * lines, {"text": text}, {})

    def _place(self, kind: str, title: str, width: int, height: int, values: Mapping[str, Any], sources: Mapping[str, Socket]) -> Placed:
        width = max(width, round(TITLE_SIDES + TITLE_LETTER * len(title)))
        placed = Placed(len(self.nodes) + 1, kind, title, self._x, self._y + TITLE_HEIGHT, width, height, values, sources)
        self.nodes.append(placed)
        self._y = placed.bottom + _room(placed) + GAP
        self._widest = max(self._widest, width)
        return placed


def _connects(given: Any) -> bool:
    return isinstance(given, (Placed, Socket))


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
        with Image.open(INPUT / placed.values["image"]) as file:
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
        values.append(placed.values.get(spec.name, spec.default))
        values.extend([SEED_CONTROL] * spec.extra_values)
    if any(spec.options.get("image_upload") for spec in specs):
        values.append("image")
    return values


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
    for number, (title, nodes) in enumerate(sheet.groups, 1):
        left, top = min(node.x for node in nodes) - border, min(node.y for node in nodes) - TITLE_HEIGHT - border - 24
        right, bottom = max(node.x + node.width for node in nodes) + border, max(node.bottom + _room(node) for node in nodes) + border
        yield {
            "id": number,
            "title": title,
            "bounding": [left, top, right - left, bottom - top],
            "color": GROUP_COLOUR,
            "font_size": 24,
            "flags": {},
        }
