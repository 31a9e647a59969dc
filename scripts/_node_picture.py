"""A node as it looks in a graph, as SVG: from its definition, so that it is never out of date. Beside a socket stands what the examples connect to it."""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import _words

WIDTH, MARGIN = 340, 12
ROW, TITLE, BOX = 22, 30, 52
"""Pixels: a row's height, the title bar's, and that of text of several lines."""
SIZE = 12
INK, FAINT, BODY, BAR, FIELD = "#dddddd", "#8a8a8a", "#2e2f33", "#232428", "#1d1e21"
SOCKETS = {
    "IMAGE": "#64b5f6",
    "MASK": "#81c784",
    "DT_SERVER": "#e0a458",
    "DT_LORAS": "#c08ce8",
    "DT_HINTS": "#6fc6b0",
    "DT_OPTIONS": "#e87d7d",
}
OTHER_SOCKET = "#a0a0a0"

Say = Callable[[str, str], str]
"""Section of the translations and English, to the picture's language."""


def picture(node_id: str, node: Any, title: str, say: Say) -> str:
    """The node with its defaults, as an SVG document."""
    definition = node.INPUT_TYPES()
    inputs = [item for section in ("required", "optional") for item in definition.get(section, {}).items()]
    sockets = [(name, kind) for name, (kind, options) in inputs if _is_socket(kind, options)]
    outputs = list(zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True))
    lines: list[str] = []
    y = TITLE + 6
    for row in range(max(len(sockets), len(outputs))):
        middle = y + ROW / 2
        if row < len(sockets):
            lines += _input(say, node_id, *sockets[row], middle)
        if row < len(outputs):
            name, kind = outputs[row]
            lines.append(_dot(WIDTH - MARGIN, middle, kind))
            lines.append(_text(WIDTH - MARGIN - 12, middle, say("outputs", name), anchor="end"))
        y += ROW
    y += 4
    for name, (kind, options) in inputs:
        if not _is_socket(kind, options):
            height = BOX if options.get("multiline") else ROW
            lines += _widget(say("inputs", name), _value(kind, options, say), y, height)
            y += height + 4
    height = y + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="Inter, Helvetica, Arial, sans-serif" font-size="{SIZE}">'
    )
    frame = [
        f'<rect width="{WIDTH}" height="{height}" rx="9" fill="{BODY}"/>',
        f'<path d="M0 {TITLE}V9a9 9 0 0 1 9-9H{WIDTH - 9}a9 9 0 0 1 9 9V{TITLE}z" fill="{BAR}"/>',
        _text(MARGIN, TITLE / 2, title, size=13),
    ]
    return "\n".join([head, *frame, *lines, "</svg>"]) + "\n"


def _is_socket(kind: Any, options: dict[str, Any]) -> bool:
    return isinstance(kind, str) and (kind not in ("INT", "FLOAT", "STRING", "BOOLEAN") or bool(options.get("forceInput")))


def _input(say: Say, node_id: str, name: str, kind: str, y: float) -> Iterator[str]:
    label = say("inputs", name)
    yield _dot(MARGIN, y, kind)
    yield _text(MARGIN + 12, y, label)
    source = sources().get((node_id, name))
    if source:
        yield _text(MARGIN + 12 + _width(label) + 10, y, f"← {say('texts', source).removesuffix(' (Draw Things)')}", FAINT)


def _value(kind: Any, options: dict[str, Any], say: Say) -> str:
    default = options.get("default", "")
    if isinstance(kind, list):
        default = default or (kind[0] if kind else "")
        return (
            "…"
            if _words.is_server_file(options) or options.get("image_upload")
            else say("options", default)
            if default in kind
            else default
        )
    if kind == "BOOLEAN":
        return say("options", "on" if default else "off")
    return f"{default:g}" if kind in ("INT", "FLOAT") else default


def _widget(label: str, value: str, y: float, height: int) -> Iterator[str]:
    yield f'<rect x="{MARGIN}" y="{y:g}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="6" fill="{FIELD}"/>'
    middle = y + ROW / 2
    yield _text(MARGIN + 9, middle, label, FAINT)
    room = WIDTH - 2 * MARGIN - 18 - _width(label) - 12
    while value and _width(value) > room:
        value = value.rstrip("…")[:-1] + "…"
        if value == "…":
            break
    if value:
        yield _text(WIDTH - MARGIN - 9, middle, value, anchor="end")


def _dot(x: float, y: float, kind: str) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="4.5" fill="{SOCKETS.get(kind, OTHER_SOCKET)}"/>'


def _text(x: float, y: float, text: str, colour: str = INK, anchor: str = "", size: int = 0) -> str:
    more = (f' text-anchor="{anchor}"' if anchor else "") + (f' font-size="{size}"' if size else "")
    return f'<text x="{x:g}" y="{y + 4:g}" fill="{colour}"{more}>{escape(text, quote=False)}</text>'


def _width(text: str) -> float:
    """About as wide as it is drawn: which font is there is not known."""
    return sum(SIZE if unicodedata.east_asian_width(sign) in "WF" else SIZE * 0.56 for sign in text)


@functools.lru_cache(maxsize=1)
def sources() -> dict[tuple[str, str], str]:
    """Title of the node that the first example connects to an input, by node id and input."""
    from comfyui_drawthings.nodes import NODE_DISPLAY_NAME_MAPPINGS  # pyright: ignore[reportMissingImports]

    found: dict[tuple[str, str], str] = {}
    for path in sorted((_words.ROOT / "example_workflows").glob("*.json")):
        graph = json.loads(path.read_text(encoding="utf-8"))
        kinds = {node["id"]: node["type"] for node in graph["nodes"]}
        for _, source, _, target, slot, _ in graph["links"]:
            node = next(node for node in graph["nodes"] if node["id"] == target)
            title = NODE_DISPLAY_NAME_MAPPINGS.get(kinds[source]) or CORE.get(kinds[source])
            if title:
                found.setdefault((node["type"], node["inputs"][slot]["name"]), title)
    return found


CORE = {"LoadImage": "Load Image", "LoadVideo": "Load Video", "SolidMask": "Solid Mask", "ImageBatch": "Batch Images"}
"""ComfyUI's own nodes as it calls them."""
