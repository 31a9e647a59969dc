"""Configuration <-> the FlatBuffers buffer in ImageGenerationRequest.configuration, row by row of the table."""

from __future__ import annotations

from typing import Any

import flatbuffers

from ...proto import config_generated as wire
from .records import Configuration, Control, LoRA, Record, shortest_float
from .table import Kind, Setting

_CLASSES: dict[type[Record], tuple[Any, Any]] = {
    Configuration: (wire.GenerationConfigurationT, wire.GenerationConfiguration),
    Control: (wire.ControlT, wire.Control),
    LoRA: (wire.LoRAT, wire.LoRA),
}


def pack(configuration: Configuration) -> bytes:
    """One plain root table: no size prefix, no identifier, scalars at the schema's default left out."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_to_object(configuration).Pack(builder))
    return bytes(builder.Output())


def unpack(buffer: bytes) -> Configuration:
    """The configuration in `buffer`, without checking ranges. A malformed buffer raises struct.error or IndexError."""
    root = wire.GenerationConfiguration.GetRootAs(buffer, 0)
    return _from_object(Configuration, wire.GenerationConfigurationT.InitFromObj(root))


def _to_object(record: Record) -> Any:
    target = _CLASSES[type(record)][0]()
    for name, row in record.ROWS.items():
        value = record[name]
        if row.kind is Kind.records:
            value = [_to_object(item) for item in value] or None
        elif row.kind is Kind.names:
            value = list(value) or None
        elif row.kind is Kind.choice:
            value = int(value)
        elif row.per_unit > 1:
            value //= row.per_unit
        setattr(target, row.attribute, value)
    if isinstance(record, Configuration) and not record["causal_inference"]:
        # 0 means off to users; on the wire "off" is a field of its own and the chunk keeps its schema default.
        target.causalInference = wire.GenerationConfigurationT().causalInference
    return target


def _from_object(record_class: type[Record], source: Any) -> Any:
    record = record_class.wire_default()
    for name, row in record_class.ROWS.items():
        record._values[name] = _value(row, getattr(source, row.attribute), record_class.RECORDS.get(name))
    if record_class is Configuration:
        if not source.causalInferenceEnabled:
            record._values["causal_inference"] = 0
        record._settle()
    return record


def _value(row: Setting, raw: Any, record_class: type[Record] | None) -> Any:
    if row.kind is Kind.records:
        assert record_class is not None
        return tuple(_from_object(record_class, item) for item in raw or ())
    if row.kind is Kind.names:
        return tuple(_text(item) for item in raw or ())
    if row.kind is Kind.choice:
        assert row.choice is not None
        member = row.choice.parse(int(raw))
        return row.wire_default if member is None else member  # as the server reads an unknown enum value
    if row.kind is Kind.text:
        return _text(raw)
    if row.kind is Kind.switch:
        return bool(raw)
    if row.kind is Kind.number:
        return shortest_float(raw)
    return int(raw) * row.per_unit


def _text(raw: Any) -> str | None:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
