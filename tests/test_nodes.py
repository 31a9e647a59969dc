"""Every node against a real server process, as ComfyUI calls them: async, with torch tensors, on a fresh event loop."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import re
import threading
import time
from pathlib import Path

import comfyui_drawthings
import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import errors
from comfyui_drawthings.drawthings_core.catalog import FACE_RESTORATION, FACE_RESTORATION_FILES
from comfyui_drawthings.drawthings_core.configuration import LoRA, Sampler
from comfyui_drawthings.drawthings_core.servers import Profiles
from comfyui_drawthings.drawthings_core.stages import Doing
from comfyui_drawthings.nodes import host, known_files, widgets
from conftest import SECRET

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
ROOT = Path(comfyui_drawthings.__file__).parent
SOCKETS = {"DT_SERVER", "DT_LORAS", "DT_HINTS", "DT_OPTIONS", "IMAGE", "MASK"}
MODEL = "sd_v1.5_f16.ckpt"
PICK_WHAT_IS_HERE = {"DrawThingsLoadImage", "DrawThingsUploadModel", "DrawThingsLoadServer"}


def call(node_id: str, **inputs):
    """Run a node once on a new event loop, with the defaults that its definition names for all other widgets."""
    node = NODES[node_id]
    definition = node.INPUT_TYPES()
    undeclared = inputs.keys() - {name for section in definition.values() for name in section}
    assert not undeclared, f"ComfyUI would not pass {undeclared}"
    values = {}
    for section in ("required", "optional"):
        for name, (kind, *options) in definition.get(section, {}).items():
            if (isinstance(kind, list) or kind not in SOCKETS) and "default" in options[0]:
                values[name] = options[0]["default"]
    if "unique_id" in definition.get("hidden", {}):
        values["unique_id"] = "7"
    result = getattr(node(), node.FUNCTION)(**{**values, **inputs})
    return asyncio.run(result) if inspect.isawaitable(result) else result


@pytest.fixture
def server(simulator):
    return call("DrawThingsLoadServer", host=simulator.host, port=simulator.port)[0]


def small(**more):
    return {"model": MODEL, "prompt": "a cat", "width": 256, "height": 192, "steps": 4, **more}


def checkerboard(width=256, height=192, batch=1) -> torch.Tensor:
    y, x = np.mgrid[:height, :width] // 16 % 2
    return torch.from_numpy(np.repeat((x ^ y).astype(np.float32)[None, :, :, None], 3, axis=3).repeat(batch, axis=0))


# -- definitions


@pytest.mark.parametrize("node_id", NODES)
def test_definition(node_id):
    node = NODES[node_id]
    assert node_id.startswith("DrawThings")
    assert node.CATEGORY == "Draw Things"
    assert node.DESCRIPTION
    assert node_id in comfyui_drawthings.NODE_DISPLAY_NAME_MAPPINGS
    assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
    definition = node.INPUT_TYPES()
    parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
    takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    for section in ("required", "optional"):
        for name, (kind, options) in definition.get(section, {}).items():
            assert options["tooltip"].endswith((".", "!")), name
            assert takes_any or name in parameters, name
            if options.get("image_upload"):
                assert isinstance(kind, list), name
            elif isinstance(kind, list):
                assert options["default"] in kind, name
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"], name
            else:
                assert kind in SOCKETS | {"STRING", "BOOLEAN"}, name
    assert set(definition) <= {"required", "optional", "hidden"}


@pytest.mark.parametrize("node_id", NODES)
def test_every_node_has_a_help_page_that_names_its_inputs(node_id):
    page = (ROOT / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
    definition = NODES[node_id].INPUT_TYPES()
    for section in ("required", "optional"):
        for name in definition.get(section, {}):
            base = re.sub(r"_\d$", "", name)
            assert f"`{name}`" in page or f"`{base}_1`" in page, name


def test_help_tables_are_up_to_date():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "make_help.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_secret_is_a_name_and_no_widget_holds_one():
    options = NODES["DrawThingsLoadServer"].INPUT_TYPES()["optional"]["secret"][1]
    assert options["default"] == ""
    assert "NAME" in options["tooltip"]


@pytest.mark.parametrize("node_id", [n for n, c in NODES.items() if hasattr(c, "VALIDATE_INPUTS") and n not in PICK_WHAT_IS_HERE])
def test_file_combos_take_over_their_own_check(node_id):
    """ComfyUI's list check is off for the arguments that VALIDATE_INPUTS names: they must be exactly the file combos."""
    node = NODES[node_id]
    combos = {
        name
        for name, (kind, options) in {**node.INPUT_TYPES()["required"], **node.INPUT_TYPES().get("optional", {})}.items()
        if isinstance(kind, list) and "File name" in options["tooltip"]
    }
    parameters = inspect.signature(node.VALIDATE_INPUTS).parameters
    assert set(parameters) == combos
    assert all(p.default is None for p in parameters.values())
    assert node.VALIDATE_INPUTS() is True


def test_recommended_sentinels():
    values = {"steps": 0, "start_width": 0, "guidance_scale": -1, "sampler": "recommended", "seed": 0, "strength": 0}
    assert widgets.fixed_settings(values) == {"seed": 0, "strength": 0}
    assert widgets.fixed_settings({"guidance_scale": 0, "steps": 5}) == {"guidance_scale": 0, "steps": 5}


def test_input_types_offer_what_was_seen_on_a_server(server):
    assert MODEL in NODES["DrawThingsGenerate"].INPUT_TYPES()["required"]["model"][0]
    assert NODES["DrawThingsLoRAStack"].INPUT_TYPES()["required"]["lora_1"][0][0] == "none"
    assert len(known_files.listed("LoRA")) > 5


def test_the_files_of_the_examples_are_offered_before_a_server_was_seen():
    """Newer frontends call a model missing that no list offers."""
    offered = json.loads((ROOT / "nodes" / "example_files.json").read_text())
    offered[FACE_RESTORATION] = [*FACE_RESTORATION_FILES]
    named = {
        name for example in (ROOT / "example_workflows").glob("*.json") for name in re.findall(r'"([^"]+\.ckpt)"', example.read_text())
    }
    assert named <= {file for files in offered.values() for file in files}
    assert offered["model"]


# -- Load Server


def test_load_server_with_tls_and_a_named_secret(guarded):
    Profiles().save_secret("studio", SECRET)
    (server,) = call("DrawThingsLoadServer", host=guarded.host, port=guarded.port, secret="studio")
    assert SECRET not in repr(server)
    images, _, info = call("DrawThingsGenerate", server=server, **small())
    assert images.shape == (1, 192, 256, 3)
    assert SECRET not in info


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"secret": "unknown name"}, errors.ProfileError),
        ({"secret": ""}, errors.SecretRejected),
        ({"tls": "plain"}, errors.TLSMismatch),
        ({"tls": "sideways"}, errors.InvalidSetting),
        ({"host": "no such host"}, errors.InvalidInput),
        ({"host": "no-such-host.invalid"}, errors.ServerUnreachable),
        ({"tls": "CA file", "ca_file": "nowhere.pem"}, errors.InvalidInput),
        ({"host": None}, errors.InvalidInput),
        ({"host": 7859}, errors.InvalidInput),
        ({"secret": 5}, errors.InvalidInput),
        ({"ca_file": ["nowhere.pem"]}, errors.InvalidInput),
    ],
)
def test_load_server_says_what_is_wrong(guarded, inputs, error):
    with pytest.raises(error) as caught:
        call("DrawThingsLoadServer", **{"host": guarded.host, "port": guarded.port, **inputs})
    assert str(caught.value).endswith(".")


def test_a_secret_saved_anew_is_noticed_without_telling_it():
    """ComfyUI runs a node again when IS_CHANGED gives something else, and keeps what it gave."""
    ask = NODES["DrawThingsLoadServer"].IS_CHANGED
    Profiles().save_secret("studio", "one")
    before = ask(host="h", port=1, tls="auto", secret="studio")
    assert before == ask(host="h", port=1, tls="auto", secret="studio")
    Profiles().save_secret("studio", "two")
    assert before != ask(host="h", port=1, tls="auto", secret="studio")
    assert "one" not in before
    assert hashlib.sha256(b"one").hexdigest() != before


def test_a_port_in_the_host_field_wins(simulator):
    (server,) = call("DrawThingsLoadServer", host=f"{simulator.host}:{simulator.port}", port=1)
    assert server.port == simulator.port


# -- Generate


def test_text_to_image(server, simulator):
    simulator.clear()
    images, mask, info = call("DrawThingsGenerate", server=server, **small(seed=5, negative_prompt="dog"))
    assert images.dtype == mask.dtype == torch.float32
    assert images.shape == (1, 192, 256, 3)
    assert mask.shape == (1, 192, 256)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert not mask.any()
    told = json.loads(info)
    assert told["seeds"] == [5]
    assert told["configuration"]["width"] == 256
    (arrived,) = simulator.requests()
    assert arrived["configuration"]["steps"] == 4
    assert arrived["configuration"]["strength"] == 1.0
    assert arrived["image"] is None
    assert arrived["prompt"] == "a cat"


def test_recommended_values_come_from_the_model(server, simulator):
    simulator.clear()
    call("DrawThingsGenerate", server=server, model=MODEL, prompt="x")
    (arrived,) = simulator.requests()
    configuration = arrived["configuration"]
    assert (configuration["start_width"], configuration["steps"], configuration["guidance_scale"]) == (512, 16, 5.0)
    assert configuration["sampler"] == "DPMPP2MAYS"


def test_image_to_image_uses_the_whole_batch(server, simulator):
    simulator.clear()
    batch = torch.stack([torch.full((100, 140, 3), level) for level in (0.1, 0.9)])
    before = batch.clone()
    images, _, info = call("DrawThingsGenerate", server=server, image=batch, **small(seed=2**32 - 1, strength=0.3, batch_count=2))
    assert images.shape == (4, 192, 256, 3)
    assert torch.equal(batch, before)
    assert json.loads(info)["seeds"] == [2**32 - 1, 0, 1, 2]
    means = images.mean(dim=(1, 2, 3))
    assert means[1] > means[0] + 0.2
    assert means[3] > means[2] + 0.2
    assert [r["configuration"]["seed"] for r in simulator.requests()] == [2**32 - 1, 0, 1, 2]


def test_batch_size_gives_each_members_seed(server):
    images, _, info = call("DrawThingsGenerate", server=server, **small(seed=3, batch_size=2))
    seeds = json.loads(info)["seeds"]
    assert seeds[0] == 3
    assert seeds[1] != 3
    alone, _, _ = call("DrawThingsGenerate", server=server, **small(seed=seeds[1]))
    assert torch.equal(alone[0], images[1])


def test_a_typed_model_wins_over_the_list(server, simulator):
    simulator.clear()
    call("DrawThingsGenerate", server=server, **small(model="none", model_file=" sd_v1.5_f16.ckpt "))
    assert simulator.requests()[0]["configuration"]["model"] == MODEL


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.uint8])
def test_pictures_of_every_dtype(server, dtype):
    image = (checkerboard() * (255 if dtype == torch.uint8 else 1)).to(dtype)
    images, _, _ = call("DrawThingsGenerate", server=server, image=image, **small(strength=0))
    assert torch.equal(images.round(), checkerboard())


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        ({"image": "not a picture"}, errors.InvalidImage, "'image' is str"),
        ({"image": torch.zeros(4, 4)}, errors.InvalidImage, "'image' has the shape"),
        ({"image": torch.zeros(0, 8, 8, 3)}, errors.InvalidImage, "'image' has the shape"),
        ({"image": torch.full((1, 8, 8, 3), float("nan"))}, errors.InvalidImage, "'image' holds values that are not numbers"),
        ({"image": torch.zeros(1, 8, 8, 3, dtype=torch.int32)}, errors.InvalidImage, "'image' holds int32"),
        ({"model": "none"}, errors.InvalidInput, "No model is chosen"),
        ({"model": None}, errors.InvalidInput, "No model is chosen"),
        ({"sampler": "Eulerish"}, errors.InvalidSetting, "Sampler is 'Eulerish'"),
        ({"steps": "20"}, errors.InvalidSetting, "Steps is '20'"),
        ({"width": 100}, errors.InvalidSetting, "Width is 100"),
        ({"fit": "squash"}, errors.InvalidSetting, "fit is 'squash'"),
        ({"model": "nothing_like_it.ckpt"}, errors.FileNotOnServer, "not on the server"),
        ({"loras": (LoRA(file="sd_xl_offset.ckpt"),)}, errors.FileNotOnServer, "LoRA"),
        ({"server": "127.0.0.1"}, errors.InvalidInput, "connect a Load Server"),
        ({"prompt": 5}, errors.InvalidInput, "'prompt' is int"),
        ({"negative_prompt": ["a"]}, errors.InvalidInput, "'negative_prompt' is list"),
        ({"loras": "a.ckpt"}, errors.InvalidInput, "connect LoRA Stack"),
        ({"hints": (1,)}, errors.InvalidInput, "connect ControlNet Hint"),
        ({"options": 7}, errors.InvalidInput, "connect an options node"),
    ],
)
def test_bad_inputs_are_named(server, inputs, error, words):
    with pytest.raises(error, match=words):
        call("DrawThingsGenerate", **{"server": server, **small(), **inputs})


def test_one_pixel_and_an_alpha_channel(server):
    images, _, _ = call("DrawThingsGenerate", server=server, image=torch.ones(1, 1, 1, 4), **small(strength=0))
    assert images.shape == (1, 192, 256, 3)


def test_prompt_of_every_unicode_plane(server, simulator):
    simulator.clear()
    prompt = "".join(chr(plane * 0x10000 + 0x1234) for plane in range(17)) + "日本 🏰" * 1000
    call("DrawThingsGenerate", server=server, **small(prompt=prompt))
    assert simulator.requests()[0]["prompt"] == prompt
    with pytest.raises(errors.InvalidInput, match="broken character"):
        call("DrawThingsGenerate", server=server, **small(prompt="\udc00"))


@pytest.mark.parametrize(("fault", "pictures"), [("missing_image", 1), ("extra_image", 3)])
def test_more_or_fewer_pictures_than_asked_for_are_noted(server, simulator, fault, pictures):
    simulator.set_fault(fault)
    images, _, info = call("DrawThingsGenerate", server=server, **small(batch_size=2, seed=4))
    told = json.loads(info)
    assert len(images) == len(told["seeds"]) == pictures
    assert any("2 were asked for" in note for note in told["notes"])
    assert told["seeds"][2:] == [None] * (pictures - 2)


LATER_FAULTS = {
    "drop_after": (2, "closed the connection"),
    "error_status": ("PERMISSION_DENIED:throttlePolicy", "limits how often"),
    "nan_image": (1, "Image 2 came back with values that are not numbers"),
    "empty_result": (None, "without an image"),
    "the model goes": (None, "is not on the server"),
}


@pytest.mark.parametrize("fault", LATER_FAULTS)
def test_what_earlier_runs_gave_is_kept_and_made_whole_by_the_next_queue(server, simulator, fault):
    value, words = LATER_FAULTS[fault]
    inputs = small(seed=7, batch_count=3, batch_size=2)
    changed = NODES["DrawThingsGenerate"].IS_CHANGED
    before = changed(unique_id="41", server=None, **inputs)
    assert changed(unique_id="41", server=None, **inputs) == before
    simulator.set("step_seconds", 0.2)
    simulator.clear()

    def break_the_second() -> None:
        simulator.wait_until(running=1)
        if fault == "the model goes":
            file.rename(gone)
        else:
            simulator.set_fault(fault, value)

    file = simulator.models_directory / inputs["model"]
    gone = file.with_suffix(".gone")
    breaking = threading.Thread(target=break_the_second)
    breaking.start()
    images, masks, info = call("DrawThingsGenerate", server=server, unique_id="41", **inputs)
    breaking.join()
    told = json.loads(info)
    assert len(images) == len(masks) == len(told["images"]) == len(told["seeds"]) == 2
    (note,) = (note for note in told["notes"] if "Run 2 of 3 failed, so that the rest is missing" in note)
    assert words in note
    assert note.endswith("Queue it again to make all of them.")
    after = changed(unique_id="41", server=None, **inputs)
    assert after != before
    simulator.clear_faults()
    if gone.exists():
        gone.rename(file)
    simulator.set("step_seconds", 0)
    whole, _, info = call("DrawThingsGenerate", server=server, unique_id="41", **inputs)
    assert len(whole) == 6
    assert torch.equal(whole[:2], images)
    assert not any("failed" in note for note in json.loads(info)["notes"])
    assert changed(unique_id="41", server=None, **inputs) == after


def test_a_first_run_that_fails_is_an_error(server, simulator):
    simulator.set_fault("nan_image", 1)
    with pytest.raises(errors.NonFiniteImage):
        call("DrawThingsGenerate", server=server, **small(batch_count=3, batch_size=2))


def test_a_saved_server_is_named_in_the_host(guarded):
    from comfyui_drawthings.drawthings_core.tls import TLSMode

    Profiles().save_secret("studio", SECRET)
    Profiles().save_server("My Mac", guarded.host, guarded.port, TLSMode.auto, secret="studio")
    (server,) = call("DrawThingsLoadServer", host="My Mac", port=1)
    assert (server.host, server.port, server.secret) == (guarded.host, guarded.port, SECRET)


def test_the_process_ends_while_a_server_is_silent(simulator):
    """A run that hangs must not hold ComfyUI when it is stopped."""
    import signal
    import subprocess
    import sys

    simulator.set_fault("stall_first", calls=1)
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in the background of a shell it is ignored
        "import asyncio, comfyui_drawthings as c\n"
        "from comfyui_drawthings.drawthings_core.servers import Server\n"
        "G = c.NODE_CLASS_MAPPINGS['DrawThingsGenerate']()\n"
        f"run = G.generate(Server({simulator.host!r}, {simulator.port}), model={MODEL!r}, prompt='', negative_prompt='', seed=0, width=0,"
        " height=0, steps=2, guidance=-1, sampler='recommended', strength=1.0, batch_count=1, batch_size=1, fit='crop')\n"
        "asyncio.run(run)\n"
    )
    simulator.clear()
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as stopped:
        try:
            end = time.monotonic() + 60
            while not simulator.requests() and time.monotonic() < end:
                time.sleep(0.1)
            stopped.send_signal(signal.SIGINT)
            assert stopped.wait(60) != 0
        finally:
            stopped.kill()


def test_options_win_over_widgets(server, simulator):
    simulator.clear()
    call("DrawThingsGenerate", server=server, options={"steps": 6, "sampler": Sampler.ddim}, **small())
    assert simulator.requests()[0]["configuration"]["steps"] == 6


# -- Inpaint


def test_inpaint_changes_only_what_the_mask_covers(server, simulator):
    simulator.clear()
    image = checkerboard()
    mask = torch.zeros(1, 192, 256)
    mask[:, 64:128, 64:192] = 1
    images, _, _ = call("DrawThingsInpaint", server=server, image=image, mask=mask, **small(options={"mask_blur": 0}))
    kept = mask[0] == 0
    np.testing.assert_allclose(images[0][kept], image[0][kept], atol=1e-6)
    assert (images[0][~kept] - image[0][~kept]).abs().mean() > 0.05
    assert simulator.requests()[0]["mask"]["shape"] == [192, 256]


def test_an_empty_mask_returns_the_image_and_asks_nothing(server, simulator):
    simulator.clear()
    image = checkerboard()
    images, _, info = call("DrawThingsInpaint", server=server, image=image, mask=torch.zeros(1, 64, 64), **small())
    assert torch.equal(images, image)
    assert simulator.requests() == []
    assert "nothing to repaint" in json.loads(info)["notes"][0]
    assert json.loads(info)["seeds"] == [None]


@pytest.mark.parametrize("options", [{"upscaler": "realesrgan_x2plus_f16.ckpt"}, {"face_restoration": "restoreformer_v1.0_f16.ckpt"}])
def test_an_empty_mask_among_others_is_enlarged_and_restored_like_them(server, simulator, options):
    simulator.clear()
    masks = torch.stack([torch.zeros(192, 256), torch.ones(192, 256)])
    inputs = small(options={**options, "sampler": Sampler.euler_a}, seed=4, batch_size=2)
    images, _, info = call("DrawThingsInpaint", server=server, image=checkerboard(), mask=masks, **inputs)
    factor = 2 if "upscaler" in options else 1
    assert images.shape == (3, 192 * factor, 256 * factor, 3)
    unchanged, repainted = simulator.requests()
    assert unchanged["mask"] is None
    assert (unchanged["configuration"]["strength"], repainted["configuration"]["strength"]) == (0, 1)
    told = json.loads(info)
    assert told["seeds"][0] is None
    assert None not in told["seeds"][1:]
    assert [row.get("unchanged") for row in told["images"]] == [True, None, None]
    assert "nothing to repaint" in told["notes"][-1]


def test_masks_in_a_batch_and_of_another_size(server, simulator):
    simulator.clear()
    masks = torch.stack([torch.ones(50, 50), torch.eye(50)])
    images, _, _ = call("DrawThingsInpaint", server=server, image=checkerboard(), mask=masks, **small(strength=0.5))
    assert images.shape[0] == 2
    assert len(simulator.requests()) == 2
    images, _, _ = call("DrawThingsInpaint", server=server, image=checkerboard(), mask=torch.ones(50, 50), **small())
    assert images.shape[0] == 1


# -- hints, moodboard, LoRAs


def family_file(kind: str, version: str, **wanted) -> str:
    from comfyui_drawthings.drawthings_core import client as client_module

    for client in client_module._clients.values():
        if client._catalog is not None:
            for entry in client._catalog.catalog.entries[kind].values():
                if entry.version == version and all(entry.specification.get(k) == v for k, v in wanted.items()):
                    return entry.file
    raise AssertionError(f"no {kind} for {version}")


def test_controlnet_hints_chain_and_arrive(server, simulator):
    simulator.clear()
    depth, scribble = family_file("control", "v1", modifier="depth"), family_file("control", "v1", modifier="scribble")
    (first,) = call("DrawThingsControlNetHint", image=checkerboard(), hint_type="Depth", control=depth, weight=0.7, end=0.5)
    (both,) = call("DrawThingsControlNetHint", image=checkerboard(64, 64), hint_type="Scribble", control=scribble, hints=first)
    assert len(first) == 1  # the upstream value is not touched
    call("DrawThingsGenerate", server=server, hints=both, **small())
    (arrived,) = simulator.requests()
    shapes = {h["type"]: h["tensors"][0]["shape"] for h in arrived["hints"]}
    assert shapes == {"depth": [1, 192, 256, 1], "scribble": [1, 192, 256, 3]}
    controls = arrived["configuration"]["controls"]
    assert [(c["file"], c["weight"], c["guidance_end"]) for c in controls] == [(depth, 0.7, 0.5), (scribble, 1.0, 1.0)]


def test_what_few_controls_read_arrives_too(server, simulator):
    tile = family_file("control", "v1", modifier="tile")
    further = {"global_average_pooling": False, "down_sampling_rate": 2.5, "no_prompt": True, "target_blocks": "up.1, up.2\nmid"}
    (hints,) = call("DrawThingsControlNetHint", image=checkerboard(), hint_type="Tile", control=tile, **further)
    call("DrawThingsGenerate", server=server, hints=hints, **small())
    (control,) = simulator.requests()[-1]["configuration"]["controls"]
    assert control["target_blocks"] == ["up.1", "up.2", "mid"]
    assert {name: control[name] for name in ("global_average_pooling", "down_sampling_rate", "no_prompt")} == {
        "global_average_pooling": False,
        "down_sampling_rate": 2.5,
        "no_prompt": True,
    }


def test_moodboard(server, simulator):
    simulator.clear()
    adapter = family_file("control", "v1", type="ipadapterplus")
    (board,) = call("DrawThingsMoodboard", images=checkerboard(100, 50, batch=3), control=adapter, weight_1=0.5, weight_3=0.25)
    (board,) = call("DrawThingsMoodboard", images=checkerboard(80, 80), hints=board)
    call("DrawThingsGenerate", server=server, hints=board, **small())
    (arrived,) = simulator.requests()
    (shuffle,) = arrived["hints"]
    assert [(t["shape"], round(t["weight"], 3)) for t in shuffle["tensors"]] == [
        ([1, 50, 100, 3], 0.5),
        ([1, 50, 100, 3], 1.0),
        ([1, 50, 100, 3], 0.25),
        ([1, 80, 80, 3], 1.0),
    ]
    assert len(arrived["configuration"]["controls"]) == 1


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"image": checkerboard(batch=2)}, "one picture"),
        ({"hint_type": "Audio"}, "speech features .* only the Draw Things app computes"),
        ({"hint_type": "Smell"}, "hint_type is 'Smell'"),
        ({"hint_type": "Inpaint"}, "leave the image of the hint open"),
        ({"image": None}, "neither an image nor a control"),
        ({"control": "c.ckpt", "start": 0.9, "end": 0.1}, "start is 0.9"),
        ({"control": "c.ckpt", "target_blocks": 7}, "'target_blocks' is int, but needed is text"),
        ({"control": "c.ckpt", "mode": "Sometimes"}, "Mode is 'Sometimes'"),
    ],
)
def test_bad_hints_are_named(inputs, words):
    with pytest.raises(errors.InvalidInput, match=words):
        call("DrawThingsControlNetHint", **{"image": checkerboard(), **inputs})


def test_lora_stack(server, simulator):
    simulator.clear()
    one = family_file("LoRA", "v1")
    (first,) = call("DrawThingsLoRAStack", lora_1=one, weight_1=0.5, lora_2="x.ckpt", weight_2=0, lora_4=None)
    assert first == (LoRA(file=one, weight=0.5),)
    (typed,) = call("DrawThingsLoRAStack", loras=first, more="\na.ckpt\nb.ckpt, 0.25 refiner\nmy own lora.ckpt -.5\n")
    assert typed == (
        first[0],
        LoRA(file="a.ckpt", weight=1),
        LoRA(file="b.ckpt", weight=0.25, mode="refiner"),
        LoRA(file="my own lora.ckpt", weight=-0.5),
    )
    call("DrawThingsGenerate", server=server, loras=first, **small())
    assert simulator.requests()[0]["configuration"]["loras"][0]["file"] == one
    assert call("DrawThingsLoRAStack", more=None) == ((),)
    with pytest.raises(errors.InvalidInput, match="'more' is float, but needed is text"):
        call("DrawThingsLoRAStack", more=0.8)
    with pytest.raises(errors.InvalidInput, match=r"'b\.ckpt much'"):
        call("DrawThingsLoRAStack", more="b.ckpt much")
    with pytest.raises(errors.InvalidSetting, match="Weight 1 is 99"):
        call("DrawThingsLoRAStack", lora_1="a.ckpt", weight_1=99)


def test_a_lora_of_another_family_is_refused_with_both_names(server):
    other = family_file("LoRA", "flux1")
    with pytest.raises(errors.FamilyMismatch, match=r"FLUX\.1.*Stable Diffusion v1"):
        call("DrawThingsGenerate", server=server, loras=(LoRA(file=other),), **small())


# -- progress and interrupt


class Watcher:
    """A host's listener: records progress, and can press Cancel."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, tuple[int, int] | None]] = []
        self.said: list[tuple[str, Doing | None]] = []
        self.previews = True
        self.cancel_at: float | None = None

    def progress(self, node_id, value, total, preview):
        self.seen.append((node_id, value, total, preview.size if preview is not None else None))

    def say(self, node_id, doing):
        self.said.append((node_id, doing))

    def interrupted(self):
        return self.cancel_at is not None and time.perf_counter() >= self.cancel_at


@pytest.fixture
def watcher(monkeypatch):
    watching = Watcher()
    monkeypatch.setattr(host, "listener", watching)
    return watching


def test_progress_and_previews(server, watcher):
    call("DrawThingsGenerate", server=server, **small(batch_count=2))
    values = [value for _, value, _, _ in watcher.seen]
    assert values == sorted(values)
    assert {node for node, *_ in watcher.seen} == {"7"}
    assert watcher.seen[-1][1] == watcher.seen[-1][2] == 10  # two runs of four steps and their delivery
    assert all(value < total for _, value, total, _ in watcher.seen[:-1])
    sizes = [size for *_, size in watcher.seen if size]
    assert set(sizes) == {(32, 24)}
    assert 2 <= len(sizes) <= 4  # two of each run, of which the first is left out where the second overtakes it


def test_progress_of_two_stages_never_goes_back(server, watcher):
    call("DrawThingsGenerate", server=server, options={"stage_2_steps": 12}, **small(model="wurstchen_3.0_stage_c_f32_f16.ckpt", steps=20))
    values = [value / total for _, value, total, _ in watcher.seen if total > 1]
    assert values == sorted(values)


def test_cancel_stops_the_server_within_a_second(server, simulator, watcher):
    simulator.set("step_seconds", 0.5)
    watcher.cancel_at = time.perf_counter() + 0.7
    with pytest.raises(errors.GenerationCancelled):
        call("DrawThingsGenerate", server=server, **small(steps=20))
    assert time.perf_counter() - watcher.cancel_at < 1
    simulator.wait_until(running=0, queued=0, seconds=1)
    watcher.cancel_at = None
    simulator.set("step_seconds", 0)
    assert call("DrawThingsGenerate", server=server, **small())[0].shape[0] == 1


def test_a_cancelled_task_never_leaks_cancelled_error(server, simulator):
    """ComfyUI's prompt thread would die of an asyncio.CancelledError."""
    simulator.set("step_seconds", 0.5)
    node = NODES["DrawThingsGenerate"]()
    defaults = {"negative_prompt": "", "seed": 0, "guidance": -1, "sampler": "recommended", "strength": 1.0}
    inputs = {**defaults, "batch_count": 1, "batch_size": 1, "fit": "crop", **small(steps=20)}

    async def cancel_it():
        task = asyncio.ensure_future(node.generate(server, **inputs))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait({task})
        return task

    task = asyncio.run(cancel_it())
    assert not task.cancelled()
    assert isinstance(task.exception(), errors.GenerationCancelled)
    simulator.wait_until(running=0, seconds=2)


def test_two_nodes_run_side_by_side_on_one_loop(server, simulator):
    """Both are under way at once; the server queues the second."""
    node = NODES["DrawThingsGenerate"]
    simulator.set("step_seconds", 0.1)
    shared = {
        "negative_prompt": "",
        "seed": 0,
        "guidance": -1,
        "sampler": "recommended",
        "strength": 1.0,
        "batch_count": 1,
        "batch_size": 1,
    }

    async def both():
        runs = [node().generate(server, fit="crop", **{**shared, **small()}) for _ in range(2)]
        return await asyncio.gather(*runs)

    results = asyncio.run(both())
    assert [images.shape[0] for images, _, _ in results] == [1, 1]


def test_a_new_event_loop_for_every_prompt(server):
    """Channels must not be bound to the loop that first used them."""
    for _ in range(3):
        call("DrawThingsGenerate", server=server, **small(steps=2))
