"""The hint types that a graph can name, and what the server really reads for each: one table.

Facts: tensors.md section 6 and app_behaviour.md section 3. Types that the server computes from the input image or takes
ready-made travel as "custom": an entry named "canny" or "lineart" would be skipped.
"""

from __future__ import annotations

from typing import NamedTuple

from .configuration import ControlInputType
from .errors import InvalidInput
from .families import family
from .images import HintValues


class HintRule(NamedTuple):
    """One hint type of a graph.

    wire: the hintType that travels. values: what its tensor holds (see `values_of`). one_tensor: only the first counts.
    advice: what a user should know about the picture.
    """

    wire: str
    values: HintValues
    one_tensor: bool = True
    advice: str = ""


RULES: dict[ControlInputType, HintRule] = {
    ControlInputType.custom: HintRule("custom", HintValues.rgb_signed, advice="any ready-made map"),
    ControlInputType.depth: HintRule("depth", HintValues.gray_signed, advice="near is bright"),
    ControlInputType.canny: HintRule("custom", HintValues.rgb_signed, advice="white edges on black"),
    ControlInputType.scribble: HintRule("scribble", HintValues.rgb_unit, advice="white strokes on black"),
    ControlInputType.pose: HintRule("pose", HintValues.rgb_unit, advice="a drawn skeleton"),
    ControlInputType.normalbae: HintRule("custom", HintValues.rgb_signed, advice="a normal map"),
    ControlInputType.color: HintRule("color", HintValues.rgb_signed, advice="colours to follow, averaged over 64 px"),
    ControlInputType.lineart: HintRule("custom", HintValues.rgb_signed, advice="dark lines on white"),
    ControlInputType.softedge: HintRule("custom", HintValues.rgb_signed, advice="soft white edges on black"),
    ControlInputType.seg: HintRule("custom", HintValues.rgb_signed, advice="a segmentation map"),
    ControlInputType.shuffle: HintRule(
        "shuffle", HintValues.rgb_signed, one_tensor=False, advice="a reference picture; see also Moodboard"
    ),
    ControlInputType.mlsd: HintRule("custom", HintValues.rgb_signed, advice="straight white lines on black"),
    ControlInputType.tile: HintRule("custom", HintValues.rgb_signed, advice="the picture to add detail to"),
    ControlInputType.blur: HintRule("custom", HintValues.rgb_signed, advice="the blurred picture"),
    ControlInputType.lowquality: HintRule("custom", HintValues.rgb_signed, advice="the picture to restore"),
    ControlInputType.gray: HintRule("custom", HintValues.rgb_signed, advice="the grey picture to colour"),
}

FROM_IMAGE: dict[ControlInputType, str] = {
    ControlInputType.inpaint: "the input image and its mask",
    ControlInputType.ip2p: "the input image",
}
"""Types that no hint feeds, and what does."""


def rule_of(kind: ControlInputType) -> HintRule:
    """The row of a type. Raises InvalidInput for one that no hint feeds."""
    if kind not in RULES:
        raise InvalidInput(
            f"{kind.label} controls follow {FROM_IMAGE.get(kind, 'the input image')}, not a map: leave the image of the hint open, and connect "
            f"it to the node that generates."
        )
    return RULES[kind]


AUDIO = "Audio"
NO_AUDIO = (
    "Audio hints are not supported: they are speech features of the Whisper model, which only the Draw Things app computes. Make a talking "
    "avatar there."
)


def values_of(kind: ControlInputType, version: str | None) -> HintValues:
    """What the tensor of a hint holds for a model of this version. A server converts no pose, so that it is what the network wants."""
    known = family(version)
    if kind == ControlInputType.pose and known is not None and known.signed_pose:
        return HintValues.rgb_signed
    return RULES[kind].values


CHANNELS: dict[str, int] = {"custom": 3, "depth": 1, "scribble": 3, "pose": 3, "color": 3, "shuffle": 3}
"""Channels that each hintType must have on the wire; another count stops the server's process."""
