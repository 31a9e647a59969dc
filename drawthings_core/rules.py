"""What must never be sent, because a server would stop its process, hang, or give nothing back.

Checks of single fields are in the table of settings; these need more than one field, the pictures, or the model's
specification. Facts: server_semantics.md section 6, app_behaviour.md (CRASH), tensors.md.
"""

from __future__ import annotations

import numpy as np

from .catalog import Catalog, Entry, capital
from .configuration import SIZE_UNIT, Configuration, Record
from .errors import FamilyMismatch, InvalidImage, InvalidInput, InvalidSetting
from .families import Family, families, family, name_of, refines, version_of_file
from .halves import all_finite
from .hints import CHANNELS, NO_AUDIO
from .prompts import keyword_text
from .request import GenerationRequest
from .schedule import Schedule, divides_by_zero, kind_of, start

_MODIFIERS_THAT_TRAP = ("inpainting", "depth")
_MASK_CODES = (0, 1, 2, 3, 4)

RELATIONS = ("LoRA", "control", "refiner", "textual inversion")
"""What a file can be to a model whose family it must have."""


def also_fits() -> dict[str, dict[str, list[str]]]:
    """By relation and a model's version: the versions besides its own that fit it."""
    refining = {version: [other for other in families() if other != version and refines(other, version)] for version in families()}
    others = {version: versions for version, versions in refining.items() if versions}
    loras = {version: [*known.also_loras] for version, known in families().items() if known.also_loras}
    return dict(zip(RELATIONS, (loras, {}, others, others), strict=True))


def chosen(entry: Entry) -> bool:
    """Whether an entry can be chosen for its kind: the second stage of Stable Cascade is described as a model and is none by itself."""
    return not _second_stage(family(entry.version))


def _second_stage(known: Family | None) -> bool:
    return known is not None and known.cascade_stage == "b"


def version_of(configuration: Configuration, catalog: Catalog) -> str | None:
    """The model's version: from its specification, else from its published file name, else None."""
    entry = catalog.find("model", configuration["model"])
    return entry.version if entry else version_of_file(configuration["model"] or "")


def check(request: GenerationRequest, catalog: Catalog) -> None:
    """Raise InvalidSetting, InvalidImage, FamilyMismatch or InvalidInput for a request that must not be sent."""
    # Values may come from a wire default or an old pickle: every single-field check again, on the whole record.
    Configuration(dict(request.configuration))
    version = version_of(request.configuration, catalog)
    known = family(version)
    model = catalog.find("model", request.configuration["model"])
    _check_text(request)
    _check_configuration(request, known, model)
    _check_modifier(request.configuration, catalog, known)
    _check_families(request.configuration, catalog, model)
    _check_embeddings(request, catalog, known, model)
    _check_image(request)
    _check_mask(request)
    _check_hints(request)
    _check_pose(request, known, model)
    _check_proportions(request, catalog)
    _check_needed_inputs(request, known)


def _check_text(request: GenerationRequest) -> None:
    for name, text in (("Prompt", request.prompt), ("Negative prompt", request.negative_prompt), ("User", request.user)):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{name} holds a broken character (a lone surrogate) at position {error.start}: remove it.") from error


def _check_configuration(request: GenerationRequest, known: Family | None, model: Entry | None) -> None:
    configuration = request.configuration
    if not configuration["model"]:
        raise InvalidSetting("Model", "", "the file name of a model on the server")
    _check_single_step(configuration, known, model)
    if configuration["hires_fix"] and known is not None and known.hires_fix_fails:
        raise InvalidSetting("High-resolution fix", True, f"off for {known.name}, whose second pass would be 4 times too large")
    for topic in ("decoding", "diffusion"):
        if configuration[f"tiled_{topic}"]:
            overlap = configuration[f"{topic}_tile_overlap"]
            side = min(configuration[f"{topic}_tile_width"], configuration[f"{topic}_tile_height"])
            if overlap >= side:
                label = configuration.ROWS[f"{topic}_tile_overlap"].label
                raise InvalidSetting(label, overlap, f"less than the tile's smaller side, {side} px")


def _check_single_step(configuration: Configuration, known: Family | None, model: Entry | None) -> None:
    steps, sampler = configuration["steps"], configuration["sampler"]
    if any(divides_by_zero(steps, sampler, schedule) for schedule in _schedules(configuration, known, model)):
        raise InvalidSetting("Steps", steps, f"2 or more with the sampler {sampler.label}, or 1 with a Trailing one")


def _check_modifier(configuration: Configuration, catalog: Catalog, known: Family | None) -> None:
    """A model, or the first LoRA that lends one, with a modifier its family does not have stops the server."""
    if known is None:
        return
    lender = catalog.modifying(configuration)
    if lender is not None and lender.modifier in _MODIFIERS_THAT_TRAP and lender.modifier not in known.modifiers:
        raise InvalidInput(
            f"{lender.name} is described as {lender.modifier!r}, which {known.name} does not have and which would stop the server: "
            f"correct its entry on the server or choose another."
        )


def _check_families(configuration: Configuration, catalog: Catalog, model: Entry | None) -> None:
    """A LoRA, control or refiner of another family would be skipped without a word."""
    if model is None:
        return
    versions = {model.version}
    refiner = catalog.find("model", configuration["refiner_model"])
    if refiner is not None and not refines(refiner.version, model.version):
        raise FamilyMismatch("Refiner", refiner.name, name_of(refiner.version), model.name, name_of(model.version))
    known = family(model.version)
    lora_versions = versions | ({refiner.version} if refiner else set()) | {*(known.also_loras if known else ())}
    for kind, records, allowed in (("LoRA", configuration["loras"], lora_versions), ("control", configuration["controls"], versions)):
        for record in records:
            entry = catalog.find(kind, record["file"])
            if entry is not None and _acts(record) and entry.version not in allowed:
                raise FamilyMismatch(
                    capital(kind),
                    entry.name,
                    name_of(entry.version),
                    model.name,
                    name_of(model.version),
                )


def _acts(record: Record) -> bool:
    return record["weight"] != 0


def _check_embeddings(request: GenerationRequest, catalog: Catalog, known: Family | None, model: Entry | None) -> None:
    """Outside the families that have embeddings their look-up ends in a fatal error on the server; another family's do not fit."""
    for entry in catalog.keywords_in(request.texts, request.configuration):
        if known is not None and not known.embeddings:
            raise InvalidInput(
                f"The prompt names the textual inversion {keyword_text(entry)}, but {known.name} has none and the server would stop: remove it."
            )
        # Families that refine one another share their text encoders.
        if model is not None and not refines(entry.version, model.version):
            raise FamilyMismatch("Textual inversion", entry.name, name_of(entry.version), model.name, name_of(model.version))


def _check_image(request: GenerationRequest) -> None:
    scale = request.scale_factor
    if scale < 1:
        raise InvalidInput(f"The scale factor is {scale}, but allowed is 1 or more.")
    if request.image is None:
        return
    _check_picture(request.image, "The image", 3)
    _, height, width, _ = request.image.shape
    unit = SIZE_UNIT * scale
    if width % unit or height % unit:
        raise InvalidImage(f"The image is {width}x{height}, but allowed are multiples of {unit}: let it be fitted to the canvas.")
    for label, side in (("wide", width), ("high", height)):
        limit = Configuration.ROWS["start_width"].hard_maximum
        if limit is not None and side > limit * scale:
            raise InvalidImage(f"The image is {side} px {label}, but allowed is {limit * scale:.0f} at most.")


def _check_picture(array: np.ndarray, what: str, channels: int) -> None:
    if array.ndim != 4 or array.shape[3] != channels or 0 in array.shape or array.dtype != np.float16:
        raise InvalidImage(
            f"{what} is {array.dtype} {list(array.shape)}, but the server takes float16 [batch, height, width, {channels}] only."
        )
    if not all_finite(array):
        raise InvalidImage(f"{what} holds values that are not numbers (NaN or infinity): look at the node that makes it.")


def _check_mask(request: GenerationRequest) -> None:
    mask = request.mask
    if mask is None:
        return
    if request.image is None:
        raise InvalidImage("There is a mask but no image: connect the image that it belongs to.")
    width, height = request.working_size
    if mask.dtype != np.uint8 or mask.shape != (height, width):
        raise InvalidImage(
            f"The mask is {mask.dtype} {list(mask.shape)}, but the server takes uint8 [{height}, {width}] with this image only."
        )
    if np.any((mask & 7) > max(_MASK_CODES)):
        raise InvalidImage("The mask holds the classes 5 to 7, which mean nothing: use 2 for repaint and 3 for keep.")


def _check_hints(request: GenerationRequest) -> None:
    seen: set[str] = set()
    for hint in request.hints:
        if hint.type == "audio":
            raise InvalidInput(NO_AUDIO)
        channels = CHANNELS.get(hint.type)
        if channels is None:
            raise InvalidInput(f"The hint type {hint.type!r} is not read by a server, which takes {', '.join(CHANNELS)}.")
        if hint.type in seen:
            raise InvalidInput(f"There are two {hint.type} hints, of which a server reads one: combine them into one.")
        seen.add(hint.type)
        if not hint.tensors:
            raise InvalidImage(f"The {hint.type} hint holds no picture.")
        for array, weight in hint.tensors:
            _check_picture(array, f"The {hint.type} hint", channels)
            if not np.isfinite(weight):
                raise InvalidInput(f"The weight of a {hint.type} hint is {weight}, but allowed is a number.")


def _check_pose(request: GenerationRequest, known: Family | None, model: Entry | None) -> None:
    """Pose maps are not resampled: the last tensor has the working size, one before it the first pass's."""
    hint = next((hint for hint in request.hints if hint.type == "pose"), None)
    if hint is None:
        return
    if request.first_pass_size is not None and not _surely_two_passes(request.configuration, known, model):
        settings = request.configuration
        raise InvalidSetting(
            settings.ROWS["hires_fix_strength"].label,
            settings["hires_fix_strength"],
            f"a lower one: with {settings['sampler'].label} and {settings['steps']} steps there might be no second pass, and a pose hint would "
            f"then stop the server",
        )
    sizes = [(array.shape[2], array.shape[1]) for array, _ in hint.tensors]
    needed = [request.working_size]
    if request.first_pass_size is not None:
        needed.insert(0, request.first_pass_size)
    if sizes != needed:
        given, right = (" and ".join(f"{width}x{height}" for width, height in both) for both in (sizes, needed))
        raise InvalidImage(f"The pose hint is {given}, but needed is exactly the canvas, {right}.")


def _check_proportions(request: GenerationRequest, catalog: Catalog) -> None:
    """A map that a server scales with width and height swapped fits only a pass of its own proportions (tensors.md section 6)."""
    swapped = {"depth"}
    modifying = catalog.modifying(request.configuration)
    if request.image is None and modifying is not None and modifying.modifier == "canny":
        swapped.add("custom")
    for hint in request.hints:
        for array, _ in hint.tensors[:1] if hint.type in swapped else ():
            height, width = array.shape[1:3]
            for across, down in filter(None, (request.first_pass_size, request.working_size)):
                if width * down != height * across:
                    raise InvalidImage(
                        f"The {hint.type} hint is {width}x{height}, which a server cannot scale to a pass of {across}x{down}: give the first pass "
                        f"of the high-resolution fix exactly the picture's proportions, or switch it off."
                    )


def _surely_two_passes(settings: Configuration, known: Family | None, model: Entry | None) -> bool:
    """Whether the second pass leaves out a part of the first step, without which there is no high-resolution fix."""
    strength, steps, sampler = settings["hires_fix_strength"], settings["steps"], settings["sampler"]
    return all(start(strength, steps, sampler, schedule).ceil > 0 for schedule in _schedules(settings, known, model))


def _schedules(settings: Configuration, known: Family | None, model: Entry | None) -> list[Schedule]:
    """Those that the run may have: the shift may come from the resolution, which only raises it, and a family may be unknown."""
    version, specification = known.version if known else "", model.specification if model else {}
    kinds = {kind_of(version, flow, specification) for flow in ([known.flow] if known else [True, False])}
    return [Schedule(kind, version, shift) for kind in kinds for shift in {1.0, settings["shift"]}]


def _check_needed_inputs(request: GenerationRequest, known: Family | None) -> None:
    if known is None:
        return
    if _second_stage(known):
        raise InvalidInput("Stage B of Stable Cascade runs after stage C and is no model of its own: choose the file of stage C.")
    if request.image is None and known.needs_image:
        raise InvalidInput(f"{known.name} works on a picture: connect an image.")
    if known.audio_input:
        raise InvalidInput(f"{known.name} needs speech features that only the Draw Things app computes: use it there.")
