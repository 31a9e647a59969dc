"""python -m host: serve until SIGTERM. Prints one JSON line, {"port": N}, when it is ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

from aiohttp import web

from . import peer as peers
from .jobs import Queue
from .messages import Messages
from .package import Package
from .web import application


def main() -> None:
    parser = argparse.ArgumentParser(prog="host")
    parser.add_argument("--page", type=Path, required=True, help="folder of an unpacked frontend")
    parser.add_argument("--package", type=Path, required=True, help="folder of the node package")
    parser.add_argument("--base", type=Path, required=True, help="scratch folder")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    for folder in (*peers.FOLDERS.values(), "user/default/workflows", "models/loras"):
        (given.base / folder).mkdir(parents=True, exist_ok=True)
    asyncio.run(_serve(given.page, given.package, given.base.resolve(), given.port))


async def _serve(page: Path, folder: Path, base: Path, port: int) -> None:
    messages = Messages()
    messages.loop = asyncio.get_running_loop()
    peer = peers.Peer(base, messages)
    server = peers.install(peer)
    package = Package(folder, base)  # it registers its routes on `server`
    queue = Queue(package, peer)
    queue.start()
    runner = web.AppRunner(application(page, base, package, queue, messages, server), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    main()
