"""Files that act twice in one request. Settings from a picture or from JSON hold LoRAs and controls, and who connects those again has
them twice: a server runs every entry of both lists. Nothing here is an error, since somebody may want that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from .configuration import Configuration, Control, LoRA, LoRAMode
from .hint_inputs import Follower

_OPTIONS, _STACK, _HINTS = "the options", "LoRA Stack", "the hints"


class _Use(NamedTuple):
    """An entry that acts, where it comes from, and for a control what it does."""

    record: LoRA | Control
    origin: str
    follower: Follower | None = None


def double_notes(configuration: Configuration, following: Sequence[Follower], options: Mapping[str, Any]) -> Iterator[str]:
    """following: see hint_inputs.followers. options: those of the job; their LoRAs and controls are the configuration's first ones."""
    of_options = len(options.get("loras", ()))
    refined = configuration["refiner_model"] is not None
    stacked = [_Use(one, _OPTIONS if number < of_options else _STACK) for number, one in enumerate(configuration["loras"])]
    yield from _told([use for use in stacked if use.record["weight"] != 0], lambda one, other: not refined or _one_network(one, other))
    of_options = len(options.get("controls", ()))
    acting = [
        _Use(one.record, _OPTIONS if number < of_options else _HINTS, one)
        for number, one in enumerate(following)
        if one.record is not None and one.acts and (one.reading is None or one.source is not None)
    ]
    yield from _told(acting, _one_control)


def _told(uses: Sequence[_Use], twice: Callable[[_Use, _Use], bool]) -> Iterator[str]:
    """A note for every file of which uses are the same thing `twice`."""
    found: dict[str, set[int]] = {}
    for (first, one), (second, other) in combinations(enumerate(uses), 2):
        file = one.record["file"]
        if file and file == other.record["file"] and twice(one, other):
            found.setdefault(file, set()).update((first, second))
    for file, numbers in found.items():
        origins = dict.fromkeys(uses[number].origin for number in sorted(numbers))
        times, all_but = ("twice", "one") if len(numbers) == 2 else (f"{len(numbers)} times", "all but one")
        yield f"{file} is there {times}, in {' and '.join(origins)}, so it counts {times}: remove {all_but}."


def _one_network(one: _Use, other: _Use) -> bool:
    """Whether two LoRAs act on the same of base model and refiner."""
    modes = {one.record["mode"], other.record["mode"]}
    return len(modes) == 1 or LoRAMode.all in modes


def _one_control(one: _Use, other: _Use) -> bool:
    """Whether two controls of one file do the same: a union control may follow two maps, and one may act on other steps or blocks."""
    first, second = one.record, other.record
    blocks = set(first["target_blocks"]), set(second["target_blocks"])
    return (
        _kind(one) == _kind(other)
        and first["guidance_start"] < second["guidance_end"]
        and second["guidance_start"] < first["guidance_end"]
        and not (all(blocks) and blocks[0].isdisjoint(blocks[1]))
    )


def _kind(use: _Use) -> str:
    """The kind of map that a control follows."""
    reading = use.follower.reading if use.follower is not None else None
    return use.record["input_override"].name if reading is None else reading.modifier
