"""What each model version is, and what is recommended for a model.

The facts are data files beside this module: families.json (one row per ModelVersion of the server), recommended.json (the
app's presets in their order), negative_prompts.json, latent_rgb.json (see `preview`). A family that the files do not know, of a newer server, is
simply absent: `family` returns None and nothing is refused on its account.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..configuration import SIZE_UNIT, Configuration, LoRA, Sampler, app_json

_HERE = Path(__file__).parent
_QUALITY_SUFFIXES = ("f16", "svd", "q5p", "q6p", "q8p", "i8x")


@dataclass(frozen=True)
class Family:
    """One model version.

    version: the server's raw string. kind: image, video, upscale or avatar. latent_channels, pixels_per_latent: shape of
    previews (None for Stable Cascade, whose stage C has no whole ratio). frame_step: frames come as step*k + 1 (1: any
    number, 0: stills). frame_rate: playback rate unless the model's specification has its own. leading_frames: several input
    pictures are read as the first frames (the others read one). audio_output_rate: Hz.
    default_scale: usual canvas side in units of 64 px. flow: a flow-matching model. modifiers: ways its models use an
    input image. embeddings: knows textual inversions (others crash on one). settings: fields that matter to it.

    The rest is what few families have. needs_image: works on an image only, and looks at it at any strength. never_guided: runs without
    guidance whatever is set. hires_fix_fails: its second pass would be of a wrong size. cascade_stage: "c" or "b" of Stable Cascade.
    ays: whose Align Your Steps table it has. signed_pose: its control networks get every map in -1..1. vace: its shuffle controls read
    frames and pictures at once. tea_cache_built_in: TeaCache needs no coefficients in a specification. read_by_refiner: settings that
    only the refiner of a run reads. also_loras: versions whose LoRAs it takes besides its own.
    """

    version: str
    name: str
    kind: str
    video: bool
    latent_channels: int
    pixels_per_latent: int | None
    frame_step: int
    frame_rate: float | None
    leading_frames: bool
    audio_output_rate: int | None
    audio_input: bool
    default_scale: int
    flow: bool
    modifiers: tuple[str, ...]
    embeddings: bool
    settings: frozenset[str]
    supports: frozenset[str]
    example_files: tuple[str, ...]
    needs_image: bool = False
    never_guided: bool = False
    hires_fix_fails: bool = False
    cascade_stage: str = ""
    ays: str = ""
    signed_pose: bool = False
    vace: bool = False
    tea_cache_built_in: bool = False
    read_by_refiner: tuple[str, ...] = ()
    also_loras: tuple[str, ...] = ()

    @property
    def samplers(self) -> tuple[Sampler, ...]:
        """What the app offers for this family; the server takes all."""
        return tuple(Sampler(number) for number in _data()["flow_samplers"]) if self.flow else tuple(Sampler)

    def matters(self, setting: str) -> bool:
        """Whether a configuration field has any effect with this family."""
        return setting in self.settings

    def decoded_frames(self, num_frames: int) -> int:
        """Frames that come back for `num_frames` asked for: the server rounds down to step*k + 1."""
        if self.frame_step <= 1:
            return num_frames
        return (num_frames - 1) // self.frame_step * self.frame_step + 1


@functools.cache
def _data() -> dict[str, Any]:
    return json.loads((_HERE / "families.json").read_text(encoding="utf-8"))


@functools.cache
def families() -> dict[str, Family]:
    """Every known family by version."""
    data = _data()
    rows = {}
    for row in data["families"]:
        row = dict(row)
        row["settings"] = frozenset(data["every_family"]) | frozenset(row["settings"])
        row["supports"] = frozenset(name for name, value in row["supports"].items() if value)
        row.update({name: tuple(row[name]) for name in ("modifiers", "example_files", "read_by_refiner", "also_loras") if name in row})
        rows[row["version"]] = Family(**row)
    return rows


def family(version: str | None) -> Family | None:
    """The family of a version string, or None when it is unknown."""
    return families().get(version or "")


def name_of(version: str | None) -> str:
    """A family's display name, or the version itself when it is unknown."""
    known = family(version)
    return known.name if known else (version or "an unknown family")


def version_of_file(file: str) -> str | None:
    """The version of a model file that no server described, by the published names; None when nothing matches."""
    by_name, by_stem = _published()
    return by_name.get(file) or by_stem.get(_stem(file))


@functools.cache
def _published() -> tuple[dict[str, str], dict[str, str]]:
    """The versions of published files, by name and by stem. Of several the first counts, and a preset's before all."""
    named = [(file, known.version) for known in families().values() for file in known.example_files]
    stems = [(_stem(file), version) for file, version in ((preset["model"], preset["version"]) for preset in _presets())]
    stems += [(_stem(file), version) for file, version in named]
    return dict(reversed(named)), dict(reversed(stems))


def refines(refiner: str, version: str) -> bool:
    """Whether a model of the version `refiner` can take over from one of `version`; a server skips any other."""
    return refiner == version or any({refiner, version} <= {*group} for group in _data()["refine_one_another"])


def expected_pictures(version: str | None, configuration: Configuration) -> int:
    """How many pictures one request that generates should give (server_semantics.md section 4)."""
    known = family(version)
    if known is not None and known.kind == "upscale":
        return 1
    if known is not None and known.video:
        return known.decoded_frames(configuration["num_frames"])
    return configuration["batch_size"]


@functools.cache
def _recommendations() -> dict[str, Any]:
    return json.loads((_HERE / "recommended.json").read_text(encoding="utf-8"))


def _presets() -> Sequence[dict[str, Any]]:
    return _recommendations()["presets"]


def _stem(file: str) -> str:
    """File name without ending and quantisation parts: flux_1_dev_q8p.ckpt -> flux_1_dev."""
    parts = re.sub(r"\.\w+$", "", file).split("_")
    while len(parts) > 1 and parts[-1] in _QUALITY_SUFFIXES:
        parts.pop()
    return "_".join(parts)


def _matching_preset(file: str, version: str | None, loras: Collection[str]) -> dict[str, Any] | None:
    """The app's own rule (ConfigurationResolver.swift): exact file, same stem, stem is a prefix, then the family's preset."""
    stem = _stem(file)

    def has_loras(preset: dict[str, Any]) -> bool:
        return set(loras) <= {lora.get("file") for lora in preset["configuration"].get("loras", ())}

    exact = [p for p in _presets() if p["model"] == file]
    same = [p for p in _presets() if _stem(p["model"]) == stem]
    prefix = [p for p in _presets() if stem.startswith(_stem(p["model"]) + "_")]
    whole = [p for p in _presets() if version and p["matches_version"] == version]
    stages = [exact, same]
    ordered = [[p for p in stage if has_loras(p)] for stage in stages] if loras else []
    ordered += stages
    for stage in (prefix, whole):
        if loras:
            ordered.append([p for p in stage if has_loras(p)])
        ordered.append(stage)
    return next((stage[0] for stage in ordered if stage), None)


class Preset(NamedTuple):
    """One of the app's presets as far as it is no figure: its name, and the files that it goes together with."""

    name: str
    exact: bool
    refiner_model: str | None
    refiner_start: float | None
    loras: tuple[LoRA, ...]


def preset(file: str, version: str | None = None, loras: Collection[str] = ()) -> Preset | None:
    """The preset whose figures `recommended` gives. exact: it is for this very model, not for another of its family."""
    found = _matching_preset(file, version or version_of_file(file), loras)
    if found is None:
        return None
    read = app_json.read({key: value for key, value in found["configuration"].items() if key in ("refinerModel", "refinerStart", "loras")})
    return Preset(
        name=found["name"],
        exact=_stem(file) == _stem(found["model"]),
        refiner_model=read.settings.get("refiner_model"),
        refiner_start=read.settings.get("refiner_start"),
        loras=read.settings.get("loras", ()),
    )


def negative_prompt(version: str | None) -> str:
    """A negative prompt that helps models of this family when their guidance is on; "" where there is none."""
    data = _negative_prompts()
    kind = data["families"].get(version or "")
    return data[kind] if kind else ""


@functools.cache
def _negative_prompts() -> dict[str, Any]:
    return json.loads((_HERE / "negative_prompts.json").read_text(encoding="utf-8"))


def recommended(file: str, version: str | None = None, default_scale: int | None = None, loras: Collection[str] = ()) -> dict[str, Any]:
    """Recommended settings for a model file, by configuration field: size always, the rest where a preset matches.

    default_scale: from the model's specification. loras: chosen LoRA files, for presets made for them. LoRAs, controls and
    a refiner that a preset names are left out: they belong to the user's choice, not to a recommendation of figures.
    """
    version = version or version_of_file(file)
    known = family(version)
    side = (default_scale or (known.default_scale if known else 0)) * SIZE_UNIT or Configuration()["start_width"]
    settings: dict[str, Any] = {"start_width": side, "start_height": side}
    preset = _matching_preset(file, version, loras)
    if preset is not None:
        read = app_json.read({key: value for key, value in preset["configuration"].items() if key not in _NOT_FIGURES})
        settings.update(read.settings)
    elif known is not None and known.flow:
        # The app's own default sampler suits flow models; this only guards against a future change of it.
        default = Configuration()["sampler"]
        settings["sampler"] = default if default in known.samplers else known.samplers[0]
        settings.update(app_json.read(_recommendations()["notes"].get(known.version, {})).settings)
    return settings


_NOT_FIGURES = frozenset({"model", "loras", "controls", "refinerModel", "refinerStart", "batchCount", "batchSize", "seed"})
