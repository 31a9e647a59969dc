"""Widget definitions that several nodes share; numbers come from the table of settings.

A widget may mean "recommended for the model": 0 or -1 (which the setting itself cannot be) for numbers, and a word for choices
and switches. It is then left out of the settings, and the model's recommendation stands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, TypeVar

from ..drawthings_core import rules
from ..drawthings_core.configuration import CONFIGURATION, Choice, Kind, Sampler, Setting
from ..drawthings_core.errors import InvalidInput, InvalidSetting
from ..drawthings_core.images import Fit
from . import known_files

Chosen = TypeVar("Chosen", bound=Enum)

RECOMMENDED = "recommended"
NONE = "none"
SWITCH_WORDS = {"on": True, "off": False}
"""A switch that may also be "recommended" is a combo."""
_LEFT_TO_GENERATE: dict[str, tuple[str, ...]] = {
    "take_model": ("model",),
    "take_size": ("start_width", "start_height"),
    "take_seed": ("seed",),
    "take_batch": ("batch_count", "batch_size"),
}
"""Switches of nodes that read settings, and what they leave to the node that generates when they are off."""


def number(row: Setting, default: float | None = None, **more: Any) -> tuple[str, dict[str, Any]]:
    """An INT or FLOAT widget with the row's range, step and tooltip."""
    kind = "INT" if isinstance(row.wire_default, int) else "FLOAT"
    options = {
        "default": row.default if default is None else default,
        "min": row.minimum,
        "max": row.maximum,
        "step": row.step,
        "tooltip": row.tooltip,
        **more,
    }
    return kind, options


def recommended_number(row: Setting, more: str = "") -> tuple[str, dict[str, Any]]:
    """A number that may say "recommended". more: how, beside by the model."""
    value = sentinel(row)
    return number(row, value, min=value, tooltip=f"{row.tooltip} {value}: recommended for the model{more}.")


def choice(row: Setting, default: Choice | None = None) -> tuple[list[str], dict[str, Any]]:
    """A combo of the row's labels."""
    assert row.choice is not None
    return row.choice.labels(), {"default": (default or row.default).label, "tooltip": row.tooltip}


def sampler(row: Setting) -> tuple[list[str], dict[str, Any]]:
    """The samplers, and "recommended" in front."""
    return [RECOMMENDED, *Sampler.labels()], {"default": RECOMMENDED, "tooltip": f"{row.tooltip} 'recommended' suits the model."}


def setting(row: Setting, default: Any = None) -> tuple[Any, dict[str, Any]]:
    """The widget of any single setting but a file; `setting_value` reads it. default: the row's unless given."""
    if row.kind is Kind.text:
        return text(row.tooltip, multiline=True, dynamicPrompts=True)
    if row.varies:
        return _varying(row)
    if row.kind is Kind.switch:
        return "BOOLEAN", {"default": row.default if default is None else default, "tooltip": row.tooltip}
    return choice(row, default) if row.kind is Kind.choice else number(row, default)


def _varying(row: Setting) -> tuple[Any, dict[str, Any]]:
    if row.kind in (Kind.switch, Kind.choice):
        words = list(SWITCH_WORDS) if row.choice is None else row.choice.labels()
        return [RECOMMENDED, *words], {"default": RECOMMENDED, "tooltip": f"{row.tooltip} 'recommended' suits the model."}
    return recommended_number(row)


def sentinel(row: Setting) -> int:
    """The number that means "recommended" in a widget of this setting: one that is below its range."""
    assert row.minimum is not None
    return 0 if row.minimum > 0 else -1


def setting_value(row: Setting, value: Any) -> Any:
    """What a widget made by `setting` fixes, or None when it says "recommended". Text that is empty stays an empty text."""
    if not row.varies:
        return value
    if row.kind in (Kind.switch, Kind.choice):
        return None if value == RECOMMENDED else SWITCH_WORDS.get(value, value)
    return None if value == sentinel(row) else value


def shown(row: Setting, value: Any) -> Any:
    """What a widget of `setting` shows for a value: the way back from `setting_value`. A number that means "recommended" there, or is
    out of the widget's range, comes back as it is.
    """
    if isinstance(value, Choice):
        return value.label
    if row.kind is Kind.switch and row.varies:
        return next(word for word, meant in SWITCH_WORDS.items() if meant == value)
    return "" if value is None else value


def text(tooltip: str, multiline: bool = False, **more: Any) -> tuple[str, dict[str, Any]]:
    """A STRING widget, empty by default."""
    return "STRING", {"default": "", "multiline": multiline, "tooltip": tooltip, **more}


def switch(tooltip: str, default: bool = True) -> tuple[str, dict[str, Any]]:
    """A BOOLEAN that is no setting of Draw Things."""
    return "BOOLEAN", {"default": default, "tooltip": tooltip}


def taking(source: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Switches for what is taken from settings that come from elsewhere; `taken` applies them. source: "the JSON"."""
    return {
        "take_model": switch(f"Use the model that {source} names. Off: the model of Generate."),
        "take_size": switch(f"Use width and height of {source}. Off: the size of Generate."),
        "take_seed": switch(f"Use the seed of {source}. Off: the seed of Generate. A random seed (-1) is always Generate's."),
    }


def taken(settings: Mapping[str, Any], switches: Mapping[str, bool]) -> dict[str, Any]:
    """The settings without those that a switch of `taking` leaves to the node that generates."""
    left_out = {name for switch, names in _LEFT_TO_GENERATE.items() if not switches.get(switch, True) for name in names}
    return {name: value for name, value in settings.items() if name not in left_out}


def fit(outpaint: bool = False) -> tuple[list[str], dict[str, Any]]:
    """How a picture of another shape comes onto the canvas. outpaint: whether its borders may be generated."""
    ways = [f"{one.value} ({words})" for one, words in _FITS.items() if outpaint or one is not Fit.outpaint]
    return [one.value for one in _FITS if outpaint or one is not Fit.outpaint], {
        "default": Fit.crop.value,
        "tooltip": f"How an image of another shape comes onto the canvas: {', '.join(ways[:-1])} or {ways[-1]}.",
    }


_FITS: dict[Fit, str] = {
    Fit.crop: "fill, cut what stands over",
    Fit.pad: "show all, black borders",
    Fit.stretch: "ignore the proportions",
    Fit.outpaint: "show all and keep it, generate the borders from the prompt",
}


def server_file(kind: str, tooltip: str, none: bool = False, relation: str = "") -> tuple[list[str], dict[str, Any]]:
    """A combo of the files of this kind that were last seen on a server; values that are not listed are taken too.

    Never touches the network: ComfyUI asks for this at every submit. The page fills the list from the graph's server: it reads the kind
    from "drawthings_files", and from "drawthings_relation" what a file is to the model whose family it must have (rules.RELATIONS); it is
    what its kind says unless `relation` is given.
    """
    files = known_files.listed(kind)
    options = [NONE, *files] if none else files or [NONE]
    relation = relation or (kind if kind in rules.RELATIONS else "")
    more = {"drawthings_relation": relation} if relation else {}
    return options, {"default": options[0], "tooltip": tooltip, "drawthings_files": kind, **more}


def typed_file(kind: str, more: str = "") -> tuple[str, dict[str, Any]]:
    """The text beside a combo of files of this kind. more: what it is for, in words."""
    article = "an" if kind[0] in "aeiou" else "a"
    return text(f"File name of {article} {kind} that the list does not offer{more and ', '}{more}. Wins over the list.")


def server() -> tuple[str, dict[str, Any]]:
    """The socket of every node that talks to a server."""
    return socket("DT_SERVER", "The Draw Things server, from Load Server, or several, from Server Pool.")


def socket(name: str, tooltip: str) -> tuple[str, dict[str, Any]]:
    return name, {"tooltip": tooltip}


def chosen_file(combo: Any, typed: Any) -> str:
    """The typed file name when there is one, else the combo's; "" when neither names a file."""
    for value in (typed, combo):
        if isinstance(value, str) and value.strip() and value.strip() != NONE:
            return value.strip()
    return ""


def checked_text(value: Any, name: str) -> str:
    """A STRING input as text; a linked node can deliver anything. Raises InvalidInput."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"The input {name!r} is {type(value).__name__}, but needed is text: connect a STRING output.")
    return value


def checked_parts(value: Any, name: str, part: type, source: str) -> tuple[Any, ...]:
    """A chained input (LoRAs, hints) as a tuple of `part`. Raises InvalidInput, which names the node that gives such."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, part) for one in value):
        raise InvalidInput(f"The input {name!r} does not come from a Draw Things node: connect {source}.")
    return tuple(value)


def member(choices: type[Chosen], name: str, value: Any) -> Chosen:
    """The one that the value of the widget `name` stands for. Raises InvalidSetting."""
    try:
        return choices(value)
    except ValueError as error:
        raise InvalidSetting(name, value, f"one of {', '.join(choice.value for choice in choices)}") from error


def spoken(name: str) -> str:
    """An input's name in a sentence: "weight_1" is Weight 1."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


@contextlib.contextmanager
def naming(inputs: Mapping[str, str]) -> Iterator[None]:
    """Errors about a setting name the input that it comes from. inputs: by the setting's label."""
    try:
        yield
    except InvalidSetting as error:
        name = inputs.get(error.field)
        if name is None:
            raise
        raise InvalidSetting(spoken(name), error.value, error.allowed) from error


def within(name: str, value: float, low: float, high: float) -> float:
    """A number that is no setting of Draw Things; a linked node can deliver any. Raises InvalidSetting."""
    if not low <= value <= high:
        raise InvalidSetting(spoken(name), value, f"a number from {low:g} to {high:g}")
    return value


def fixed_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration fields that widgets fix; those that say "recommended" are left out."""
    return {
        name: value
        for name, value in values.items()
        if value != RECOMMENDED and not (name in _OPEN and value == sentinel(CONFIGURATION[name]))
    }


_OPEN = ("start_width", "start_height", "num_frames", "steps", "guidance_scale")
"""Numbers that nodes which generate may leave to the recommendation."""
