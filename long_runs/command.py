"""The command behind run.py."""

from __future__ import annotations

import argparse
import importlib
import inspect
import math
import os
import sys
import tempfile
import time

from . import page

TOPICS = ("requests", "many", "endurance", "cancellations", "loops", "tensors", "streams", "catalogues", "workflows", "pictures")
"""A module each, with `COUNT` and `run(count, seed) -> page.Section`; those that can end early take minutes, too."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python3 long_runs/run.py", description="What takes minutes or hours to show. Exit code 1: something was found."
    )
    parser.add_argument("topic", choices=TOPICS)
    parser.add_argument("--count", type=int, help="how many to try; each topic has a default")
    parser.add_argument("--seed", type=int, default=0, help="number of the first")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end after so long, whatever the count: requests only")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/long_runs.md")
    given = parser.parse_args()
    topic = importlib.import_module(f"{__package__}.{given.topic}")
    count = given.count or topic.COUNT
    limit = {} if math.isinf(given.minutes) else {"minutes": given.minutes}
    if limit and "minutes" not in inspect.signature(topic.run).parameters:
        parser.error(f"{given.topic} has no --minutes: give it a smaller --count.")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        os.environ["DRAWTHINGS_HOME"] = home  # nobody's own secrets and certificates
        section = topic.run(count, given.seed, **limit)
    print(section.text())
    print(f"{time.perf_counter() - started:.0f} s")
    if given.docs:
        minutes = f" --minutes {given.minutes:g}" if limit else ""
        page.write(section, f"python3 long_runs/run.py {given.topic} --count {count} --seed {given.seed}{minutes}")
    return 1 if section.failures else 0


if __name__ == "__main__":
    sys.exit(main())
