"""Write the help pages (web/docs): the tables of inputs and outputs from the node definitions, and every page in every language.

    python3 scripts/make_help.py            # write
    python3 scripts/make_help.py --check    # exit 1 when a page is not what the definitions and translations give

Needs the package installed (scripts/test.py does that). What is written by hand, and what is not, stands in _help.py.
"""

from __future__ import annotations

import argparse
import sys

import _help
import _words


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    languages = [None, *(_words.Translation(language) for language in _words.LANGUAGES)]
    files = {path: text for language in languages for path, text in _help.pages(language)}
    stale = [path for path, text in files.items() if _words.settle(path, text, arguments.check)]
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
