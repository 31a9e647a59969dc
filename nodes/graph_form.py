"""A configuration of Draw Things <-> the nodes of a graph: what pasting one changes, and what a graph copies as one.

Which widget holds which setting comes from the nodes themselves (FIELDS of those that generate, TOPICS of the option nodes), and whether
it can from their INPUT_TYPES. What a paste really gives is then told by the same code that copies, and every setting that comes out
otherwise is in the notes.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..drawthings_core import advice, job, metadata, rules
from ..drawthings_core.catalog import Catalog
from ..drawthings_core.configuration import (
    CONFIGURATION,
    CONTROL,
    Configuration,
    Control,
    ControlInputType,
    Kind,
    LoRA,
    Options,
    Setting,
    app_json,
)
from ..drawthings_core.controls import reading_of_control
from ..drawthings_core.errors import DrawThingsError, InvalidInput
from ..drawthings_core.families import Family, family
from ..drawthings_core.hints import FROM_IMAGE, RULES
from . import options as option_nodes
from . import widgets
from .generate import FIELDS, Generate
from .graph_values import CHAINS, GraphValues, inputs_of, takes_configuration
from .hints import ControlNetHint, Moodboard
from .loras import SLOTS, LoRAStack
from .options import OptionsNode
from .options_json import OptionsFromJSON, OptionsToJSON
from .video import Video

_TARGET, _ELSEWHERE = "target", "elsewhere"
"""Ids in the graph that a paste is tried out in; the second is in it only as where links come from that are not followed."""

_CONTROL_WIDGETS = {"guidance_start": "start", "guidance_end": "end", "control_mode": "mode"}
"""Fields of a control whose widgets have names of their own."""


# -- what the page tells, and what it is told


class Seen(NamedTuple):
    """A node as the page sees it. linked: inputs that other nodes feed. bypassed: it is there, but what goes in comes out."""

    kind: str
    widgets: Mapping[str, Any]
    linked: frozenset[str] = frozenset()
    bypassed: bool = False


class Change(NamedTuple):
    """One node to change or to add. chain: the input of the node that generates which it leads to. reuse: which node of that chain it
    is, None for a new one, which goes next to the node that generates.
    """

    kind: str
    chain: str
    widgets: dict[str, Any]
    reuse: int | None = None
    bypassed: bool = False


class Pasted(NamedTuple):
    """kind, widgets: of the node that generates. notes: what was left out or changed, one sentence each."""

    kind: str
    widgets: dict[str, Any]
    nodes: list[Change]
    notes: list[str]


class Copied(NamedTuple):
    json: str
    notes: list[str]


def paste(
    found: metadata.Found, classes: Mapping[str, Any], catalog: Catalog, target: Seen | None, chains: Mapping[str, Sequence[Seen]]
) -> Pasted:
    """What makes a graph send these settings.

    target: the node that is to generate; None for a new one, of the class that suits the model. chains: for each of CHAINS the nodes
    that lead there, the nearest first. Raises InvalidInput for a node that generates nothing.
    """
    if target is None:
        target = Seen(_suitable(found.settings, classes, catalog), {})
    if not takes_configuration(classes.get(target.kind)):
        raise InvalidInput("Settings go into a Generate, Inpaint, Edit Image or Generate Video node: choose one.")
    return _Paste(found, classes, catalog, target, chains).done()


def copy(prompt: Mapping[str, Any], node_id: str, classes: Mapping[str, Any], catalog: Catalog) -> Copied:
    """What a node of a graph (in API format) would send, as far as that is known before it runs. Raises InvalidInput."""
    values = GraphValues(prompt, classes, catalog)
    asked = values.job(node_id)
    notes = list(values.notes)
    try:
        configuration = job.plan(asked, catalog).configuration
    except DrawThingsError as error:  # it would not be sent, but can be copied all the same
        notes.append(f"Run as it is, this would be refused: {error}")
        configuration = Configuration(job.wished(asked, catalog).settings)
    chosen = {**asked.settings, **asked.options}
    if asked.images is not None and not {"start_width", "start_height"} <= chosen.keys():
        notes.append("The size follows the input picture: here it stands for a square one.")
    (text,) = OptionsToJSON().write(True, "", options=Options(configuration))
    return Copied(text, notes)


# -- pasting


@dataclass(eq=False)
class _Draft:
    """A node while it is being changed. index: its place in its chain, None for a new one. refused: fields that it could not take, and
    why.
    """

    kind: str
    node_class: Any
    widgets: dict[str, Any]
    linked: frozenset[str] = frozenset()
    bypassed: bool = False
    index: int | None = None
    was_bypassed: bool = False
    changed: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, seen: Seen, classes: Mapping[str, Any], index: int | None = None) -> _Draft:
        return cls(seen.kind, classes.get(seen.kind), dict(seen.widgets), seen.linked, seen.bypassed, index, seen.bypassed)

    @functools.cached_property
    def inputs(self) -> Mapping[str, tuple[Any, dict[str, Any]]]:
        return inputs_of(self.node_class) if self.node_class is not None else {}

    def is_a(self, node_class: type) -> bool:
        return isinstance(self.node_class, type) and issubclass(self.node_class, node_class)

    def takes(self, name: str, value: Any) -> bool:
        """Whether a number is in the widget's range."""
        kind, options = self.inputs[name]
        return kind not in ("INT", "FLOAT") or options["min"] <= value <= options["max"]

    def set(self, name: str, value: Any, field: str, label: str) -> None:
        """Write a widget, or keep why it cannot take that for `field`."""
        if name in self.linked:
            self.refused[field] = f"{label} is connected to another node and stays as it is."
        elif not self.takes(name, value):
            self.refused[field] = f"{label} is {value:g}, which is outside of the widget's range."
        elif self._resolves(name) and _EATEN.search(value):
            self.refused[field] = f"{label} has a backslash before a brace or a bar, which ComfyUI would take out."
        elif self._resolves(name) and self.widgets.get(name) == _escaped(value):
            self.widgets[name] = value
        elif name not in self.widgets or self.widgets[name] != value:
            self.widgets[name] = self.changed[name] = value

    def _resolves(self, name: str) -> bool:
        """Whether frontends draw from {a|b} in this text, and take comments out, before they send it."""
        return bool(self.inputs[name][1].get("dynamicPrompts"))

    def set_file(self, name: str, typed: str, file: str | None, field: str, label: str) -> None:
        """Write a combo of files, and empty the input for typed names, which would win."""
        self.set(name, file or widgets.NONE, field, label)
        if typed in self.linked or self.widgets.get(typed):
            self.set(typed, "", field, label)

    @property
    def touched(self) -> bool:
        return self.index is None or bool(self.changed) or self.bypassed != self.was_bypassed

    def shown(self) -> dict[str, Any]:
        """The changed widgets as the page writes them: where braces and comments mean something, texts are escaped."""
        return {name: _escaped(value) if self._resolves(name) else value for name, value in self.changed.items()}


class _Whole(NamedTuple):
    """What the graph should send in the end. known: the model's family, None when it is not known here."""

    configuration: Configuration
    known: Family | None


class _Paste:
    """One paste: the drafts of all nodes that take part."""

    def __init__(
        self, found: metadata.Found, classes: Mapping[str, Any], catalog: Catalog, target: Seen, chains: Mapping[str, Sequence[Seen]]
    ):
        self._found = found
        self._wanted = {**found.settings}
        self._classes = classes
        self._catalog = catalog
        self._target = _Draft.of(target, classes)
        self._chains = {
            chain: [_Draft.of(seen, classes, index) for index, seen in enumerate(chains.get(chain, ()))] for chain in CHAINS
        }  # the nearest first
        self._notes = list(found.notes)

    def done(self) -> Pasted:
        self._write_target()
        for draft in self._chains["options"]:
            if not draft.bypassed:
                self._write_options(draft)
        if "loras" in self._wanted:
            self._write_loras()
        if "controls" in self._wanted:
            self._write_controls()
        self._add_options()
        self._tell_differences()
        nodes = [
            Change(draft.kind, chain, draft.shown(), draft.index, draft.bypassed)
            for chain, drafts in self._chains.items()
            for draft in reversed(drafts)
            if draft.touched
        ]
        return Pasted(self._target.kind, self._target.shown(), nodes, metadata.bounded(self._notes))

    # -- trying it out

    def _tried(self) -> job.Wished:
        """What the graph would send as it is drafted."""
        return job.wished(GraphValues(self._prompt(), self._classes, self._catalog).job(_TARGET), self._catalog)

    def _prompt(self) -> dict[str, Any]:
        """The drafts as a graph in API format."""
        rows = {_TARGET: self._row(self._target)}
        for chain, kind in CHAINS.items():
            into = rows[_TARGET]
            into["inputs"].pop(chain, None)
            for number, draft in enumerate(draft for draft in self._chains[chain] if not draft.bypassed):
                gives = getattr(draft.node_class, "RETURN_TYPES", (kind,))
                name = f"{chain} {number}"
                into["inputs"][chain] = [name, gives.index(kind) if kind in gives else 0]
                into = rows[name] = self._row(draft)
                into["inputs"].pop(chain, None)
        return rows

    @staticmethod
    def _row(draft: _Draft) -> dict[str, Any]:
        return {"class_type": draft.kind, "inputs": {**draft.widgets, **{name: [_ELSEWHERE, 0] for name in draft.linked}}}

    def _add(self, chain: str, kind: str) -> _Draft:
        """A new node next to the one that generates."""
        draft = _Draft(kind, self._classes[kind], {})
        self._chains[chain].insert(0, draft)
        return draft

    def _kind(self, node_class: type) -> str:
        return next(kind for kind, one in self._classes.items() if one is node_class)

    # -- the node that generates

    def _write_target(self) -> None:
        target = self._target
        for name, setting in FIELDS.items():
            if setting in self._wanted and name in target.inputs:
                row, value = CONFIGURATION[setting], self._wanted[setting]
                if widgets.fixed_settings({setting: value}):
                    target.set(name, widgets.shown(row, value), setting, row.label)
                else:
                    target.refused[setting] = _recommended(row, value)
        if not self._wanted.get("model"):
            self._wanted.pop("model", None)  # the graph keeps its own
        else:
            target.set_file("model", "model_file", self._wanted["model"], "model", CONFIGURATION["model"].label)
        prompts = {"prompt": self._found.prompt, "instruction": self._found.prompt, "negative_prompt": self._found.negative_prompt}
        if any(prompts.values()):  # a configuration has none
            for name, text in prompts.items():
                if name in target.inputs:
                    target.set(name, text, name, name.replace("_", " ").capitalize())
        self._notes += [sentence for name, sentence in target.refused.items() if name in prompts]

    # -- options

    def _write_options(self, draft: _Draft) -> None:
        """What a node of the chain says already, it goes on saying with the new values: so it does not matter which of them wins."""
        if draft.is_a(OptionsNode):
            for row in option_nodes.rows_of(draft.node_class.TOPIC):
                if row.name in self._wanted:
                    _write_row(draft, row, self._wanted[row.name])
        elif draft.is_a(OptionsFromJSON) and "json" not in draft.linked:
            self._write_json(draft)

    def _write_json(self, draft: _Draft) -> None:
        try:
            said = metadata.pasted(str(draft.widgets.get("json", "")))
        except InvalidInput:
            return  # it says nothing, and Generate will tell why
        lists = [name for name in ("loras", "controls") if name in self._wanted]  # they add up along the chains
        kept = {name: value for name, value in said.settings.items() if name not in lists}
        settings = {name: self._wanted.get(name, value) for name, value in kept.items()}
        prompts = [new or old for new, old in ((self._found.prompt, said.prompt), (self._found.negative_prompt, said.negative_prompt))]
        if settings == said.settings and prompts == [said.prompt, said.negative_prompt]:
            return
        document: dict[str, Any] = app_json.write_some(Options(settings))
        if any(prompts):
            document = {"prompt": prompts[0], "negative_prompt": prompts[1], "configuration": document}
        draft.set("json", json.dumps(document, indent=2, ensure_ascii=False), "json", "JSON")

    def _add_options(self) -> None:
        """Option nodes for what the graph would send otherwise, and does something. Where the family is not known here, the server may know
        it, and recommend something: what varies is then fixed.
        """
        tried = self._tried()
        sent = Configuration(tried.settings)
        whole = self._whole(sent)
        needed = {
            name
            for name, value in self._wanted.items()
            if CONFIGURATION[name].topic in option_nodes.TOPICS
            and (sent[name] != value or (whole.known is None and CONFIGURATION[name].varies and name not in tried.chosen))
            and not self._idle(name, whole)
        }
        for topic in option_nodes.TOPICS:
            names = {name for name in needed if CONFIGURATION[name].topic == topic}
            draft = self._option_node(topic) if names else None
            if draft is None:
                continue
            for row in option_nodes.rows_of(topic):
                if row.name in self._wanted:
                    _write_row(draft, row, self._wanted[row.name])
                elif row.name in tried.chosen or not row.varies:
                    _write_row(draft, row, sent[row.name])
            if draft.index is None and names <= draft.refused.keys():  # it would hold nothing that is wanted
                self._chains["options"].remove(draft)
                self._target.refused.update(draft.refused)

    def _option_node(self, topic: str) -> _Draft | None:
        """The node to write a topic into: a new one, or one that was bypassed; None where one has been written in vain."""
        node_class = option_nodes.NODES[option_nodes.node_id(topic)]
        for draft in self._chains["options"]:
            if draft.is_a(node_class):
                if not draft.bypassed:
                    return None
                draft.bypassed = False
                return draft
            if not draft.bypassed and not draft.is_a(OptionsNode):
                break  # what is behind it may be outdone
        return self._add("options", option_nodes.node_id(topic))

    def _named(self, name: str) -> list[Any]:
        """The LoRAs or controls that have a file, one whose name a widget can hold."""
        named = [part for part in self._wanted[name] if part["file"]]
        strange = [part["file"] for part in named if widgets.chosen_file(part["file"], "") != part["file"]]
        self._notes += [f"Left out: {file!r}, which is no file name for a widget." for file in strange]
        return [part for part in named if part["file"] not in strange]

    # -- LoRAs

    def _write_loras(self) -> None:
        given = self._named("loras")
        idle = [lora["file"] for lora in given if lora["weight"] == 0]
        if idle:
            self._notes.append(f"Left out, at weight 0: {', '.join(idle)}.")
        rest = [lora for lora in given if lora["weight"] != 0]
        self._wanted["loras"] = tuple(rest)
        stacks = [draft for draft in reversed(self._chains["loras"]) if draft.is_a(LoRAStack)]
        for stack in sorted(stacks, key=lambda draft: draft.bypassed):
            if rest or not stack.bypassed:
                stack.bypassed = False
                rest = self._fill(stack, rest)
        while rest:
            rest = self._fill(self._add("loras", self._kind(LoRAStack)), rest)

    @staticmethod
    def _fill(stack: _Draft, loras: list[LoRA]) -> list[LoRA]:
        """Put LoRAs into a stack in place of those that it has; those that it has no room for are left."""
        rest = [lora for lora in loras if stack.takes("weight_1", lora["weight"])]
        lines = [f"{lora['file']} {lora['weight']} {lora['mode'].label}" for lora in loras if lora not in rest]
        for slot in range(1, SLOTS + 1):
            names = [f"{part}_{slot}" for part in ("lora", "weight", "mode")]
            if stack.linked.intersection(names):
                stack.refused["loras"] = "A LoRA of the stack is connected to another node and stays as it is."
                continue
            if not rest:
                stack.set(names[0], widgets.NONE, "loras", "LoRA")
                continue
            lora = rest.pop(0)
            for name, value in zip(names, (lora["file"], lora["weight"], lora["mode"].label), strict=True):
                stack.set(name, value, "loras", "LoRA")
        if lines or stack.widgets.get("more"):
            stack.set("more", "\n".join(lines), "loras", "LoRA")
        return rest

    # -- controls

    def _write_controls(self) -> None:
        controls = []
        for control in self._named("controls"):
            if control["guidance_start"] > control["guidance_end"]:
                self._notes.append(f"Left out: {control['file']}, which would start after its end.")
            else:
                controls.append(control)
        self._wanted["controls"] = tuple(controls)
        hints = [draft for draft in reversed(self._chains["hints"]) if draft.is_a(ControlNetHint) or draft.is_a(Moodboard)]
        for control, draft in self._matched(controls, hints):
            hints = [one for one in hints if one is not draft]
            if draft is None:
                draft = self._add("hints", self._kind(ControlNetHint))
            draft.bypassed = False
            self._write_control(draft, control)
        for draft in hints:
            _take_control_away(draft)

    def _matched(self, controls: Iterable[Control], hints: Sequence[_Draft]) -> Iterator[tuple[Control, _Draft | None]]:
        """Each control with the node that is to drive it, None for a new one: a node that drives it already, else one that drives another
        of its kind, which it replaces with the same map.
        """
        free = list(hints)
        found: list[_Draft | None] = []
        controls = list(controls)
        for control in controls:
            found.append(next((draft for draft in free if _file_of(draft) == control["file"]), None))
            free = [draft for draft in free if draft is not found[-1]]
        for number, control in enumerate(controls):
            if found[number] is None:
                kind = self._control_kind(control)
                found[number] = next((draft for draft in free if _file_of(draft) and _kind_of(draft) is kind), None)
                free = [draft for draft in free if draft is not found[number]]
        return zip(controls, found, strict=True)

    def _control_kind(self, control: Control) -> ControlInputType:
        """What it is fed with: as it says, else as its specification does, else as its file name does."""
        if control["input_override"] is not ControlInputType.unspecified:
            return control["input_override"]
        entry = self._catalog.find("control", control["file"])
        reading = reading_of_control(entry.specification, control["input_override"]) if entry is not None else None
        kind = ControlInputType.parse(reading.modifier) if reading is not None and reading.modifier else None
        if kind is not None and kind in _HINT_KINDS:
            return kind
        named = [kind for kind in _HINT_KINDS if kind.name in control["file"].lower()]
        return max(named, key=lambda kind: len(kind.name), default=ControlInputType.custom)

    def _write_control(self, draft: _Draft, control: Control) -> None:
        file, kind = control["file"], self._control_kind(control)
        draft.set_file("control", "control_file", file, "controls", "Control")
        if draft.is_a(ControlNetHint):
            draft.set("hint_type", kind.label, "controls", f"Hint type of {file}")
            needs_map = kind not in FROM_IMAGE and "image" not in draft.linked
            if control["input_override"] is ControlInputType.unspecified and draft.index is None:
                self._notes.append(f"The hint type of {file} was set to {kind.label}: see whether that is the map that it follows.")
            if needs_map:
                self._notes.append(f"A configuration holds no pictures: where {file} does not follow the input image, connect its map.")
        for name, row in CONTROL.items():
            widget = _control_widget(draft, name)
            if widget is None or name in ("file", "input_override"):
                continue
            value = ", ".join(control[name]) if row.kind is Kind.names else widgets.shown(row, control[name])
            if widget in draft.inputs:
                draft.set(widget, value, "controls", f"{row.label} of {file}")

    # -- what comes out otherwise

    def _whole(self, sent: Mapping[str, Any]) -> _Whole:
        configuration = Configuration({**sent, **self._wanted})
        return _Whole(configuration, family(rules.version_of(configuration, self._catalog)))

    def _idle(self, name: str, whole: _Whole) -> str:
        """Why a setting would do nothing, or ""."""
        if whole.known is not None and not whole.known.matters(name):
            return f"the model is {whole.known.name}"
        return advice.idle(name, advice.Situation(whole.configuration, whole.known, self._target.inputs.keys(), self._catalog))

    def _tell_differences(self) -> None:
        sent = Configuration(self._tried().settings)
        whole = self._whole(sent)
        different = [
            name
            for name, value in self._wanted.items()
            if _comparable(name, value, self._wanted) != _comparable(name, sent[name], self._wanted)
        ]
        drafts = [self._target, *(draft for drafts in self._chains.values() for draft in drafts)]
        refused = {name: sentence for draft in drafts for name, sentence in draft.refused.items()}
        by_reason: dict[str, list[str]] = {}
        others = []
        for name in different:
            label = CONFIGURATION[name].label
            reason = self._idle(name, whole) if name not in refused else ""
            if name in refused:
                self._notes.append(refused[name])
            elif reason:
                by_reason.setdefault(reason, []).append(label)
            else:
                others.append(label)
        self._notes += [f"Left out, without effect while {reason}: {', '.join(labels)}." for reason, labels in by_reason.items()]
        if others:
            self._notes.append(f"These stay as they are, since no input takes them or another connected node decides: {', '.join(others)}.")


_HINT_KINDS = (*RULES, *FROM_IMAGE)
"""What a ControlNet Hint can be."""


def _suitable(settings: Mapping[str, Any], classes: Mapping[str, Any], catalog: Catalog) -> str:
    """The class of a new node for a model."""
    known = family(rules.version_of(Configuration(model=settings.get("model")), catalog))
    wanted = Video if known is not None and known.video else Generate
    return next(kind for kind, node_class in classes.items() if node_class is wanted)


def _write_row(draft: _Draft, row: Setting, value: Any) -> None:
    """Write one setting into its option node."""
    if row.file_kind:
        draft.set_file(row.input_name, option_nodes.typed_input(row), value, row.name, row.label)
    elif widgets.setting_value(row, widgets.shown(row, value)) is None:
        draft.refused[row.name] = _recommended(row, value)
    else:
        draft.set(row.input_name, widgets.shown(row, value), row.name, row.label)


def _recommended(row: Setting, value: Any) -> str:
    return f"{row.label} is {value:g}, which means recommended in the widget."


def _control_widget(draft: _Draft, name: str) -> str | None:
    """The input of a hint node for a field of its control."""
    if name == "weight" and draft.is_a(Moodboard):
        return "control_weight"
    return _CONTROL_WIDGETS.get(name, name)


def _file_of(draft: _Draft) -> str:
    return widgets.chosen_file(draft.widgets.get("control"), draft.widgets.get("control_file"))


def _kind_of(draft: _Draft) -> ControlInputType | None:
    return ControlInputType.shuffle if draft.is_a(Moodboard) else ControlInputType.parse(draft.widgets.get("hint_type"))


def _take_control_away(draft: _Draft) -> None:
    """A hint whose control the configuration does not have: a picture may still be read by the model itself, without one it is nothing."""
    if draft.bypassed or not _file_of(draft):
        return
    if draft.linked & {"image", "images"}:
        draft.set_file("control", "control_file", None, "controls", "Control")
    else:
        draft.bypassed = True


def _comparable(name: str, value: Any, wanted: Mapping[str, Any]) -> Any:
    """A value in a form in which it is the same where a server takes it for the same: the order of LoRAs and controls does not count, nor
    an input type that the configuration leaves open.
    """
    if name == "loras":
        return sorted(map(repr, value))
    if name == "controls":
        open_files = {control["file"] for control in wanted[name] if control["input_override"] is ControlInputType.unspecified}
        closed = (one.updated(input_override=ControlInputType.unspecified) if one["file"] in open_files else one for one in value)
        return sorted(map(repr, closed))
    return value


_EATEN = re.compile(r"\\[{}|]")
"""There is no way to have this in a text that frontends resolve."""


def _escaped(text: str) -> str:
    """A text that frontends send as it is, although they draw from {a|b} and drop comments."""
    return re.sub(r"/([/*])", r"/{\1}", re.sub(r"[{}]", r"\\\g<0>", text))
