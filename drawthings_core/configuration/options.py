"""Some settings of a configuration, as option nodes hand them on (DT_OPTIONS)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import InvalidInput
from .records import Configuration


class Options(Mapping[str, Any]):
    """Configuration fields with their checked values; never modified, so that nodes may share and cache it."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any] | None = None):
        """Raises InvalidSetting for a value, InvalidInput for a name that is no setting."""
        self._values = Configuration.checked(values or {})

    @classmethod
    def of(cls, value: Any, name: str = "options") -> Options:
        """What an input of a node holds; nothing connected is empty. Raises InvalidInput for anything else than settings."""
        if isinstance(value, cls):
            return value
        if value is not None and not isinstance(value, Mapping):
            raise InvalidInput(f"The input {name!r} is {type(value).__name__}, but needed are options: connect an options node.")
        try:
            return cls(value)
        except InvalidInput as error:
            raise InvalidInput(f"The input {name!r} holds what is no setting: {error}") from error

    def updated(self, values: Mapping[str, Any]) -> Options:
        """These with `values` laid over them: later wins."""
        return type(self)({**self._values, **values})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"Options({self._values})"
