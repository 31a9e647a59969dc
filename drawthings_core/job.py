"""What one generating node asks for -> the requests that give it.

A server makes one run from one image and one seed, so a node with a batch of images, or a batch count, is several requests.
Precedence of settings: recommended for the model < the node's widgets < options.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import advice, clip, editing, encodings, images, rules, schedule, seeds, two_passes, upscaling
from .catalog import Catalog
from .configuration import SIZE_UNIT, Configuration, LoRA
from .doubles import double_notes
from .errors import InvalidImage, InvalidInput, ModelBrowserOff
from .families import expected_pictures, family, name_of, recommended
from .hint_inputs import Follower, HintInput, followers, hint_notes, read_image, wire_hints
from .images import AnyFit, Fit
from .prompts import inversion_notes
from .request import GenerationRequest, Hint, first_pass_size, texts_of


@dataclass(frozen=True)
class Job:
    """The inputs of one generating node.

    settings: configuration fields that the node's widgets fix (a field left out is "recommended"). options: DT_OPTIONS, which
    win over them. images: [N, H, W, C] in 0..1, each becoming its own request. masks: [M, H, W], 1 = repaint. references: of an
    instruction, whose first picture is the image: further ones, [N, H, W, C] each; None when the job is no instruction. one_video:
    the images are the first frames of a video, which is one request. scale: the images are only enlarged so many times, or 0 by
    the upscaler's own factor, and restored.

    What is transparent in an image, or its border with Fit.outpaint, is generated from noise, as in the app; not in a video, by an
    instruction, or where images are only enlarged.
    """

    model: str
    prompt: str = ""
    negative_prompt: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    images: np.ndarray | None = field(default=None, repr=False)
    masks: np.ndarray | None = field(default=None, repr=False)
    fit: AnyFit = Fit.crop
    loras: tuple[LoRA, ...] = ()
    hints: tuple[HintInput, ...] = ()
    references: tuple[np.ndarray, ...] | None = field(default=None, repr=False)
    one_video: bool = False
    scale: float | None = None

    @property
    def chosen_model(self) -> str:
        """File name of the model that runs: options may name one (a configuration from the app does)."""
        return self.options.get("model") or self.model


class Run(NamedTuple):
    """One request of a job. request None: nothing is to be done, and `unchanged` [1, H, W, 3] is the result.

    image_number: which input image it uses, from 0, or None; of a video the first. repaints: False for an empty mask.
    """

    seed: int
    image_number: int | None
    request: GenerationRequest | None
    unchanged: np.ndarray | None = None
    repaints: bool = True

    @property
    def only_restores(self) -> bool:
        """An image without a mask, at strength 0 or so little that no step is left: it is restored and enlarged once."""
        sent = self.request
        return sent is not None and sent.image is not None and sent.mask is None and _nothing_to_do(sent.configuration)


@dataclass(frozen=True)
class Plan:
    """A job with everything decided. runs() makes the requests one by one, so that only one holds its pictures at a time.

    layered: the members of a batch are the layers of one picture. alpha: results have an alpha channel. frame_rate: at which a
    video is played. holes: parts of the images are empty and to be generated. sends_images: something may look at the images.
    """

    job: Job
    configuration: Configuration
    version: str | None
    notes: tuple[str, ...]
    count: int
    layered: bool = False
    alpha: bool = False
    frame_rate: float = clip.FALLBACK_RATE
    holes: bool = False
    sends_images: bool = True

    def runs(self) -> Iterator[Run]:
        job = self.job
        masked = job.masks is not None or self.holes
        hints = wire_hints(job.hints, self.configuration, self.version, job.fit.of_maps, job.images is not None, masked)
        pictures = _Pictures(self)
        for number in range(self.count):
            seed = seeds.following(self.configuration["seed"], number)
            yield pictures.run(number, seed, self.configuration.updated(seed=seed), hints)

    def pictures_of(self, run: Run) -> int:
        """How many pictures a run should give."""
        return 1 if run.only_restores else self.pictures_a_run

    @property
    def pictures_a_run(self) -> int:
        """How many pictures a run that generates should give."""
        if self.job.one_video and family(self.version) is None:
            return self.configuration["num_frames"]
        return expected_pictures(self.version, self.configuration)

    def seeds_of(self, run: Run, pictures: int) -> list[int | None]:
        """The seed of each of the `pictures` that a run gave: batch members have their own, frames and layers share one, None: no noise."""
        if run.only_restores:
            return [None] * pictures
        known = family(self.version)
        if self.layered or (known is not None and known.video):
            return [run.seed] * pictures
        return [*seeds.of_batch(run.seed, pictures, self.configuration["seed_mode"])]


class Wished(NamedTuple):
    """The settings of a job before its pictures and the family have their say, by field name; a side of the canvas may be missing.

    chosen: those that widgets and options fix. suggested: those recommended for the model.
    """

    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    suggested: Mapping[str, Any]


def wished(job: Job, catalog: Catalog) -> Wished:
    """Recommended < widgets < options, with the LoRAs and controls of both. Raises InvalidSetting."""
    file = job.chosen_model
    entry = catalog.find("model", file)
    chosen = Configuration.checked({**job.settings, **job.options})
    loras = (*chosen.get("loras", ()), *job.loras)
    controls = (*chosen.get("controls", ()), *(hint.control for hint in job.hints if hint.control is not None))
    version = rules.version_of(Configuration(model=file), catalog)
    suggested = recommended(file, version, entry.default_scale if entry else None, [lora["file"] for lora in loras if lora["file"]])
    own = {"model": file, "seed": chosen.get("seed", 0), "loras": loras, "controls": controls}
    return Wished({**suggested, **chosen, **own}, chosen, suggested)


def plan(job: Job, catalog: Catalog) -> Plan:
    """Decide settings, canvas and number of requests. Raises InvalidInput and its children."""
    file = job.chosen_model
    if not file and not catalog.browsing:
        raise ModelBrowserOff()
    if not file:
        raise InvalidInput("No model is chosen: choose one of the server's models, or type its file name.")
    entry = catalog.find("model", file)
    version = entry.version if entry else rules.version_of(Configuration(model=file), catalog)
    size = None if job.images is None else _size(images.check_image(job.images, "The input 'image'"))
    notes: list[str] = []
    if job.scale is not None and job.images is not None and size is not None:
        enlarging = upscaling.enlarging(job.scale, size, job.settings, job.options, version, catalog)
        if job.images.shape[3] == 4:
            notes.append("The image's alpha channel was left out.")
        opaque = job.images[..., :3]
        job = dataclasses.replace(job, images=opaque, settings=enlarging.settings, options=enlarging.options, fit=enlarging.fit)
        notes += enlarging.notes
    asked = wished(job, catalog)
    settings, chosen, suggested = dict(asked.settings), asked.chosen, asked.suggested
    settings["start_width"], settings["start_height"] = canvas_size(
        chosen.get("start_width"), chosen.get("start_height"), (suggested["start_width"], suggested["start_height"]), size
    )
    holes = _has_holes(job, (settings["start_width"], settings["start_height"]), settings.get("strength"))
    if job.images is None:
        settings["strength"] = 1.0  # nothing to keep a part of
    elif settings.get("strength") != 1 or job.masks is not None or holes:
        settings["hires_fix"] = False  # does nothing from an image, but near strength 1 some schedules begin as text to image
    if job.one_video:
        clip.check_model(file, entry, version)
        settings, read, left_out = clip.one_video(settings, chosen, version, 0 if job.images is None else len(job.images))
        notes += left_out
        job = job if job.images is None else dataclasses.replace(job, images=job.images[:read])
    settings = two_passes.adapted(settings, chosen, suggested)
    configuration = Configuration(settings)
    if job.references is not None:
        references, left_out = editing.references(job.references, configuration, version, catalog)
        job = dataclasses.replace(job, hints=(*references, *job.hints))
        notes += left_out
    following = followers(job.hints, configuration, catalog, job.images is not None)
    notes += _notes(job, configuration, version, catalog)
    notes += double_notes(configuration, following, chosen)
    layered, alpha = editing.makes_layers(configuration, catalog), editing.makes_alpha(configuration, catalog)
    masked = job.masks is not None or holes
    seen = masked or configuration["strength"] != 1 or _reads_image(configuration, catalog, following)
    if job.images is not None:
        notes += _notes_on_image(job, configuration, version, seen, holes, alpha)
    again = first_pass_size(configuration, job.images is not None, masked) is not None
    notes += hint_notes(job.hints, following, job.images is not None, again)
    named = catalog.keywords_in(texts_of(job.prompt, job.negative_prompt, configuration), configuration)
    notes += inversion_notes(named, family(version))
    options = job.options
    if chosen.get("hires_fix") and not configuration["hires_fix"]:
        notes.append("The high-resolution fix acts on text to image only and was left out.")
        options = {name: value for name, value in options.items() if "hires_fix" not in (name, Configuration.ROWS[name].needs)}
    inputs = {name for name, there in (("image", job.images is not None), ("mask", masked)) if there}
    notes += _notes_on_options(job, options, suggested, advice.Situation(configuration, family(version), inputs, catalog))
    return Plan(
        job,
        configuration,
        version,
        tuple(notes),
        _count(job, configuration),
        layered,
        alpha,
        clip.frame_rate(entry, version),
        holes,
        sends_images=seen or bool(configuration["controls"]),
    )


def canvas_size(width: int | None, height: int | None, suggested: tuple[int, int], image: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) in pixels, multiples of 64. A side that is None follows the image's proportions, at the suggested area;
    without an image it is the suggested one.
    """
    if width is not None and height is not None:
        return width, height
    if image is None:
        return width or suggested[0], height or suggested[1]
    ratio = image[0] / image[1]
    if width is not None:
        return width, _to_unit(width / ratio)
    if height is not None:
        return _to_unit(height * ratio), height
    area = suggested[0] * suggested[1]
    return _to_unit(math.sqrt(area * ratio)), _to_unit(math.sqrt(area / ratio))


def _to_unit(side: float) -> int:
    row = Configuration.ROWS["start_width"]
    nearest = SIZE_UNIT * max(1, math.floor(side / SIZE_UNIT + 0.5))
    return int(min(max(nearest, row.hard_minimum or 0), row.hard_maximum or nearest))


def _size(pictures: np.ndarray) -> tuple[int, int]:
    return pictures.shape[2], pictures.shape[1]


def _count(job: Job, configuration: Configuration) -> int:
    if job.one_video:
        return 1
    inputs = max(1, 0 if job.images is None else len(job.images), 0 if job.masks is None else len(job.masks))
    return inputs * configuration["batch_count"]


def _notes(job: Job, configuration: Configuration, version: str | None, catalog: Catalog) -> Iterator[str]:
    if not catalog.browsing:
        yield "The server does not list its models (model browser off), so nothing is known about this one but its name."
    if job.scale is not None and configuration["strength"] == 0:
        return  # nothing is generated
    if job.negative_prompt.strip() and (reason := advice.guidance_off(configuration, catalog, version)):
        yield f"The negative prompt has no effect: {reason}."
    if configuration["refiner_model"] and configuration["refiner_model"] == configuration["model"]:
        yield "The refiner is the model itself, which does nothing: choose another file in Refiner Options, or none."
    known = family(version)
    if known is None:
        yield f"The model's family ({version or 'unknown'}) is not known here: there are no recommended settings and no preview for it."
        return
    if configuration["sampler"] not in known.samplers:
        yield f"{known.name} is a flow model, for which Draw Things offers Trailing and AYS samplers only, not {configuration['sampler'].label}."
    if configuration["hires_fix"] and known.matters("hires_fix_strength"):
        yield from two_passes.notes(configuration)
    frames = known.decoded_frames(configuration["num_frames"])
    if known.video and not job.one_video:
        yield f"{known.name} makes a video: Generate Video also gives its frame rate."
    if known.video and frames != configuration["num_frames"]:
        yield f"{known.name} makes {frames} frames where {configuration['num_frames']} were asked for."


def _notes_on_image(job: Job, configuration: Configuration, version: str | None, seen: bool, holes: bool, alpha: bool) -> Iterator[str]:
    assert job.images is not None
    if not seen:
        known = family(version)
        other = ", or a model that is made to start from an image" if known is not None and known.video else ""
        yield f"At strength 1 {name_of(version)} starts from noise: the input image has no influence. Use a lower strength{other}."
    if job.masks is None and not holes and _nothing_to_do(configuration):
        yield from _notes_on_nothing_to_do(configuration)
    canvas = (configuration["start_width"], configuration["start_height"])
    if job.fit is Fit.outpaint:
        yield from _notes_on_borders(job, canvas)
    if not holes:
        return
    if alpha:
        yield (
            f"A model that makes transparent pictures does not fill what is empty in the image."
            f"{' Without a mask all of the picture is repainted.' if job.masks is None else ''}"
        )
    elif job.fit is not Fit.outpaint and job.masks is None:
        yield (
            "What is transparent in the image is generated from noise and the rest is kept, as in Draw Things. For image to image of all of "
            "it, connect it without its alpha channel."
        )


def _notes_on_borders(job: Job, canvas: tuple[int, int]) -> Iterator[str]:
    assert job.images is not None
    given, size = {**job.settings, **job.options}, _size(job.images)
    cure = "Set a width and height of other proportions."
    if not images.leaves_borders(size, canvas, job.fit):
        yield f"Nothing is outpainted: the image fills all of {canvas[0]}x{canvas[1]}. {cure}"
    elif "start_width" not in given or "start_height" not in given:
        place = images.placement(size, canvas, job.fit)
        left = max(canvas[0] - place.width, canvas[1] - place.height)
        yield (
            f"Only {left} px beside the image are generated: a recommended size has its proportions, to the nearest multiple of "
            f"{SIZE_UNIT}. {cure}"
        )


def _nothing_to_do(configuration: Configuration) -> bool:
    return schedule.nothing_to_do(configuration["strength"], configuration["steps"], configuration["sampler"])


def _notes_on_nothing_to_do(configuration: Configuration) -> Iterator[str]:
    strength, restored = configuration["strength"], configuration["upscaler"] or configuration["face_restoration"]
    outcome = "is only enlarged and restored" if restored else "comes back as it is"
    if strength > 0:
        sampler = configuration["sampler"].label
        yield f"At strength {strength:g} and {configuration['steps']} steps {sampler} has no step to do: the image {outcome}. Raise the strength."
    elif not restored:
        yield f"At strength 0 the image {outcome}: raise the strength, or connect Upscaler Options."


def _has_holes(job: Job, canvas: tuple[int, int], strength: float | None) -> bool:
    """Whether parts of the images are empty and to be generated."""
    if job.images is None or job.references is not None or job.one_video or job.scale is not None:
        return False
    if job.fit is Fit.outpaint and images.leaves_borders(_size(job.images), canvas, job.fit):
        return True
    if strength == 0 and job.masks is None:  # nothing is generated
        return False
    return job.images.shape[3] == 4 and images.any_transparent(job.images[..., 3])


def _notes_on_options(
    job: Job,
    asked: Mapping[str, Any],
    suggested: Mapping[str, Any],
    situation: advice.Situation,
) -> Iterator[str]:
    if job.model and job.chosen_model != job.model:
        yield f"The options name the model {job.chosen_model}, which runs instead of {job.model}."
    if situation.known is not None:
        otherwise = {**suggested, **job.settings}
        if job.images is None:
            otherwise["strength"] = situation.configuration["strength"]  # of the widget nothing is said
        yield from advice.without_effect(asked, Configuration(otherwise), situation)


def _reads_image(configuration: Configuration, catalog: Catalog, following: Sequence[Follower]) -> bool:
    """Whether something but the start of sampling looks at the image; when nothing is known of the model, perhaps."""
    model = catalog.find("model", configuration["model"])
    entries = [model, *(catalog.find("LoRA", lora["file"]) for lora in configuration["loras"] if lora["file"])]
    known = family(model.version if model else None)
    return (
        any(entry is None or entry.modifier != "none" for entry in entries)
        or read_image(following)
        or configuration["color_calibration"] != 0
        or (known is not None and known.needs_image)
    )


class _Pictures:
    """Fits a job's images and masks to the canvas, each when its turn comes."""

    def __init__(self, planned: Plan):
        self._plan = planned
        self._job = job = planned.job
        self._canvas = (planned.configuration["start_width"], planned.configuration["start_height"])
        self._fit = job.fit if planned.holes else job.fit.of_maps
        if job.masks is not None:
            images.check_mask(job.masks, "The input 'mask'")
            if job.images is None:
                raise InvalidImage("There is a mask but no image: connect the image that it belongs to.")

    def run(self, number: int, seed: int, configuration: Configuration, hints: tuple[Hint, ...]) -> Run:
        job = self._job
        request = GenerationRequest(configuration, job.prompt, job.negative_prompt, hints=hints)
        if job.images is None:
            return Run(seed, None, request)
        # The shorter of images and masks is repeated, as ComfyUI does with batches.
        image_number = number % len(job.images)
        if not self._plan.sends_images:
            return Run(seed, image_number, request)
        taken = job.images if job.one_video else job.images[image_number : image_number + 1]
        mask = self._mask(number, taken)
        if mask is not None and not self._changes(mask):
            return self._unchanged(seed, image_number, taken, configuration)
        return Run(seed, image_number, dataclasses.replace(request, image=self._tensor(taken), mask=mask))

    def _unchanged(self, seed: int, number: int, picture: np.ndarray, configuration: Configuration) -> Run:
        """Nothing to repaint. What enlarges and restores the others of the batch does so with this one, too."""
        if not configuration["upscaler"] and not configuration["face_restoration"]:
            fitted = images.fit_image(picture, *self._canvas, self._fit)
            return Run(seed, number, None, np.clip(fitted[..., :3], 0, 1), repaints=False)
        kept = configuration.updated(strength=0.0)
        request = GenerationRequest(kept, self._job.prompt, self._job.negative_prompt, self._tensor(picture))
        return Run(seed, number, request, repaints=False)

    def _tensor(self, picture: np.ndarray) -> np.ndarray:
        return encodings.shared.image(picture, self._canvas, self._fit)

    def _mask(self, number: int, picture: np.ndarray) -> np.ndarray | None:
        """The mask of a picture on the canvas, uint8 [H, W], or None where it has none and needs none."""
        masks, size = self._job.masks, _size(picture)
        mask = None if masks is None else masks[number % len(masks) : number % len(masks) + 1]
        alpha = self._alpha_of(picture)
        if alpha is not None:
            repaint = np.zeros(alpha.shape, bool) if mask is None else images.fit_mask(mask, *self._canvas, self._fit, size)[0]
            return images.mask_tensor(repaint, alpha, fills=not self._plan.alpha)
        return None if mask is None else encodings.shared.mask(mask, self._canvas, self._fit, size)

    def _alpha_of(self, picture: np.ndarray) -> np.ndarray | None:
        """[H, W] in 0..1 on the canvas of a picture with empty parts that matter, else None."""
        if not self._plan.holes or (self._plan.alpha and self._job.masks is None):  # a model that makes alpha fills nothing
            return None
        alpha = picture[..., 3:] if picture.shape[3] == 4 else np.ones((*picture.shape[:3], 1), np.float32)
        fitted = images.fit_image(alpha, *self._canvas, self._fit.of_maps)[0, :, :, 0]
        return fitted if images.any_transparent(fitted) else None

    def _changes(self, mask: np.ndarray) -> bool:
        """Whether anything is to be repainted or filled."""
        if (mask == images.MASK_REPAINT).any():
            return True
        return not self._plan.alpha and bool((mask & images.MASK_CLASS == images.MASK_EMPTY).any())
