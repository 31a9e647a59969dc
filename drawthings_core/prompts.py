"""Words that belong into a prompt: keywords of textual inversions, trigger words of models and LoRAs.

Facts: model_specs.md. A server adds neither by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .catalog import Catalog, Entry
from .configuration import LoRA
from .errors import FileNotOnServer, FileNotUsable, InvalidInput
from .families import Family

_AROUND = " ,\t\n"
"""What stands between two parts of a prompt, and is cut from the ends of a part."""


def joined(parts: Iterable[str]) -> str:
    """Parts of a prompt with commas between them, empty ones left out."""
    return ", ".join(part for part in (part.strip(_AROUND) for part in parts) if part)


def keyword_text(entry: Entry, weight: float = 1.0) -> str:
    """How a prompt names a textual inversion: <keyword>, in parentheses with its attention weight where that is not 1."""
    keyword = f"<{entry.specification.get('keyword', '')}>"
    return keyword if weight == 1 else f"({keyword}:{weight:g})"


def textual_inversion(catalog: Catalog, file: str, address: str) -> Entry:
    """The entry of a textual inversion. Raises FileNotUsable, FileNotOnServer, InvalidInput where its keyword is not known."""
    entry = catalog.find("textual inversion", file)
    if entry is not None and entry.specification.get("keyword"):
        return entry
    if entry is not None or not catalog.describes:
        raise InvalidInput(
            f"The server does not say what the keyword of {file!r} is: write it into the prompt yourself, in angle brackets, as in <keyword>."
        )
    other = catalog.kind_of(file)
    if other is not None:
        raise FileNotUsable(f"{file!r} is a {other}, not a textual inversion: choose a textual inversion there.")
    raise FileNotOnServer("Textual inversion", file, address, catalog.suggestions("textual inversion", file))


def with_keyword(text: str, entry: Entry, weight: float, at_start: bool) -> str:
    """A prompt that names the textual inversion; one that does already stays as it is."""
    if f"<{entry.specification['keyword']}>".casefold() in text.casefold():
        return text
    added = keyword_text(entry, weight)
    return joined((added, text) if at_start else (text, added))


def inversion_notes(named: Sequence[Entry], known: Family | None) -> Iterator[str]:
    """What to know about the textual inversions that a prompt names."""
    if named and (known is None or known.embeddings):
        names = ", ".join(keyword_text(entry) for entry in named)
        yield f"Textual inversions act where the Draw Things app is the server; gRPCServerCLI reads {names} as ordinary words."


def trigger_words(catalog: Catalog, model: str, loras: Sequence[LoRA]) -> tuple[list[str], list[str]]:
    """The trigger words of a model ("": none) and of LoRAs, each once, in this order; and notes, a sentence each."""
    words: dict[str, str] = {}
    notes = []
    for kind, file in [("model", model)] * bool(model) + [("LoRA", lora["file"]) for lora in loras if lora["weight"] != 0]:
        entry = catalog.find(kind, file)
        if entry is None:
            notes.append(f"The server does not describe the {kind} {file}, so its trigger words are not known.")
            continue
        prefix = str(entry.specification.get("prefix") or "").strip(_AROUND)
        if prefix:
            words.setdefault(prefix.casefold(), prefix)
        notes.append(f"{entry.name}: {prefix}" if prefix else f"{entry.name} has no trigger words.")
    return list(words.values()), notes


def with_words(words: Sequence[str], text: str) -> str:
    """The words before a prompt, without those that it holds already."""
    missing = [word for word in words if not _holds(text, word)]
    return joined((*missing, text)) if missing else text


def _holds(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None
