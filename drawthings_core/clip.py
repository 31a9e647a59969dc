"""One video: which models make one, which input frames they read, how fast it is played.

Facts: model_families.json (video, reference_images), tensors.md section 4, protocol.md section 6.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from .catalog import Entry
from .configuration import Configuration
from .errors import InvalidInput, InvalidSetting
from .families import family

FALLBACK_RATE = 30.0
"""Frames a second where neither specification nor family says: the app's own."""
_RATES = (1, 120)
"""Frames a second that ComfyUI's Create Video takes."""


def check_model(file: str, entry: Entry | None, version: str | None) -> None:
    """Raise InvalidInput for a model that makes pictures. A family that is not known may be a newer server's."""
    known = family(version)
    if known is not None and not known.video:
        title = entry.name if entry else file
        raise InvalidInput(f"{title}, a {known.name} model, makes pictures, not videos: choose a video model, or use Generate.")


class OneVideo(NamedTuple):
    """A job as one video. read: how many of its input frames have a use. notes: what was left out."""

    settings: dict[str, Any]
    read: int
    notes: list[str]


def one_video(settings: Mapping[str, Any], asked: Mapping[str, Any], version: str | None, given: int) -> OneVideo:
    """What becomes of a job's settings and `given` input frames. asked: the settings that the user fixed. Raises InvalidSetting."""
    if given and settings.get("strength") == 0:
        raise InvalidSetting("Strength", 0, "more than 0 for a video: at 0 a server only gives the picture back")
    known = family(version)
    frames = Configuration(settings)["num_frames"]
    decoded = known.decoded_frames(frames) if known else frames
    notes = []
    if asked.get("batch_count", 1) != 1:
        notes.append(f"Batch count {asked['batch_count']} was left out: each run makes one video. Queue it several times for more.")
    read = min(given, decoded)
    if known is not None and not known.leading_frames:
        read = min(given, 1)
        if given > 1:
            notes.append(f"{known.name} starts from one picture: the first of the {given} input frames was used.")
    elif read < given:
        notes.append(f"Of the {given} input frames the first {read} were used: the video has no more.")
    return OneVideo({**settings, "batch_count": 1, "num_frames": frames if "num_frames" in asked else decoded}, read, notes)


def frame_rate(entry: Entry | None, version: str | None) -> float:
    """Frames a second, from the model's specification or its family."""
    own = entry.specification.get("frames_per_second") if entry else None
    if isinstance(own, (int, float)) and not isinstance(own, bool) and math.isfinite(own) and _RATES[0] <= own <= _RATES[1]:
        return float(own)
    known = family(version)
    return float(known.frame_rate or FALLBACK_RATE) if known else FALLBACK_RATE
