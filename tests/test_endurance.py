"""Load, cancelling and many runs of one process, in short: `python3 long_runs/run.py` does it for longer, and docs/long_runs.md has the figures."""

from __future__ import annotations

import pytest
from comfyui_drawthings.long_runs import cancellations, endurance, loops, many


@pytest.mark.parametrize(
    ("topic", "count"), [(many, 24), (endurance, 40), (cancellations, 24), (loops, 8)], ids=["many", "endurance", "cancellations", "loops"]
)
def test_for_a_while(topic, count):
    assert topic.run(count, 0).failures == []
