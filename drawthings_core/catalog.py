"""What a server offers, from its Echo reply: models, LoRAs, controls, upscalers and textual inversions.

A server lists its files only with model browsing on. With browsing off the catalogue is empty, and that does not mean that
the server has no models: file names are then taken as the user typed them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ..proto import messages
from .configuration import Configuration
from .errors import short
from .nesting import deeper_than

SECTIONS: dict[str, str] = {
    "model": "models",
    "LoRA": "loras",
    "control": "controlNets",
    "textual inversion": "textualInversions",
    "upscaler": "upscalers",
}
"""Kinds of files, as `Setting.file_kind` names them, and the MetadataOverride field that describes each."""

FACE_RESTORATION = "face restoration model"
FACE_RESTORATION_FILES: dict[str, tuple[str, ...]] = {"restoreformer_v1.0_f16.ckpt": ("parsenet_v1.0_f16.ckpt",)}
"""The kind that no section describes: a server knows these files by name. With each, the files without which it is skipped."""


LARGEST_SECTION = 16 << 20
"""Bytes of a list that is still read; one of a thousand LoRAs has half a megabyte."""
MOST_ENTRIES = 100_000
"""Of one list, and of the file names."""
MOST_SKIPPED = 40
"""Elements of one list that get a sentence of their own."""
_LONGEST_TEXT = 4096
_LARGEST_NUMBER = 1e9
_DEEPEST = 32
_LONGEST_COMPARED = 200
"""Characters of a name that is looked at for suggestions, which takes the square of that."""


def capital(kind: str) -> str:
    """A kind of file at the beginning of a sentence."""
    return kind[:1].upper() + kind[1:]


_KEYWORD = re.compile(r"<([^<>\s][^<>]*)>")


@dataclass(frozen=True)
class Entry:
    """One specification. `specification` is the JSON object exactly as the server sent it; it goes back unchanged."""

    kind: str
    file: str
    name: str
    version: str
    specification: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def modifier(self) -> str:
        """How a model uses its input image, or which hint a control takes; "none" when nothing is said."""
        return str(self.specification.get("modifier") or "none")

    @property
    def default_scale(self) -> int | None:
        """Usual canvas side of a model in units of 64 px."""
        value = self.specification.get("default_scale")
        return value if isinstance(value, int) and value > 0 else None


@dataclass(frozen=True)
class Catalog:
    """Entries by file name for each kind, and every file name listed.

    browsing: whether the server lists anything at all. skipped: elements that could not be understood, one sentence each.
    """

    entries: Mapping[str, Mapping[str, Entry]]
    files: tuple[str, ...] = ()
    browsing: bool = False
    server_identifier: int = 0
    skipped: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> Catalog:
        """The catalogue of a server that lists nothing."""
        return cls({kind: {} for kind in SECTIONS})

    @classmethod
    def from_echo(cls, reply: messages.EchoReply) -> Catalog:
        """Parse an EchoReply. Elements that are no specification are skipped and named in `skipped`, as the server does."""
        skipped: list[str] = []
        entries = {kind: _parse_section(kind, getattr(reply.override, name), skipped) for kind, name in SECTIONS.items()}
        return cls(
            entries,
            tuple(dict.fromkeys(islice(reply.files, MOST_ENTRIES))),
            bool(reply.files) or reply.HasField("override"),
            reply.serverIdentifier,
            tuple(skipped),
        )

    @classmethod
    def united(cls, catalogs: Sequence[Catalog]) -> Catalog:
        """What several servers have, as one catalogue; of a file that several describe, the first one's entry."""
        if len(catalogs) == 1:
            return catalogs[0]
        entries = {kind: {file: entry for one in reversed(catalogs) for file, entry in one.entries[kind].items()} for kind in SECTIONS}
        files = tuple(dict.fromkeys(file for one in catalogs for file in one.files))
        return cls(entries, files, any(one.browsing for one in catalogs))

    def find(self, kind: str, file: str | None) -> Entry | None:
        """The entry of a file, or None when the server did not describe it."""
        return self.entries[kind].get(file or "")

    def modifying(self, configuration: Configuration) -> Entry | None:
        """What says how the input image is used: the model, else the first LoRA that lends it a modifier; None: nothing does."""
        lenders = [self.find("model", configuration["model"]), *(self.find("LoRA", lora["file"]) for lora in configuration["loras"])]
        return next((entry for entry in lenders if entry is not None and entry.modifier != "none"), None)

    @property
    def describes(self) -> bool:
        """Whether the server describes its files: one with browsing off lists nothing, and a proxy names them only."""
        return bool(self.entries["model"])

    def kind_of(self, file: str) -> str | None:
        """The kind that a file is described as, or None."""
        return next((kind for kind, section in self.entries.items() if file in section), None)

    def suggestions(self, kind: str, file: str) -> list[str]:
        """Up to three files of this kind whose file or display name resembles `file`."""
        section = self.entries.get(kind, {})  # face restoration models are in no catalogue
        names = {**{entry.name.casefold(): entry.file for entry in section.values()}, **{key.casefold(): key for key in section}}
        compared = (name for name in names if len(name) <= _LONGEST_COMPARED)
        close = difflib.get_close_matches(file[:_LONGEST_COMPARED].casefold(), compared, n=6, cutoff=0.7)
        return list(dict.fromkeys(names[match] for match in close))[:3]

    def keywords_in(self, prompts: Iterable[str], configuration: Configuration) -> list[Entry]:
        """Textual inversions that the prompts name as <keyword>.

        Of several with one keyword that of a loaded LoRA wins, else the last one registered; those of the model's family go first.
        """
        model, loras = self.find("model", configuration["model"]), {lora["file"] for lora in configuration["loras"]}
        version = model.version if model is not None else ""
        registered = sorted(self.entries["textual inversion"].values(), key=lambda entry: (entry.version == version, entry.file in loras))
        by_keyword = {str(entry.specification.get("keyword", "")).casefold(): entry for entry in registered}
        found = [by_keyword.get(match.strip().casefold()) for prompt in prompts for match in _KEYWORD.findall(prompt)]
        return list({entry.file: entry for entry in found if entry is not None}.values())

    def override(self, configuration: Configuration, keywords: Iterable[Entry] = ()) -> messages.MetadataOverride:
        """Specifications of everything that a request names, as the official clients send them, unchanged."""
        models: list[Entry] = []
        for file in (configuration["model"], configuration["refiner_model"]):
            entry = self.find("model", file)
            if entry is not None:
                named = entry.specification.get("stage_models")
                stages = [self.find("model", stage) for stage in named if isinstance(stage, str)] if isinstance(named, list) else []
                models += [entry, *(stage for stage in stages if stage is not None)]
        sections = {
            "model": models,
            "LoRA": [self.find("LoRA", lora["file"]) for lora in configuration["loras"]],
            "control": [self.find("control", control["file"]) for control in configuration["controls"]],
            "textual inversion": list(keywords),
            "upscaler": [self.find("upscaler", configuration["upscaler"])],
        }
        override = messages.MetadataOverride()
        for kind, found in sections.items():
            unique = {entry.file: entry.specification for entry in found if entry is not None}
            if unique:
                text = json.dumps(list(unique.values()), sort_keys=True, separators=(",", ":"))
                setattr(override, SECTIONS[kind], text.encode("ascii"))
        return override


def _parse_section(kind: str, data: bytes, skipped: list[str]) -> dict[str, Entry]:
    if not data:
        return {}
    if len(data) > LARGEST_SECTION:
        skipped.append(f"The server's list of {kind}s was left out: it has {len(data) >> 20} MB, which no collection comes to.")
        return {}
    try:
        elements = json.loads(data)
    except (ValueError, RecursionError) as error:
        skipped.append(f"The server's list of {kind}s is not JSON ({error}).")
        return {}
    if not isinstance(elements, list):
        skipped.append(f"The server's list of {kind}s is not a list.")
        return {}
    section: dict[str, Entry] = {}
    left_out: list[str] = []
    for element in islice(elements, MOST_ENTRIES):
        entry = _parse_entry(kind, element)
        if isinstance(entry, str):
            left_out.append(entry)
        elif element.get("remote_api_model_config"):
            left_out.append(f"The {kind} {short(entry.name)} was left out: it runs on a web service, not on this server.")
        else:
            section.setdefault(entry.file, entry)
    more = len(left_out[MOST_SKIPPED:]) + len(elements[MOST_ENTRIES:])
    skipped += left_out[:MOST_SKIPPED] + [f"And {more} more {kind}s were left out."] * (more > 0)
    return section


def _parse_entry(kind: str, element: Any) -> Entry | str:
    """The entry, or why it was left out."""
    if not isinstance(element, dict):
        return f"An element of the server's list of {kind}s was left out: it is no description."
    needed = {
        "file": element.get("file"),
        "name": element.get("name"),
        "version": element.get("version", "" if kind == "upscaler" else None),
    }
    known = next((short(value) for value in needed.values() if isinstance(value, str) and value), "without a name")
    missing = [key for key, value in needed.items() if not isinstance(value, str) or (key == "file" and not value)]
    if missing:
        return f"The {kind} {known} was left out: the server does not tell its {' and '.join(missing)}."
    strange = [key for key, fits in _FORMS.items() if element.get(key) is not None and not fits(element[key])]
    if strange or deeper_than(_DEEPEST, element):
        return f"The {kind} {known} was left out: its {' and '.join(strange) or 'description'} is not what Draw Things writes."
    return Entry(kind, needed["file"], needed["name"] or needed["file"], needed["version"], element)


_SURROGATE = re.compile("[\ud800-\udfff]")


def _is_text(value: Any) -> bool:
    """One that fits into a message: JSON can have halves of characters."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and _SURROGATE.search(value) is None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER


_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("file", "name", "version", "modifier", "type", "prefix", "keyword", "preprocessor"), _is_text),
    **dict.fromkeys(("default_scale", "frames_per_second", "scale_factor"), _is_number),
}
"""What we read of a specification and cannot do without, where it is there and not null. Another form of `stage_models` or of
`alternative_decoder_version` is taken for none, and goes back as it came: a newer server may know it.
"""
