"""Anything at any input of any node: a result, or a sentence of ours that names the input. Links deliver what other packages make, and
workflows are edited by hand.

The table is made of the nodes' own INPUT_TYPES: a new node is in it by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import metadata, xmp
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, Configuration, Control, ControlInputType, LoRA, Options
from comfyui_drawthings.drawthings_core.errors import DrawThingsError, InvalidImage, ServerFailed
from comfyui_drawthings.drawthings_core.hint_inputs import HintInput
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, boundary, generate
from comfyui_drawthings.runner import stand_ins
from comfyui_drawthings.runner.inputs import InputSpec, input_specs
from PIL import Image
from PIL.PngImagePlugin import PngInfo

PICTURE = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
PLANES = "".join(chr(plane << 16 | code) for plane in range(17) for code in (0x41, 0x3042, 0xFFFD)) + "\0\x1b\u202e\ufeff"
"""Characters of every Unicode plane, and some that terminals and parsers stumble over."""
SURROGATE = "a \ud83d cat"
MEGABYTE = "all work and no play " * 50_000
DEEP = json.loads("[" * 200 + "]" * 200)


class Strange:
    """An object of another package, which does not even like to be looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __eq__ = __bool__ = __len__ = __str__  # type: ignore[assignment]
    __hash__ = object.__hash__


ANYTHING: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "true": lambda: True,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "large": lambda: 2**31,
    "huge": lambda: 10**400,
    "fraction": lambda: 0.3333,
    "nan": lambda: math.nan,
    "infinity": lambda: math.inf,
    "empty text": lambda: "",
    "number as text": lambda: "7",
    "unknown word": lambda: "no such thing",
    "every plane": lambda: PLANES,
    "lone surrogate": lambda: SURROGATE,
    "a megabyte": lambda: MEGABYTE,
    "bytes": lambda: b"\xff\0",
    "empty list": list,
    "nested list": lambda: [1, ["2", [None]]],
    "deep list": lambda: DEEP,
    "object": lambda: {"a": {"b": []}},
    "set": lambda: {1},
    "decimal": lambda: Decimal("1"),
    "complex": lambda: 1j,
    "numpy number": lambda: np.float32(2),
    "array": lambda: np.zeros((1, 64, 64, 3), np.float32),
    "class": lambda: int,
    "strange object": Strange,
    "list of strange objects": lambda: [Strange()],
    "picture": lambda: PICTURE,
    "latent": lambda: {"samples": torch.zeros(1, 4, 8, 8)},
    "server": lambda: Server("127.0.0.1", 1),
}


def shaped(*sides: int, dtype: Any = torch.float32) -> Callable[[], torch.Tensor]:
    return lambda: torch.zeros(sides, dtype=dtype)


def spoilt(value: float) -> Callable[[], torch.Tensor]:
    def make() -> torch.Tensor:
        picture = PICTURE.clone()
        picture[0, 3, 5] = value
        return picture

    return make


TENSORS: dict[str, Callable[[], Any]] = {
    **{f"rank {rank}": shaped(*[1, 64, 64, 3, 1, 1][:rank]) for rank in (0, 1, 2, 3, 5, 6)},
    **{f"{channels} channels": shaped(1, 64, 64, channels) for channels in (0, 1, 2, 4, 5, 64)},
    "empty batch": shaped(0, 64, 64, 3),
    "empty mask batch": shaped(0, 64, 64),
    "no height": shaped(1, 0, 64, 3),
    "no width": shaped(1, 64, 0, 3),
    "one pixel": shaped(1, 1, 1, 3),
    "one pixel of mask": shaped(1, 1, 1),
    "a line": shaped(1, 1, 3000, 3),
    "channels first": shaped(1, 3, 64, 64),
    "transparent": shaped(1, 64, 64, 4),
    "batch of three": shaped(3, 64, 64, 3),
    **{
        str(dtype).removeprefix("torch."): shaped(1, 64, 64, 3, dtype=dtype)
        for dtype in vars(torch).values()
        if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits"))
    },
    "not a number": spoilt(math.nan),
    "endless": spoilt(math.inf),
    "out of range": spoilt(-1e30),
    "with a gradient": lambda: PICTURE.clone().requires_grad_(),
    "strided": lambda: PICTURE.expand(2, 64, 64, 3)[:, ::2].transpose(1, 2),
    "sparse": lambda: PICTURE.to_sparse(),
    "without memory": lambda: torch.zeros(1, 64, 64, 3, device="meta"),
    "quantized": lambda: torch.quantize_per_tensor(PICTURE, 0.1, 0, torch.quint8),
    "conjugated": lambda: torch.zeros(1, 64, 64, 3, dtype=torch.complex64).conj(),
}

PARTS: dict[str, dict[str, Callable[[], Any]]] = {
    "DT_OPTIONS": {
        "unknown name": lambda: {"no such setting": 1},
        "wrong value": lambda: {"steps": "many"},
        "names that are no text": lambda: {1: 2, None: 3},
        "deep value": lambda: {"loras": DEEP},
        "surrogate": lambda: {"model": SURROGATE},
    },
    "DT_LORAS": {"as objects": lambda: [{"file": "a.ckpt"}], "one without a list": lambda: LoRA(file="a.ckpt"), "hints": lambda: HINTS},
    "DT_HINTS": {"loras": lambda: LORAS, "nested": lambda: [HINTS]},
}
LORAS = (LoRA(file="add_detail_lora_f16.ckpt", weight=0),)
HINTS = (HintInput(ControlInputType.depth, PICTURE.numpy(), Control(file="controlnet_depth_1.x_v1.1_f16.ckpt", weight=0)),)

GOOD: dict[str, Any] = {
    "IMAGE": PICTURE,
    "MASK": PICTURE[..., 0],
    "DT_OPTIONS": Options({"steps": 2}),
    "DT_LORAS": LORAS,
    "DT_HINTS": (),
}
"""By kind of socket."""
GOOD_NAMED: dict[str, Any] = {
    "model": "sd_v1.5_f16.ckpt",
    "width": 128,
    "height": 128,
    "num_frames": 3,
    "steps": 2,
    "upscaler": "realesrgan_x2plus_f16.ckpt",
    "control": "controlnet_depth_1.x_v1.1_f16.ckpt",
    "json": '{"steps": 3}',
    "files": "sd_v1.5_f16.ckpt",
    "tls": "plain",
    "info": "",
}
"""By name; what is in neither has its default."""
OF_NODE: dict[str, dict[str, Any]] = {
    "DrawThingsVideo": {"model": "wan_v2.1_1.3b_480p_f16.ckpt"},
    "DrawThingsEdit": {"model": "qwen_image_edit_2509_q6p.ckpt"},
    "DrawThingsLoadImage": {"image": "picture.png"},
}


EVERYTHING = bool(os.environ.get("DRAWTHINGS_SLOW_TESTS"))
SHARE = 9
"""Of the values, one in so many is tried at each input, others at the next one; all with DRAWTHINGS_SLOW_TESTS."""


def values_for(spec: InputSpec, number: int) -> dict[str, Callable[[], Any]]:
    """What is tried at an input, by name. number: of the input among all."""
    values = {**ANYTHING, **(TENSORS if spec.kind in ("IMAGE", "MASK") else {}), **PARTS.get(spec.kind, {})}
    return {what: make for place, (what, make) in enumerate(values.items()) if EVERYTHING or (place + number) % SHARE == 0}


CASES = [
    (number, node, name)
    for number, (node, name) in enumerate((node, name) for node, made in NODE_CLASS_MAPPINGS.items() for name in input_specs(made))
]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "small.ckpt").write_bytes(b"SQLite format 3\0" + bytes(1000))
    monkeypatch.setenv("DRAWTHINGS_UPLOADS", str(tmp_path / "uploads"))
    chunks = PngInfo()
    chunks.add_itxt(xmp.PNG_KEYWORD, metadata.packet(metadata.PictureSettings("a cat", "", Configuration(model="a.ckpt"))))
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png", pnginfo=chunks)
    with stand_ins.in_use(stand_ins.Folders((tmp_path,), tmp_path / "out")):
        yield


def good_inputs(node: str, simulator: Any) -> dict[str, Any]:
    found = {}
    for name, spec in input_specs(NODE_CLASS_MAPPINGS[node]).items():
        kinds = {**GOOD, "DT_SERVER": Server(simulator.host, simulator.port)}
        if name == "file":
            found[name] = spec.choices[-1]  # of this machine
            continue
        named = {**GOOD_NAMED, "host": simulator.host, "port": simulator.port, **OF_NODE.get(node, {})}
        found[name] = named[name] if name in named else kinds.get(spec.kind, spec.default)
    return found


def called(node: str, inputs: dict[str, Any]) -> Any:
    """As ComfyUI and the runner call it."""
    made = NODE_CLASS_MAPPINGS[node]()

    async def run() -> Any:
        result = getattr(made, made.FUNCTION)(**inputs)
        return await result if inspect.isawaitable(result) else result

    with torch.inference_mode():
        return asyncio.run(run())


def test_good_inputs_are_good(simulator):
    """Otherwise the table would show nothing."""
    for node in NODE_CLASS_MAPPINGS:
        called(node, good_inputs(node, simulator))


@pytest.mark.parametrize(("number", "node", "name"), CASES)
def test_anything_at_any_input(number, node, name, simulator):
    spec = input_specs(NODE_CLASS_MAPPINGS[node])[name]
    inputs = good_inputs(node, simulator)
    simulator.set_fault("error_status", "INTERNAL")  # what is sent to be generated is fit for that
    wrong = []
    for what, make in values_for(spec, number).items():
        try:
            called(node, {**inputs, name: make()})
        except ServerFailed:
            pass
        except DrawThingsError as error:
            if not is_about(spec, str(error)):
                wrong.append(f"{what}: does not name {name}: {error}")
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    assert wrong == []


class Hungry:
    """A node, and one that waits, whose pictures take an exabyte."""

    FUNCTION = "run"

    def run(self):
        return np.empty(1 << 60, np.uint8)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}


class HungryLater(Hungry):
    async def run(self):  # type: ignore[override]
        return np.empty(1 << 60, np.uint8)


@pytest.mark.parametrize("made", [Hungry, HungryLater])
def test_memory_that_runs_out_is_a_sentence(made):
    boundary.guard(made)
    with pytest.raises(InvalidImage, match="do not fit into the memory of this machine"):
        asyncio.run(made().run()) if made is HungryLater else made().run()


LARGE = 16_384
LARGE_CASES = [
    (node, name)
    for _, node, name in CASES
    for specs in [input_specs(NODE_CLASS_MAPPINGS[node])]
    if specs[name].kind in ("IMAGE", "MASK") and "server" in specs
]


@pytest.mark.skipif(not EVERYTHING, reason="takes minutes, and 4 GB of memory")
@pytest.mark.parametrize(("node", "name"), LARGE_CASES)
def test_a_picture_of_16384_pixels_a_side(node, name, simulator):
    """As float32 it is 3.2 GB: scaled, or refused in a sentence, and the server goes on."""
    spec = input_specs(NODE_CLASS_MAPPINGS[node])[name]
    large = torch.zeros((1, LARGE, LARGE, 3)[: 4 if spec.kind == "IMAGE" else 3])
    sentence = ""
    try:
        called(node, {**good_inputs(node, simulator), name: large})
    except DrawThingsError as error:
        sentence = str(error)
    assert not sentence or is_about(spec, sentence)
    state = simulator.state()
    assert (state["traps"], state["running"], state["queued"]) == (0, 0, 0)


def is_about(spec: InputSpec, sentence: str) -> bool:
    """Whether an error's sentence lets a user find the input."""
    base = spec.name.removesuffix("_file")
    labels = {row.label for row in CONFIGURATION.values() if row.input_name == base}
    labels |= {CONFIGURATION[generate.FIELDS[spec.name]].label} if spec.name in generate.FIELDS else set()
    kind = base.replace("_", " ")
    words = {spec.name, kind, kind.split()[-1].rstrip("s"), "picture" if "image" in kind else kind, *labels}
    return sentence.endswith((".", "?")) and len(sentence) < 1000 and any(word.casefold() in sentence.casefold() for word in words)
