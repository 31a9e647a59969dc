"""Which seed each picture has: server_semantics.md section 5."""

from __future__ import annotations

from .configuration import SeedMode

SEED_RANGE = 1 << 32


def following(seed: int, number: int) -> int:
    """The seed of request `number` (from 0) when a graph repeats: seed, seed + 1, ... modulo 2^32."""
    return (seed + number) % SEED_RANGE


def of_batch(seed: int, batch_size: int, mode: SeedMode) -> list[int]:
    """Seeds of one request's batch members.

    Scale Alike derives one for each member by a 32-bit xorshift, and a run with such a seed alone gives the same picture.
    The other modes draw the whole batch from the one seed.
    """
    if mode != SeedMode.scale_alike:
        return [seed] * batch_size
    members = [seed]
    while len(members) < batch_size:
        x = members[-1] or 0xBAD5EED
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        members.append(x)
    return members[:batch_size]
