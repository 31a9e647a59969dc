"""Edit Image, layers and transparency: what is sent, what comes back, and what is refused, against the simulator's process."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import editing, errors
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import Configuration, LoRA
from comfyui_drawthings.drawthings_core.families import family
from test_nodes import call, checkerboard, server

__all__ = ["server"]  # a fixture

SEVERAL = {
    "flux_1_kontext_dev_q8p.ckpt": "kontext",
    "qwen_image_edit_1.0_q6p.ckpt": "kontext",
    "qwen_image_edit_2509_q6p.ckpt": "qwenimage_edit_plus",
    "qwen_image_edit_2511_q6p.ckpt": "qwenimage_edit_2511",
    "flux_2_dev_q8p.ckpt": "kontext",
    "flux_2_klein_9b_q8p.ckpt": "kontext",
    "flux_2_klein_4b_q8p.ckpt": "kontext",
}
LAYERED = "qwen_image_layered_1.0_q8p.ckpt"
TRANSPARENT = (LoRA(file="layer_diffusion_sd_xl_base_1.0_lora_f16.ckpt"),)


def edit(**more):
    return {"model": "qwen_image_edit_2511_q6p.ckpt", "instruction": "make it blue", "width": 256, "height": 192, "steps": 4, **more}


def notes_of(info: str) -> list[str]:
    return json.loads(info)["notes"]


def plain(width: int, height: int, level: float, batch: int = 1) -> torch.Tensor:
    return torch.full((batch, height, width, 3), level)


# -- references


@pytest.mark.parametrize("file", SEVERAL)
def test_references_are_tensors_of_one_shuffle_hint_at_their_own_size(server, simulator, file):
    _, _, info = call(
        "DrawThingsEdit",
        server=server,
        image=checkerboard(500, 300),
        image_2=plain(100, 50, 0.25),
        image_4=plain(33, 77, 0.5, batch=2),
        **edit(model=file),
    )
    (arrived,) = simulator.requests()[-1:]
    assert arrived["image"]["shape"] == [1, 192, 256, 3]
    (shuffle,) = arrived["hints"]
    assert shuffle["type"] == "shuffle"
    assert [(tensor["shape"], tensor["weight"]) for tensor in shuffle["tensors"]] == [
        ([1, 50, 100, 3], 1.0),
        ([1, 77, 33, 3], 1.0),
        ([1, 77, 33, 3], 1.0),
    ]
    assert [round(tensor["mean"], 2) for tensor in shuffle["tensors"]] == [-0.5, 0.0, 0.0]
    assert arrived["prompt"] == "make it blue"
    assert arrived["configuration"]["strength"] == 1.0
    assert arrived["configuration"]["controls"] == []
    assert notes_of(info) == []


def test_a_moodboards_pictures_come_after_the_references(server, simulator):
    (board,) = call("DrawThingsMoodboard", images=plain(40, 40, 1.0), weight_1=0.5)
    call("DrawThingsEdit", server=server, image=checkerboard(), image_2=plain(64, 64, 0.0), hints=board, **edit())
    (shuffle,) = simulator.requests()[-1]["hints"]
    assert [(tensor["shape"][1], tensor["weight"]) for tensor in shuffle["tensors"]] == [(64, 1.0), (40, 0.5)]


def test_each_picture_of_a_batch_is_edited_with_all_references(server, simulator):
    simulator.clear()
    images, _, info = call("DrawThingsEdit", server=server, image=checkerboard(batch=2), image_2=plain(64, 64, 0.2), **edit(seed=7))
    assert images.shape == (2, 192, 256, 3)
    assert json.loads(info)["seeds"] == [7, 8]
    assert [len(request["hints"][0]["tensors"]) for request in simulator.requests()] == [1, 1]


def test_the_canvas_has_the_images_proportions(server):
    images, _, _ = call("DrawThingsEdit", server=server, image=checkerboard(600, 300), **edit(width=0, height=0))
    assert images.shape[1:3] == (704, 1472)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_image_is_seen_at_every_strength(server, strength):
    inputs = edit(strength=strength, seed=3)
    dark, _, _ = call("DrawThingsEdit", server=server, image=plain(256, 192, 0.0), **inputs)
    bright, _, _ = call("DrawThingsEdit", server=server, image=plain(256, 192, 1.0), **inputs)
    assert bright.mean() > dark.mean() + 0.2


def test_references_can_be_of_any_kind_of_picture(server, simulator):
    call(
        "DrawThingsEdit", server=server, image=checkerboard(), image_2=torch.rand(1, 20, 30, 4), image_3=torch.rand(1, 20, 30, 1), **edit()
    )
    assert [t["shape"] for t in simulator.requests()[-1]["hints"][0]["tensors"]] == [[1, 20, 30, 3]] * 2
    with pytest.raises(errors.InvalidImage, match="'image_5' has the shape"):
        call("DrawThingsEdit", server=server, image=checkerboard(), image_5=torch.rand(20, 30), **edit())
    with pytest.raises(errors.InvalidInput, match="'instruction' is int"):
        call("DrawThingsEdit", server=server, image=checkerboard(), **edit(instruction=3))


@pytest.mark.parametrize("file", [LAYERED, "hidream_e1_full_q8p.ckpt", "instruct_pix2pix_22000_f16.ckpt"])
def test_models_that_read_one_picture_leave_the_others_out(server, simulator, file):
    _, _, info = call("DrawThingsEdit", server=server, image=checkerboard(), image_2=checkerboard(), **edit(model=file))
    assert simulator.requests()[-1]["hints"] == []
    assert [note for note in notes_of(info) if "reads one picture only" in note]
    _, _, info = call("DrawThingsEdit", server=server, image=checkerboard(), **edit(model=file))
    assert not [note for note in notes_of(info) if "reads one picture only" in note]


# -- which models follow instructions


@pytest.mark.parametrize(
    "file",
    [
        "sd_v1.5_f16.ckpt",
        "sd_v1.5_inpainting_f16.ckpt",
        "flux_1_dev_q8p.ckpt",
        "flux_1_depth_dev_q8p.ckpt",
        "qwen_image_2512_q8p.ckpt",
        "seedvr2_3b_q8p.ckpt",
    ],
)
def test_other_models_are_refused_with_those_that_do(server, simulator, file):
    simulator.clear()
    with pytest.raises(errors.NotAnEditingModel, match=r"FLUX\.1, Qwen Image, FLUX\.2.*qwen_image_edit_1\.0_q6p\.ckpt.*on this server"):
        call("DrawThingsEdit", server=server, image=checkerboard(), **edit(model=file))
    assert simulator.requests() == []


def test_every_family_that_reads_references_is_named():
    named = editing._families()
    for version in ("flux1", "flux2", "flux2_9b", "flux2_4b", "qwen_image"):
        known = family(version)
        assert known is not None
        assert known.name in named
    assert not any("LTX" in name for name in named)


def references_of(file: str, known: Catalog, loras: tuple[LoRA, ...] = ()):
    version = next((entry.version for entry in [known.find("model", file)] if entry), None)
    return editing.references([np.zeros((1, 8, 8, 3))], Configuration(model=file, loras=loras), version, known)


def lora(file: str, **more):
    return {"name": file, "file": file, "prefix": "", "version": "flux1", **more}


def test_a_model_that_nobody_described_is_noted():
    hints, notes = references_of("mystery.ckpt", Catalog.empty())
    assert len(hints) == 1
    assert notes == ["Whether mystery.ckpt follows instructions is not known here: the server does not describe it."]


def test_a_lora_lends_its_modifier():
    known = catalog(models=[model("flux.ckpt", "flux1")], loras=[lora("kontext.ckpt", modifier="kontext"), lora("style.ckpt")])
    assert references_of("flux.ckpt", known, (LoRA(file="style.ckpt"), LoRA(file="kontext.ckpt")))[1] == []
    with pytest.raises(errors.NotAnEditingModel):
        references_of("flux.ckpt", known, (LoRA(file="style.ckpt"),))
    assert "not known here" in references_of("flux.ckpt", known, (LoRA(file="unknown.ckpt"),))[1][0]


def test_a_modifier_of_a_newer_server_is_not_refused():
    known = catalog(models=[model("new.ckpt", "qwen_image", modifier="qwenimage_edit_3000")])
    hints, notes = references_of("new.ckpt", known)
    assert (len(hints), notes) == (1, [])


def test_video_models_read_one_picture():
    known = catalog(models=[model("ltx.ckpt", "ltx2.3", modifier="kontext")])
    hints, notes = references_of("ltx.ckpt", known)
    assert hints == []
    assert "reads one picture only" in notes[0]


# -- layers and transparency


def test_layers_come_as_a_batch_with_their_alpha(server):
    inputs = edit(model=LAYERED, batch_size=3, seed=11)
    images, mask, info = call("DrawThingsEdit", server=server, image=checkerboard(), **inputs)
    assert images.shape == (3, 192, 256, 3)
    assert mask.shape == (3, 192, 256)
    assert not mask[0].any()
    assert 0.2 < float(mask[1].mean()) < 0.98
    assert not torch.equal(mask[1], mask[2])
    told = json.loads(info)
    assert [row["layer"] for row in told["images"]] == [1, 2, 3]
    assert told["seeds"] == [11, 11, 11]
    assert told["notes"] == []


def test_layers_of_several_pictures_are_told_apart(server):
    _, _, info = call("DrawThingsEdit", server=server, image=checkerboard(batch=2), **edit(model=LAYERED, batch_size=2, seed=1))
    rows = json.loads(info)["images"]
    assert [(row["input_image"], row["layer"], row["seed"]) for row in rows] == [(0, 1, 1), (0, 2, 1), (1, 1, 2), (1, 2, 2)]


def test_a_transparent_decoder_gives_a_mask(server):
    inputs = {"model": "sd_xl_base_1.0_f16.ckpt", "prompt": "a glass", "width": 256, "height": 192, "steps": 4, "loras": TRANSPARENT}
    images, mask, info = call("DrawThingsGenerate", server=server, **inputs, batch_size=2)
    assert images.shape == (2, 192, 256, 3)
    assert 0 < float(mask.mean()) < 1
    assert "layer" not in json.loads(info)["images"][0]


def inpainted(server, image: torch.Tensor, loras=TRANSPARENT):
    mask = torch.zeros(1, 192, 256)
    mask[:, 64:128, 64:192] = 1
    inputs = {"model": "sd_xl_base_1.0_f16.ckpt", "prompt": "a glass", "width": 256, "height": 192, "steps": 4, "loras": loras}
    return mask[0] == 1, *call("DrawThingsInpaint", server=server, image=image, mask=mask, options={"mask_blur": 0}, **inputs)


def test_inpainting_with_transparency_sends_what_repaints(server, simulator):
    """Class 1 would be ignored and class 2 is needed; what is kept of an opaque picture is class 3."""
    covered, images, mask, _ = inpainted(server, checkerboard())
    assert simulator.requests()[-1]["mask"]["codes"] == {"2": 64 * 128, "3": 192 * 256 - 64 * 128}
    assert torch.equal(images[0][~covered], checkerboard()[0][~covered])
    assert not mask[0][~covered].any()
    assert mask[0][covered].any()


def test_inpainting_keeps_the_transparency_of_a_picture_with_alpha(server, simulator):
    alpha = torch.ones(192, 256, 1)
    alpha[:, :32] = 0
    alpha[:, 224:] = 0.5
    picture = torch.cat((checkerboard()[0], alpha), 2)[None]
    covered, _, mask, _ = inpainted(server, picture)
    codes = simulator.requests()[-1]["mask"]["codes"]
    assert codes == {"1": 192 * 64, "2": 64 * 128, "3": 192 * 192 - 64 * 128}
    kept = mask[0][~covered]
    expected = 1 - alpha[..., 0][~covered]
    assert float((kept - expected).abs().max()) < 8 / 255 + 1e-3  # five bits of alpha


@pytest.mark.parametrize("picture", [None, checkerboard()])
def test_an_instruction_model_can_do_without_pictures(server, picture):
    inputs = {"model": "flux_2_klein_4b_q8p.ckpt", "prompt": "a cat", "width": 256, "height": 192, "steps": 4, "strength": 1.0}
    assert notes_of(call("DrawThingsGenerate", server=server, image=picture, **inputs)[2]) == []
