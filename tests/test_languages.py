"""Every word that a user reads in ComfyUI is there in every language, and says the same."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import comfyui_drawthings
import pytest

ROOT = Path(comfyui_drawthings.__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))
import _help  # noqa: E402
import _sentences  # noqa: E402
import _words  # noqa: E402

needs_node_js = pytest.mark.skipif(_words.node_js() is None, reason="needs Node.js")
LARGEST_PICTURE = 60_000
"""Bytes."""
ALL = (_words.ENGLISH, *_words.LANGUAGES)


def contents(language: str) -> dict[str, dict]:
    return {name: json.loads((ROOT / "locales" / language / f"{name}.json").read_text(encoding="utf-8")) for name in _words.FILES}


def leaves(place: object, path: tuple[str, ...] = ()):
    """Path and text of every text in a locale file."""
    if isinstance(place, dict):
        for key, value in place.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, place


@needs_node_js
def test_english_is_what_nodes_and_extension_say():
    assert contents(_words.ENGLISH) == _words.locale_files(None)


@needs_node_js
@pytest.mark.parametrize("language", _words.LANGUAGES)
def test_a_language_is_complete(language):
    """Nothing untranslated, nothing left of an English that has changed, no placeholder, code or number lost."""
    translation = _words.Translation(language)
    assert contents(language) == _words.locale_files(translation)
    path = _words.SENTENCES / f"{language}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == _words.sentence_file(translation), (
        f"{path.name} is stale: run scripts/make_locales.py"
    )
    for path, text in _help.pages(translation):
        assert path.read_text(encoding="utf-8") == text, f"{path.name} of {path.parent.name} is stale: run scripts/make_help.py"
    assert (translation.missing(), translation.stale(), translation.faults()) == ([], [], [])


@needs_node_js
@pytest.mark.parametrize("english", ["Importance", "Controls"])
def test_the_name_of_a_setting_without_an_input_is_missed_too(english):
    translation = _words.Translation(_words.LANGUAGES[0])
    del translation.sections["texts"][english]
    _words.sentence_file(translation)
    assert translation.missing() == [("texts", english)]


def test_what_is_said_of_a_picture_is_translated():
    page = "![A list](pictures/list.png)\n\nText."
    assert list(_help._translated(page, str.upper)) == ["![A LIST](pictures/list.png)", "", "TEXT."]


def test_english_help_pages_are_what_the_definitions_say():
    for path, text in _help.pages(None):
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run scripts/make_help.py"


def test_no_page_is_left_of_a_node_that_is_gone():
    expected = {path for language in (None, *map(_words.Translation, _words.LANGUAGES)) for path, _ in _help.pages(language)}
    assert {path for path in _help.DOCS.rglob("*") if path.suffix in (".md", ".svg")} == expected


def test_every_page_shows_its_node():
    """In the folder that ComfyUI's help panel resolves relative addresses in, small, and drawn without a fault."""
    for node_id in comfyui_drawthings.NODE_CLASS_MAPPINGS:
        for page in (_help.DOCS / f"{node_id}.md", *(_help.DOCS / node_id).glob("*.md")):
            shown = re.findall(r"!\[.+\]\((\S+)\)", page.read_text(encoding="utf-8"))
            assert shown, page
            for address in shown:
                picture = _help.DOCS / address
                assert picture.stat().st_size < LARGEST_PICTURE
                if picture.suffix == ".svg":
                    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.parametrize("language", ALL)
def test_every_language_has_the_same_keys_and_no_empty_text(language):
    texts = {name: dict(leaves(rows)) for name, rows in contents(language).items()}
    assert {name: rows.keys() for name, rows in texts.items()} == {
        name: dict(leaves(rows)).keys() for name, rows in contents(_words.ENGLISH).items()
    }
    assert all(text.strip() for rows in texts.values() for text in rows.values())


@pytest.mark.parametrize("language", ALL)
def test_nothing_that_comfyui_shows_is_an_instruction_to_its_translations(language):
    """vue-i18n reads { } @ and | in what it is given; only our own messages, which it never shows, have placeholders."""
    for name, rows in contents(language).items():
        for path, text in leaves(rows):
            assert path[0] == _words.OURS or not re.search(r"[{}@|]", text), (name, path, text)


class TestTheCheckItself:
    """A translation with every fault there is, to see that each is found."""

    @pytest.fixture
    def translation(self, tmp_path, monkeypatch):
        monkeypatch.setattr(_words, "TRANSLATIONS", tmp_path)
        rows = {
            "inputs": {"steps": "步数", "DrawThingsA.steps": "别的步数"},
            "texts": {"One step.": "一步。", "Two {count} steps.": "两步。", "One step. And a whole.": "整体。", "Gone.": "没了。"},
        }
        (tmp_path / "zh.json").write_text(json.dumps(rows), encoding="utf-8")
        return _words.Translation("zh")

    def text(self, translation, text):
        return translation.of(_words.Word("texts", text, text))

    def test_sentences_are_translated_once_and_a_whole_text_wins(self, translation):
        assert self.text(translation, "One step. One step.") == "一步。一步。"
        assert self.text(translation, "One step. And a whole.") == "整体。"
        assert self.text(translation, "One step. New words.") == "一步。New words."

    def test_a_name_has_one_word_but_where_a_node_needs_another(self, translation):
        assert translation.of(_words.Word("inputs", "DrawThingsB.steps", "steps")) == "步数"
        assert translation.of(_words.Word("inputs", "DrawThingsA.steps", "steps")) == "别的步数"

    def test_missing_stale_and_damaged_translations_are_found(self, translation):
        for text in ("One step.", "Two {count} steps.", "New words."):
            self.text(translation, text)
        assert translation.missing() == [("texts", "New words.")]
        assert ("texts", "Gone.") in translation.stale()
        assert len(translation.faults()) == 1
        assert "{count}" in translation.faults()[0]

    def test_what_is_written_has_what_is_missing_and_lacks_what_is_stale(self, translation):
        for text in ("New words.", "One step."):
            self.text(translation, text)
        assert json.loads(translation.text())["texts"] == {"New words.": "", "One step.": "一步。"}

    def test_a_sentence_of_the_back_end_keeps_its_values(self, translation):
        translation.sections["sentences"] = {
            "{0} is {1}.": "{0}为。",
            "Say 'drawthings-servers forget {0}'.": "“drawthings-servers forget {0}”。",
        }
        for text in translation.sections["sentences"]:
            translation.of(_words.Word("sentences", text, text))
        assert [fault.partition(" and ")[0] for fault in translation.faults()] == ["'{0} is {1}.'"]


class TestTemplatesOfTheSource:
    def said(self, source):
        return list(_sentences.said(ast.parse(source)))

    def test_values_have_numbers_and_neighbours_are_one(self):
        assert self.said("f'The server at {address} has {number}{unit}.'") == ["The server at {0} has {1}."]
        assert self.said("'port {port} of it'.format(port=1)") == ["port {0} of it"]

    def test_names_of_files_and_models_are_marked(self):
        assert self.said("f'The {kind} {file} is {short(file)} now'") == ["The {0} {f1} is {2} now"]
        assert self.said("f'It is {file}{address} now'") == ["It is {f0} now"]
        assert _sentences.without_files("{0} {f1} {n2}") == "{0} {1} {n2}"

    def test_a_choice_between_texts_makes_two_templates(self):
        assert self.said("""f'It was {"good" if one else f"bad at {two}"} today'""") == ["It was good today", "It was bad at {0} today"]

    def test_texts_inside_values_are_found(self):
        assert self.said("""f'It is {say("so it is")} now'""") == ["It is {0} now", "so it is"]

    def test_docstrings_tooltips_the_log_names_and_commands_are_none(self):
        source = """'Says what it does.'\ndict(tooltip='what it is for')\n_log.debug('it is %s', 1)\nx = ['LoRA Stack', 'one', 'gRPCServerCLI here']"""
        assert self.said(source) == []
