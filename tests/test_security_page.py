"""docs/security.md names a test for each promise, and the tests are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"(test_\w+\.py)::(test_\w+)")


def test_every_promise_names_tests_that_exist():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "we promise" not in line]
    assert len(rows) > 25
    for row in rows:
        named = NAMED.findall(row.rsplit(" | ", 1)[1])
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.M), f"{file}::{test}"


def test_figures_are_those_of_the_code():
    from comfyui_drawthings.nodes import routes
    from comfyui_drawthings.nodes.page import lists, newcomers

    text = PAGE.read_text(encoding="utf-8")
    assert f"{newcomers.MOST} within ten minutes" in text
    assert newcomers.SECONDS == 600
    assert f"{lists.CALLS} waited for at once" in text
    assert routes.AT_ONCE == 8


def test_readme_and_policy_lead_there():
    assert "docs/security.md" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/security.md" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
