"""Nothing that would stop a real server leaves our process: random requests against the simulator's strict mode.

`python3 long_runs/run.py requests` tries many more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.long_runs import requests

TRIED = 200


@pytest.fixture(scope="module")
def strict() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(*requests.FLAGS) as server:
        yield server


@pytest.mark.parametrize(("source", "least_sent"), list(zip(requests.SOURCES, (TRIED // 2, TRIED // 5), strict=True)))
def test_what_is_sent_stops_no_server(strict, source, least_sent):
    tally = requests.with_rules(strict, source, range(TRIED))
    assert tally.failures == []
    assert not tally.traps
    assert tally.sent >= least_sent
    assert sum(tally.refused.values()) >= TRIED // 20


def test_past_our_rules_the_same_requests_stop_it(strict):
    """Otherwise the test above would show nothing."""
    tally = requests.past_rules(strict, "requests past the planner", range(TRIED // 2))
    assert sum(tally.traps.values()) > tally.sent // 4
    assert len(tally.traps) >= 8  # for different reasons
