"""What each kind of control, and each model that needs none, is fed from: one table.

Facts: app_behaviour.md section 3, model_specs.md (control_nets). A source is a hintType of the wire, or IMAGE.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from .configuration import ControlInputType
from .families import family

IMAGE = "image"
"""The request's input image: the map is computed from it on the server, or it is taken as it is."""

DEPTH_ESTIMATOR = "depth_anything_v2.0_f16.ckpt"
"""Without this file a server makes no depth map from an image."""

_BY_MODIFIER: dict[str, tuple[str, ...]] = {
    "canny": (IMAGE, "custom"),
    "mlsd": (IMAGE, "custom"),
    "softedge": (IMAGE, "custom"),
    "depth": ("depth", IMAGE),
    "scribble": ("scribble", IMAGE),
    "pose": ("pose", "custom"),
    "lineart": ("custom",),
    "normalbae": ("custom",),
    "seg": ("custom",),
    "custom": ("custom",),
    "tile": ("custom", IMAGE),
    "blur": ("custom", IMAGE),
    "gray": ("custom", IMAGE),
    "lowquality": ("custom", IMAGE),
    "inpaint": (IMAGE,),
    "ip2p": (IMAGE,),
    "shuffle": ("shuffle", "custom"),
}
"""Modifier -> sources, the first that is there counts."""

_UNSUPPORTED = ("color", "audio")
"""Modifiers that a server knows and feeds to no such control."""

_OF_T2I_ADAPTERS: dict[str, tuple[str, ...]] = {
    "canny": (IMAGE, "custom"),
    "depth": ("depth",),
    "scribble": ("scribble",),
    "pose": ("pose", "custom"),
    "color": ("color", IMAGE),
}

_BY_TYPE: dict[str, Mapping[str, tuple[str, ...]]] = {
    "controlnet": _BY_MODIFIER,
    "controlnetunion": _BY_MODIFIER,
    "controlnetlora": _BY_MODIFIER,
    "t2iadapter": _OF_T2I_ADAPTERS,
}
"""Types that take what their modifier says."""

_PICTURES_BY_TYPE: dict[str, tuple[str, ...]] = {
    "ipadapterplus": ("shuffle", "custom"),
    "ipadapterfull": ("shuffle", "custom"),
    "redux": ("shuffle", "custom"),
    "ipadapterfaceidplus": ("shuffle", "custom"),
    "pulid": ("shuffle", "custom"),
    "inject_kv": ("shuffle",),
    "llava": ("shuffle", "custom", IMAGE),
}
"""Types that take pictures, whatever their modifier says."""

_PREPROCESSED = ("softedge", "scribble")
"""Modifiers whose map is made from the image by the file that the control's specification names as its preprocessor."""

TILE_FAMILY = ("tile", "blur", "gray", "lowquality")
DOWN_SAMPLING_FROM = 1.1
"""A control of the tile family blurs its image at rates above this."""

_REFERENCE_MODIFIERS = ("kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511")
"""Modifiers of models that take the pictures of a moodboard as further references; video families with one take frames only."""

_OTHER_MODIFIERS = ("none", "inpainting", "editing", "double", "qwenimage_layered")
"""Those of models that read no hint."""


class Reading(NamedTuple):
    """What a control is fed from. modifier: the kind of map, "" when neither control nor request names one.

    sources: the first that is there counts; none when a server has no use for that modifier with that type. needs: file without
    which IMAGE is no source, "" when none is needed, None when the control has no such file. weighs: each picture of a moodboard
    has the weight that goes with it. beside: the image is read too, whichever source counts.
    """

    modifier: str
    sources: tuple[str, ...]
    needs: str | None = ""
    weighs: bool = True
    beside: bool = False

    def taken(self, hints: Collection[str], with_image: bool, present: Callable[[str], bool]) -> str | None:
        """The source that counts, or None. present: whether a file is on the server."""
        for source in self.sources:
            if source != IMAGE and source in hints:
                return source
            if source == IMAGE and with_image and self.needs is not None and (not self.needs or present(self.needs)):
                return source
        return None

    def reads_image(self, source: str | None) -> bool:
        """Whether the image is looked at, when there is one and `source` counts."""
        return source == IMAGE or (self.beside and source is not None)


def reading_of_control(specification: Mapping[str, Any], override: ControlInputType) -> Reading | None:
    """What a control with this specification reads; None for a type or a modifier that is not known here.

    override: the control's input_override, which counts only where the specification has no modifier (union controls).
    """
    kind = specification.get("type")
    if kind in _PICTURES_BY_TYPE:
        return Reading("shuffle", _PICTURES_BY_TYPE[kind])
    if kind not in _BY_TYPE:
        return None
    modifier = str(specification.get("modifier") or ("" if override == ControlInputType.unspecified else override.name))
    if modifier and modifier not in _BY_MODIFIER and modifier not in _UNSUPPORTED:
        return None
    sources = _BY_TYPE[kind].get(modifier, ())
    known = family(str(specification.get("version", "")))
    if kind == "controlnet" and modifier == "shuffle" and known is not None and known.vace:
        return Reading(modifier, (*sources, IMAGE), weighs=False, beside=True)  # VACE: its frames too, app_behaviour.md section 1
    needs: str | None = ""
    if kind != "t2iadapter" and modifier in _PREPROCESSED:
        needs = specification.get("preprocessor") or None
    elif kind != "t2iadapter" and modifier == "depth":
        needs = DEPTH_ESTIMATOR
    return Reading(modifier, sources, needs)


def reading_of_model(modifier: str, version: str | None) -> Reading | None:
    """What hints a model with this modifier, its own or lent by a LoRA, reads without any control; None for one not known here."""
    if modifier in _REFERENCE_MODIFIERS:
        known = family(version)
        takes_frames = known is not None and known.video
        return Reading("shuffle", () if takes_frames else ("shuffle",), weighs=False)
    if modifier == "depth":
        return Reading(modifier, _BY_MODIFIER["depth"], DEPTH_ESTIMATOR)
    if modifier == "canny":
        return Reading(modifier, _BY_MODIFIER["canny"])
    return Reading(modifier, ()) if modifier in _OTHER_MODIFIERS else None
