"""nodes/page/recommended.py: what one click on "Recommended settings" sets."""

from __future__ import annotations

from typing import Any

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import families
from comfyui_drawthings.drawthings_core.client import Cancellation, client_for
from comfyui_drawthings.drawthings_core.errors import InvalidInput
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.nodes.page.recommended import recommended

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
GENERATING = ("DrawThingsGenerate", "DrawThingsInpaint", "DrawThingsEdit", "DrawThingsVideo")
AWAY = {"host": "127.0.0.1", "port": 9}


def widgets_of(node_id: str) -> dict[str, Any]:
    return {name: spec for inputs in NODES[node_id].INPUT_TYPES().values() for name, spec in inputs.items() if isinstance(spec, tuple)}


def ask(simulator: Any = None, model: str = "flux_1_dev_q8p.ckpt", node: str = "DrawThingsGenerate", **more: Any) -> dict[str, Any]:
    servers = [{"host": simulator.host, "port": simulator.port}] if simulator else []
    return recommended({"servers": servers, "model": model, "widgets": list(widgets_of(node)), **more}, Cancellation())


def test_values_are_those_of_the_app(simulator):
    told = ask(simulator)
    wanted = families.recommended("flux_1_dev_q8p.ckpt", "flux1")
    assert told["widgets"] == {
        "width": 1024,
        "height": 1024,
        "steps": wanted["steps"],
        "guidance": wanted["guidance_scale"],
        "sampler": wanted["sampler"].label,
    }
    assert any("preset" in note for note in told["notes"])


@pytest.mark.parametrize("node", GENERATING)
def test_every_value_is_one_that_the_widget_takes(simulator, node):
    definition = widgets_of(node)
    catalog = client_for(Server(simulator.host, simulator.port)).catalog()
    for file in catalog.entries["model"]:
        for name, value in ask(simulator, file, node)["widgets"].items():
            kind, options = definition[name]
            if isinstance(kind, list):
                assert value in kind
            else:
                assert options["min"] <= value <= options["max"], (file, name)


def test_frames_are_recommended_for_videos_only(simulator):
    catalog = client_for(Server(simulator.host, simulator.port)).catalog()
    video = next(entry.file for entry in catalog.entries["model"].values() if entry.version == "wan_v2.1_14b")
    assert ask(simulator, video, "DrawThingsVideo")["widgets"]["num_frames"] > 1
    assert "num_frames" not in ask(simulator, node="DrawThingsVideo")["widgets"]


def test_an_image_keeps_its_proportions(simulator):
    told = ask(simulator, image=True)["widgets"]
    assert (told["width"], told["height"]) == (0, 0)  # recommended, in the image's proportions


def test_loras_have_recommendations_of_their_own(simulator):
    turbo = next(preset for preset in families._presets() if preset["configuration"].get("loras"))
    file, loras = turbo["model"], [{"file": lora["file"]} for lora in turbo["configuration"]["loras"]]
    assert ask(simulator, file, loras=loras)["widgets"] != ask(simulator, file)["widgets"]


def test_a_negative_prompt_is_offered_where_one_helps(simulator):
    catalog = client_for(Server(simulator.host, simulator.port)).catalog()
    model = next(entry.file for entry in catalog.entries["model"].values() if entry.version == "v1" and entry.modifier == "none")
    assert ask(simulator, model)["negative_prompt"] == families.negative_prompt("v1")
    assert ask(simulator)["negative_prompt"] == families.negative_prompt("flux1")


def test_without_the_server_published_models_are_known():
    alone = ask()
    assert alone["widgets"]["steps"] == families.recommended("flux_1_dev_q8p.ckpt")["steps"]
    away = ask(model="flux_1_dev_q8p.ckpt", servers=[AWAY])
    assert away["widgets"] == alone["widgets"]
    assert "No Draw Things server answers" in away["notes"][0]


def test_the_model_may_be_on_another_server_of_a_pool(simulator):
    here = {"host": simulator.host, "port": simulator.port}
    catalog = client_for(Server(simulator.host, simulator.port)).catalog()
    model = next(entry.file for entry in catalog.entries["model"].values() if families.version_of_file(entry.file) is None)
    alone = ask(simulator, model)
    assert ask(model=model, servers=[AWAY, here]) == alone
    assert ask(model=model)["widgets"] != alone["widgets"]


@pytest.mark.parametrize(
    "body", [{"model": ""}, {"model": "none"}, {"model": 3}, {}, {"model": "m", "loras": ["x"]}, {"model": "m", "loras": [{"file": 1}]}]
)
def test_what_is_no_question_is_refused(body):
    with pytest.raises(InvalidInput):
        recommended({"widgets": [], **body}, Cancellation())
