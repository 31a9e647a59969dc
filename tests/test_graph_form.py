"""A configuration pasted into a graph is what the graph then sends, and copies."""

from __future__ import annotations

import json
import random

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import metadata
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, Configuration, Options, app_json
from comfyui_drawthings.drawthings_core.errors import InvalidInput
from comfyui_drawthings.drawthings_core.job import wished
from comfyui_drawthings.nodes import graph_form
from comfyui_drawthings.nodes.graph_form import Seen
from comfyui_drawthings.nodes.graph_values import CHAINS, GraphValues, inputs_of, takes_configuration
from comfyui_drawthings.runner import execution, stand_ins, workflow
from comfyui_drawthings.runner.dynamic_prompt import resolve
from hypothesis import Phase, given, settings
from test_configuration import configurations

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
NOTHING = Catalog.empty()
GENERATING = [kind for kind, node in NODES.items() if takes_configuration(node)]
SD = "sd_v1.5_f16.ckpt"
FLUX = "flux_1_dev_q8p.ckpt"


def found(document, **prompts):
    text = document if isinstance(document, str) else json.dumps(document)
    return metadata.pasted(text)._replace(**prompts)


class Canvas:
    """A graph as the page has it: what a paste changes is applied, and it is told again."""

    def __init__(self, kind="DrawThingsGenerate", **widgets):
        self.target = self.node(kind, **{"model": SD, **widgets})
        self.chains = {chain: [] for chain in CHAINS}  # the nearest first

    @staticmethod
    def node(kind, linked=(), bypassed=False, **widgets):
        defaults = {name: options["default"] for name, (_, options) in inputs_of(NODES[kind]).items() if "default" in options}
        return Seen(kind, {**defaults, **widgets}, frozenset(linked), bypassed)

    def seen(self):
        return {chain: list(nodes) for chain, nodes in self.chains.items()}

    def paste(self, document, catalog=NOTHING):
        told = document if isinstance(document, metadata.Found) else found(document)
        pasted = graph_form.paste(told, NODES, catalog, self.target, self.seen())
        self.target = self._changed(self.target, pasted.widgets)
        for change in pasted.nodes:
            nodes = self.chains[change.chain]
            if change.reuse is None:
                nodes.insert(0, self._changed(self.node(change.kind), change.widgets))
            else:  # those come before the new ones
                nodes[change.reuse] = self._changed(nodes[change.reuse], change.widgets)._replace(bypassed=change.bypassed)
        return pasted

    @staticmethod
    def _changed(node, widgets):
        assert widgets.keys() <= inputs_of(NODES[node.kind]).keys()
        return node._replace(widgets={**node.widgets, **widgets})

    def prompt(self):
        """In API format, texts resolved as frontends do."""
        rows = {"target": self._row(self.target)}
        for chain, nodes in self.chains.items():
            into = rows["target"]
            for number, node in enumerate(node for node in nodes if not node.bypassed):
                into["inputs"][chain] = [f"{chain} {number}", NODES[node.kind].RETURN_TYPES.index(CHAINS[chain])]
                into = rows[f"{chain} {number}"] = self._row(node)
        return rows

    @staticmethod
    def _row(node):
        inputs = inputs_of(NODES[node.kind])
        told = {
            name: resolve(value, random.Random(0)) if name in inputs and inputs[name][1].get("dynamicPrompts") else value
            for name, value in node.widgets.items()
        }
        return {"class_type": node.kind, "inputs": {**told, **{name: ["far away", 0] for name in node.linked}}}

    def kinds(self, chain):
        """The nodes of a chain, the nearest first."""
        return [node.kind.removeprefix("DrawThings") for node in self.chains[chain]]

    def sent(self):
        """Every setting before the picture and the family have their say."""
        return Configuration(wished(GraphValues(self.prompt(), NODES, NOTHING).job("target"), NOTHING).settings)

    def copied(self):
        return graph_form.copy(self.prompt(), "target", NODES, NOTHING)


# -- every setting


def lost(document, sent, notes):
    """What the document wants, and neither is sent nor spoken of. LoRAs and controls without a file, or that do nothing, need not be."""
    wanted = found(document).settings
    if not wanted.get("model"):
        wanted.pop("model", None)
    said = "\n".join(notes)
    missing = {}
    for name in ("loras", "controls"):
        for part in wanted.pop(name, ()):
            if part["file"] and part["file"] not in said and not any(same(part, other) for other in sent[name]):
                missing[part["file"]] = part
    return missing | {
        name: (value, sent[name]) for name, value in wanted.items() if sent[name] != value and CONFIGURATION[name].label not in said
    }


def same(part, other):
    """A LoRA or control as it was wanted; where the input type was left open, whichever was chosen."""
    return all(other[name] == value or (name == "input_override" and value == 0) for name, value in part.items())


@pytest.mark.parametrize("kind", GENERATING)
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # shrinking takes minutes
@given(configuration=configurations)
def test_what_is_pasted_is_sent_or_told(kind, configuration):
    document = app_json.dumps(configuration)
    canvas = Canvas(kind)
    pasted = canvas.paste(document)
    sent = canvas.sent()
    assert lost(document, sent, pasted.notes) == {}
    again = Canvas(kind)
    again.target, again.chains = canvas.target, canvas.seen()
    assert again.paste(document).nodes == [], "a second time changes nothing"
    assert again.target == canvas.target


def outputs_of(canvas):
    """The same chain through the runner's own execution: what Options to JSON writes for it."""
    rows = canvas.prompt()
    links = {name: link for name, link in rows.pop("target")["inputs"].items() if name in CHAINS}
    rows["json"] = {"class_type": "DrawThingsOptionsToJSON", "inputs": {"complete": False, "model": "", **links}}
    rows["shown"] = {"class_type": "PreviewAny", "inputs": {"source": ["json", 0]}}
    classes = {**NODES, **stand_ins.STAND_INS}
    graph = workflow.parse(rows, classes, {})
    return json.loads(execution.run(graph, classes).shown[0][1])


EXAMPLES = {
    "everything": Configuration(
        model=SD, start_width=768, start_height=512, seed=7, steps=31, guidance_scale=6.5, strength=0.4, sampler="DDIM", batch_count=2,
        hires_fix=True, hires_fix_start_width=384, hires_fix_start_height=256, sharpness=2.5, clip_skip=2, upscaler="up.ckpt",
        tiled_decoding=True, decoding_tile_width=512, refiner_model="juggernaut_reborn_f16.ckpt", refiner_start=0.6,
        loras=[{"file": f"lora {number}.ckpt", "weight": number / 10} for number in range(1, 8)],
        controls=[{"file": "canny.ckpt", "input_override": "canny", "weight": 0.5, "guidance_end": 0.7, "target_blocks": ["down", "mid"]}],
    ),
    "nothing": Configuration(model=SD),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_runner_agrees(name):
    canvas = Canvas()
    canvas.paste(app_json.dumps(EXAMPLES[name]))
    written = outputs_of(canvas)
    whole = app_json.write(canvas.sent())
    assert {key: whole[key] for key in written} == written
    assert len(written.get("loras", ())) == len(EXAMPLES[name]["loras"])


def test_only_what_is_needed_is_created():
    canvas = Canvas()
    pasted = canvas.paste(app_json.dumps(EXAMPLES["everything"]))
    assert canvas.kinds("loras") == ["LoRAStack", "LoRAStack"]
    assert canvas.kinds("hints") == ["ControlNetHint"]
    wanted = ["UpscalerOptions", "RefinerOptions", "TilingOptions", "HiresFixOptions", "SamplingOptions", "TextEncodersOptions"]
    assert sorted(canvas.kinds("options")) == sorted(wanted)
    assert canvas.target.widgets["sampler"] == "DDIM"
    assert all(change.reuse is None for change in pasted.nodes)
    nothing = Canvas()
    assert nothing.paste(app_json.dumps(Configuration(model=SD, seed_mode=2))).nodes == []


def test_another_configuration_goes_into_the_same_nodes():
    canvas = Canvas()
    canvas.paste(app_json.dumps(EXAMPLES["everything"]))
    before = canvas.seen()
    canvas.paste(app_json.dumps(EXAMPLES["nothing"].updated(sharpness=1.0)))
    assert {chain: [node.kind for node in nodes] for chain, nodes in canvas.chains.items()} == {
        chain: [node.kind for node in nodes] for chain, nodes in before.items()
    }
    sent = canvas.sent()
    assert (sent["sharpness"], sent["hires_fix"], sent["upscaler"], sent["loras"], sent["controls"]) == (1.0, False, None, (), ())
    assert [node.bypassed for node in canvas.chains["hints"]] == [True]
    canvas.paste(app_json.dumps(EXAMPLES["everything"]))
    assert [node.bypassed for node in canvas.chains["hints"]] == [False]
    assert len(canvas.sent()["loras"]) == 7


def test_a_part_leaves_the_rest_alone():
    canvas = Canvas(steps=12, width=640)
    canvas.chains["options"] = [canvas.node("DrawThingsTilingOptions", tiled_diffusion=True, diffusion_tile_width=768)]
    canvas.paste({"tiledDecoding": True, "guidanceScale": 3.5})
    sent = canvas.sent()
    assert canvas.kinds("options") == ["TilingOptions"]
    assert (sent["steps"], sent["start_width"], sent["diffusion_tile_width"], sent["tiled_decoding"]) == (12, 640, 768, True)
    assert sent["guidance_scale"] == 3.5


def test_a_main_switch_is_not_switched_on_by_the_way():
    canvas = Canvas()
    pasted = canvas.paste({"teaCacheStart": 3, "model": FLUX})
    assert canvas.chains["options"] == []
    assert "Left out, without effect while TeaCache is off: TeaCache start." in pasted.notes


def test_pasted_json_in_the_chain_says_the_same():
    """An Options from JSON would win over the widgets: what it names becomes what was pasted, the rest of it stays."""
    canvas = Canvas()
    text = app_json.dumps(Options({"steps": 9, "sharpness": 4.0, "loras": [{"file": "old.ckpt", "weight": 1}]}))
    canvas.chains["options"] = [canvas.node("DrawThingsOptionsFromJSON", json=text)]
    canvas.paste({"steps": 25, "loras": [{"file": "new.ckpt", "weight": 0.5}]})
    sent = canvas.sent()
    assert (sent["steps"], sent["sharpness"], [lora["file"] for lora in sent["loras"]]) == (25, 4.0, ["new.ckpt"])


def test_connected_widgets_stay_and_are_told():
    canvas = Canvas()
    canvas.target = canvas.node("DrawThingsGenerate", linked=["steps"], seed=1)
    pasted = canvas.paste({"steps": 25, "seed": 5})
    assert pasted.widgets == {"seed": 5}
    assert "Steps is connected to another node and stays as it is." in pasted.notes


def test_settings_behind_recommended_ones_win():
    canvas = Canvas(model=SD)
    canvas.chains["options"] = [
        canvas.node("DrawThingsRecommendedSettings", model=FLUX),
        canvas.node("DrawThingsSamplingOptions", shift=2.0),
    ]
    pasted = canvas.paste({"shift": 5.0, "resolutionDependentShift": False})
    assert canvas.kinds("options") == ["SamplingOptions", "RecommendedSettings", "SamplingOptions"]
    assert canvas.sent()["shift"] == 5.0
    assert canvas.paste({"shift": 5.0, "resolutionDependentShift": False}).nodes == []
    assert pasted.notes == []


def test_what_a_widget_does_not_take_is_told():
    pasted = Canvas(model=FLUX).paste({"guidanceScale": -3, "guidanceEmbed": -1.0, "speedUpWithGuidanceEmbed": False, "seed": -1})
    assert "Guidance is -3, which is outside of the widget's range." in pasted.notes
    assert any(note.startswith("Guidance embedding is -1") for note in pasted.notes)
    assert any(note.startswith("seed was -1") for note in pasted.notes)
    assert "seed" not in pasted.widgets


def test_a_value_that_means_recommended_is_told():
    pasted = Canvas().paste({"guidanceScale": -1})
    assert pasted.widgets == {}
    assert "Guidance is -1, which means recommended in the widget." in pasted.notes


def test_maps_stay_with_the_controls_of_their_kind():
    canvas = Canvas()
    canvas.chains["hints"] = [
        canvas.node("DrawThingsMoodboard", linked=["images"], control="ip_adapter.ckpt"),
        canvas.node("DrawThingsControlNetHint", linked=["image"], hint_type="Depth", control="depth_one.ckpt"),
        canvas.node("DrawThingsControlNetHint", linked=["image"], hint_type="Canny", control="canny_one.ckpt"),
    ]
    pasted = canvas.paste({"controls": [{"file": "other_depth.ckpt", "weight": 0.5, "inputOverride": "depth"}]})
    moodboard, depth, canny = canvas.chains["hints"]
    assert (depth.widgets["control"], depth.widgets["weight"]) == ("other_depth.ckpt", 0.5)
    assert (moodboard.widgets["control"], canny.widgets["control"]) == ("none", "none"), "the pictures stay for models that read them"
    assert not any("connect its map" in note for note in pasted.notes)
    assert [control["file"] for control in canvas.sent()["controls"]] == ["other_depth.ckpt"]


def test_a_control_that_does_not_say_what_it_follows():
    canvas = Canvas()
    pasted = canvas.paste({"controls": [{"file": "controlnet_softedge_1.x_v1.1_f16.ckpt", "weight": 1.0, "inputOverride": ""}]})
    assert canvas.chains["hints"][0].widgets["hint_type"] == "SoftEdge"
    assert any("was set to SoftEdge" in note for note in pasted.notes)


def test_prompts_of_a_picture_arrive_letter_by_letter():
    prompts = {"prompt": "a {red|blue} cat // not a comment /* nor this */ http://x", "negative_prompt": "blur | noise {x}"}
    canvas = Canvas("DrawThingsEdit", instruction="old")
    canvas.paste(found({"steps": 20}, **prompts))
    told = canvas.prompt()["target"]["inputs"]
    assert (told["instruction"], told["negative_prompt"]) == (prompts["prompt"], prompts["negative_prompt"])


def test_a_new_node_suits_the_model():
    for model, kind in (("wan_v2.1_14b_i2v_480p_q8p.ckpt", "DrawThingsVideo"), (SD, "DrawThingsGenerate"), (None, "DrawThingsGenerate")):
        pasted = graph_form.paste(found({"model": model} if model else {"steps": 4}), NODES, NOTHING, None, {})
        assert pasted.kind == kind


def test_other_nodes_take_no_configuration():
    assert set(GENERATING) == {"DrawThingsGenerate", "DrawThingsInpaint", "DrawThingsVideo", "DrawThingsEdit"}
    with pytest.raises(InvalidInput, match="choose one"):
        graph_form.paste(found({"steps": 3}), NODES, NOTHING, Seen("DrawThingsUpscale", {}), {})


# -- copying


def test_a_copy_is_what_was_pasted():
    canvas = Canvas("DrawThingsGenerate")
    canvas.paste(app_json.dumps(EXAMPLES["everything"]))
    copied = canvas.copied()
    # Without a picture there is nothing to keep a part of, and strength 1 is sent; without a mask its blur was left to the recommendation.
    assert app_json.read(copied.json).configuration() == EXAMPLES["everything"].updated(strength=1.0, mask_blur=2.5)
    assert copied.notes == []


def test_a_copy_follows_links_and_tells_what_only_a_run_tells():
    rows = {
        "1": {"class_type": "PrimitiveInt", "inputs": {"value": 33}},
        "2": {"class_type": "ImageSize", "inputs": {}, "_meta": {"title": "Size of it"}},
        "3": {"class_type": "DrawThingsGuidanceOptions", "inputs": {"zero_negative_prompt": "on"}},
        "4": {
            "class_type": "DrawThingsGenerate",
            "inputs": {"model": SD, "prompt": ["2", 1], "steps": ["1", 0], "width": ["2", 0], "image": ["9", 0], "options": ["3", 0]},
        },
    }  # fmt: skip
    copied = graph_form.copy(rows, "4", NODES, NOTHING)
    configuration = app_json.read(copied.json).configuration()
    assert (configuration["steps"], configuration["zero_negative_prompt"], configuration["start_width"]) == (33, True, 512)
    assert copied.notes == [
        "The input 'width' of DrawThingsGenerate comes from Size of it, which only a run can tell: it was left out.",
        "The size follows the input picture: here it stands for a square one.",
    ]


def test_circles_and_nonsense_end():
    rows = {
        "1": {"class_type": "DrawThingsTilingOptions", "inputs": {"options": ["1", 0]}},
        "2": {"class_type": "DrawThingsGenerate", "inputs": {"model": SD, "options": ["1", 0], "loras": ["1", 7], "hints": 5}},
    }
    with pytest.raises(InvalidInput):
        graph_form.copy(rows, "2", NODES, NOTHING)
    rows["2"]["inputs"].pop("hints")
    with pytest.raises(InvalidInput):
        graph_form.copy(rows, "3", NODES, NOTHING)
    assert graph_form.copy(rows, "2", NODES, NOTHING).notes


def test_a_copy_of_what_would_be_refused_says_so():
    canvas = Canvas("DrawThingsVideo", model=SD)
    assert any("would be refused" in note for note in canvas.copied().notes)
