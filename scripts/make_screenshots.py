#!/usr/bin/env python3
"""Take the screenshots of the README and the help pages anew: ComfyUI's page with this package in a real browser, the simulator behind it.

    PYTHON scripts/make_screenshots.py           # all
    PYTHON scripts/make_screenshots.py lists     # some

PYTHON is the tests' own (scripts/test.py makes that environment), and Chromium has to be there: see tests/browser/README.md. Look at what it made before you
commit it.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import _frontends
from browser import conftest as browsers
from browser import hosts, page
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess  # pyright: ignore[reportMissingImports]
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
HELP = ROOT / "web" / "docs" / "pictures"
FRONTEND = _frontends.VERSIONS[-1]
RENDERING = "nodes2"
COLOURS = 200
LARGEST = 150_000
"""Bytes."""
AROUND = 24
"""Pixels around what a picture is about."""

Taker = Callable[[page.ComfyPage, SimulatorProcess], list[float]]
"""Brings the page to where it is worth a picture, and gives what to cut out: left, top, right, bottom on the screen."""
_takers: dict[str, tuple[tuple[Path, ...], Taker]] = {}


def picture(*files: Path) -> Callable[[Taker], Taker]:
    def registered(take: Taker) -> Taker:
        _takers[take.__name__] = (files, take)
        return take

    return registered


@picture(DOCS / "inpaint_graph.png", HELP / "inpaint_run.png")
def inpaint(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("inpaint", simulator), ("SaveImage",))


@picture(DOCS / "text_to_image_graph.png")
def text_to_image(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("text_to_image", simulator), ("SaveImage",))


@picture(HELP / "server_pool_run.png")
def server_pool(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("server_pool", simulator), ("SaveImage",))


@picture(DOCS / "lists.png", HELP / "lora_list.png")
def lists(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """A list that is open, with what is for another family."""
    comfy.open(page.example("lora_stack", simulator))
    comfy.fit()
    stack = comfy.node("DrawThingsLoRAStack")
    connected(comfy)
    comfy.until("id => drawThingsTest.choices(id, 'lora_3').length > 10", stack.id)
    stack.element.get_by_role("combobox").nth(4).click()
    opened = comfy.page.get_by_role("listbox").last
    opened.wait_for()
    comfy.page.wait_for_timeout(400)  # it unfolds
    return around(comfy, stack.element, opened)


@picture(DOCS / "progress.png", HELP / "generate_running.png")
def progress(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """A run with its preview, its step and the time left."""
    comfy.open(page.example("text_to_image", simulator, seed=4711))
    comfy.fit()
    connected(comfy)
    simulator.set("step_seconds", 0.5)
    comfy.queue()
    generate = comfy.node("DrawThingsGenerate")
    comfy.until("id => drawThingsTest.pictures(id) > 0 && /Step [89] of/.test(drawThingsTest.element(id).innerText)", generate.id)
    return around(comfy, generate.element)


@picture(DOCS / "sidebar.png", HELP / "saved_server.png")
def sidebar(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """A saved server, tested, and the Load Server that uses it."""
    comfy.open(page.example("text_to_image", simulator))
    comfy.js(
        """async (body) => {
          const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
          await drawThingsTest.api.fetchApi("/drawthings/servers/save", options)
        }""",
        {"name": "Studio", "host": simulator.host, "port": simulator.port, "tls": "auto"},
    )
    comfy.command("Workspace.ToggleSidebarTab.drawthings-servers")
    panel = comfy.page.locator(".drawthings.panel")
    panel.get_by_role("button", name="Use: Studio").click()
    panel.get_by_role("button", name="Test: Studio").click()
    panel.get_by_text("Model browser on.").wait_for()
    comfy.fit()
    connected(comfy)
    comfy.page.wait_for_timeout(5000)  # the toast goes
    left, top, _, _ = around(comfy, panel)
    _, _, right, bottom = around(comfy, comfy.node("DrawThingsLoadServer").element)
    return [max(0, left), max(0, top), right, bottom]


@picture(DOCS / "error.png")
def error(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """What is said when a run fails."""
    comfy.open(page.example("text_to_image", simulator, model="flux_1_dev.ckpt"))
    comfy.fit()
    connected(comfy)
    comfy.run()
    notice = comfy.page.locator(".drawthings-notice")
    notice.wait_for()
    comfy.page.wait_for_timeout(6000)  # ComfyUI's own toast goes
    return around(comfy, comfy.node("DrawThingsGenerate").element, notice)


def ran(comfy: page.ComfyPage, workflow: dict[str, Any], pictured: tuple[str, ...]) -> list[float]:
    """A whole graph after a run."""
    comfy.open(workflow)
    comfy.fit()
    connected(comfy)
    run = comfy.run()
    assert run.outcome == "success", run.detail
    for kind in pictured:
        comfy.until("id => drawThingsTest.pictures(id) > 0", comfy.node(kind).id)
    comfy.fit()
    return around(comfy, *(node.element for node in comfy.nodes()))


def connected(comfy: page.ComfyPage) -> None:
    """Wait until every Load Server says so."""
    states = "[...document.querySelectorAll('[role=status][data-state]')]"
    comfy.until(f"() => {states}.length && {states}.every((one) => one.dataset.state === 'good')")


def around(comfy: page.ComfyPage, *elements: Any) -> list[float]:
    """What holds all of these on the screen, with some room."""
    boxes = [box for element in elements if (box := element.bounding_box())]
    return [
        max(0, min(box["x"] for box in boxes) - AROUND),
        max(0, min(box["y"] for box in boxes) - AROUND),
        min(page.SIZE["width"], max(box["x"] + box["width"] for box in boxes) + AROUND),
        min(page.SIZE["height"], max(box["y"] + box["height"] for box in boxes) + AROUND),
    ]


def keep(image: Image.Image, files: tuple[Path, ...]) -> None:
    """As a PNG of few colours, which screenshots have. Raises ValueError for one that is too large."""
    image = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    for file in files:
        image.save(file, optimize=True)
        size = file.stat().st_size
        print(f"{file.relative_to(ROOT)}: {image.width} x {image.height}, {size // 1000} KB")
        if size > LARGEST:
            raise ValueError(f"{file.name} is larger than {LARGEST // 1000} KB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*_takers, []], help=f"of {', '.join(_takers)}")
    names = parser.parse_args().names or list(_takers)
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, browsers.CHROMIUM)), None)
    frontend = _frontends.found(FRONTEND)
    if chromium is None or frontend is None:
        print(f"Needs Chromium and ComfyUI's frontend {FRONTEND}: python3 scripts/test.py fetches the second.", file=sys.stderr)
        return 1
    flags = ("--no-tls", "--model-browser", "--step-seconds", "0")
    with tempfile.TemporaryDirectory() as scratch, SimulatorProcess(*flags) as simulator, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=browsers.FLAGS)
        host = hosts.host(Path(scratch) / "base", frontend)
        host.start()
        try:
            comfy = page.ComfyPage(browser, host, FRONTEND, RENDERING)
            for name in names:
                files, take = _takers[name]
                comfy.clear()
                simulator.set("step_seconds", 0)
                box = take(comfy, simulator)
                keep(
                    Image.open(io.BytesIO(comfy.page.screenshot())).crop((round(box[0]), round(box[1]), round(box[2]), round(box[3]))),
                    files,
                )
            comfy.close()
        finally:
            host.stop()
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
