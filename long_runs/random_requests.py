"""Random jobs and requests over everything that can be asked of a server: right, at the ends of what is right, and wrong.

Each is made from one number: the same one again gives the same. What a number means changes with this file.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from ..drawthings_core.catalog import FACE_RESTORATION_FILES, Catalog
from ..drawthings_core.configuration import (
    CONFIGURATION,
    CONTROL,
    LORA,
    Configuration,
    Control,
    ControlInputType,
    Kind,
    LoRA,
    Setting,
    flatbuffer,
)
from ..drawthings_core.hints import CHANNELS
from ..drawthings_core.images import Fit
from ..drawthings_core.job import HintInput, Job, plan
from ..drawthings_core.request import GenerationRequest, Hint
from ..proto import config_generated as wire

WRONG_VALUES = (0, 1, 2, 3, 63, 64, 65, 128, 192, 256, 320, -1, -64, 0.5, 1.0, 1.5, 1e9, math.nan, math.inf, "8", None, True)
SIDES = (1, 7, 64, 100, 128, 160)
"""Of pictures in pixels: small, so that a server is asked often."""
LARGEST_NUMBER = {"px": 192, "": 24}
"""By unit, for the same reason."""
PROMPTS = ("", "a cat", "日本 🏰", "x" * 5000, "<" * 50, "\0\r\n\t", "<cat>")
EMBEDDED = ("<badhandv4> hands", "<easynegative>")
"""Prompts that name textual inversions of the simulator, of the family v1."""


class _Sloppy(random.Random):
    """Dice of somebody who errs. tidy: of somebody who does not, so that whole requests come out."""

    def __init__(self, number: int, tidy: float = 0.7):
        super().__init__(number)
        self.tidy = self.random() < tidy

    def errs(self, often: float) -> bool:
        return not self.tidy and self.random() < often


def job(number: int, catalog: Catalog) -> Job:
    """What a node that generates may ask for. Raises InvalidInput where no node would get so far."""
    dice = _Sloppy(number)
    node = dice.choice(["Generate", "Generate", "Inpaint", "Edit", "Video", "Upscale"])
    models = list(catalog.entries["model"])
    model = dice.choice(models if dice.errs(0.1) else _models_for(node, catalog))
    version = catalog.entries["model"][model].version

    def of_family(kind: str) -> list[str]:
        same = [entry.file for entry in catalog.entries[kind].values() if entry.version == version]
        return list(catalog.entries[kind]) if dice.errs(0.1) else same

    settings = _settings(dice, catalog, of_family("model") or models)
    if node == "Upscale" and not version.startswith("seedvr2") and not dice.errs(0.3):
        settings["upscaler"] = dice.choice(list(catalog.entries["upscaler"]))
    inversions = version == "v1" or dice.errs(0.1)
    with_image = dice.random() < 0.6 or node in ("Inpaint", "Edit", "Upscale")
    return Job(
        model=model,
        prompt=dice.choice([*PROMPTS, *(EMBEDDED if inversions else ())]),
        negative_prompt=dice.choice(["", "blurry", EMBEDDED[1] if inversions else ""]),
        settings={"seed": dice.randrange(2**32), **settings},
        images=_picture(dice, dice.choice([1, 2, 6] if node == "Video" else [1, 1, 1, 2])) if with_image else None,
        masks=_masks(dice) if node == "Inpaint" or dice.errs(0.1) else None,
        fit=dice.choice(list(Fit)),
        loras=() if node == "Upscale" else _loras(dice, of_family("LoRA")),
        hints=() if node == "Upscale" else _hints(dice, of_family("control")),
        references=tuple(_picture(dice, dice.choice([1, 2])) for _ in range(dice.choice([0, 1, 3]))) if node == "Edit" else None,
        one_video=node == "Video",
        scale=dice.choice([0, 1, 1.5, 2, 3.3, 4, 0.5 if dice.errs(1) else 2]) if node == "Upscale" else None,
    )


def request(number: int, catalog: Catalog) -> GenerationRequest:
    """What a caller of the client may put together past the planner, with settings that no check has seen. Raises InvalidInput."""
    dice = _Sloppy(number, tidy=0.3)
    planned = plan(job(number, catalog), catalog).configuration
    image = mask = None
    if dice.random() < 0.7:
        sides = [dice.choice([64, 128, 192]) if dice.tidy else dice.choice([64, 96, 128]) for _ in range(2)]
        shape = (dice.choice([1, 1, 2]), *sides, dice.choice([1, 4]) if dice.errs(0.3) else 3)
        image = np.zeros(shape, dice.choice([np.float32, np.uint8]) if dice.errs(0.3) else np.float16)
    if dice.random() < 0.5 and (image is not None or not dice.tidy):
        size = (dice.choice([64, 128]), dice.choice([64, 128])) if image is None or dice.errs(0.3) else image.shape[1:3]
        codes = [code | dice.choice([0, 0, 0x80, 0xF8]) for code in dice.sample(range(4 if dice.tidy else 6), dice.choice([1, 2, 3]))]
        mask = np.array(dice.choices(codes, k=size[0] * size[1]), np.float32 if dice.errs(0.2) else np.uint8).reshape(size)
    size = (planned["start_height"], planned["start_width"]) if image is None or image.ndim != 4 else image.shape[1:3]
    kinds = dice.sample(list(CHANNELS), dice.choice([0, 0, 1, 2]))
    kinds += ["audio", "canny"] if dice.errs(0.1) else []
    hints = tuple(Hint(kind, tuple((_map(dice, kind, size), 1.0) for _ in range(0 if dice.errs(0.1) else 1))) for kind in kinds)
    scale = dice.choice([2, 0, -1]) if dice.errs(0.2) else 1
    return GenerationRequest(planned if dice.tidy else _unchecked(planned, dice), "x", "", image, mask, hints, scale)


def _models_for(node: str, catalog: Catalog) -> list[str]:
    entries = catalog.entries["model"]
    kinds = {
        "Edit": lambda entry: entry.modifier not in ("none", "inpainting", "depth", "canny", "double"),
        "Video": lambda entry: entry.version.startswith(("wan", "ltx", "svd", "hunyuan")),
        "Upscale": lambda entry: entry.version.startswith(("seedvr2", "v1")),
    }
    return [file for file, entry in entries.items() if kinds.get(node, lambda entry: True)(entry)]


def _settings(dice: _Sloppy, catalog: Catalog, same_family: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "start_width": 64 if dice.errs(0.1) else dice.choice([128, 128, 192]),
        "start_height": dice.choice([128, 128, 192]),
        "steps": dice.choice([1, 2, 3, 5, 8]),
        "num_frames": dice.choice([1, 5, 9, 14]),
        "strength": dice.choice([0, 0.001, 0.3, 0.5, 0.99, 1]),
        "sampler": dice.randrange(20),
    }
    for name in dice.sample(sorted(CONFIGURATION), dice.randrange(8)):
        if CONFIGURATION[name].file_kind == "":
            settings[name] = _value(CONFIGURATION[name], dice)
    if dice.random() < 0.1:
        settings["upscaler"] = dice.choice(list(catalog.entries["upscaler"]))
    if dice.random() < 0.1:
        settings["face_restoration"] = dice.choice(list(FACE_RESTORATION_FILES))
    if dice.random() < 0.2:
        settings["refiner_model"] = dice.choice(list(catalog.entries["model"]) if dice.errs(0.2) else same_family)
    if dice.random() < 0.2:
        settings["hires_fix"] = True
        settings["hires_fix_start_width"] = dice.choice([128, 192])
        settings["hires_fix_start_height"] = dice.choice([128, 128, 192])
        settings["hires_fix_strength"] = dice.choice([0.3, 0.7, 0.9, 0.99, 1])
    settings["batch_count"] = 1
    settings["batch_size"] = dice.choice([1, 1, 1, 2])
    return settings


def _value(row: Setting, dice: _Sloppy) -> Any:
    """Mostly in range, often at its ends, of the sloppy sometimes nonsense."""
    if dice.errs(0.1):
        return dice.choice(WRONG_VALUES)
    if row.kind is Kind.switch:
        return dice.random() < 0.5
    if row.kind is Kind.choice:
        assert row.choice is not None
        return dice.choice(list(row.choice))
    if row.kind is Kind.text:
        return dice.choice([None, "", "some text"])
    if row.kind in (Kind.names, Kind.records):
        return ()
    low = row.minimum or 0
    high = max(low, min(row.maximum or 1, LARGEST_NUMBER.get(row.unit, 64)))
    value = dice.choice([low, high, dice.uniform(low, high)])
    if row.kind is Kind.integer:
        value = int(value)
        return value if dice.errs(0.1) else value // row.multiple * row.multiple
    return value


def _picture(dice: _Sloppy, batch: int) -> np.ndarray:
    height, width = dice.choice(SIDES), dice.choice(SIDES)
    values = np.random.default_rng(dice.randrange(2**32)).random((batch, height, width, dice.choice([1, 3, 3, 3, 4])), np.float32)
    if values.shape[3] == 4 and dice.random() < 0.6:
        values[..., 3] = np.round(values[..., 3] + dice.choice([-0.6, 0.0, 0.6]))  # opaque, transparent, or holes
    if dice.errs(0.1):
        values[0, 0, 0, 0] = dice.choice([np.nan, np.inf, 1e30])
    return values


def _masks(dice: _Sloppy) -> np.ndarray:
    return (_picture(dice, dice.choice([1, 1, 2]))[..., 0] > dice.choice([-1.0, 2.0, dice.random()])).astype(np.float32)


def _loras(dice: _Sloppy, files: Sequence[str]) -> tuple[LoRA, ...]:
    count = dice.choice([0, 0, 1, 2]) if files else 0
    return tuple(LoRA(file=dice.choice(files), weight=_value(LORA["weight"], dice), mode=dice.randrange(3)) for _ in range(count))


def _hints(dice: _Sloppy, files: Sequence[str]) -> tuple[HintInput, ...]:
    hints = []
    for _ in range(dice.choice([0, 0, 1, 2])):
        record, kind = None, dice.choice([*ControlInputType, *[ControlInputType.pose] * 6])
        if dice.random() < 0.8 and files:
            record = {"file": dice.choice(files), "weight": _value(CONTROL["weight"], dice)}
            record["input_override"] = dice.choice([kind, kind, dice.choice(list(ControlInputType))])
            for name in dice.sample(["guidance_start", "guidance_end", "down_sampling_rate", "control_mode", "no_prompt"], 2):
                record[name] = _value(CONTROL[name], dice)
        picture = _picture(dice, dice.choice([1, 1, 2, 3])) if dice.random() < 0.8 else None
        hints.append(HintInput(kind, picture, Control(record) if record else None))
    return tuple(hints)


def _map(dice: _Sloppy, kind: str, size: tuple[int, ...]) -> np.ndarray:
    """A hint's tensor: of the run's size and of the type and channels that a server takes, or not."""
    height, width = (64, 128) if dice.errs(0.3) else size[:2]
    channels = dice.choice([1, 3]) if dice.errs(0.3) else CHANNELS.get(kind, 3)
    return np.zeros((1, height, width, channels), np.float32 if dice.errs(0.3) else np.float16)


def _unchecked(configuration: Configuration, dice: _Sloppy) -> Configuration:
    """The same with some values that no check of ours has seen, as they would come from a buffer."""
    packed = wire.GenerationConfigurationT.InitFromPackedBuf(flatbuffer.pack(configuration), 0)
    for name in dice.sample(sorted(CONFIGURATION), dice.choice([0, 1, 2, 4])):
        row = CONFIGURATION[name]
        if row.kind is Kind.number:
            setattr(packed, row.attribute, dice.choice([0.0, -1.0, 0.5, 1.5, 1e9, math.nan, math.inf]))
        elif row.kind is Kind.integer:
            setattr(packed, row.attribute, dice.choice([0, 1, 2, 3]))
        elif row.kind is Kind.choice:
            setattr(packed, row.attribute, dice.randrange(3 if name != "sampler" else 20))
    for name in ("start_width", "start_height", "steps", "batch_size"):
        if dice.random() < 0.1:
            setattr(packed, CONFIGURATION[name].attribute, 0)
    if dice.random() < 0.2:
        packed.strength = dice.choice([-0.1, 1.1, math.nan])
    if dice.random() < 0.2:
        packed.steps = 1
    builder = flatbuffers.Builder(1024)
    builder.Finish(packed.Pack(builder))
    return flatbuffer.unpack(bytes(builder.Output()))
