"""What the page hears by websocket."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from PIL import Image

PREVIEW = 1
"""u32 type, u32 format, picture."""
TEXT = 3
"""u32 type, u32 length of the node's id, the id, text."""
PREVIEW_WITH_METADATA = 4
"""u32 type, u32 length of the metadata, JSON, picture."""

_FORMATS = {"JPEG": 1, "PNG": 2}
FEATURES = {"supports_preview_metadata": True, "max_upload_size": 100 << 20}
"""What the host can do, as the page asks."""


@dataclass
class Client:
    """One open page. features: what it says it understands."""

    id: str
    socket: web.WebSocketResponse
    waiting: asyncio.Queue[str | bytes] = field(default_factory=asyncio.Queue)
    features: dict[str, Any] = field(default_factory=dict)


class Messages:
    """The open pages. `send` and its like may be called from any thread."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._clients: dict[str, Client] = {}

    async def serve(self, request: web.Request, greeting: dict[str, Any]) -> web.WebSocketResponse:
        """Keep one page's socket until it goes."""
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        client = Client(request.query.get("clientId") or f"{id(socket):x}", socket)
        self._clients[client.id] = client
        self._put(client, "status", {**greeting, "sid": client.id})
        writer = asyncio.create_task(self._write(client))
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    self._heard(client, json.loads(message.data))
        finally:
            writer.cancel()
            if self._clients.get(client.id) is client:
                del self._clients[client.id]
        return socket

    def _heard(self, client: Client, message: dict[str, Any]) -> None:
        if message.get("type") == "feature_flags":
            client.features = message.get("data") or {}
            self._put(client, "feature_flags", FEATURES)

    @staticmethod
    async def _write(client: Client) -> None:
        while not client.socket.closed:
            content = await client.waiting.get()
            await (client.socket.send_bytes(content) if isinstance(content, bytes) else client.socket.send_str(content))

    @staticmethod
    def _put(client: Client, event: str, data: Any) -> None:
        client.waiting.put_nowait(json.dumps({"type": event, "data": data}))

    def send(self, event: str, data: Any, client_id: str | None = None) -> None:
        """An event to one page, or to all."""
        self._everywhere(lambda client: json.dumps({"type": event, "data": data}), client_id)

    def send_text(self, text: str, node_id: str, client_id: str | None = None) -> None:
        """The line of words on a node."""
        name = node_id.encode()
        content = struct.pack(">II", TEXT, len(name)) + name + text.encode()
        self._everywhere(lambda client: content, client_id)

    def send_preview(self, picture: Image.Image, kind: str, metadata: dict[str, Any], client_id: str | None = None) -> None:
        """A picture of what is being made. kind: JPEG or PNG."""
        buffer = io.BytesIO()
        picture.save(buffer, kind, quality=95)
        told = json.dumps({**metadata, "image_type": f"image/{kind.lower()}"}).encode()
        full = struct.pack(">II", PREVIEW_WITH_METADATA, len(told)) + told + buffer.getvalue()
        plain = struct.pack(">II", PREVIEW, _FORMATS[kind]) + buffer.getvalue()
        self._everywhere(lambda client: full if client.features.get("supports_preview_metadata") else plain, client_id)

    def _everywhere(self, content: Any, client_id: str | None) -> None:
        def put() -> None:
            for client in list(self._clients.values()):
                if client_id in (None, client.id):
                    client.waiting.put_nowait(content(client))

        if self.loop is not None:
            self.loop.call_soon_threadsafe(put)
