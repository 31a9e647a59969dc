"""The benchmarks run, and those figures that do not depend on the machine's pace are as they have to be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "run.py"
MARGINS = {"": 1.0, "MiB": 1.5}
"""Of the units that are stable: deaths, hangs, connections, calls; memory, of which a busy machine takes a little more."""


@pytest.mark.parametrize(("topic", "least_rows"), [("damage", 6), ("exchange", 2), ("memory", 1)])
def test_what_does_not_depend_on_the_pace_is_reached(topic, least_rows, tmp_path):
    command = [sys.executable, str(PROGRAM), "--here", "--quick", "--out", str(tmp_path), topic]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert "could not be measured" not in ended.stdout, ended.stdout + ended.stderr
    rows = json.loads((tmp_path / "benchmarks.json").read_text())["rows"]
    stable = [row for row in rows if row["unit"] in MARGINS and row["most"] is not None]
    assert len(stable) >= least_rows
    assert [row for row in stable if row["measured"] > row["most"] * MARGINS[row["unit"]]] == []


def test_every_topic_is_measured_by_default():
    """A topic that nobody names would be forgotten."""
    listed = subprocess.run([sys.executable, str(PROGRAM), "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    named = listed.partition("TOPIC")[2]
    helpers = {"child", "graph", "measure", "other_client", "report", "run"}
    topics = {path.stem for path in PROGRAM.parent.glob("*.py")} - helpers
    assert {topic for topic in topics if topic not in named} == set()
