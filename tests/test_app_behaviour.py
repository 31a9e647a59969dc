"""Each path of app_behaviour.md sections 1, 2 and 4, from a node to a strict server and back.

Section 3 (hints) is in test_hints.py, section 7 (PNG) in the tests of Save Image. What a node refuses to send is sent raw, so that the
server's side of the row is seen too; "strict" is a simulator that drops the call where the real process would stop.
"""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import errors, seeds, tensor
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.configuration import Configuration, SeedMode
from comfyui_drawthings.drawthings_core.job import Job, plan
from comfyui_drawthings.drawthings_core.request import GenerationRequest, build
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.proto import messages, service
from test_nodes import call

V1 = "sd_v1.5_f16.ckpt"
XL = "sd_xl_base_1.0_f16.ckpt"
FLUX = "flux_1_schnell_q8p.ckpt"
CASCADE = "wurstchen_3.0_stage_c_f32_f16.ckpt"
TRANSPARENT = "layer_diffusion_sd_xl_base_1.0_lora_f16.ckpt"
X2 = "realesrgan_x2plus_f16.ckpt"
X4 = "remacri_4x_f16.ckpt"
WIDTH, HEIGHT = 256, 128


@pytest.fixture(scope="module")
def strict():
    flags = ("--no-tls", "--model-browser", "--strict-keep-running", "--step-seconds", "0", "--no-response-compression")
    with SimulatorProcess(*flags) as running:
        yield running


@pytest.fixture(autouse=True)
def traps(strict):
    """No row may stop the server but where its test expects that: expect(send) is the reason why the call was a trap."""
    expected = strict.state()["traps"]

    def expect(send) -> str:
        nonlocal expected
        expected += 1
        with pytest.raises(grpc.RpcError):
            send()
        return strict.state()["trap_reasons"][-1]

    yield expect
    state = strict.state()
    strict.clear()
    assert state["traps"] == expected, state["trap_reasons"]


class Studio:
    """A user at a graph, and a way round it. Pictures are float [H, W, C] in 0..1."""

    def __init__(self, strict):
        self.strict = strict
        self.server = call("DrawThingsLoadServer", host=strict.host, port=strict.port)[0]
        self.client = Client(Server(strict.host, strict.port))
        self.catalog = self.client.catalog()
        self.channel = grpc.insecure_channel(strict.address, options=[("grpc.max_receive_message_length", 1 << 30)])
        self.info: dict[str, Any] = {}
        self.alpha: np.ndarray = np.zeros(0)
        self.previews: list[tuple[int, ...]] = []

    def run(self, node="Generate", **inputs) -> np.ndarray:
        """The pictures [N, H, W, 3] of a node's run."""
        inputs = {name: self._torch(value) if isinstance(value, np.ndarray) else value for name, value in inputs.items()}
        defaults = {"model": V1, "prompt": "a cat", "width": WIDTH, "height": HEIGHT, "steps": 8}
        options = inputs.pop("options", {})
        images, alpha, info = call(f"DrawThings{node}", server=self.server, options=options, **{**defaults, **inputs})
        self.info, self.alpha = json.loads(info), alpha.numpy()
        return images.numpy()

    @staticmethod
    def _torch(picture):
        return torch.from_numpy(np.ascontiguousarray(picture[None], np.float32))

    def raw(self, image=None, mask=None, scale=1, values=(), hints=(), **settings) -> np.ndarray:
        """The pictures of a request that nothing here has looked at. values: settings beyond what a Configuration takes."""
        configuration = Configuration({"model": V1, "start_width": WIDTH, "start_height": HEIGHT, "steps": 8, **settings})
        configuration._values.update(values)
        image = None if image is None else (image[None] * 2 - 1).astype(np.float16)
        message = build(GenerationRequest(configuration, "a cat", image=image, mask=mask, scale_factor=scale, hints=hints), self.catalog)
        stub, found, parts = service.Stub(self.channel), [], b""
        self.previews = []
        for response in stub.GenerateImage(message, timeout=60):
            if response.HasField("previewImage"):
                self.previews.append(tensor.decode(response.previewImage).shape)
            for piece in response.generatedImages:
                parts += piece
                if response.chunkState == messages.LAST_CHUNK:
                    found.append((tensor.decode(parts)[0].astype(np.float32)[..., -3:] + 1) / 2)
                    parts = b""
        return np.stack(found) if found else np.zeros((0, HEIGHT, WIDTH, 3))

    @property
    def last(self) -> dict[str, Any]:
        """What the server made of the last request."""
        return self.strict.state()["history"][-1]

    @property
    def sent(self) -> list[dict[str, Any]]:
        return self.strict.requests()

    @property
    def notes(self) -> str:
        return "\n".join(self.info["notes"])


@pytest.fixture(scope="module")
def studio(strict):
    made = Studio(strict)
    yield made
    made.channel.close()
    made.client.close()


def flat(value, channels=3, width=WIDTH, height=HEIGHT):
    return np.full((height, width, channels), value, np.float32)


def waves(width=WIDTH, height=HEIGHT):
    """Something to recognise."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x / width, y / height, (x // 16 + y // 16) % 2 * 0.8], axis=2).astype(np.float32)


# -- section 1: which path runs


def test_no_image_is_text_to_image(studio):
    studio.run()
    assert studio.last["path"] == "text"
    assert studio.sent[-1]["image"] is None


def test_a_mask_without_an_image_is_ignored_by_the_server_and_named_here(studio):
    mask = np.full((HEIGHT, WIDTH), 2, np.uint8)
    masked = studio.raw(mask=mask)
    assert studio.last["path"] == "text"
    assert np.median(np.abs(masked - studio.raw())) == 0, "but for what the simulator writes into the picture"
    with pytest.raises(errors.InvalidImage, match="There is a mask but no image"):
        list(plan(Job(V1, masks=np.ones((1, 64, 64), np.float32)), studio.catalog).runs())


@pytest.mark.parametrize(("strength", "steps"), [(0.25, 2), (0.5, 4), (0.55, 5), (0.9, 8)])
def test_image_to_image_runs_the_share_of_the_steps(studio, strength, steps):
    plain = {"resolution_dependent_shift": False, "shift": 1.0}
    studio.run(image=waves(), model=FLUX, strength=strength, sampler="Euler A Trailing", options=plain)
    assert studio.last["path"] == "image"
    assert studio.last["announced"]["sampling"] == steps


def test_a_larger_shift_leaves_fewer_steps(studio):
    counts = []
    for shift in (1.0, 3.0, 6.0):
        options = {"resolution_dependent_shift": False, "shift": shift}
        studio.run(image=waves(), model=FLUX, strength=0.5, sampler="Euler A Trailing", options=options)
        counts.append(studio.last["announced"]["sampling"])
    assert counts == [4, 2, 2]


@pytest.mark.parametrize(
    ("model", "more", "sent", "path"),
    [
        (V1, {}, False, "text"),
        (FLUX, {}, False, "text"),
        ("sd_v1.5_inpainting_f16.ckpt", {}, True, "text"),  # a modifier looks at it
        ("instruct_pix2pix_22000_f16.ckpt", {}, True, "text"),
        ("qwen_image_edit_2511_q6p.ckpt", {}, True, "text"),
        ("sd_v2.0_depth_f16.ckpt", {}, True, "text"),
        (V1, {"options": {"color_calibration": "Lab"}}, True, "text"),
        (V1, {"options": {"controls": [{"file": "controlnet_canny_1.x_v1.1_f16.ckpt"}]}}, True, "text"),
        (XL, {"options": {"loras": [{"file": "fooocus_inpaint_v2.6_lora_f16.ckpt", "weight": 1.0}]}}, True, "text"),
        ("svd_i2v_xt_1.1_f16.ckpt", {"options": {"num_frames": 2}}, True, "image"),
        ("seedvr2_3b_q8p.ckpt", {}, True, "image"),
    ],
)
def test_at_strength_1_an_image_goes_along_only_where_something_looks_at_it(studio, model, more, sent, path):
    pictures = [studio.run(image=image, model=model, strength=1.0, **more) for image in (flat(0.1), waves())]
    assert [request["image"] is not None for request in studio.sent] == [sent, sent]
    assert studio.last["path"] == path
    assert np.array_equal(*pictures) == (not sent), "the picture feeds what looks at it, and nothing else"
    assert ("the input image has no influence" in studio.notes) == (not sent)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_is_from_0_to_1(studio, traps, strength):
    with pytest.raises(errors.InvalidSetting, match=r"Strength is .* allowed is a number from 0 to 1"):
        studio.run(image=waves(), strength=strength)
    if strength > 1:
        # Without a mask such a run goes to the text path, where more than 1 acts as 1.
        assert np.array_equal(studio.raw(waves(), values={"strength": strength}), studio.raw(waves(), strength=1.0))
        assert studio.last["path"] == "text"
    else:
        assert "strength" in traps(lambda: studio.raw(waves(), values={"strength": strength}))
    assert "strength" in traps(lambda: studio.raw(waves(), np.full((HEIGHT, WIDTH), 2, np.uint8), values={"strength": strength}))


@pytest.mark.parametrize("size", [(256, 128), (100, 77), (640, 480), (1, 1)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch", "outpaint"])
def test_an_image_of_any_size_goes_as_exactly_the_canvas(studio, size, fit):
    studio.run(image=waves(*size), strength=0.5, fit=fit)
    assert studio.sent[-1]["image"]["shape"] == [1, HEIGHT, WIDTH, 3]
    assert studio.sent[-1]["image"]["dtype"] == "float16"
    assert -1 <= studio.sent[-1]["image"]["minimum"] <= studio.sent[-1]["image"]["maximum"] <= 1
    assert studio.sent[-1]["scale_factor"] == 1


def test_sizes_are_multiples_of_64_times_the_scale_factor(studio, traps):
    image, odd = waves(), waves(200, 128)
    assert "multiple of 64" in traps(lambda: studio.raw(odd, strength=0.5))
    assert "multiple of 128" in traps(lambda: studio.raw(waves(192, 128), scale=2, strength=0.5))
    for picture, scale in ((odd, 1), (waves(192, 128), 2), (image, 0)):
        request = GenerationRequest(Configuration(model=V1), image=(picture[None] * 2 - 1).astype(np.float16), scale_factor=scale)
        with pytest.raises(errors.InvalidInput, match=r"allowed (are multiples of|is 1 or more)"):
            studio.client.generate(request)


def test_a_larger_picture_is_pooled_by_its_scale_factor(studio):
    large = waves(2 * WIDTH, 2 * HEIGHT)
    pooled = large.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    configuration = Configuration(model=V1, steps=8, strength=0.0, start_width=WIDTH, start_height=HEIGHT)
    image = (large[None] * 2 - 1).astype(np.float16)
    result = studio.client.generate(GenerationRequest(configuration, "a cat", image=image, scale_factor=2)).pictures[0].rgb
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(result - pooled).max() < 0.01


@pytest.mark.parametrize(
    ("model", "frames", "given", "read"),
    [
        ("wan_v2.1_14b_i2v_480p_q6p_svd.ckpt", 5, 3, 3),
        ("wan_v2.1_14b_i2v_480p_q6p_svd.ckpt", 5, 9, 5),  # no more than there are
        ("ltx_2_19b_distilled_q8p.ckpt", 9, 2, 2),
        ("svd_i2v_xt_1.1_f16.ckpt", 5, 3, 1),
    ],
)
def test_a_video_reads_its_first_frames_from_the_batch_axis(studio, model, frames, given, read):
    pictures = np.stack([waves()] * given)
    settings = {"start_width": WIDTH, "start_height": HEIGHT, "num_frames": frames, "steps": 2, "strength": 1.0}
    planned = plan(Job(model, settings=settings, images=pictures, one_video=True), studio.catalog)
    (run,) = planned.runs()
    assert run.request is not None
    studio.client.generate(run.request)
    assert studio.sent[-1]["image"]["shape"] == [read, HEIGHT, WIDTH, 3]


# -- section 2: masks and inpainting

KEPT, STRENGTH, NOISE = "kept", "at strength", "from noise"

OUTCOMES = {
    (0,): ("image", {0: STRENGTH}),
    (3,): ("image", {3: STRENGTH}),
    (1,): ("text", {1: NOISE}),
    (2,): ("inpaint", {2: STRENGTH}),
    (0, 1): ("two_phase", {0: STRENGTH, 1: NOISE}),
    (0, 2): ("inpaint", {0: KEPT, 2: STRENGTH}),
    (0, 3): ("inpaint", {0: STRENGTH, 3: KEPT}),
    (2, 3): ("inpaint", {2: STRENGTH, 3: KEPT}),
    (0, 2, 3): ("inpaint", {0: KEPT, 2: STRENGTH, 3: KEPT}),
    (1, 3): ("two_phase", {1: NOISE, 3: KEPT}),
    (1, 2): ("two_phase", {1: NOISE, 2: STRENGTH}),
    (1, 2, 3): ("two_phase", {1: NOISE, 2: STRENGTH, 3: KEPT}),
    (0, 1, 2): ("two_phase", {0: KEPT, 1: NOISE, 2: STRENGTH}),
    (0, 1, 3): ("two_phase", {0: STRENGTH, 1: NOISE, 3: KEPT}),
    (0, 1, 2, 3): ("two_phase", {0: STRENGTH, 1: NOISE, 2: STRENGTH, 3: KEPT}),
}
"""Classes present -> the path, and what becomes of each."""

STRIPES = [slice(64 * place + 20, 64 * place + 44) for place in range(4)]
"""The middle of each quarter of the width, away from every seam."""


def striped(values) -> np.ndarray:
    """[H, W] of four stripes that hold these values in turn; the last one is repeated."""
    values = [*values, *[values[-1]] * (4 - len(values))]
    return np.repeat(np.array(values), 64)[None].repeat(HEIGHT, axis=0)


def fates(generate) -> list[str]:
    """What became of each stripe: made from a black and from a white image, how far apart are the results?"""
    black, white = (generate(flat(value))[0] for value in (0.0, 1.0))
    found = []
    for stripe in STRIPES:
        apart = float(np.median(white[:, stripe] - black[:, stripe]))
        found.append(NOISE if apart == 0 else KEPT if apart == 1 else STRENGTH)
        assert found[-1] != STRENGTH or apart == pytest.approx(0.5, abs=0.05)
        if found[-1] == KEPT:
            assert not black[:, stripe].any(), "to the bit"
            assert (white[:, stripe] == 1).all()
    return found


@pytest.mark.parametrize("classes", OUTCOMES, ids=str)
def test_outcome_by_classes_present(studio, classes):
    path, outcome = OUTCOMES[classes]
    mask = striped(classes).astype(np.uint8)
    expected = [outcome[code] for code in striped(classes)[0, ::64]]
    assert fates(lambda image: studio.raw(image, mask, strength=0.5)) == expected
    assert studio.last["path"] == path
    assert np.array_equal(
        studio.raw(waves(), np.where(mask == 2, np.uint8(4), mask), strength=0.5)[:, 20:90],
        studio.raw(waves(), mask, strength=0.5)[:, 20:90],
    ), "4 counts as 2"


@pytest.mark.parametrize("classes", OUTCOMES, ids=str)
def test_every_outcome_is_reached_from_a_graph(studio, classes):
    """With a mask for what is repainted, transparency for what comes from noise, and neither for what is kept."""
    path, outcome = OUTCOMES[classes]
    wanted = [outcome[code] for code in striped(classes)[0, ::64]]
    alpha = striped([fate != NOISE for fate in wanted]).astype(np.float32)
    repaint = striped([fate == STRENGTH for fate in wanted]).astype(np.float32)

    def generate(image):
        if NOISE in wanted:
            image = np.dstack([image, alpha])
        if path == "image" or STRENGTH not in wanted:
            return studio.run(image=image, strength=0.5)
        return studio.run("Inpaint", image=image, mask=repaint, strength=0.5)

    assert fates(generate) == wanted
    assert studio.last["path"] == path


@pytest.mark.parametrize("codes", [(5, 6, 7), (0, 7), (7,)])
def test_classes_5_to_7_count_as_0_and_are_never_sent(studio, codes):
    mask = striped(codes).astype(np.uint8)
    assert fates(lambda image: studio.raw(image, mask, strength=0.5)) == [STRENGTH] * 4
    assert studio.last["path"] == "image", "as with a mask of 0 and 255"
    request = GenerationRequest(Configuration(model=V1), image=np.zeros((1, HEIGHT, WIDTH, 3), np.float16), mask=mask)
    with pytest.raises(errors.InvalidImage, match="use 2 for repaint and 3 for keep"):
        studio.client.generate(request)


def test_classes_5_to_7_are_neither_repainted_nor_pasted_back(studio):
    mask = striped((2, 7, 3, 3)).astype(np.uint8)
    before = waves()
    after = studio.raw(before, mask, strength=0.5)[0]
    change = [np.abs(after - before)[20:90, stripe].mean() for stripe in STRIPES]
    assert change[0] > 0.05
    assert 0 < change[1] < 0.02, "once through the VAE"
    assert change[2] < 0.001


def test_plain_masks_are_2_and_3(studio):
    repaint = striped([1, 0, 0, 0])
    studio.run("Inpaint", image=waves(), mask=repaint)
    assert studio.sent[-1]["mask"]["codes"] == {"2": HEIGHT * 64, "3": HEIGHT * 192}
    assert (studio.sent[-1]["mask"]["dtype"], studio.sent[-1]["mask"]["shape"]) == ("uint8", [HEIGHT, WIDTH])


def test_nothing_to_repaint_is_not_sent(studio):
    image = waves()
    assert np.array_equal(studio.run("Inpaint", image=image, mask=striped([0]))[0], image)
    assert studio.sent == []
    assert "leaves nothing to repaint" in studio.notes


@pytest.mark.parametrize(
    "mask", [np.zeros((64, 64), np.uint8), np.zeros((HEIGHT, WIDTH), np.float32), np.zeros((1, HEIGHT, WIDTH), np.uint8)]
)
def test_masks_of_another_size_or_type_stop_a_server(studio, traps, mask):
    assert "mask" in traps(lambda: studio.raw(waves(), mask, strength=0.5))
    request = GenerationRequest(Configuration(model=V1), image=np.zeros((1, HEIGHT, WIDTH, 3), np.float16), mask=mask)
    with pytest.raises(errors.InvalidImage, match=r"the server takes uint8 \[128, 256\]"):
        studio.client.generate(request)


def test_transparent_pictures_are_outpainted_as_in_the_app(studio):
    """Alpha 255 is kept, anything less comes from noise with its alpha in the upper bits, and alpha 0 is mid-grey."""
    levels = [255, 254, 128, 0]
    alpha = striped(levels).astype(np.float32) / 255
    studio.run(image=np.dstack([flat(0.9), alpha]), strength=0.7)
    sent = studio.sent[-1]
    assert sent["mask"]["codes"] == {"1": HEIGHT * 192, "3": HEIGHT * 64}
    planned = plan(
        Job(V1, images=np.dstack([flat(0.9), alpha])[None], settings={"start_width": WIDTH, "start_height": HEIGHT}), studio.catalog
    )
    (run,) = planned.runs()
    assert run.request is not None
    mask, image = run.request.mask, run.request.image
    assert mask is not None
    assert image is not None
    assert [int(mask[0, stripe.start]) for stripe in STRIPES] == [3, 254 & 0xF8 | 1, 128 | 1, 1]
    assert float(image[0, 0, 220, 0]) == 0
    assert float(image[0, 0, 150, 0]) == pytest.approx(0.8, abs=1e-3), "not premultiplied"
    assert "transparent in the image is generated from noise" in studio.notes


def test_opaque_pictures_with_alpha_need_no_mask(studio):
    studio.run(image=flat(0.4, channels=4) + np.array([0, 0, 0, 0.6], np.float32), strength=0.7)
    assert studio.sent[-1]["mask"] is None
    assert studio.last["path"] == "image"


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_outpainting_keeps_the_picture_at_any_strength(studio, strength):
    square = waves(128, 128)
    picture = studio.run(image=square, strength=strength, fit="outpaint")[0]
    assert np.allclose(picture[:, 64 + 20 : 192 - 20], square[:, 20:-20], atol=0.003)
    other = studio.run(image=square, strength=strength, fit="outpaint", seed=9)[0]
    assert np.abs(picture - other)[:, :40].mean() > 0.02
    assert studio.last["path"] == "two_phase"


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("Upscale", {"model": "seedvr2_3b_q8p.ckpt", "scale": 2.0}),
        ("Upscale", {"model": V1, "upscaler": X2, "scale": 0.0}),
        ("Edit", {"model": "qwen_image_edit_2511_q6p.ckpt", "instruction": "paint it red"}),
        ("Video", {"model": "wan_v2.1_14b_i2v_480p_q6p_svd.ckpt", "prompt": "it moves", "num_frames": 5}),
    ],
)
def test_only_generate_and_inpaint_fill_what_is_empty(studio, node, inputs):
    transparent = torch.from_numpy(np.dstack([waves(), striped([1, 0, 0, 0]).astype(np.float32)])[None])
    call(f"DrawThings{node}", server=studio.server, image=transparent, **inputs)
    assert studio.sent[-1]["image"] is not None
    assert studio.sent[-1]["mask"] is None


def test_an_image_that_fills_the_canvas_has_nothing_to_outpaint(studio):
    studio.run(image=waves(), strength=0.5, fit="outpaint")
    assert "Nothing is outpainted: the image fills all of 256x128." in studio.notes
    assert studio.sent[-1]["mask"] is None


@pytest.mark.parametrize(
    ("classes", "path"), [((1, 3), "image"), ((1,), "image"), ((0, 1), "image"), ((1, 2, 3), "inpaint"), ((2, 3), "inpaint")]
)
def test_a_transparent_decoder_ignores_class_1(studio, classes, path):
    loras = [{"file": TRANSPARENT, "weight": 1.0}]
    studio.raw(waves(), striped(classes).astype(np.uint8), model=XL, loras=loras, strength=0.5)
    assert studio.last["path"] == path
    studio.raw(waves(), striped(classes).astype(np.uint8), model="qwen_image_layered_1.0_q8p.ckpt", strength=0.5)
    assert studio.last["path"] == path


def test_a_graph_with_a_transparent_decoder_says_that_nothing_is_filled(studio):
    options = {"loras": [{"file": TRANSPARENT, "weight": 1.0}]}
    image = np.dstack([waves(), striped([1, 1, 0, 0]).astype(np.float32)])
    studio.run(image=image, model=XL, strength=0.5, options=options)
    assert studio.last["path"] == "image"
    assert "does not fill what is empty in the image. Without a mask all of the picture is repainted." in studio.notes
    studio.run("Inpaint", image=image, mask=striped([1, 0, 0, 0]), model=XL, strength=0.5, options=options)
    assert studio.last["path"] == "inpaint"
    assert "does not fill what is empty in the image." in studio.notes
    before = len(studio.sent)
    studio.run("Inpaint", image=image, mask=striped([0]), model=XL, strength=0.5, options=options)
    assert len(studio.sent) == before, "an empty mask repaints nothing, and holes stay"


@pytest.mark.parametrize(("model", "cell"), [(V1, 8), ("wan_v2.2_5b_ti2v_q8p.ckpt", 16), (CASCADE, 4)])
def test_the_latent_mask_works_in_cells(studio, model, cell):
    """Without pasting back, a cell changes as a whole where one of its pixels is to."""
    mask = np.full((HEIGHT, WIDTH), 3, np.uint8)
    mask[50, 101] = 2
    more = {"model": model, "strength": 0.5, "num_frames": 1, "preserve_original_after_inpaint": False, "batch_size": 1}
    black, white = (studio.raw(flat(value), mask, **more)[0] for value in (0.0, 1.0))
    changed = (white - black)[..., 0] < 0.9
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    top, left = 50 // cell * cell, 101 // cell * cell
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (top, top + cell - 1, left, left + cell - 1)


@pytest.mark.parametrize(
    ("options", "reach"),
    [
        ({"mask_blur": 0.0}, 0),
        ({"mask_blur": 0.0, "mask_blur_outset": 24}, 0),  # the pixel part needs a blur
        ({"mask_blur": 0.0, "mask_blur_outset": -24}, 0),
        ({"mask_blur": 0.5, "mask_blur_outset": 24}, 24),
        ({"mask_blur": 0.5, "mask_blur_outset": -24}, -24),
        ({"mask_blur": 0.0, "mask_blur_outset": 24, "preserve_original_after_inpaint": False}, 24),  # the latent part does not
        ({"mask_blur": 0.0, "mask_blur_outset": -24, "preserve_original_after_inpaint": False}, 0),
        ({"mask_blur": 0.0, "mask_blur_outset": 3, "preserve_original_after_inpaint": False}, 8),  # in whole cells
    ],
    ids=str,
)
def test_outset_moves_the_seam(studio, options, reach):
    repaint = striped([1, 1, 0, 0])
    (node_options,) = call("DrawThingsInpaintOptions", **options)
    black, white = (studio.run("Inpaint", image=flat(value), mask=repaint, strength=0.5, options=node_options)[0] for value in (0.0, 1.0))
    share = np.median((white - black)[20:100], axis=(0, 2))  # 0.5 where repainted, 1 where kept
    assert np.flatnonzero(share < 0.75)[-1] + 1 - WIDTH // 2 == pytest.approx(reach, abs=1)


def test_blur_softens_the_seam_of_what_is_pasted_back(studio):
    widths = []
    for blur in (0.0, 2.0, 8.0):
        (options,) = call("DrawThingsInpaintOptions", mask_blur=blur)
        pictures = [studio.run("Inpaint", image=flat(v), mask=striped([1, 1, 0, 0]), strength=1.0, options=options)[0] for v in (0.0, 1.0)]
        share = np.median((pictures[1] - pictures[0])[20:100], axis=(0, 2))  # 0 where repainted, 1 where kept
        widths.append(int(((share > 0.02) & (share < 0.98)).sum()))
    assert widths[0] == 0
    assert widths[0] < widths[1] < widths[2]


def test_preserve_original_decides_whether_kept_pixels_are_exact(studio):
    image, repaint = waves(), striped([1, 0, 0, 0])
    right = np.s_[:, 128:]
    for preserve, exact in ((True, True), (False, False)):
        (options,) = call("DrawThingsInpaintOptions", preserve_original_after_inpaint=preserve)
        picture = studio.run("Inpaint", image=image, mask=repaint, options=options)[0]
        assert (np.abs(picture[right] - image[right]).max() < 0.002) == exact
        assert np.abs(picture[right] - image[right]).max() < 0.02


@pytest.mark.parametrize(("strength", "pasted"), [(0.5, False), (0.0, True)])
def test_masks_of_0_and_1_paste_back_only_at_strength_0(studio, strength, pasted):
    image = waves()
    picture = studio.raw(image, striped((1, 0, 0, 0)).astype(np.uint8), strength=strength)[0]
    assert (np.abs(picture - image)[20:90, 140:].max() < 0.002) == pasted


def test_colour_calibration_takes_over_the_colours_of_the_input(studio):
    """Also at strength 1, where nothing else of the image is left."""
    red = waves() * np.array([0.9, 0.2, 0.1], np.float32)
    for strength in (0.8, 1.0):
        means = []
        for calibration in ("None", "Lab"):
            (options,) = call("DrawThingsOutputOptions", color_calibration=calibration)
            means.append(studio.run(image=red, strength=strength, options=options)[0].mean(axis=(0, 1)))
        wanted = red.mean(axis=(0, 1))
        assert np.abs(means[1] - wanted).max() < 0.1 < np.abs(means[0] - wanted).max()


@pytest.mark.parametrize("model", [V1, FLUX, "sd_v1.5_inpainting_f16.ckpt", "qwen_image_2512_q8p.ckpt", "wan_v2.1_1.3b_480p_f16.ckpt"])
def test_inpainting_works_with_any_model(studio, model):
    image = waves()
    pictures = studio.run("Inpaint", image=image, mask=striped([1, 0, 0, 0]), model=model, options={"num_frames": 1})
    assert studio.last["path"] == "inpaint"
    assert np.abs(pictures[0] - image)[:, 128:].max() < 0.003


# -- section 4: hires fix, batch, upscaler

HIRES = {"hires_fix": True, "hires_fix_start_width": 128, "hires_fix_start_height": 128, "hires_fix_strength": 0.5}
TALL = {"width": 256, "height": 192}


@pytest.mark.parametrize(
    ("options", "inputs", "effective", "note"),
    [
        ({}, {}, True, ""),
        ({"hires_fix": False}, {}, False, "Without effect while High-resolution fix is off"),
        ({"hires_fix_strength": 1.0}, {}, False, "at strength 1 there is no second pass"),
        ({"hires_fix_start_width": 0}, {}, False, "its first pass, 0x128, must be smaller"),
        ({"hires_fix_start_width": 256}, {}, False, "its first pass, 256x128, must be smaller"),
        ({"hires_fix_start_height": 192}, {}, False, "its first pass, 128x192, must be smaller"),
        ({}, {"strength": 0.5}, False, "acts on text to image only"),
        ({}, {"strength": 1.0}, True, ""),  # which is text to image
        ({}, {"strength": 1.0, "fit": "outpaint"}, False, "acts on text to image only"),
    ],
    ids=str,
)
def test_hires_fix_conditions(studio, options, inputs, effective, note):
    image = {"image": waves(192, 192)} if inputs else {}
    studio.run(options={**HIRES, **options}, **image, **TALL, **inputs)
    announced = studio.last["announced"]
    assert ("secondPassSampling" in announced) == effective
    assert note in studio.notes
    if effective:
        assert announced["sampling"] == 8
        assert 0 < announced["secondPassSampling"] < 8


def test_hires_fix_ends_a_little_before_strength_1_with_some_samplers(studio):
    for sampler, effective in (("DDIM", False), ("DPM++ 2M Karras", True)):
        studio.run(steps=10, sampler=sampler, options={**HIRES, "hires_fix_strength": 0.95}, **TALL)
        assert ("secondPassSampling" in studio.last["announced"]) == effective


def test_hires_fix_with_inpainting_does_nothing(studio):
    studio.run("Inpaint", image=waves(), mask=striped([1, 0, 0, 0]), options=HIRES, **TALL)
    assert "secondPassSampling" not in studio.last["announced"]
    assert "acts on text to image only" in studio.notes


def test_stable_cascade_has_no_hires_pass(studio):
    """Its second stage is there all the same; the sizes set the latent of the first."""
    for hires, side in ((True, 2 * 2), (False, 6)):  # twice its units, or one and a half times the canvas's
        settings = {**HIRES, "hires_fix": hires, "start_width": 256, "start_height": 256, "stage_2_steps": 3, "strength": 1}
        studio.raw(model=CASCADE, sampler="DDIM", **settings)
        assert studio.last["announced"]["secondPassSampling"] == 3
        assert studio.previews[0][1:3] == (8 * side, 8 * side)


def test_hires_fix_is_refused_for_hidream_o1(studio):
    with pytest.raises(errors.InvalidSetting, match="off for HiDream O1"):
        studio.run(model="hidream_o1_dev_2604_f16.ckpt", options=HIRES, **TALL)
    assert studio.sent == []


def test_the_second_stage_of_cascade_is_never_chosen(studio):
    with pytest.raises(errors.InvalidInput, match="choose the file of stage C"):
        studio.run(model="wurstchen_3.0_stage_b_f32_f16.ckpt")
    assert studio.sent == []


@pytest.mark.parametrize(
    ("model", "more", "pictures", "size"),
    [
        (V1, {"batch_size": 3}, 3, 3),
        ("wan_v2.1_1.3b_480p_f16.ckpt", {"batch_size": 3, "options": {"num_frames": 5}}, 5, 3),
        ("seedvr2_3b_q8p.ckpt", {"batch_size": 3, "image": waves(), "strength": 1.0}, 1, 3),
    ],
)
def test_a_batch_comes_from_one_request(studio, model, more, pictures, size):
    assert len(studio.run(model=model, **more)) == pictures
    assert [request["configuration"]["batch_size"] for request in studio.sent] == [size]


def test_batch_count_is_repeated_here_each_with_the_next_seed(studio):
    pictures = studio.run(batch_count=3, seed=2**32 - 2)
    wanted = [2**32 - 2, 2**32 - 1, 0]
    assert [request["configuration"]["seed"] for request in studio.sent] == wanted == studio.info["seeds"]
    for seed, picture in zip(wanted, pictures, strict=True):
        assert np.array_equal(studio.run(seed=seed)[0], picture)


def test_scale_alike_members_have_seeds_of_their_own(studio):
    (options,) = call("DrawThingsSamplingOptions", seed_mode="Scale Alike")
    batch = studio.run(batch_size=3, seed=7, options=options)
    assert studio.info["seeds"] == seeds.of_batch(7, 3, SeedMode.scale_alike)
    assert len(set(studio.info["seeds"])) == 3
    for seed, member in zip(list(studio.info["seeds"]), batch, strict=True):
        assert np.array_equal(studio.run(seed=seed, options=options)[0], member)


@pytest.mark.parametrize("mode", ["Legacy", "Torch CPU Compatible", "NVIDIA GPU Compatible"])
def test_other_seed_modes_draw_the_batch_from_one_seed(studio, mode):
    (options,) = call("DrawThingsSamplingOptions", seed_mode=mode)
    batch = studio.run(batch_size=2, seed=7, options=options)
    assert studio.info["seeds"] == [7, 7]
    assert [row["member"] for row in studio.info["images"]] == [0, 1]
    assert not np.array_equal(batch[0], batch[1])
    assert np.array_equal(studio.run(seed=7, options=options)[0], batch[0])


@pytest.mark.parametrize(
    ("model", "asked", "decoded"),
    [
        ("wan_v2.1_1.3b_480p_f16.ckpt", 14, 13),
        ("wan_v2.1_1.3b_480p_f16.ckpt", 13, 13),
        ("wan_v2.2_5b_ti2v_q8p.ckpt", 8, 5),
        ("hunyuan_video_t2v_720p_q8p.ckpt", 7, 5),
        ("ltx_2_19b_distilled_q8p.ckpt", 16, 9),
        ("ltx_2.3_22b_distilled_1.1_q8p.ckpt", 9, 9),
        ("svd_i2v_xt_1.1_f16.ckpt", 6, 6),
        (V1, 14, 1),
    ],
)
def test_video_frames_come_in_order_and_as_many_as_decode(studio, model, asked, decoded):
    image = {"image": waves(), "strength": 1.0} if model.startswith("svd") else {}
    frames = studio.run(model=model, options={"num_frames": asked}, **image)
    assert len(frames) == decoded
    bars = [int((np.abs(frame[-1] - np.array([250, 196, 60]) / 255).max(axis=1) < 0.02).sum()) for frame in frames]
    assert bars == sorted(bars)
    assert decoded == 1 or len(set(bars)) == decoded
    assert (f"makes {decoded} frames where {asked} were asked for" in studio.notes) == (asked != decoded and model != V1)
    assert len(set(studio.info["seeds"])) == 1


@pytest.mark.parametrize(("strength", "sampler"), [(0.0, "Euler A Trailing"), (0.0, "Euler A"), (0.0, "PLMS"), (0.1, "PLMS")])
def test_upscale_only(studio, strength, sampler):
    """No step left: no sampling, one picture whatever the batch, and only what restores and enlarges runs."""
    image = waves()
    pictures = studio.run(image=image, strength=strength, batch_size=3, sampler=sampler)
    assert pictures.shape == (1, HEIGHT, WIDTH, 3)
    assert np.abs(pictures[0] - image).max() < 0.002
    assert (studio.last["path"], studio.last["stage"]) == ("image", "textEncoded"), "the text encoder runs, and no sampler"
    told = {0.0: "At strength 0 the image comes back as it is", 0.1: "At strength 0.1 and 8 steps PLMS has no step to do"}
    assert told[strength] in studio.notes
    assert "The server sent" not in studio.notes
    larger = studio.run(image=image, strength=strength, sampler=sampler, options={"upscaler": X2})
    assert larger.shape == (1, 2 * HEIGHT, 2 * WIDTH, 3)
    assert np.abs(larger[0].reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3)) - image).mean() < 0.02
    assert "comes back as it is" not in studio.notes


def test_an_image_with_a_mask_is_not_upscaled_only(studio):
    studio.run("Inpaint", image=waves(), mask=striped([1, 0, 0, 0]), strength=0.0, batch_size=2)
    assert studio.last["path"] == "inpaint"
    assert studio.last["stage"] != "textEncoded"
    assert len(studio.info["seeds"]) == 2


def test_upscaling_still_needs_a_usable_model(studio):
    with pytest.raises(errors.DrawThingsError, match=r"not_there\.ckpt' is not on the server"):
        studio.run(image=waves(), strength=0.0, model="not_there.ckpt", options={"upscaler": X2})


@pytest.mark.parametrize(("upscaler", "forced", "factor"), [(X2, 0, 2), (X4, 0, 4), (X4, 2, 2), (X2, 4, 4), (None, 0, 1)])
def test_results_are_larger_by_their_scale_factor(studio, upscaler, forced, factor):
    configuration = Configuration(
        model=V1, steps=4, start_width=128, start_height=128, strength=1, upscaler=upscaler, upscaler_scale_factor=forced
    )
    result = studio.client.generate(GenerationRequest(configuration, "a cat"))
    assert result.scale_factor == factor
    assert result.pictures[0].rgb.shape == (128 * factor, 128 * factor, 3)
    options = {"upscaler": upscaler, "upscaler_scale_factor": forced}
    assert studio.run(width=128, height=128, options=options).shape == (1, 128 * factor, 128 * factor, 3)


@pytest.mark.parametrize("how", ["LoRA", "layers"])
def test_transparent_results_have_alpha_first_on_the_wire_and_a_mask_in_the_graph(studio, how):
    loras = [{"file": TRANSPARENT, "weight": 1.0}] if how == "LoRA" else []
    model = XL if how == "LoRA" else "qwen_image_layered_1.0_q8p.ckpt"
    image = {} if how == "LoRA" else {"image": waves(), "strength": 1.0}
    pictures = studio.run(model=model, options={"loras": loras}, batch_size=2, **image)
    assert pictures.shape == (2, HEIGHT, WIDTH, 3)
    mask = studio.alpha[1]
    assert mask.shape == (HEIGHT, WIDTH)
    assert (mask.min(), mask.max()) == (0, 1)
    assert mask[0, 0] == 1, "a corner is transparent"
    assert mask[HEIGHT // 2, WIDTH // 2] == 0, "the subject in the middle is not"
    opaque = studio.run()
    assert not studio.alpha.any()
    assert opaque.shape == (1, HEIGHT, WIDTH, 3)
