"""What a node class says about its inputs, and which of them are widgets: read from INPUT_TYPES as ComfyUI's frontend does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMBO = "COMBO"
WIDGET_KINDS = frozenset({"INT", "FLOAT", "STRING", "BOOLEAN", COMBO})
SEED_NAMES = frozenset({"seed", "noise_seed"})
"""INT inputs of these names get a "control after generate" widget without asking for it."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a node class.

    kind: INT, FLOAT, STRING, BOOLEAN, COMBO, or the type of a socket. choices: a combo's values, else None.
    """

    name: str
    kind: str
    required: bool
    choices: tuple[Any, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def widget(self) -> bool:
        """Whether a value can be typed; otherwise it is a socket only."""
        return self.kind in WIDGET_KINDS and not self.options.get("forceInput")

    @property
    def extra_values(self) -> int:
        """Entries that follow this one in a saved workflow's widgets_values without being inputs."""
        control = self.options.get("control_after_generate", self.kind == "INT" and self.name in SEED_NAMES)
        if not self.widget or not control:
            return 0
        return 2 if self.kind == COMBO else 1  # a combo also gets a filter

    @property
    def default(self) -> Any:
        """The value of a widget that nobody has touched."""
        if "default" in self.options:
            return self.options["default"]
        if self.kind == COMBO:
            return self.choices[0] if self.choices else None
        return {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(self.kind, "")


def input_specs(node_class: Any) -> dict[str, InputSpec]:
    """All inputs of a class but the hidden ones, required ones first."""
    declared = node_class.INPUT_TYPES()
    return {
        name: _spec(name, entry, group == "required")
        for group in ("required", "optional")
        for name, entry in declared.get(group, {}).items()
    }


def _spec(name: str, entry: Any, required: bool) -> InputSpec:
    kind = entry[0]
    options = entry[1] if len(entry) > 1 else {}
    if isinstance(kind, (list, tuple)):
        return InputSpec(name, COMBO, required, tuple(kind), options)
    if kind == COMBO:
        return InputSpec(name, COMBO, required, tuple(options.get("options", ())), options)
    return InputSpec(name, kind, required, None, options)
