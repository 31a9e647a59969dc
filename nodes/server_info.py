"""Server Info."""

from __future__ import annotations

from typing import Any

from ..drawthings_core import report, several
from ..drawthings_core.client import Cancellation
from ..drawthings_core.errors import DrawThingsError
from ..drawthings_core.report import ServerReport
from ..drawthings_core.servers import Server
from . import host, known_files, widgets
from .load_server import CATEGORY, checked_servers


class ServerInfo:
    """Everything that a server tells about itself."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Shows what a server is and has: connection, TLS, secret, and its models, LoRAs, controls, textual inversions and upscalers."
    )
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("text", "json")
    OUTPUT_TOOLTIPS = ("For people; also shown on the node.", "The same for programs.")
    FUNCTION = "ask"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"server": widgets.server()}}

    @classmethod
    def IS_CHANGED(cls, **_inputs: Any) -> float:
        """Ask anew each time."""
        return float("nan")

    async def ask(self, server: Any) -> dict[str, Any]:
        asked = checked_servers(server).different

        def work(cancellation: Cancellation) -> dict[Server, ServerReport | DrawThingsError]:
            return several.each(asked, report.ask, cancellation)

        told = await host.run(work)
        known_files.remember_all({server: one.catalog for server, one in told.items() if isinstance(one, ServerReport)})
        text = report.text_of_several(told)
        return {"ui": {"text": [text]}, "result": (text, report.json_of_several(told))}
