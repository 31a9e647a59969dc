"""The high-resolution fix of a job: what becomes of a recommended one on another canvas, and what to say about one that was asked for.

Facts: app_behaviour.md section 4, server_semantics.md section 3. The size of the first pass of a request is in `request`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .configuration import SIZE_UNIT, Configuration
from .request import first_pass_size

_SIDES = (("hires_fix_start_width", "start_width"), ("hires_fix_start_height", "start_height"))


def adapted(settings: Mapping[str, Any], chosen: Mapping[str, Any], suggested: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a recommended first pass made for their canvas: the same part of it as recommended. Where there is none, the fix is
    switched off, unless the user asked for it.

    chosen: what the user fixed, which stays. suggested: what is recommended, with the canvas that it was made for.
    """
    if not settings.get("hires_fix"):
        return dict(settings)
    fitted = dict(settings)
    if suggested.get("hires_fix") and not any(first in chosen for first, _ in _SIDES):
        fitted.update(_fitted(settings, Configuration(suggested)))
    works = fitted["hires_fix"] and not why_none(Configuration(fitted))
    return fitted if works else {**settings, "hires_fix": bool(chosen.get("hires_fix"))}


def _fitted(settings: Mapping[str, Any], preset: Configuration) -> dict[str, Any]:
    """The first pass for a canvas, or no fix for a canvas that is no larger than the preset's first pass or cannot be divided so."""
    canvas = [settings[whole] for _, whole in _SIDES]
    sizes = [side * preset[first] / preset[whole] for side, (first, whole) in zip(canvas, _SIDES, strict=True)]
    larger = all(side > first for side, first in zip(sorted(canvas), sorted(preset[first] for first, _ in _SIDES), strict=True))
    if not larger or any(size % SIZE_UNIT for size in sizes):
        return {"hires_fix": False}
    return {first: int(size) for (first, _), size in zip(_SIDES, sizes, strict=True)}


def why_none(configuration: Configuration) -> str:
    """Why the high-resolution fix, which is on, does nothing for text to image; "" when it acts."""
    if configuration["hires_fix_strength"] >= 1:
        return "at strength 1 there is no second pass"
    if first_pass_size(configuration, with_image=False, with_mask=False) is None:
        width, height = (configuration[first] for first, _ in _SIDES)
        return f"its first pass, {width}x{height}, must be smaller than the picture on both sides"
    return ""


def notes(configuration: Configuration) -> Iterator[str]:
    """About a fix that is on."""
    reason = why_none(configuration)
    if reason:
        yield f"The high-resolution fix has no effect: {reason}."
        return
    (width, whole_width), (height, whole_height) = ([configuration[name] for name in side] for side in _SIDES)
    # Sizes come in units, so the nearest one may be half a unit away
    if abs(width * whole_height - height * whole_width) * 2 > SIZE_UNIT * max(whole_width, whole_height):
        yield (
            f"The high-resolution fix stretches its first pass, {width}x{height}, to {whole_width}x{whole_height}: give it the picture's "
            f"proportions, such as {_nearest(width * height, whole_width, whole_height)}."
        )


def _nearest(area: int, width: int, height: int) -> str:
    """A size of about that area and those proportions."""
    scale = (area / (width * height)) ** 0.5
    sides = (max(1, round(side * scale / SIZE_UNIT)) * SIZE_UNIT for side in (width, height))
    return "x".join(map(str, sides))
