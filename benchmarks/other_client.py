"""drawthings-py from PyPI, by its public interface, in a Python of its own (it pins an older Pillow than ours may be).

Times are taken in that process. What it cannot do alone (previews, 81 frames without their server) is not compared.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

from child import Child, serve


class OtherClient:
    """The client in a process, or nothing where it is not installed: then its works are None, and no time is compared."""

    def __init__(self, python: str | None):
        self._child = Child(python, "other_client.py") if python else None
        self._folder = tempfile.TemporaryDirectory()

    @property
    def version(self) -> str | None:
        return self._child.ask("version") if self._child is not None else None

    def work(self, name: str, **arguments: Any) -> Any:
        """A work for `measure.compare`; None without the client."""
        child = self._child
        return None if child is None else lambda: float(child.ask(name, **arguments))

    def file(self, name: str, content: bytes) -> str:
        """A file that its process can read."""
        path = Path(self._folder.name) / name
        path.write_bytes(content)
        return str(path)

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
        self._folder.cleanup()


# -- in its Python


def version() -> str:
    return importlib.metadata.version("drawthings-py")


def encode_image(file: str) -> float:
    """A picture that is in memory -> tensor bytes."""
    return _timed(_picture(file).to_tensor)


def encode_mask(file: str) -> float:
    """A mask that is in memory -> tensor bytes."""
    return _timed(_picture(file).to_binary_mask)


def decode(file: str) -> float:
    """Tensor bytes -> a picture, which is of bytes there."""
    from drawthings_py import ImageBuffer  # pyright: ignore[reportMissingImports]

    data = Path(file).read_bytes()
    return _timed(lambda: ImageBuffer.from_tensor(data))


def generate(host: str, port: int, root: str, configuration: dict[str, Any]) -> float:
    """One generation in a session of its client."""
    _trust(root)
    from drawthings_py import Configs, DrawThings, RequestBuilder  # pyright: ignore[reportMissingImports]

    async def run() -> float:
        async with DrawThings.grpc(host, port, progressbar=False, disable_messages=True) as service:
            request = RequestBuilder(Configs.from_json(json.dumps(configuration)), "a lighthouse", "")
            started = time.perf_counter()
            await service.generate(request)
            return time.perf_counter() - started

    return asyncio.run(run())


def _picture(file: str) -> Any:
    from drawthings_py import ImageBuffer  # pyright: ignore[reportMissingImports]

    return ImageBuffer.from_file(file)


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_roots: set[str] = set()


def _trust(root: str) -> None:
    """It accepts Draw Things' certificates and no others, and has no parameter for that: ours is added to what it trusts."""
    if not _roots:
        load = ssl.SSLContext.load_verify_locations

        def load_ours_too(self: ssl.SSLContext, *arguments: Any, **named: Any) -> None:
            load(self, *arguments, **named)
            for known in _roots:
                load(self, cadata=known)

        ssl.SSLContext.load_verify_locations = load_ours_too  # type: ignore[method-assign]
    _roots.add(root)


if __name__ == "__main__":
    serve(globals())
