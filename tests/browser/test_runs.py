"""Workflows run from the page: progress, previews, results, cancel, two servers."""

from __future__ import annotations

import itertools

import _frontends
import pytest

from .page import beside, example

_seeds = itertools.count(70_000)
"""ComfyUI does not run a node again whose inputs are as before."""


def test_a_workflow_runs_with_preview_progress_and_result(comfy, simulator):
    simulator.set("step_seconds", 0.1)
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), steps=8))
    generate = comfy.node("DrawThingsGenerate")
    mark = comfy.queue()
    comfy.wait_for("b_preview", mark)
    if comfy.draws_all:
        comfy.until("id => drawThingsTest.pictures(id) > 0", generate.id)
    run = comfy.finish(mark)
    assert run.outcome == "success", run.detail
    values = [data["value"] / data["max"] for data in run.of("progress") if str(data["node"]) == generate.id]
    assert values == sorted(values)
    assert values[-1] == 1
    if comfy.draws_all:
        comfy.until("id => drawThingsTest.pictures(id) === 1", comfy.node("SaveImage").id)
    (row,) = run.of("executed")[-1]["output"]["images"]
    assert (comfy.host.base / row["type"] / row["subfolder"] / row["filename"]).is_file()
    comfy.fit()
    comfy.shot("text_to_image")


def test_cancel_stops_the_server_and_the_next_run_works(comfy, simulator):
    simulator.set("step_seconds", 0.4)
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), steps=30))
    mark = comfy.queue()
    comfy.wait_for("progress", mark)
    comfy.cancel()
    assert comfy.finish(mark, seconds=10).outcome == "interrupted"
    simulator.wait_until(running=0, queued=0, seconds=2)
    assert comfy.dialogs == []
    simulator.set("step_seconds", 0)
    comfy.node("DrawThingsGenerate").set("steps", 4)
    assert comfy.run().outcome == "success"


def test_two_nodes_with_two_servers(comfy, simulator, guarded):
    one = example("text_to_image", simulator, seed=next(_seeds), steps=4)
    comfy.open(beside(one, example("text_to_image", guarded, seed=next(_seeds), steps=5)))
    run = comfy.run()
    assert run.outcome == "success", run.detail
    assert [request["configuration"]["steps"] for request in (*simulator.requests(), *guarded.requests())] == [4, 5]
    for saved in comfy.nodes("SaveImage") if comfy.draws_all else ():
        comfy.until("id => drawThingsTest.pictures(id) === 1", saved.id)


def test_what_a_node_refuses_is_told(comfy, simulator):
    comfy.open(example("text_to_image", simulator, seed=next(_seeds), model="not_there.ckpt"))
    run = comfy.run()
    assert (run.outcome, run.detail["exception_type"]) == ("error", "FileNotOnServer")
    assert run.detail["exception_message"].startswith("Model 'not_there.ckpt' is not on the server")


def test_what_a_node_refuses_is_told_in_the_users_language(comfy, simulator):
    if comfy.vue or comfy.version != _frontends.VERSIONS[-1]:
        pytest.skip("the notice is the same everywhere")
    refused = example("text_to_image", simulator, seed=next(_seeds), model="not_there.ckpt")
    try:
        for language, said in (("zh", "的服务器上没有模型 'not_there.ckpt'"), ("ja", "モデル 'not_there.ckpt' は")):
            comfy.setting("Comfy.Locale", language)
            comfy.open(refused)
            run = comfy.run()
            assert run.detail["exception_message"].startswith("Model 'not_there.ckpt' is not on the server")  # the back end speaks English
            comfy.page.locator(".drawthings-notice").get_by_text(said).wait_for()
            comfy.shot(f"refused_{language}")
    finally:
        comfy.setting("Comfy.Locale", "en")
