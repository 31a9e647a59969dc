"""One picture that shows all results of the demo, each with its name and what made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 3
CELL = (480, 320)
"""Pixels that a picture is fitted into."""
MARGIN = 24
TITLE_SIZE, TEXT_SIZE, HEAD_SIZE = 22, 15, 30
ACROSS = 2
"""Pictures side by side, and one above the other, where an example makes several."""
CHEQUER = 12
CAPTION = 62
HEAD = 92
PAPER, INK, FAINT, FRAME = (250, 249, 246), (30, 32, 36), (110, 112, 118), (205, 205, 200)


class Cell(NamedTuple):
    """pictures: files, of which the first few are shown; lines: what stands under the title; text: what stands for a picture."""

    title: str
    lines: tuple[str, ...]
    pictures: Sequence[Path] = ()
    text: str = ""


def draw(cells: Sequence[Cell], title: str, subtitle: str) -> Image.Image:
    """The sheet, RGB."""
    columns = min(COLUMNS, max(1, len(cells)))
    rows = -(-len(cells) // columns)
    width = columns * CELL[0] + (columns + 1) * MARGIN
    height = HEAD + rows * (CELL[1] + CAPTION + MARGIN) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 16), title, INK, _font(HEAD_SIZE))
    pen.text((MARGIN, 56), subtitle, FAINT, _font(TEXT_SIZE))
    for number, cell in enumerate(cells):
        left = MARGIN + number % columns * (CELL[0] + MARGIN)
        top = HEAD + number // columns * (CELL[1] + CAPTION + MARGIN)
        _draw_cell(sheet, pen, cell, left, top)
    return sheet


def _draw_cell(sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Cell, left: int, top: int) -> None:
    pen.rectangle((left - 1, top - 1, left + CELL[0], top + CELL[1]), outline=FRAME, fill=(236, 235, 231))
    if not cell.pictures:
        lines = (cell.text or "no picture").splitlines()[: CELL[1] // (TEXT_SIZE + 5) - 1]
        for number, line in enumerate(lines):
            pen.text((left + 12, top + 12 + number * (TEXT_SIZE + 5)), _fitted(line, TEXT_SIZE, CELL[0] - 24), FAINT, _font(TEXT_SIZE))
    shown = cell.pictures[: ACROSS**2]
    across = 1 if len(shown) == 1 else ACROSS
    room = (CELL[0] // across, CELL[1] // across)
    for number, path in enumerate(shown):
        picture = _on_paper(path, room)
        x, y = left + number % across * room[0], top + number // across * room[1]
        sheet.paste(picture, (x + (room[0] - picture.width) // 2, y + (room[1] - picture.height) // 2))
    below = top + CELL[1] + 6
    pen.text((left, below), _fitted(cell.title, TITLE_SIZE), INK, _font(TITLE_SIZE))
    for number, line in enumerate(cell.lines):
        pen.text((left, below + TITLE_SIZE + 5 + number * (TEXT_SIZE + 3)), _fitted(line, TEXT_SIZE), FAINT, _font(TEXT_SIZE))


def _on_paper(path: Path, room: tuple[int, int]) -> Image.Image:
    """A picture, RGB and not larger than `room`; what is transparent shows a chequered ground."""
    with Image.open(path) as file:
        file.seek(getattr(file, "n_frames", 1) // 2)  # of a video the middle
        picture = file.convert("RGBA" if "A" in file.getbands() else "RGB")
    picture.thumbnail(room, Image.Resampling.LANCZOS)
    if picture.mode == "RGB":
        return picture
    y, x = np.mgrid[: picture.height, : picture.width] // CHEQUER % 2
    ground = Image.fromarray(np.where(x ^ y, 255, 205).astype(np.uint8)).convert("RGB")
    ground.paste(picture, mask=picture)
    return ground


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(text: str, size: int, width: int = CELL[0]) -> str:
    """The text, shortened until it fits a cell."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
