"""The pictures that come back: a landscape for what would be diffused, and over it everything that arrived.

Colours are float16 in -1..1 as on the wire. What the real server keeps is kept to the bit: pixels pasted back after
inpainting, and an image that is only passed through.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from . import colours, labels, scene
from .labels import Labels
from .scene import SceneKey

_HALF_OF_BYTE = (np.arange(256, dtype=np.float32) * np.float32(2 / 255) - 1).astype(np.float16)
_EDGES = {"repaint": (228, 60, 200), "hole": (40, 200, 200)}
"""Colours of the line around a repainted area (codes 2 and 0) and around a filled hole (code 1)."""


@dataclass(frozen=True)
class MaskPlan:
    """What happens to each pixel, bool [H, W] each. moves: to be repainted at `strength`; holes: to come from noise.

    free, noise: what the network really changes, and from noise: whole cells of the latent. kept: pasted back from the
    original, blurred by `blur` at its edge. alpha: the mask's upper bits, 0..1. clear: kept pixels that have that alpha in a
    result with transparency, where other kept ones are opaque.
    """

    moves: np.ndarray
    holes: np.ndarray
    free: np.ndarray
    noise: np.ndarray
    kept: np.ndarray
    clear: np.ndarray
    alpha: np.ndarray | None
    keep_originals: bool
    blur: float


@dataclass(frozen=True)
class Brief:
    """One run's order to the painter. image: float16 [N, H, W, 3], -1..1, of the output's size.

    influence: share of the landscape in a picture made from `image` (1: only the landscape). leads: the pictures of `image` are
    the first frames of a video, which then goes its own way. guide: uint8 [H, W, 3] of a hint that something reads. frames: of
    a video, 0 for stills. alpha: "", "layers" or "subject". calibrated: takes over the colours of `image`.
    """

    width: int
    height: int
    labels: Labels
    image: np.ndarray | None = None
    leads: bool = False
    influence: float = 1.0
    mask: MaskPlan | None = None
    guide: np.ndarray | None = None
    frames: int = 0
    alpha: str = ""
    plain: bool = False
    calibrated: bool = False


class Painter:
    """Paints the members of one run; the labels are drawn once."""

    def __init__(self, brief: Brief):
        self._brief = brief
        self._layers: dict[tuple[str, ...], Image.Image] = {}

    def picture(self, key: SceneKey, caption: tuple[str, ...] = (), frame: int = 0) -> np.ndarray:
        """One finished picture: float16 [H, W, 3] in -1..1, or [H, W, 4] with alpha first in 0..1."""
        brief = self._brief
        if brief.plain:
            return _plain(key, brief)
        art = self.art(key, brief.width, brief.height, frame)
        if brief.calibrated and brief.image is not None:
            art = colours.matched(art, to_bytes(brief.image[0]))
        if brief.mask is not None:
            art = _with_edges(art, brief.mask)
        colour = self._labelled(art, caption, frame)
        if brief.mask is not None and brief.image is not None:
            colour = _pasted_back(colour, brief.image[0], brief.mask)
        if brief.alpha:
            alpha = _alpha(key, brief)
            if brief.alpha == "layers" or brief.mask is None:  # each says which it is; what a mask keeps keeps its alpha
                alpha = np.maximum(alpha, np.asarray(self._layers[caption])[..., 3] > 0)
            colour = np.concatenate([alpha[..., None].astype(np.float16), colour], axis=2)
        return colour

    def marked(self, image: np.ndarray) -> np.ndarray:
        """An image that is only passed through, float16 [H, W, 3], with what is done to it written in a corner."""
        brief = self._brief
        if brief.plain:
            return image
        layer = _layer(Labels(chips=brief.labels.chips), brief.width, brief.height, None)
        labelled = Image.fromarray(to_bytes(image))
        labelled.paste(layer, mask=layer)
        return np.where(np.asarray(layer)[..., 3:] > 0, _HALF_OF_BYTE[np.asarray(labelled)], image)

    def art(self, key: SceneKey, width: int, height: int, frame: int = 0) -> np.ndarray:
        """The picture without anything written on it, at any size: uint8 [height, width, 3]."""
        brief = self._brief
        time = frame / brief.frames if brief.frames else 0.0
        art = scene.paint(key, width, height, time)
        if brief.guide is not None:
            art = art * np.float32(0.7) + _unit(_resized(brief.guide, width, height)) * np.float32(0.3)
        base = self._base(width, height, frame)
        if base is not None:
            share = np.full((height, width, 1), brief.influence * self._gone(frame), np.float32)
            if brief.mask is not None:
                noise, free = (_resized(area.astype(np.uint8) * 255, width, height) > 127 for area in (brief.mask.noise, brief.mask.free))
                share[noise], share[~free] = 1.0, 0.0
            art = base + (art - base) * share
        return (np.clip(art, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)

    def _gone(self, frame: int) -> float:
        """How far a video that an image leads has gone from it, 0..1; 1 where none leads."""
        brief = self._brief
        if not brief.leads or brief.image is None:
            return 1.0
        return max(0, frame + 1 - len(brief.image)) / max(1, brief.frames - len(brief.image))

    def _base(self, width: int, height: int, frame: int) -> np.ndarray | None:
        """The input image in 0..1: of a video the frame of the same number, or the last; where it leads, the video then zooms in."""
        brief = self._brief
        if brief.image is None or (brief.influence >= 1 and brief.mask is None):
            return None
        picture = to_bytes(brief.image[min(frame, len(brief.image) - 1)])
        return _unit(_resized(_centre(picture, self._gone(frame) * 0.3) if brief.leads else picture, width, height))

    def _labelled(self, art: np.ndarray, caption: tuple[str, ...], frame: int) -> np.ndarray:
        """Labels over a picture; with a mask they stand inside the repainted area, so that they survive the paste."""
        brief = self._brief
        if caption not in self._layers:
            box = _bounds(brief.mask) if brief.mask is not None else None
            self._layers[caption] = _layer(brief.labels._replace(caption=caption), brief.width, brief.height, box)
        layer = self._layers[caption]
        labelled = Image.fromarray(art)
        labelled.paste(layer, mask=layer)
        picture = np.array(labelled)
        if brief.frames:
            bar = max(2, brief.height // 128)
            picture[-bar:, : max(1, round((frame + 1) / brief.frames * brief.width))] = (250, 196, 60)
        return _HALF_OF_BYTE[picture]


def _layer(wanted: Labels, width: int, height: int, box: tuple[int, int, int, int] | None) -> Image.Image:
    """The labels as RGBA, inside `box` only."""
    left, top, right, bottom = box or (0, 0, width, height)
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    if right - left >= 16 and bottom - top >= 16:
        layer.paste(labels.draw(wanted, right - left, bottom - top), (left, top))
    return layer


def _bounds(mask: MaskPlan) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the larger of the two areas that change: what is written there survives."""
    area = max((mask.moves, mask.holes), key=np.count_nonzero)
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _with_edges(art: np.ndarray, mask: MaskPlan) -> np.ndarray:
    """A line just inside the border of what is repainted."""
    thickness = max(1, min(art.shape[:2]) // 160)
    art = art.copy()
    for area, colour in ((mask.moves, _EDGES["repaint"]), (mask.holes, _EDGES["hole"])):
        if area.any() and not area.all():
            art[area & ~shifted_area(area, -thickness)] = colour
    return art


def shifted_area(area: np.ndarray, pixels: int) -> np.ndarray:
    """A boolean [H, W] grown by `pixels`, or shrunk when they are negative. The picture's border does not shrink it."""
    if pixels == 0:
        return area
    source = area if pixels > 0 else ~area
    grown = np.asarray(Image.fromarray(source.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3)))
    radius = abs(pixels)
    if radius > 1:
        padded = np.pad(source, radius)
        sums = np.pad(padded.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32), ((1, 0), (1, 0)))
        span = 2 * radius + 1
        grown = sums[span:, span:] - sums[:-span, span:] - sums[span:, :-span] + sums[:-span, :-span]
    return grown > 0 if pixels > 0 else ~(grown > 0)


def in_cells(area: np.ndarray, cell: int, grown: int = 0) -> np.ndarray:
    """A boolean [H, W] in whole cells of `cell` pixels, each set if any of its pixels is; `grown` by that many cells."""
    height, width = area.shape
    padded = np.pad(area, ((0, -height % cell), (0, -width % cell)))
    cells = np.asarray(padded.reshape(padded.shape[0] // cell, cell, padded.shape[1] // cell, cell).any(axis=(1, 3)))
    return shifted_area(cells, grown).repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def _pasted_back(colour: np.ndarray, original: np.ndarray, mask: MaskPlan) -> np.ndarray:
    """Kept pixels as they came (with a seam of `blur`), or as the VAE would return them."""
    # The round trip through the VAE moves what the network did not change a little.
    lossy = (np.round(original.astype(np.float32) * 48) / 48).astype(np.float16)
    colour = np.where(mask.free[..., None], colour, lossy)
    if not mask.keep_originals:
        return colour
    if mask.blur > 0:
        seam = Image.fromarray(mask.kept.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(mask.blur))
        share = np.asarray(seam, np.float32)[..., None] / np.float32(255)
    else:
        share = mask.kept[..., None].astype(np.float32)
    if mask.alpha is not None:
        shown = (mask.alpha**2)[..., None]
        shares = mask.holes if mask.blur > 0 else ~mask.kept
        share = np.where(shares[..., None], shown, share)
    mixed = original.astype(np.float32) * share + colour.astype(np.float32) * (1 - share)
    return np.where(share >= 1, original, np.where(share <= 0, colour, mixed.astype(np.float16)))


def _alpha(key: SceneKey, brief: Brief) -> np.ndarray:
    """float16 [H, W]: the first layer is opaque, everything else is a blob; what a mask keeps has the alpha that it had."""
    if brief.alpha == "layers" and key.member == 0:
        alpha = np.ones((brief.height, brief.width), np.float16)
    else:
        alpha = scene.subject(key, brief.width, brief.height).astype(np.float16)
    mask = brief.mask
    if mask is not None:
        alpha[mask.kept] = 1
        alpha[mask.clear] = 0 if mask.alpha is None else mask.alpha[mask.clear]
    return alpha


def _plain(key: SceneKey, brief: Brief) -> np.ndarray:
    channels = 4 if brief.alpha else 3
    value = np.float16((key.seed + 31 * key.member) % 256 / 127.5 - 1)
    return np.full((brief.height, brief.width, channels), value, np.float16)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """-1..1 -> 0..255, rounded to nearest, what is not finite becomes 0. Any shape."""
    scaled = np.nan_to_num(values.astype(np.float32) * np.float32(127.5) + np.float32(128.0), nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _centre(picture: np.ndarray, cut: float) -> np.ndarray:
    """A uint8 [H, W, 3] without its border: `cut` of both sides together."""
    top, left = (round(side * cut / 2) for side in picture.shape[:2])
    return picture[top : picture.shape[0] - top, left : picture.shape[1] - left]


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) * np.float32(1 / 255)


def _resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    if picture.shape[1::-1] == (width, height):
        return picture
    method = Image.Resampling.BOX if width < picture.shape[1] else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """float16 [N, H, W, 3] stretched bilinearly to width x height; untouched when it has that size."""
    if image.shape[2:0:-1] == (width, height):
        return image
    return np.stack([_resized_half(one, width, height, Image.Resampling.BILINEAR) for one in image])


def edges(picture: np.ndarray) -> np.ndarray:
    """White lines on black where a uint8 [H, W, 3] picture changes: uint8 [H, W]."""
    grey = Image.fromarray(picture).convert("L").filter(ImageFilter.GaussianBlur(1))
    down, right = np.gradient(np.asarray(grey, np.float32))
    return (np.hypot(down, right) > 6).astype(np.uint8) * 255


def enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
    """What the upscaler returns: float16 [H * factor, W * factor, C]."""
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    return _resized_half(picture, width * factor, height * factor, Image.Resampling.BICUBIC)


def _resized_half(picture: np.ndarray, width: int, height: int, method: Image.Resampling) -> np.ndarray:
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(picture[..., c], np.float32)).resize((width, height), method))
        for c in range(picture.shape[2])
    ]
    return np.clip(np.stack(channels, axis=2), -1, 1).astype(np.float16)


@functools.lru_cache(maxsize=1)
def grey() -> np.ndarray:
    """A placeholder thumbnail for something without a picture."""
    return np.full((8, 8, 3), 128, np.uint8)
