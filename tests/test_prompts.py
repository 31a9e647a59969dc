"""Keywords of textual inversions and trigger words, as a server describes them, in prompts and on the wire."""

from __future__ import annotations

import json

import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import errors, prompts
from comfyui_drawthings.drawthings_core.configuration import Configuration, LoRA
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from test_nodes import MODEL, call, server, small

EASY, UNAESTHETIC = "easynegative_ti_f16.ckpt", "unaestheticxlv31_ti_f16.ckpt"
MOXIN, SKETCHBOOK, DETAIL = "moxin_v1_lora_f16.ckpt", "my_sketchbook_lora_f16.ckpt", "add_detail_v1.5_lora_f16.ckpt"

__all__ = ["server"]


def inversion(file: str, keyword: str, version: str = "v1") -> dict:
    return {"name": file, "file": file, "keyword": keyword, "length": 3, "version": version}


# -- Textual Inversion


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"text": "blurry"}, "blurry, <easynegative>"),
        ({"text": "blurry", "position": "at the start"}, "<easynegative>, blurry"),
        ({"text": "blurry, ", "weight": 0.8}, "blurry, (<easynegative>:0.8)"),
        ({"text": ""}, "<easynegative>"),
        ({"text": " \n"}, "<easynegative>"),
        ({"text": "a <EasyNegative> b"}, "a <EasyNegative> b"),
        ({"text": "easynegative"}, "easynegative, <easynegative>"),
        ({"text": "two\nlines"}, "two\nlines, <easynegative>"),
        ({"text": "kept as it is, ", "inversion": "none"}, "kept as it is, "),
        ({"text": "a", "weight": 0}, "a"),
        ({"text": "a", "inversion": "none", "inversion_file": f" {EASY} "}, "a, <easynegative>"),
    ],
)
def test_where_the_keyword_goes(server, inputs, expected):
    assert call("DrawThingsTextualInversion", server=server, **{"inversion": EASY, **inputs}) == (expected,)


def test_a_keyword_arrives_with_its_description(server, simulator):
    (negative,) = call("DrawThingsTextualInversion", server=server, inversion=EASY, text="blurry", weight=1.2)
    (negative,) = call("DrawThingsTextualInversion", server=server, inversion="badhandv4_ti_f16.ckpt", text=negative)
    simulator.clear()
    _, _, info = call("DrawThingsGenerate", server=server, **small(negative_prompt=negative))
    (arrived,) = simulator.requests()
    assert arrived["negative_prompt"] == "blurry, (<easynegative>:1.2), <badhandv4>"
    assert arrived["keywords"] == ["easynegative", "badhandv4"]
    assert [one["file"] for one in arrived["override"]["textual_inversions"]] == [EASY, "badhandv4_ti_f16.ckpt"]
    assert any("gRPCServerCLI reads <easynegative>, <badhandv4> as ordinary words" in note for note in json.loads(info)["notes"])


def test_inversions_are_offered(server):
    from test_nodes import NODES

    offered = NODES["DrawThingsTextualInversion"].INPUT_TYPES()["required"]["inversion"][0]
    assert offered[0] == "none"
    assert {EASY, UNAESTHETIC} <= set(offered)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"inversion_file": "easynegativ_ti_f16.ckpt"}, errors.FileNotOnServer, r"did you mean easynegative_ti_f16\.ckpt"),
        ({"inversion_file": MOXIN}, errors.FileNotUsable, "is a LoRA, not a textual inversion"),
        ({"text": 5}, errors.InvalidInput, "'text' is int"),
        ({"position": "sideways"}, errors.InvalidSetting, "position is 'sideways'"),
        ({"server": None}, errors.InvalidInput, "connect a Load Server"),
    ],
)
def test_what_is_wrong_with_an_inversion_is_said(server, inputs, error, words):
    with pytest.raises(error, match=words):
        call("DrawThingsTextualInversion", **{"server": server, "inversion": EASY, "text": "a", **inputs})


def test_a_server_that_lists_nothing_has_no_keywords():
    with SimulatorProcess("--no-tls", "--step-seconds", "0") as silent:
        (server,) = call("DrawThingsLoadServer", host=silent.host, port=silent.port)
        with pytest.raises(errors.InvalidInput, match="write it into the prompt yourself"):
            call("DrawThingsTextualInversion", server=server, inversion=EASY, text="a")


@pytest.mark.parametrize(
    ("chosen", "prompt", "error", "words"),
    [
        (MODEL, "a <unaestheticxlv31>", errors.FamilyMismatch, "Textual inversion Unaesthetic XL v3.1 is for Stable Diffusion XL.*"),
        ("sd_xl_base_1.0_f16.ckpt", "<EASYNEGATIVE>", errors.FamilyMismatch, "is for Stable Diffusion v1"),
        ("z_image_1.0_q8p.ckpt", "<easynegative>", errors.InvalidInput, "has none and the server would stop"),
    ],
)
def test_an_inversion_that_does_not_fit_is_refused(server, chosen, prompt, error, words):
    with pytest.raises(error, match=words):
        call("DrawThingsGenerate", server=server, **small(model=chosen, prompt=prompt))


def test_families_that_share_their_text_encoders_share_inversions(server):
    call("DrawThingsGenerate", server=server, **small(model="ssd_1b_f16.ckpt", prompt="<unaestheticxlv31>"))


def test_which_of_several_inversions_with_one_keyword_is_meant():
    """That of a loaded LoRA, else the last registered; never one of another family while the model's has one."""
    files = [inversion("a.ckpt", "mood"), inversion("b.ckpt", "mood"), inversion("c.ckpt", "mood", "sdxl_base_v0.9")]
    offered = catalog(models=[model("m_f16.ckpt", "v1"), model("x_f16.ckpt", "sdxl_base_v0.9")], textualInversions=files)

    def meant(**settings):
        return [entry.file for entry in offered.keywords_in(["a <Mood> b <mood>", "< mood >"], Configuration(settings))]

    assert meant(model="m_f16.ckpt") == ["b.ckpt"]
    assert meant(model="x_f16.ckpt") == ["c.ckpt"]
    assert meant(model="m_f16.ckpt", loras=(LoRA(file="a.ckpt", weight=1),)) == ["a.ckpt"]


# -- Trigger Words


def loras(*files: str) -> tuple[LoRA, ...]:
    return tuple(LoRA(file=file, weight=0.7) for file in files)


def test_trigger_words_of_loras_and_of_the_model(server, simulator):
    (stack,) = call("DrawThingsLoRAStack", lora_1=MOXIN, lora_2=DETAIL, lora_3=SKETCHBOOK, weight_3=0)
    (stack,) = call("DrawThingsLoRAStack", loras=stack, lora_1=SKETCHBOOK)
    text, words, notes = call("DrawThingsTriggerWords", server=server, text="a heron", model="mo_di_v1_f16.ckpt", loras=stack)
    assert words == "modern disney style, shuimobysim, sketchbook page"
    assert text == "modern disney style, shuimobysim, sketchbook page, a heron"
    assert notes.splitlines() == [
        "Mo-Di Diffusion v1: modern disney style",
        "Moxin Ink v1: shuimobysim",
        "Add Detail v1.5 has no trigger words.",
        "My Sketchbook: sketchbook page",
    ]
    simulator.clear()
    call("DrawThingsGenerate", server=server, **small(model="mo_di_v1_f16.ckpt", prompt=text, loras=stack))
    assert simulator.requests()[0]["prompt"] == text


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ("a heron", (), "a heron"),
        ("a heron, ", (DETAIL,), "a heron, "),
        ("ink, SHUIMOBYSIM, heron", (MOXIN,), "ink, SHUIMOBYSIM, heron"),
        ("shuimobysims", (MOXIN,), "shuimobysim, shuimobysims"),
        ("", (MOXIN, SKETCHBOOK), "shuimobysim, sketchbook page"),
        ("sketchbook page of a heron", (MOXIN, SKETCHBOOK), "shuimobysim, sketchbook page of a heron"),
    ],
)
def test_words_are_not_repeated(server, text, files, expected):
    assert call("DrawThingsTriggerWords", server=server, text=text, model="none", loras=loras(*files))[0] == expected


def test_words_that_two_files_want_are_there_once():
    both = [{"name": name, "file": name, "prefix": prefix, "version": "v1"} for name, prefix in (("a.ckpt", "Ink, "), ("b.ckpt", "ink"))]
    words, _ = prompts.trigger_words(catalog(models=[model("m.ckpt", "v1")], loras=both), "", loras("a.ckpt", "b.ckpt"))
    assert words == ["Ink"]


def test_files_that_are_not_described_are_named():
    _, notes = prompts.trigger_words(catalog(models=[model("m.ckpt", "v1")]), "other.ckpt", loras("x.ckpt"))
    assert notes == [
        "The server does not describe the model other.ckpt, so its trigger words are not known.",
        "The server does not describe the LoRA x.ckpt, so its trigger words are not known.",
    ]


def test_wrong_inputs_of_trigger_words(server):
    with pytest.raises(errors.InvalidInput, match="connect LoRA Stack"):
        call("DrawThingsTriggerWords", server=server, text="", model="none", loras="x")
    with pytest.raises(errors.InvalidInput, match="connect a Load Server"):
        call("DrawThingsTriggerWords", server=3, text="", model="none")
