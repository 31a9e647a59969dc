"""What suits a model, and what will have no effect and why: values and sentences for people, never errors.

Facts: model_families.json (rules.cfg_off, configuration_fields_that_matter), config_json.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from . import families, rules
from .catalog import Catalog
from .configuration import CONFIGURATION, Configuration, LoRA, Options, Sampler
from .families import Family, family

_NEVER_GUIDED_SAMPLERS = (Sampler.lcm, Sampler.tcd, Sampler.tcd_trailing)
_READ_BY_SAMPLERS = {"stochastic_sampling_gamma": (Sampler.tcd, Sampler.tcd_trailing)}
"""Settings that some samplers alone read."""
_GUIDANCE_OFF = 0.001
"""How near to 1 a guidance scale counts as 1."""


def without_effect(
    given: Mapping[str, Any], otherwise: Configuration, configuration: Configuration, known: Family, inputs: Collection[str]
) -> Iterator[str]:
    """Notes on options that do nothing. given: what was asked for explicitly; otherwise: what would be sent without that; inputs: those
    of "image" and "mask" that there are.
    """
    wanted = Configuration.checked(given)  # what is sent may differ: a strength without an image is 1
    asked = [name for name in wanted if wanted[name] != otherwise[name] and CONFIGURATION[name].topic != "app"]
    foreign = [name for name in asked if not known.matters(name)]
    if foreign:
        yield f"Without effect with {known.name}: {_labels(foreign)}."
    by_reason: dict[str, list[str]] = {}
    for name in asked:
        reason = None if name in foreign else idle(name, configuration, known, inputs)
        if reason:
            by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield f"Without effect while {reason}: {_labels(names)}."


def idle(name: str, configuration: Configuration, known: Family | None, inputs: Collection[str]) -> str:
    """Why this setting does not act although the family reads it, as the end of "while ..."; "" when it acts. known, inputs: as
    `without_effect`; None for a family that is not known.
    """
    row = CONFIGURATION[name]
    if not row.server_reads and name != "batch_count":  # the count is ours: each is a request
        return "a server generates, since only the Draw Things app does it"
    if row.needs_input and row.needs_input not in inputs:
        return f"there is no {row.needs_input}"
    if not sampler_reads(name, configuration["sampler"]):
        return f"the sampler is {configuration['sampler'].label}"
    if row.needs and not configuration[row.needs]:
        return f"{CONFIGURATION[row.needs].label} is {'none' if CONFIGURATION[row.needs].file_kind else 'off'}"
    if row.unless and known is not None and known.matters(row.unless) and configuration[row.unless]:
        return f"{CONFIGURATION[row.unless].label} is on"
    return ""


def sampler_reads(name: str, sampler: Sampler) -> bool:
    """Whether a setting acts with this sampler."""
    return name not in _READ_BY_SAMPLERS or sampler in _READ_BY_SAMPLERS[name]


def _labels(names: list[str]) -> str:
    return ", ".join(CONFIGURATION[name].label for name in names)


def guidance_off(configuration: Configuration, catalog: Catalog, version: str | None) -> str:
    """Why there is no guidance and the negative prompt is not read, as the middle of a sentence; "" when there is."""
    model = catalog.find("model", configuration["model"])
    described = [model, *(catalog.find("LoRA", lora["file"]) for lora in configuration["loras"] if lora["weight"] != 0)]
    for entry in described:
        if entry is not None and entry.specification.get("is_consistency_model"):
            return f"{entry.name} is made to run without guidance"
    if version == "longcat_video_avatar_v1.5":
        return "this family runs without guidance"
    if configuration["sampler"] in _NEVER_GUIDED_SAMPLERS:
        return f"the sampler {configuration['sampler'].label} runs without guidance"
    known = family(version)
    embedded = model is not None and model.specification.get("guidance_embed")
    if embedded and configuration["speed_up_with_guidance_embed"]:
        return "guidance is built into the model, with the speed-up on"
    scales = [configuration["guidance_scale"]]
    if model is not None and model.modifier == "editing":
        scales.append(configuration["image_guidance_scale"])
    if known is not None and known.version == "svd_i2v":
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
    notes = [*_about(configuration, version, families.preset(file, version, names))]
    if off:
        notes.append(f"A negative prompt has no effect: {off}.")
    if catalog.describes and entry is None:
        notes.append(f"The server does not list {file}.")
    return Advice(Options(options), (configuration["start_width"], configuration["start_height"]), negative, tuple(notes))


def _about(configuration: Configuration, version: str | None, preset: families.Preset | None) -> Iterator[str]:
    known = family(version)
    if preset is None:
        yield f"The app has no preset for this model ({families.name_of(version)}): these are its defaults."
    else:
        whose = "" if preset.exact else f", made for another model of its family ({families.name_of(version)})"
        yield f"From the app's preset {preset.name!r}{whose}."
    resolution = known is not None and known.matters("resolution_dependent_shift") and configuration["resolution_dependent_shift"]
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
