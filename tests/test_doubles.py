"""Which LoRAs and controls act twice: the rows of a small catalogue, against the plan of a job."""

from __future__ import annotations

import numpy as np
import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core.configuration import Control, ControlInputType, LoRA
from comfyui_drawthings.drawthings_core.hint_inputs import HintInput
from comfyui_drawthings.drawthings_core.job import Job, plan

MODEL, ADAPTER, UNION, OTHER = "sd.ckpt", "adapter.ckpt", "union.ckpt", "not on the server.ckpt"
SHELF = catalog(
    models=[model(MODEL, "v1"), model("refiner.ckpt", "v1")],
    controlNets=[
        {"name": "Adapter", "file": ADAPTER, "version": "v1", "type": "ipadapterplus", "modifier": "shuffle"},
        {"name": "Union", "file": UNION, "version": "v1", "type": "controlnetunion"},
    ],
)
PICTURE = np.zeros((1, 64, 64, 3), np.float32)


def twice(**job) -> list[str]:
    return [note for note in plan(Job(model=MODEL, **job), SHELF).notes if "is there" in note]


def lora(mode="All", weight=0.5, file="a.ckpt"):
    return LoRA(file=file, mode=mode, weight=weight)


@pytest.mark.parametrize(
    ("loras", "refiner", "doubled"),
    [
        ([lora(), lora()], None, True),
        ([lora(weight=0.2), lora(weight=0.9)], None, True),
        ([lora(), lora(weight=0)], None, False),
        ([lora(), lora(file="b.ckpt")], None, False),
        ([lora("Base"), lora("Refiner")], None, True),
        ([lora("Base"), lora("Refiner")], "refiner.ckpt", False),
        ([lora("Base"), lora("Base")], "refiner.ckpt", True),
        ([lora("Base"), lora("All")], "refiner.ckpt", True),
    ],
)
def test_loras(loras, refiner, doubled):
    """Modes count with a refiner only."""
    words = "a.ckpt is there twice, in LoRA Stack, so it counts twice: remove one."
    assert twice(loras=tuple(loras), options={"refiner_model": refiner}) == [words] * doubled


def control(file=UNION, kind=ControlInputType.canny, **more):
    return Control(file=file, input_override=kind, **more)


@pytest.mark.parametrize(
    ("first", "second", "doubled"),
    [
        (control(), control(), True),
        (control(), control(weight=0.2), True),
        (control(), control(weight=0), False),
        (control(), control(kind=ControlInputType.tile), False),
        (control(guidance_end=0.5), control(guidance_start=0.5), False),
        (control(guidance_end=0.6), control(guidance_start=0.5), True),
        (control(target_blocks=["a"]), control(target_blocks=["b"]), False),
        (control(target_blocks=["a"]), control(target_blocks=["b", "a"]), True),
        (control(target_blocks=["a"]), control(), True),
        (control(ADAPTER, ControlInputType.shuffle), control(ADAPTER, ControlInputType.custom), True),
        (control(OTHER), control(OTHER), True),
        (control(OTHER), control(OTHER, ControlInputType.tile), False),
    ],
)
def test_controls(first, second, doubled):
    """A union control may follow two maps; of a control that is not listed its own hint type is all that is known."""
    hints = HintInput(ControlInputType.canny, PICTURE), HintInput(ControlInputType.shuffle, PICTURE, second)
    words = f"{first['file']} is there twice, in the options and the hints, so it counts twice: remove one."
    assert twice(options={"controls": (first,)}, hints=hints) == [words] * doubled


def test_two_moodboards_with_one_adapter():
    adapter = control(ADAPTER, ControlInputType.shuffle)
    boards = (HintInput(ControlInputType.shuffle, PICTURE, adapter),) * 3
    (note,) = twice(hints=boards)
    assert note == "adapter.ckpt is there 3 times, in the hints, so it counts 3 times: remove all but one."
    assert twice(hints=(boards[0], HintInput(ControlInputType.shuffle, PICTURE))) == []
    nothing_to_follow = (HintInput(ControlInputType.shuffle, control=adapter),) * 2
    assert twice(hints=nothing_to_follow) == []
