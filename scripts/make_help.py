"""Write the tables of inputs and outputs into the help pages (web/docs/*.md) from the node definitions.

    python3 scripts/make_help.py            # write
    python3 scripts/make_help.py --check    # exit 1 when a page is not what the definitions give

Needs the package installed (scripts/test.py does that). What stands above the marker is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS  # pyright: ignore[reportMissingImports]

DOCS = Path(__file__).resolve().parents[1] / "web" / "docs"
MARKER = "<!-- Below: written by scripts/make_help.py from the node's definition -->"


def tables(node: Any) -> str:
    """Markdown tables of a node class's inputs and outputs."""
    definition = node.INPUT_TYPES()
    rows = ["## Inputs", "", "| input | type | what it does |", "|---|---|---|"]
    for section in ("required", "optional"):
        for name, (kind, options) in definition.get(section, {}).items():
            rows.append(
                f"| `{name}` | {_kind(kind, options)}{', optional' if section == 'optional' else ''} | {_cell(options['tooltip'])} |"
            )
    if node.RETURN_TYPES:
        rows += ["", "## Outputs", "", "| output | type | what it is |", "|---|---|---|"]
    rows += [
        f"| `{name}` | {kind} | {_cell(tooltip)} |"
        for name, kind, tooltip in zip(node.RETURN_NAMES, node.RETURN_TYPES, node.OUTPUT_TOOLTIPS, strict=True)
    ]
    return "\n".join(rows) + "\n"


def _kind(kind: Any, options: dict[str, Any]) -> str:
    if options.get("image_upload"):
        return "picture"
    if isinstance(kind, list):
        return "file on the server" if "File name" in options["tooltip"] else "choice"
    if kind in ("INT", "FLOAT"):
        return f"{'whole number' if kind == 'INT' else 'number'} {options['min']:g} to {_plain(options['max'])}, default {options['default']:g}"
    if kind == "BOOLEAN":
        return f"switch, default {'on' if options['default'] else 'off'}"
    return "text" if kind == "STRING" else kind


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    stale = 0
    for node_id, node in NODE_CLASS_MAPPINGS.items():
        page = DOCS / f"{node_id}.md"
        before = page.read_text(encoding="utf-8")
        after = f"{before.partition(MARKER)[0].rstrip()}\n\n{MARKER}\n\n{tables(node)}"
        if after != before:
            stale += 1
            print(f"{'stale' if arguments.check else 'written'}: web/docs/{page.name}")
            if not arguments.check:
                page.write_text(after, encoding="utf-8")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
