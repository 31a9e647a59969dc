"""The start step that a strength means: noise schedules, as far as they decide how many steps run.

Facts: server_semantics.md section 3 (LinearDiscretization and the samplers of the server's source). What that page does not
say, and is chosen here: the Substep samplers' manual tables (linspace is used), Karras for flow models (sigma from 1 to 1/T),
and the scale of EDM time steps (their place between the largest and the smallest sigma).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .configuration import Sampler
from .families import family

TIMESTEPS = 1000
"""T of every model with a discrete schedule; flow models scale their sigma by it, too."""

_EXACT = 0.001
"""t* within this much of a time step starts exactly there."""

_SPACINGS: dict[Sampler, str] = {
    Sampler.dpmpp_2m_karras: "karras",
    Sampler.dpmpp_sde_karras: "karras",
    Sampler.euler_a: "linspace",
    Sampler.unipc: "linspace",
    Sampler.lcm: "linspace",
    Sampler.tcd: "linspace",
    Sampler.euler_a_substep: "linspace",
    Sampler.dpmpp_sde_substep: "linspace",
    Sampler.ddim: "leading",
    Sampler.plms: "leading",
    Sampler.euler_a_trailing: "trailing",
    Sampler.dpmpp_sde_trailing: "trailing",
    Sampler.dpmpp_2m_trailing: "trailing",
    Sampler.ddim_trailing: "trailing",
    Sampler.unipc_trailing: "trailing",
    Sampler.tcd_trailing: "trailing",
    Sampler.dpmpp_2m_ays: "ays",
    Sampler.euler_a_ays: "ays",
    Sampler.dpmpp_sde_ays: "ays",
    Sampler.unipc_ays: "ays",
}

_AYS_TABLES: dict[str, tuple[float, ...]] = {
    "v1": (999, 850, 736, 645, 545, 455, 343, 233, 124, 24),
    "sdxl": (999, 845, 730, 587, 443, 310, 193, 116, 53, 13),
}
"""Align Your Steps, the published ten time steps (Sabour et al. 2024); other counts are interpolated."""


class Start(NamedTuple):
    """Where sampling begins: `floor` is s0 and `ceil` s1; they differ when the start lies between two steps."""

    floor: int
    ceil: int


class Schedule(NamedTuple):
    """A model's noise schedule. kind: "flow", "ddpm", "edm" or "cascade"; version picks the AYS table; shift as it acts."""

    kind: str
    version: str = ""
    shift: float = 1.0


def kind_of(version: str, flow: bool, specification: Mapping[str, Any]) -> str:
    """The kind of a model's schedule. specification: the model's, {} when it is not known."""
    known = family(version)
    if known is not None and known.cascade_stage:
        return "cascade"
    noise = specification.get("noise_discretization") or specification.get("objective")
    if isinstance(noise, (Mapping, str)) and "edm" in noise:
        return "edm"
    return "flow" if flow else "ddpm"


def spacing(sampler: Sampler, schedule: Schedule) -> str:
    """linspace, leading, trailing, karras, ays or cosine."""
    if schedule.kind == "cascade":
        return "cosine"
    name = _SPACINGS[sampler]
    if name == "ays" and not _ays_of(schedule.version):
        return "trailing"
    if schedule.kind == "edm" and name != "ays":
        return "karras"
    return name


def _ays_of(version: str) -> str:
    known = family(version)
    return known.ays if known is not None else ""


def divides_by_zero(steps: int, sampler: Sampler, schedule: Schedule) -> bool:
    """Whether there is no such schedule: one step of linspace is 0/0 (server_semantics.md section 6)."""
    return steps == 1 and spacing(sampler, schedule) == "linspace"


def start(strength: float, steps: int, sampler: Sampler, schedule: Schedule) -> Start:
    """s0 and s1 for a strength. NaN and negative strengths match no time step and leave nothing to do."""
    if sampler == Sampler.plms:
        first = steps - math.floor(strength * steps) if math.isfinite(strength) else steps
        return Start(max(first, 0), max(first, 0))
    times = timesteps(steps, sampler, schedule)
    reached = strength * (TIMESTEPS if schedule.kind in ("flow", "ddpm") else 1)
    for index, time in enumerate(times):
        if reached >= time:
            if index > 0 and reached > time + _EXACT:
                return Start(index - 1, index)
            return Start(index, index)
    return Start(steps, steps)


def nothing_to_do(strength: float, steps: int, sampler: Sampler) -> bool:
    """Whether image to image has no step left, whatever the model's schedule: server_semantics.md section 2."""
    return strength == 0 or (sampler == Sampler.plms and start(strength, steps, sampler, Schedule("ddpm")).floor >= steps)


def timesteps(steps: int, sampler: Sampler, schedule: Schedule) -> list[float]:
    """t_0 > t_1 > ... > t_n = 0: `steps` entries and the final one, shifted."""
    return [*_timesteps(steps, spacing(sampler, schedule), schedule), 0.0]


@functools.lru_cache(maxsize=512)
def _timesteps(n: int, space: str, schedule: Schedule) -> Sequence[float]:
    flow, total = schedule.kind == "flow", TIMESTEPS
    if space == "cosine":
        return [(n - i) / n for i in range(n)]
    if space == "ays":
        times = _ays(n, _AYS_TABLES[_ays_of(schedule.version)])
        if schedule.kind == "edm":
            return [time / (TIMESTEPS - 1) for time in times]
        return [_shifted(time, schedule) for time in times]
    if space == "karras":
        return _karras(n, schedule)
    if space == "linspace":
        top = total if flow else total - 1
        times = [(n - 1 - i) / (n - 1) * top if n > 1 else float(top) for i in range(n)]
    elif space == "leading":
        times = [(n - 1 - i) / n * total + 1 for i in range(n)]
    else:
        times = [(n - i) / n * total - (0 if flow else 1) for i in range(n)]
    return [_shifted(time, schedule) for time in times]


def _shifted(time: float, schedule: Schedule) -> float:
    if schedule.shift == 1:
        return time
    if schedule.kind == "flow":
        sigma = time / TIMESTEPS
        return schedule.shift * sigma / (1 + (schedule.shift - 1) * sigma) * TIMESTEPS
    return _time_of_sigma(_sigma_of_time(time) * schedule.shift)


def _karras(n: int, schedule: Schedule) -> list[float]:
    if schedule.kind == "flow":
        high, low = 1.0, 1.0 / TIMESTEPS
    elif schedule.kind == "edm":
        high, low = 120.0, 0.002
    else:
        high, low = _sigma_of_time(TIMESTEPS - 1), _sigma_of_time(0)
    ramp = [i / (n - 1) if n > 1 else 0.0 for i in range(n)]
    if schedule.kind == "edm":
        return [1 - part for part in ramp]
    sigmas = [(high ** (1 / 7) + part * (low ** (1 / 7) - high ** (1 / 7))) ** 7 for part in ramp]
    if schedule.kind == "flow":
        return [_shifted(sigma * TIMESTEPS, schedule) for sigma in sigmas]
    return [_time_of_sigma(sigma * schedule.shift) for sigma in sigmas]


def _ays(n: int, table: tuple[float, ...]) -> list[float]:
    places = np.linspace(0, len(table) - 1, n) if n > 1 else np.zeros(1)
    return [float(time) for time in np.interp(places, np.arange(len(table)), table)]


@functools.cache
def _sigmas() -> np.ndarray:
    """sqrt((1 - a) / a) of Stable Diffusion's scaled-linear betas 0.00085 .. 0.012, by time step."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS) ** 2
    alphas = np.cumprod(1 - betas)
    return np.sqrt((1 - alphas) / alphas)


def _sigma_of_time(time: float) -> float:
    return float(np.exp(np.interp(time, np.arange(TIMESTEPS), np.log(_sigmas()))))


def _time_of_sigma(sigma: float) -> float:
    return float(np.interp(math.log(sigma), np.log(_sigmas()), np.arange(TIMESTEPS))) if sigma > 0 else 0.0


def resolution_dependent_shift(height: int, width: int) -> float:
    """Shift from the canvas (or the tile), in units of 64 px."""
    return math.exp((height * width * 16 - 256) * (1.15 - 0.5) / (4096 - 256) + 0.5)
