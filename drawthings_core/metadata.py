"""The settings inside a picture: what Draw Things writes there, out and in (app_behaviour.md section 7).

A picture's XMP packet holds a JSON object as exif:UserComment, and the same as readable text. The JSON has keys of its own, of which
the app's published reader takes some, and in `v2` the whole configuration as app_json has it. We write all of them and read all of
them; where both name a setting, the one that the app would take wins.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from . import advice, xmp
from .configuration import CONFIGURATION, CONTROL, LORA, SIZE_UNIT, Choice, Configuration, Control, Kind, LoRA, Sampler, app_json
from .errors import InvalidInput, MetadataError, NoMetadata
from .families import Family, family

CREATOR = "Draw Things"
MOST_NOTES = 40
LONGEST_NOTE = 300
"""Characters: what a hostile file says is cut, not repeated at length."""
LONGEST_PASTED = 1200
"""The same for a text that the user pasted: a preset's negative prompt has its place in a note."""


@dataclass(frozen=True)
class PictureSettings:
    """What one picture was made with. version: the model's family, None when unknown. seconds: how long that took."""

    prompt: str
    negative_prompt: str
    configuration: Configuration
    version: str | None = None
    seconds: float | None = None


class Found(NamedTuple):
    """What a picture says. settings: checked configuration fields, those that it names. notes: what could not be used, and why."""

    prompt: str
    negative_prompt: str
    settings: dict[str, Any]
    notes: list[str]


# -- the keys

_When = Callable[[Configuration, "Family | None"], bool]


class _Entry(NamedTuple):
    """One key for one setting, or two for a size "WxH". label: in the readable text. when: whether it is written."""

    key: str
    label: str
    fields: tuple[str, ...]
    when: _When


def _always(configuration: Configuration, known: Family | None) -> bool:
    return True


def _unless(field: str, idle: Any) -> _When:
    """Written when the setting is not `idle`."""
    return lambda configuration, known: configuration[field] != idle


def _matters(field: str) -> _When:
    """Written for families that the setting matters to; of an unknown family it may."""
    return lambda configuration, known: known is None or known.matters(field)


def _acts(field: str) -> _When:
    """Written when the sampler reads it."""
    return lambda configuration, known: advice.sampler_reads(field, configuration["sampler"])


# fmt: off
_ENTRIES = (
    _Entry("steps", "Steps", ("steps",), _always),
    _Entry("sampler", "Sampler", ("sampler",), _always),
    _Entry("scale", "Guidance Scale", ("guidance_scale",), _always),
    _Entry("seed", "Seed", ("seed",), _always),
    _Entry("size", "Size", ("start_width", "start_height"), _always),
    _Entry("model", "Model", ("model",), _always),
    _Entry("strength", "Strength", ("strength",), _always),
    _Entry("seed_mode", "Seed Mode", ("seed_mode",), _always),
    _Entry("upscaler", "Upscaler", ("upscaler",), _unless("upscaler", None)),
    _Entry("image_guidance", "Image Guidance", ("image_guidance_scale",), _matters("image_guidance_scale")),
    _Entry("shift", "Shift", ("shift",), _unless("shift", 1)),
    _Entry("clip_skip", "CLIP Skip", ("clip_skip",), _unless("clip_skip", 1)),
    _Entry("sharpness", "Sharpness", ("sharpness",), _unless("sharpness", 0)),
    _Entry("mask_blur", "Mask Blur", ("mask_blur",), _unless("mask_blur", 0)),
    _Entry("mask_blur_outset", "Mask Blur Outset", ("mask_blur_outset",), _unless("mask_blur_outset", 0)),
    _Entry("hires_fix", "Hires Fix", ("hires_fix",), _unless("hires_fix", False)),
    _Entry("first_stage_size", "First Stage Size", ("hires_fix_start_width", "hires_fix_start_height"), _unless("hires_fix", False)),
    _Entry("second_stage_strength", "Second Stage Strength", ("hires_fix_strength",), _unless("hires_fix", False)),
    _Entry("clip_weight", "CLIP Weight", ("clip_weight",), _matters("clip_weight")),
    _Entry("image_prior_steps", "Image Prior Steps", ("image_prior_steps",), _matters("image_prior_steps")),
    _Entry("negative_prompt_for_image_prior", "Negative Prompt for Image Prior", ("negative_prompt_for_image_prior",), _matters("negative_prompt_for_image_prior")),
    _Entry("expand_prompt_to_json", "Expand Prompt to JSON", ("expand_prompt_to_json",), _matters("expand_prompt_to_json")),
    _Entry("stage_2_steps", "Stage 2 Steps", ("stage_2_steps",), _matters("stage_2_steps")),
    _Entry("stage_2_guidance", "Stage 2 Guidance", ("stage_2_cfg",), _matters("stage_2_cfg")),
    _Entry("stage_2_shift", "Stage 2 Shift", ("stage_2_shift",), _matters("stage_2_shift")),
    _Entry("refiner", "Refiner", ("refiner_model",), _unless("refiner_model", None)),
    _Entry("refiner_start", "Refiner Start", ("refiner_start",), _unless("refiner_model", None)),
    _Entry("target_size", "Target Size", ("target_image_width", "target_image_height"), _matters("target_image_width")),
    _Entry("original_size", "Original Size", ("original_image_width", "original_image_height"), _matters("original_image_width")),
    _Entry("negative_original_size", "Negative Original Size", ("negative_original_image_width", "negative_original_image_height"), _matters("negative_original_image_width")),
    _Entry("crop_top", "Crop Top", ("crop_top",), _matters("crop_top")),
    _Entry("crop_left", "Crop Left", ("crop_left",), _matters("crop_left")),
    _Entry("zero_negative_prompt", "Zero Negative Prompt", ("zero_negative_prompt",), _matters("zero_negative_prompt")),
    _Entry("aesthetic_score", "Aesthetic Score", ("aesthetic_score",), _matters("aesthetic_score")),
    _Entry("negative_aesthetic_score", "Negative Aesthetic Score", ("negative_aesthetic_score",), _matters("negative_aesthetic_score")),
    _Entry("num_frames", "Frames", ("num_frames",), _matters("num_frames")),
    _Entry("fps", "FPS", ("fps_id",), _matters("fps_id")),
    _Entry("motion_scale", "Motion Scale", ("motion_bucket_id",), _matters("motion_bucket_id")),
    _Entry("cond_aug", "Guiding Frame Noise", ("cond_aug",), _matters("cond_aug")),
    _Entry("min_cfg", "Start Frame Guidance", ("start_frame_cfg",), _matters("start_frame_cfg")),
    *(_Entry(name, CONFIGURATION[name].label, (name,), _unless("tiled_decoding", False))
      for name in ("tiled_decoding", "decoding_tile_width", "decoding_tile_height", "decoding_tile_overlap")),
    *(_Entry(name, CONFIGURATION[name].label, (name,), _unless("tiled_diffusion", False))
      for name in ("tiled_diffusion", "diffusion_tile_width", "diffusion_tile_height", "diffusion_tile_overlap")),
    *(_Entry(name, CONFIGURATION[name].label, (name,), _unless("tea_cache", False))
      for name in ("tea_cache", "tea_cache_start", "tea_cache_end", "tea_cache_threshold", "tea_cache_max_skip_steps")),
    _Entry("causal_inference", "Causal Inference", ("causal_inference",), _unless("causal_inference", 0)),
    _Entry("stochastic_sampling_gamma", "Stochastic Sampling Gamma", ("stochastic_sampling_gamma",), _acts("stochastic_sampling_gamma")),
)
# fmt: on

_PROMPT, _NEGATIVE, _WHOLE, _LORAS, _CONTROLS, _PROFILE, _STAGE_C = "c", "uc", "v2", "lora", "control", "profile", "stage_1_latents_size"
_LORA_KEYS = {"model": "file", "weight": "weight", "mode": "mode"}
"""Keys of a LoRA here and the fields that they stand for."""
_CONTROL_KEYS = {
    name: name for name in ("file", "weight", "no_prompt", "guidance_start", "guidance_end", "global_average_pooling")
}  # fmt: skip
_SIZE = re.compile(r"\s*(\d{1,9})\s*[xX×]\s*(\d{1,9})\s*")


# -- out


def packet(settings: PictureSettings) -> str:
    """The XMP packet for a picture: a reader of it needs nothing else."""
    comment = json.dumps(user_comment(settings), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return xmp.packet(description(settings), CREATOR, xmp.in_json(comment))


def user_comment(settings: PictureSettings) -> dict[str, Any]:
    """The JSON object of exif:UserComment."""
    configuration, known = settings.configuration, family(settings.version)
    comment: dict[str, Any] = {_PROMPT: settings.prompt, _NEGATIVE: settings.negative_prompt, _WHOLE: app_json.write(configuration)}
    comment.update((entry.key, _value(configuration, entry)) for entry in _written(configuration, known))
    if known is not None and known.cascade_stage == "c":
        comment[_STAGE_C] = _stage_c(configuration)
    loras = [_part(lora, _LORA_KEYS) for lora in configuration["loras"] if lora["file"]]
    controls = [_part(control, _CONTROL_KEYS) for control in configuration["controls"] if control["file"]]
    if loras:
        comment[_LORAS] = loras
    if controls:
        comment[_CONTROLS] = controls
    if settings.seconds is not None:
        comment[_PROFILE] = {"duration": settings.seconds, "timings": []}
    return comment


def description(settings: PictureSettings) -> str:
    """The same for people: prompt, "-" and negative prompt, and one line of settings."""
    configuration = settings.configuration
    parts = [f"{entry.label}: {_spoken(configuration, entry)}" for entry in _written(configuration, family(settings.version))]
    parts += _spoken_parts("LoRA", [lora for lora in configuration["loras"] if lora["file"]])
    parts += _spoken_parts("Control", [control for control in configuration["controls"] if control["file"]])
    negative = [f"-{settings.negative_prompt}"] if settings.negative_prompt else []
    return "\n".join([settings.prompt, *negative, ", ".join(parts)])


def _written(configuration: Configuration, known: Family | None) -> Iterator[_Entry]:
    return (entry for entry in _ENTRIES if entry.when(configuration, known))


def _value(configuration: Configuration, entry: _Entry) -> Any:
    if len(entry.fields) == 2:
        return "x".join(str(configuration[field]) for field in entry.fields)
    return _plain(configuration[entry.fields[0]])


def _plain(value: Any) -> Any:
    """A field's value as these keys have it: words for choices, and whole numbers without a fraction, as the app's own."""
    if isinstance(value, Sampler):
        return value.in_pictures
    if isinstance(value, Choice):
        return value.label if value.json is None else value.json
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return "" if value is None else value


def _part(record: LoRA | Control, keys: Mapping[str, str]) -> dict[str, Any]:
    return {key: _plain(record[field]) for key, field in keys.items()}


def _stage_c(configuration: Configuration) -> str:
    """Size of Stable Cascade's stage C latent: 1.5 cells a unit, or 2 a unit of the first pass (tensors.md section 7)."""
    sides = []
    for side in ("width", "height"):
        first = configuration[f"hires_fix_start_{side}"] if configuration["hires_fix"] else 0
        sides.append(2 * (first // SIZE_UNIT) if first else math.ceil(1.5 * (configuration[f"start_{side}"] // SIZE_UNIT)))
    return "x".join(map(str, sides))


def _spoken(configuration: Configuration, entry: _Entry) -> str:
    raw = configuration[entry.fields[0]]
    if isinstance(raw, bool):
        return str(raw).lower()
    return str(raw if isinstance(raw, float) else _value(configuration, entry))


def _spoken_parts(word: str, records: list[Any]) -> Iterator[str]:
    """ "LoRA Model: x, LoRA Weight: y", numbered when there are several."""
    for number, record in enumerate(records, 1):
        called = word if len(records) == 1 else f"{word} {number}"
        yield f"{called} Model: {record['file']}"
        yield f"{called} Weight: {record['weight']}"


# -- in


def in_picture(picture: Image.Image) -> Found:
    """The settings in an opened picture of any format. Raises NoMetadata, and MetadataError for those that are damaged."""
    damage: MetadataError | None = None
    for source in (_xmp_comments, _exif_comments):
        try:
            for comment in source(picture):
                document = _document(comment)
                if document is not None:
                    return read(document)
        except MetadataError as error:
            damage = damage or error
    raise damage or NoMetadata()


def _document(comment: str) -> Mapping[str, Any] | None:
    """A comment as the object that Draw Things writes; None for what others write there. Raises MetadataError."""
    if not comment.lstrip().startswith("{"):
        return None
    try:
        document = json.loads(comment)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"its comment is not JSON: {error}") from error
    return document if app_json.is_picture_metadata(document) else None


def pasted(text: str) -> Found:
    """Settings from pasted JSON: a picture's comment, a configuration, a preset, or the info of Generate, which has prompts too.

    Raises InvalidInput, and InvalidSetting for a bad value in a configuration.
    """
    document = app_json.parse(text)
    if app_json.is_picture_metadata(document):
        found = read(document)
        return found._replace(notes=["This is a picture's metadata: its prompts and settings were read.", *found.notes])
    imported = app_json.read(document, draw_seed=False)
    prompts = [document.get(key) if "configuration" in document else "" for key in ("prompt", "negative_prompt")]
    prompt, negative = (text if isinstance(text, str) else "" for text in prompts)
    return Found(prompt, negative, imported.settings, bounded(imported.notes))


def read(document: Mapping[str, Any]) -> Found:
    """Settings from the JSON of a picture. What cannot be used is left out and noted; MetadataError is for nothing but abuse."""
    try:
        return _read(document)
    except RecursionError as error:  # what the parser could just take may be too deep to be quoted in a note
        raise MetadataError("its comment is nested too deeply") from error


def _read(document: Mapping[str, Any]) -> Found:
    notes: list[str] = []
    settings = _read_whole(document.get(_WHOLE), notes)
    own = app_json.read(_translated(document, notes), draw_seed=False, lenient=True)
    notes += own.notes
    if settings:
        named = [CONFIGURATION[name].label for name, value in own.settings.items() if name in settings and settings[name] != value]
        if named:
            notes.append(f"The picture names these twice, and differently: {', '.join(named)}. Taken is what Draw Things would take.")
    else:
        notes.append("The picture does not hold the complete configuration: what it does not name is up to the node that generates.")
    settings |= own.settings
    for name in ("loras", "controls"):
        if name in settings:
            settings[name] = tuple(part for part in settings[name] if part["file"])
    if settings.get("controls"):
        files = ", ".join(control["file"] for control in settings["controls"])
        notes.append(
            f"It was made with {files}, whose hint pictures are not in the file: connect each with a ControlNet Hint or Moodboard whose "
            f"control is none."
        )
    if settings.get("strength", 1) < 1:
        notes.append(
            f"Its strength is {settings['strength']:g}: the image that it was made from is not in the file, so connect it to the node that "
            f"generates. Without one strength does nothing."
        )
    prompts = [_text(document, key, notes) for key in (_PROMPT, _NEGATIVE)]
    return Found(prompts[0], prompts[1], settings, bounded(notes, LONGEST_NOTE))


def _read_whole(whole: Any, notes: list[str]) -> dict[str, Any]:
    if whole is None:
        return {}
    try:
        imported = app_json.read(whole, draw_seed=False, lenient=True)
    except InvalidInput as error:
        notes.append(f"{_WHOLE} was ignored: {error}")
        return {}
    notes += imported.notes
    return imported.settings


def _translated(document: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The picture's own keys as a configuration for app_json. LoRAs and controls only where v2 does not have them in full."""
    made: dict[str, Any] = {}
    for entry in _ENTRIES:
        value = document.get(entry.key)
        if value is None:
            continue
        rows = [CONFIGURATION[field] for field in entry.fields]
        if len(rows) == 2:
            size = _SIZE.fullmatch(value) if isinstance(value, str) else None
            values: list[Any] = [int(side) for side in size.groups()] if size else []
        elif rows[0].kind is Kind.choice and isinstance(value, str):
            member = _member(rows[0].choice, value)
            values = [] if member is None else [int(member)]
        else:
            values = [value]
        if not values:
            notes.append(f"{entry.key} is {value!r}, which cannot be read. It was left out.")
        made.update(zip((row.json_key for row in rows), values, strict=False))
    whole = document.get(_WHOLE)
    for key, keys, field, rows in ((_LORAS, _LORA_KEYS, "loras", LORA), (_CONTROLS, _CONTROL_KEYS, "controls", CONTROL)):
        parts = document.get(key)
        if parts is None or (isinstance(whole, Mapping) and whole.get(field)):
            continue
        if isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts):
            parts = [{rows[name].json_key: part[own] for own, name in keys.items() if own in part} for part in parts]
        made[field] = parts
    return made


def _member(choice: type[Choice] | None, value: str) -> Choice | None:
    assert choice is not None
    member = choice.parse(value)
    return Sampler.by_parts(value) if member is None and choice is Sampler else member


def _text(document: Mapping[str, Any], key: str, notes: list[str]) -> str:
    value = document.get(key, "")
    if isinstance(value, str):
        return value
    notes.append(f"{key} is {value!r}, which is no text. It was left out.")
    return ""


def bounded(notes: Iterable[str], longest: int = LONGEST_PASTED) -> list[str]:
    """Each once, and as many as somebody may read, cut to so many characters."""
    different = list(dict.fromkeys(note if len(note) <= longest else f"{note[:longest]}…" for note in notes))
    more = len(different) - MOST_NOTES
    return different if more <= 0 else [*different[:MOST_NOTES], f"And {more} more of that kind."]


# -- where pictures keep it


def _xmp_comments(picture: Image.Image) -> Iterator[str]:
    """Of a PNG, JPEG, WebP or TIFF, whichever place Pillow of this version puts it in."""
    info = picture.info
    packets = [info.get(xmp.PNG_KEYWORD), info.get("xmp"), getattr(picture, "tag_v2", {}).get(_TIFF_XMP)]
    packets += [content[len(_JPEG_XMP) :] for marker, content in getattr(picture, "applist", ()) if content.startswith(_JPEG_XMP)]
    for found in packets:
        if isinstance(found, (str, bytes)) and found:
            comment = xmp.properties(found).get(xmp.USER_COMMENT, "")
            if comment:
                yield comment


_TIFF_XMP = 700
"""Number of the tag that holds a packet."""
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_CODE_SIZE = 8
"""Bytes before the text of an EXIF comment that say how it is encoded."""


def _exif_comments(picture: Image.Image) -> Iterator[str]:
    """EXIF's own UserComment, which other programs make of it when they convert a picture."""
    try:
        comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception as error:  # Pillow's reader raises whatever damaged bytes make it stumble over
        raise MetadataError(f"its EXIF data are damaged: {error}") from error
    if isinstance(comment, str):
        yield comment
    elif isinstance(comment, bytes):
        yield _decoded(comment)


def _decoded(comment: bytes) -> str:
    """The text of an EXIF comment, "" for one that is no JSON. Raises MetadataError."""
    code, text = comment[:_CODE_SIZE].rstrip(b"\0 "), comment[_CODE_SIZE:]
    encoding = "utf-8"
    if code == b"UNICODE":  # in the file's byte order or with a mark: the first character, a brace, tells
        encoding = "utf-16" if text[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-16-be" if text[:1] == b"\0" else "utf-16-le"
    elif code not in (b"", b"ASCII"):
        text = comment  # some writers leave the code out
    if encoding == "utf-8" and not text.lstrip().startswith(b"{"):
        return ""
    try:
        return text.decode(encoding).rstrip("\0 ")
    except UnicodeDecodeError as error:
        raise MetadataError(f"its EXIF comment is no text: {error}") from error
