"""Configurations are pasted into a graph and copied from it, and pictures of Draw Things dropped on it."""

from __future__ import annotations

import base64
import io
import itertools
import json

import pytest
from comfyui_drawthings.drawthings_core import metadata, xmp
from comfyui_drawthings.drawthings_core.configuration import Configuration, app_json
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .page import example

CONFIGURATION = Configuration(
    model="sd_xl_base_1.0_f16.ckpt", start_width=896, start_height=640, seed=77, steps=23, guidance_scale=6.25, sharpness=2.5, sampler="DDIM",
    tiled_decoding=True, decoding_tile_width=512, loras=[{"file": f"{name}.ckpt", "weight": 0.45} for name in "abcdefg"],
    controls=[{"file": "canny.ckpt", "input_override": "canny", "weight": 0.5}],
)  # fmt: skip
TEXT = app_json.dumps(CONFIGURATION)


def paste(comfy, text):
    comfy.js("text => navigator.clipboard.writeText(text)", text)
    with comfy.page.expect_response("**/drawthings/paste"):
        comfy.command("DrawThings.PasteConfiguration")
    comfy.settle()
    comfy.page.wait_for_timeout(500)  # the change ends when the nodes have found their sizes


def apart(a, b):
    return a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]


def test_a_configuration_is_pasted_once_copied_and_undone(comfy, simulator):
    if not comfy.draws_all:
        pytest.skip("the Nodes 2.0 of this frontend is a first attempt: one undo does not bring the nodes back there")
    comfy.open(example("text_to_image", simulator, seed=7))
    before = comfy.saved()
    paste(comfy, TEXT)
    comfy.fit()
    comfy.shot("paste")
    generate = comfy.node("DrawThingsGenerate")
    assert (generate.value("guidance"), generate.value("seed"), generate.value("sampler")) == (6.25, 77, "DDIM")
    kinds = [node["type"] for node in comfy.saved()["nodes"]]
    assert kinds.count("DrawThingsLoRAStack") == 2
    assert {"DrawThingsSamplingOptions", "DrawThingsTilingOptions", "DrawThingsControlNetHint"} <= set(kinds)
    boxes = {str(node.id): node.box for node in comfy.nodes()}
    assert all(apart(one, other) for one, other in itertools.combinations(boxes.values(), 2))
    links = [(boxes[str(link[1])], boxes[str(link[3])]) for link in comfy.saved()["links"]]
    assert all(source[0] + source[2] < target[0] for source, target in links), "links run from left to right"
    paste(comfy, TEXT)
    assert [node["type"] for node in comfy.saved()["nodes"]] == kinds, "pasted twice, nothing doubles"
    comfy.until("() => drawThingsTest.toasts().filter((one) => one.includes('Configuration pasted')).length === 1")  # not one for each
    comfy.command("DrawThings.CopyConfiguration")
    comfy.until("async text => (await navigator.clipboard.readText()) !== text", TEXT)
    copied = app_json.read(comfy.js("() => navigator.clipboard.readText()")).configuration()
    assert copied == CONFIGURATION.updated(mask_blur=copied["mask_blur"])  # which nothing reads without a mask
    comfy.page.mouse.click(1000, 900)
    comfy.page.keyboard.press("Control+z")
    comfy.until("count => drawThingsTest.graph().nodes.length === count", len(before["nodes"]))
    assert comfy.node("DrawThingsGenerate").value("steps") == 20


def picture(workflow=None):
    info = PngInfo()
    info.add_itxt(xmp.PNG_KEYWORD, metadata.packet(metadata.PictureSettings("a fox", "a dog", CONFIGURATION)))
    if workflow:
        info.add_text("workflow", json.dumps(workflow))
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode()


DROP = """([data, x, y]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File([bytes], "picture.png", { type: "image/png" }))
  const options = { bubbles: true, cancelable: true, dataTransfer, clientX: x, clientY: y }
  const target = document.elementFromPoint(x, y)
  for (const type of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(type, options))
}"""


@pytest.mark.parametrize("empty", [True, False])
def test_a_dropped_picture_of_draw_things_is_pasted(comfy, simulator, empty):
    if not empty:
        comfy.open(example("text_to_image", simulator))
    comfy.js(DROP, [picture(), 1000, 800])
    comfy.until("() => drawThingsTest.nodes().some((one) => one.type === 'DrawThingsTilingOptions')")
    generate = comfy.node("DrawThingsGenerate")
    assert (generate.value("prompt"), generate.value("negative_prompt"), generate.value("steps")) == ("a fox", "a dog", 23)
    assert len(comfy.nodes("DrawThingsLoadServer")) == 1
    comfy.shot(f"drop_{'empty' if empty else 'graph'}")


def test_a_dropped_picture_with_a_workflow_opens_as_one(comfy, simulator):
    comfy.js(DROP, [picture(example("lora_stack", simulator)), 1000, 800])
    comfy.until("() => drawThingsTest.nodes().some((one) => one.type === 'SaveImage')")
    assert comfy.nodes("DrawThingsTilingOptions") == []


def test_without_a_clipboard_there_is_a_box(comfy, simulator):
    comfy.open(example("text_to_image", simulator))
    comfy.js("() => Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    comfy.js("() => void drawThingsTest.app.extensionManager.command.execute('DrawThings.PasteConfiguration')")
    box = comfy.page.locator("dialog.drawthings.text")
    box.locator("textarea").fill('{"steps": 44}')
    comfy.shot("paste_box")
    box.locator("button").last.click()
    comfy.until("() => drawThingsTest.nodes().some((one) => one.widgets.some(({ name, value }) => name === 'steps' && value === 44))")
    comfy.js("() => void drawThingsTest.app.extensionManager.command.execute('DrawThings.CopyConfiguration')")
    assert json.loads(box.locator("textarea").input_value())["steps"] == 44
    box.locator("button").first.click()
    comfy.js("() => { delete navigator.clipboard }")  # the browser's own is behind it
