"""The figures as JSON and as a Markdown page, with what a reader needs to judge them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measure import Row

PACKAGES = ("numpy", "torch", "grpcio", "protobuf", "flatbuffers", "fpzip", "pillow")


def machine(other_version: str | None) -> dict[str, str]:
    """What was measured on, without names and paths."""
    facts = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{_cores()} cores, {_processor()}",
        "Python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "drawthings-py": other_version or "not here",
    }
    return facts


def write(folder: Path, name: str, facts: Mapping[str, str], rows: Sequence[Row], command: str) -> list[Path]:
    """Both files; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.json": as_json(facts, rows), folder / f"{name}.md": page(facts, rows, command)}
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def as_json(facts: Mapping[str, str], rows: Sequence[Row]) -> str:
    return json.dumps({"machine": facts, "rows": [_plain(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n"


def page(facts: Mapping[str, str], rows: Sequence[Row], command: str) -> str:
    """Rows with something to reach, then those that inform."""
    goals, others = [row for row in rows if row.most is not None], [row for row in rows if row.most is None]
    return "\n".join(
        [
            f"`{command}`",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in facts.items()),
            "",
            "Each figure is the least of several rounds, in which ours, the floor and drawthings-py take turns; where ours takes more than half",
            "a second, the median.",
            "",
            *_table(("what", "ours", "floor", "the floor is", "drawthings-py", "ours / floor", "to reach", ""), map(_goal, goals)),
            "",
            *(
                ["Besides:", "", *_table(("what", "ours", "floor", "the floor is", "ours / floor"), map(_other, others)), ""]
                if others
                else []
            ),
        ]
    )


def line(row: Row) -> str:
    """A row for the terminal, as it is found."""
    parts = [f"{row.what}: {_amount(row.ours, row.unit)}"]
    if row.floor:
        parts.append(f"{row.measured:.2f} x {_amount(row.floor, row.unit)} ({row.floor_is})")
    if row.other is not None:
        parts.append(f"drawthings-py {_amount(row.other, row.unit)}")
    if row.most is not None:
        parts.append(f"{_mark(row)} (at most {row.most:g})")
    return ", ".join([*parts, *([row.note] if row.note else [])])


def _goal(row: Row) -> tuple[str, ...]:
    what = f"{row.what} ({row.note})" if row.note else row.what
    other = "" if row.other is None else _amount(row.other, row.unit)
    most = f"{row.most:g} x" if row.floor else _amount(row.most or 0, row.unit)
    return what, _amount(row.ours, row.unit), _floor(row), row.floor_is, other, _ratio(row), most, _mark(row)


def _other(row: Row) -> tuple[str, ...]:
    what = f"{row.what} ({row.note})" if row.note else row.what
    return what, _amount(row.ours, row.unit), _floor(row), row.floor_is, _ratio(row)


def _floor(row: Row) -> str:
    return "" if row.floor is None else _amount(row.floor, row.unit)


def _ratio(row: Row) -> str:
    return "" if not row.floor else f"{row.measured:.2f}"


def _mark(row: Row) -> str:
    return "reached" if row.reached else "MISSED"


def _amount(value: float, unit: str) -> str:
    digits = 0 if value == int(value) or value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def _table(head: Sequence[str], rows: Any) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "measured": row.measured, "reached": row.reached}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The model's name."""
    if sys.platform.startswith("linux"):
        for found in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if found.startswith("model name"):
                return found.partition(":")[2].strip()
    return platform.processor() or platform.machine()
