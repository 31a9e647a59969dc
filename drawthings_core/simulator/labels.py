"""The transparent layer over a picture that says what arrived: caption, chips for LoRAs and controls, thumbnails of inputs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_ROOM_FOR_TEXT = 176
"""Shorter side in pixels below which nothing can be read: only the thumbnails and dots for chips remain."""

_BAND = (12, 14, 22, 170)
_LIGHT = (244, 244, 248, 255)
_DIM = (190, 194, 206, 255)
CHIP_COLOURS = {
    "lora": (38, 128, 84, 225),
    "control": (40, 92, 170, 225),
    "negative": (160, 48, 56, 225),
    "model": (112, 76, 160, 225),
    "image": (176, 104, 24, 225),
}


class Chip(NamedTuple):
    """A small label; `kind` picks its colour."""

    kind: str
    text: str


class Thumbnail(NamedTuple):
    """A small picture with a label. picture: uint8 [h, w, 3]. used: something in the run reads it."""

    label: str
    picture: np.ndarray
    used: bool = True


class Labels(NamedTuple):
    """All that is written over a picture."""

    caption: tuple[str, ...] = ()
    chips: tuple[Chip, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()


@functools.lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow 10.0 has one size only
        return ImageFont.load_default()


def draw(labels: Labels, width: int, height: int) -> Image.Image:
    """RGBA of width x height, transparent where nothing is written."""
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    readable = min(width, height) >= _ROOM_FOR_TEXT
    size = int(np.clip(min(width, height) / 34, 10, 26))
    top = _chips(pen, labels.chips, width, size, height * 0.45) if readable else _dots(pen, labels.chips, width, height)
    bottom = _caption(pen, labels.caption, width, height, size) if readable else height
    _thumbnails(layer, pen, labels.thumbnails, (top, bottom), size, readable)
    return layer


def _caption(pen: ImageDraw.ImageDraw, lines: Sequence[str], width: int, height: int, size: int) -> int:
    """Writes the band at the bottom and gives its upper edge."""
    if not lines:
        return height
    gap, step = size // 2, round(size * 1.35)
    top = height - step * len(lines) - gap
    pen.rectangle((0, top, width, height), fill=_BAND)
    for number, line in enumerate(lines):
        font = _font(size if number == 0 else max(9, round(size * 0.86)))
        text = _shortened(pen, line, font, width - 2 * gap)
        pen.text((gap, top + gap // 2 + number * step), text, fill=_LIGHT if number == 0 else _DIM, font=font)
    return top


def _shortened(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float) -> str:
    text = _printable(" ".join(text.split())[:400], font)
    if pen.textlength(text, font=font) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest start that fits, with its dots
        middle = (low + high + 1) // 2
        if pen.textlength(text[:middle] + "...", font=font) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low] + "..." if low else ""


def _printable(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Pillow's bitmap font knows Latin-1 only, and no font takes lone surrogates."""
    charset = "latin-1" if isinstance(font, ImageFont.ImageFont) else "utf-8"
    return text.encode(charset, "replace").decode(charset)


def _chips(pen: ImageDraw.ImageDraw, chips: Sequence[Chip], width: int, size: int, limit: float) -> int:
    """Rows of chips from the top left; gives the lower edge."""
    font, gap = _font(max(9, round(size * 0.86))), size // 2
    x, y, row = gap, gap, round(size * 1.5)
    for chip in chips:
        text = _shortened(pen, chip.text, font, width - 4 * gap)
        length = round(pen.textlength(text, font=font)) + 2 * gap
        if x > gap and x + length > width - gap:
            x, y = gap, y + row + gap // 2
        if y + row > limit:
            break
        pen.rounded_rectangle((x, y, x + length, y + row), radius=row // 2, fill=CHIP_COLOURS[chip.kind])
        pen.text((x + gap, y + row / 2), text, fill=_LIGHT, font=font, anchor=None if _old(font) else "lm")
        x += length + gap // 2
    return y + row + gap if chips else gap


def _old(font: object) -> bool:
    return isinstance(font, ImageFont.ImageFont)


def _dots(pen: ImageDraw.ImageDraw, chips: Sequence[Chip], width: int, height: int) -> int:
    side = max(3, min(width, height) // 16)
    for number, chip in enumerate(chips[: max(1, width // (2 * side))]):
        left = side // 2 + number * round(side * 1.5)
        pen.ellipse((left, side // 2, left + side, side // 2 + side), fill=CHIP_COLOURS[chip.kind])
    return 2 * side if chips else 0


def _thumbnails(
    layer: Image.Image, pen: ImageDraw.ImageDraw, items: Sequence[Thumbnail], room: tuple[int, int], size: int, readable: bool
) -> None:
    """A strip of equal heights that stands on the caption."""
    if not items:
        return
    gap = max(2, size // 2)
    label = round(size * 1.2) if readable else 0
    shape = min(layer.size)
    side = min(round(shape * 0.2), room[1] - room[0] - label - 2 * gap, (layer.width - gap) // len(items) - gap)
    if side < 6:
        return
    top = room[1] - side - gap
    left = gap
    for item in items:
        h, w = item.picture.shape[:2]
        fit = (max(1, min(side, round(side * w / h))), max(1, min(side, round(side * h / w))))
        small = Image.fromarray(item.picture).resize(fit, Image.Resampling.BILINEAR if max(w, h) < 2048 else Image.Resampling.BOX)
        box = (left, top, left + side, top + side)
        pen.rounded_rectangle((box[0] - 2, box[1] - label - 2, box[2] + 2, box[3] + 2), radius=gap // 2, fill=_BAND)
        small = small.convert("RGBA")
        if not item.used:
            small.putalpha(110)
        layer.paste(small, (left + (side - fit[0]) // 2, top + (side - fit[1]) // 2))
        if readable:
            font = _font(max(8, round(size * 0.72)))
            text = item.label if item.used else f"{item.label} (unused)"
            pen.text((left + 2, top - label), _shortened(pen, text, font, side - 4), fill=_LIGHT if item.used else _DIM, font=font)
        left += side + gap
