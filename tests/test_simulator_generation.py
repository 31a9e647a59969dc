"""Generations without a server around them: what the requests come to, and that none of them breaks the simulator."""

import hashlib
import random

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.configuration import Configuration, ControlInputType, Sampler, flatbuffer
from comfyui_drawthings.drawthings_core.simulator import catalog, generation, inputs, painting
from comfyui_drawthings.drawthings_core.simulator.jobs import Job
from comfyui_drawthings.drawthings_core.simulator.plan import Path
from comfyui_drawthings.proto import messages

V1 = "sd_v1.5_f16.ckpt"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    catalog.fill(directory)
    return catalog.Catalog(catalog.ModelsDirectory(directory))


def request(image=None, mask=None, hints=(), scale=1, prompt="a fox", **settings):
    made = messages.ImageGenerationRequest(prompt=prompt, scaleFactor=scale, chunked=True)
    made.configuration = flatbuffer.pack(Configuration({"model": V1, "steps": 4, "start_width": 128, "start_height": 128, **settings}))

    def put(array):
        data = tensor.encode(array)
        made.contents.append(data)
        return hashlib.sha256(data).digest()

    if image is not None:
        made.image = put(image)
    if mask is not None:
        made.mask = put(mask)
    for kind, arrays in hints:
        made.hints.add(hintType=kind).tensors.extend(messages.TensorAndWeight(tensor=put(array), weight=0.5) for array in arrays)
    return made


def grey(height=128, width=128, channels=3, value=0.25):
    return np.full((1, height, width, channels), value, np.float16)


def facts(known, made):
    return generation.facts(generation.decode(made, known))


@pytest.mark.parametrize(
    ("control", "hints", "image", "expected"),
    [
        ({"file": "controlnet_canny_1.x_v1.1_f16.ckpt"}, ["custom"], False, ["custom"]),
        ({"file": "controlnet_canny_1.x_v1.1_f16.ckpt"}, ["custom"], True, []),  # computed from the image
        ({"file": "controlnet_canny_1.x_v1.1_f16.ckpt"}, ["canny"], False, []),
        ({"file": "controlnet_openpose_1.x_v1.1_f16.ckpt"}, ["custom", "pose"], False, ["pose"]),
        ({"file": "controlnet_openpose_1.x_v1.1_f16.ckpt"}, ["custom"], False, ["custom"]),
        ({"file": "controlnet_depth_1.x_v1.1_f16.ckpt"}, ["custom"], False, []),
        ({"file": "controlnet_tile_1.x_v1.1_f16.ckpt"}, ["custom"], True, ["custom"]),
        ({"file": "t2iadapter_color_1.x_f16.ckpt"}, ["color"], False, ["color"]),
        ({"file": "ip_adapter_plus_1.x_f16.ckpt"}, ["shuffle", "depth"], False, ["shuffle"]),
        ({"file": "ip_adapter_plus_1.x_f16.ckpt", "weight": 0}, ["shuffle"], False, []),
        ({"file": "controlnet_canny_flux_1_v1.0_f16.ckpt"}, ["custom"], False, []),  # another family's
    ],
)
def test_which_hint_a_control_reads(known, control, hints, image, expected):
    arrays = [(kind, [grey(channels=1 if kind == "depth" else 3)]) for kind in hints]
    made = request(grey() if image else None, hints=arrays, controls=[control], strength=0.5)
    assert facts(known, made)["hints_used"] == expected


def test_union_controls_need_an_input_type(known):
    control = {"file": "controlnet_union_pro_flux_1_dev_1.0_q8p.ckpt", "input_override": ControlInputType.depth}
    made = request(hints=[("depth", [grey(channels=1)])], controls=[control], model="flux_1_schnell_q8p.ckpt")
    assert facts(known, made)["hints_used"] == ["depth"]
    control["input_override"] = ControlInputType.unspecified
    made = request(hints=[("depth", [grey(channels=1)])], controls=[control], model="flux_1_schnell_q8p.ckpt")
    assert facts(known, made)["hints_used"] == []


def test_editing_models_read_the_moodboard(known):
    for model, expected in (("qwen_image_edit_2511_q6p.ckpt", ["shuffle"]), ("qwen_image_2512_q8p.ckpt", [])):
        assert facts(known, request(hints=[("shuffle", [grey()])], model=model))["hints_used"] == expected


def test_last_scribble_and_first_depth_count(known):
    made = request(
        hints=[(kind, [grey(channels=1 if kind == "depth" else 3, value=value)]) for kind in ("depth", "scribble") for value in (0.1, 0.9)]
    )
    read = inputs.read(made).hints
    assert float(read["depth"].tensors[0][0][0, 0, 0, 0]) == pytest.approx(0.1, abs=1e-3)
    assert float(read["scribble"].tensors[0][0][0, 0, 0, 0]) == pytest.approx(0.9, abs=1e-3)


def test_lora_lends_its_modifier(known):
    lora = {"file": "fooocus_inpaint_v2.6_lora_f16.ckpt", "weight": 1.0}
    assert facts(known, request(model="sd_xl_base_1.0_f16.ckpt", loras=[lora]))["modifier"] == "inpainting"
    assert facts(known, request(model=V1, loras=[lora]))["skipped"] == [lora["file"]]


def test_v1_loras_fit_kandinsky(known):
    lora = {"file": "add_detail_v1.5_lora_f16.ckpt", "weight": 1.0}
    assert facts(known, request(model="kandinsky_f16.ckpt", loras=[lora]))["loras"] == [lora["file"]]


def test_shift_by_resolution_leaves_fewer_steps(known):
    settings = {"model": "z_image_1.0_q8p.ckpt", "steps": 20, "strength": 0.5, "sampler": "Euler A Trailing", "shift": 1.0}
    counts = []
    for by_resolution in (False, True):
        decoded = generation.decode(request(grey(1024, 1024), resolution_dependent_shift=by_resolution, **settings), known)
        counts.append(generation.plan_run(decoded).signposts["sampling"])
    assert counts[0] == 10
    assert counts[1] < 10
    turbo = generation.decode(request(grey(1024, 1024), **{**settings, "model": "z_image_turbo_1.0_q8p.ckpt"}), known)
    assert generation.plan_run(turbo).signposts["sampling"] == 10


@pytest.mark.parametrize(
    ("codes", "strength", "moves", "holes"),
    [
        ((0, 3), 0.5, [1, 0], [0, 0]),
        ((2, 3), 0.5, [1, 0], [0, 0]),
        ((0, 2), 0.5, [0, 1], [0, 0]),
        ((0, 1), 0.5, [1, 0], [0, 1]),
        ((0, 1), 0.0, [0, 0], [0, 1]),
        ((1, 3), 0.5, [0, 0], [1, 0]),
        ((4, 5), 0.5, [1, 0], [0, 0]),
    ],
)
def test_what_a_mask_repaints(known, codes, strength, moves, holes):
    mask = np.repeat(np.array(codes, np.uint8), 64)[None].repeat(128, axis=0)
    decoded = generation.decode(request(grey(), mask, strength=strength), known)
    order = generation.Generation(decoded, generation.Settings(), {})._brief().mask
    assert order is not None
    assert [int(order.moves[0, x]) for x in (0, 127)] == moves
    assert [int(order.holes[0, x]) for x in (0, 127)] == holes


def test_upper_bits_of_a_mask_show_the_original(known):
    mask = np.full((128, 128), 3, np.uint8)
    mask[:, 64:] = 1 | 128
    decoded = generation.decode(request(grey(value=1), mask, strength=0.5, mask_blur=0.0), known)
    order = generation.Generation(decoded, generation.Settings(), {})._brief()
    clear = generation.Generation(
        generation.decode(request(grey(value=1), mask & 7, strength=0.5, mask_blur=0.0), known), generation.Settings(), {}
    )._brief()
    key = generation.Generation(decoded, generation.Settings(), {}).keys[0]
    shown, hidden = (painting.Painter(brief).picture(key).astype(float) for brief in (order, clear))
    share = (128 / 255) ** 2
    assert np.allclose(shown[:, 80:], share + (1 - share) * hidden[:, 80:], atol=0.01)


def random_request(dice, known):
    """Anything a client might send, sensible or not."""
    noise = np.random.default_rng(dice.randrange(2**32))

    def picture(channels=3):
        shape = (dice.choice([1, 1, 3]), dice.choice([64, 128, 100]), dice.choice([64, 128]), channels)
        return noise.uniform(-1, 1, shape).astype(dice.choice([np.float16, np.float16, np.float32]))

    image = picture(dice.choice([3, 3, 3, 4])) if dice.random() < 0.6 else None
    size = image.shape[1:3] if image is not None else (64, 64)
    mask = noise.choice(dice.sample(range(8), dice.choice([1, 2, 3])), size).astype(np.uint8) if dice.random() < 0.5 else None
    hints = [(dice.choice(sorted(inputs.HINT_TYPES)), [picture(dice.choice([1, 3]))]) for _ in range(dice.choice([0, 1, 3]))]
    files = {kind: list(known.known(kind)) for kind in catalog.KINDS}
    return request(
        image,
        mask,
        hints,
        dice.choice([0, 1, 1, 1, 2]),
        dice.choice(["", "日本語 🦊", "a\nb" * 50, "\x00"]),
        model=dice.choice([*files["models"], "none.ckpt"]),
        steps=dice.choice([1, 2, 5]),
        strength=dice.choice([0.0, 0.3, 0.5, 1.0]),
        sampler=dice.choice(list(Sampler)),
        batch_size=dice.choice([1, 2]),
        num_frames=dice.choice([1, 2, 9]),
        hires_fix=dice.random() < 0.4,
        hires_fix_start_width=128,
        start_width=dice.choice([128, 192]),
        hires_fix_strength=dice.random(),
        stage_2_steps=dice.choice([1, 3]),
        seed_mode=dice.randrange(4),
        mask_blur=dice.choice([0.0, 1.5]),
        mask_blur_outset=dice.choice([0, 5, -5]),
        preserve_original_after_inpaint=dice.random() < 0.7,
        upscaler=dice.choice([None, *files["upscalers"]]),
        loras=[{"file": dice.choice(files["loras"]), "weight": 1.0} for _ in range(dice.choice([0, 2]))],
        controls=[{"file": dice.choice(files["control_nets"]), "input_override": dice.randrange(19)} for _ in range(dice.choice([0, 2]))],
    )


@pytest.mark.parametrize("seed", range(80))
def test_any_request_is_answered_or_a_trap(known, seed):
    made = random_request(random.Random(seed), known)
    try:
        decoded = generation.decode(made, known)
    except inputs.Trap:
        return
    job, sent = Job(lambda job: None), []
    job.send = sent.append
    generation.Generation(decoded, generation.Settings(step_seconds=0, compress=False), {}).run(job)
    announced = {post.WhichOneof("signpost") for post in sent[0].signposts}
    stages = [message.currentSignpost.WhichOneof("signpost") for message in sent if message.HasField("currentSignpost")]
    assert stages[0] == "textEncoded"
    assert set(stages) <= announced | {"imageEncoded", "secondPassImageDecoded"}
    images = [tensor.decode(piece) for message in sent for piece in message.generatedImages]
    assert bool(images) != (decoded.path is Path.empty or generation._schedule_is_nan(decoded.configuration, decoded.resolved))
    width, height = decoded.canvas
    factor = decoded.resolved.upscale
    assert {image.shape[1:3] for image in images} <= {(height * factor, width * factor)}
    assert all(np.isfinite(image).all() and np.abs(image).max() <= 1 for image in images)
