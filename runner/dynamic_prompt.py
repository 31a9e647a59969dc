"""{this|that} in a prompt: one of them is drawn, and comments go, as ComfyUI's frontend does before it sends a prompt."""

from __future__ import annotations

import random
import re

_COMMENT = re.compile(r"/\*[\s\S]*?\*/|//.*")
_ESCAPED = re.compile(r"\\([{}|])")


def resolve(text: str, chance: random.Random) -> str:
    """The text with every choice made; \\{, \\| and \\} stand for themselves."""
    return _ESCAPED.sub(r"\1", _resolved(_COMMENT.sub("", text), chance))


def _resolved(text: str, chance: random.Random) -> str:
    out: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == "{":
            choices, position = _choices(text, position + 1)
            out.append(_resolved(chance.choice(choices), chance))
        else:
            width = 2 if text[position] == "\\" else 1
            out.append(text[position : position + width])
            position += width
    return "".join(out)


def _choices(text: str, position: int) -> tuple[list[str], int]:
    """The alternatives of the block whose opening brace is before `position`, and where it ends."""
    choices = [""]
    depth = 0
    while position < len(text):
        width = 2 if text[position] == "\\" else 1
        piece = text[position : position + width]
        position += width
        if piece == "}" and depth == 0:
            break
        if piece == "|" and depth == 0:
            choices.append("")
            continue
        depth += {"{": 1, "}": -1}.get(piece, 0)
        choices[-1] += piece
    return choices, position
