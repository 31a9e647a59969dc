"""Load Server: where the graph's Draw Things server is."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from typing import Any

from ..drawthings_core.client import Cancellation, client_for
from ..drawthings_core.errors import InvalidInput, ProfileError
from ..drawthings_core.servers import DEFAULT_PORT, NO_SERVER, CompressUploads, Profiles, Server, parse_address
from ..drawthings_core.tls import TLSMode
from . import known_files, widgets
from .host import run

CATEGORY = "Draw Things"

GREETED_SECONDS = 300.0
"""How long a server that was greeted is not greeted again, while its connection lasts."""

_SALT = secrets.token_bytes(16)


class LoadServer:
    """Connects to a Draw Things server: the app with its API server switched on, or gRPCServerCLI."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Connects to a Draw Things server on your Mac (the app, API server on, protocol gRPC) or to gRPCServerCLI."
    RETURN_TYPES = ("DT_SERVER",)
    RETURN_NAMES = ("server",)
    OUTPUT_TOOLTIPS = ("The server, for Generate and the other Draw Things nodes.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "host": (
                    "STRING",
                    {
                        "default": "127.0.0.1",
                        "tooltip": "Name or IP address of the machine, such as 192.168.1.20 or my-mac.local; or the name of a saved server.",
                    },
                ),
                "port": (
                    "INT",
                    {"default": DEFAULT_PORT, "min": 1, "max": 65535, "tooltip": "Port of the API server; Draw Things uses 7859."},
                ),
                "tls": (
                    [mode.value for mode in TLSMode],
                    {
                        "default": TLSMode.auto.value,
                        "tooltip": "auto finds out whether the server speaks TLS and remembers its certificate. plain is without TLS, system "
                        "trusts what this machine trusts, CA file trusts one file, pinned insists on TLS with the remembered certificate.",
                    },
                ),
            },
            "optional": {
                "secret": widgets.text(
                    "NAME of a shared secret saved in the sidebar's Draw Things tab or with 'drawthings-servers secret NAME'; never the secret itself, "
                    "since workflows are shared."
                ),
                "ca_file": widgets.text("For the TLS mode 'CA file': path of a PEM file on the machine that runs ComfyUI."),
                "compress_uploads": (
                    [choice.value for choice in CompressUploads],
                    {
                        "default": CompressUploads.auto.value,
                        "tooltip": "Whether input pictures are compressed before they are sent, without loss: a quarter less to send for about 0.1 s a "
                        "megapixel. auto measures the connection and compresses where that is quicker, below some 10 MB/s.",
                    },
                ),
                "saved_server": (
                    [NO_SERVER, *_saved_names()],
                    {
                        "default": NO_SERVER,
                        "tooltip": "A server saved in the sidebar's Draw Things tab, or with 'drawthings-servers add': it is used with its own TLS mode and "
                        "secret. none: the host, port, TLS mode and secret above.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, host: str = "", secret: str = "", saved_server: str = NO_SERVER, **_others: Any) -> str:
        """Connect again when the saved server was edited, or another value was saved under the secret's name. Salted: ComfyUI keeps this with
        the prompt.
        """
        saved = _saved(host or "", saved_server)
        value = saved.secret if saved is not None else Profiles().secret((secret or "").strip())
        state = hmac.new(_SALT, repr(saved).encode("utf-8", "replace"), "sha256")
        state.update(value.reveal().encode("utf-8", "replace") if value else b"")
        return state.hexdigest()

    @classmethod
    def VALIDATE_INPUTS(cls, saved_server: Any = None) -> bool:
        """A server that is saved on another machine is told in words when the node runs."""
        return True

    async def load(
        self,
        host: str,
        port: int,
        tls: str,
        secret: str = "",
        ca_file: str = "",
        compress_uploads: str = CompressUploads.auto.value,
        saved_server: str = NO_SERVER,
    ) -> tuple[Server]:
        """Greet the server, unless it was a moment ago, so that a wrong address or secret is told here and not in the middle of a graph."""
        server = replace(
            server_from(
                widgets.checked_text(host, "host"),
                port,
                tls,
                widgets.checked_text(secret, "secret"),
                widgets.checked_text(ca_file, "ca_file"),
                saved_server,
            ),
            compress_uploads=widgets.member(CompressUploads, "compress_uploads", compress_uploads),
        )

        def greet(cancellation: Cancellation) -> None:
            known_files.remember(server.address, client_for(server).catalog(GREETED_SECONDS, cancellation))

        await run(greet)
        return (server,)


def checked_server(value: Any) -> Server:
    """A DT_SERVER input; a linked node can deliver anything. Raises InvalidInput."""
    if not isinstance(value, Server):
        raise InvalidInput("The input 'server' is not a Draw Things server: connect a Load Server node.")
    return value


def server_from(address: str, port: int, tls: str, secret: str = "", ca_file: str = "", saved_server: str = NO_SERVER) -> Server:
    """The server that these widget values describe. A port inside `address` wins; a saved server's name stands for all of it.

    Raises InvalidInput, ProfileError; SecretNotAllowed for a secret that a graph may not send there.
    """
    saved = _saved(address, saved_server)
    if saved is not None:
        return saved
    host, port = parse_address(address, port)
    mode = widgets.member(TLSMode, "tls", tls)
    value = Profiles().secret_for(secret.strip(), host, port, mode)
    return Server(host, port, mode, ca_file.strip() if mode == TLSMode.ca_file else "", value)


def _saved(address: str, name: Any) -> Server | None:
    """The saved server of this name, or the one that the address names. Raises ProfileError when there is none of that name."""
    if not isinstance(name, str) or name.strip() in ("", NO_SERVER):
        return Profiles().server(address.strip())
    server = Profiles().server(name.strip())
    if server is None:
        raise ProfileError(
            f"No server is saved as {name.strip()[:100]!r} on this machine: save it in the sidebar's Draw Things tab, or choose another in "
            f"saved_server (none: the address in host)."
        )
    return server


def _saved_names() -> list[str]:
    try:
        return list(Profiles().server_rows())
    except ProfileError:  # told when the node runs; ComfyUI must get a definition
        return []
