"""Model knowledge over all of its data: every preset's figures arrive, every family has figures, and who may go with whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import advice, errors, families, rules
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, Configuration, Control, LoRA
from comfyui_drawthings.drawthings_core.job import Job, plan
from comfyui_drawthings.drawthings_core.request import GenerationRequest
from comfyui_drawthings.drawthings_core.simulator import catalog as simulated

TABLE = json.loads((Path(families.__file__).parent / "recommended.json").read_text(encoding="utf-8"))
PRESETS = TABLE["presets"]
VERSIONS = list(families.families())
CHOSEN_BY_THE_USER = {"model", "loras", "controls", "refinerModel", "refinerStart", "batchCount", "batchSize", "seed"}
"""What a preset names beside figures: files, and how many pictures there are."""
ROWS = {row.json_key: row for row in CONFIGURATION.values()}


def figures_of(preset):
    """Field name -> value, straight from the data; words as what they name."""
    figures = {ROWS[key]: value for key, value in preset["configuration"].items() if key not in CHOSEN_BY_THE_USER}
    return {row.name: row.choice.parse(value) if isinstance(value, str) else value for row, value in figures.items()}


def shelf(file, version, loras=()):
    entries = [{"name": lora, "file": lora, "prefix": "", "version": version} for lora in loras]
    return catalog(models=[model(file, version, default_scale=7)], loras=entries)


@pytest.mark.parametrize("number", range(len(PRESETS)), ids=[preset["name"] for preset in PRESETS])
def test_the_figures_of_a_preset_are_what_generate_sends(number):
    preset = PRESETS[number]
    file, version = preset["model"], preset["version"]
    loras = [lora["file"] for lora in preset["configuration"].get("loras", ())]
    if families.family(version).audio_input:
        pytest.skip("nothing can be sent to this family")
    fitting = [
        other
        for other in PRESETS
        if other["model"] == file and set(loras) <= {lora["file"] for lora in other["configuration"].get("loras", ())}
    ]
    expected = figures_of(fitting[0])  # the list's order decides between several
    known = shelf(file, version, loras)
    stack = tuple(LoRA(file=lora, weight=1.0) for lora in loras)
    sent = plan(Job(model=file, loras=stack), known).configuration
    assert {name: sent[name] for name in expected} == expected
    assert {"steps", "guidance_scale", "sampler"} <= expected.keys()
    if "start_width" not in expected:
        assert (sent["start_width"], sent["start_height"]) == (7 * 64, 7 * 64), "the model's own size"
    told = advice.advise(file, known, stack)
    assert told.size == (sent["start_width"], sent["start_height"])
    assert {name: told.options[name] for name in expected.keys() & told.options.keys()} == {
        name: value for name, value in expected.items() if name in told.options
    }
    assert expected.keys() - told.options.keys() <= {"start_width", "start_height", "strength"}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_family_has_figures_for_models_that_nobody_knows(version):
    file = "somebodys_own_model.ckpt"
    settings = families.recommended(file, version, default_scale=9)
    fallback = next(
        (preset for preset in PRESETS if preset["matches_version"] == version), {"configuration": TABLE["notes"].get(version, {})}
    )
    expected = {"start_width": 576, "start_height": 576} | figures_of(fallback)
    assert {name: settings[name] for name in expected} == expected
    assert Configuration(settings)["sampler"] in families.family(version).samplers
    assert advice.advise(file, shelf(file, version)).notes


@pytest.mark.parametrize("preset", PRESETS, ids=[preset["name"] for preset in PRESETS])
def test_presets_name_what_the_app_offers(preset):
    known = families.family(preset["version"])
    assert Configuration(families.recommended(preset["model"], preset["version"]))["sampler"] in known.samplers
    assert families.version_of_file(preset["model"]) == preset["version"]


# -- which files go together


def resolved(known_models, configuration):
    """What the simulator makes of the configuration's files, all of which are there."""

    class Everything:
        directory = type("Directory", (), {"exists": staticmethod(lambda name: bool(name))})()

        def known(self, kind):
            return known_models.get(kind, {})

    return simulated.resolve(Everything(), {kind: {} for kind in simulated.KINDS}, configuration)


def accepted(configuration, known):
    try:
        rules._check_families(configuration, known, known.find("model", "base.ckpt"))
    except errors.FamilyMismatch as error:
        return str(error)
    return ""


@pytest.mark.parametrize("version", VERSIONS)
def test_another_familys_files_are_refused_where_a_server_skips_them(version):
    """Both by the one rule of the reference: equal versions, but v1 LoRAs with Kandinsky, and the refiner's own LoRAs."""
    for other in VERSIONS:
        lora = {"name": "Lora", "file": "lora.ckpt", "prefix": "", "version": other}
        control = {"name": "Control", "file": "control.ckpt", "version": other, "type": "controlnet", "global_average_pooling": False}
        models = [model("base.ckpt", version), model("other.ckpt", other)]
        known = catalog(models=models, loras=[lora], controlNets=[control])
        served = {
            "models": {one["file"]: one for one in models},
            "loras": {"lora.ckpt": lora},
            "control_nets": {"control.ckpt": {**control, "modifier": "depth"}},
        }
        for record, expected in (
            ({"loras": [LoRA(file="lora.ckpt", weight=1.0)]}, other == version or (version, other) == ("kandinsky2.1", "v1")),
            ({"controls": [Control(file="control.ckpt")]}, other == version),
            ({"refiner_model": "other.ckpt"}, families.refines(other, version)),
            ({"refiner_model": "other.ckpt", "loras": [LoRA(file="lora.ckpt", weight=1.0)]}, families.refines(other, version)),
        ):
            configuration = Configuration(model="base.ckpt", **record)
            told = accepted(configuration, known)
            assert (not told) == expected == (not resolved(served, configuration).skipped), (version, other, record)
            if told and version != other:
                assert families.name_of(version) in told, "both families are named"
                assert families.name_of(other) in told
        switched_off = Configuration(
            model="base.ckpt", loras=[LoRA(file="lora.ckpt", weight=0)], controls=[Control(file="control.ckpt", weight=0)]
        )
        assert accepted(switched_off, known) == ""


def test_a_model_does_not_refine_itself():
    """The refiner must be a different file (model_families.json)."""
    known = catalog(models=[model("base.ckpt", "sdxl_base_v0.9")])
    told = plan(Job(model="base.ckpt", options={"refiner_model": "base.ckpt"}), known).notes
    assert "The refiner is the model itself, which does nothing: choose another file in Refiner Options, or none." in told
    assert (
        resolved(
            {"models": {"base.ckpt": model("base.ckpt", "sdxl_base_v0.9")}}, Configuration(model="base.ckpt", refiner_model="base.ckpt")
        ).refiner
        is None
    )


def test_requests_are_checked_by_that_rule():
    known = catalog(
        models=[model("base.ckpt", "flux1")], loras=[{"name": "Ink", "file": "ink.ckpt", "prefix": "", "version": "sdxl_base_v0.9"}]
    )
    request = GenerationRequest(Configuration(model="base.ckpt", loras=[LoRA(file="ink.ckpt", weight=1.0)]))
    with pytest.raises(errors.FamilyMismatch, match=r"Ink is for Stable Diffusion XL.*FLUX.1"):
        rules.check(request, known)


@pytest.mark.parametrize(
    ("file", "version", "figures"),
    [
        ("wan_v2.2_5b_ti2v_q8p.ckpt", "wan_v2.2_5b", {"shift": 5, "num_frames": 121, "start_width": 1280, "start_height": 704}),
        ("seedvr2_3b_q8p.ckpt", "seedvr2_3b", {"steps": 1, "guidance_scale": 1}),
        ("seedvr2_7b_q8p.ckpt", "seedvr2_7b", {"steps": 1, "guidance_scale": 1}),
    ],
)
def test_a_model_without_a_preset_takes_the_figures_of_its_notes(file, version, figures):
    told = families.recommended(file, version)
    assert {name: told[name] for name in figures} == figures
