"""The app's configuration JSON (dialect A of config_json.md: "Copy configuration", presets, scripts).

Reading takes partial documents: what a document does not name is left alone. Writing gives every key that the app's strict
decoder asks for. The two other JSON forms that look alike (HTTP API body, PNG metadata) are told apart by name.
"""

from __future__ import annotations

import json
import math
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import InvalidInput, InvalidSetting
from .options import Options
from .records import Configuration, Record, check
from .table import CONFIGURATION, Kind, Setting

_HTTP_ONLY = frozenset(["prompt", "cfg_scale", "sampler_name", "sampler_index", "init_images", "denoising_strength", "n_iter", "enable_hr"])
_HTTP_KEYS = _HTTP_ONLY | {row.input_name for row in CONFIGURATION.values() if row.input_name != row.json_key}
_PNG_KEYS = frozenset(["c", "uc", "v2", "scale", "size"])
_CLAMPED: dict[str, tuple[float, float]] = {
    "batch_count": (1, 2**32 - 1),
    "batch_size": (1, 4),
    "compression_artifacts_quality": (0, 100),
}
"""Values that the app brings into range instead of refusing them."""

LARGEST_TEXT = 8 << 20
"""Characters. A configuration has a few thousand, the info of a thousand pictures a few hundred thousand."""
_MOST_RECORDS = 1000
_MOST_NAMED = 10  # unknown keys that get a sentence of their own
_LONGEST_KEY = 60  # characters that are shown
_LONGEST_NUMBER = 400  # digits; a float has 309

_WORDS: dict[Kind, str] = {Kind.integer: "a whole number", Kind.number: "a number", Kind.text: "text", Kind.switch: "true or false"}


class Imported(NamedTuple):
    """Checked settings by field name, only those that the document gave, and what is worth telling the user."""

    settings: dict[str, Any]
    notes: list[str]

    def configuration(self, base: Configuration | None = None) -> Configuration:
        """The settings over `base`, or over the app's defaults."""
        return (base or Configuration()).updated(self.settings)


def read(document: str | Mapping[str, Any], draw_seed: bool = True, lenient: bool = False) -> Imported:
    """Parse a complete or partial configuration. Raises InvalidInput for what is not one, InvalidSetting for a bad value.

    draw_seed: whether a negative seed becomes a random one here, or is left out. lenient: bad values are left out and noted.
    """
    parsed = parse(document) if isinstance(document, str) else document
    if not isinstance(parsed, Mapping):
        raise InvalidInput('A Draw Things configuration is a JSON object, such as {"steps": 20}.')
    notes: list[str] = []
    if isinstance(parsed.get("configuration"), Mapping):  # a preset keeps its name beside the configuration
        if isinstance(parsed.get("negative"), str) and parsed["negative"].strip():
            notes.append(f"The preset goes with the negative prompt: {parsed['negative'].strip()}")
        parsed = parsed["configuration"]
    _refuse_other_dialects(parsed)
    if not lenient:
        _refuse_anything_else(parsed)
    seed = parsed.get("seed")
    if not draw_seed and isinstance(seed, int) and not isinstance(seed, bool) and seed < 0:
        notes.append(f"seed was {seed}, which means random: the seed is left to the node that generates.")
        parsed = {key: value for key, value in parsed.items() if key != "seed"}
    imported = _read_record(Configuration, parsed, "", lenient)
    return Imported(imported.settings, notes + imported.notes)


class _Document(dict[str, Any]):
    """A JSON object that knows which of its keys came more than once. The last value counts."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        self.repeated = [] if len(pairs) == len(self) else [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]


def parse(text: str) -> Any:
    """The JSON value. Raises InvalidInput."""
    if len(text) > LARGEST_TEXT:
        raise InvalidInput(
            f"This text has {len(text) / 2**20:.0f} MiB, which no configuration has: copy the configuration in Draw Things again."
        )
    try:
        return json.loads(text.lstrip("\ufeff"), parse_int=_whole_number, object_pairs_hook=_Document)
    except RecursionError as error:
        raise InvalidInput("This JSON is nested too deeply for a configuration: copy the configuration in Draw Things again.") from error
    except ValueError as error:
        raise InvalidInput(f"This is not JSON ({error}): copy the configuration in Draw Things again.") from error


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else math.copysign(math.inf, -1 if digits.startswith("-") else 1)


def is_picture_metadata(document: Any) -> bool:
    """Whether this is the JSON inside a picture (dialect C) rather than a configuration: see `metadata`."""
    return isinstance(document, Mapping) and not _PNG_KEYS.isdisjoint(document)


def _refuse_other_dialects(document: Mapping[str, Any]) -> None:
    keys = set(document)
    if is_picture_metadata(document):
        raise InvalidInput(
            'This is the metadata of a Draw Things picture, not a configuration: paste what its "v2" entry holds, or copy the '
            "configuration in the app."
        )
    if keys & _HTTP_KEYS:
        raise InvalidInput(
            "This is a body for the app's HTTP API (snake_case keys), not a configuration: copy the configuration in the app."
        )


def _named(key: str) -> str:
    """A key as a sentence can have it."""
    shown = key if key.isprintable() else ascii(key)
    return shown if len(shown) <= _LONGEST_KEY else f"{shown[:_LONGEST_KEY]}…"


def _refuse_anything_else(document: Mapping[str, Any]) -> None:
    """Raise InvalidInput for an object without a single setting, such as a ComfyUI workflow."""
    if document and not any(row.json_key in document for row in CONFIGURATION.values() if row.in_json):
        keys = ", ".join(_named(key) for key in list(document)[:3])
        raise InvalidInput(
            f"This JSON has no setting of Draw Things (its keys are {keys}{', ...' * (len(document) > 3)}): copy the configuration in the app."
        )


def _read_record(record_class: type[Record], document: Mapping[str, Any], where: str, lenient: bool) -> Imported:
    rows = {row.json_key: row for row in record_class.ROWS.values() if row.in_json}
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for key in document.repeated if isinstance(document, _Document) else ():
        notes.append(f"{where}{_named(key)} is there more than once; the last value counts.")
    unknown = [key for key in document if key not in rows]
    notes += [f"{where}{_named(key)} is not a Draw Things setting and was ignored." for key in unknown[:_MOST_NAMED]]
    if len(unknown) > _MOST_NAMED:
        notes.append(f"{where}{len(unknown) - _MOST_NAMED} more keys are not Draw Things settings and were ignored.")
    for key, raw in document.items():
        row = rows.get(key)
        if row is None:
            continue
        try:
            settings[row.name] = _read_value(record_class, row, raw, f"{where}{key}", notes, lenient)
        except InvalidSetting as error:
            if not lenient:
                raise
            notes.append(f"{error} It was left out.")
    return Imported(settings, notes)


def _read_value(record_class: type[Record], row: Setting, raw: Any, where: str, notes: list[str], lenient: bool) -> Any:
    if raw is None:
        if not row.optional:
            raise InvalidSetting(where, None, f"{_WORDS.get(row.kind) or f'a list of {row.label}'}, or leave the key out")
        return row.default
    inner = record_class.RECORDS.get(row.name)
    if inner is not None:
        return _read_list(inner, row, raw, where, notes, lenient)
    if row.name == "seed" and isinstance(raw, int) and not isinstance(raw, bool) and raw < 0:
        notes.append(f"{where} was {raw}, which means random: a seed was drawn.")
        return secrets.randbits(32)
    if row.kind is Kind.switch and not isinstance(raw, bool):
        raise InvalidSetting(where, raw, "true or false")
    if row.kind is Kind.choice:
        return _read_choice(row, raw, where, notes)
    value = raw
    if row.kind is Kind.integer and isinstance(raw, int) and not isinstance(raw, bool):
        value = raw - raw % row.multiple
    if row.name in _CLAMPED and isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = _CLAMPED[row.name]
        value = min(max(value, type(value)(low)), type(value)(high))
    try:
        value = check(row, value)
    except InvalidSetting as error:
        raise InvalidSetting(where, raw, error.allowed) from error
    if row.multiple > 1 and value != raw:
        notes.append(f"{where} was {raw} and became {value}: sizes are multiples of {row.multiple}.")
    return value


def _read_list(inner: type[Record], row: Setting, raw: Any, where: str, notes: list[str], lenient: bool) -> tuple[Record, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, Mapping) for item in raw):
        raise InvalidSetting(where, raw, f"a list of {row.label}")
    if len(raw) > _MOST_RECORDS:
        raise InvalidSetting(where, f"a list of {len(raw)}", f"a list of at most {_MOST_RECORDS} {row.label}")
    records = []
    for number, item in enumerate(raw, 1):
        part = _read_record(inner, item, f"{where} {number}: ", lenient)
        notes.extend(part.notes)
        records.append(inner(part.settings))
    return tuple(records)


def _read_choice(row: Setting, raw: Any, where: str, notes: list[str]) -> Any:
    """Sampler and seed mode are integers in this dialect, the others words; an unknown word means the default."""
    assert row.choice is not None
    wordy = next(iter(row.choice)).json is not None
    if wordy and isinstance(raw, str):
        member = row.choice.parse(raw)
        if member is None:
            notes.append(f"{where} was {raw!r}, which Draw Things does not know; the default is used.")
            return row.default
        return member
    member = row.choice.parse(raw) if not wordy and isinstance(raw, (int, float)) else None
    if isinstance(raw, str) and (meant := row.choice.parse(raw)) is not None:
        raise InvalidSetting(where, raw, f"its number here, {int(meant)}: words are of the app's HTTP API and of pictures' metadata")
    if member is None:
        words = ", ".join(repr(choice.json) if wordy else f"{int(choice)} ({choice.label})" for choice in row.choice)
        raise InvalidSetting(where, raw, f"one of {words}")
    return member


def write(configuration: Configuration) -> dict[str, Any]:
    """The complete document, which the app can paste; absent text is an empty string, as the app writes it."""
    return _write_record(configuration)


def write_some(options: Options) -> dict[str, Any]:
    """A partial document of just these settings."""
    return _write_values(Configuration, options)


def dumps(configuration: Configuration | Options) -> str:
    """`write` or `write_some` as indented JSON text."""
    document = write(configuration) if isinstance(configuration, Configuration) else write_some(configuration)
    return json.dumps(document, indent=2, ensure_ascii=False)


def _write_record(record: Record) -> dict[str, Any]:
    return _write_values(type(record), record)


def _write_values(record_class: type[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, row in record_class.ROWS.items():
        if not row.in_json or name not in values:
            continue
        value = values[name]
        if row.kind is Kind.records:
            value = [_write_record(item) for item in value]
        elif row.kind is Kind.names:
            value = list(value)
        elif row.kind is Kind.choice:
            value = int(value) if value.json is None else value.json
        elif row.kind is Kind.text and value is None:
            value = ""
        document[row.json_key] = value
    return document
