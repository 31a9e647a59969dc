"""{this|that} in a prompt: one of them is drawn, and comments go, as ComfyUI's frontend does before it sends a prompt.

In one pass over the text each, without recursion: a shared workflow may hold a megabyte of braces.
"""

from __future__ import annotations

import random
import re
from typing import Any

_COMMENT = re.compile(r"/\*|//")
_PIECE = re.compile(r"\\.?|[{}|]|[^\\{}|]+", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")


def resolve(text: str, chance: random.Random) -> str:
    """The text with every choice made; \\{, \\| and \\} stand for themselves."""
    return _ESCAPED.sub(r"\1", _drawn(_blocks(_without_comments(text)), chance))


def _without_comments(text: str) -> str:
    """Comments end with the line or with */; without that, /* is text."""
    kept: list[str] = []
    last = text.rfind("*/")
    position = search = 0
    while found := _COMMENT.search(text, search):
        begin, search = found.span()
        if found[0] == "/*":
            if search > last:
                search = begin + 1
                continue
            end = text.index("*/", search) + 2
        else:
            end = text.find("\n", search)
            end = len(text) if end < 0 else end
        kept.append(text[position:begin])
        position = search = end
    return "".join([*kept, text[position:]])


def _blocks(text: str) -> list[Any]:
    """The text as a list of texts and, for each block in braces, a list of its alternatives, which are such lists themselves. The end of
    the text closes what is open.
    """
    here: list[Any] = []
    around: list[tuple[list[Any], list[Any]]] = []  # of each open block: the list that it stands in, and its alternatives
    for piece in _PIECE.findall(text):
        if piece == "{":
            alternatives: list[Any] = [[]]
            here.append(alternatives)
            around.append((here, alternatives))
            here = alternatives[0]
        elif piece == "|" and around:
            here = []
            around[-1][1].append(here)
        elif piece == "}" and around:
            here, _ = around.pop()
        else:
            here.append(piece)
    return around[0][0] if around else here


def _drawn(parts: list[Any], chance: random.Random) -> str:
    drawn: list[str] = []
    rest = parts[::-1]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            drawn.append(part)
        else:
            rest.extend(reversed(chance.choice(part)))
    return "".join(drawn)
