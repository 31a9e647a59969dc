"""What a graph asks for, told without running it: the settings, LoRAs and controls that reach a node that generates.

The nodes' own functions are called, with links followed as ComfyUI does. What only a run can tell (pictures, what a server or a node of
another package gives) is left at its default, and noted.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ..drawthings_core.catalog import Catalog
from ..drawthings_core.configuration import LoRA
from ..drawthings_core.errors import DrawThingsError, InvalidInput
from ..drawthings_core.job import Job
from . import widgets
from .edit import Edit
from .generate import Generating, generating_sockets
from .recommended import RecommendedSettings
from .video import Video

CHAINS: dict[str, str] = {name: entry[0] for name, entry in generating_sockets().items() if entry[0].startswith("DT_")}
"""Inputs of a node that generates which nodes chain into, and their types; the nodes of a chain have the same input."""

_PICTURES = {"IMAGE": (1, 64, 64, 3), "MASK": (1, 64, 64)}
"""Stand-ins for pictures that are not there before the graph runs: which ones they are does not matter here."""
_PROMPTS = ("prompt", "instruction", "negative_prompt")
_VALUE = "value"
_DEEPEST = 400
"""Nodes one behind the other."""


class OnlyARunTells(Exception):
    """A value that is not known before the graph runs."""


def inputs_of(node_class: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Kind and options of every input of a class but the hidden ones."""
    declared = node_class.INPUT_TYPES()
    return {
        name: (entry[0], entry[1] if len(entry) > 1 else {})
        for group in ("required", "optional")
        for name, entry in declared.get(group, {}).items()
    }


def takes_configuration(node_class: Any) -> bool:
    """Whether a class generates from a configuration: it has all the chains."""
    return isinstance(node_class, type) and issubclass(node_class, Generating) and CHAINS.keys() <= inputs_of(node_class).keys()


class GraphValues:
    """The values of one graph in API format, {id: {class_type, inputs}}.

    classes: node classes by id. catalog: what is known of files. notes: what could not be told, gathered while values are asked for.
    """

    def __init__(self, prompt: Mapping[str, Any], classes: Mapping[str, Any], catalog: Catalog):
        self.notes: list[str] = []
        self._prompt = prompt
        self._classes = classes
        self._catalog = catalog
        self._outputs: dict[str, tuple[Any, ...] | OnlyARunTells] = {}
        self._asking: list[str] = []

    def job(self, node_id: str) -> Job:
        """What a node that generates asks for; pictures are stand-ins. Raises InvalidInput."""
        row = self._prompt.get(node_id)
        node_class = self._classes.get(_class_type(row))
        if node_class is None or not takes_configuration(node_class):
            raise InvalidInput(
                "This node does not generate from a configuration: choose a Generate, Inpaint, Edit Image or Generate Video node."
            )
        # Prompts are no part of a configuration: of those that come from elsewhere nothing is said.
        inputs = {**dict.fromkeys(("prompt", "negative_prompt"), ""), **self._inputs(node_id, node_class, silent=_PROMPTS)}
        more: dict[str, Any] = {"images": _array(inputs.get("image")), "masks": _array(inputs.get("mask"))}
        if issubclass(node_class, Video):
            more["one_video"] = True
        if issubclass(node_class, Edit):
            more["references"] = ()
        return node_class().job(inputs, **more)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _title(self, node_id: str) -> str:
        row = self._prompt.get(node_id)
        if not isinstance(row, Mapping):
            return "another node"
        about = row.get("_meta")
        return str((about.get("title") if isinstance(about, Mapping) else None) or _class_type(row))

    def _inputs(self, node_id: str, node_class: Any, silent: tuple[str, ...] = ()) -> dict[str, Any]:
        """The inputs that the graph gives a node; those that only a run tells are noted, and have their default or are left out."""
        given: Any = self._prompt[node_id].get("inputs")
        if not isinstance(given, Mapping):
            raise InvalidInput(f"{self._title(node_id)} has no inputs: this is no graph in API format.")
        found: dict[str, Any] = {}
        for name, (kind, options) in inputs_of(node_class).items():
            if name not in given:
                if "default" in options:
                    found[name] = options["default"]
                continue
            if kind == "DT_SERVER":
                continue
            try:
                found[name] = self._value(given[name])
            except OnlyARunTells as unknown:
                if kind in _PICTURES:
                    found[name] = torch.zeros(_PICTURES[kind])
                    continue
                if "default" in options:
                    found[name] = options["default"]
                if name not in silent:
                    self._note(
                        f"The input {name!r} of {self._title(node_id)} comes from {unknown}, which only a run can tell: it was left out."
                    )
        return found

    def _value(self, given: Any) -> Any:
        """A literal, or what the link leads to. Raises OnlyARunTells, which says what it is."""
        if isinstance(given, Mapping) and set(given) == {"__value__"}:
            return given["__value__"]
        if not (isinstance(given, list) and len(given) == 2 and type(given[1]) is int):
            return given
        node_id, slot = str(given[0]), given[1]
        outputs = self._called(node_id)
        if not 0 <= slot < len(outputs):
            raise OnlyARunTells(self._title(node_id))
        return outputs[slot]

    def _called(self, node_id: str) -> tuple[Any, ...]:
        if node_id in self._asking or len(self._asking) >= _DEEPEST:
            raise OnlyARunTells(self._title(node_id))
        if node_id not in self._outputs:
            self._asking.append(node_id)
            try:
                self._outputs[node_id] = self._call(node_id)
            except OnlyARunTells as unknown:
                self._outputs[node_id] = unknown
            except DrawThingsError as error:
                self._note(f"{self._title(node_id)}: {error}")
                self._outputs[node_id] = OnlyARunTells(self._title(node_id))
            finally:
                self._asking.pop()
        outputs = self._outputs[node_id]
        if isinstance(outputs, OnlyARunTells):
            raise outputs
        return outputs

    def _call(self, node_id: str) -> tuple[Any, ...]:
        """The outputs of a node that computes them from its inputs alone. Raises OnlyARunTells for any other."""
        row = self._prompt.get(node_id)
        kind = _class_type(row)
        node_class = self._classes.get(kind)
        if node_class is None:
            inputs = row.get("inputs") if isinstance(row, Mapping) else None
            if isinstance(inputs, Mapping) and kind.startswith("Primitive") and _VALUE in inputs:  # ComfyUI's own nodes for single values
                return (self._value(inputs[_VALUE]),)
            raise OnlyARunTells(self._title(node_id))
        if issubclass(node_class, RecommendedSettings):
            return self._recommended(self._inputs(node_id, node_class))
        function = getattr(node_class, node_class.FUNCTION)
        if inspect.iscoroutinefunction(function) or getattr(node_class, "OUTPUT_NODE", False):
            raise OnlyARunTells(self._title(node_id))
        return tuple(getattr(node_class(), node_class.FUNCTION)(**self._inputs(node_id, node_class)))

    def _recommended(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        """With what is known of the model, where the node itself asks the server."""
        file = widgets.chosen_file(inputs.get("model"), inputs.get("model_file"))
        loras = widgets.checked_parts(inputs.get("loras"), "loras", LoRA, "LoRA Stack")
        return RecommendedSettings.given(file, self._catalog, loras, inputs.get("options"))


def _class_type(row: Any) -> str:
    return str(row.get("class_type")) if isinstance(row, Mapping) else ""


def _array(pictures: Any) -> Any:
    return None if pictures is None else pictures.numpy()
