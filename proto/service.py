"""Client stub and server registration for ImageGenerationService, derived from its descriptor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
from google.protobuf import message_factory

from . import messages

SERVICE_NAME: str = messages.SERVICE.full_name


class Method(NamedTuple):
    """One RPC: its wire path, its message classes, and which sides stream."""

    name: str
    path: str
    request: Any
    response: Any
    client_streaming: bool
    server_streaming: bool

    @property
    def kind(self) -> str:
        """grpc's name for the call shape: unary_unary, unary_stream or stream_stream."""
        return f"{_shape(self.client_streaming)}_{_shape(self.server_streaming)}"


def _shape(streaming: bool) -> str:
    return "stream" if streaming else "unary"


# The descriptors' own streaming flags are missing from older protobuf runtimes; the serialized form always has them.
def _methods() -> dict[str, Method]:
    found = {}
    for described, row in zip(messages.SERVICE.methods, messages.SERVICE_PROTO.method, strict=True):
        found[row.name] = Method(
            row.name,
            f"/{SERVICE_NAME}/{row.name}",
            message_factory.GetMessageClass(described.input_type),
            message_factory.GetMessageClass(described.output_type),
            row.client_streaming,
            row.server_streaming,
        )
    return found


METHODS: dict[str, Method] = _methods()


def _serialized(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


class Stub:
    """Callables for every method on one channel: `stub.Echo(request, timeout=5)`. A request may also be serialized already.

    GenerateImageFrom: GenerateImage that takes its one request from an iterator; on the wire there is no difference.
    """

    Echo: Any
    FilesExist: Any
    GenerateImage: Any
    GenerateImageFrom: Any
    UploadFile: Any
    Pubkey: Any
    Hours: Any

    def __init__(self, channel: grpc.Channel):
        for method in METHODS.values():
            setattr(self, method.name, _callable(getattr(channel, method.kind), method))
        self.GenerateImageFrom = _callable(channel.stream_stream, METHODS["GenerateImage"])


def _callable(make: Callable[..., Any], method: Method) -> Any:
    return make(method.path, request_serializer=_serialized, response_deserializer=method.response.FromString)


def add_servicer(server: grpc.Server, handlers: dict[str, Callable[..., Any]]) -> None:
    """Register `handlers` (method name -> function(request, context)) on a grpc server; names must be those of METHODS."""
    rows = {
        name: getattr(grpc, f"{METHODS[name].kind}_rpc_method_handler")(
            handler,
            request_deserializer=METHODS[name].request.FromString,
            response_serializer=METHODS[name].response.SerializeToString,
        )
        for name, handler in handlers.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, rows),))
