"""docs/long_runs.md: a section for each topic, replaced when the topic is run again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "long_runs.md"
MOST_FAILURES = 20
"""Of those that are shown."""


@dataclass
class Section:
    """What a run showed. head, rows: a table. notes: paragraphs below it. failures: what must not be, a line each."""

    title: str
    what: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    notes: Sequence[str] = ()
    failures: list[str] = field(default_factory=list)

    def text(self, command: str = "") -> str:
        found = self.failures[:MOST_FAILURES]
        parts = [
            f"## {self.title}",
            *([f"`{command}`"] if command else []),
            self.what,
            _table(self.head, self.rows),
            *self.notes,
            *(["\n".join(f"- {failure}" for failure in found)] if found else []),
        ]
        return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(value) for value in row)} |" for row in lines)


def _cell(value: object) -> str:
    return (f"{value:,}" if isinstance(value, int) else str(value)).replace("|", "\\|")


def write(section: Section, command: str) -> None:
    """Put a section into the page, in the place of one of the same title, else at the end."""
    text = PAGE.read_text(encoding="utf-8")
    made = section.text(command)
    old = re.compile(rf"^## {re.escape(section.title)}\n.*?(?=^## |\Z)", re.S | re.M)
    text = old.sub(lambda _: made + "\n", text) if old.search(text) else f"{text.rstrip()}\n\n{made}"
    PAGE.write_text(text.rstrip() + "\n", encoding="utf-8")
