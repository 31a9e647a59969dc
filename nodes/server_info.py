"""Server Info."""

from __future__ import annotations

from typing import Any

from ..drawthings_core import report
from ..drawthings_core.client import Cancellation, client_for
from ..drawthings_core.report import ServerReport
from . import host, known_files, widgets
from .load_server import CATEGORY, checked_server


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
        chosen = checked_server(server)

        def work(cancellation: Cancellation) -> ServerReport:
            return report.ask(client_for(chosen), cancellation)

        told = await host.run(work)
        known_files.remember(chosen.address, told.catalog)
        return {"ui": {"text": [told.text()]}, "result": (told.text(), told.json())}
