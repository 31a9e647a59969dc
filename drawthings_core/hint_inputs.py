"""Hints as a graph gives them -> the entries of a request, and what to say about those that a server leaves aside.

Nothing here is an error but what cannot be sent: a server skips a control that has nothing to follow, and leaves a hint that
nothing reads, without a word. The words are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from . import encodings, images
from .catalog import Catalog
from .configuration import CONTROL, Configuration, Control, ControlInputType
from .controls import DOWN_SAMPLING_FROM, IMAGE, TILE_FAMILY, Reading, reading_of_control, reading_of_model
from .errors import InvalidInput
from .hints import RULES, rule_of, values_of
from .images import AnyFit
from .request import Hint, check_size, first_pass_size


@dataclass(frozen=True)
class HintInput:
    """A hint as a graph gives it: pictures [N, H, W, C] in 0..1 of one type, and the control it drives, if any.

    image: None for a control that comes without a map of its own. weights: one for each picture of a moodboard (shuffle); 0 leaves
    it out.
    """

    type: ControlInputType
    image: np.ndarray | None = field(default=None, repr=False)
    control: Control | None = None
    weights: tuple[float, ...] = ()

    @property
    def named(self) -> str:
        """In words, at the beginning of a sentence."""
        return "The moodboard" if self.type == ControlInputType.shuffle else f"The {self.type.label} hint"

    @property
    def wire(self) -> str | None:
        """The hintType that it travels as, None when no picture of it does."""
        rule = RULES.get(self.type)
        if self.image is None or rule is None or (not rule.one_tensor and self.weights and not any(self.weights)):
            return None
        return rule.wire


def wire_hints(
    hints: Sequence[HintInput], configuration: Configuration, version: str | None, fit: AnyFit, with_image: bool, with_mask: bool
) -> tuple[Hint, ...]:
    """One entry for each hintType on the wire; a server reads no more than that. Raises InvalidInput, InvalidImage."""
    tensors: dict[str, list[tuple[np.ndarray, float]]] = {}
    owners: dict[str, ControlInputType] = {}
    for given in hints:
        if given.image is None:
            continue
        rule = rule_of(given.type)
        if rule.one_tensor and rule.wire in owners:
            other = owners[rule.wire]
            if other == given.type:
                raise InvalidInput(f"There are two {given.type.label} hints, of which a server reads one: remove one of them.")
            raise InvalidInput(
                f"The hints {other.label} and {given.type.label} share one place in a request ({rule.wire}), of which a server reads one: "
                f"remove one of them."
            )
        owners[rule.wire] = given.type
        pictures = images.check_image(given.image, given.named)
        values = values_of(given.type, version)
        entry = tensors.setdefault(rule.wire, [])
        if rule.one_tensor:  # placed as the image is
            sizes = _sizes(given.type, configuration, with_image, with_mask)
            entry.extend((encodings.shared.hint(pictures[:1], values, size, fit), 1.0) for size in sizes)
            continue
        for number, weight in zip(range(len(pictures)), given.weights or (1.0,) * len(pictures), strict=False):
            if weight != 0:  # some readers ignore weights, and Qwen's text encoder looks at every picture
                check_size(images.hint_size(pictures, values))  # of each, before it is made
                entry.append((encodings.shared.hint(pictures[number : number + 1], values, None, fit), weight))
    return tuple(Hint(wire, tuple(entry)) for wire, entry in tensors.items() if entry)


def _sizes(kind: ControlInputType, configuration: Configuration, with_image: bool, with_mask: bool) -> list[tuple[int, int]]:
    """(width, height) of each tensor that a hint's picture becomes: pose maps are not resampled, so each pass has its own."""
    canvas = (configuration["start_width"], configuration["start_height"])
    first = first_pass_size(configuration, with_image, with_mask)
    return [first, canvas] if kind == ControlInputType.pose and first is not None else [canvas]


class Follower(NamedTuple):
    """A control, or a model that needs none, and what it is fed from.

    record: None for a model. reading: None when its kind is not known here. source: see Reading.taken; recomputes: in a second
    pass, which has a picture, the server makes the map itself.
    """

    name: str
    record: Control | None
    reading: Reading | None
    source: str | None = None
    recomputes: bool = False

    @property
    def acts(self) -> bool:
        return self.record is None or self.record["weight"] > 0

    @property
    def map(self) -> str:
        """What it follows, in words that take "the" before and "s" behind them."""
        modifier = self.reading.modifier if self.reading is not None else ""
        kind = ControlInputType.parse(modifier)
        return "reference picture" if modifier == "shuffle" else f"{kind.label if kind else modifier} map"


def followers(hints: Sequence[HintInput], configuration: Configuration, catalog: Catalog, with_image: bool) -> list[Follower]:
    """Every control of a request, in order, and the model where it reads hints itself or is not known."""
    wires = {hint.wire for hint in hints if hint.wire is not None}

    def present(file: str) -> bool:
        return not catalog.files or file in catalog.files  # a server that lists none may have it

    def follower(name: str, record: Control | None, reading: Reading | None) -> Follower:
        if reading is None:
            return Follower(name, record, None)
        source = reading.taken(wires, with_image, present)
        return Follower(name, record, reading, source, reading.taken(wires, True, present) != source)

    found = []
    for record in configuration["controls"]:
        entry = catalog.find("control", record["file"])
        reading = reading_of_control(entry.specification, record["input_override"]) if entry is not None else None
        found.append(follower(entry.name if entry else record["file"] or "A control", record, reading))
    model, modifying = catalog.find("model", configuration["model"]), catalog.modifying(configuration)
    if model is None:
        found.append(Follower(configuration["model"] or "The model", None, None))
    elif modifying is not None:
        reading = reading_of_model(modifying.modifier, model.version)
        if reading is None or reading.sources:
            found.append(follower(modifying.name, None, reading))
    return found


def read_image(following: Sequence[Follower]) -> bool:
    """Whether a control looks at the input image; perhaps, where its kind is not known."""
    return any(one.acts and one.record is not None and (one.reading is None or one.reading.reads_image(one.source)) for one in following)


def hint_notes(hints: Sequence[HintInput], following: Sequence[Follower], with_image: bool, two_passes: bool) -> Iterator[str]:
    """Hints and controls that the server leaves aside, or treats otherwise than one might think."""
    owners = {hint.wire: hint.type for hint in hints}
    for one in following:
        if not one.acts:
            yield f"{one.name} is at weight 0 and is skipped."
        elif one.reading is not None:
            yield from _about_follower(one, one.reading, owners, with_image)
            if two_passes and one.source == "custom" and one.recomputes:
                yield (
                    f"{one.name} follows your map in the first pass only: for the second pass of the high-resolution fix the server "
                    f"computes the {one.map} from the first picture."
                )
    for hint in hints:
        if hint.wire is not None:
            yield from _about_hint(hint, hint.wire, following)


def _about_follower(one: Follower, reading: Reading, owners: Mapping[str | None, ControlInputType], with_image: bool) -> Iterator[str]:
    if not reading.modifier:
        yield f"{one.name} is skipped: it follows several kinds of map, so choose its hint type in ControlNet Hint."
    elif not reading.sources:
        yield f"{one.name} does nothing: a server feeds no {one.map} to a control of its kind."
    elif one.source is None and with_image and IMAGE in reading.sources:
        missing = f"the server does not list {reading.needs}, which would make" if reading.needs else "it has no preprocessor that makes"
        others = [_WORDS[source] for source in reading.sources if source != IMAGE]
        yield f"{one.name} has nothing to follow: {missing} the {one.map} from the image. Connect {' or '.join(others)}."
    elif one.source is None and (one.record is not None or reading.modifier != "shuffle"):  # an instruction model can do without
        yield f"{one.name} has nothing to follow: connect {' or '.join(_WORDS[source] for source in reading.sources)}."
    elif one.source == "custom" and owners["custom"] not in (ControlInputType.custom, ControlInputType.parse(reading.modifier)):
        yield f"{one.name} takes the {owners['custom'].label} hint as its {one.map}."
    idle = _idle_settings(one.record, reading)
    if idle:
        yield f"Without effect with {one.name}: {', '.join(CONTROL[name].label for name in idle)}."


_WORDS = {
    IMAGE: "an image to the node that generates",
    "custom": "a ready-made map",
    "depth": "a Depth hint",
    "scribble": "a Scribble hint",
    "pose": "a Pose hint",
    "color": "a Color hint",
    "shuffle": "a Moodboard",
}


def _idle_settings(record: Control | None, reading: Reading) -> list[str]:
    """Settings of a control that ask for something and are not read."""
    if record is None:
        return []
    asked = {
        "no_prompt": record["no_prompt"],
        "down_sampling_rate": record["down_sampling_rate"] > DOWN_SAMPLING_FROM and reading.modifier not in TILE_FAMILY,
    }
    return [name for name, idle in asked.items() if idle]


def _about_hint(hint: HintInput, wire: str, following: Sequence[Follower]) -> Iterator[str]:
    """Why nothing reads a hint, or the weights of its pictures."""
    candidates = [one for one in following if one.acts and (hint.control is None or one.record == hint.control)]
    if not candidates and hint.control is not None:
        return  # its control is switched off, which has been said
    if any(one.reading is None for one in candidates):
        return  # of a control or a model that is not known, nothing can be said
    readers = [one for one in candidates if one.source == wire]
    outdone = [one for one in candidates if one.source == IMAGE and one.reading is not None and wire in one.reading.sources]
    if readers:
        same = [one for one in readers if one.reading is not None and not one.reading.weighs]
        if wire == "shuffle" and len(same) == len(readers) and set(hint.weights) - {0.0, 1.0}:
            yield f"{same[0].name} gives every reference picture the same weight."
    elif outdone:
        yield (
            f"{hint.named} is ignored: with an image connected the server computes the {outdone[0].map} for "
            f"{outdone[0].name} from it. A map of your own counts in text to image only."
        )
    elif hint.control is not None:
        yield f"{candidates[0].name} follows {candidates[0].map}s, so nothing reads {_inside(hint.named)}: choose another type or control."
    else:
        yield f"Nothing reads {_inside(hint.named)}: choose a control for it, or a model that takes such a hint itself."


def _inside(named: str) -> str:
    """Words from the beginning of a sentence, inside one."""
    return named[:1].lower() + named[1:]
