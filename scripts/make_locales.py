"""Write locales/ and web/sentences/ from the node definitions, the browser extension, the back end's sentences and translations/.

    python3 scripts/make_locales.py            # write
    python3 scripts/make_locales.py --check    # exit 1 when a file is not what they give, or a translation is missing, stale or damaged

Writing also brings translations/ in order: what is not translated yet is added as "", what no English asks for any more goes. The scheme is
described in _words.py. Needs the package installed (scripts/test.py does that) and Node.js.
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
    try:
        _words.words()
    except _words.ExtensionUnreadable as error:
        print(error, file=sys.stderr)
        return 1
    wrong = 0
    for language in (_words.ENGLISH, *_words.LANGUAGES):
        translation = None if language == _words.ENGLISH else _words.Translation(language)
        texts = {
            _words.LOCALES / language / f"{name}.json": _words.locale_text(rows) for name, rows in _words.locale_files(translation).items()
        }
        if translation is not None:
            for _ in _help.pages(translation):
                pass  # asks for the words of the help pages
            sentences = _words.sentence_file(translation)
            texts[_words.SENTENCES / f"{language}.json"] = _words.locale_text(sentences)
            wrong += _report(translation)
            texts[translation.path] = translation.text()
        wrong += sum(_words.settle(path, text, arguments.check) for path, text in texts.items())
    if wrong and arguments.check:
        print("Run scripts/make_locales.py, write what is empty in translations/, and run it again; CONTRIBUTING.md says more.")
    return 1 if wrong and arguments.check else 0


def _report(translation: _words.Translation) -> int:
    found = [f"{translation.path.name}: {section}: not translated: {key}" for section, key in translation.missing()]
    found += [f"{translation.path.name}: {section}: nothing asks for: {key}" for section, key in translation.stale()]
    found += [f"{translation.path.name}: placeholders, code or numbers differ: {fault}" for fault in translation.faults()]
    for line in found:
        print(line)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
