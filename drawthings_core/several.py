"""The same question to several servers at once."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from .catalog import Catalog
from .client import Cancellation, Client, client_for
from .errors import AllServersFailed, DrawThingsError, GenerationCancelled
from .servers import Server

Answer = TypeVar("Answer")


LATE = 5.0
"""Seconds for which servers that have not answered are waited for, once one has: a busy one may let its files be asked for hours."""

_POLL_SECONDS = 0.1
"""How often it is looked whether the patience is over."""


def each(
    servers: Sequence[Server], ask: Callable[[Client, Cancellation], Answer], cancellation: Cancellation, patience: float = math.inf
) -> dict[Server, Answer | DrawThingsError]:
    """What each answers, or why it does not, in their order.

    patience: seconds after which one that is silent is left out, if another has answered. Raises AllServersFailed where none does; of a single server, its own error; GenerationCancelled.
    """
    asked: list[tuple[Server, Cancellation, Future[Answer]]] = [(server, Cancellation(), Future()) for server in servers]

    def stop() -> None:
        for _, own, _ in asked:
            own.cancel()

    def run(server: Server, own: Cancellation, future: Future[Answer]) -> None:
        try:
            future.set_result(ask(client_for(server), own))
        except BaseException as error:
            future.set_exception(error)

    cancellation.attach(stop)
    try:
        for one in asked:
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(run, *one), name=f"drawthings {one[0].host}", daemon=True).start()
        end = time.monotonic() + patience
        while wait([future for *_, future in asked], _POLL_SECONDS).not_done:
            if time.monotonic() >= end and any(future.done() and future.exception() is None for *_, future in asked):
                break
    finally:
        cancellation.detach()
        stop()
    cancellation.check()
    return _answered({server: _outcome(future.result) for server, _, future in asked if future.done()})


def in_turn(
    servers: Sequence[Server], ask: Callable[[Server, Cancellation], Answer], cancellation: Cancellation
) -> dict[Server, Answer | DrawThingsError]:
    """The same, one after the other."""
    return _answered({server: _outcome(lambda server=server: ask(server, cancellation)) for server in servers})


def _outcome(work: Callable[[], Answer]) -> Answer | DrawThingsError:
    """What it gives, or its error. Raises GenerationCancelled."""
    try:
        return work()
    except GenerationCancelled:
        raise
    except DrawThingsError as error:
        return error


def _answered(outcomes: dict[Server, Answer | DrawThingsError]) -> dict[Server, Answer | DrawThingsError]:
    """The same; raises what `each` does."""
    errors = {server.address: one for server, one in outcomes.items() if isinstance(one, DrawThingsError)}
    if len(errors) < len(outcomes) or not outcomes:
        return outcomes
    if len(outcomes) == 1:
        raise next(iter(errors.values()))
    raise AllServersFailed(errors)


def catalogs_with(
    servers: Sequence[Server], model: str, cancellation: Cancellation, more: Iterable[tuple[str, str]] = ()
) -> dict[Server, Catalog]:
    """Client.catalog_with of all that answer in time. Raises as `each`."""
    more = tuple(more)
    found = each(servers, lambda client, own: client.catalog_with(model, own, more), cancellation, LATE)
    return {server: one for server, one in found.items() if isinstance(one, Catalog)}
