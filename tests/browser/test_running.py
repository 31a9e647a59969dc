"""What a running node says, and what is said when it fails or is not taken."""

from __future__ import annotations

import itertools
import re

import pytest

from .page import example

_seeds = itertools.count(90_000)
LINE = "id => drawThingsTest.node(id).widgets.find(widget => widget.name === 'progress_line').element.textContent"
NOTICES = "() => [...document.querySelectorAll('.drawthings-notice')].map(one => one.innerText)"


def slow_run(comfy, simulator, steps: int = 20, seconds: float = 0.3):
    simulator.set("step_seconds", seconds)
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), steps=steps))
    return comfy.node("DrawThingsGenerate"), comfy.queue()


def test_the_line_says_the_step_and_the_time_left_and_goes(comfy, simulator):
    generate, mark = slow_run(comfy, simulator, steps=12)
    comfy.until(f"id => /^Step \\d+ of 12, about \\d+ s left$/.test(({LINE})(id))", generate.id)
    comfy.fit()
    comfy.shot("running")
    assert comfy.finish(mark).outcome == "success"
    comfy.until(f"id => ({LINE})(id) === ''", generate.id)


def test_the_line_goes_on_cancel_and_nothing_is_complained_of(comfy, simulator):
    generate, mark = slow_run(comfy, simulator, steps=60)
    comfy.until(f"id => ({LINE})(id).startsWith('Step ')", generate.id)
    comfy.cancel()
    assert comfy.finish(mark).outcome == "interrupted"
    comfy.until(f"id => ({LINE})(id) === ''", generate.id)
    assert comfy.js(NOTICES) == []


def test_the_line_is_neither_saved_nor_sent(comfy, simulator):
    comfy.open(example("text_to_image", simulator))
    generate = comfy.node("DrawThingsGenerate")
    (sent,) = (node["inputs"] for node in comfy.prompt().values() if node["class_type"] == "DrawThingsGenerate")
    assert "progress_line" not in sent
    (saved,) = (node for node in comfy.saved()["nodes"] if str(node["id"]) == generate.id)
    assert len(saved["widgets_values"]) == 15


def test_an_error_is_told_with_the_way_to_its_help(comfy, simulator):
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), model="not_there.ckpt"))
    assert comfy.run().outcome == "error"
    comfy.until("() => document.querySelector('.drawthings-notice')")
    (notice,) = comfy.js(NOTICES)
    sentence = "Model 'not_there.ckpt' is not on the server"
    told = [text for text in (notice, *comfy.dialogs) if sentence in text]
    assert len(told) == 1, "once, by the notice or by ComfyUI's own dialog"
    comfy.page.locator(".drawthings-notice a").click()
    comfy.until("() => document.querySelector('#drawthings-help-file-not-on-server')")
    comfy.shot("error_help")
    comfy.page.locator(".drawthings.help > button").click()
    comfy.page.locator(".drawthings-notice button").click()
    assert comfy.js(NOTICES) == []
    comfy.page.keyboard.press("Escape")


def test_what_comfyui_does_not_take_is_told_in_words(comfy, simulator):
    comfy.open(example("text_to_image", simulator, seed=next(_seeds)))
    comfy.js("id => drawThingsTest.graph().remove(drawThingsTest.node(id))", comfy.node("DrawThingsLoadServer").id)
    comfy.js("async () => { await drawThingsTest.app.queuePrompt(0, 1) }")
    # By the notice, or by ComfyUI's own dialog; then the notice is the way to the help page.
    comfy.until(
        f"() => ({NOTICES})().length === 1 && [...({NOTICES})(), ...drawThingsTest.dialogs()].some((one) => one.includes('connect it.'))"
    )
    comfy.page.locator(".drawthings-notice button").click()
    comfy.page.keyboard.press("Escape")
    assert simulator.requests() == []
    comfy.complaints[:] = [text for text in comfy.complaints if not re.search("/api/prompt|PromptExecutionError", text)]  # ComfyUI's own


BADGES = "id => drawThingsTest.node(id).badges.map((one) => (typeof one === 'function' ? one() : one).text)"


def test_a_subgraph_says_what_runs_inside_it(comfy, simulator):
    if comfy.vue:
        pytest.skip("Nodes 2.0 reads the badges of a subgraph once: none of ours is put there")
    simulator.set("step_seconds", 0.2)
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), steps=30))
    subgraph = comfy.js(
        "id => String(drawThingsTest.graph().convertToSubgraph(new Set([drawThingsTest.node(id)])).node.id)",
        comfy.node("DrawThingsGenerate").id,
    )
    before = comfy.saved()
    mark = comfy.queue()
    comfy.until(f"id => ({BADGES})(id).some((text) => /^Step \\d+ of 30/.test(text))", subgraph)
    comfy.fit()
    comfy.shot("subgraph_running")
    comfy.cancel()
    assert comfy.finish(mark).outcome == "interrupted"
    comfy.until(f"id => !({BADGES})(id).some((text) => text.startsWith('Step'))", subgraph)
    assert [node.get("widgets_values") for node in comfy.saved()["nodes"]] == [node.get("widgets_values") for node in before["nodes"]]


def test_previews_can_be_switched_off(comfy, simulator):
    comfy.setting("DrawThings.Previews", False)
    try:
        _, mark = slow_run(comfy, simulator, steps=8, seconds=0.1)
        run = comfy.finish(mark)
        assert (run.outcome, run.previews) == ("success", 0)
    finally:
        comfy.setting("DrawThings.Previews", True)


def test_a_running_node_is_picked_up_after_the_page_was_loaded_anew(comfy, simulator):
    _, _ = slow_run(comfy, simulator, steps=90)
    comfy.wait_for("drawthings.progress")
    comfy.reload()
    comfy.until(f"() => app.graph && drawThingsTest && ({NOTICES})().length === 0")
    generate = comfy.nodes("DrawThingsGenerate")
    if generate:  # where the page opens its last workflow again
        comfy.until(f"id => /^Step \\d+ of 90/.test(({LINE})(id))", generate[0].id)
    comfy.cancel()
    simulator.wait_until(running=0, queued=0, seconds=5)
