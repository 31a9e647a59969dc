#!/usr/bin/env python3
"""Measure what this package adds to a generation, each thing against its floor and against drawthings-py in the same run.

    python3 benchmarks/run.py                   everything, some ten minutes; tables into out/
    python3 benchmarks/run.py --out docs        the same into docs/benchmarks.md and docs/benchmarks.json
    python3 benchmarks/run.py --quick decode    a small version of some topics
    python3 benchmarks/run.py --name pool pool  one topic, into files of that name

Needs Python 3.10 or newer and nothing else: it makes its own virtual environment, as scripts/test.py does. For figures that mean
something nothing else should run on the machine. Exit codes: 0 everything is measured and reached, 1 not.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import _environment  # noqa: E402  # pyright: ignore[reportMissingImports]

TOPICS = ("encode", "decode", "memory", "previews", "exchange", "startup", "damage", "pool")
NAME = "benchmarks"
OUT = _environment.ROOT / "out"
CLIENT_VARIABLE = "DRAWTHINGS_PY_PYTHON"


def main() -> int:
    given = _arguments()
    if not given.here:
        try:
            interpreter = _environment.ensure(_environment.demo_requirements())
            client = os.environ.get(CLIENT_VARIABLE) or _environment.ensure(
                _environment.client_requirements(), _environment.client_folder()
            )
        except _environment.SetupFailed as error:
            print(error, file=sys.stderr)
            return 1
        environment = {**os.environ, CLIENT_VARIABLE: str(client)}
        return subprocess.run([str(interpreter), __file__, "--here", *sys.argv[1:]], env=environment, check=False).returncode
    with tempfile.TemporaryDirectory() as home:
        os.environ["DRAWTHINGS_HOME"] = home  # nobody's own secrets and certificates
        return _measure(given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer, smaller, shorter")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the tables, as JSON and Markdown")
    parser.add_argument("--name", default=NAME, help="name of the two files, without an ending")
    parser.add_argument("--here", action="store_true", help=f"install nothing: this Python, and drawthings-py where {CLIENT_VARIABLE} says")
    given = parser.parse_args()
    unknown = set(given.topics) - set(TOPICS)
    if unknown:
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    return given


def _measure(given: argparse.Namespace) -> int:
    import report
    from measure import Row
    from other_client import OtherClient

    started = time.perf_counter()
    rows: list[Row] = []
    failed: list[str] = []
    other = OtherClient(os.environ.get(CLIENT_VARIABLE))
    try:
        facts = report.machine(other.version)
        for topic in given.topics or TOPICS:
            print(f"-- {topic}, after {time.perf_counter() - started:.0f} s", flush=True)
            try:
                for row in importlib.import_module(topic).rows(given.quick, other):
                    rows.append(row)
                    print(report.line(row), flush=True)
            except Exception:
                traceback.print_exc()
                failed.append(topic)
    except KeyboardInterrupt:
        return 130
    finally:
        other.close()
    for path in report.write(given.out, given.name, facts, rows, _command(given)):
        print(path)
    missed = [row.what for row in rows if row.reached is False]
    verdict = f"missed: {'; '.join(missed)}" if missed else "everything that was measured is reached"
    print(f"{time.perf_counter() - started:.0f} s; {verdict}")
    for topic in failed:
        print(f"{topic} could not be measured")
    return 1 if missed or failed else 0


def _command(given: argparse.Namespace) -> str:
    """What makes these tables again; a folder elsewhere is nobody else's concern."""
    out = Path(os.path.relpath(given.out, _environment.ROOT))
    flags = [] if given.out == OUT or out.parts[:1] == ("..",) or out.is_absolute() else ["--out", out.as_posix()]
    flags += ["--quick"] if given.quick else []
    flags += [] if given.name == NAME else ["--name", given.name]
    return " ".join(["python3 benchmarks/run.py", *flags, *given.topics])


if __name__ == "__main__":
    sys.exit(main())
