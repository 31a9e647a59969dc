"""Lists from the server, its state on Load Server, recommended settings, and the slots of LoRA Stack."""

from __future__ import annotations

import shutil
import time

import pytest
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess

from .page import beside, example

FLUX = "flux_1_dev_q8p.ckpt"
TURBO = "flux_1_turbo_alpha_lora_f16.ckpt"
LORAS = [f"lora_{number}" for number in range(1, 6)]
LABEL = "([id, name, value]) => drawThingsTest.widget(id, name).options.getOptionLabel(value)"
STATES = "() => [...document.querySelectorAll('[role=status][data-state]')].map((one) => [one.dataset.state, one.innerText])"
ON_CANVAS = """([id, name]) => {
  const { app, node, widget } = drawThingsTest, one = node(id), { scale, offset } = app.canvas.ds
  const { x, y } = app.canvas.canvas.getBoundingClientRect()
  return [x + (one.pos[0] + one.size[0] / 2 + offset[0]) * scale, y + (one.pos[1] + widget(id, name).y + 10 + offset[1]) * scale]
}"""
"""Where a widget is drawn on the screen."""
SHOWN = "id => drawThingsTest.node(id).widgets.filter((one) => !one.hidden).map((one) => one.name)"


@pytest.fixture(scope="package")
def few(_open_simulator, tmp_path_factory):
    """A server that lacks a model and a LoRA."""
    folder = tmp_path_factory.mktemp("models")
    for file in _open_simulator.models_directory.iterdir():
        if file.name not in (FLUX, TURBO):
            shutil.copy(file, folder)
    with SimulatorProcess("--no-tls", "--model-browser", str(folder)) as server:
        yield server


def filled(comfy, node, widget, least):
    """Wait until a list holds so many files."""
    comfy.until("([id, name, least]) => drawThingsTest.choices(id, name).length >= least", [node.id, widget, least])


def state(comfy, tone, words=""):
    """Wait until Load Server says so, in this colour."""
    if not comfy.draws_all:
        pytest.skip("the Nodes 2.0 of this frontend draws no line on any node")
    comfy.until(f"([tone, words]) => ({STATES})().some(([is, says]) => is === tone && says.includes(words))", [tone, words])


def test_lists_hold_the_servers_files(comfy, simulator):
    comfy.open(example("lora_stack", simulator))
    stack, generate = comfy.node("DrawThingsLoRAStack"), comfy.node("DrawThingsGenerate")
    state(comfy, "good", "models")
    filled(comfy, generate, "model", 50)
    filled(comfy, stack, "lora_1", 10)
    assert comfy.js(LABEL, [generate.id, "model", "flux_1_dev_q8p.ckpt"]) == "FLUX.1 [dev] · FLUX.1"
    labels = [comfy.js(LABEL, [stack.id, "lora_1", file]) for file in stack.choices("lora_1")]
    assert labels[0] == "none"
    foreign = [label.endswith("(another family)") for label in labels[1:]]
    assert foreign == sorted(foreign)
    assert 0 < sum(foreign) < len(foreign)
    assert all("FLUX.1" in label for label, is_foreign in zip(labels[1:], foreign, strict=True) if not is_foreign)
    assert generate.value("model") == "flux_1_dev_q8p.ckpt"  # saved as ever
    comfy.fit()
    comfy.shot("lists")


def test_what_fits_follows_the_model(comfy, simulator):
    comfy.open(example("lora_stack", simulator))
    stack, generate = comfy.node("DrawThingsLoRAStack"), comfy.node("DrawThingsGenerate")
    filled(comfy, stack, "lora_1", 10)
    first = stack.choices("lora_1")[1]
    generate.set("model", "sd_v1.5_f16.ckpt")
    comfy.until("([id, first]) => drawThingsTest.choices(id, 'lora_1')[1] !== first", [stack.id, first])
    assert "another family" in comfy.js(LABEL, [stack.id, "lora_1", first])


def test_a_file_that_the_server_lacks_stays(comfy, simulator):
    comfy.open(example("text_to_image", simulator, model="not_there.ckpt"))
    generate = comfy.node("DrawThingsGenerate")
    filled(comfy, generate, "model", 50)
    assert generate.value("model") == "not_there.ckpt"
    assert comfy.js(LABEL, [generate.id, "model", "not_there.ckpt"]) == "not_there.ckpt (not on this server)"
    assert generate.choices("model")[-1] == "not_there.ckpt"


def test_a_new_node_begins_with_a_model_of_its_server(comfy, simulator):
    """One that nobody chose and the server lacks would be refused at the first run."""
    comfy.open(example("text_to_image", simulator, model="not_there.ckpt"))
    (saved,) = comfy.nodes("DrawThingsGenerate")
    filled(comfy, saved, "model", 50)
    files = saved.choices("model")
    comfy.js(
        """() => {
            const { app } = drawThingsTest, { id } = drawThingsTest.nodes().find((one) => one.type === "DrawThingsLoadServer")
            const made = window.LiteGraph.createNode("DrawThingsGenerate")
            app.graph.add(made)
            drawThingsTest.node(id).connect(0, made, "server")
        }"""
    )
    (made,) = [node for node in comfy.nodes("DrawThingsGenerate") if node.id != saved.id]
    comfy.until("([id, file]) => drawThingsTest.widget(id, 'model').value === file", [made.id, files[0]])
    assert saved.value("model") == "not_there.ckpt"


def test_each_node_has_its_own_list(comfy, simulator, few):
    comfy.open(beside(example("lora_stack", simulator), example("lora_stack", few)))
    one, other = comfy.nodes("DrawThingsGenerate")
    absent = f"([id, file]) => ({LABEL})([id, 'model', file]) === `${{file}} (not on this server)`"
    comfy.until(absent, [other.id, FLUX])
    filled(comfy, one, "model", 50)
    assert sorted(other.choices("model")) == sorted(one.choices("model"))
    assert "not on this server" not in comfy.js(LABEL, [one.id, "model", FLUX])
    full, fewer = (set(stack.choices("lora_1")) for stack in comfy.nodes("DrawThingsLoRAStack"))
    assert full - fewer == {TURBO}
    if comfy.draws_all:
        comfy.until(f"() => ({STATES})().filter(([is]) => is === 'good').length === 2")


def test_the_state_follows_the_server_and_the_lists_stay(comfy):
    with SimulatorProcess("--no-tls", "--model-browser") as server:
        comfy.open(example("text_to_image", server))
        generate = comfy.node("DrawThingsGenerate")
        filled(comfy, generate, "model", 50)
        state(comfy, "good")
        files = generate.choices("model")
        server.kill()
        comfy.command("Comfy.RefreshNodeDefinitions")
        state(comfy, "bad", "No Draw Things server answers at")
        assert generate.choices("model") == files
        comfy.shot("server_away")
        server.restart()
        comfy.command("Comfy.RefreshNodeDefinitions")
        state(comfy, "good")


def test_another_server_is_not_given_the_files_of_the_last_one(comfy, simulator, few):
    comfy.open(example("text_to_image", simulator, model=FLUX))
    server, generate = comfy.node("DrawThingsLoadServer"), comfy.node("DrawThingsGenerate")
    filled(comfy, generate, "model", 50)
    state(comfy, "good")
    files = generate.choices("model")
    server.set("port", few.port)
    comfy.until("([id, file]) => drawThingsTest.choices(id, 'model').at(-1) === file", [generate.id, FLUX])
    theirs = generate.choices("model")
    assert theirs == [*(file for file in files if file != FLUX), FLUX]
    assert comfy.js(LABEL, [generate.id, "model", FLUX]).endswith("(not on this server)")
    server.set("port", 9)  # discard: nothing listens there
    state(comfy, "bad", "No Draw Things server answers at")
    assert generate.choices("model") not in (files, theirs)
    assert generate.value("model") == FLUX
    server.set("port", simulator.port)
    state(comfy, "good")
    assert generate.choices("model") == files


def test_a_refresh_keeps_what_the_server_has(comfy, simulator):
    comfy.open(example("text_to_image", simulator))
    generate = comfy.node("DrawThingsGenerate")
    state(comfy, "good")  # a list can be long before the server has answered, and R asks nobody who is being asked
    filled(comfy, generate, "model", 50)
    files, asked = generate.choices("model"), len(simulator.requests("Echo"))
    comfy.command("Comfy.RefreshNodeDefinitions")
    assert generate.choices("model") == files
    end = time.monotonic() + 10
    while len(simulator.requests("Echo")) == asked and time.monotonic() < end:
        comfy.page.wait_for_timeout(50)
    assert len(simulator.requests("Echo")) == asked + 1


def test_the_state_is_neither_saved_nor_sent(comfy, simulator):
    comfy.open(example("text_to_image", simulator))
    state(comfy, "good")
    (saved,) = [node for node in comfy.saved()["nodes"] if node["type"] == "DrawThingsLoadServer"]
    assert saved["widgets_values"][:2] == [simulator.host, simulator.port]
    assert "drawthings_status" not in saved.get("widgets_values_named", {})
    assert len(saved["widgets_values"]) == 7
    (sent,) = [node for node in comfy.prompt().values() if node["class_type"] == "DrawThingsLoadServer"]
    assert "drawthings_status" not in sent["inputs"]


def test_recommended_settings_are_one_step(comfy, simulator):
    comfy.open(example("lora_stack", simulator))
    generate = comfy.node("DrawThingsGenerate")
    before = generate.values()
    menu = """id => {
      const { app } = drawThingsTest, node = drawThingsTest.node(id), own = []
      const items = app.collectNodeMenuItems ? app.collectNodeMenuItems(node) : (node.getExtraMenuOptions(app.canvas, own), own)
      return items.map((one) => one?.content)
    }"""
    assert "Recommended settings" in comfy.js(menu, generate.id)
    comfy.fit()
    if not comfy.draws_all:
        comfy.js("id => drawThingsTest.widget(id, 'recommended_settings').callback()", generate.id)
    elif comfy.vue:
        generate.element.get_by_role("button", name="Recommended settings").click()
    else:
        comfy.page.mouse.click(*comfy.js(ON_CANVAS, [generate.id, "recommended_settings"]))
    comfy.until("id => drawThingsTest.widget(id, 'sampler').value !== 'recommended'", generate.id)
    after = generate.values()
    button = "recommended_settings"  # Nodes 2.0 gives a button that was pressed a value, which is neither saved nor sent
    changed = {name for name in before if before[name] != after[name] and name != button}
    assert changed == {"width", "height", "steps", "guidance", "sampler"}
    assert (after["width"], after["height"]) == (1024, 1024)
    comfy.until("() => document.body.innerText.includes('FLUX.1 [dev]') && document.body.innerText.includes('preset')")  # the message
    comfy.shot("recommended")
    comfy.undo()
    comfy.until(
        "() => drawThingsTest.graph().nodes.find((one) => one.type === 'DrawThingsGenerate')?.widgets.find((one) => one.name === 'sampler').value === 'recommended'"
    )
    assert {**comfy.node("DrawThingsGenerate").values(), button: before[button]} == before


def test_one_empty_slot_is_shown(comfy, simulator):
    comfy.open(example("lora_stack", simulator))
    stack = comfy.node("DrawThingsLoRAStack")
    saved = stack.values()
    assert [name for name in comfy.js(SHOWN, stack.id) if name in LORAS] == LORAS[:3]
    stack.set("lora_3", TURBO)
    comfy.until("id => !drawThingsTest.widget(id, 'mode_4').hidden", stack.id)
    if comfy.vue and comfy.draws_all:
        comfy.until("id => drawThingsTest.element(id).innerText.includes('mode_4')", stack.id)
        assert "mode_5" not in stack.element.inner_text()
    comfy.shot("slots")
    stack.set("lora_3", "none")
    comfy.until("id => drawThingsTest.widget(id, 'mode_4').hidden", stack.id)
    assert stack.values() == saved
    (sent,) = [node for node in comfy.prompt().values() if node["class_type"] == "DrawThingsLoRAStack"]
    assert set(LORAS) <= sent["inputs"].keys()


def test_a_pasted_stack_shows_its_slots(comfy, simulator):
    """Hidden slots that act would be worse than none."""
    comfy.open(example("lora_stack", simulator))
    stack = comfy.node("DrawThingsLoRAStack")
    stack.set("lora_3", TURBO)
    comfy.until("id => !drawThingsTest.widget(id, 'mode_4').hidden", stack.id)
    comfy.js(
        "id => { const { app } = drawThingsTest; app.canvas.copyToClipboard([drawThingsTest.node(id)]); app.canvas.pasteFromClipboard() }",
        stack.id,
    )
    (pasted,) = [node for node in comfy.nodes("DrawThingsLoRAStack") if node.id != stack.id]
    comfy.until("id => !drawThingsTest.widget(id, 'mode_4').hidden", pasted.id)
    assert pasted.values() == stack.values()
    assert [name for name in comfy.js(SHOWN, pasted.id) if name in LORAS] == LORAS[:4]
