"""What each hint becomes on the wire and what each control then follows: a row for each row of the tables in
app_behaviour.md section 3, against a server that ends where the real one would stop.

What is expected is written out from that page, not taken from our own tables.
"""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import errors
from comfyui_drawthings.drawthings_core.client import client_for
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, ControlInputType, Options
from comfyui_drawthings.drawthings_core.controls import reading_of_control
from comfyui_drawthings.drawthings_core.hint_inputs import HintInput, wire_hints
from comfyui_drawthings.drawthings_core.images import Fit
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from test_nodes import NODES, call

SD, SDXL, FLUX = "sd_v1.5_f16.ckpt", "sd_xl_base_1.0_f16.ckpt", "flux_1_schnell_q8p.ckpt"
WAN, HUNYUAN, SD3 = "wan_v2.1_1.3b_480p_f16.ckpt", "hunyuan_video_t2v_720p_q8p.ckpt", "sd3_large_turbo_3.5_q8p.ckpt"
UNION = "controlnet_union_promax_sdxl_v1.0_f16.ckpt"
IP_ADAPTER = "ip_adapter_plus_1.x_f16.ckpt"
WIDTH, HEIGHT = 256, 192


@pytest.fixture(scope="module")
def strict() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--no-tls", "--model-browser", "--strict", "--step-seconds", "0", "--picture", "plain") as running:
        yield running


@pytest.fixture(scope="module")
def server(strict):
    return call("DrawThingsLoadServer", host=strict.host, port=strict.port)[0]


def ramp(width=WIDTH, height=HEIGHT, batch=1) -> torch.Tensor:
    """From black to white, so that the extremes on the wire are the range."""
    line = torch.linspace(0, 1, width)[None, None, :, None]
    return line.expand(batch, height, width, 3).contiguous()


class Outcome(NamedTuple):
    """What arrived (hintType -> tensors), what the server fed each control with, and the notes of the node."""

    hints: dict[str, list[dict[str, Any]]]
    controls: list[dict[str, Any]]
    fed: list[tuple[str, str | None]]
    path: str
    notes: list[str]

    @property
    def shapes(self) -> dict[str, list[list[int]]]:
        return {name: [tensor["shape"] for tensor in tensors] for name, tensors in self.hints.items()}


def generate(strict: SimulatorProcess, server: Any, model: str = SD, node: str = "DrawThingsGenerate", **inputs: Any) -> Outcome:
    strict.clear()
    values = {"model": model, "prompt": "x", "width": WIDTH, "height": HEIGHT, "steps": 4, **inputs}
    *_, info = call(node, server=server, **values)
    (arrived,) = strict.requests()
    seen = strict.state()["history"][-1]
    return Outcome(
        {hint["type"]: hint["tensors"] for hint in arrived["hints"]},
        arrived["configuration"]["controls"],
        [(one["modifier"], one["source"]) for one in seen["fed"]],
        seen["path"],
        json.loads(info)["notes"],
    )


def hint(kind: str, control: str = "none", image: torch.Tensor | None = None, hints: Any = (), **more: Any) -> Any:
    return call("DrawThingsControlNetHint", hint_type=kind, control=control, image=image, hints=hints, **more)[0]


def board(control: str = "none", batch: int = 1, hints: Any = (), **more: Any) -> Any:
    return call("DrawThingsMoodboard", images=ramp(100, 60, batch), control=control, hints=hints, **more)[0]


def options(**settings: Any) -> Options:
    return Options(settings)


# -- the first table: what each hint is on the wire

CANVAS = [1, HEIGHT, WIDTH]


@pytest.mark.parametrize(
    ("kind", "control", "model", "wire", "shape", "extremes"),
    [
        ("Custom", "controlnet_qrcode_1.x_v2.0_f16.ckpt", SD, "custom", [*CANVAS, 3], (-1, 1)),
        ("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", SD, "depth", [*CANVAS, 1], (-1, 1)),
        ("Scribble", "controlnet_scribble_1.x_v1.1_f16.ckpt", SD, "scribble", [*CANVAS, 3], (0, 1)),
        ("Pose", "controlnet_openpose_1.x_v1.1_f16.ckpt", SD, "pose", [*CANVAS, 3], (0, 1)),
        ("Pose", "controlnet_union_pro_flux_1_dev_1.0_q8p.ckpt", FLUX, "pose", [*CANVAS, 3], (-1, 1)),
        ("Color", "t2iadapter_color_1.x_f16.ckpt", SD, "color", [*CANVAS, 3], (-1, 1)),
        ("Shuffle", "controlnet_shuffle_1.x_v1.1_f16.ckpt", SD, "shuffle", [1, 96, 128, 3], (-1, 1)),
    ],
)
def test_the_tensor_of_a_hint(strict, server, kind, control, model, wire, shape, extremes):
    """Half floats with four dimensions, at the canvas's size but for references; the control reads it, and nothing is said."""
    done = generate(strict, server, model, hints=hint(kind, control, ramp(128, 96)))
    assert list(done.hints) == [wire]
    (tensor,) = done.hints[wire]
    assert tensor["dtype"] == "float16"
    assert tensor["format"] == "NHWC"
    assert tensor["shape"] == shape
    assert (tensor["minimum"], tensor["maximum"]) == pytest.approx(extremes, abs=0.02)
    assert [source for _, source in done.fed] == [wire]
    assert not any("hint" in note or "follow" in note for note in done.notes)


def test_near_is_high_in_a_depth_map(strict, server):
    done = generate(strict, server, hints=hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", torch.ones(1, 8, 8, 3)))
    assert done.hints["depth"][0]["mean"] == 1


def test_audio_is_explained():
    with pytest.raises(errors.InvalidInput, match="Audio hints are not supported: they are speech features"):
        hint("Audio", "none", ramp())
    assert "Audio" in NODES["DrawThingsControlNetHint"].INPUT_TYPES()["required"]["hint_type"][0]


def test_an_entry_of_a_type_that_is_not_read_never_travels(strict, server):
    """Canny, lineart, softedge, normal, segmentation, mlsd, tile, blur, low quality and gray go into "custom"."""
    for kind in ("Canny", "LineArt", "SoftEdge", "Normal BAE", "Segmentation", "MLSD", "Tile", "Blur", "Low Quality", "Gray"):
        done = generate(strict, server, SDXL, hints=hint(kind, UNION, ramp()))
        assert list(done.hints) == ["custom"], kind
        assert done.fed[0][1] == "custom", kind


def test_two_maps_for_one_place_are_refused_and_one_map_serves_two_controls(strict, server):
    edges = hint("Canny", "controlnet_canny_1.x_v1.1_f16.ckpt", ramp())
    with pytest.raises(errors.InvalidInput, match="Canny and LineArt share one place"):
        generate(strict, server, hints=hint("LineArt", "controlnet_lineart_1.x_v1.1_f16.ckpt", ramp(), hints=edges))
    with pytest.raises(errors.InvalidInput, match="There are two Canny hints, of which a server reads one"):
        generate(strict, server, hints=hint("Canny", image=ramp(), hints=edges))
    done = generate(strict, server, hints=hint("LineArt", "controlnet_lineart_1.x_v1.1_f16.ckpt", hints=edges))
    assert done.fed == [("canny", "custom"), ("lineart", "custom")]
    assert any("takes the Canny hint as its LineArt map" in note for note in done.notes)


def test_every_type_of_control_is_known_and_on_the_server(server):
    """The types of model_specs.md; of one that a newer server brings nothing is said."""
    types = {"controlnet", "t2iadapter", "ipadapterplus", "ipadapterfull", "controlnetlora", "inject_kv", "ipadapterfaceidplus"}
    types |= {"controlnetunion", "pulid", "redux", "llava"}
    assert {entry.specification["type"] for entry in client_for(server).catalog().entries["control"].values()} == types
    readings = {kind: reading_of_control({"type": kind, "modifier": "shuffle"}, ControlInputType.shuffle) for kind in types}
    assert all(reading is not None for reading in readings.values())
    assert reading_of_control({"type": "newer"}, ControlInputType.depth) is None
    assert reading_of_control({"type": "controlnet", "modifier": "newer"}, ControlInputType.depth) is None


# -- pose and the passes of the high-resolution fix (section 4)

POSE = "controlnet_openpose_1.x_v1.1_f16.ckpt"
TWO_PASSES = {"hires_fix": True, "hires_fix_start_width": 128, "hires_fix_start_height": 128}


@pytest.mark.parametrize(
    ("settings", "image", "strength", "shapes", "path"),
    [
        ({}, False, 1.0, [[*CANVAS, 3]], "text"),
        (TWO_PASSES, False, 1.0, [[1, 128, 128, 3], [*CANVAS, 3]], "text"),
        ({**TWO_PASSES, "hires_fix_strength": 1.0}, False, 1.0, [[*CANVAS, 3]], "text"),
        ({**TWO_PASSES, "hires_fix_start_width": WIDTH}, False, 1.0, [[*CANVAS, 3]], "text"),
        (TWO_PASSES, True, 0.5, [[*CANVAS, 3]], "image"),
        (TWO_PASSES, True, 1.0, [[1, 128, 128, 3], [*CANVAS, 3]], "text"),
    ],
)
def test_a_pose_has_the_size_of_each_pass(strict, server, settings, image, strength, shapes, path):
    inputs: dict[str, Any] = {"image": ramp()} if image else {}
    done = generate(
        strict, server, hints=hint("Pose", POSE, ramp(64, 64)), options=options(**settings), strength=strength, steps=8, **inputs
    )
    assert done.shapes == {"pose": shapes}
    assert done.path == path


def test_a_second_pass_that_may_not_come_is_refused_with_a_pose(strict, server):
    """DDIM with 4 steps begins at the first of them from strength 0.751 on: the first pose would then not be of the canvas."""
    pose = hint("Pose", POSE, ramp())
    with pytest.raises(errors.InvalidSetting, match=r"Second pass strength is 0\.9, but allowed is a lower one: with DDIM and 4 steps"):
        generate(strict, server, hints=pose, sampler="DDIM", options=options(**TWO_PASSES, hires_fix_strength=0.9))
    done = generate(strict, server, hints=pose, sampler="DDIM", options=options(**TWO_PASSES, hires_fix_strength=0.7))
    assert len(done.hints["pose"]) == 2


def test_other_hints_are_sent_once_for_two_passes(strict, server):
    chained = hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", ramp(), hints=hint("Canny", "controlnet_canny_1.x_v1.1_f16.ckpt", ramp()))
    passes = options(hires_fix=True, hires_fix_start_width=WIDTH, hires_fix_start_height=HEIGHT)
    done = generate(strict, server, hints=chained, options=passes, steps=8, width=2 * WIDTH, height=2 * HEIGHT)
    assert done.shapes == {"custom": [[1, 2 * HEIGHT, 2 * WIDTH, 3]], "depth": [[1, 2 * HEIGHT, 2 * WIDTH, 1]]}
    (note,) = (note for note in done.notes if "first pass only" in note)
    assert note.startswith("Canny Edge Map (SD v1.x, ControlNet 1.1) follows your map in the first pass only")


@pytest.mark.parametrize(
    ("kind", "control", "model", "image", "refused"),
    [
        ("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", SD, False, "depth"),
        ("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", SD, True, "depth"),
        ("Canny", "none", "flux_1_canny_dev_q8p.ckpt", False, "custom"),
        ("Canny", "none", "flux_1_canny_dev_q8p.ckpt", True, None),  # which follows the image
        ("Canny", "controlnet_canny_1.x_v1.1_f16.ckpt", SD, False, None),
    ],
)
def test_a_map_that_a_server_scales_wrongly_is_refused_for_a_pass_of_other_proportions(
    strict, server, kind, control, model, image, refused
):
    """tensors.md section 6: depth maps, and an edge map that FLUX Canny follows."""
    inputs = {"image": ramp(), "strength": 1.0} if image else {}
    chained = hint(kind, control, ramp())
    strict.clear()
    if refused is None:
        assert "custom" in generate(strict, server, model, hints=chained, options=options(**TWO_PASSES), steps=8, **inputs).hints
        return
    with pytest.raises(errors.InvalidImage, match=f"The {refused} hint is 256x192, which a server cannot scale to a pass of 128x128"):
        generate(strict, server, model, hints=chained, options=options(**TWO_PASSES), steps=8, **inputs)
    assert strict.requests() == []
    assert refused in generate(strict, server, model, hints=chained, steps=8, **inputs).hints


# -- the second table: what each control follows

IMAGE, NOTHING = "image", None
IGNORED = "hint is ignored: with an image connected the server computes"
NO_SOURCE = "has nothing to follow: connect"

SECOND_TABLE = [
    # control, model, type of its map (or none), image connected; it follows; hints on the wire; a note
    ("controlnet_canny_1.x_v1.1_f16.ckpt", SD, "Canny", None, True, IMAGE, [], ""),
    ("controlnet_canny_1.x_v1.1_f16.ckpt", SD, "Canny", "Canny", True, IMAGE, ["custom"], IGNORED),
    ("controlnet_canny_1.x_v1.1_f16.ckpt", SD, "Canny", "Canny", False, "custom", ["custom"], ""),
    ("controlnet_canny_1.x_v1.1_f16.ckpt", SD, "Canny", None, False, NOTHING, [], NO_SOURCE),
    ("flux_1_canny_dev_control_lora_f16.ckpt", FLUX, "Canny", None, True, IMAGE, [], ""),
    (UNION, SDXL, "Canny", None, True, IMAGE, [], ""),
    ("controlnet_mlsd_1.x_v1.1_f16.ckpt", SD, "MLSD", None, True, IMAGE, [], ""),
    ("controlnet_mlsd_1.x_v1.1_f16.ckpt", SD, "MLSD", "MLSD", True, IMAGE, ["custom"], IGNORED),
    ("controlnet_mlsd_1.x_v1.1_f16.ckpt", SD, "MLSD", "MLSD", False, "custom", ["custom"], ""),
    ("controlnet_softedge_1.x_v1.1_f16.ckpt", SD, "SoftEdge", None, True, IMAGE, [], ""),
    ("controlnet_softedge_1.x_v1.1_f16.ckpt", SD, "SoftEdge", "SoftEdge", True, IMAGE, ["custom"], IGNORED),
    ("controlnet_softedge_1.x_v1.1_f16.ckpt", SD, "SoftEdge", "SoftEdge", False, "custom", ["custom"], ""),
    ("my_softedge_1.x_f16.ckpt", SD, "SoftEdge", "SoftEdge", True, "custom", ["custom"], ""),
    ("my_softedge_1.x_f16.ckpt", SD, "SoftEdge", None, True, NOTHING, [], "has no preprocessor that makes the SoftEdge map"),
    ("controlnet_depth_1.x_v1.1_f16.ckpt", SD, "Depth", "Depth", True, "depth", ["depth"], ""),
    ("controlnet_depth_1.x_v1.1_f16.ckpt", SD, "Depth", None, True, IMAGE, [], ""),
    ("controlnet_depth_1.x_v1.1_f16.ckpt", SD, "Depth", None, False, NOTHING, [], NO_SOURCE),
    ("flux_1_depth_dev_control_lora_f16.ckpt", FLUX, "Depth", "Depth", False, "depth", ["depth"], ""),
    (UNION, SDXL, "Depth", "Depth", True, "depth", ["depth"], ""),
    ("controlnet_scribble_1.x_v1.1_f16.ckpt", SD, "Scribble", "Scribble", True, "scribble", ["scribble"], ""),
    ("controlnet_scribble_1.x_v1.1_f16.ckpt", SD, "Scribble", None, True, IMAGE, [], ""),
    (UNION, SDXL, "Scribble", None, True, NOTHING, [], "has no preprocessor that makes the Scribble map"),
    ("controlnet_openpose_1.x_v1.1_f16.ckpt", SD, "Pose", "Pose", True, "pose", ["pose"], ""),
    ("controlnet_openpose_1.x_v1.1_f16.ckpt", SD, "Pose", "Custom", True, "custom", ["custom"], ""),
    ("controlnet_openpose_1.x_v1.1_f16.ckpt", SD, "Pose", None, True, NOTHING, [], NO_SOURCE),
    (UNION, SDXL, "Pose", "Pose", False, "pose", ["pose"], ""),
    ("controlnet_lineart_1.x_v1.1_f16.ckpt", SD, "LineArt", "LineArt", True, "custom", ["custom"], ""),
    ("controlnet_lineart_1.x_v1.1_f16.ckpt", SD, "LineArt", None, True, NOTHING, [], NO_SOURCE),
    ("controlnet_normalbae_1.x_v1.1_f16.ckpt", SD, "Normal BAE", "Normal BAE", True, "custom", ["custom"], ""),
    ("controlnet_normalbae_1.x_v1.1_f16.ckpt", SD, "Normal BAE", None, True, NOTHING, [], NO_SOURCE),
    ("controlnet_seg_1.x_v1.1_f16.ckpt", SD, "Segmentation", "Segmentation", True, "custom", ["custom"], ""),
    ("controlnet_qrcode_1.x_v2.0_f16.ckpt", SD, "Custom", "Custom", True, "custom", ["custom"], ""),
    ("controlnet_tile_1.x_v1.1_f16.ckpt", SD, "Tile", "Tile", True, "custom", ["custom"], ""),
    ("controlnet_tile_1.x_v1.1_f16.ckpt", SD, "Tile", None, True, IMAGE, [], ""),
    ("controlnet_tile_1.x_v1.1_f16.ckpt", SD, "Tile", None, False, NOTHING, [], NO_SOURCE),
    ("controlnet_blur_sd3_large_3.5_q8p.ckpt", SD3, "Blur", None, True, IMAGE, [], ""),
    ("controlnet_recolor_sdxl_v1.0_f16.ckpt", SDXL, "Gray", None, True, IMAGE, [], ""),
    ("controlnet_upscaler_flux_1_v1.0_q8p.ckpt", FLUX, "Low Quality", "Low Quality", True, "custom", ["custom"], ""),
    ("controlnet_upscaler_flux_1_v1.0_q8p.ckpt", FLUX, "Low Quality", None, True, IMAGE, [], ""),
    ("controlnet_inpaint_1.x_v1.1_f16.ckpt", SD, "Inpaint", None, True, IMAGE, [], ""),
    ("controlnet_inpaint_1.x_v1.1_f16.ckpt", SD, "Inpaint", None, False, NOTHING, [], NO_SOURCE),
    ("controlnet_ip2p_1.x_v1.1_f16.ckpt", SD, "Instruct Pix2Pix", None, True, IMAGE, [], ""),
    ("controlnet_shuffle_1.x_v1.1_f16.ckpt", SD, "Shuffle", "Shuffle", True, "shuffle", ["shuffle"], ""),
    ("controlnet_shuffle_1.x_v1.1_f16.ckpt", SD, "Shuffle", "Custom", True, "custom", ["custom"], ""),
    ("controlnet_shuffle_1.x_v1.1_f16.ckpt", SD, "Shuffle", None, True, NOTHING, [], NO_SOURCE),
    ("wan_v2.1_1.3b_vace_control_f16.ckpt", WAN, "Shuffle", None, True, IMAGE, [], ""),
    (UNION, SDXL, "Color", "Color", True, NOTHING, ["color"], "does nothing: a server feeds no Color map to a control of its kind"),
    # T2I adapters
    ("t2iadapter_canny_1.x_f16.ckpt", SD, "Canny", None, True, IMAGE, [], ""),
    ("t2iadapter_canny_1.x_f16.ckpt", SD, "Canny", "Canny", False, "custom", ["custom"], ""),
    ("t2iadapter_depth_1.x_f16.ckpt", SD, "Depth", "Depth", True, "depth", ["depth"], ""),
    ("t2iadapter_depth_1.x_f16.ckpt", SD, "Depth", None, True, NOTHING, [], NO_SOURCE),
    ("t2iadapter_sketch_1.x_f16.ckpt", SD, "Scribble", "Scribble", True, "scribble", ["scribble"], ""),
    ("t2iadapter_sketch_1.x_f16.ckpt", SD, "Scribble", None, True, NOTHING, [], NO_SOURCE),
    ("t2iadapter_openpose_1.x_f16.ckpt", SD, "Pose", "Pose", True, "pose", ["pose"], ""),
    ("t2iadapter_openpose_1.x_f16.ckpt", SD, "Pose", "Custom", True, "custom", ["custom"], ""),
    ("t2iadapter_color_1.x_f16.ckpt", SD, "Color", "Color", True, "color", ["color"], ""),
    ("t2iadapter_color_1.x_f16.ckpt", SD, "Color", None, True, IMAGE, [], ""),
]


@pytest.mark.parametrize(
    ("control", "model", "kind", "own_map", "image", "follows", "wires", "note"),
    SECOND_TABLE,
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_a_control_follows(strict, server, control, model, kind, own_map, image, follows, wires, note):
    """own_map "Custom" for another kind: the map is a node of its own, and the control has none."""
    given = hint(own_map, image=ramp()) if own_map not in (None, kind) else ()
    hints = hint(kind, control, ramp() if own_map == kind else None, hints=given)
    inputs: dict[str, Any] = {"image": ramp()} if image else {}
    done = generate(strict, server, model, hints=hints, strength=0.6, **inputs)
    assert [source for _, source in done.fed] == [follows]
    assert list(done.hints) == wires
    about = [one for one in done.notes if "hint" in one or "follow" in one or "does nothing" in one]
    assert any(note in one for one in about) if note else about == []


def test_what_the_server_needs_for_a_depth_map(strict, server):
    """Depth Anything makes it; without its file a control that has no map of its own has nothing."""
    estimator = strict.models_directory / "depth_anything_v2.0_f16.ckpt"
    kept = estimator.read_bytes()
    estimator.unlink()
    try:
        client_for(server).catalog(max_age=0)
        hints = hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt")
        done = generate(strict, server, hints=hints, image=ramp(), strength=0.6)
        assert done.fed == [("depth", None)]
        assert any("does not list depth_anything_v2.0_f16.ckpt, which would make the Depth map" in note for note in done.notes)
    finally:
        estimator.write_bytes(kept)
        client_for(server).catalog(max_age=0)


def test_the_mask_goes_with_an_inpaint_control(strict, server):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, 50:120, 60:200] = 1
    hints = hint("Inpaint", "controlnet_inpaint_1.x_v1.1_f16.ckpt")
    done = generate(strict, server, node="DrawThingsInpaint", hints=hints, image=ramp(), mask=mask)
    assert done.fed == [("inpaint", IMAGE)]
    assert done.path == "inpaint"


def test_a_control_that_follows_the_image_counts_at_strength_1(strict, server):
    tile = hint("Tile", "controlnet_tile_1.x_v1.1_f16.ckpt")
    done = generate(strict, server, hints=tile, image=ramp(), strength=1.0)
    assert done.fed == [("tile", IMAGE)]
    assert not any("no influence" in note for note in done.notes)
    depth = hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", ramp())
    assert any("no influence" in note for note in generate(strict, server, hints=depth, image=ramp(), strength=1.0).notes)


# -- a control's own kind against the hint type that was chosen


@pytest.mark.parametrize(
    ("kind", "control", "note"),
    [
        ("Depth", "controlnet_canny_1.x_v1.1_f16.ckpt", "follows Canny maps, so nothing reads the Depth hint"),
        ("Canny", "controlnet_depth_1.x_v1.1_f16.ckpt", "follows Depth maps, so nothing reads the Canny hint"),
        ("Canny", "controlnet_seg_1.x_v1.1_f16.ckpt", "takes the Canny hint as its Segmentation map"),
        ("Scribble", IP_ADAPTER, "follows reference pictures, so nothing reads the Scribble hint"),
        ("Canny", IP_ADAPTER, "takes the Canny hint as its reference picture"),
        ("Shuffle", "controlnet_tile_1.x_v1.1_f16.ckpt", "follows Tile maps, so nothing reads the moodboard"),
    ],
)
def test_a_mismatch_is_said(strict, server, kind, control, note):
    done = generate(strict, server, hints=hint(kind, control, ramp()))
    assert any(note in one for one in done.notes), done.notes


def test_a_union_control_is_told_the_hint_type(strict, server):
    done = generate(strict, server, SDXL, hints=hint("Normal BAE", UNION, ramp()))
    assert done.controls[0]["input_override"] == "Normalbae"
    assert done.fed == [("normalbae", "custom")]
    unspecified = options(controls=(Control(file=UNION),))
    done = generate(strict, server, SDXL, options=unspecified)
    assert done.fed == [("", None)]
    assert any("follows several kinds of map, so choose its hint type" in note for note in done.notes)


def test_a_control_at_weight_0_is_named(strict, server):
    done = generate(strict, server, hints=hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", ramp(), weight=0))
    assert done.fed == []
    assert [note for note in done.notes if "weight 0" in note] == ["Depth Map (SD v1.x, ControlNet 1.1) is at weight 0 and is skipped."]


def test_every_setting_of_a_control_arrives(strict, server):
    settings = {"weight": 0.65, "start": 0.1, "end": 0.8, "mode": "Control", "down_sampling_rate": 2.0, "target_blocks": "up.1 mid"}
    done = generate(strict, server, hints=hint("Tile", "controlnet_tile_1.x_v1.1_f16.ckpt", ramp(), **settings))
    (control,) = done.controls
    assert control["weight"] == pytest.approx(0.65)
    assert (control["guidance_start"], control["guidance_end"]) == pytest.approx((0.1, 0.8))
    assert (control["control_mode"], control["down_sampling_rate"], control["target_blocks"]) == ("Control", 2.0, ["up.1", "mid"])
    assert done.notes == []


def test_settings_that_a_control_does_not_read_are_named(strict, server):
    settings = {"no_prompt": True, "down_sampling_rate": 2.0}
    done = generate(strict, server, hints=hint("Depth", "controlnet_depth_1.x_v1.1_f16.ckpt", ramp(), **settings))
    assert done.notes == ["Without effect with Depth Map (SD v1.x, ControlNet 1.1): No prompt, Down-sampling."]


def test_a_hint_that_nothing_reads_is_named(strict, server):
    done = generate(strict, server, hints=hint("Depth", image=ramp()))
    assert any(note.startswith("Nothing reads the Depth hint") for note in done.notes)


# -- Moodboard uses

TWO_PICTURES = [[1, 60, 100, 3]] * 2
KONTEXT, QWEN_EDIT, LAYERED = "flux_1_kontext_dev_q8p.ckpt", "qwen_image_edit_2511_q6p.ckpt", "qwen_image_layered_1.0_q8p.ckpt"


@pytest.mark.parametrize(
    ("control", "model"),
    [
        ("controlnet_shuffle_1.x_v1.1_f16.ckpt", SD),
        (IP_ADAPTER, SD),
        ("ip_adapter_full_face_1.x_f16.ckpt", SD),
        ("flux_1_redux_dev_f16.ckpt", FLUX),
        ("ip_adapter_faceid_plus_v2_1.x_f16.ckpt", SD),
        ("pulid_0.9.1_flux_1_f16.ckpt", FLUX),
        ("my_reference_kv_1.x_f16.ckpt", SD),
        ("llava_llama_3_8b_vision_hunyuan_video_q8p.ckpt", HUNYUAN),
        ("wan_v2.1_1.3b_vace_control_f16.ckpt", WAN),
    ],
)
def test_pictures_of_a_moodboard_arrive_with_their_weights(strict, server, control, model):
    """All tensors of one entry, at their own size, in -1..1."""
    vace = "vace" in control
    video: dict[str, Any] = {"options": options(num_frames=5)} if model in (WAN, HUNYUAN) else {}
    done = generate(strict, server, model, hints=board(control, 2, weight_1=0.5, control_weight=0.7), **video)
    assert done.shapes == {"shuffle": TWO_PICTURES}
    assert [tensor["weight"] for tensor in done.hints["shuffle"]] == [0.5, 1.0]
    assert done.controls[0]["weight"] == pytest.approx(0.7)
    assert done.fed == [("shuffle", "shuffle")]
    assert any("gives every reference picture the same weight" in note for note in done.notes) == vace


@pytest.mark.parametrize(
    ("control", "model", "falls_back_to", "image"),
    [
        (IP_ADAPTER, SD, "custom", False),
        ("flux_1_redux_dev_f16.ckpt", FLUX, "custom", False),
        ("ip_adapter_faceid_plus_v2_1.x_f16.ckpt", SD, "custom", False),
        ("pulid_0.9.1_flux_1_f16.ckpt", FLUX, "custom", False),
        ("my_reference_kv_1.x_f16.ckpt", SD, None, False),
        ("llava_llama_3_8b_vision_hunyuan_video_q8p.ckpt", HUNYUAN, "custom", True),
    ],
)
def test_without_a_moodboard(strict, server, control, model, falls_back_to, image):
    inputs: dict[str, Any] = {"image": ramp()} if image else {}
    done = generate(strict, server, model, hints=hint("Custom", image=ramp(), hints=hint("Shuffle", control)), strength=0.6, **inputs)
    assert done.fed == [("shuffle", falls_back_to)]


def test_llava_looks_at_the_image_last(strict, server):
    done = generate(
        strict, server, HUNYUAN, hints=hint("Shuffle", "llava_llama_3_8b_vision_hunyuan_video_q8p.ckpt"), image=ramp(), strength=0.6
    )
    assert done.fed == [("shuffle", IMAGE)]


@pytest.mark.parametrize("model", [KONTEXT, QWEN_EDIT, "flux_2_klein_4b_q8p.ckpt", "qwen_image_edit_2509_q6p.ckpt"])
def test_editing_models_need_no_control(strict, server, model):
    done = generate(strict, server, model, hints=board(batch=3, weight_2=0, weight_3=0.5), image=ramp(), strength=1.0)
    assert done.shapes == {"shuffle": TWO_PICTURES}  # weight 0 leaves one out, for Qwen's text encoder too
    assert done.fed == [("shuffle", "shuffle")]
    assert any("gives every reference picture the same weight" in note for note in done.notes)


@pytest.mark.parametrize("moodboard", [False, True], ids=["alone", "with a moodboard"])
def test_vace_reads_the_image_whatever_else_it_is_fed(strict, server, moodboard):
    """Section 1: it reads frames from the image's batch axis; section 3: moodboard pictures are its references."""
    vace = "wan_v2.1_1.3b_vace_control_f16.ckpt"
    hints = board(vace) if moodboard else hint("Shuffle", vace)
    done = generate(strict, server, WAN, node="DrawThingsVideo", image=ramp(), num_frames=5, hints=hints)
    assert done.fed == [("shuffle", "shuffle" if moodboard else IMAGE)]
    assert strict.state()["history"][-1]["fed"][0]["sees_image"] is True
    assert strict.requests()[-1]["image"] is not None
    assert not any("no influence" in note for note in done.notes)


def test_a_layered_model_reads_no_moodboard(strict, server):
    done = generate(strict, server, LAYERED, hints=board(), image=ramp(), strength=1.0)
    assert done.fed == []
    assert any(note.startswith("Nothing reads the moodboard") for note in done.notes)


def test_a_moodboard_without_reader_does_nothing(strict, server):
    done = generate(strict, server, hints=board())
    assert done.shapes == {"shuffle": [[1, 60, 100, 3]]}
    assert done.fed == []
    assert any(note.startswith("Nothing reads the moodboard") for note in done.notes)


def test_a_moodboard_whose_pictures_all_have_weight_0(strict, server):
    done = generate(strict, server, hints=board(IP_ADAPTER, weight_1=0))
    assert done.hints == {}
    assert any(NO_SOURCE in note and "Moodboard" in note for note in done.notes)


def test_settings_of_a_moodboards_control(strict, server):
    settings = {"start": 0.2, "end": 0.9, "mode": "Prompt", "global_average_pooling": False, "target_blocks": "a, b"}
    (control,) = generate(strict, server, hints=board("controlnet_shuffle_1.x_v1.1_f16.ckpt", **settings)).controls
    assert (control["guidance_start"], control["guidance_end"]) == pytest.approx((0.2, 0.9))
    assert (control["control_mode"], control["global_average_pooling"], control["target_blocks"]) == ("Prompt", False, ["a", "b"])


# -- models that read a map themselves


@pytest.mark.parametrize(
    ("model", "kind", "image", "follows", "note"),
    [
        ("flux_1_depth_dev_q8p.ckpt", "Depth", True, "depth", ""),
        ("sd_v2.0_depth_f16.ckpt", "Depth", False, "depth", ""),
        ("sd_v2.0_depth_f16.ckpt", None, True, IMAGE, ""),
        ("flux_1_canny_dev_q8p.ckpt", "Canny", True, IMAGE, IGNORED),
        ("flux_1_canny_dev_q8p.ckpt", "Canny", False, "custom", ""),
    ],
)
def test_models_with_a_map_of_their_own(strict, server, model, kind, image, follows, note):
    inputs: dict[str, Any] = {"image": ramp()} if image else {}
    if kind is not None:
        inputs["hints"] = hint(kind, image=ramp())
    done = generate(strict, server, model, strength=0.6, **inputs)
    assert [source for _, source in done.fed] == [follows]
    assert any(note in one for one in done.notes) if note else not any("hint" in one for one in done.notes)


def test_nothing_is_said_of_what_is_not_known(tmp_path):
    """A server that lists nothing may have any control."""
    with SimulatorProcess("--no-tls", "--step-seconds", "0", "--picture", "plain") as silent:
        server = call("DrawThingsLoadServer", host=silent.host, port=silent.port)[0]
        done = generate(silent, server, hints=hint("Depth", "controlnet_canny_1.x_v1.1_f16.ckpt", ramp()))
        assert not any("hint" in note or "follow" in note for note in done.notes)


def test_white_and_black_are_exact(strict, server):
    """A byte level is the same value in every range."""
    for kind, control, low in (("Scribble", "controlnet_scribble_1.x_v1.1_f16.ckpt", 0), ("Tile", "controlnet_tile_1.x_v1.1_f16.ckpt", -1)):
        picture = torch.from_numpy(np.tile(np.array([0, 1], np.float32)[None, None, :, None], (1, HEIGHT, WIDTH // 2, 3)))
        (tensor,) = next(iter(generate(strict, server, hints=hint(kind, control, picture)).hints.values()))
        assert (tensor["minimum"], tensor["maximum"]) == (low, 1)


def test_a_picture_that_no_request_has_room_for_is_refused_before_it_is_made_ready():
    large = np.broadcast_to(np.float32(0), (1, 30000, 6000, 3))
    given = HintInput(ControlInputType.shuffle, large)
    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidInput, match="take 1030 MiB, but a server takes 1024 MiB at most"):
            wire_hints([given], Configuration(), None, Fit.crop, with_image=False, with_mask=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1 << 20
    unused = dataclasses.replace(given, weights=(0.0,))
    assert wire_hints([unused], Configuration(), None, Fit.crop, with_image=False, with_mask=False) == ()
