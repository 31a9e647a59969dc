"""What suits a model, and what will have no effect and why: values and sentences for people, never errors.

Facts: model_families.json (rules.cfg_off, configuration_fields_that_matter), config_json.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import families, rules
from .catalog import Catalog, Entry
from .configuration import CONFIGURATION, Configuration, LoRA, Options, Sampler
from .families import Family, family

_NEVER_GUIDED = (Sampler.lcm, Sampler.tcd, Sampler.tcd_trailing)
_READ_BY = {
    "stochastic_sampling_gamma": (Sampler.tcd, Sampler.tcd_trailing),
    **dict.fromkeys(("cfg_zero_star", "cfg_zero_init_steps"), tuple(sampler for sampler in Sampler if sampler not in _NEVER_GUIDED)),
}
"""Settings that some samplers alone read."""
_OF_NEGATIVE = ("zero_negative_prompt", "negative_original_image_width", "negative_original_image_height", "negative_aesthetic_score")
"""Settings of the pass that there is with guidance only."""
_GUIDANCE_OFF = 0.001
"""How near to 1 a guidance scale counts as 1."""


class Situation(NamedTuple):
    """What decides whether a setting acts. known: None for a family that is not known here. inputs: those of "image" and "mask" that
    there are.
    """

    configuration: Configuration
    known: Family | None
    inputs: Collection[str]
    catalog: Catalog


def without_effect(given: Mapping[str, Any], otherwise: Configuration, situation: Situation) -> Iterator[str]:
    """Notes on options that do nothing, for a family that is known. given: what was asked for explicitly; otherwise: what would be sent
    without that.
    """
    known = situation.known
    assert known is not None
    wanted = Configuration.checked(given)  # what is sent may differ: a strength without an image is 1
    asked = [name for name in wanted if wanted[name] != otherwise[name] and CONFIGURATION[name].topic != "app"]
    foreign = [name for name in asked if not known.matters(name)]
    if foreign:
        yield f"Without effect with {known.name}: {_labels(foreign)}."
    by_reason: dict[str, list[str]] = {}
    for name in asked:
        reason = "" if name in foreign else idle(name, situation)
        if reason:
            by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield f"Without effect while {reason}: {_labels(names)}."


def idle(name: str, situation: Situation) -> str:
    """Why this setting does not act although the family reads it, as the end of "while ..."; "" when it acts, or may."""
    row, configuration = CONFIGURATION[name], situation.configuration
    if not row.server_reads and name != "batch_count":  # the count is ours: each is a request
        return "a server generates, since only the Draw Things app does it"
    if row.needs_input and row.needs_input not in situation.inputs:
        return f"there is no {row.needs_input}"
    if not sampler_reads(name, configuration["sampler"]):
        return f"the sampler is {configuration['sampler'].label}"
    if row.needs and not configuration[row.needs]:
        return f"{CONFIGURATION[row.needs].label} is {'none' if CONFIGURATION[row.needs].file_kind else 'off'}"
    if reason := _idle_with_model(name, situation) or (row.needs and idle(row.needs, situation)):
        return reason
    if row.unless and configuration[row.unless] and _acts(row.unless, situation):
        return f"{CONFIGURATION[row.unless].label} is on"
    return ""


def _acts(name: str, situation: Situation) -> bool:
    """Whether a setting acts for certain: with a model that nobody describes it may not."""
    known = situation.known
    described = situation.catalog.find("model", situation.configuration["model"]) is not None
    return described and known is not None and known.matters(name) and not idle(name, situation)


def _idle_with_model(name: str, situation: Situation) -> str:
    """What the model's specification, and the files beside it, decide (model_families.json, rules)."""
    configuration, known, _, catalog = situation
    model = catalog.find("model", configuration["model"])
    refiner = catalog.find("model", configuration["refiner_model"])
    if known is not None and name in known.read_by_refiner and (not configuration["refiner_model"] or _leaves_to_refiner(name, refiner)):
        return "no refiner that reads it takes over"
    if model is None:
        return ""
    says = model.specification
    if name == "resolution_dependent_shift" and says.get("is_consistency_model"):
        return f"{model.name} is made for few steps, at a fixed shift"
    if name == "speed_up_with_guidance_embed" and not says.get("guidance_embed"):
        return f"{model.name} has no guidance built in"
    if name == "guidance_embed" and _like_chroma(says):
        return f"{model.name} takes no embedded guidance"
    if name == "tea_cache" and known is not None and not known.tea_cache_built_in and not says.get("tea_cache_coefficients"):
        return f"{model.name} has no coefficients for it"
    if name == "image_guidance_scale" and _all_described(configuration, catalog):
        lender = catalog.modifying(configuration)
        if lender is None or lender.modifier != "editing":
            return f"{model.name} is no instruction-editing model"
    of_guidance = name in _OF_NEGATIVE or (name == "cfg_zero_star" and not configuration["cfg_zero_init_steps"])
    return "there is no guidance" if of_guidance and guidance_off(configuration, catalog, model.version) else ""


def _leaves_to_refiner(name: str, entry: Entry | None) -> bool:
    """Whether a refiner of this family would not read the setting either."""
    other = family(entry.version) if entry is not None else None
    return other is not None and name in other.read_by_refiner


def _like_chroma(specification: Mapping[str, Any]) -> bool:
    layers = specification.get("mmdit")
    return isinstance(layers, Mapping) and bool(layers.get("distilled_guidance_layers"))


def _all_described(configuration: Configuration, catalog: Catalog) -> bool:
    """Whether nothing that is not described could lend the model a modifier."""
    return all(catalog.find("LoRA", lora["file"]) is not None for lora in configuration["loras"] if lora["file"])


def sampler_reads(name: str, sampler: Sampler) -> bool:
    """Whether a setting acts with this sampler."""
    return name not in _READ_BY or sampler in _READ_BY[name]


def _labels(names: list[str]) -> str:
    return ", ".join(CONFIGURATION[name].label for name in names)


def guidance_off(configuration: Configuration, catalog: Catalog, version: str | None) -> str:
    """Why there is no guidance and the negative prompt is not read, as the middle of a sentence; "" when there is."""
    model = catalog.find("model", configuration["model"])
    described = [model, *(catalog.find("LoRA", lora["file"]) for lora in configuration["loras"] if lora["weight"] != 0)]
    for entry in described:
        if entry is not None and entry.specification.get("is_consistency_model"):
            return f"{entry.name} is made to run without guidance"
    known = family(version)
    if known is not None and known.never_guided:
        return "this family runs without guidance"
    if configuration["sampler"] in _NEVER_GUIDED:
        return f"the sampler {configuration['sampler'].label} runs without guidance"
    embedded = model is not None and model.specification.get("guidance_embed")
    if embedded and configuration["speed_up_with_guidance_embed"]:
        return "guidance is built into the model, with the speed-up on"
    scales = [configuration["guidance_scale"]]
    lender = catalog.modifying(configuration)
    if lender is not None and lender.modifier == "editing":
        scales.append(configuration["image_guidance_scale"])
    if known is not None and known.matters("start_frame_cfg"):
        scales.append(configuration["start_frame_cfg"])
    return "the guidance is 1" if all(abs(scale - 1) < _GUIDANCE_OFF for scale in scales) else ""


class Advice(NamedTuple):
    """What suits a model. options: without the size, and without the strength, which is the input image's matter."""

    options: Options
    size: tuple[int, int]
    negative_prompt: str
    notes: tuple[str, ...]


def advise(file: str, catalog: Catalog, loras: Sequence[LoRA] = ()) -> Advice:
    """The recommendation for a model file and the LoRAs that go with it. Raises InvalidSetting for a name that is none."""
    entry = catalog.find("model", file)
    version = rules.version_of(Configuration(model=file), catalog)
    names = [lora["file"] for lora in loras if lora["file"]]
    settings = families.recommended(file, version, entry.default_scale if entry else None, names)
    configuration = Configuration(settings, model=file, loras=tuple(loras))
    off = guidance_off(configuration, catalog, version)
    negative = "" if off else families.negative_prompt(version)
    options = {name: value for name, value in settings.items() if name not in ("start_width", "start_height", "strength")}
    notes = [*_about(Situation(configuration, family(version), (), catalog), version, families.preset(file, version, names))]
    if off:
        notes.append(f"A negative prompt has no effect: {off}.")
    if catalog.describes and entry is None:
        notes.append(f"The server does not list {file}.")
    return Advice(Options(options), (configuration["start_width"], configuration["start_height"]), negative, tuple(notes))


def _about(situation: Situation, version: str | None, preset: families.Preset | None) -> Iterator[str]:
    configuration, known = situation.configuration, situation.known
    if preset is None:
        yield f"The app has no preset for this model ({families.name_of(version)}): these are its defaults."
    else:
        whose = "" if preset.exact else f", made for another model of its family ({families.name_of(version)})"
        yield f"From the app's preset {preset.name!r}{whose}."
    by_size = "resolution_dependent_shift"
    resolution = known is not None and known.matters(by_size) and configuration[by_size] and not idle(by_size, situation)
    yield (
        f"{configuration['start_width']}x{configuration['start_height']} px, {configuration['steps']} steps, "
        f"guidance {configuration['guidance_scale']:g}, {configuration['sampler'].label}, "
        f"shift {'by the resolution' if resolution else format(configuration['shift'], 'g')}."
    )
    if known is not None and known.video:
        yield f"{known.decoded_frames(configuration['num_frames'])} frames."
    if preset is None or not preset.exact:
        return
    if preset.refiner_model:
        yield f"It goes with the refiner {preset.refiner_model} from {preset.refiner_start:g} on: add Refiner Options."
    chosen = {lora["file"] for lora in configuration["loras"]}
    for lora in preset.loras:
        if lora["file"] not in chosen:
            yield f"It goes with the LoRA {lora['file']} at {lora['weight']:g}, mode {lora['mode'].label}: add it with LoRA Stack."
