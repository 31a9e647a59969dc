"""Requests: content addressing, overrides, the rules that keep a server alive, and jobs that become several requests."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core import job as jobs
from comfyui_drawthings.drawthings_core import rules, seeds, tensor
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, ControlInputType, LoRA, Sampler, SeedMode, flatbuffer
from comfyui_drawthings.drawthings_core.errors import FamilyMismatch, InvalidImage, InvalidInput, InvalidSetting, ModelBrowserOff
from comfyui_drawthings.drawthings_core.images import Fit
from comfyui_drawthings.drawthings_core.job import HintInput, Job
from comfyui_drawthings.drawthings_core.request import GenerationRequest, Hint, build
from comfyui_drawthings.drawthings_core.secret import Secret
from comfyui_drawthings.proto import messages

MODEL = "sd_v1.5_f16.ckpt"
EMPTY = Catalog.empty()
FULL = catalog(
    models=[
        model(MODEL, "v1"),
        model("xl_f16.ckpt", "sdxl_base_v0.9", default_scale=16),
        model("xl_refiner.ckpt", "sdxl_refiner_v0.9", default_scale=16),
        model("flux_f16.ckpt", "flux1", default_scale=16),
        model("kandinsky_f16.ckpt", "kandinsky2.1"),
        model("cascade_c.ckpt", "wurstchen_v3.0_stage_c", stage_models=["cascade_b.ckpt"], default_scale=16),
        model("cascade_b.ckpt", "wurstchen_v3.0_stage_b"),
        model("edm_f16.ckpt", "sdxl_base_v0.9", objective={"edm": {"sigma_data": 0.5}}),
        model("odd_f16.ckpt", "flux2", modifier="inpainting"),
        model("cloud.ckpt", "flux1", remote_api_model_config={"x": 1}),
        {"file": "no name"},
    ],
    loras=[
        {"name": "Refined", "file": "refined.ckpt", "prefix": "", "version": "sdxl_refiner_v0.9"},
        {"name": "V1 style", "file": "v1.ckpt", "prefix": "", "version": "v1", "future_key": {"b": 1, "a": [0.1]}},
        {"name": "XL style", "file": "xl.ckpt", "prefix": "", "version": "sdxl_base_v0.9"},
        {"name": "Depth lender", "file": "lender.ckpt", "prefix": "", "version": "sdxl_base_v0.9", "modifier": "depth"},
    ],
    controlNets=[
        {
            "name": "Depth",
            "file": "depth.ckpt",
            "version": "v1",
            "type": "controlnet",
            "global_average_pooling": False,
            "modifier": "depth",
        },
        {"name": "XL canny", "file": "xlc.ckpt", "version": "sdxl_base_v0.9", "type": "controlnet", "global_average_pooling": False},
    ],
    textualInversions=[{"name": "Bad hands", "file": "ti.ckpt", "keyword": "badhands", "length": 4, "version": "v1"}],
    upscalers=[{"name": "Real", "file": "up.ckpt", "scale_factor": 2, "blocks": 23}],
)


def picture(width=64, height=64, batch=1):
    return np.zeros((batch, height, width, 3), np.float16)


def request(configuration=None, **more) -> GenerationRequest:
    settings = {"model": MODEL, "start_width": 128, "start_height": 128, **(configuration or {})}
    return GenerationRequest(Configuration(settings), **more)


# -- building the message


def built(request: GenerationRequest, catalog: Catalog, **more):
    return messages.ImageGenerationRequest.FromString(build(request, catalog, **more))


def test_contents_are_addressed_by_their_hash_and_sent_once():
    image, mask = picture(128, 128), np.full((128, 128), 2, np.uint8)
    message = built(
        request(image=image, mask=mask, hints=(Hint("shuffle", ((image, 1.0), (image, 0.5))),), prompt="a", negative_prompt="b"), FULL
    )
    blob = tensor.encode(image)
    assert message.image == hashlib.sha256(blob).digest()
    assert message.mask == hashlib.sha256(tensor.encode(mask)).digest()
    assert [(t.tensor, t.weight) for t in message.hints[0].tensors] == [(message.image, 1.0), (message.image, 0.5)]
    assert sorted(message.contents) == sorted([blob, tensor.encode(mask)])
    assert (message.scaleFactor, message.chunked, message.user) == (1, True, "ComfyUI")
    assert not message.HasField("sharedSecret")
    assert flatbuffer.unpack(message.configuration)["start_width"] == 128


def test_secret_and_absent_inputs():
    message = built(request(), EMPTY, secret=Secret("hunter2"))
    assert message.sharedSecret == "hunter2"
    assert not message.HasField("image")
    assert not message.HasField("mask")
    assert not message.contents


def test_a_broken_character_in_a_specification_goes_back_as_it_came():
    shelf = catalog(models=[model(MODEL, "v1", note="half a smile: \ud83d, and é")])
    (sent,) = json.loads(shelf.override(Configuration(model=MODEL)).models)
    assert sent["note"] == "half a smile: \ud83d, and é"


def test_override_names_everything_that_the_request_uses_unchanged():
    configuration = {
        "model": "cascade_c.ckpt",
        "refiner_model": "xl_f16.ckpt",
        "upscaler": "up.ckpt",
        "loras": [LoRA(file="v1.ckpt"), LoRA(file="unknown.ckpt")],
        "controls": [Control(file="depth.ckpt"), Control(file="depth.ckpt")],
    }
    message = built(request(configuration, prompt="a <BadHands> cat <lora:x>"), FULL)
    sent = {
        name: json.loads(getattr(message.override, name) or b"[]")
        for name in ("models", "loras", "controlNets", "textualInversions", "upscalers")
    }
    assert [spec["file"] for spec in sent["models"]] == ["cascade_c.ckpt", "cascade_b.ckpt", "xl_f16.ckpt"]
    assert sent["loras"] == [FULL.entries["LoRA"]["v1.ckpt"].specification]
    assert sent["loras"][0]["future_key"] == {"b": 1, "a": [0.1]}
    assert [spec["file"] for spec in sent["controlNets"]] == ["depth.ckpt"]
    assert [spec["keyword"] for spec in sent["textualInversions"]] == ["badhands"]
    assert list(message.keywords) == ["badhands"]
    assert [spec["file"] for spec in sent["upscalers"]] == ["up.ckpt"]


def test_too_large_a_request_is_refused(monkeypatch):
    monkeypatch.setattr("comfyui_drawthings.drawthings_core.request.MESSAGE_LIMIT", 1000)
    with pytest.raises(InvalidInput, match="MiB"):
        build(request(image=picture(128, 128)), FULL)


# -- the catalogue


def test_catalogue_leaves_out_what_cannot_run_and_says_what_it_skipped():
    assert "cloud.ckpt" not in FULL.entries["model"]
    assert [words for words in FULL.skipped if "web service" in words] == [
        "The model 'cloud.ckpt' was left out: it runs on a web service, not on this server."
    ]
    assert len(FULL.skipped) == 2
    assert FULL.browsing
    assert not EMPTY.browsing
    assert FULL.suggestions("model", "sd_v1.4_f16.ckpt")[0] == MODEL
    assert FULL.find("model", None) is None


@pytest.mark.parametrize("data", [b"\xff", b"{}", b"[1, null, [], {}]", b'[{"file": 3, "name": "x", "version": "v1"}]', b"[" * 100000])
def test_damaged_catalogue_is_skipped_not_fatal(data):
    reply = messages.EchoReply()
    reply.override.models = data
    parsed = Catalog.from_echo(reply)
    assert parsed.entries["model"] == {}
    assert parsed.skipped or data == b"{}"


# -- rules


def test_a_plain_request_passes():
    rules.check(request(), FULL)
    rules.check(request(image=picture(128, 192), mask=np.full((192, 128), 3, np.uint8)), FULL)
    rules.check(request({"model": "not_listed.ckpt"}), EMPTY)


def hint(kind, channels=3, size=128, **more):
    return {"hints": (Hint(kind, ((np.zeros((1, size, size, channels), more.get("dtype", np.float16)), 1.0),)),)}


nan_picture = picture(128, 128)
nan_picture[0, 5, 5, 0] = np.nan

TRAPS = {
    "no model": ({"configuration": {"model": ""}}, InvalidSetting, "Model"),
    "one step with linspace": ({"configuration": {"steps": 1, "sampler": Sampler.euler_a}}, InvalidSetting, "Steps is 1"),
    "one step with LCM": ({"configuration": {"steps": 1, "sampler": Sampler.lcm}}, InvalidSetting, "Trailing"),
    "overlap as large as the tile": (
        {"configuration": {"tiled_decoding": True, "decoding_tile_width": 128, "decoding_tile_overlap": 128}},
        InvalidSetting,
        "overlap is 128",
    ),
    "scale factor 0": ({"scale_factor": 0, "image": picture()}, InvalidInput, "scale factor is 0"),
    "image of odd size": ({"image": picture(100, 64)}, InvalidImage, "100x64"),
    "image not a multiple of 64 x scale": ({"image": picture(64, 64), "scale_factor": 2}, InvalidImage, "128"),
    "image of four channels": ({"image": np.zeros((1, 64, 64, 4), np.float16)}, InvalidImage, "float16"),
    "image of float32": ({"image": np.zeros((1, 64, 64, 3), np.float32)}, InvalidImage, "float32"),
    "image of bytes": ({"image": np.zeros((1, 64, 64, 3), np.uint8)}, InvalidImage, "uint8"),
    "empty image": ({"image": np.zeros((0, 64, 64, 3), np.float16)}, InvalidImage, "image"),
    "image with NaN": ({"image": nan_picture}, InvalidImage, "NaN"),
    "image of 16384": ({"image": np.broadcast_to(np.float16(0), (1, 64, 16384, 3))}, InvalidImage, "16384"),
    "mask without image": ({"mask": np.full((64, 64), 2, np.uint8)}, InvalidImage, "no image"),
    "mask of another size": ({"image": picture(), "mask": np.full((64, 128), 2, np.uint8)}, InvalidImage, "mask"),
    "mask of floats": ({"image": picture(), "mask": np.zeros((64, 64), np.float32)}, InvalidImage, "mask"),
    "mask with a batch": ({"image": picture(), "mask": np.zeros((1, 64, 64), np.uint8)}, InvalidImage, "mask"),
    "mask of 255": ({"image": picture(), "mask": np.full((64, 64), 255, np.uint8)}, InvalidImage, "5 to 7"),
    "depth of three channels": (hint("depth", 3), InvalidImage, "depth"),
    "custom of one channel": (hint("custom", 1), InvalidImage, "custom"),
    "shuffle of four channels": (hint("shuffle", 4), InvalidImage, "shuffle"),
    "scribble of bytes": (hint("scribble", 3, dtype=np.uint8), InvalidImage, "scribble"),
    "scribble of float32": (hint("scribble", 3, dtype=np.float32), InvalidImage, "scribble"),
    "pose of another size": (hint("pose", 3, 64), InvalidImage, "pose"),
    "hint that nobody reads": (hint("canny"), InvalidInput, "canny"),
    "audio hint": (hint("audio"), InvalidInput, "Audio"),
    "two hints of one type": ({"hints": hint("custom")["hints"] * 2}, InvalidInput, "two custom"),
    "hint without a picture": ({"hints": (Hint("custom", ()),)}, InvalidImage, "no picture"),
    "svd without image": ({"configuration": {"model": "svd_i2v_xt_1.1_f16.ckpt"}}, InvalidInput, "connect an image"),
    "prompt with a broken character": ({"prompt": "\ud800"}, InvalidInput, "Prompt"),
    "LoRA of another family": ({"configuration": {"loras": [LoRA(file="xl.ckpt")]}}, FamilyMismatch, "XL style .* Stable Diffusion XL"),
    "control of another family": ({"configuration": {"controls": [Control(file="xlc.ckpt")]}}, FamilyMismatch, "Control XL canny"),
    "refiner of another family": (
        {"configuration": {"refiner_model": "xl_f16.ckpt"}},
        FamilyMismatch,
        "Refiner xl is for Stable Diffusion XL",
    ),
    "embedding in a family without": ({"configuration": {"model": "kandinsky_f16.ckpt"}, "prompt": "<badhands>"}, InvalidInput, "badhands"),
    "inpainting modifier in a family without": ({"configuration": {"model": "odd_f16.ckpt"}}, InvalidInput, "inpainting"),
    "depth modifier lent by a LoRA": (
        {"configuration": {"model": "xl_f16.ckpt", "loras": [LoRA(file="lender.ckpt")]}},
        InvalidInput,
        "Depth lender",
    ),
}


@pytest.mark.parametrize("name", TRAPS)
def test_what_would_trap_a_server_is_refused(name):
    given, error, words = TRAPS[name]
    with pytest.raises(error, match=words):
        rules.check(request(**given), FULL)


def test_a_wire_default_is_refused():
    """Its size, steps and batch are what an empty buffer means: 0."""
    with pytest.raises(InvalidSetting):
        rules.check(GenerationRequest(Configuration.wire_default()), FULL)


def test_exceptions_that_are_allowed():
    rules.check(request({"model": "edm_f16.ckpt", "steps": 1, "sampler": Sampler.euler_a}), FULL)
    rules.check(request({"model": "cascade_c.ckpt", "steps": 1, "sampler": Sampler.euler_a}), FULL)
    rules.check(request({"steps": 1, "sampler": Sampler.euler_a_trailing}), FULL)
    rules.check(request({"model": "kandinsky_f16.ckpt", "loras": [LoRA(file="v1.ckpt")]}), FULL)
    rules.check(request({"loras": [LoRA(file="xl.ckpt", weight=0)]}), FULL)
    rules.check(request({"model": "xl_f16.ckpt", "refiner_model": "xl_refiner.ckpt"}), FULL)
    rules.check(request({"model": "xl_f16.ckpt", "refiner_model": "xl_refiner.ckpt", "loras": [LoRA(file="refined.ckpt")]}), FULL)
    rules.check(request({"refiner_model": "not listed.ckpt"}), FULL)
    rules.check(request(prompt="<badhands>"), FULL)
    with pytest.raises(FamilyMismatch):
        rules.check(request({"model": "kandinsky_f16.ckpt", "controls": [Control(file="depth.ckpt")]}), FULL)


# -- seeds


def test_seeds():
    assert seeds.following(2**32 - 1, 0) == 2**32 - 1
    assert seeds.following(2**32 - 1, 1) == 0
    assert seeds.of_batch(5, 3, SeedMode.legacy) == [5, 5, 5]

    def xorshift(x):
        x = x or 0xBAD5EED
        x = (x ^ x << 13) % 2**32
        x ^= x >> 17
        return (x ^ x << 5) % 2**32

    assert seeds.of_batch(0, 3, SeedMode.scale_alike) == [0, xorshift(0), xorshift(xorshift(0))]
    assert seeds.of_batch(7, 1, SeedMode.scale_alike) == [7]


# -- jobs


def planned(**more):
    return jobs.plan(Job(**{"model": MODEL, **more}), FULL)


def test_precedence_recommended_then_widgets_then_options():
    assert planned().configuration["steps"] == 16
    assert planned(settings={"steps": 9}).configuration["steps"] == 9
    assert planned(settings={"steps": 9}, options={"steps": 7, "sharpness": 2}).configuration["steps"] == 7
    assert planned(options={"sharpness": 2}).configuration["sharpness"] == 2
    assert planned(settings={"seed": 5}).configuration["seed"] == 5
    assert planned(options={"loras": (LoRA(file="a"),)}, loras=(LoRA(file="b"),)).configuration["loras"] == (LoRA(file="a"), LoRA(file="b"))


@pytest.mark.parametrize(
    ("width", "height", "image", "expected"),
    [
        (640, 320, (100, 900), (640, 320)),
        (None, None, None, (512, 768)),
        (None, 320, None, (512, 320)),
        (None, None, (1000, 1000), (640, 640)),  # the suggested area in the image's proportions
        (None, None, (3000, 1000), (1088, 384)),
        (1024, None, (2000, 1000), (1024, 512)),
        (None, 1024, (1000, 2000), (512, 1024)),
        (8192, None, (1, 1000), (8192, 8192)),  # never outside what a server takes
        (None, None, (1, 10000), (128, 8192)),
    ],
)
def test_canvas_size(width, height, image, expected):
    assert jobs.canvas_size(width, height, (512, 768), image) == expected


def test_without_an_image_strength_is_one():
    assert planned(settings={"strength": 0.3}).configuration["strength"] == 1
    image = np.zeros((1, 64, 64, 3), np.float32)
    assert planned(settings={"strength": 0.3}, images=image).configuration["strength"] == 0.3


def test_every_image_of_a_batch_is_its_own_request_with_the_next_seed():
    batch = np.stack([np.full((64, 64, 3), level, np.float32) for level in (0.0, 0.5, 1.0)])
    job = planned(images=batch, settings={"seed": 2**32 - 2, "strength": 0.5, "batch_count": 2})
    runs = list(job.runs())
    assert job.count == len(runs) == 6
    assert [run.seed for run in runs] == [2**32 - 2, 2**32 - 1, 0, 1, 2, 3]
    assert [run.request.configuration["seed"] for run in runs] == [run.seed for run in runs]
    assert [run.image_number for run in runs] == [0, 1, 2, 0, 1, 2]
    assert [float(run.request.image[0, 0, 0, 0]) for run in runs] == [-1, 0, 1, -1, 0, 1]
    assert all(run.request.image.shape == (1, 512, 512, 3) for run in runs)


def test_masks_and_images_of_different_number_are_repeated():
    batch = np.zeros((2, 64, 64, 3), np.float32)
    masks = np.stack([np.eye(64), np.ones((64, 64)), np.zeros((64, 64))]).astype(np.float32)
    runs = list(planned(images=batch, masks=masks).runs())
    assert [run.image_number for run in runs] == [0, 1, 0]
    assert runs[0].request.mask.dtype == np.uint8
    assert set(np.unique(runs[0].request.mask)) == {2, 3}
    assert (runs[1].request.mask == 2).all()
    assert runs[2].request is None  # nothing to repaint
    assert runs[2].unchanged.shape == (1, 512, 512, 3)


def test_mask_of_another_size_lands_where_its_image_does():
    image = np.zeros((1, 100, 200, 3), np.float32)
    mask = np.zeros((1, 50, 100), np.float32)
    mask[:, :, 50:] = 1
    (run,) = planned(images=image, masks=mask, settings={"start_width": 128, "start_height": 128}, fit=Fit.crop).runs()
    kept = run.request.mask == 3
    assert kept[:, :63].all()
    assert not kept[:, 65:].any()


def test_mask_without_image_is_named():
    with pytest.raises(InvalidImage, match="mask but no image"):
        list(planned(masks=np.ones((1, 64, 64), np.float32)).runs())


def test_hints_become_what_the_server_reads():
    image = np.full((1, 32, 32, 3), 1.0, np.float32)
    board = np.zeros((2, 40, 80, 3), np.float32)
    job = planned(
        hints=(
            HintInput(ControlInputType.depth, image, Control(file="depth.ckpt", weight=0.5)),
            HintInput(ControlInputType.scribble, image),
            HintInput(ControlInputType.lineart, image),
            HintInput(ControlInputType.shuffle, board, None, (0.5, 1.0)),
            HintInput(ControlInputType.shuffle, image, None, (0.25,)),
        )
    )
    (run,) = job.runs()
    rules.check(run.request, FULL)
    found = {h.type: [(t.shape, w) for t, w in h.tensors] for h in run.request.hints}
    assert found == {
        "depth": [((1, 512, 512, 1), 1.0)],
        "scribble": [((1, 512, 512, 3), 1.0)],
        "custom": [((1, 512, 512, 3), 1.0)],
        "shuffle": [((1, 40, 80, 3), 0.5), ((1, 40, 80, 3), 1.0), ((1, 32, 32, 3), 0.25)],
    }
    assert job.configuration["controls"] == (Control(file="depth.ckpt", weight=0.5),)


def test_pose_is_given_twice_for_two_passes():
    image = np.full((1, 32, 32, 3), 1.0, np.float32)
    options = {"hires_fix": True, "hires_fix_start_width": 256, "hires_fix_start_height": 256}
    (run,) = planned(hints=(HintInput(ControlInputType.pose, image),), options=options).runs()
    assert [t.shape for t, _ in run.request.hints[0].tensors] == [(1, 256, 256, 3), (1, 512, 512, 3)]
    rules.check(run.request, FULL)
    (run,) = planned(hints=(HintInput(ControlInputType.pose, image),)).runs()
    assert len(run.request.hints[0].tensors) == 1


def test_two_hints_for_one_place_are_refused():
    image = np.zeros((1, 32, 32, 3), np.float32)
    with pytest.raises(InvalidInput, match="LineArt and SoftEdge"):
        list(planned(hints=(HintInput(ControlInputType.lineart, image), HintInput(ControlInputType.softedge, image))).runs())


def test_notes():
    assert any("flow model" in note for note in planned(model="flux_f16.ckpt", settings={"sampler": Sampler.ddim}).notes)
    assert planned(model="flux_f16.ckpt").notes == ()
    image = np.zeros((1, 64, 64, 3), np.float32)
    assert any("strength 1" in note for note in planned(images=image, settings={"strength": 1}).notes)
    assert any("does not list" in note for note in jobs.plan(Job(model="x.ckpt"), EMPTY).notes)
    with pytest.raises(InvalidInput, match="choose one of the server's models"):
        planned(model="")
    with pytest.raises(ModelBrowserOff, match="type the model's file name"):
        jobs.plan(Job(model=""), EMPTY)


def test_seeds_of_pictures():
    batch = planned(settings={"batch_size": 2})
    (run,) = batch.runs()
    assert batch.seeds_of(run, 2) == seeds.of_batch(0, 2, SeedMode.scale_alike)
    assert planned(model="wan_v2.2_5b_ti2v_q8p.ckpt", settings={"seed": 3}).seeds_of(run, 4) == [0] * 4
