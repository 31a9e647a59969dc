"""The English sentences that the back end makes for the page: errors, notes, and what a test of a server says.

They are derived from the source: every string of more than one word in drawthings_core and nodes, but for docstrings, tooltips and what is listed
below. A template has "{0}", "{1}", ... where values go, in their order, "{n0}" for one that is a number, and "{f0}" for the name of a file or a
model, which is nobody's to translate; an f-string with a choice between two texts makes two templates. The page puts what it is told into the
user's language by them (web/rules/sentences.js); logs, the terminal and the outputs of nodes stay English.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from comfyui_drawthings.drawthings_core.catalog import FACE_RESTORATION, SECTIONS, capital  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, CONTROL, LORA  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("drawthings_core", "nodes")

ELSEWHERE = (
    "drawthings_core/configuration/choices.py",  # options of combos
    "drawthings_core/configuration/table.py",  # tooltips
    "drawthings_core/error_help.py",  # the help pages
    "drawthings_core/servers_cli.py",  # the terminal
    "drawthings_core/simulator/",
    "drawthings_core/stages.py",  # progress, which has keys
    "nodes/options.py",  # tooltips
)
"""Modules, and rooms, whose strings are no sentences of this kind, or have their translations elsewhere."""

OF_OTHERS = (
    "connection refused",
    "connection reset by peer",
    "connection timed out",
    "no route to host",
    "network is unreachable",
    "host is down",
    "certificate has expired",
    "self-signed certificate",
    "permission denied",
    "no such file or directory",
    "no space left on device",
    "read-only file system",
)
"""What systems and libraries often say inside our sentences."""

_IN_NAMES = ("and", "for", "from", "or", "to")
"""Words that are small in "Negative Prompt for Image Prior"."""

_NAMED = re.compile(r"\{\w+\}")
_FILE = re.compile(r"\{f(\d+)\}")

_A_VALUE, _A_FILE = "\0", "\1"
"""Where a value goes, until all are numbered."""

Part = str | ast.expr

FILES = frozenset(
    (
        "' or '.join(suggestions)",
        "', '.join(idle)",
        "_listed(choices)",
        "candidates[0].name",
        "configuration['model']",
        "configuration['upscaler']",
        "control['file']",
        "entry.name",
        "file",
        "files",
        "job.chosen_model",
        "job.model",
        "lender.name",
        "lora['file']",
        "model",
        "model.name",
        "modifying.name",
        "one.name",
        "outdone[0].name",
        "preset.refiner_model",
        "same[0].name",
        "self._file.name",
        "self.file",
        "self.name",
        "title",
    )
)
"""Values in the source that are names of files and models; short() has others between quotation marks."""

NOT_SAID = frozenset(
    (
        # decoding/pool.py, secret.py: errors for programmers
        "{0} float32 does not hold a picture of {1}",
        "{0} {1} {2} is not compressed here",
        "{0} is decoded in this process",
        "A shared secret is not pickled: it would be on a disk, or in another process.",
        "SealedBytes({0} bytes)",
        # hints.py, encodings.py: tooltips
        "near is bright",
        "white edges on black",
        "white strokes on black",
        "a drawn skeleton",
        "a normal map",
        "colours to follow, averaged over 64 px",
        "dark lines on white",
        "soft white edges on black",
        "a segmentation map",
        "a reference picture; see also Moodboard",
        "straight white lines on black",
        "any ready-made map",
        # widgets.py, generate.py, edit.py, hints.py: parts of tooltips
        ", in the image's proportions",
        "for servers that do not list theirs",
        "A further picture to refer to, at its own size: picture {0}, where every socket before it has one. A batch is several.",
        "{0} Separate them by commas or lines.",
        "{0} 'recommended' suits the model.",
        "Use the model that {0} names. Off: the model of Generate.",
        "Use width and height of {0}. Off: the size of Generate.",
        "Use the seed of {0}. Off: the seed of Generate. A random seed (-1) is always Generate's.",
        "How an image of another shape comes onto the canvas: {0} or {1}.",
        "fill, cut what stands over",
        "show all, black borders",
        "ignore the proportions",
        "show all and keep it, generate the borders from the prompt",
        "File name of {0} {1} that the list does not offer{2}. Wins over the list.",
        # response.py, spread.py: states
        "text encoded",
        "image encoded",
        "image decoded",
        "second pass image encoded",
        "second pass image decoded",
        "face restored",
        "image upscaled",
        "second pass sampled",
        "is being asked for its files",
        "takes runs",
        "failed, and may come back",
        "gets no run any more",
        # report.py: joined; see also()
        "{0}s ({1}):",
        "{0} {1}s",
        "prompt begins {!r}",
        "{} times",
        # elsewhere: namespaces, progress
        "http://www.w3.org/XML/1998/namespace lang",
        "{0} li",
        "{0} value",
        "The server reads {0} ({1} of {2})",
        "The server reads its own",
        "The server checks",
        "{0} {1}: {2} of {3}",
        "three channels, -1..1",
        "three channels, 0..1",
        "one channel, -1..1",
    )
)


def templates() -> list[str]:
    """Every template once, in the order of the source."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _modules()]
    # A template that two places make has a name wherever one of them has.
    found: dict[str, str] = {}
    for text in (*also(), *(text for tree in trees for text in said(tree))):
        plain = without_files(text)
        found[plain] = max(found.get(plain, plain), text, key=lambda one: len(_FILE.findall(one)))
    stale = NOT_SAID - found.keys()
    assert not stale, f"listed in NOT_SAID and not in the source: {sorted(stale)}"
    values = {ast.unparse(node.value) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FormattedValue)}
    assert values >= FILES, f"listed in FILES and not in the source: {sorted(FILES - values)}"
    return [text for plain, text in found.items() if plain not in NOT_SAID]


def without_files(template: str) -> str:
    """A template with "{0}" for "{f0}", as translations have it."""
    return _FILE.sub(r"{\1}", template)


def also() -> Iterator[str]:
    """What the source makes of single words, or by joining."""
    yield from ("{0}: {1}", "{0} or {1}", "{0} and {1}")
    for kind in (*SECTIONS, FACE_RESTORATION):
        yield kind
        yield f"{capital(kind)}s ({{n0}}):"
        yield from (f"{{n0}} {kind}", f"{{n0}} {kind}s")
    for row in (*CONFIGURATION.values(), *LORA.values(), *CONTROL.values()):
        yield from filter(None, (row.zero_means, row.needs_input))
    yield from ("{n0} file", "{n0} files", "refiner", "image", "mask", "text", "twice", "one", "now", "wide", "high", "unknown", "accepted")
    yield from ("Image {0}", "{0}, saying {1}")
    yield from OF_OTHERS


def _modules() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not path.relative_to(ROOT).as_posix().startswith(ELSEWHERE):
                yield path


def said(node: ast.AST) -> Iterator[str]:
    """Templates below a node of a module's tree, in the order of its lines."""
    if _is_silent(node):
        return
    variants = _variants(node)
    if variants is None:
        for child in ast.iter_child_nodes(node):
            yield from said(child)
        return
    for variant in variants:
        text = _template(variant)
        if not text.startswith("<"):  # XMP
            yield from filter(_is_said, text.split("\n"))
    for value in dict.fromkeys(part for variant in variants for part in variant if isinstance(part, ast.expr)):
        yield from said(value)


def _is_silent(node: ast.AST) -> bool:
    """Docstrings, tooltips, the log, names of threads, and types."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.FunctionDef):
        return node.name == "INPUT_TYPES"
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("DESCRIPTION", "OUTPUT_TOOLTIPS")
    if isinstance(node, ast.keyword):
        return node.arg in ("name", "thread_name_prefix", "tooltip")
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("_log.", "cast"))


def _variants(node: ast.AST) -> list[list[Part]] | None:
    """A text as words and values; several where it holds choices between texts. None for what is no text."""
    if isinstance(node, ast.Constant):
        return [[node.value]] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        pieces = [_variants(value) if isinstance(value, ast.Constant) else _of_value(value) for value in node.values]
        return [list(itertools.chain(*parts)) for parts in itertools.product(*(piece or [] for piece in pieces))]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _variants(node.left), _variants(node.right)
        return None if left is None or right is None else [one + other for one, other in itertools.product(left, right)]
    return None


def _of_value(value: ast.expr) -> list[list[Part]]:
    """A value of an f-string: itself, or the texts that it chooses between."""
    assert isinstance(value, ast.FormattedValue)
    if isinstance(value.value, ast.IfExp):
        body, other = _variants(value.value.body), _variants(value.value.orelse)
        if body is not None and other is not None:
            return body + other
    return [[value.value]]


def _template(parts: list[Part]) -> str:
    """Values one after the other count as one, and so does the "{name}" of a str.format."""
    numbers = itertools.count()

    def number(values: re.Match[str]) -> str:
        kind = "f" if _A_FILE in values[0] else ""
        return f"{{{kind}{next(numbers)}}}"

    marked = (
        _NAMED.sub(_A_VALUE, part) if isinstance(part, str) else _A_FILE if ast.unparse(part) in FILES else _A_VALUE for part in parts
    )
    return re.sub(f"[{_A_VALUE}{_A_FILE}]+", number, "".join(marked))


def _is_said(text: str) -> bool:
    """Whether it is more than a word, a name or a command."""
    words = re.findall(r"[A-Za-z]+(?:'\w+)?", re.sub(r"\{f?\d+\}", " ", text))
    small = [word.islower() for word in words if word not in _IN_NAMES]
    return " " in text.strip() and not text.startswith("gRPCServerCLI ") and (any(small) or (bool(words) and not small))
