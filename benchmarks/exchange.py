"""A whole text to image: what the node costs over the same exchange with bare stubs; and what a second run opens and asks."""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import fpzip
import graph
import grpc
import numpy as np
import torch
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.configuration import Configuration, app_json
from comfyui_drawthings.drawthings_core.request import MESSAGE_LIMIT, GenerationRequest, build
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.proto import messages
from comfyui_drawthings.proto.service import Stub
from measure import Row, compare
from other_client import OtherClient


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    size = 512 if quick else 1024
    budget = 1.0 if quick else 20.0
    with graph.simulator() as simulator:
        server = graph.load_server(simulator.host, simulator.port)
        configuration = Configuration(model=graph.MODEL, start_width=size, start_height=size, steps=graph.STEPS)

        def ours() -> None:
            images = graph.text_to_image(server, size)
            assert images.shape == (1, size, size, 3)
            assert images.dtype == torch.float32

        with _bare_channel(simulator) as channel:
            stub, request = Stub(channel), build(GenerationRequest(configuration, "a lighthouse"), Catalog.from_echo(messages.EchoReply()))
            yield compare(
                f"text to image {size}x{size}, node call to tensor, {graph.STEPS} steps",
                ours,
                lambda: bare(stub, request),
                floor_is="bare stubs and fpzip.decompress",
                most=1.2,
                other=other.work(
                    "generate",
                    host=simulator.host,
                    port=simulator.port,
                    root=simulator.root_certificate,
                    configuration=app_json.write(configuration),
                ),
                note="the server computes nothing",
                budget=budget,
            )
    yield from _second_run()


def bare(stub: Stub, request: bytes) -> np.ndarray:
    """The least that gives the values of a picture: one call, its pieces put together, decompressed in this process."""
    pieces = [piece for answer in stub.GenerateImage(request) for piece in answer.generatedImages]
    return fpzip.decompress(b"".join(pieces)[tensor.HEADER_SIZE :], order="C")


def _bare_channel(simulator: SimulatorProcess) -> grpc.Channel:
    assert simulator.certificate is not None
    credentials = grpc.ssl_channel_credentials(simulator.certificate.encode("ascii"))
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.ssl_target_name_override", "localhost")]
    return grpc.secure_channel(simulator.address, credentials, options)


def _second_run() -> Iterator[Row]:
    """Load Server and Generate, then Generate again, as ComfyUI runs a graph whose seed has changed."""
    with graph.simulator() as simulator, Relay(simulator.host, simulator.port) as relay:
        server = graph.load_server(relay.host, relay.port)
        graph.text_to_image(server, 256, seed=1)
        opened, greeted = relay.connections, len(simulator.requests("Echo"))
        graph.text_to_image(server, 256, seed=2)
        first = f"the first run: {opened} and {greeted}"
        yield Row("second run: connections opened", relay.connections - opened, "", most=0, note=first)
        yield Row("second run: Echo calls", len(simulator.requests("Echo")) - greeted, "", most=0, note=first)


class Relay:
    """Passes bytes on to a server and counts the connections."""

    def __init__(self, host: str, port: int):
        self._target = (host, port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.connections = 0
        self.host, self.port = self._listening.getsockname()

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._listening, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                self.connections += 1
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
