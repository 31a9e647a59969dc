"""Checked, immutable values for the table's rows: Configuration, and the LoRAs and Controls inside it.

A record always has every field, in user units (pixels, enum members, tuples). Making one checks each value by its row and
raises InvalidSetting; rules that need more than one field are in `rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..errors import InvalidInput, InvalidSetting
from . import table
from .table import Kind, Setting

_LARGEST = 2.0**64
"""No field is wider; anything beyond is not even converted."""

RecordType = TypeVar("RecordType", bound="Record")


class Record(Mapping[str, Any]):
    """One FlatBuffers table as a mapping from field name to checked value; hashable, never modified."""

    ROWS: ClassVar[Mapping[str, Setting]]
    RECORDS: ClassVar[Mapping[str, type[Record]]] = {}
    """Classes of the fields that are lists of records."""

    def __init__(self, values: Mapping[str, Any] | None = None, **more: Any):
        """The app's defaults with `values` and `more` laid over them. Raises InvalidSetting."""
        defaults = {name: row.default for name, row in self.ROWS.items()}
        self._values = {**defaults, **self.checked({**(values or {}), **more})}
        self._settle()

    def _settle(self) -> None:
        """Make fields agree that say the same thing twice."""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Some of the fields, each in its canonical form. Raises InvalidSetting, InvalidInput for an unknown name."""
        for name in values:
            if name not in cls.ROWS:
                shown = name[:80] if isinstance(name, str) else type(name).__name__
                raise InvalidInput(f"{shown} is not a setting of a {cls.__name__}: see the table of settings for the names.")
        return {name: check(cls.ROWS[name], value, cls.RECORDS.get(name)) for name, value in values.items()}

    @classmethod
    def wire_default(cls: type[RecordType]) -> RecordType:
        """What a server assumes for an empty buffer. Not checked: it has 0 steps and no size."""
        record = cls.__new__(cls)
        record._values = {name: row.wire_default for name, row in cls.ROWS.items()}
        return record

    def updated(self: RecordType, values: Mapping[str, Any] | None = None, **more: Any) -> RecordType:
        """A copy with some values replaced."""
        return type(self)({**self._values, **(values or {}), **more})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values == other._values  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(tuple(self._values.values()))

    def __repr__(self) -> str:
        changed = {name: value for name, value in self._values.items() if value != self.ROWS[name].default}
        return f"{type(self).__name__}({changed})"


class LoRA(Record):
    """One LoRA: file, weight, mode."""

    ROWS = table.LORA


class Control(Record):
    """One ControlNet or adapter."""

    ROWS = table.CONTROL


class Configuration(Record):
    """Every generation setting; starts from what the app starts from."""

    ROWS = table.CONFIGURATION
    RECORDS = {"loras": LoRA, "controls": Control}

    def _settle(self) -> None:
        self._values["causal_inference_enabled"] = self._values["causal_inference"] > 0
        if not self._values["causal_inference_enabled"]:
            self._values["causal_inference_pad"] = 0


def check(row: Setting, value: Any, record: type[Record] | None = None) -> Any:
    """`value` in its canonical form, or InvalidSetting naming the row's label, the value and what is allowed."""
    if row.kind is Kind.switch:
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
            return bool(value)
        raise InvalidSetting(row.label, value, "true or false")
    if row.kind is Kind.choice:
        assert row.choice is not None
        member = row.choice.parse(value)
        if member is None:
            raise InvalidSetting(row.label, value, f"one of {', '.join(row.choice.labels())}")
        return member
    if row.kind is Kind.text:
        return _check_text(row, value)
    if row.kind is Kind.names:
        if not isinstance(value, (list, tuple)):
            raise InvalidSetting(row.label, value, "a list of names")
        return tuple(_check_text(row, name) or "" for name in value)
    if row.kind is Kind.records:
        assert record is not None
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
            raise InvalidSetting(row.label, value, f"a list of {row.label}")
        return tuple(record(item) for item in value)
    return _check_number(row, value)


def _check_text(row: Setting, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidSetting(row.label, value, "text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidSetting(row.label, ascii(value), "text without broken characters (lone surrogates)") from None
    if row.file_kind and (value in (".", "..") or any(part in value for part in "/\\\0")):
        # A server tests names as paths: "." is there for it.
        raise InvalidSetting(row.label, value, "a plain file name, without folders")
    return value


def _check_number(row: Setting, value: Any) -> int | float:
    allowed = allowed_numbers(row)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidSetting(row.label, value, allowed)
    if not isinstance(value, int) and not math.isfinite(value):
        raise InvalidSetting(row.label, value, allowed)
    if abs(value) > _LARGEST:
        raise InvalidSetting(row.label, "a number too large", allowed)
    if row.kind is Kind.integer:
        if value != int(value):
            raise InvalidSetting(row.label, value, allowed)
        value = int(value)
    else:
        value = shortest_float(float(value))
    if value == 0 and row.zero_means:
        return value
    low, high = row.hard_minimum, row.hard_maximum
    if (low is not None and value < low) or (high is not None and value > high) or (row.multiple > 1 and value % row.multiple):
        raise InvalidSetting(row.label, value, allowed)
    return value


def shortest_float(value: float) -> float:
    """The shortest decimal that is the same 32-bit float: what travels is a float32, what people read is 0.7."""
    return float(str(np.float32(value)))


def allowed_numbers(row: Setting) -> str:
    """The sentence part that says which numbers a row takes, such as "a multiple of 64 from 128 to 8192 px"."""
    noun = "a whole number" if row.kind is Kind.integer else "a number"
    if row.multiple > 1:
        noun = f"a multiple of {row.multiple}"
    unit = f" {row.unit}" if row.unit else ""
    return (
        f"{noun} from {_plain(row.hard_minimum)} to {_plain(row.hard_maximum)}{unit}"
        f"{f', or 0 for {row.zero_means}' if row.zero_means else ''}"
    )


def _plain(number: float | None) -> str:
    return str(int(number)) if number is not None and float(number).is_integer() else str(number)
