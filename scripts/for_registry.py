#!/usr/bin/env python3
"""Write into pyproject.toml what only the publisher knows: who publishes, and where the repository is.

    python3 scripts/for_registry.py --publisher PUBLISHER --repository OWNER/NAME

.github/workflows/publish.yml runs it before publishing; to publish by hand, run it, then `comfy node publish`.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
ICON = "docs/icon.png"


def filled(project: str, publisher: str, repository: str) -> str:
    """pyproject.toml with the publisher, the repository's address and the icon's. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", publisher):
        raise ValueError(f"{publisher!r} is no publisher's id: it is on your page at registry.comfy.org, after the @.")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"{repository!r} is no repository: write OWNER/NAME.")
    values = {
        "PublisherId": publisher,
        "Icon": f"https://raw.githubusercontent.com/{repository}/HEAD/{ICON}",
        "Repository": f"https://github.com/{repository}",
        "Documentation": f"https://github.com/{repository}#readme",
        "Issues": f"https://github.com/{repository}/issues",
    }
    for key, value in values.items():
        project, count = re.subn(rf'^(?:# )?{key} = ".*"$', lambda _, line=f'{key} = "{value}"': line, project, flags=re.M)
        if count != 1:
            raise ValueError(f"pyproject.toml has {count} lines {key} = ..., not one.")
    return project


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publisher", required=True)
    parser.add_argument("--repository", required=True, help="OWNER/NAME on GitHub")
    arguments = parser.parse_args()
    try:
        text = filled(PROJECT.read_text(encoding="utf-8"), arguments.publisher, arguments.repository)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    PROJECT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
