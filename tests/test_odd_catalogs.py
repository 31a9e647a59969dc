"""Catalogues with values of other kinds than a server of today has."""

from __future__ import annotations

import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import editing
from comfyui_drawthings.drawthings_core.configuration import Configuration, LoRA

ODD = [7, "a.ckpt", [["b.ckpt"], {"c": 1}, None], {"d": []}, None]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_stages_and_decoders_of_another_kind(odd):
    lora = {**model("l.ckpt", "sdxl_base_v0.9"), "alternative_decoder_version": odd}
    known = catalog(models=[model("m.ckpt", "sdxl_base_v0.9", stage_models=odd)], loras=[lora])
    settings = Configuration(model="m.ckpt", loras=[LoRA(file="l.ckpt")])
    assert not editing.makes_alpha(settings, known)
    assert b"m.ckpt" in known.override(settings).models
