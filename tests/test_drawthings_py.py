"""An independent client, drawthings-py from PyPI, generates with our simulator, and reads and writes what we do.

It needs packages that quarrel with ours (an older Pillow), so it runs in the Python that DRAWTHINGS_PY_PYTHON names, which
scripts/test.py sets up; without that, in this one where it is installed here.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import images, tensor
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.configuration import Choice, Configuration, Sampler, SeedMode, app_json, flatbuffer
from comfyui_drawthings.drawthings_core.request import GenerationRequest, Hint
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from PIL import Image

WIDTH, HEIGHT = 192, 128
HALF_STEP = 2**-10
"""Distance between neighbouring halves just below 1: the two clients round the same byte to one or the other."""

# Runs in the other Python: jobs as JSON lines on stdin, answers as JSON lines on stdout; bytes as base64.
# The client accepts the certificates of Draw Things and no others, and has no parameter for that: our root is added to
# whatever it trusts, so that its TLS, which it never leaves out, is real.
PROGRAM = """
import asyncio, base64, contextlib, json, ssl, sys, traceback

job = {}
load = ssl.SSLContext.load_verify_locations
def load_ours_too(self, *arguments, **named):
    load(self, *arguments, **named)
    load(self, cadata=job["root"])
ssl.SSLContext.load_verify_locations = load_ours_too

from drawthings_py import Configs, DrawThings, ImageBuffer, RequestBuilder

def text(data):
    return base64.b64encode(bytes(data)).decode()

def shown(picture):
    return {"width": picture.width, "height": picture.height, "channels": picture.channels, "data": text(picture.data)}

def config():
    return Configs.from_json(json.dumps(job["configuration"]))

async def generating():
    async with DrawThings.grpc(job["host"], job["port"], progressbar=False, disable_messages=True) as service:
        request = RequestBuilder(config(), job["prompt"], job["negative"])
        if "image" in job:
            request.init_image(job["image"])
        if "mask" in job:
            request.mask(job["mask"])
        if "depth" in job:
            request.control_image(job["depth"], "depth", 0.5)
        for file in job.get("moodboard", ()):
            request.add_moodboard_image(file, 0.25)
        previews = []
        request.on_progress(lambda signpost, preview: previews.append(preview and [preview.width, preview.height]))
        result = await service.generate(request)
        return {"pictures": [{**shown(picture), "seed": picture.metadata["seed"]} for picture in result], "progress": previews}

def generate():
    return asyncio.run(generating())

def write():
    picture = ImageBuffer.from_file(job["file"])
    return {"tensor": text(picture.to_tensor()), "mask": text(picture.to_binary_mask())}

def read():
    return shown(ImageBuffer.from_tensor(base64.b64decode(job["tensor"])))

def pack():
    return {"buffer": text(config().to_fbs())}

def unpack():
    return dict(type(Configs.create()).from_fbs(base64.b64decode(job["buffer"])))

for line in sys.stdin:
    job = json.loads(line)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"answer": globals()[job["work"]]()}
    except BaseException:
        answer = {"failed": traceback.format_exc()}
    print(json.dumps(answer, default=lambda value: value.decode() if isinstance(value, bytes) else str(value)), flush=True)
"""


class OtherClient:
    """drawthings-py in a process of its own."""

    def __init__(self, python: str):
        self._process = subprocess.Popen(
            [python, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, work: str, **job: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"work": work, **job}) + "\n")
        self._process.stdin.flush()
        deadline = threading.Timer(60, self._process.kill)
        deadline.start()
        try:
            line = self._process.stdout.readline()
        finally:
            deadline.cancel()
        assert line, "drawthings-py ended or gave no answer in a minute"
        answer = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer["answer"]

    def close(self) -> None:
        with self._process:
            with contextlib.suppress(OSError):
                self._process.communicate(timeout=5)
            self._process.kill()


class Both:
    """The other client and ours on one simulator with TLS."""

    def __init__(self, simulator: SimulatorProcess, other: OtherClient, ours: Client):
        self.simulator = simulator
        self._other = other
        self._ours = ours
        self._model = next(path.name for path in sorted(simulator.models_directory.glob("sd_v1*.ckpt")))

    def configuration(self, **settings: Any) -> Configuration:
        """A small picture; the app's defaults elsewhere."""
        return Configuration({"model": self._model, "start_width": WIDTH, "start_height": HEIGHT, "steps": 4, "seed": 5, **settings})

    def theirs(self, configuration: Configuration, **inputs: Any) -> dict[str, Any]:
        return self._other.ask(
            "generate",
            host=self.simulator.host,
            port=self.simulator.port,
            root=self.simulator.root_certificate,
            configuration=app_json.write(configuration),
            prompt="a lighthouse",
            negative="fog",
            **inputs,
        )

    def their_pictures(self, configuration: Configuration, **inputs: Any) -> list[np.ndarray]:
        return [_pixels(picture) for picture in self.theirs(configuration, **inputs)["pictures"]]

    def our_pictures(self, configuration: Configuration, **inputs: Any) -> list[np.ndarray]:
        result = self._ours.generate(GenerationRequest(configuration, "a lighthouse", "fog", **inputs))
        return [images.to_bytes(picture.rgb).astype(np.int16) for picture in result.pictures]

    def requests(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The last two requests as the simulator saw them."""
        first, second = self.simulator.requests()[-2:]
        return first, second


def _pixels(picture: dict[str, Any]) -> np.ndarray:
    shape = (picture["height"], picture["width"], picture["channels"])
    return np.frombuffer(base64.b64decode(picture["data"]), np.uint8).reshape(shape).astype(np.int16)


def _assert_same(theirs: list[np.ndarray], ours: list[np.ndarray], tolerance: int = 1) -> None:
    """Equal to one level of 255: the two round their halves differently."""
    assert [picture.shape for picture in theirs] == [picture.shape for picture in ours]
    for one, other in zip(theirs, ours, strict=True):
        assert np.abs(one - other).max() <= tolerance
        assert one.std() > 5


@pytest.fixture(scope="module")
def other() -> Iterator[OtherClient]:
    given = os.environ.get("DRAWTHINGS_PY_PYTHON")
    if not given and importlib.util.find_spec("drawthings_py") is None:
        pytest.skip("drawthings-py is not installed here, and DRAWTHINGS_PY_PYTHON does not say where it is")
    client = OtherClient(given or sys.executable)
    yield client
    client.close()


@pytest.fixture(scope="module")
def _both(other: OtherClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with SimulatorProcess("--model-browser", "--step-seconds", "0") as simulator:
        profiles = Profiles(tmp_path_factory.mktemp("profiles") / "servers.json")
        client = Client(Server(simulator.host, simulator.port, TLSMode.pinned), profiles)
        yield Both(simulator, other, client)
        client.close()


@pytest.fixture(params=[True, False], ids=["compressed", "raw"])
def both(request: pytest.FixtureRequest, _both: Both) -> Both:
    """With and without response compression."""
    _both.simulator.set("compress", request.param)
    return _both


def _save(pixels: np.ndarray, file: Path) -> str:
    Image.fromarray(pixels.astype(np.uint8)).save(file)
    return str(file)


@pytest.fixture
def colourful(tmp_path: Path) -> str:
    """A picture file of the canvas's size with every level in it."""
    across, down = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    return _save(np.stack([across, down, (across + down) / 2 % 97], axis=-1), tmp_path / "colourful.png")


@pytest.fixture
def grey(tmp_path: Path) -> str:
    """A picture file whose three channels are equal: how colours become grey is each client's own affair."""
    return _save(np.repeat(np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH, 1), 3, axis=2), tmp_path / "grey.png")


@pytest.fixture
def right_half(tmp_path: Path) -> str:
    """A mask file: white, which means repaint, in the right half."""
    return _save(np.repeat(255 * (np.arange(WIDTH) >= WIDTH // 2)[None], HEIGHT, axis=0), tmp_path / "mask.png")


def _read(file: str) -> np.ndarray:
    """A file as a picture [1, H, W, 3]."""
    return np.asarray(Image.open(file).convert("RGB"))[None]


# -- generating


def test_text_to_image(both):
    configuration = both.configuration()
    answer = both.theirs(configuration)
    _assert_same([_pixels(picture) for picture in answer["pictures"]], both.our_pictures(configuration))
    assert [picture["seed"] for picture in answer["pictures"]] == [5]
    theirs, ours = both.requests()
    assert theirs["configuration"] == ours["configuration"]
    assert theirs["prompt"] == ours["prompt"]
    assert theirs["negative_prompt"] == ours["negative_prompt"]


def test_previews(both):
    progress = both.theirs(both.configuration(steps=6))["progress"]
    assert len(progress) > 6
    assert any(preview for preview in progress)


def test_another_seed_is_another_picture(both):
    first, second = (both.their_pictures(both.configuration(seed=seed)) for seed in (5, 2**32 - 1))
    assert np.abs(first[0] - second[0]).max() > 1
    _assert_same(second, both.our_pictures(both.configuration(seed=2**32 - 1)))


def test_batch(both):
    configuration = both.configuration(batch_size=3)
    theirs = both.their_pictures(configuration)
    assert len(theirs) == 3
    _assert_same(theirs, both.our_pictures(configuration))


def test_image_to_image(both, colourful):
    configuration = both.configuration(strength=0.6)
    theirs = both.their_pictures(configuration, image=colourful)
    _assert_same(theirs, both.our_pictures(configuration, image=images.image_tensor(_read(colourful))), tolerance=2)


def test_inpainting(both, colourful, right_half):
    configuration = both.configuration(strength=0.6, mask_blur=0.0)
    theirs = both.their_pictures(configuration, image=colourful, mask=right_half)
    mask = np.where(np.asarray(Image.open(right_half)) > 127, np.uint8(2), np.uint8(0))  # it keeps with 0, we with 3
    _assert_same(theirs, both.our_pictures(configuration, image=images.image_tensor(_read(colourful)), mask=mask), tolerance=2)
    first, second = (request["mask"]["values_sha256"] for request in both.requests())
    assert first == second
    original = _read(colourful)[0].astype(np.int16)
    assert np.abs(theirs[0] - original)[:, : WIDTH // 2 - 8].max() <= 1
    assert np.abs(theirs[0] - original)[:, WIDTH // 2 + 8 :].max() > 20


def test_hints(both, colourful, grey):
    configuration = both.configuration()
    theirs = both.their_pictures(configuration, depth=grey, moodboard=[colourful, grey])
    shuffled = tuple((images.hint_tensor(_read(file), images.HintValues.rgb_signed), 0.25) for file in (colourful, grey))
    depth = images.hint_tensor(_read(grey), images.HintValues.gray_signed)
    _assert_same(theirs, both.our_pictures(configuration, hints=(Hint("depth", ((depth, 0.5),)), Hint("shuffle", shuffled))), tolerance=2)
    first, second = (
        [(hint["type"], [(item["shape"], item["weight"]) for item in hint["tensors"]]) for hint in request["hints"]]
        for request in both.requests()
    )
    assert first == second


def test_lora_and_control(both):
    files = sorted(path.name for path in both.simulator.models_directory.iterdir())
    configuration = both.configuration(
        loras=[{"file": next(name for name in files if "lora" in name and "v1" in name), "weight": 0.5}],
        controls=[{"file": next(name for name in files if "control" in name and "v1" in name), "weight": 0.75, "guidance_end": 0.5}],
    )
    theirs = both.their_pictures(configuration)
    _assert_same(theirs, both.our_pictures(configuration))
    first, second = (request["configuration"] for request in both.requests())
    assert first == second


# -- the formats, without a server


def test_their_tensor_reads_as_ours(other, colourful):
    answer = other.ask("write", file=colourful)
    theirs = tensor.decode(base64.b64decode(answer["tensor"]))
    ours = images.image_tensor(_read(colourful))
    assert theirs.dtype == ours.dtype
    assert theirs.shape == ours.shape
    assert np.abs(theirs.astype(np.float32) - ours.astype(np.float32)).max() <= HALF_STEP


def test_their_mask_reads_as_a_mask(other, right_half):
    theirs = tensor.decode(base64.b64decode(other.ask("write", file=right_half)["mask"]))
    assert theirs.shape == (HEIGHT, WIDTH)
    assert np.array_equal(theirs == images.MASK_REPAINT, np.asarray(Image.open(right_half)) > 127)


@pytest.mark.parametrize("compress", [True, False])
def test_our_tensor_reads_as_the_same_picture(other, colourful, compress):
    ours = images.image_tensor(_read(colourful))
    answer = other.ask("read", tensor=base64.b64encode(tensor.encode(ours, compress=compress)).decode())
    _assert_same([_pixels(answer)], [_read(colourful)[0].astype(np.int16)])


# Where the other client departs from the server's schema and the app's JSON, both ways: pixels as units of 64, importance
# under another word; and from JSON to buffer only: switches that are on by default stay on, and these are not taken over.
DEPARTURES = {"crop_top", "crop_left", "control_mode"} | {
    f"{kind}_image_{side}" for kind in ("original", "target", "negative_original") for side in ("width", "height")
}

NOT_PACKED = {
    *("hires_fix", "t5_text_encoder", "negative_prompt_for_image_prior", "preserve_original_after_inpaint"),
    *("speed_up_with_guidance_embed", "resolution_dependent_shift", "start_frame_cfg", "stage_2_cfg"),
    *("causal_inference", "causal_inference_enabled", "causal_inference_pad"),
}

# Its names where they are not the schema's.
THEIR_NAMES = {
    "width": "start_width",
    "height": "start_height",
    "guidance": "guidance_scale",
    "hires_fix_width": "hires_fix_start_width",
    "hires_fix_height": "hires_fix_start_height",
    "fps": "fps_id",
    "motion_scale": "motion_bucket_id",
    "guiding_frame_noise": "cond_aug",
    "guiding_frame_guidance": "start_frame_cfg",
}


def _elaborate() -> Configuration:
    """Something other than the app's default in every field that both know and where the other follows the schema."""
    return Configuration(
        model="sd_xl_base_1.0_q6p_q8p.ckpt",
        start_width=1024,
        start_height=768,
        seed=2**32 - 1,
        steps=31,
        guidance_scale=7.5,
        strength=0.45,
        sampler=Sampler.dpmpp_sde_trailing,
        seed_mode=SeedMode.nvidia_gpu_compatible,
        batch_count=3,
        batch_size=2,
        hires_fix=True,
        hires_fix_start_width=640,
        hires_fix_start_height=512,
        hires_fix_strength=0.55,
        upscaler="realesrgan_x2plus_f16.ckpt",
        upscaler_scale_factor=2,
        image_guidance_scale=2.5,
        clip_skip=2,
        mask_blur=2.25,
        mask_blur_outset=-4,
        face_restoration="restoration.ckpt",
        clip_weight=0.75,
        negative_prompt_for_image_prior=False,
        image_prior_steps=7,
        refiner_model="refiner é.ckpt",
        refiner_start=0.75,
        aesthetic_score=7.0,
        negative_aesthetic_score=3.5,
        zero_negative_prompt=True,
        fps_id=12,
        motion_bucket_id=99,
        cond_aug=0.04,
        start_frame_cfg=1.5,
        num_frames=33,
        sharpness=1.5,
        shift=2.25,
        stage_2_steps=11,
        stage_2_cfg=1.25,
        stage_2_shift=1.5,
        tiled_decoding=True,
        decoding_tile_width=512,
        decoding_tile_height=576,
        decoding_tile_overlap=64,
        stochastic_sampling_gamma=0.4,
        preserve_original_after_inpaint=False,
        tiled_diffusion=True,
        diffusion_tile_width=896,
        diffusion_tile_height=768,
        diffusion_tile_overlap=192,
        t5_text_encoder=False,
        separate_clip_l=True,
        clip_l_text="one",
        separate_open_clip_g=True,
        open_clip_g_text="two",
        separate_t5=True,
        t5_text="three",
        speed_up_with_guidance_embed=False,
        guidance_embed=4.5,
        resolution_dependent_shift=False,
        tea_cache=True,
        tea_cache_start=3,
        tea_cache_end=-2,
        tea_cache_threshold=0.12,
        tea_cache_max_skip_steps=4,
        cfg_zero_star=True,
        cfg_zero_init_steps=2,
        causal_inference=5,
        causal_inference_pad=1,
        loras=[{"file": "a.ckpt", "weight": -0.5, "mode": 2}, {"file": "b.ckpt", "weight": 1.25}],
        controls=[
            {
                "file": "c.ckpt",
                "weight": 0.8,
                "guidance_start": 0.1,
                "guidance_end": 0.9,
                "no_prompt": True,
                "global_average_pooling": False,
                "down_sampling_rate": 2.5,
                "target_blocks": ["first", "second"],
                "input_override": 3,
            }
        ],
    )


def _comparable(value: Any) -> Any:
    """A value in the form that its JSON has there: wire names, lists, floats to six digits."""
    if isinstance(value, Mapping):
        return {THEIR_NAMES.get(name, name): _comparable(item) for name, item in value.items() if name not in DEPARTURES}
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    if isinstance(value, Choice):
        return value.wire_name
    return round(value, 6) if isinstance(value, float) else value


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> (ours, theirs), of the fields that both have."""
    one, other = _comparable(ours), _comparable(theirs)
    assert len(other) > 70
    return {name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]}


def test_they_pack_our_json_as_we_do(other):
    ours = _elaborate()
    answer = other.ask("pack", configuration=app_json.write(ours))
    differences = _differences(ours, flatbuffer.unpack(base64.b64decode(answer["buffer"])))
    assert {name: pair for name, pair in differences.items() if name not in NOT_PACKED} == {}


def test_they_read_our_buffer_as_we_wrote_it(other):
    ours = _elaborate()
    assert _differences(ours, other.ask("unpack", buffer=base64.b64encode(flatbuffer.pack(ours)).decode())) == {}
