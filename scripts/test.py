#!/usr/bin/env python3
"""Set up the virtual environment and run every test; further arguments go to pytest.

    python3 scripts/test.py
    python3 scripts/test.py -k runner -x

Needs Python 3.10 or newer and nothing else (see _environment.py for the variables that choose folder and torch). Tests that
need something which is not here (a real ComfyUI: COMFYUI_DIR; Chromium) are reported as skipped, with the reason. -m "not browser"
leaves out the tests in a browser.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _environment
import _frontends

CLIENT_VARIABLE = "DRAWTHINGS_PY_PYTHON"
"""Names the Python that has drawthings-py, for the test that uses it."""
CLIENT_NEEDS = (3, 11)
LONGEST_TEST = 300
"""Seconds after which a test that hangs is ended; --timeout=N among the arguments changes it."""
AT_ONCE = 4
"""Most processes that run tests side by side, each file in one of them (tests/conftest.py); -n N among the arguments changes it."""


def main() -> int:
    try:
        interpreter = _environment.ensure(_environment.test_requirements())
    except _environment.SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    with ThreadPoolExecutor() as beside:  # what they need is asked of the network and written to folders of their own
        browser = beside.submit(_browser, interpreter)
        environment = {**os.environ, **_independent_client()}
        browser.result()
    workers = min(AT_ONCE, os.cpu_count() or 1)
    command = [str(interpreter), "-m", "pytest", f"--timeout={LONGEST_TEST}", f"--numprocesses={workers}", "--dist=loadfile", *sys.argv[1:]]
    try:
        python_tests = subprocess.run(command, cwd=_environment.ROOT, env=environment, check=False).returncode
        return python_tests or _web_tests()
    except KeyboardInterrupt:
        return 130


def _browser(interpreter: Path) -> None:
    """Have what the tests in a browser need, but the browser; what cannot be had is said, and their tests are skipped."""
    try:
        _environment.ensure(_environment.browser_requirements())
    except _environment.SetupFailed as error:
        print(f"The tests in a browser will be skipped. {error}", file=sys.stderr)
        return
    for problem in _frontends.ensure(_environment.folder(), interpreter):
        print(f"Its tests will be skipped: {problem}", file=sys.stderr)


def _independent_client() -> dict[str, str]:
    """Where the other client is; nothing when it cannot be had, and its test then says so."""
    if CLIENT_VARIABLE in os.environ:
        return {}
    if sys.version_info < CLIENT_NEEDS:
        print(f"drawthings-py needs Python {'.'.join(map(str, CLIENT_NEEDS))}: its test will be skipped.", file=sys.stderr)
        return {}
    try:
        return {CLIENT_VARIABLE: str(_environment.ensure(_environment.client_requirements(), _environment.client_folder()))}
    except _environment.SetupFailed as error:
        print(f"The test with drawthings-py will be skipped. {error}", file=sys.stderr)
        return {}


def _web_tests() -> int:
    """The browser extension's rules, with node's own test runner, where there are any and node is there."""
    tests = sorted(str(path) for path in (_environment.ROOT / "web").rglob("*.test.*js")) if (_environment.ROOT / "web").is_dir() else []
    tests += sorted(str(path) for path in (_environment.ROOT / "tests").rglob("*.test.*js"))
    if not tests:
        return 0
    node = shutil.which("node")
    if node is None:
        print("SKIPPED the tests of web/: node is not installed.")
        return 0
    return subprocess.run([node, "--test", *tests], cwd=_environment.ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
