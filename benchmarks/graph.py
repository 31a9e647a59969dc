"""A simulator to measure against, a host of its own (the profile folder), and a graph of our nodes on it."""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from comfyui_drawthings import NODE_CLASS_MAPPINGS
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess

MODEL = "sd_xl_base_1.0_f16.ckpt"
STEPS = 20

_prompt_worker = ThreadPoolExecutor(1)


def simulator(*flags: str) -> SimulatorProcess:
    """One that computes nothing."""
    return SimulatorProcess("--model-browser", "--step-seconds", "0", "--picture", "prepared", *flags)


def node(name: str, **inputs: Any) -> tuple[Any, ...]:
    """What ComfyUI does to run a node, DrawThings<name>: defaults for the widgets, its thread for prompts, and a new event loop."""
    kind = NODE_CLASS_MAPPINGS[f"DrawThings{name}"]
    return _prompt_worker.submit(_run, getattr(kind(), kind.FUNCTION), _defaults(kind, inputs)).result()


def _run(function: Callable[..., Any], inputs: dict[str, Any]) -> tuple[Any, ...]:
    outputs = function(**inputs)
    return asyncio.run(outputs) if inspect.iscoroutine(outputs) else outputs


def load_server(host: str, port: int, tls: str = "auto") -> Any:
    return node("LoadServer", host=host, port=port, tls=tls)[0]


def text_to_image(server: Any, size: int, seed: int = 0, options: Any = None, model: str = MODEL) -> Any:
    """The images of Generate: a torch tensor."""
    wanted = {"width": size, "height": size, "seed": seed, "steps": STEPS, "options": options, "model": model}
    return node("Generate", server=server, prompt="a lighthouse", **wanted)[0]


def _defaults(kind: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs, and the defaults of required widgets that are not among them."""
    wanted = {}
    for name, (type_, *options) in kind.INPUT_TYPES()["required"].items():
        if name in inputs or not options:
            continue
        if "default" in options[0] or isinstance(type_, list):
            wanted[name] = options[0].get("default", type_[0] if isinstance(type_, list) else None)
    return {**wanted, **inputs}
