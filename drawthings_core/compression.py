"""Uploads in fpzip: three quarters of a photograph's bytes for about 100 ms a megapixel, which pays where the way to the server is slow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait

from . import tensor
from .decoding import Pool
from .errors import CodecUnavailable, DrawThingsError
from .packing import Content

_POLL_SECONDS = 0.05


def compress(contents: Iterable[Content], pool: Pool, check: Callable[[], None]) -> None:
    """See to it that every content has its `smaller`, several at a time, or is known to be `incompressible`.

    check: raises when the user wants to stop.
    """
    waiting = [(content, _begin(content, pool)) for content in contents if content.smaller is None and not content.incompressible]
    try:
        for content, future in waiting:
            while future is not None and not wait((future,), _POLL_SECONDS).done:
                check()
            content.smaller = _finish(content, future)
            content.incompressible = content.smaller is None
    finally:
        for _, future in waiting:
            if future is not None:
                future.cancel()


def _begin(content: Content, pool: Pool) -> Future[bytes | None] | None:
    """In another process, or None for what is done here: masks by DEFLATE, which is quick."""
    header = tensor.Header.unpack(content.data)
    if header.datatype != tensor.DataType.FLOAT16 or len(header.dims) != 4 or not tensor.fpzip_available():
        return None
    try:
        return pool.compress(content.data)
    except DrawThingsError:
        return None


def _finish(content: Content, future: Future[bytes | None] | None) -> Content | None:
    if future is not None:
        try:
            data = future.result()
            return None if data is None else Content(data)
        except DrawThingsError:  # no process can be started, or it was stopped: unlike decoding, this is safe here
            pass
    try:
        data = tensor.encode(tensor.decode(content.data), compress=True)
    except CodecUnavailable:
        return None
    return Content(data) if len(data) < len(content.data) else None
