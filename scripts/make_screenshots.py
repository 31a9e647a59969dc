#!/usr/bin/env python3
"""Take the screenshots of the README and the help pages anew: ComfyUI's page with this package in a real browser, the simulator behind it.

    PYTHON scripts/make_screenshots.py           # all
    PYTHON scripts/make_screenshots.py lists     # some

PYTHON is the tests' own (scripts/test.py makes that environment), and Chromium has to be there: see tests/browser/README.md. Look at what it made before you
commit it.
"""

# pyright: reportMissingImports=false

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
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
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
ROOM_FOR_NOTICE = 50
"""Pixels below the nodes."""
AROUND = 24
"""Pixels around what a picture is about."""

Taker = Callable[[page.ComfyPage, SimulatorProcess], list[float]]
"""Brings the page to where it is worth a picture, and gives what to cut out: left, top, right, bottom on the screen."""
_takers: dict[str, tuple[Path, Taker]] = {}


def picture(file: Path) -> Callable[[Taker], Taker]:
    def registered(take: Taker) -> Taker:
        _takers[take.__name__] = (file, take)
        return take

    return registered


@picture(HELP / "inpaint_run.png")
def inpaint(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("inpaint", simulator), ("SaveImage",))


@picture(DOCS / "text_to_image_graph.png")
def text_to_image(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("text_to_image", simulator), ("SaveImage",))


@picture(HELP / "server_pool_run.png")
def server_pool(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    return ran(comfy, page.example("server_pool", simulator), ("SaveImage",))


@picture(HELP / "lora_list.png")
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
    return around(stack.element, opened)


@picture(HELP / "generate_running.png")
def progress(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """A run with its preview, its step and the time left."""
    comfy.open(page.example("text_to_image", simulator, seed=4711))
    comfy.fit()
    connected(comfy)
    simulator.set("step_seconds", 0.5)
    comfy.queue()
    generate = comfy.node("DrawThingsGenerate")
    comfy.until("id => drawThingsTest.pictures(id) > 0 && /Step [6-9] of/.test(drawThingsTest.element(id).innerText)", generate.id)
    comfy.fit()  # the preview has made it higher
    still(comfy, generate.element)
    return around(generate.element)


@picture(HELP / "saved_server.png")
def sidebar(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """A saved server that was tested."""
    comfy.js(
        """async (body) => {
          const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
          await drawThingsTest.api.fetchApi("/drawthings/servers/save", options)
        }""",
        {"name": "Studio", "host": simulator.host, "port": simulator.port, "tls": "auto"},
    )
    comfy.command("Workspace.ToggleSidebarTab.drawthings-servers")
    panel = comfy.page.locator(".drawthings.panel")
    panel.get_by_role("button", name="Test: Studio").click()
    panel.get_by_text("Model browser on.").wait_for()
    return around(panel.get_by_role("heading", name="Draw Things servers"), panel.locator(".card"), room=10)


@picture(DOCS / "error.png")
def error(comfy: page.ComfyPage, simulator: SimulatorProcess) -> list[float]:
    """What is said of a run that failed."""
    comfy.open(page.example("text_to_image", simulator, model="flux_1_dev.ckpt"))
    comfy.page.set_viewport_size({**page.SIZE, "height": page.SIZE["height"] - ROOM_FOR_NOTICE})
    comfy.fit()
    comfy.page.set_viewport_size(page.SIZE)
    connected(comfy)
    comfy.run()
    notice = comfy.page.locator(".drawthings-notice")
    notice.wait_for()
    comfy.page.wait_for_timeout(6000)  # ComfyUI's own toast goes
    return around(comfy.node("DrawThingsGenerate").element, notice)


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
    left, top, right, bottom = around(*(node.element for node in comfy.nodes()))
    return [left, top, right, min(bottom + AROUND, page.SIZE["height"])]  # groups reach further down


def connected(comfy: page.ComfyPage) -> None:
    """Wait until every Load Server says so."""
    states = "[...document.querySelectorAll('[role=status][data-state]')]"
    comfy.until(f"() => {states}.length && {states}.every((one) => one.dataset.state === 'good')")


def still(comfy: page.ComfyPage, element: Any) -> None:
    """Wait until it has come to rest on the screen."""
    before = None
    while before != (before := element.bounding_box()):
        comfy.page.wait_for_timeout(100)


def around(*elements: Any, room: float = AROUND) -> list[float]:
    """What holds all of these on the screen, with some room."""
    boxes = [box for element in elements if (box := element.bounding_box())]
    return [
        max(0, min(box["x"] for box in boxes) - room),
        max(0, min(box["y"] for box in boxes) - room),
        min(page.SIZE["width"], max(box["x"] + box["width"] for box in boxes) + room),
        min(page.SIZE["height"], max(box["y"] + box["height"] for box in boxes) + room),
    ]


def keep(image: Image.Image, file: Path) -> None:
    """As a PNG of few colours, which screenshots have. Raises ValueError for one that is too large."""
    image = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
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
            comfy = page.ComfyPage(page.context(browser, host), host, FRONTEND, RENDERING)
            comfy.setting("Comfy.Minimap.Visible", False)
            for name in names:
                file, take = _takers[name]
                comfy.clear()
                simulator.set("step_seconds", 0)
                left, top, right, bottom = map(round, take(comfy, simulator))
                comfy.page.mouse.move(0, page.SIZE["height"] - 1)  # no tooltip
                keep(Image.open(io.BytesIO(comfy.page.screenshot())).crop((left, top, right, bottom)), file)
            comfy.close()
        finally:
            host.stop()
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
