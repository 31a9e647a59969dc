"""Pictures made larger, or their faces restored, without generating them anew: what is sent, and what is made of what comes back.

Two ways (app_behaviour.md section 4, model_families.json): an image at strength 0 skips sampling, so that a server restores faces and
runs its upscaler only; and a SeedVR2 model restores an image that is given at the size that it is to have.

A server works on canvases in multiples of 64 px and enlarges 2 or 4 times. A picture of any size comes back at its size times the
scale all the same: it lies at the top left of the canvas with its edge repeated to the borders, which are cut off the result, and
what was enlarged more than asked for is scaled down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from . import tensor
from .catalog import Catalog
from .configuration import CONFIGURATION, SIZE_UNIT, Configuration
from .errors import BadResult, InvalidImage, InvalidInput, InvalidSetting
from .families import family
from .images import Extended, Fit, fit_image

RESTORED_SCALE = 2
"""How many times larger a SeedVR2 model makes a picture when neither scale nor upscaler says."""

FACTORS = (2, 4)
"""What a server can be told to enlarge by."""
_KEPT_OPTIONS = ("model", "upscaler", "upscaler_scale_factor", "face_restoration")
_OWN = ("start_width", "start_height", "strength", "batch_count", "batch_size")
"""Settings that image and scale decide."""


class Enlarging(NamedTuple):
    """What becomes of a job that only enlarges. fit: how its images lie on the canvas. notes: what was left out."""

    settings: dict[str, Any]
    options: dict[str, Any]
    fit: Extended
    notes: list[str]


def restores(version: str | None) -> bool:
    """Whether models of this version restore a picture at the size that it is to have."""
    known = family(version)
    return known is not None and known.kind == "upscale"


def enlarging(
    scale: float,
    size: tuple[int, int],
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    version: str | None,
    catalog: Catalog,
) -> Enlarging:
    """For pictures of size (width, height). scale: how many times larger, 0 for the upscaler's own factor.

    Raises InvalidInput when nothing would enlarge or restore, InvalidSetting for the scale, InvalidImage for too large pictures.
    """
    asked = {**settings, **options}
    upscaler, restoring = asked.get("upscaler"), restores(version)
    scale = scale or _forced(asked.get("upscaler_scale_factor"))
    _check_scale(scale, bool(upscaler), bool(asked.get("face_restoration")), restoring)
    entry = catalog.find("upscaler", upscaler)
    own = _forced(entry.specification.get("scale_factor")) or None if entry else None
    before, forced = _shares(scale, own, restoring) if upscaler else (scale or RESTORED_SCALE if restoring else 1, 0)
    work = _times(size, before)
    canvas = (_canvas_side(work[0]), _canvas_side(work[1]))
    _check_result(canvas, (forced or own or 1) if upscaler else 1)
    decided = {"start_width": canvas[0], "start_height": canvas[1], "strength": 1.0 if restoring else 0.0, "upscaler_scale_factor": forced}
    kept = {name: value for name, value in options.items() if name in _KEPT_OPTIONS or _acts(name, version)}
    left_out = [CONFIGURATION[name].label for name, value in options.items() if name not in kept and _says_something(name, value)]
    notes = [f"Without effect on enlarging: {', '.join(left_out)}."] if left_out else []
    return Enlarging({**settings, **decided}, {**kept, "upscaler_scale_factor": forced}, Extended(*work), notes)


def finished(pictures: np.ndarray, scale: float, size: tuple[int, int], fit: Extended, configuration: Configuration) -> np.ndarray:
    """Results float [N, H, W, C] of a settled job as pictures of exactly the size that was asked for. Raises BadResult."""
    canvas = (configuration["start_width"], configuration["start_height"])
    got = (pictures.shape[2], pictures.shape[1])
    factor = got[0] // canvas[0]
    if factor < 1 or got != (canvas[0] * factor, canvas[1] * factor):
        raise BadResult(
            f"The server sent {got[0]}x{got[1]} px for an image of {canvas[0]}x{canvas[1]}, which is no multiple of it: try again."
        )
    if factor == 1 and configuration["upscaler"]:
        raise BadResult(
            f"The server did not enlarge the image: it does not have the upscaler {configuration['upscaler']}, or does not know what it is."
        )
    cropped = pictures[:, : fit.height * factor, : fit.width * factor]
    scale = scale or _forced(configuration["upscaler_scale_factor"])
    target = _times(size, scale) if scale else (cropped.shape[2], cropped.shape[1])
    return fit_image(cropped, *target, Fit.stretch)


def _check_scale(scale: float, upscaler: bool, faces: bool, restoring: bool) -> None:
    if not isinstance(scale, (int, float)) or not math.isfinite(scale) or 0 != scale < 1:
        raise InvalidSetting("Scale", scale, "0 for the upscaler's own factor, or 1 and more")
    if restoring:
        return
    if not upscaler and not faces:
        raise InvalidInput("There is nothing to do: choose an upscaler, a face restoration model, or a SeedVR2 model.")
    if not upscaler and scale > 1:
        raise InvalidInput(f"Nothing enlarges the image {scale:g} times: choose an upscaler or a SeedVR2 model, or set the scale to 1.")
    if scale > max(FACTORS):
        raise InvalidSetting(
            "Scale", scale, f"{max(FACTORS)} at most with an upscaler: use a SeedVR2 model, or a second Upscale after this one"
        )


def _shares(scale: float, own: int | None, restoring: bool) -> tuple[float, int]:
    """How much a picture is enlarged before it is sent, and the factor that the upscaler is told, 0 for its own."""
    if restoring:
        factor = own or min(FACTORS)
        return max(1.0, scale / factor), 0 if own else factor
    if not scale:
        return 1, 0
    factor = next(factor for factor in FACTORS if factor >= scale)
    return 1, 0 if factor == own else factor


def _forced(factor: Any) -> int:
    """A factor as a server takes it: any other than these means the upscaler's own, 0."""
    return next((known for known in FACTORS if known == factor), 0)


def _times(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """A (width, height) enlarged, in whole pixels."""
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _canvas_side(side: int) -> int:
    row = CONFIGURATION["start_width"]
    return max(-(-side // SIZE_UNIT) * SIZE_UNIT, int(row.hard_minimum or 0))


def _check_result(canvas: tuple[int, int], factor: int) -> None:
    limit = CONFIGURATION["start_width"].hard_maximum
    if limit is not None and max(canvas) > limit:
        raise InvalidImage(
            f"The image would be sent at {canvas[0]}x{canvas[1]} px, but allowed is {limit:g} px a side: choose a smaller scale."
        )
    width, height = canvas[0] * factor, canvas[1] * factor
    if width * height * 3 * np.dtype(np.float16).itemsize > tensor.DEFAULT_LIMIT:
        raise InvalidImage(
            f"The result would be {width}x{height} px, more than the {tensor.DEFAULT_LIMIT >> 20} MiB that one picture may take: choose a smaller "
            f"scale, or cut the image into parts."
        )


def _acts(name: str, version: str | None) -> bool:
    """Whether an option has an effect: without a model that restores, nothing is generated."""
    known = family(version)
    return known is not None and restores(version) and known.matters(name) and name not in _OWN


def _says_something(name: str, value: Any) -> bool:
    row = CONFIGURATION[name]
    return row.topic != "app" and value != row.default
