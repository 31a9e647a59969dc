"""Nothing that would stop a real server leaves our process: random jobs against the simulator's strict mode.

A job is either refused here, by an error of ours, or it runs; the server counts what would have stopped it, and counts none.
DRAWTHINGS_RANDOM_REQUESTS sets how many are tried (a few hundred by default).
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import errors
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, CONTROL, LORA, Control, ControlInputType, Kind, LoRA, Setting
from comfyui_drawthings.drawthings_core.images import Fit
from comfyui_drawthings.drawthings_core.job import HintInput, Job, plan
from comfyui_drawthings.drawthings_core.request import GenerationRequest, Hint
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess

REQUESTS = int(os.environ.get("DRAWTHINGS_RANDOM_REQUESTS", "300"))
OURS = (errors.InvalidInput, errors.BadResult)
"""Refused before it was sent, or a result of none: both are answers, and the server lives."""

NUMBERS = (0, 1, 2, 3, 63, 64, 65, 128, 192, 256, 320, -1, -64, 0.5, 1.0, 1.5, 1e9, float("nan"), float("inf"), "8", None, True)


@pytest.fixture(scope="module")
def strict():
    with SimulatorProcess("--no-tls", "--model-browser", "--strict-keep-running", "--step-seconds", "0", "--picture", "plain") as server:
        yield server


def odd_value(row: Setting, dice: random.Random) -> Any:
    """Mostly in range, often at its ends, sometimes nonsense."""
    if dice.random() < 0.03:
        return dice.choice(NUMBERS)
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
    high = max(low, min(row.maximum or 1, 64 if row.unit != "px" else 320))
    value = dice.choice([low, high, dice.uniform(low, high)])
    if row.kind is Kind.integer:
        value = int(value)
        return value // row.multiple * row.multiple if dice.random() < 0.95 else value
    return value


def picture(dice: random.Random, batch: int = 1, sides: tuple[int, ...] = (1, 7, 64, 100, 128, 200, 256)) -> np.ndarray:
    height, width = dice.choice(sides), dice.choice(sides)
    values = np.random.default_rng(dice.randrange(2**32)).random((batch, height, width, dice.choice([1, 3, 3, 3, 4])), np.float32)
    if values.shape[3] == 4 and dice.random() < 0.6:
        values[..., 3] = np.round(values[..., 3] + dice.choice([-0.6, 0.0, 0.6]))  # opaque, transparent, or holes
    if dice.random() < 0.05:
        values[0, 0, 0, 0] = np.nan
    return values


def of_node(node: str, catalog: Catalog) -> list[str]:
    """The models that a node is for."""
    entries = catalog.entries["model"]
    kinds = {
        "Edit": lambda entry: entry.modifier not in ("none", "inpainting", "depth", "canny", "double"),
        "Video": lambda entry: entry.version.startswith(("wan", "ltx", "svd", "hunyuan")),
        "Upscale": lambda entry: entry.version.startswith(("seedvr2", "v1")),
    }
    return [file for file, entry in entries.items() if kinds.get(node, lambda entry: True)(entry)]


def random_job(dice: random.Random, catalog: Catalog) -> Job:
    node = dice.choice(["Generate", "Generate", "Inpaint", "Edit", "Video", "Upscale"])
    models = list(catalog.entries["model"])
    model = dice.choice(of_node(node, catalog) if dice.random() < 0.9 else models)
    version = catalog.entries["model"][model].version

    def of_family(kind: str) -> list[str]:
        same = [entry.file for entry in catalog.entries[kind].values() if entry.version == version]
        return same if same and dice.random() < 0.97 else list(catalog.entries[kind])

    settings: dict[str, Any] = {
        "start_width": dice.choice([*[128, 192, 256, 320] * 4, 64]),
        "start_height": dice.choice([128, 128, 192, 256]),
        "steps": dice.choice([1, 2, 3, 5, 8]),
        "num_frames": dice.choice([1, 5, 9, 14]),
        "strength": dice.choice([0, 0.001, 0.3, 0.5, 0.99, 1]),
        "sampler": dice.randrange(20),
    }
    for name in dice.sample(sorted(CONFIGURATION), dice.randrange(6)):
        if CONFIGURATION[name].file_kind == "":
            settings[name] = odd_value(CONFIGURATION[name], dice)
    if dice.random() < 0.2:
        settings["upscaler"] = dice.choice(list(catalog.entries["upscaler"]))
    if dice.random() < 0.2:
        same = [file for file in models if catalog.entries["model"][file].version == version]
        settings["refiner_model"] = dice.choice(same if dice.random() < 0.9 else models)
    if dice.random() < 0.2:
        settings["hires_fix"] = True
        settings["hires_fix_start_width"], settings["hires_fix_start_height"] = (
            dice.choice([128, 128, 192, 64]),
            dice.choice([128, 128, 192]),
        )
        settings["hires_fix_strength"] = dice.choice([0.3, 0.7, 0.9, 0.99, 1])
    settings["batch_count"] = 1
    loras = []
    for _ in range(dice.choice([0, 0, 1, 2])):
        loras.append({"file": dice.choice(of_family("LoRA")), "weight": odd_value(LORA["weight"], dice), "mode": dice.randrange(3)})
    hints = []
    for _ in range(dice.choice([0, 0, 1, 2])):
        record, kind = None, dice.choice([*ControlInputType, *[ControlInputType.pose] * 6])
        if dice.random() < 0.8:
            record = {"file": dice.choice(of_family("control")), "weight": odd_value(CONTROL["weight"], dice)}
            record["input_override"] = dice.choice([kind, kind, dice.choice(list(ControlInputType))])
            for name in dice.sample(["guidance_start", "guidance_end", "down_sampling_rate", "control_mode", "no_prompt"], 2):
                record[name] = odd_value(CONTROL[name], dice)
        hints.append((kind, picture(dice, dice.choice([1, 1, 2, 3])) if dice.random() < 0.8 else None, record))
    with_image = dice.random() < 0.6
    several = dice.choice([1, 2, 6]) if node == "Video" else dice.choice([1, 1, 1, 2])
    masks = None
    if node == "Inpaint" or dice.random() < 0.05:
        masks = (picture(dice, dice.choice([1, 1, 2]))[..., 0] > dice.choice([-1.0, 2.0, dice.random()])).astype(np.float32)
    return Job(
        model=model,
        prompt=dice.choice(["", "a cat", "日本 🏰", "x" * 5000, "<" * 50, "<badhandv4> hands" if version == "v1" else "<cat>"]),
        negative_prompt=dice.choice(["", "blurry", "<easynegative>" if version == "v1" or dice.random() < 0.2 else ""]),
        settings={"seed": dice.randrange(2**32), **settings},
        images=picture(dice, several) if with_image or node in ("Inpaint", "Edit", "Upscale") else None,
        masks=masks,
        fit=dice.choice(list(Fit)),
        loras=tuple(LoRA(lora) for lora in loras),
        hints=tuple(HintInput(kind, image, Control(record) if record else None) for kind, image, record in hints),
        references=tuple(picture(dice, dice.choice([1, 2])) for _ in range(dice.choice([0, 1, 3]))) if node == "Edit" else None,
        one_video=node == "Video",
        scale=dice.choice([0, 1, 1.5, 2, 3.3, 4, 0.5]) if node == "Upscale" else None,
    )


def test_random_jobs(strict):
    client = Client(Server(strict.host, strict.port))
    catalog = client.catalog()
    outcomes: Counter[str] = Counter()
    for number in range(REQUESTS):
        dice = random.Random(number)
        try:
            for run in plan(random_job(dice, catalog), catalog).runs():
                if run.request is not None:
                    client.generate(run.request)
            outcomes["ran"] += 1
        except OURS as error:
            if not str(error).endswith((".", "?")):
                pytest.fail(f"job {number}: not a sentence: {error}")
            outcomes[type(error).__name__] += 1
        except errors.DrawThingsError as error:
            pytest.fail(f"job {number}: {type(error).__name__}: {error}\n{strict.state()['trap_reasons']}")
    state = strict.state()
    assert state["traps"] == 0, state["trap_reasons"]
    assert outcomes["ran"] > REQUESTS // 5, outcomes
    client.close()


def test_random_raw_requests(strict):
    """Past the planner: requests as another caller of the client might put them together."""
    client = Client(Server(strict.host, strict.port))
    catalog = client.catalog()
    ran = 0
    for number in range(REQUESTS):
        dice = random.Random(10_000 + number)
        planned = None
        try:
            planned = plan(random_job(dice, catalog), catalog)
            image = mask = None
            if dice.random() < 0.7:
                shape = (dice.choice([1, 1, 2]), dice.choice([64, 128, 96]), dice.choice([64, 128, 192]), dice.choice([3, 3, 3, 1, 4]))
                image = np.zeros(shape, dice.choice([np.float16, np.float16, np.float32, np.uint8]))
            if dice.random() < 0.5:
                size = image.shape[1:3] if image is not None and dice.random() < 0.7 else (dice.choice([64, 128]), dice.choice([64, 128]))
                codes = [code | dice.choice([0, 0, 0x80, 0xF8]) for code in dice.sample([0, 1, 2, 3, 4, 5], dice.choice([1, 2, 3]))]
                mask = np.array(dice.choices(codes, k=size[0] * size[1]), dice.choice([np.uint8, np.uint8, np.uint8, np.float32])).reshape(
                    size
                )
            hints = tuple(
                Hint(
                    kind,
                    tuple(
                        (
                            np.zeros(
                                (1, 64, dice.choice([64, 128]), dice.choice([1, 3, 3])), dice.choice([np.float16, np.float16, np.float32])
                            ),
                            1.0,
                        )
                        for _ in range(dice.choice([0, 1, 1, 2]))
                    ),
                )
                for kind in dice.sample(["depth", "custom", "shuffle", "pose", "scribble", "color", "audio", "canny"], dice.randrange(3))
            )
            request = GenerationRequest(planned.configuration, "x", "", image, mask, hints, dice.choice([1, 1, 1, 2, 0, -1]))
            client.generate(request)
            ran += 1
        except OURS:
            continue
    assert strict.state()["traps"] == 0, strict.state()["trap_reasons"]
    assert ran > 0
    client.close()
