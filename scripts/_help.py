"""The help pages of the nodes: web/docs/<node>.md, and for every language web/docs/<node>/<language>.md; their pictures in web/docs/pictures.

What stands in web/docs/<node>.md above MARKER is written by hand in English; the tables and errors below it come from the node's definition. The pages of a
language are the same page in its words, those in English included: ComfyUI asks for the language's page first, and one that is missing is an
error in the browser's console. Links between pages are for readers of the repository; ComfyUI's help panel cannot follow them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _words
from _node_picture import picture
from comfyui_drawthings.drawthings_core.error_help import HELP, anchor  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, possible_errors  # pyright: ignore[reportMissingImports]

DOCS = _words.ROOT / "web" / "docs"
MARKER = "<!-- Below: written by scripts/make_help.py from the node's definition -->"

Say = Callable[[str], str]
"""English to the page's language."""

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]+\)")
_PICTURE = re.compile(r"^!\[[^\]]*\]\(pictures/\w+\.svg\)\n\n?", re.M)
_SHOWN = re.compile(r"!\[(.*)\]\((.*)\)")
_ITEM = re.compile(r"(\s*(?:[-*]|\d+\.) )(.*)")


def pages(translation: _words.Translation | None) -> Iterator[tuple[Path, str]]:
    """Path and text of every page of a language and of its picture: without a translation, of the sources and the English pages."""
    for node_id, node in NODE_CLASS_MAPPINGS.items():
        source = DOCS / f"{node_id}.md"
        by_hand = source.read_text(encoding="utf-8").partition(MARKER)[0].rstrip()
        drawn = f"pictures/{node_id}.svg" if translation is None else f"pictures/{node_id}.{translation.language}.svg"
        yield DOCS / drawn, _picture(node_id, node, translation)
        by_hand = _with_picture(by_hand, drawn)
        if translation is None:
            english = f"{by_hand}\n\n{MARKER}\n\n{tables(node_id, node)}"
            yield source, english
            yield DOCS / node_id / f"{_words.ENGLISH}.md", _LINK.sub(r"**\1**", english).replace(f"{MARKER}\n\n", "")
        else:
            text = "\n".join(_translated(_LINK.sub(r"**\1**", by_hand), lambda text: translation.of(_words.Word("pages", text, text))))
            yield DOCS / node_id / f"{translation.language}.md", f"{text}\n\n{tables(node_id, node, translation)}"


def _picture(node_id: str, node: Any, translation: _words.Translation | None) -> str:
    def say(section: str, english: str) -> str:
        return english if translation is None else translation.of(_words.Word(section, f"{node_id}.{english}", english))

    return picture(node_id, node, say("texts", NODE_DISPLAY_NAME_MAPPINGS[node_id]), say)


def _with_picture(page: str, drawn: str) -> str:
    """The page with the picture of its node between title and text."""
    title, text = _PICTURE.sub("", page).split("\n", 1)
    return f"{title}\n\n![{title.removeprefix('# ')}]({drawn})\n\n{text.lstrip()}"


def tables(node_id: str, node: Any, translation: _words.Translation | None = None) -> str:
    """Markdown tables of a node class's inputs and outputs, and its errors."""

    def say(text: str, **values: object) -> str:
        said = text if translation is None else translation.of(_words.Word("texts", text, text))
        return said.format(**values) if values else said

    def name(section: str, given: str) -> str:
        if translation is None:
            return f"`{given}`"
        label = translation.of(_words.Word(section, f"{node_id}.{given}", given))
        return f"`{given}`" if label == given else f"{label} `{given}`"

    definition = node.INPUT_TYPES()
    rows = [f"## {say('Inputs')}", "", f"| {say('input')} | {say('type')} | {say('what it does')} |", "|---|---|---|"]
    for section in ("required", "optional"):
        for given, (kind, options) in definition.get(section, {}).items():
            sort = _kind(kind, options, say)
            sort = say("{type}, optional", type=sort) if section == "optional" else sort
            rows.append(f"| {name('inputs', given)} | {sort} | {_cell(say(options['tooltip']))} |")
    if node.RETURN_TYPES:
        rows += ["", f"## {say('Outputs')}", "", f"| {say('output')} | {say('type')} | {say('what it is')} |", "|---|---|---|"]
    rows += [
        f"| {name('outputs', given)} | {kind} | {_cell(say(tooltip))} |"
        for given, kind, tooltip in zip(node.RETURN_NAMES, node.RETURN_TYPES, node.OUTPUT_TOOLTIPS, strict=True)
    ]
    return "\n".join([*rows, "", *_errors(node_id, node, say)]) + "\n"


def _errors(node_id: str, node: Any, say: Say) -> Iterator[str]:
    """A section for each error that a node may show; the browser extension's notices lead to their anchors."""
    yield f"## {say('Errors')}"
    possible = possible_errors.of(node_id, node)
    for kind, told in HELP.items():
        if kind in possible:
            yield from ("", f'### <a id="{anchor(kind.__name__)}"></a>{say(told.title)}')
            yield from ("", say(told.meaning), "", f"**{say('What to do:')}** {say(told.remedy)}")


def _kind(kind: Any, options: dict[str, Any], say: Callable[..., str]) -> str:
    if options.get("image_upload"):
        return say("picture")
    if isinstance(kind, list):
        return say("file on the server") if _words.is_server_file(options) else say("choice")
    if kind in ("INT", "FLOAT"):
        values = {"least": f"{options['min']:g}", "most": _plain(options["max"]), "default": f"{options['default']:g}"}
        return say(
            "whole number {least} to {most}, default {default}" if kind == "INT" else "number {least} to {most}, default {default}",
            **values,
        )
    if kind == "BOOLEAN":
        return say("switch, default on") if options["default"] else say("switch, default off")
    return say("text") if kind == "STRING" else kind


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _translated(markdown: str, say: Say) -> Iterator[str]:
    """The lines of a page in another language. A table's first column stays below its heading, since it quotes messages; so does code."""
    blocks = list(_blocks(markdown))
    for block, following in zip(blocks, [*blocks[1:], [""]], strict=True):
        first = block[0]
        heading, item, shown = re.fullmatch(r"(#+ )(.*)", first), _ITEM.fullmatch(first), _SHOWN.fullmatch(first)
        if not first or first.startswith(("```", "|---")):
            yield from block
        elif shown:
            yield f"![{say(shown[1])}]({shown[2]})"
        elif heading:
            yield heading[1] + say(heading[2])
        elif first.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", first)[1:-1]]
            quoted = 0 if following[0].startswith("|---") else 1
            yield f"| {' | '.join(cells[:quoted] + [cell and say(cell) for cell in cells[quoted:]])} |"
        elif item:
            yield item[1] + say(" ".join([item[2], *(line.strip() for line in block[1:])]))
        else:
            yield say(" ".join(line.strip() for line in block))


def _blocks(markdown: str) -> Iterator[list[str]]:
    """Lines that belong together: a paragraph, an item with the lines that go on from it, a piece of code, or any other line alone."""
    block: list[str] = []
    code = False
    for line in markdown.splitlines():
        code_begins_or_ends = line.strip().startswith("```")
        alone = not line or line.startswith(("#", "|", "![")) or _ITEM.fullmatch(line) or (code_begins_or_ends and not code)
        if alone and not code and block:
            yield block
            block = []
        block.append(line)
        if code_begins_or_ends:
            code = not code
        if not code and (not line or line.startswith(("#", "|", "![")) or (code_begins_or_ends and not code)):
            yield block
            block = []
    if block:
        yield block
