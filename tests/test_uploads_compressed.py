"""Compressed uploads: the same values in fewer bytes, made outside of this process, where a slow connection makes that pay."""

from __future__ import annotations

import os
import threading
import time

import grpc
import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import compression, decoding, encodings, images, packing, tensor
from comfyui_drawthings.drawthings_core.client import Cancellation, Client
from comfyui_drawthings.drawthings_core.configuration import Configuration
from comfyui_drawthings.drawthings_core.errors import GenerationCancelled, InvalidSetting
from comfyui_drawthings.drawthings_core.request import GenerationRequest, Hint
from comfyui_drawthings.drawthings_core.servers import CompressUploads, Server
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.drawthings_core.uplink import Uplink
from links import Link
from test_nodes import MODEL, call, checkerboard, small

pytestmark = pytest.mark.skipif(not tensor.fpzip_available(), reason="no fpzip here")


def picture(side=512, seed=0) -> np.ndarray:
    """Waves with a little grain, as a photograph has."""
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y - x), np.sin(5 * x * y)], axis=2) / 2 + 0.5
    return (waves + np.random.default_rng(seed).normal(0, 0.01, waves.shape)).clip(0, 1).astype(np.float32)[None]


def content_for(values: np.ndarray) -> packing.Content:
    return packing.content_of(images.image_tensor(values))


@pytest.fixture(scope="module")
def pool():
    with decoding.Pool(2) as made:
        yield made


# -- in another process


def test_streams_are_the_ones_this_process_would_make(pool):
    shapes = [(1, 64, 64, 3), (2, 70, 33, 3), (1, 9, 200, 1)]
    contents = []
    for shape in shapes:
        values = np.random.default_rng(1).normal(0, 0.001, shape).cumsum(axis=2).astype(np.float16)
        contents.append(packing.content_of(packing.pack(shape, np.float16, lambda out, values=values: out.__setitem__(..., values))))
    compression.compress(contents, pool, lambda: None)
    for content in contents:
        assert content.smaller is not None
        assert content.smaller.data == tensor.encode(tensor.decode(content.data), compress=True)
        assert tensor.Header.unpack(content.smaller.data).codec == tensor.Codec.FPZIP
        assert content.size == len(content.data) + len(content.smaller.data)


def test_what_does_not_get_smaller_stays(pool):
    noise = np.random.default_rng(0).integers(0, 1 << 16, (1, 64, 64, 3)).astype(np.uint16).view(np.float16)
    noise[~np.isfinite(noise)] = 1
    content = packing.content_of(packing.pack(noise.shape, np.float16, lambda out: out.__setitem__(..., noise)))
    compression.compress([content], pool, lambda: None)
    assert content.smaller is None
    assert content.incompressible
    assert content.size == len(content.data)


def test_masks_are_deflated(pool):
    content = packing.content_of(images.mask_tensor(np.eye(256, dtype=bool)))
    compression.compress([content], pool, lambda: None)
    assert tensor.Header.unpack(content.smaller.data).codec == tensor.Codec.ZIP
    np.testing.assert_array_equal(tensor.decode(content.smaller.data), tensor.decode(content.data))


def test_without_processes_it_is_done_here():
    with decoding.Pool(1, executable=os.devnull) as broken:
        content = content_for(picture(64))
        compression.compress([content], broken, lambda: None)
    assert tensor.Header.unpack(content.smaller.data).codec == tensor.Codec.FPZIP


def test_it_is_done_once(pool):
    content = content_for(picture(64))
    compression.compress([content], pool, lambda: None)
    first = content.smaller
    compression.compress([content], pool, lambda: pytest.fail("there is nothing to wait for"))
    assert content.smaller is first


def test_waiting_can_be_cancelled(pool):
    def stop():
        raise GenerationCancelled()

    contents = [content_for(picture(1024, seed)) for seed in range(4)]
    with pytest.raises(GenerationCancelled):
        compression.compress(contents, pool, stop)
    compression.compress(contents[:1], pool, lambda: None)  # the pool is as good as before
    assert contents[0].smaller is not None


# -- on the way to a server


def request(values: np.ndarray, **more) -> GenerationRequest:
    tensor_ = images.image_tensor(values)
    side = values.shape[1]
    settings = {"model": MODEL, "start_width": side, "start_height": side, "steps": 2, "strength": 0.5}
    return GenerationRequest(Configuration(settings), "a cat", image=tensor_, **more)


def client_for(link) -> Client:
    return Client(Server(link.host, link.port, TLSMode.plain))


def codecs(simulator) -> list[str]:
    return [arrived["image"]["codec"] for arrived in simulator.requests()]


def test_a_server_gets_the_same_pictures(simulator):
    client = client_for(simulator)
    mask = images.mask_tensor(np.eye(512, dtype=bool))
    hints = (Hint("shuffle", ((images.image_tensor(picture(256)), 1.0),)), Hint("depth", ((images.image_tensor(picture())[..., :1], 1.0),)))
    sent = request(picture(), mask=mask, hints=hints)
    results = [client.generate(sent, compress=choice) for choice in (CompressUploads.never, CompressUploads.always)]
    np.testing.assert_array_equal(results[0].pictures[0].rgb, results[1].pictures[0].rgb)
    raw, small_ = simulator.requests()
    assert [raw["image"]["codec"], raw["mask"]["codec"]] == ["raw", "raw"]
    assert [small_["image"]["codec"], small_["mask"]["codec"]] == ["fpzip", "zip"]
    assert [h["tensors"][0]["codec"] for h in small_["hints"]] == ["fpzip", "fpzip"]
    assert small_["contents_bytes"] < 0.8 * raw["contents_bytes"]
    for one, other in zip(
        (raw["image"], raw["mask"], *(h["tensors"][0] for h in raw["hints"])),
        (small_["image"], small_["mask"], *(h["tensors"][0] for h in small_["hints"])),
        strict=True,
    ):
        assert one["values_sha256"] == other["values_sha256"]


@pytest.mark.parametrize(("rate", "side", "expected"), [(2e6, 512, ["raw", "raw", "fpzip"]), (None, 1024, ["raw", "raw", "raw"])])
def test_auto_measures_the_first_large_upload(simulator, rate, side, expected):
    with Link(simulator.port, rate) as link:
        client = client_for(link)
        client.generate(request(picture(128)))  # says nothing about the rate
        assert client._uplink.rate is None
        simulator.clear()
        for seed in range(3):
            client.generate(request(picture(side, seed)))
        assert codecs(simulator) == expected
        assert simulator.state()["calls"]["Hours"] == (1 if rate is None else 2)
        assert client._uplink.rate is not None
        if rate is not None:
            assert client._uplink.rate < 1.2 * rate
        client.close()


def test_a_long_queue_is_no_slow_connection(simulator):
    """What the server does before its first message does not count."""
    client = client_for(simulator)
    simulator.set_fault("delay_first", 3, calls=1)
    client.generate(request(picture(1024)))
    assert client._uplink.rate > 6e6 / 3


def test_never_and_always_do_not_measure(simulator):
    client = client_for(simulator)
    for choice in (CompressUploads.never, CompressUploads.always):
        client.generate(request(picture()), compress=choice)
    assert codecs(simulator) == ["raw", "fpzip"]
    assert "Hours" not in simulator.state()["calls"]


def test_a_cancelled_upload_measures_nothing_and_the_next_one_does(simulator):
    with Link(simulator.port, 2e5) as link:
        client = client_for(link)
        client.catalog()
        cancellation = Cancellation()
        threading.Timer(0.5, cancellation.cancel).start()
        with pytest.raises(GenerationCancelled):
            client.generate(request(picture()), cancellation=cancellation)
        assert client._uplink.rate is None
        link.upload = None
        client.generate(request(picture()))
        assert client._uplink.rate is not None
        client.close()


def test_what_is_due():
    uplink = Uplink()
    assert uplink.due(1 << 20)
    assert not uplink.due((1 << 20) - 1)
    assert not uplink.slow


def test_one_slow_request_proves_nothing_and_a_slow_way_is_measured_again_soon(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    uplink = Uplink()

    def measure(rate: float) -> None:
        uplink._arrived(Answered(), 1 << 20, now - (1 << 20) / rate)

    measure(1e6)
    assert not uplink.slow
    assert uplink.due(1 << 20)
    measure(50e6)
    assert not uplink.slow
    assert not uplink.due(1 << 20)
    now += 601
    assert uplink.due(1 << 20)
    measure(1e6)
    measure(1e6)
    assert uplink.slow
    assert not uplink.due(1 << 20)
    now += 61
    assert uplink.due(1 << 20)
    measure(50e6)
    assert not uplink.slow


class Answered:
    """A call that has been answered."""

    def cancelled(self) -> bool:
        return False

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK


# -- from a graph


@pytest.mark.parametrize(("choice", "expected"), [("always", "fpzip"), ("never", "raw")])
def test_load_server_decides(simulator, choice, expected):
    encodings.shared.clear()
    (server,) = call("DrawThingsLoadServer", host=simulator.host, port=simulator.port, compress_uploads=choice)
    call("DrawThingsGenerate", server=server, image=checkerboard(), **small(strength=0.5))
    assert codecs(simulator) == [expected]


def test_an_unknown_choice_is_refused(simulator):
    with pytest.raises(InvalidSetting, match="compress_uploads is 'sometimes', but allowed is one of auto, always, never"):
        call("DrawThingsLoadServer", host=simulator.host, port=simulator.port, compress_uploads="sometimes")


def test_the_setting_is_not_another_server():
    assert Server("a", compress_uploads=CompressUploads.never) == Server("a")
    assert hash(Server("a", compress_uploads=CompressUploads.never)) == hash(Server("a"))
