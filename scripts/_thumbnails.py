"""The example workflows' thumbnails: what each makes, from what it made with the simulator."""

from __future__ import annotations

import io
import textwrap
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = (480, 320)
LARGEST = 40_000
"""Bytes of a thumbnail's file."""
QUALITY = 82
FRAMES = 3
"""Frames of a video that are shown, and pixels of the film's edges, of its holes and between two of them."""
EDGE, HOLE, PITCH = 34, 16, 30
DARK, PAPER, INK, FAINT, WHITE = (24, 25, 28), (250, 249, 246), (36, 38, 42), (120, 122, 128), (255, 255, 255)
CHEQUER = 12
TEXT_SIZE = 15
LINE = 56
"""Characters of a line of text."""
SOUND_HEIGHT = 54


class Made(NamedTuple):
    """What an example made. pictures, sounds: files; text: what its nodes show; before: the picture that it enlarged."""

    pictures: Sequence[Path]
    sounds: Sequence[Path] = ()
    text: str = ""
    before: Path | None = None


def draw(made: Made) -> Image.Image:
    """The thumbnail, RGB."""
    if not made.pictures:
        return _text(made.text)
    pictures = [_frames(path) for path in made.pictures]
    if len(pictures[0]) > 1:
        return _film(pictures[0], made.sounds)
    stills = [frames[0] for frames in pictures]
    if made.before is not None:
        return _enlarged(_frames(made.before)[0], stills[0])
    return _stack(stills) if len(stills) > 1 else _filled(stills[0], SIZE)


def encoded(picture: Image.Image, comment: str) -> bytes:
    """As a JPEG file with a comment, not larger than LARGEST."""
    found = b""
    for quality in range(QUALITY, 20, -8):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True, comment=comment)
        found = buffer.getvalue()
        if len(found) <= LARGEST:
            break
    return found


def comment_of(path: Path) -> str:
    """The comment of a thumbnail; "" where there is none, or no file."""
    try:
        with Image.open(path) as file:
            return file.info.get("comment", b"").decode("ascii", "replace")
    except OSError:
        return ""


def _frames(path: Path) -> list[Image.Image]:
    """The pictures of a file; of a video a few, from its beginning to its end."""
    with Image.open(path) as file:
        count = getattr(file, "n_frames", 1)
        found = []
        for number in range(min(count, FRAMES)):
            file.seek(number * (count - 1) // max(1, min(count, FRAMES) - 1))
            found.append(file.convert("RGBA" if "A" in file.getbands() else "RGB"))
    return found


def _filled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture on its own blurred self, RGB of this size; cut to fill where little is lost."""
    picture = _opaque(picture)
    scales = [wanted / given for wanted, given in zip(size, picture.size, strict=True)]
    behind = _cover(picture, size)
    if max(scales) < 1.2 * min(scales):
        return behind
    behind = behind.filter(ImageFilter.GaussianBlur(14)).point(lambda level: level * 0.6)
    whole = picture.resize([max(1, round(side * min(scales))) for side in picture.size], Image.Resampling.LANCZOS)
    behind.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return behind


def _cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture's middle, filling the size."""
    scale = max(wanted / given for wanted, given in zip(size, picture.size, strict=True))
    larger = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
    left, top = (larger.width - size[0]) // 2, (larger.height - size[1]) // 2
    return larger.crop((left, top, left + size[0], top + size[1]))


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent shows a chequered ground."""
    if picture.mode == "RGB":
        return picture
    y, x = np.mgrid[: picture.height, : picture.width] // (CHEQUER * picture.width // SIZE[0] + 1) % 2
    ground = Image.fromarray(np.where(x ^ y, 255, 210).astype(np.uint8)).convert("RGB")
    ground.paste(picture, mask=picture)
    return ground


def _film(frames: Sequence[Image.Image], sounds: Sequence[Path]) -> Image.Image:
    """Frames on a strip of film, the sound under them."""
    thumbnail = Image.new("RGB", SIZE, DARK)
    pen = ImageDraw.Draw(thumbnail)
    low = SIZE[1] - (SOUND_HEIGHT if sounds else 0)
    for left in range(PITCH // 4, SIZE[0], PITCH):
        for top in ((EDGE - HOLE) // 2, low - EDGE + (EDGE - HOLE) // 2):
            pen.rounded_rectangle((left, top, left + HOLE, top + HOLE), 4, PAPER)
    gap = 6
    width = (SIZE[0] - gap * (len(frames) + 1)) // len(frames)
    for number, frame in enumerate(frames):
        thumbnail.paste(_cover(_opaque(frame), (width, low - 2 * EDGE)), (gap + number * (width + gap), EDGE))
    if sounds:
        _waveform(pen, sounds[0], low)
    return thumbnail


def _waveform(pen: ImageDraw.ImageDraw, path: Path, top: int) -> None:
    with wave.open(str(path)) as file:
        samples = np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64))
    loud = np.array([part.max() for part in np.array_split(samples, SIZE[0] // 6)])
    middle, room = top + SOUND_HEIGHT // 2, SOUND_HEIGHT // 2 - 6
    for number, level in enumerate(loud / max(1.0, loud.max())):
        high = max(1, round(level * room))
        pen.rectangle((number * 6 + 1, middle - high, number * 6 + 4, middle + high), (255, 176, 60))


def _enlarged(before: Image.Image, after: Image.Image) -> Image.Image:
    """Both pictures at one scale, side by side, with their sizes."""
    thumbnail = Image.new("RGB", SIZE, DARK)
    pen, font = ImageDraw.Draw(thumbnail), ImageFont.load_default(TEXT_SIZE)
    margin, arrow = 14, 34
    scale = (SIZE[0] - 2 * margin - arrow) / (before.width + after.width)
    left, middle = margin, SIZE[1] // 2
    for picture in (before, after):
        small = _opaque(picture).resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)
        top = middle - small.height // 2
        thumbnail.paste(small, (left, top))
        pen.text((left + small.width // 2, top + small.height + 8), f"{picture.width} x {picture.height}", PAPER, font, anchor="mt")
        left += small.width + arrow
    tip = margin + round(before.width * scale) + arrow - 8
    pen.polygon(((tip - 18, middle - 10), (tip, middle), (tip - 18, middle + 10)), PAPER)
    return thumbnail


def _stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Several pictures, each over a corner of the one before."""
    thumbnail = Image.new("RGB", SIZE, DARK)
    step_x, step_y = (130, 84) if len(pictures) == 2 else (62, 44)
    room = (SIZE[0] - step_x * (len(pictures) - 1) - 24, SIZE[1] - step_y * (len(pictures) - 1) - 24)
    for number, picture in enumerate(pictures):
        small = _opaque(picture)
        small.thumbnail(room, Image.Resampling.LANCZOS)
        framed = Image.new("RGB", (small.width + 4, small.height + 4), WHITE)
        framed.paste(small, (2, 2))
        thumbnail.paste(framed, (12 + number * step_x, 12 + number * step_y))
    return thumbnail


def _text(text: str) -> Image.Image:
    """The beginning of a text, as on a sheet of paper."""
    thumbnail = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(thumbnail)
    font = ImageFont.load_default(TEXT_SIZE)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, LINE, subsequent_indent="    ") or [""]]
    for number, line in enumerate(lines[: SIZE[1] // (TEXT_SIZE + 5) - 1]):
        pen.text((16, 14 + number * (TEXT_SIZE + 5)), line, INK if number == 0 else FAINT, font)
    return thumbnail
