"""Load Server and Server Pool: where the graph's Draw Things servers are."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..drawthings_core import servers, several, spread
from ..drawthings_core.client import Cancellation
from ..drawthings_core.errors import DrawThingsError, InvalidInput, ProfileError
from ..drawthings_core.servers import DEFAULT_PORT, LAST_PORT, NO_SERVER, CompressUploads, Profiles, Server, parse_address
from ..drawthings_core.tls import TLSMode
from . import known_files, widgets
from .host import run

CATEGORY = "Draw Things"

GREETED_SECONDS = 300.0
"""How long a server that was greeted is not greeted again, while its connection lasts."""

MOST_SERVERS = 8
"""Inputs of Server Pool; pools can be connected to pools."""

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
                    {"default": DEFAULT_PORT, "min": 1, "max": LAST_PORT, "tooltip": "Port of the API server; Draw Things uses 7859."},
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
            # Not called unique_id: the page gives nodes that have that a line for their progress.
            "hidden": {"own_id": "UNIQUE_ID", "prompt": "PROMPT"},
        }

    @classmethod
    def IS_CHANGED(cls, host: Any = "", secret: Any = "", saved_server: Any = NO_SERVER, **_others: Any) -> str:
        """Connect again when the saved server was edited, or another value was saved under the secret's name. Salted: ComfyUI keeps this with
        the prompt. Raises InvalidInput and ProfileError, which ComfyUI logs; then the node runs and tells them.
        """
        saved = _saved(widgets.checked_text(host, "host"), saved_server)
        value = saved.secret if saved is not None else Profiles().secret(widgets.checked_text(secret, "secret").strip())
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
        own_id: str | None = None,
        prompt: Any = None,
    ) -> tuple[Server]:
        """Greet the server, unless it was a moment ago, so that a wrong address or secret is told here and not in the middle of a graph.

        Where only server pools get it, they greet it: there the graph goes on without a server that is off.
        """
        server = replace(
            server_from(
                widgets.checked_text(host, "host"),
                int(widgets.within("port", port, 1, LAST_PORT)),
                tls,
                widgets.checked_text(secret, "secret"),
                widgets.checked_text(ca_file, "ca_file"),
                saved_server,
            ),
            compress_uploads=widgets.member(CompressUploads, "compress_uploads", compress_uploads),
        )

        if not _only_for_pools(own_id, prompt):
            await run(lambda cancellation: greet((server,), cancellation))
        return (server,)


class ServerPool:
    """Several servers, used as one."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Several Draw Things servers as one: each picture of a batch is made by the next server that is free. One that fails gives its picture "
        "to the others."
    )
    RETURN_TYPES = ("DT_SERVER",)
    RETURN_NAMES = ("server",)
    OUTPUT_TOOLTIPS = ("All of them as one server, for Generate and the other Draw Things nodes.",)
    FUNCTION = "gather"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        first, *others = (f"server_{number}" for number in range(1, MOST_SERVERS + 1))
        return {
            "required": {first: widgets.socket("DT_SERVER", "A server, from Load Server, or another pool.")},
            "optional": {
                name: widgets.socket(
                    "DT_SERVER", "A further server. One that is connected twice gets two requests at a time, for a proxy with several GPUs."
                )
                for name in others
            },
        }

    async def gather(self, server_1: Any, **others: Any) -> tuple[servers.ServerPool]:
        """Greet all at once. Those that do not answer are tried again when a node needs them, and named in its info."""
        named = {"server_1": server_1, **{name: value for name, value in others.items() if value is not None}}
        pool = servers.ServerPool(tuple(one for name, value in named.items() for one in checked_servers(value, name).servers))
        await run(lambda cancellation: greet(pool.different, cancellation))
        return (pool,)


def greet(greeted: Sequence[Server], cancellation: Cancellation) -> None:
    """Ask servers what they have, unless that was a moment ago. Raises the error of a single one, AllServersFailed."""
    found = several.each(greeted, lambda client, own: client.catalog(GREETED_SECONDS, own), cancellation, several.LATE)
    for server, told in found.items():
        if isinstance(told, DrawThingsError):
            spread.health.failed(server, told)
        else:
            known_files.remember(server.address, told)


def _only_for_pools(own_id: Any, prompt: Any) -> bool:
    """Whether in this graph (API format) nothing but server pools takes what the node of this id gives."""
    if not isinstance(prompt, Mapping):
        return False
    takers = [
        row.get("class_type")
        for row in prompt.values()
        for value in (row.get("inputs") or {}).values()
        if isinstance(value, list) and len(value) == 2 and str(value[0]) == own_id
    ]
    return bool(takers) and set(takers) == {"DrawThingsServerPool"}


def checked_servers(value: Any, name: str = "server") -> servers.ServerPool:
    """A DT_SERVER input, a single server as a pool of one; a linked node can deliver anything. Raises InvalidInput."""
    if isinstance(value, Server):
        return servers.ServerPool((value,))
    if not isinstance(value, servers.ServerPool):
        raise InvalidInput(f"The input {name!r} is not a Draw Things server: connect a Load Server node, or a Server Pool.")
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
