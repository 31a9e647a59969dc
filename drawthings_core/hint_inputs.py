"""Hints as a graph gives them -> the entries of a request, and what to say about those that a server leaves aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import encodings, images
from .catalog import Catalog
from .configuration import Configuration, Control, ControlInputType
from .errors import InvalidInput
from .hints import RULES, values_of
from .images import Fit
from .request import Hint, first_pass_size


@dataclass(frozen=True)
class HintInput:
    """A hint as a graph gives it: pictures [N, H, W, C] in 0..1 of one type, and the control it drives, if any.

    weights: one for each picture, read by the server for shuffle (moodboard) only.
    """

    type: ControlInputType
    image: np.ndarray = field(repr=False)
    control: Control | None = None
    weights: tuple[float, ...] = ()


def wire_hints(
    hints: Sequence[HintInput], configuration: Configuration, version: str | None, fit: Fit, with_image: bool, with_mask: bool
) -> tuple[Hint, ...]:
    """One entry for each hintType on the wire; a server reads no more than that. Raises InvalidInput, InvalidImage."""
    tensors: dict[str, list[tuple[np.ndarray, float]]] = {}
    owners: dict[str, ControlInputType] = {}
    for given in hints:
        rule = RULES.get(given.type)
        if rule is None:
            raise InvalidInput(f"{given.type.label} controls read the input image and its mask: connect those instead of a hint.")
        if rule.one_tensor and rule.wire in owners:
            raise InvalidInput(
                f"The hints {owners[rule.wire].label} and {given.type.label} share one place in a request ({rule.wire}), of which a "
                f"server reads one: remove one of them."
            )
        owners[rule.wire] = given.type
        pictures = images.check_image(given.image, f"The {given.type.label} hint")
        if rule.one_tensor:
            pictures = pictures[:1]
        sizes = _sizes(given.type, configuration, with_image, with_mask)
        values = values_of(given.type, version)
        weights = given.weights or (1.0,) * len(pictures)
        entry = tensors.setdefault(rule.wire, [])
        for number, weight in zip(range(len(pictures)), weights, strict=False):
            picture = pictures[number : number + 1]  # placed as the image is
            entry.extend((encodings.shared.hint(picture, values, size, fit), weight) for size in sizes or (None,))
    return tuple(Hint(wire, tuple(entry)) for wire, entry in tensors.items())


def _sizes(kind: ControlInputType, configuration: Configuration, with_image: bool, with_mask: bool) -> list[tuple[int, int]]:
    """(width, height) of each tensor that a hint's picture becomes; none for references, which keep their own size."""
    if not RULES[kind].one_tensor:
        return []
    canvas = (configuration["start_width"], configuration["start_height"])
    first = first_pass_size(configuration, with_image, with_mask)
    return [first, canvas] if kind == ControlInputType.pose and first is not None else [canvas]


def hint_notes(hints: Sequence[HintInput], configuration: Configuration, catalog: Catalog, with_image: bool) -> Iterator[str]:
    """Hints that the server would leave aside without a word."""
    lenders = [("model", configuration["model"]), *(("LoRA", lora["file"]) for lora in configuration["loras"])]
    modifiers = {entry.modifier for kind, file in lenders if (entry := catalog.find(kind, file)) is not None} - {"none"}
    for hint in hints:
        if RULES.get(hint.type) is None:
            continue
        if with_image and RULES[hint.type].ignored_with_image:
            yield f"The {hint.type.label} hint is ignored: with an image connected the server computes that map from it."
        elif hint.control is None and not configuration["controls"] and catalog.describes and not modifiers:
            yield f"Nothing reads the {hint.type.label} hint: choose a control for it, or a model that takes such a hint itself."
