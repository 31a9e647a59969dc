"""The option nodes: one for each topic of the table of settings, from which their widgets, ranges and tooltips come.

Connecting one sets all its settings, but those that say "recommended". They chain: the later one wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..drawthings_core.configuration import CONFIGURATION, Kind, Options, Setting
from . import widgets
from .load_server import CATEGORY


class Topic(NamedTuple):
    """What a node says beside its settings. id: the middle of the node id, for ever."""

    id: str
    title: str
    description: str


TOPICS: dict[str, Topic] = {
    "sampling": Topic("Sampling", "Sampling", "Seed mode, sharpness, the shift of the noise schedule, and the randomness of TCD samplers."),
    "guidance": Topic(
        "Guidance", "Guidance", "Guidance by the input image, guidance that is built into a model, and the empty negative prompt."
    ),
    "hires_fix": Topic("HiresFix", "High-Resolution Fix", "Two passes: a small picture first, then enlarged and refined."),
    "tiling": Topic("Tiling", "Tiling", "Decodes or generates large pictures tile by tile."),
    "refiner": Topic("Refiner", "Refiner", "A second model that takes over late in sampling."),
    "upscaler": Topic("Upscaler", "Upscaler", "Enlarges the finished pictures, and restores faces."),
    "text_encoders": Topic("TextEncoders", "Text Encoder", "CLIP skip, and a prompt of its own for each text encoder."),
    "sdxl": Topic("SDXL", "SDXL", "What Stable Diffusion XL is told about sizes, cropping and beauty."),
    "tea_cache": Topic("TeaCache", "TeaCache", "Skips steps that change little."),
    "cfg_zero": Topic("CFGZero", "CFG Zero*", "Corrected guidance for flow models."),
    "video": Topic("Video", "Video", "The number of frames."),
    "svd": Topic("SVD", "SVD", "Motion of Stable Video Diffusion."),
    "causal": Topic("CausalInference", "Causal Inference", "Makes a Wan video chunk by chunk."),
    "cascade": Topic("StableCascade", "Stable Cascade", "The second stage of Stable Cascade."),
    "kandinsky": Topic("Kandinsky", "Kandinsky", "The image prior of Kandinsky."),
    "inpaint": Topic("Inpaint", "Inpaint", "The seam between what is repainted and what is kept."),
    "output": Topic("Output", "Output", "Colour calibration, compression artifacts, and prompts that become JSON."),
}
"""One node for each topic of the table but those that other nodes cover."""


_RELATIONS = {"refiner_model": "refiner"}
"""What a file is to the model, where its kind does not say it."""


def rows_of(topic: str) -> list[Setting]:
    """The settings of a topic in the order of the widgets: each is followed by those that need it."""
    rows = [row for row in CONFIGURATION.values() if row.topic == topic and row.in_json]
    names = {row.name for row in rows}
    ordered: list[Setting] = []
    for row in rows:
        if row.needs not in names:
            ordered += [row, *(other for other in rows if other.needs == row.name)]
    return ordered


def main_switch(topic: str) -> str | None:
    """The switch that all other settings of the topic need. Who adds the node wants it, so it is on there."""
    rows = rows_of(topic)
    first, others = rows[0], rows[1:]
    return first.name if first.kind is Kind.switch and others and all(row.needs == first.name for row in others) else None


class OptionsNode:
    """Settings of one topic."""

    TOPIC = ""
    CATEGORY = CATEGORY
    RETURN_TYPES = ("DT_OPTIONS",)
    RETURN_NAMES = ("options",)
    OUTPUT_TOOLTIPS = ("These settings over those before them.",)
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required: dict[str, Any] = {}
        typed: dict[str, Any] = {}
        for row in rows_of(cls.TOPIC):
            if row.file_kind:
                required[row.input_name] = widgets.server_file(row.file_kind, row.tooltip, none=True, relation=_RELATIONS.get(row.name, ""))
                typed[typed_input(row)] = widgets.text(f"File name for {row.input_name} that the list does not offer. Wins over the list.")
            else:
                required[row.input_name] = widgets.setting(row, True if row.name == main_switch(cls.TOPIC) else None)
        return {"required": required, "optional": {"options": widgets.socket("DT_OPTIONS", "Settings to lay these over."), **typed}}

    def add(self, options: Any = None, **inputs: Any) -> tuple[Options]:
        return (Options.of(options).updated(dict(_given(self.TOPIC, inputs))),)


def typed_input(row: Setting) -> str:
    """The input for a file name that the list does not offer."""
    return f"{row.input_name}_file"


def _given(topic: str, inputs: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field names and values of what the widgets fix."""
    for row in rows_of(topic):
        value = inputs.get(row.input_name)
        if row.file_kind:
            yield row.name, widgets.chosen_file(value, inputs.get(typed_input(row)))
        elif row.input_name in inputs:
            value = widgets.setting_value(row, value)
            if value is not None:
                yield row.name, value


def _any_file(combos: list[str]) -> classmethod:
    """VALIDATE_INPUTS that takes any value for these combos, which it must name one by one: ComfyUI reads the signature."""

    def check(cls: type, **files: Any) -> bool:
        return True

    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("cls", keyword), *(inspect.Parameter(name, keyword, default=None) for name in combos)]
    check.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return classmethod(check)


def _node(topic: str) -> type[OptionsNode]:
    about = TOPICS[topic]
    members: dict[str, Any] = {
        "__doc__": about.description,
        "__module__": __name__,
        "TOPIC": topic,
        "DESCRIPTION": f"{about.description} Chains with other options.",
    }
    files = [row.input_name for row in rows_of(topic) if row.file_kind]
    if files:
        members["VALIDATE_INPUTS"] = _any_file(files)
    return type(f"{about.id}Options", (OptionsNode,), members)


def node_id(topic: str) -> str:
    return f"DrawThings{TOPICS[topic].id}Options"


NODES: dict[str, type[OptionsNode]] = {node_id(topic): _node(topic) for topic in TOPICS}
TITLES: dict[str, str] = {node_id(topic): f"{about.title} Options (Draw Things)" for topic, about in TOPICS.items()}
