"""The simulator as a server: real processes over loopback, spoken to with raw stubs."""

import contextlib
import hashlib
import json
import struct
import threading
import time
import zlib

import grpc
import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import preview, tensor
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, LoRA, flatbuffer
from comfyui_drawthings.drawthings_core.families import families
from comfyui_drawthings.drawthings_core.simulator import plan
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.proto import messages, service

V1 = "sd_v1.5_f16.ckpt"
XL = "sd_xl_base_1.0_f16.ckpt"
FLUX = "flux_1_schnell_q8p.ckpt"
CASCADE = "wurstchen_3.0_stage_c_f32_f16.ckpt"
LIMITS = [("grpc.max_receive_message_length", 1 << 30)]


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as running:
        yield running


@pytest.fixture(scope="module")
def stub(simulator):
    with grpc.insecure_channel(simulator.address, options=LIMITS) as channel:
        yield service.Stub(channel)


@pytest.fixture(autouse=True)
def healthy(request):
    yield
    if "simulator" in request.fixturenames:
        running = request.getfixturevalue("simulator")
        running.clear_faults()
        running.clear()
        running.set("step_seconds", 0)
        running.set("compress", True)


@contextlib.contextmanager
def started(*flags):
    with (
        SimulatorProcess("--no-tls", "--step-seconds", "0", *flags) as running,
        grpc.insecure_channel(running.address, options=LIMITS) as channel,
    ):
        yield running, service.Stub(channel)


def request(
    image=None, mask=None, hints=(), *, prompt="a fox", negative="", scale=1, chunked=True, configuration=None, inline=False, **settings
):
    """A request; tensors by reference unless inline. hints: (type, [array, ...])."""
    made = messages.ImageGenerationRequest(prompt=prompt, negativePrompt=negative, scaleFactor=scale, chunked=chunked)
    base = Configuration(model=settings.pop("model", V1), steps=4, start_width=128, start_height=128, sampler="Euler A Trailing", shift=1.0)
    record = base.updated(
        {
            "resolution_dependent_shift": False,
            **{k: v for k, v in settings.items() if k not in ("batch_size", "steps", "strength", "start_width")},
        }
    )
    # Values that our own side refuses to send are what the traps are about.
    record._values.update({k: v for k, v in settings.items() if k in ("batch_size", "steps", "strength", "start_width")})
    made.configuration = flatbuffer.pack(record) if configuration is None else configuration

    def put(value):
        data = value if isinstance(value, bytes) else tensor.encode(value, compress=True)
        if inline:
            return data
        made.contents.append(data)
        return hashlib.sha256(data).digest()

    if image is not None:
        made.image = put(image)
    if mask is not None:
        made.mask = put(mask)
    for kind, arrays in hints:
        made.hints.add(hintType=kind).tensors.extend(messages.TensorAndWeight(tensor=put(array), weight=1) for array in arrays)
    return made


def picture(height=128, width=128, channels=3, dtype=np.float16, count=1):
    values = np.linspace(-0.9, 0.9, count * height * width * channels).reshape(count, height, width, channels)
    return values.astype(dtype)


def mask_of(*codes, height=128, width=128):
    """Vertical stripes of codes."""
    return np.repeat(np.array(codes, np.uint8), width // len(codes))[None].repeat(height, axis=0)


def run(stub, made):
    return list(stub.GenerateImage(made, timeout=30))


def images_of(responses):
    """Reassembled results."""
    images, buffer = [], b""
    for response in responses:
        for piece in response.generatedImages:
            buffer += piece
            if response.chunkState == messages.LAST_CHUNK:
                images.append(tensor.decode(buffer))
                buffer = b""
    assert not buffer
    return images


def stages_of(responses):
    found = []
    for response in responses:
        if response.HasField("currentSignpost"):
            name = response.currentSignpost.WhichOneof("signpost")
            part = getattr(response.currentSignpost, name)
            found.append((name, part.step) if name.lower().endswith("sampling") else name)
    return found


def announced(response):
    return {post.WhichOneof("signpost"): getattr(getattr(post, post.WhichOneof("signpost")), "step", None) for post in response.signposts}


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        list(call) if hasattr(call, "__iter__") else call
    return caught.value.code(), caught.value.details()


def steps(count, name="sampling"):
    return [(name, step) for step in range(count + 1)]


# Events

PATHS = {
    "text": (lambda: request(), ["textEncoded", "imageEncoded", *steps(4), "imageDecoded"], 4),
    "image": (lambda: request(picture(), strength=0.5), ["textEncoded", "imageEncoded", "imageEncoded", *steps(3), "imageDecoded"], 3),
    "image at full strength": (lambda: request(picture(), strength=1.0), ["textEncoded", "imageEncoded", *steps(4), "imageDecoded"], 4),
    "inpainting model": (
        lambda: request(picture(), strength=1.0, model="sd_v1.5_inpainting_f16.ckpt"),
        ["textEncoded", "imageEncoded", "imageEncoded", *steps(4), "imageDecoded"],
        4,
    ),
    "strength 0": (lambda: request(picture(), strength=0.0), ["textEncoded"], 0),
    "mask 2+3": (
        lambda: request(picture(), mask_of(2, 3), strength=0.5, model=FLUX),
        ["textEncoded", "imageEncoded", "imageEncoded", *steps(2), "imageDecoded"],
        2,
    ),
    "mask 2+3 at full strength": (
        lambda: request(picture(), mask_of(2, 3), strength=1.0),
        ["textEncoded", "imageEncoded", "imageEncoded", *steps(4), "imageDecoded"],
        4,
    ),
    "mask with 1": (
        lambda: request(picture(), mask_of(1, 3), strength=0.6, model=FLUX),
        ["textEncoded", "imageEncoded", "imageEncoded", ("sampling", 0), ("sampling", 1), *steps(4)[1:], "imageDecoded"],
        4,
    ),
    "mask of only 1": (lambda: request(picture(), mask_of(1), strength=0.5), ["textEncoded", "imageEncoded", *steps(4), "imageDecoded"], 4),
    "mask of only 3": (
        lambda: request(picture(), mask_of(3), strength=0.5, model=FLUX),
        ["textEncoded", "imageEncoded", "imageEncoded", *steps(2), "imageDecoded"],
        2,
    ),
    "mask without image": (lambda: request(None, mask_of(2, 3)), ["textEncoded", "imageEncoded", *steps(4), "imageDecoded"], 4),
    "hires fix": (
        lambda: request(
            model=FLUX,
            hires_fix=True,
            hires_fix_start_width=128,
            hires_fix_start_height=128,
            hires_fix_strength=0.5,
            start_width=256,
            start_height=256,
        ),
        [
            *("textEncoded", "imageEncoded", *steps(4), "imageDecoded", "secondPassImageEncoded", "imageEncoded"),
            *(*steps(2, "secondPassSampling"), "secondPassImageDecoded"),
        ],
        4,
    ),
    "cascade": (
        lambda: request(model=CASCADE, stage_2_steps=3, hires_fix_strength=1.0),
        [
            *("textEncoded", "imageEncoded", *steps(4), "imageDecoded", "secondPassImageEncoded", "imageEncoded"),
            *(*steps(3, "secondPassSampling"), "secondPassImageDecoded"),
        ],
        4,
    ),
    "upscaler and faces": (
        lambda: request(upscaler="realesrgan_x2plus_f16.ckpt", face_restoration="restoreformer_v1.0_f16.ckpt"),
        ["textEncoded", "imageEncoded", *steps(4), "imageDecoded", "faceRestored", "imageUpscaled"],
        4,
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_events(stub, name):
    make, expected, sampling = PATHS[name]
    responses = run(stub, make())
    assert stages_of(responses) == expected
    posts = [announced(response) for response in responses if response.HasField("currentSignpost")]
    assert all(post == posts[0] for post in posts)
    assert posts[0]["sampling"] == sampling
    assert len(images_of(responses)) == 1


def test_signposts_announce_hires_fix(stub):
    responses = run(stub, PATHS["hires fix"][0]())
    assert announced(responses[0])["secondPassSampling"] == 2
    shapes = [tensor.Header.unpack(response.previewImage).dims for response in responses if response.HasField("previewImage")]
    assert shapes[0] == (1, 16, 16, 16)
    assert shapes[-1] == (1, 32, 32, 16)


# Families


def specifications(stub):
    return json.loads(stub.Echo(messages.EchoRequest(name="test"), timeout=10).override.models)


@pytest.mark.parametrize("version", families())
def test_previews_and_results_of_every_family(stub, version):
    spec = next(spec for spec in specifications(stub) if spec["version"] == version and "remote_api_model_config" not in spec)
    still = not families()[version].video
    made = request(picture() if version == "svd_i2v" else None, model=spec["file"], steps=4, num_frames=9, batch_size=2, stage_2_steps=2)
    responses = run(stub, made)
    kept = [response for response in responses if response.HasField("previewImage")]
    first = [response.currentSignpost.sampling.step for response in kept if response.currentSignpost.HasField("sampling")]
    assert first == [1, 3]
    latent = tensor.decode(kept[0].previewImage)
    assert latent.dtype == np.float16
    if version == plan.CASCADE:
        assert latent.shape == (2, 24, 24, 3)
        assert tensor.Header.unpack(kept[-1].previewImage).dims == (2, 32, 32, 4)
    else:
        count = plan.latent_frames(version, 9) or (1 if version.startswith("seedvr2_") else 2)
        assert latent.shape == tuple(plan.preview_shape(version, 128, 128, count))
    if not version.startswith("ltx"):
        assert preview.rgb(latent, version) is not None
    images = images_of(responses)
    assert len(images) == (9 if not still else 1 if version.startswith("seedvr2_") else 2)
    assert {image.shape for image in images} == {(1, 128, 128, 3)}
    if not still:
        assert not np.array_equal(images[0], images[4])
    audio = [tensor.decode(piece) for response in responses for piece in response.generatedAudio]
    assert [sound.shape for sound in audio] == ([(2, plan.audio_samples(version, 9))] if version.startswith("ltx2") else [])
    assert all(np.abs(sound).max() <= 1 and np.abs(sound).max() > 0.1 for sound in audio)


def test_svd_without_image_gives_nothing(stub):
    assert images_of(run(stub, request(model="svd_i2v_xt_1.1_f16.ckpt"))) == []


def test_layers_and_transparent_loras_have_alpha_first(stub):
    layers = images_of(run(stub, request(model="qwen_image_layered_1.0_q8p.ckpt", batch_size=3)))
    assert [layer.shape for layer in layers] == [(1, 128, 128, 4)] * 3
    assert layers[0][..., 0].min() == 1
    assert 0 == layers[1][..., 0].min() < layers[1][..., 0].max() == 1
    lora = LoRA(file="layer_diffusion_sd_xl_base_1.0_lora_f16.ckpt", weight=1.0)
    (picture_,) = images_of(run(stub, request(model=XL, loras=[lora])))
    assert picture_.shape[3] == 4


# Files and versions


def test_a_model_that_is_not_there_becomes_the_default_model(stub):
    responses = run(stub, request(model="no_such_model.ckpt", num_frames=9))
    assert len(images_of(responses)) == 9
    assert any(response.generatedAudio for response in responses)


def test_override_wins_and_an_unknown_file_is_v1(stub):
    made = request(model="an_unknown_finetune_f16.ckpt", steps=4)
    kept = [r for r in run(stub, made) if r.HasField("previewImage")]
    assert tensor.Header.unpack(kept[0].previewImage).dims[3] == 4
    made.override.models = json.dumps(
        [
            {"name": "broken"},
            {
                "name": "x",
                "file": "an_unknown_finetune_f16.ckpt",
                "prefix": "",
                "version": "flux1",
                "upcast_attention": False,
                "default_scale": 16,
            },
        ]
    ).encode()
    kept = [r for r in run(stub, made) if r.HasField("previewImage")]
    assert tensor.Header.unpack(kept[0].previewImage).dims[3] == 16


def test_wrong_loras_controls_and_upscalers_fall_away(stub):
    plain = images_of(run(stub, request()))[0]
    wrong = request(
        loras=[LoRA(file="pixel_art_xl_v1.1_lora_f16.ckpt"), LoRA(file="nothing.ckpt")],
        controls=[Control(file="controlnet_canny_flux_1_v1.0_f16.ckpt")],
        upscaler="nothing.ckpt",
        refiner_model=FLUX,
    )
    assert np.array_equal(images_of(run(stub, wrong))[0], plain)
    right = request(start_width=256, start_height=256, loras=[LoRA(file="add_detail_v1.5_lora_f16.ckpt")])
    assert not np.array_equal(images_of(run(stub, right))[0], images_of(run(stub, request(start_width=256, start_height=256)))[0])


def test_upscaler_enlarges_and_says_so(stub):
    responses = run(stub, request(upscaler="4x_ultrasharp_f16.ckpt"))
    assert images_of(responses)[0].shape == (1, 512, 512, 3)
    assert responses[-1].scaleFactor == 4
    forced = run(stub, request(upscaler="4x_ultrasharp_f16.ckpt", upscaler_scale_factor=2))
    assert images_of(forced)[0].shape == (1, 256, 256, 3)
    assert forced[-1].scaleFactor == 2


# Pictures


def test_image_path_takes_the_size_of_the_image_and_pools_it(stub):
    source = picture(256, 384)
    assert images_of(run(stub, request(source, strength=0.5)))[0].shape == (1, 256, 384, 3)
    assert images_of(run(stub, request(source, strength=0.5, scale=2)))[0].shape == (1, 128, 192, 3)


def test_strength_0_gives_the_image_back_once(stub):
    source = picture(128, 192)
    images = images_of(run(stub, request(source, strength=0.0, batch_size=3)))
    assert len(images) == 1
    assert np.array_equal(images[0], source)


def test_inpainting_keeps_pixels_exactly(stub):
    source = picture()
    mask = mask_of(3, 2)
    kept = images_of(run(stub, request(source, mask, strength=0.8, mask_blur=0.0)))[0]
    assert np.array_equal(kept[:, :, :64], source[:, :, :64])
    assert not np.array_equal(kept[:, :, 64:], source[:, :, 64:])
    blurred = images_of(run(stub, request(source, mask, strength=0.8, mask_blur=1.5)))[0]
    assert np.array_equal(blurred[:, :, :52], source[:, :, :52])
    assert not np.array_equal(blurred[:, :, :64], source[:, :, :64])
    lossy = images_of(run(stub, request(source, mask, strength=0.8, preserve_original_after_inpaint=False)))[0]
    assert not np.array_equal(lossy[:, :, :64], source[:, :, :64])
    assert np.abs(lossy[:, :, :64].astype(float) - source[:, :, :64]).max() < 0.02


def test_holes_do_not_show_the_image(stub):
    dark, light = np.full((1, 128, 128, 3), -1, np.float16), np.full((1, 128, 128, 3), 1, np.float16)
    results = [images_of(run(stub, request(source, mask_of(1, 3), strength=0.5, mask_blur=0.0)))[0] for source in (dark, light)]
    hole = np.abs(results[0].astype(float) - results[1])[0, :, :64]
    assert np.median(hole) == 0


def test_every_input_shows(stub):
    size = {"start_width": 256, "start_height": 256}
    depth, colour = picture(256, 256, 1), picture(256, 256)
    control = Control(file="controlnet_depth_1.x_v1.1_f16.ckpt")
    variants = [
        request(**size),
        request(**size, negative="blurry"),
        request(**size, prompt="a cat"),
        request(**size, seed=1),
        request(**size, model="juggernaut_reborn_f16.ckpt"),
        request(**size, hints=[("depth", [depth])]),
        request(**size, hints=[("depth", [depth])], controls=[control]),
        request(**size, hints=[("shuffle", [colour])]),
        request(**size, hints=[("shuffle", [colour, colour])]),
        request(colour, strength=0.5),
        request(colour, strength=0.75),
        request(colour, strength=1.0, **size),
    ]
    results = [images_of(run(stub, made))[0].tobytes() for made in variants]
    assert len(set(results)) == len(results)
    assert images_of(run(stub, variants[0]))[0].tobytes() == results[0]


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (2048, 128), (64, 1024)])
def test_odd_sizes_paint(stub, size):
    made = request(
        hints=[("depth", [picture(64, 64, 1)])], negative="x", start_width=size[0], loras=[LoRA(file="add_detail_v1.5_lora_f16.ckpt")]
    )
    width, height = size
    base = flatbuffer.unpack(made.configuration)
    base._values.update(start_width=width, start_height=height)
    made.configuration = flatbuffer.pack(base)
    assert images_of(run(stub, made))[0].shape == (1, height, width, 3)


def test_members_of_a_scale_alike_batch_equal_single_runs(stub):
    batch = images_of(run(stub, request(seed=42, batch_size=3)))
    for seed, member in zip(plan.batch_seeds(42, 3), batch, strict=True):
        assert np.array_equal(images_of(run(stub, request(seed=seed)))[0], member)
    other = images_of(run(stub, request(seed=42, batch_size=2, seed_mode="Legacy")))
    assert not np.array_equal(other[0], other[1])


# Encoding


@pytest.mark.parametrize(("compress", "codec"), [(True, tensor.Codec.FPZIP), (False, tensor.Codec.RAW)])
@pytest.mark.parametrize("chunked", [True, False])
def test_codecs_and_chunks(simulator, stub, compress, codec, chunked):
    simulator.set("compress", compress)
    # Noise of few levels shrinks little: a passed-through image above 4 MiB in both codecs.
    noise = (np.random.default_rng(1).integers(0, 64, (1, 1216, 1024, 3)) / 512 + 0.5).astype(np.float16)
    responses = run(stub, request(noise, strength=0.0, chunked=chunked))
    pieces = [response.generatedImages[0] for response in responses if response.generatedImages]
    assert tensor.Header.unpack(pieces[0]).codec == codec
    total = sum(map(len, pieces))
    assert total > 4194304
    assert [response.downloadSize for response in responses if response.HasField("downloadSize")] == [total]
    assert len(pieces) == (-(-total // 4194304) if chunked else 1)
    assert np.array_equal(images_of(responses)[0], noise)


# Traps

GOOD = picture()


def header(layout=2, datatype=0x20000):
    return struct.pack("<I4i12i", 0, 1, layout, datatype, 0, 1, 64, 64, 3, *[0] * 8) + bytes(64 * 64 * 3 * 2)


def cut_off_zip():
    good = tensor.encode(mask_of(2, 3), compress=True)
    payload = zlib.decompressobj(-15).decompress(good[68:])
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return good[:68] + compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)


DEPTH = Control(file="controlnet_depth_1.x_v1.1_f16.ckpt")
SCRIBBLE = Control(file="controlnet_scribble_1.x_v1.1_f16.ckpt")
POSE = Control(file="controlnet_openpose_1.x_v1.1_f16.ckpt")
SEG = Control(file="controlnet_seg_1.x_v1.1_f16.ckpt")
SHUFFLE = Control(file="controlnet_shuffle_1.x_v1.1_f16.ckpt")
COLOUR = Control(file="t2iadapter_color_1.x_f16.ckpt")


def odd_modifier():
    made = request(model="an_unknown_finetune_f16.ckpt")
    entry = {
        "name": "x",
        "file": "an_unknown_finetune_f16.ckpt",
        "prefix": "",
        "version": "z_image",
        "upcast_attention": False,
        "default_scale": 16,
        "modifier": "depth",
    }
    made.override.models = json.dumps([entry]).encode()
    return made


TRAPS = {
    "empty configuration": (lambda: request(configuration=b""), "configuration is empty"),
    "corrupt configuration": (lambda: request(configuration=b"\xff" * 64), "not a GenerationConfiguration"),
    "unknown format": (lambda: request(header(layout=3)), "unknown format 3"),
    "unknown datatype": (lambda: request(header(datatype=0x1000000)), "unknown datatype"),
    "unknown datatype of a hint": (lambda: request(hints=[("depth", [header(datatype=0x3000)])]), "unknown datatype"),
    "zip without end": (lambda: request(GOOD, cut_off_zip(), strength=0.5), "no end mark"),
    "strength above 1": (lambda: request(GOOD, mask_of(2, 3), strength=1.5), "strength is 1.5"),
    "strength below 0": (lambda: request(GOOD, strength=-0.5), "strength is -0.5"),
    "image not a multiple of 64": (lambda: request(picture(128, 100), strength=0.5), "not a multiple of 64"),
    "image not a multiple of 128": (lambda: request(picture(192, 192), strength=0.5, scale=2), "not a multiple of 128"),
    "scale factor 0": (lambda: request(GOOD, strength=0.5, scale=0), "scaleFactor is 0"),
    "scale factor 0 with a mask": (lambda: request(GOOD, mask_of(2, 3), strength=1.0, scale=0), "scaleFactor is 0"),
    "odd size with a mask": (lambda: request(picture(128, 100), mask_of(2, 3), strength=1.0), "not a multiple of 64"),
    "odd size at full strength": (lambda: request(picture(127, 128), strength=1.0, scale=2), "not a multiple of 2"),
    "mask of another size": (lambda: request(GOOD, mask_of(2, 3, height=64), strength=0.5), "differs from the image"),
    "mask of floats": (lambda: request(GOOD, mask_of(2, 3).astype(np.float32), strength=0.5), "the mask is float32"),
    "image with alpha": (lambda: request(picture(channels=4), strength=0.5), "4 channels"),
    "depth in colour": (lambda: request(hints=[("depth", [GOOD])], controls=[DEPTH]), "depth hint has the shape"),
    "custom in grey": (lambda: request(hints=[("custom", [picture(channels=1)])], controls=[SEG]), "custom hint has the shape"),
    "shuffle in grey": (lambda: request(hints=[("shuffle", [picture(channels=1)])], controls=[SHUFFLE]), "shuffle hint has the shape"),
    "colour in grey": (lambda: request(hints=[("color", [picture(channels=1)])], controls=[COLOUR]), "color hint has the shape"),
    "scribble of bytes": (lambda: request(hints=[("scribble", [mask_of(0, 1)])], controls=[SCRIBBLE]), "scribble hint is uint8"),
    "scribble of float32": (
        lambda: request(hints=[("scribble", [picture(dtype=np.float32)])], controls=[SCRIBBLE]),
        "scribble hint is float32",
    ),
    "pose of another size": (lambda: request(hints=[("pose", [picture(64, 64)])], controls=[POSE]), "pose hint of 64x64"),
    "batch size 0": (lambda: request(batch_size=0), "batch_size is 0"),
    "steps 0": (lambda: request(steps=0), "steps is 0"),
    "one linspace step": (lambda: request(steps=1, sampler="Euler A"), "divides 0 by 0"),
    "no width": (lambda: request(start_width=0), "the canvas is 0x128"),
    "modifier of another family": (odd_modifier, "modifier depth"),
}


@pytest.mark.parametrize("name", TRAPS)
def test_traps_are_refused_politely(simulator, stub, name):
    make, reason = TRAPS[name]
    simulator.command(command="clear_traps")
    code, details = code_of(stub.GenerateImage(make(), timeout=20))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in details
    state = simulator.state()
    assert state["traps"] == 1
    assert reason in state["trap_reasons"][0]


def test_traps_drop_the_call_when_strict():
    with started("--strict-keep-running") as (running, stub):
        for count, (make, reason) in enumerate(TRAPS.values(), 1):
            assert code_of(stub.GenerateImage(make(), timeout=20)) == (grpc.StatusCode.UNAVAILABLE, "Socket closed")
            state = running.state()
            assert state["traps"] == count
            assert reason in state["trap_reasons"][-1]
        assert images_of(run(stub, request()))


def test_a_trap_ends_a_strict_process():
    with started("--strict") as (running, stub):
        code, _ = code_of(stub.GenerateImage(TRAPS["batch size 0"][0](), timeout=20))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert running.wait(10) == 70
        models = running.models_directory
    assert running.events == [{"event": "trap", "reason": "batch_size is 0"}]
    assert not models.exists()


HARMLESS = {
    "reference that misses": lambda: missing_reference(),
    "short image": lambda: request(b"short", strength=0.5, inline=True),
    "unknown codec": lambda: request(struct.pack("<I", 0x511) + header()[4:], strength=0.5),
    "truncated image": lambda: request(header()[:-10], strength=0.5),
    "unknown hint type": lambda: request(hints=[("nonsense", [GOOD])]),
    "strength above 1 without a mask": lambda: request(GOOD, strength=3.0, scale=0),
    "any size at full strength": lambda: request(picture(100, 77), strength=1.0),
    "odd hints that nothing reads": lambda: request(hints=[("depth", [GOOD]), ("scribble", [mask_of(0, 1)]), ("pose", [picture(64, 64)])]),
    "float32 image": lambda: request(picture(dtype=np.float32), strength=1.0),
    "bytes behind a raw image": lambda: request(tensor.encode(GOOD) + b"more", strength=1.0),
    "empty prompt": lambda: request(prompt=""),
}


def missing_reference():
    made = request(strength=0.5)
    made.image = bytes(32)
    return made


@pytest.mark.parametrize("name", HARMLESS)
def test_odd_inputs_that_only_run_otherwise(simulator, stub, name):
    before = simulator.state()["traps"]
    responses = run(stub, HARMLESS[name]())
    assert images_of(responses)[0].shape == (1, 128, 128, 3)
    assert ("sampling", 4) in stages_of(responses)
    assert simulator.state()["traps"] == before


def test_one_linspace_step_of_a_flow_model_is_nan_and_ends_empty(stub):
    responses = run(stub, request(model=FLUX, steps=1, sampler="Euler A"))
    assert not images_of(responses)
    assert responses[-1].scaleFactor == 1
    assert not any(response.HasField("downloadSize") for response in responses)


def test_one_step_of_cosine_spacing_is_none_of_linspace(stub):
    assert images_of(run(stub, request(model="wurstchen_3.0_stage_c_f32_f16.ckpt", steps=1, sampler="Euler A")))


def test_audio_hint_without_longcat_gives_nothing(stub):
    sound = np.zeros((1, 1, 100), np.float16)
    assert images_of(run(stub, request(picture(), hints=[("audio", [sound, sound])]))) == []
    longcat = {"model": "longcat_video_avatar_1.5_q8p.ckpt", "num_frames": 5}
    assert len(images_of(run(stub, request(picture(), hints=[("audio", [sound, sound])], **longcat)))) == 5


# Queue


def test_calls_wait_their_turn_and_cancelled_ones_stop(simulator, stub):
    simulator.set("step_seconds", 30)
    first = stub.GenerateImage(request(), timeout=60)
    assert first.initial_metadata() is not None
    simulator.wait_until(running=1)
    second = stub.GenerateImage(request(), timeout=60)
    assert second.initial_metadata() is not None  # sent although it waits
    simulator.wait_until(running=1, queued=1)
    third = stub.GenerateImage(request(), timeout=60)
    simulator.wait_until(running=1, queued=2)
    second.cancel()
    simulator.set("step_seconds", 0)
    began = time.monotonic()
    first.cancel()
    responses = list(third)
    assert time.monotonic() - began < 2
    assert len(images_of(responses)) == 1
    history = simulator.wait_until(running=0)["history"][-3:]
    assert [job["outcome"] for job in history] == ["cancelled", "cancelled", "done"]
    assert history[1]["stage"] == "textEncoded"  # it started, and stopped at the first callback


def test_echo_waits_for_the_queue_when_asked():
    with started("--echo-on-queue") as (running, stub):
        running.set("step_seconds", 0.1)
        call = stub.GenerateImage(request(), timeout=60)
        running.wait_until(running=1)
        assert stub.Echo(messages.EchoRequest(name="x"), timeout=20).message == "HELLO x"
        assert running.state()["running"] == 0
        list(call)


def test_a_deadline_cancels(simulator, stub):
    simulator.set("step_seconds", 30)
    assert code_of(stub.GenerateImage(request(), timeout=0.3))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert simulator.wait_until(running=0)["history"][-1]["outcome"] == "cancelled"


# Unary calls


def test_echo_lists_what_is_there(simulator, stub):
    reply = stub.Echo(messages.EchoRequest(name="me"), timeout=10)
    assert reply.message == "HELLO me"
    assert reply.serverIdentifier == stub.Echo(messages.EchoRequest(), timeout=10).serverIdentifier != 0
    assert not reply.sharedSecretMissing
    assert V1 in reply.files
    assert set(reply.files) == {path.name for path in simulator.models_directory.glob("*.ckpt")}
    models = json.loads(reply.override.models)
    assert {spec["version"] for spec in models} == set(families())
    assert any("remote_api_model_config" in spec for spec in models)
    assert len(json.loads(reply.override.upscalers)) == 6
    for version in ("v1", "sdxl_base_v0.9", "flux1", "qwen_image", "wan_v2.1_14b"):
        assert any(lora["version"] == version for lora in json.loads(reply.override.loras))
    assert {"canny", "depth", "scribble", "pose"} <= {control.get("modifier") for control in json.loads(reply.override.controlNets)}
    assert len(json.loads(reply.override.textualInversions)) >= 3


def test_echo_says_nothing_without_the_browser():
    with started() as (_, stub):
        reply = stub.Echo(messages.EchoRequest(name="me"), timeout=10)
        assert not reply.files
        assert not reply.HasField("override")


def test_a_given_directory_is_read_as_it_is(tmp_path):
    (tmp_path / V1).write_bytes(b"x")
    (tmp_path / "clip_vit_l14_f16.ckpt").write_bytes(b"x")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "mine.ckpt").write_bytes(b"x")
    mine = {
        "name": "Mine",
        "file": "mine.ckpt",
        "prefix": "",
        "version": "flux1",
        "upcast_attention": False,
        "default_scale": 16,
        "extra": 1,
    }
    (tmp_path / "custom.json").write_text(json.dumps([mine, {"name": "no file"}, {**mine, "file": "x.ckpt", "version": "flux9"}]))
    with started("--model-browser", str(tmp_path)) as (_, stub):
        reply = stub.Echo(messages.EchoRequest(name="me"), timeout=10)
        assert set(reply.files) == {V1, "clip_vit_l14_f16.ckpt", "mine.ckpt"}
        assert json.loads(reply.override.models) == [mine]  # sd_v1.5 lacks its VAE
    assert (tmp_path / "mine.ckpt").exists()


def test_files_exist(simulator, stub):
    outside = "../" + simulator.models_directory.name + "/" + V1
    names = [V1, "nothing.ckpt", "", "/etc/passwd", "../../etc/passwd", outside, "bad\0name"]
    reply = stub.FilesExist(messages.FileListRequest(files=names, filesWithHash=[V1, "", "other.ckpt", "/etc/passwd"]), timeout=10)
    assert list(reply.files) == names
    assert list(reply.existences) == [True, False, True, False, False, True, False]
    content = (simulator.models_directory / V1).read_bytes()
    assert list(reply.hashes) == [hashlib.sha256(content).digest(), *[b""] * 6]


def test_pubkey_hours_and_unknown_methods(simulator, stub):
    assert stub.Pubkey(messages.PubkeyRequest(name="x"), timeout=10).ByteSize() == 0
    assert stub.Hours(messages.HoursRequest(), timeout=10).ByteSize() == 0
    with grpc.insecure_channel(simulator.address) as channel:
        code, _ = code_of(channel.unary_stream("/ImageGenerationService/Nothing")(b"", timeout=10))
        assert code == grpc.StatusCode.UNIMPLEMENTED


def test_compressed_requests_are_unimplemented_and_responses_plain(simulator, stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Echo(messages.EchoRequest(name="x" * 1000), timeout=10, compression=grpc.Compression.Gzip)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


# Secret

REFUSED = (grpc.StatusCode.INTERNAL, "unknown error processing request")


def test_secret_on_each_call():
    with started("--shared-secret", "pass word", "--model-browser") as (running, stub):
        for wrong in ({}, {"sharedSecret": "wrong"}, {"sharedSecret": ""}):
            reply = stub.Echo(messages.EchoRequest(name="me", **wrong), timeout=10)
            assert reply == messages.EchoReply(sharedSecretMissing=True)
            made = request()
            if wrong:
                made.sharedSecret = wrong["sharedSecret"]
            assert code_of(stub.GenerateImage(made, timeout=10)) == REFUSED
            uploads = [messages.FileUploadRequest(initRequest=messages.InitUploadRequest(filename="a.ckpt"), **wrong)]
            assert code_of(stub.UploadFile(iter(uploads), timeout=10)) == REFUSED
            with pytest.raises(grpc.RpcError) as caught:
                stub.FilesExist(messages.FileListRequest(files=[V1], **wrong), timeout=10)
            assert (caught.value.code(), caught.value.details()) == REFUSED
        stub.Pubkey(messages.PubkeyRequest(), timeout=10)
        assert not stub.Echo(messages.EchoRequest(sharedSecret="pass word"), timeout=10).sharedSecretMissing
        made = request()
        made.sharedSecret = "pass word"
        assert images_of(run(stub, made))
        assert [call["secret_right"] for call in running.requests()] == [False, False, False, True]
        assert "pass word" not in json.dumps(running.requests(None)) + running.log()


# Uploads

CONTENT = bytes(range(256)) * 8


def init(name="new.ckpt", sha=None):
    digest = sha or hashlib.sha256(CONTENT).digest()
    return messages.FileUploadRequest(initRequest=messages.InitUploadRequest(filename=name, sha256=digest, totalSize=len(CONTENT)))


def chunk(content=CONTENT, offset=0):
    return messages.FileUploadRequest(chunk=messages.FileChunk(content=content, offset=offset))


def test_upload_replaces_the_file(simulator, stub):
    (simulator.models_directory / "new.ckpt").write_bytes(b"old")
    sent = [init(), messages.FileUploadRequest(), chunk(CONTENT[:1000]), chunk(CONTENT[1000:], 1000)]
    answers = list(stub.UploadFile(iter(sent), timeout=10))
    assert [(answer.chunkUploadSuccess, answer.receivedOffset, answer.filename) for answer in answers] == [
        (True, 0, "new.ckpt"),
        (True, 1000, ""),
        (True, 2048, ""),
    ]
    assert (simulator.models_directory / "new.ckpt").read_bytes() == CONTENT
    assert "new.ckpt" in stub.Echo(messages.EchoRequest(), timeout=10).files
    (simulator.models_directory / "new.ckpt").unlink()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([chunk()], "INTERNAL"),
        ([], "INTERNAL"),
        ([init("no/such/folder.ckpt")], "INTERNAL"),
        ([init("../outside.ckpt"), chunk()], "INTERNAL"),
        ([init("/tmp/outside.ckpt"), chunk()], "INTERNAL"),
        ([init(""), chunk()], "INTERNAL"),
        ([init(), chunk(offset=5)], "DATA_LOSS"),
        ([init(), chunk(CONTENT[:-1])], "INVALID_ARGUMENT"),
        ([init(sha=bytes(32)), chunk()], "DATA_LOSS"),
        ([init(), chunk(), init(), chunk()], "DATA_LOSS"),
    ],
)
def test_upload_errors_leave_nothing(simulator, stub, sent, code):
    before = {path.name for path in simulator.models_directory.iterdir()}
    status, details = code_of(stub.UploadFile(iter(sent), timeout=10))
    assert status.name == code
    assert (details == REFUSED[1]) == (code == "INTERNAL")
    assert {path.name for path in simulator.models_directory.iterdir()} == before
    assert not (simulator.models_directory.parent / "outside.ckpt").exists()


def test_a_broken_upload_leaves_nothing(simulator, stub):
    hold = threading.Event()

    def sending():
        yield init("broken.ckpt")
        yield chunk(CONTENT[:10])
        hold.wait(20)

    call = stub.UploadFile(sending(), timeout=20)
    assert [next(call).receivedOffset, next(call).receivedOffset] == [0, 10]
    assert (simulator.models_directory / "broken.ckpt.part").exists()
    call.cancel()
    hold.set()
    for _ in range(100):
        if not (simulator.models_directory / "broken.ckpt.part").exists():
            break
        time.sleep(0.02)
    assert not (simulator.models_directory / "broken.ckpt.part").exists()


# Proxy and downloads


def test_proxy_beats_while_queued_and_has_no_uploads():
    with started("--proxy", "0.05") as (running, stub):
        reply = stub.Echo(messages.EchoRequest(name="x"), timeout=10)
        assert reply.files
        assert not reply.HasField("override")
        assert not stub.FilesExist(messages.FileListRequest(files=[V1], filesWithHash=[V1]), timeout=10).hashes[0]
        assert code_of(stub.UploadFile(iter([init()]), timeout=10))[0] == grpc.StatusCode.UNIMPLEMENTED
        running.set("step_seconds", 0.1)
        first = stub.GenerateImage(request(), timeout=20)
        running.wait_until(running=1)
        second = run(stub, request())
        assert second[0].ByteSize() == 0
        assert images_of(second)
        list(first)


def test_remote_downloads_come_first():
    with started("--remote-downloads", "2") as (_, stub):
        responses = run(stub, request())
        kinds = [response.HasField("remoteDownload") for response in responses]
        assert kinds == sorted(kinds, reverse=True)
        last = responses[kinds.index(False) - 1].remoteDownload
        assert (last.item, last.itemsExpected, last.bytesReceived) == (1, 2, last.bytesExpected)
        assert images_of(responses)
