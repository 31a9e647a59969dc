"""One generation: from a request to the messages of its stream, in the order and with the content of the real server."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .. import schedule, tensor
from ..configuration import ColorCalibration, Configuration, Sampler, SeedMode
from ..controls import IMAGE, reading_of_model
from ..families import Family, family
from . import catalog, faults, inputs, latents, painting, plan, prepared, results
from .inputs import Fed, Inputs, Trap
from .jobs import Job
from .labels import Chip, Labels, Thumbnail
from .plan import Path, Run
from .results import response
from .scene import SceneKey

FOREVER = 1e7
"""Seconds of a stall: until the call ends."""
_DOWNLOAD_STEPS = 4


@dataclass(frozen=True)
class Settings:
    """What the command line decides about every generation. picture: scene, plain or prepared."""

    step_seconds: float = 0.02
    compress: bool = True
    remote_downloads: int = 0
    picture: str = "scene"


@dataclass(frozen=True)
class Decoded:
    """A request after decoding and resolving. start: of the image path, whether or not that path runs."""

    request: Any
    configuration: Configuration
    resolved: catalog.Resolved
    inputs: Inputs
    family: Family | None
    scale: int
    start: schedule.Start
    path: Path
    mask_use: plan.MaskUse | None
    feeds: tuple[Fed, ...] = ()

    @property
    def used_hints(self) -> frozenset[str]:
        return inputs.used_hints(self.feeds, self.inputs)

    @property
    def reads_references(self) -> bool:
        """Whether the model itself takes the pictures of a moodboard as further references."""
        reading = reading_of_model(self.resolved.modifier, self.resolved.version)
        return reading is not None and "shuffle" in reading.sources

    @property
    def passes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each pass in which controls act."""
        how = schedule_of(self.configuration, self.resolved, self.inputs, self.scale)
        hires = first_pass(self.configuration, how) if self.path is Path.text and not self.cascade else None
        return (self.canvas,) if hires is None else (hires, self.canvas)

    @property
    def cascade(self) -> bool:
        return self.resolved.version == plan.CASCADE

    @property
    def image(self) -> np.ndarray | None:
        """The input image at working size: float16 [N, H, W, 3]."""
        return inputs.pooled(self.inputs.image, self.scale) if self.inputs.image is not None else None

    @property
    def canvas(self) -> tuple[int, int]:
        """(width, height) of the result before the upscaler."""
        image = self.inputs.image
        if image is None or self.cascade or self.path in (Path.text, Path.empty):
            return self.configuration["start_width"], self.configuration["start_height"]
        return image.shape[2] // self.scale, image.shape[1] // self.scale


def decode(request: Any, known: catalog.Catalog) -> Decoded:
    """Everything the generator decides before it starts. Raises Trap where the real server's process would stop."""
    configuration = inputs.read_configuration(request.configuration)
    arrived = inputs.read(request)
    override = catalog.parse_override(request.override)
    resolved = catalog.resolve(known, override, configuration)
    row = family(resolved.version)
    spaced = schedule.Schedule(_kind_of_schedule(resolved), resolved.version)
    inputs.check_settings(configuration, still=not (row and row.video), spaced=spaced)
    if resolved.modifier in ("depth", "inpainting") and row is not None and resolved.modifier not in row.modifiers:
        raise Trap(f"the modifier {resolved.modifier} does not exist for {resolved.version}")
    if row is not None and not row.embeddings and override["textual_inversions"]:
        raise Trap(f"{resolved.version} has no textual inversions")
    start = schedule.start(
        configuration["strength"],
        configuration["steps"],
        configuration["sampler"],
        schedule_of(configuration, resolved, arrived, request.scaleFactor),
    )
    path, use = _path(configuration, resolved, arrived, start)
    if path is Path.text or resolved.version == plan.CASCADE:
        inputs.check_canvas(configuration)
    scale = max(request.scaleFactor, 1)
    _check_image(request, configuration, arrived, path)
    fed = inputs.feeds(resolved.controls, resolved.modifier, resolved.version, arrived, known.directory.exists)
    decoded = Decoded(request, configuration, resolved, arrived, row, scale, start, path, use, fed)
    inputs.check_hints(decoded.used_hints, arrived, decoded.passes)
    return decoded


def facts(decoded: Decoded) -> dict[str, Any]:
    """What became of a request, as plain JSON: for the control channel."""
    resolved = decoded.resolved
    return {
        "path": decoded.path.name,
        "model": resolved.model,
        "version": resolved.version,
        "modifier": resolved.modifier,
        "fell_back": resolved.fell_back,
        "loras": [record["file"] for _, record in resolved.loras],
        "controls": [record["file"] for _, record in resolved.controls],
        "hints_used": sorted(decoded.used_hints),
        "fed": [fed._asdict() for fed in decoded.feeds],
        "skipped": list(resolved.skipped),
        "notes": list(decoded.inputs.notes),
        "canvas": list(decoded.canvas),
        "announced": plan_run(decoded).signposts,
    }


def _path(
    configuration: Configuration, resolved: catalog.Resolved, arrived: Inputs, start: schedule.Start
) -> tuple[Path, plan.MaskUse | None]:
    image, mask = arrived.image, arrived.mask
    if "audio" in arrived.hints:
        fits = resolved.version == "longcat_video_avatar_v1.5" and image is not None and mask is None
        return (Path.text if fits and len(arrived.hints["audio"].tensors) == 2 else Path.empty), None
    if image is None:
        return (Path.empty if resolved.version == "svd_i2v" else Path.text), None
    use = None
    if mask is not None:
        inputs.check_mask_type(mask)
        use = plan.use_of_mask(arrived.mask_codes, resolved.with_alpha)
    path = use.path if use is not None else Path.image
    if path is Path.image:
        if start.floor == 0 and start.ceil == 0 and resolved.version not in plan.KEEPS_IMAGE_PATH:
            return Path.text, use
    elif path is not Path.text:
        inputs.check_strength(configuration["strength"])
    return path, use


def _check_image(request: Any, configuration: Configuration, arrived: Inputs, path: Path) -> None:
    image, scale = arrived.image, request.scaleFactor
    if image is None:
        return
    if arrived.mask is not None:
        inputs.check_image(image, scale, unit=plan.UNIT, what="mask path")
        inputs.check_mask_size(arrived.mask, image, scale)
    elif path is Path.image:
        inputs.check_strength(configuration["strength"])
        inputs.check_image(image, scale, unit=plan.UNIT, what="image path")
    else:
        inputs.check_image(image, max(scale, 1), unit=1, what="text path")


def schedule_of(configuration: Configuration, resolved: catalog.Resolved, arrived: Inputs, scale: int) -> schedule.Schedule:
    """The noise schedule of the model with the shift that acts."""
    row = family(resolved.version)
    shift = configuration["shift"]
    if (
        row is not None
        and "resolution_dependent_shift" in row.supports
        and configuration["resolution_dependent_shift"]
        and not resolved.specification.get("is_consistency_model")
    ):
        shift = schedule.resolution_dependent_shift(*_units(configuration, arrived, max(scale, 1)))
    return schedule.Schedule(_kind_of_schedule(resolved), resolved.version, shift)


def _kind_of_schedule(resolved: catalog.Resolved) -> str:
    row = family(resolved.version)
    return schedule.kind_of(resolved.version, row is not None and row.flow, resolved.specification)


def _units(configuration: Configuration, arrived: Inputs, scale: int) -> tuple[int, int]:
    """Height and width in units of 64 px: of the image or canvas, of a tile where that is smaller."""
    height, width = configuration["start_height"], configuration["start_width"]
    if arrived.image is not None and arrived.image.ndim == 4:
        height, width = arrived.image.shape[1] // scale, arrived.image.shape[2] // scale
    if configuration["tiled_diffusion"]:
        height, width = min(height, configuration["diffusion_tile_height"]), min(width, configuration["diffusion_tile_width"])
    return height // plan.UNIT, width // plan.UNIT


def plan_run(decoded: Decoded) -> Run:
    """The event sequence of a decoded request."""
    configuration, resolved = decoded.configuration, decoded.resolved
    steps, sampler = configuration["steps"], configuration["sampler"]
    how = schedule_of(configuration, resolved, decoded.inputs, decoded.scale)
    second_steps, second, quirk = 0, schedule.Start(0, 0), 0
    hires = None
    if decoded.cascade:
        second_steps = configuration["stage_2_steps"]
        second = schedule.start(configuration["strength"], second_steps, sampler, how)
        quirk = schedule.start(configuration["hires_fix_strength"], second_steps, sampler, how).floor
    elif decoded.path is Path.text:
        hires = first_pass(configuration, how)
        if hires is not None:
            second = schedule.start(configuration["hires_fix_strength"], steps, sampler, how)
            second_steps = steps - second.floor
    return Run(
        path=decoded.path,
        steps=steps,
        sampler=sampler,
        first=decoded.start,
        at_rest=configuration["strength"] == 0,
        encodes_image=resolved.modifier in ("inpainting", "editing", "double"),
        cascade=decoded.cascade,
        hires=hires is not None,
        second=second,
        second_steps=steps if hires is not None else second_steps,
        quirk_start=quirk,
        restores_faces=resolved.face_restoration is not None,
        upscales=resolved.upscaler is not None,
        strength=configuration["strength"],
    )


def first_pass(configuration: Configuration, how: schedule.Schedule) -> tuple[int, int] | None:
    """(width, height) of the first pass when hires fix takes effect on the text path."""
    width, height = configuration["hires_fix_start_width"], configuration["hires_fix_start_height"]
    if not configuration["hires_fix"] or width <= 0 or height <= 0:
        return None
    if width >= configuration["start_width"] or height >= configuration["start_height"]:
        return None
    begin = schedule.start(configuration["hires_fix_strength"], configuration["steps"], configuration["sampler"], how)
    return (width, height) if begin.ceil > 0 else None  # a part of the first step is enough


class Generation:
    """Runs one decoded request on the worker's thread."""

    def __init__(self, decoded: Decoded, settings: Settings, wrong: dict[str, Any], previewer: bool = True):
        self._decoded = decoded
        self._settings = settings
        self._wrong = wrong
        self._previewer = previewer
        self._run = plan_run(decoded)
        self._signposts = [_signpost(name, step) for name, step in self._run.signposts.items()]
        self._painter = painting.Painter(self._brief())

    # What there is to paint

    @functools.cached_property
    def _frames(self) -> int:
        """Frames of a video, 0 for stills."""
        row = self._decoded.family
        configuration = self._decoded.configuration
        if row is None or not row.video:
            return 0
        return plan.image_count(self._decoded.resolved.version, configuration["batch_size"], configuration["num_frames"])

    @functools.cached_property
    def keys(self) -> list[SceneKey]:
        """One key for each picture, by the seed rules of the mode; frames of a video share theirs."""
        configuration, resolved = self._decoded.configuration, self._decoded.resolved
        seed = configuration["seed"]
        count = 1 if self._frames else plan.image_count(resolved.version, configuration["batch_size"], 1)
        if configuration["seed_mode"] == SeedMode.scale_alike and not resolved.layered:
            members = [(derived, 0) for derived in plan.batch_seeds(seed, count)]
        else:
            members = [(seed, number) for number in range(count)]
        request = self._decoded.request
        return [
            SceneKey(
                request.prompt,
                request.negativePrompt,
                resolved.model,
                number,
                member,
                configuration["steps"],
                configuration["guidance_scale"],
                int(configuration["sampler"]),
            )
            for number, member in members
        ]

    def _brief(self) -> painting.Brief:
        decoded = self._decoded
        width, height = decoded.canvas
        image = decoded.image
        return painting.Brief(
            width=width,
            height=height,
            labels=Labels(chips=_chips(decoded), thumbnails=tuple(_thumbnails(decoded))),
            image=painting.fitted(image[: _frames_read(decoded)], width, height) if image is not None else None,
            leads=_leads(decoded),
            influence=_influence(decoded),
            mask=_mask_plan(decoded),
            guide=_guide(decoded),
            frames=self._frames,
            alpha="layers" if decoded.resolved.layered else "subject" if decoded.resolved.transparent else "",
            plain=self._settings.picture == "plain",
            calibrated=decoded.configuration["color_calibration"] == ColorCalibration.lab,
        )

    # The stream

    def run(self, job: Job) -> None:
        """Send every message; raises Cancelled at the first checkpoint after the call has ended."""
        self._download(job)
        sampled = 0
        for stage in self._run.events():
            job.stage = stage.signpost
            job.send(self._progress(stage))
            if stage.signpost.lower().endswith("sampling"):
                sampled += 1
                if sampled == 1 and "unknown_signpost" in self._wrong:
                    job.send(faults.unknown_signpost())
                if "stall_sampling" in self._wrong and sampled >= faults.number(self._wrong["stall_sampling"], 2):
                    job.checkpoint(FOREVER)
            job.checkpoint(self._settings.step_seconds)
        self._finish(job)

    def _download(self, job: Job) -> None:
        items, size = self._settings.remote_downloads, 262144
        for item in range(items):
            for part in range(_DOWNLOAD_STEPS + 1):
                job.checkpoint()
                message = response()
                message.remoteDownload.bytesReceived = size * part // _DOWNLOAD_STEPS
                message.remoteDownload.bytesExpected = size
                message.remoteDownload.item = item
                message.remoteDownload.itemsExpected = items
                job.send(message)
                job.checkpoint(self._settings.step_seconds / _DOWNLOAD_STEPS)

    def _progress(self, stage: plan.Stage) -> Any:
        message = response(currentSignpost=_signpost(stage.signpost, stage.step), signposts=self._signposts)
        if stage.preview is not None:
            values = self._preview(stage)
            message.previewImage = self._encode(values)
        return message

    def _encode(self, values: np.ndarray) -> bytes:
        encode = prepared.encode if self._settings.picture == "prepared" else tensor.encode
        return encode(values, compress=self._settings.compress)

    def _preview(self, stage: plan.Stage) -> np.ndarray:
        version, shape = self._preview_shape(stage)
        done = stage.done / max(stage.total, 1)
        if self._settings.picture == "plain":
            return np.zeros(shape, np.float16)
        if self._settings.picture == "prepared":
            return prepared.latent(shape)
        return latents.latent(version, shape, self._small_pictures(version, shape), done)

    def _preview_shape(self, stage: plan.Stage) -> tuple[str, plan.Shape]:
        decoded = self._decoded
        configuration, version = decoded.configuration, decoded.resolved.version
        width, height = decoded.canvas
        hires = (configuration["hires_fix_start_width"], configuration["hires_fix_start_height"])
        if decoded.cascade:
            shapes = plan.cascade_shapes(
                width,
                height,
                hires if configuration["hires_fix"] else None,
                configuration["batch_size"],
                configuration["sampler"],
                self._previewer,
            )
            return version, shapes.first if stage.preview == "first" else shapes.second
        if self._run.hires and stage.preview == "first":
            width, height = hires
        count = plan.latent_frames(version, configuration["num_frames"]) or len(self.keys)
        if version.startswith("wan_") and any(spec.get("type") == "controlnet" for spec, _ in decoded.resolved.controls):
            shuffle = decoded.inputs.hints.get("shuffle")
            count += len(shuffle.tensors) if shuffle is not None else 0  # VACE puts its references in front
        return version, plan.preview_shape(version, width, height, count)

    @functools.cached_property
    def _small_cache(self) -> dict[plan.Shape, np.ndarray]:
        return {}

    def _small_pictures(self, version: str, shape: plan.Shape) -> np.ndarray:
        """uint8 [n, h, w, 3]: what is being painted, at the preview's size."""
        if shape not in self._small_cache:
            width, height = latents.picture_size(version, shape)
            keys = self.keys if not self._frames else self.keys * shape.n
            spread = max(1, self._frames) / shape.n
            pictures = [
                self._painter.art(key, width, height, int(place * spread) if self._frames else 0)
                for place, key in enumerate(keys[: shape.n])
            ]
            self._small_cache[shape] = np.stack(pictures)
        return self._small_cache[shape]

    # The end

    def _finish(self, job: Job) -> None:
        images: list[bytes] = []
        for picture in faults.spoil_pictures(list(self._pictures(job)), self._wrong):
            job.checkpoint()
            images.append(self._encode(picture))
        images = faults.spoil_bytes(images, self._wrong)
        audio = self._audio() if images or "audio_without_images" in self._wrong else []
        messages = results.result_messages(
            images, audio, chunked=self._decoded.request.chunked, scale=self._decoded.resolved.upscale if images else 1
        )
        for message in faults.spoil_results(messages, self._wrong):
            job.send(message)

    def _pictures(self, job: Job) -> Iterator[np.ndarray]:
        """The results, float16 [1, H, W, C] each."""
        decoded = self._decoded
        configuration = decoded.configuration
        if self._run.path is Path.empty or _schedule_is_nan(configuration, decoded.resolved):
            return
        factor = decoded.resolved.upscale
        if self._run.finished_at_once:
            image = decoded.image
            assert image is not None  # the image path has one
            changed = self._run.restores_faces or self._run.upscales
            yield painting.enlarged(self._painter.marked(image[0]) if changed else image[0], factor)[None]
            return
        if self._settings.picture == "prepared":
            width, height = decoded.canvas
            channels = 4 if decoded.resolved.layered or decoded.resolved.transparent else 3
            picture = prepared.picture(height * factor, width * factor, channels)
            yield from [picture] * (len(self.keys) * (self._frames or 1))
            return
        for key in self.keys:
            caption = _caption(decoded, key)
            for frame in range(self._frames or 1):
                job.checkpoint()
                yield painting.enlarged(self._painter.picture(key, caption, frame), factor)[None]

    def _audio(self) -> list[bytes]:
        version, configuration = self._decoded.resolved.version, self._decoded.configuration
        samples = plan.audio_samples(version, configuration["num_frames"])
        if not samples or "missing_audio" in self._wrong:
            return []
        sound = faults.spoil_sound(results.tone(version, samples, configuration["seed"]), self._wrong)
        data = tensor.encode(sound, compress=self._settings.compress)
        return [faults.half(data) if "truncated_audio" in self._wrong else data]


def _schedule_is_nan(configuration: Configuration, resolved: catalog.Resolved) -> bool:
    """One linspace step is 0/0: it stops the process for DDPM models, and gives flow models NaN."""
    spaced = schedule.Schedule(_kind_of_schedule(resolved), resolved.version)
    return spaced.kind == "flow" and schedule.divides_by_zero(configuration["steps"], configuration["sampler"], spaced)


def _signpost(name: str, step: int | None) -> Any:
    message = response().currentSignpost
    if step is None:
        getattr(message, name).SetInParent()
    else:
        getattr(message, name).step = step
        getattr(message, name).SetInParent()
    return message


_WORDS = {Path.image: "image", Path.inpaint: "inpaint", Path.two_phase: "inpaint and fill", Path.empty: "no result"}
_SEES_IMAGE = (
    "kontext",
    "kontext_kv",
    "qwenimage_edit_plus",
    "qwenimage_edit_2511",
    "qwenimage_layered",
    "editing",
    "double",
    "inpainting",
)


def _influence(decoded: Decoded) -> float:
    """Share of the landscape in the picture."""
    version, strength = decoded.resolved.version, decoded.configuration["strength"]
    if decoded.inputs.image is None:
        return 1.0
    if version.startswith("seedvr2_"):
        return 0.04
    if decoded.path in (Path.image, Path.inpaint, Path.two_phase):
        return min(strength, 0.4) if version == "svd_i2v" else strength
    if decoded.resolved.modifier in _SEES_IMAGE or version == "longcat_video_avatar_v1.5":
        return 0.35
    return 1.0


_LATENT_CELLS = {"wan_v2.2_5b": 16, plan.CASCADE: 4}
"""Pixels of one cell of the latent mask, by version; 8 for all others."""


def _frames_read(decoded: Decoded) -> int:
    """How many pictures of the input image mean something."""
    row = decoded.family
    return decoded.configuration["num_frames"] if row is not None and row.leading_frames else 1


def _leads(decoded: Decoded) -> bool:
    """Whether the input image is the beginning of a video, rather than what every frame is made from."""
    row = decoded.family
    if row is None or not row.video or decoded.inputs.image is None:
        return False
    return decoded.resolved.version == "svd_i2v" or (decoded.path is Path.text and _influence(decoded) < 1)


def _mask_plan(decoded: Decoded) -> painting.MaskPlan | None:
    """Which pixels change, for the two mask paths (tensors.md section 5)."""
    mask, use = decoded.inputs.mask, decoded.mask_use
    if mask is None or use is None or decoded.path not in (Path.inpaint, Path.two_phase):
        return None
    configuration, with_alpha = decoded.configuration, decoded.resolved.with_alpha
    codes = mask & 7
    empty = codes == 1
    holes, clear = empty & (not with_alpha), empty & with_alpha
    overwrite_0 = use.overwrite_0 and not (configuration["strength"] == 0 and decoded.path is Path.two_phase)
    moves = (codes == 2) | (codes == 4) | ((codes == 0) & overwrite_0)
    kept = (codes == 3) | ((codes == 0) & (not overwrite_0)) | clear
    outset, blur = configuration["mask_blur_outset"], configuration["mask_blur"]
    cell = _LATENT_CELLS.get(decoded.resolved.version, 8)
    free, noise = (painting.in_cells(area, cell, max(0, -(-outset // cell))) for area in (moves | holes, holes))
    if with_alpha:
        free &= ~painting.in_cells(clear, cell)
    if blur > 0:
        kept = painting.shifted_area(kept, -outset)
    alpha = (mask & 0xF8).astype(np.float32) / np.float32(255)
    pastes = configuration["preserve_original_after_inpaint"] and (not use.free_all or configuration["strength"] == 0)
    width, height = decoded.canvas
    if mask.shape != (height, width):  # Stable Cascade takes its canvas from the configuration
        areas = (_nearest(area, width, height) for area in (moves, holes, free, noise, kept, clear))
        moves, holes, free, noise, kept, clear = areas
        alpha = np.zeros((height, width), np.float32)
    return painting.MaskPlan(moves, holes, free, noise, kept, clear, alpha if alpha.any() else None, pastes, blur)


def _nearest(area: np.ndarray, width: int, height: int) -> np.ndarray:
    picture = Image.fromarray(area.astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST)).astype(bool)


def _caption(decoded: Decoded, key: SceneKey) -> tuple[str, ...]:
    configuration = decoded.configuration
    width, height = decoded.canvas
    seed = f"seed {key.seed}" + (f" #{key.member + 1}" if key.member else "")
    if decoded.resolved.layered:
        seed = f"layer {key.member + 1} of {configuration['batch_size']} · seed {key.seed}"
    sampler: Sampler = configuration["sampler"]
    frames = f" · {configuration['num_frames']} frames" if decoded.family is not None and decoded.family.video else ""
    figures = f"{width}x{height}{frames} · {configuration['steps']} steps · {sampler.label} · guidance {configuration['guidance_scale']:g}"
    model = decoded.resolved.specification.get("name") or decoded.resolved.model or "no model"
    if decoded.resolved.fell_back:
        model = f"{model} (in place of {configuration['model'] or 'no model'})"
    return decoded.request.prompt or "(no prompt)", f"{seed} · {figures}", model


def _chips(decoded: Decoded) -> tuple[Chip, ...]:
    resolved, configuration = decoded.resolved, decoded.configuration
    chips = [Chip("lora", f"{spec['name']} {lora['weight']:g}") for spec, lora in resolved.loras]
    for (spec, control), fed in zip(resolved.controls, decoded.feeds, strict=False):
        kind = "" if spec.get("modifier") else f", {fed.modifier or 'no type'}"
        chips.append(Chip("control", f"{spec['name']} {control['weight']:g}{kind}: {fed.source or 'nothing to follow'}"))
    if _leads(decoded):
        assert decoded.inputs.image is not None  # it leads
        given = min(len(decoded.inputs.image), _frames_read(decoded))
        chips.append(Chip("image", "first frame" if given == 1 else f"first {given} frames"))
    elif decoded.inputs.image is not None and decoded.path is not Path.text:
        chips.append(Chip("image", f"{_WORDS[decoded.path]}, strength {configuration['strength']:g}"))
    elif decoded.inputs.image is not None and _influence(decoded) < 1:
        chips.append(Chip("image", f"edit: {resolved.modifier}" if resolved.modifier != "none" else "from image"))
    if decoded.request.negativePrompt:
        chips.append(Chip("negative", f"not: {decoded.request.negativePrompt}"))
    if resolved.refiner:
        chips.append(Chip("model", f"refiner {resolved.refiner} from {configuration['refiner_start']:g}"))
    if resolved.face_restoration:
        chips.append(Chip("model", f"faces: {resolved.face_restoration}"))
    if resolved.upscaler:
        chips.append(Chip("model", f"{resolved.upscaler} x{resolved.upscale}"))
    return tuple(chips)


_EDGES = ("canny", "mlsd", "softedge", "scribble")
"""Modifiers whose map, computed from an image, is lines."""


def _guide(decoded: Decoded) -> np.ndarray | None:
    """The map that the first control follows, uint8 [H, W, 3]; references are no map."""
    fed = next((fed for fed in decoded.feeds if fed.source not in (None, "shuffle") and fed.modifier != "shuffle"), None)
    if fed is None or fed.source is None:
        return None
    image = decoded.inputs.image
    if fed.source != IMAGE or image is None:
        return _hint_picture(fed.source, decoded.inputs.hints[fed.source].tensors[0][0])
    picture = _hint_picture(IMAGE, image)
    if fed.modifier in _EDGES:
        return np.repeat(painting.edges(picture)[..., None], 3, axis=2)
    return picture


def _thumbnails(decoded: Decoded) -> Iterator[Thumbnail]:
    """What arrived, whether or not something reads it."""
    arrived, used = decoded.inputs, decoded.used_hints
    if arrived.image is not None:
        fed = any(one.sees_image for one in decoded.feeds)
        seen = decoded.path is not Path.text or _influence(decoded) < 1 or fed
        yield Thumbnail("picture 1" if decoded.reads_references else "image", _hint_picture("image", arrived.image), seen)
    if arrived.mask is not None:
        yield Thumbnail("mask", _MASK_COLOURS[_thinned(arrived.mask) & 7], arrived.image is not None)
    for name, hint in arrived.hints.items():
        if name == "audio":
            yield Thumbnail("audio", painting.grey(), name in used)
            continue
        references = decoded.reads_references and name == "shuffle"
        number = 1 if arrived.image is None else 2
        for array, weight in hint.tensors:
            label = f"moodboard {weight:g}" if name == "shuffle" else name
            acts = name in used and (weight > 0 or not references)
            if references and acts:
                label, number = f"picture {number}", number + 1
            yield Thumbnail(label, _hint_picture(name, array), acts)


_THUMBNAIL = 512
_MASK_COLOURS = np.array(
    [(96, 96, 96), (40, 200, 200), (228, 60, 200), (16, 16, 16), (228, 60, 200), (96, 96, 96), (96, 96, 96), (96, 96, 96)], np.uint8
)


def _thinned(values: np.ndarray) -> np.ndarray:
    """Every k-th row and column of [H, W, ...]: enough for a thumbnail or a guide, and cheap for large inputs."""
    step = max(1, max(values.shape[:2]) // _THUMBNAIL)
    return values[::step, ::step]


def _hint_picture(name: str, array: np.ndarray) -> np.ndarray:
    """A hint as uint8 [H, W, 3], whatever its range and channels are."""
    values = array.reshape((1,) * (4 - array.ndim) + array.shape) if array.ndim < 4 else array
    values = _thinned(values[0, :, :, :3]).astype(np.float32)
    if values.shape[2] != 3:
        values = np.repeat(values[:, :, :1], 3, axis=2)
    if array.dtype == np.uint8:
        return values.astype(np.uint8)
    return painting.to_bytes(values * 2 - 1 if name in ("scribble", "pose") else values)
