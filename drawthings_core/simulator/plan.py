"""What a request makes the server do: path, events in order, sizes, counts, shapes of previews. Pure values, no I/O.

Facts: server_semantics.md sections 1 to 5, tensors.md sections 5 and 7.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..configuration import Sampler
from ..schedule import Start

UNIT = 64
CASCADE = "wurstchen_v3.0_stage_c"
KEEPS_IMAGE_PATH = ("svd_i2v", "seedvr2_3b", "seedvr2_7b")
"""Versions that stay on the image path even when strength leaves no start step."""


_FROM_NOISE = Start(0, 0)


class Path(enum.Enum):
    """Which of the generator's functions runs."""

    text = "text"
    image = "image"
    inpaint = "mask without code 1"
    two_phase = "mask with code 1"
    empty = "no result"


class MaskUse(NamedTuple):
    """What the codes of a mask mean. overwrite_0: code 0 is repainted, too. free_all: everything moves with `strength`."""

    path: Path
    overwrite_0: bool = False
    free_all: bool = False


def use_of_mask(codes: frozenset[int], transparent: bool = False) -> MaskUse:
    """The path for a set of low-3-bit codes; 4 counts as 2, and 5 to 7 as 0."""
    present = {2 if code == 4 else 0 if code > 4 else code for code in codes}
    overwrite_0 = 0 in present and (2 not in present or {1, 2, 3} <= present)
    if transparent:
        return MaskUse(Path.inpaint if 2 in present else Path.image, overwrite_0)
    if present in ({0}, {3}):
        return MaskUse(Path.image, overwrite_0)
    if present == {1}:
        return MaskUse(Path.text)
    if 1 not in present:
        return MaskUse(Path.inpaint, overwrite_0)
    return MaskUse(Path.two_phase, overwrite_0, free_all=present == {0, 1})


class Stage(NamedTuple):
    """One progress message. preview: of which pass ("first", "second"), with `done` of `total` steps behind it."""

    signpost: str
    step: int | None = None
    preview: str | None = None
    done: int = 0
    total: int = 1


@dataclass(frozen=True)
class Run:
    """Everything the event sequence depends on.

    first: start step of the first pass; second: of the second (hires fix, or Cascade's stage B). steps: of the first pass.
    at_rest: the strength is 0. second_steps: 0 without a second pass. hires: the second pass is a hires fix. quirk_start: the start step computed from
    hires_fix_strength, which Cascade's last stage-B value is reduced by. strength: 0 stops the image path whatever the schedule.
    """

    path: Path
    steps: int
    sampler: Sampler
    first: Start
    at_rest: bool = False
    encodes_image: bool = False
    cascade: bool = False
    hires: bool = False
    second: Start = _FROM_NOISE
    second_steps: int = 0
    quirk_start: int = 0
    restores_faces: bool = False
    upscales: bool = False
    strength: float = 1.0

    @property
    def finished_at_once(self) -> bool:
        """Strength 0, or so low that no step is left: the image is only restored and upscaled."""
        return self.path is Path.image and (self.strength == 0 or self.first.floor >= self.steps)

    @property
    def signposts(self) -> dict[str, int | None]:
        """The set that goes with every message: stage name -> announced steps."""
        stages: dict[str, int | None] = {"textEncoded": None}
        if self.path is not Path.text or self.encodes_image:
            stages["imageEncoded"] = None
        whole = self.path in (Path.text, Path.two_phase)
        stages["sampling"] = self.steps if whole else self.steps - self.first.floor
        stages["imageDecoded"] = None
        if self.restores_faces:
            stages["faceRestored"] = None
        if self.upscales:
            stages["imageUpscaled"] = None
        if self.second_steps:
            stages["secondPassImageEncoded"] = None
            from_noise = self.cascade and self.path is Path.text
            stages["secondPassSampling"] = self.second_steps - (0 if from_noise else self.second.floor)
            if self.path is Path.text:
                stages["secondPassImageDecoded"] = None
        return stages

    def events(self) -> Iterator[Stage]:
        """Every progress message, in order."""
        yield Stage("textEncoded")
        if self.finished_at_once or self.path is Path.empty:
            return
        if self.path is Path.text:
            if self.encodes_image:
                yield Stage("imageEncoded")
            yield Stage("imageEncoded")  # "controls generated" travels under this name
            yield from self._pass("sampling", "first", self.steps, 0)
        else:
            yield Stage("imageEncoded")
            yield Stage("imageEncoded")
            if self.path is Path.two_phase:
                yield from self._two_phases(("sampling", "sampling"), "first", self.steps, self.first)
            else:
                yield from self._pass("sampling", "first", self.steps, self.first.floor)
        yield Stage("imageDecoded")
        if self.second_steps:
            yield from self._second_pass()
        if self.restores_faces:
            yield Stage("faceRestored")
        if self.upscales:
            yield Stage("imageUpscaled")

    def _second_pass(self) -> Iterator[Stage]:
        name = "secondPassSampling"
        yield Stage("secondPassImageEncoded")
        if self.path is Path.text:
            yield Stage("imageEncoded")
        if self.cascade and self.path is Path.text:
            *steps, _ = self._pass(name, "second", self.second_steps, 0)
            yield from steps
            yield Stage(name, self.second_steps - self.quirk_start)
        elif self.path is Path.two_phase:
            # Upstream reports the second phase of stage B as first-pass sampling.
            yield from self._two_phases((name, "sampling"), "second", self.second_steps, self.second)
        else:
            yield from self._pass(name, "second", self.second_steps, self.second.floor)
        yield Stage("secondPassImageDecoded")

    def _pass(self, name: str, which: str, steps: int, first: int) -> Iterator[Stage]:
        """Steps counted from the start step; an event comes before its step runs, so there is one more than steps."""
        for i in range(first, steps):
            yield Stage(name, i - first, self._preview(which, i, first, steps), i, steps)
        yield Stage(name, max(steps - first, 0))

    def _two_phases(self, names: tuple[str, str], which: str, steps: int, start: Start) -> Iterator[Stage]:
        """Up to the start step only code 1 changes, then everything that is free. Steps are counted from 0 throughout."""
        for i in range(start.ceil):
            yield Stage(names[0], i, self._preview(which, i, 0, steps), i, steps)
        for i in range(start.floor, steps):
            yield Stage(names[1], i, self._preview(which, i, start.floor, steps), i, steps)
        yield Stage(names[1], steps)

    def _preview(self, which: str, i: int, first: int, steps: int) -> str | None:
        wanted = i > max(first, steps // 2) or i % 2 == 1
        exists = i > first or (i == first and i % 2 == 1 and self.sampler == Sampler.plms)
        return which if wanted and exists else None


class Shape(NamedTuple):
    """A preview tensor [n, h, w, c]."""

    n: int
    h: int
    w: int
    c: int


_LATENT: dict[int, tuple[str, ...]] = {
    4: ("v1", "v2", "kandinsky2.1", "sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b", "svd_i2v", "pixart", "auraflow"),
    32: ("ernie_image", "flux2", "flux2_9b", "flux2_4b", "ideogram_4"),
}
_LATENT_CHANNELS = {version: channels for channels, versions in _LATENT.items() for version in versions}
_QUARTER_SECOND = ("hunyuan_video", "wan_v2.1_1.3b", "wan_v2.1_14b", "wan_v2.2_5b", "longcat_video_avatar_v1.5")


def latent_frames(version: str, num_frames: int) -> int | None:
    """Latent frames of a video version, None for stills."""
    if version == "svd_i2v":
        return num_frames
    if version in _QUARTER_SECOND:
        return (num_frames - 1) // 4 + 1
    if version in ("ltx2", "ltx2.3"):
        return (num_frames - 1) // 8 + 1
    return None


def preview_shape(version: str, width: int, height: int, count: int) -> Shape:
    """Preview of the first pass (of hires fix too, which is of the same family) for a canvas in pixels.

    count: batch size or latent frames. Not for Stable Cascade: see cascade_shapes.
    """
    h, w = height // UNIT, width // UNIT
    if version in ("ltx2", "ltx2.3"):
        w, rows = w * 2, h * 2
        audio = math.ceil(((count - 1) * 8 + 1) / (w * count)) if w else 0
        return Shape(count, rows + audio, w, 128)
    if version == "hidream_o1":
        return Shape(count, h * 2, w * 2, 3072)
    if version == "wan_v2.2_5b":
        return Shape(count, h * 4, w * 4, 48)
    if version == "wurstchen_v3.0_stage_b":
        return Shape(count, h * 16, w * 16, 4)
    return Shape(count, h * 8, w * 8, _LATENT_CHANNELS.get(version, 16))


class CascadeShapes(NamedTuple):
    """Previews of Stable Cascade's stages C and B."""

    first: Shape
    second: Shape


def cascade_shapes(
    width: int, height: int, hires: tuple[int, int] | None, count: int, sampler: Sampler, previewer: bool = True
) -> CascadeShapes:
    """Stage C through the previewer network (3 channels, 8 times the latent), stage B as its latent. Sizes in pixels.

    hires: first-pass size when hires fix is on; it only sets the stage C latent. Without the previewer's file, and always
    with UniPC and PLMS, the stage C latent itself is sent.
    """

    def side(full: int, small: int) -> int:
        return small // UNIT * 2 if small > 0 else math.ceil(1.5 * (full // UNIT))

    small_w, small_h = hires or (0, 0)
    c_w, c_h = side(width, small_w), side(height, small_h)
    raw = not previewer or sampler in (Sampler.unipc, Sampler.unipc_trailing, Sampler.unipc_ays, Sampler.plms)
    first = Shape(count, c_h, c_w, 16) if raw else Shape(count, c_h * 8, c_w * 8, 3)
    return CascadeShapes(first, Shape(count, height // UNIT * 16, width // UNIT * 16, 4))


def image_count(version: str, batch_size: int, num_frames: int) -> int:
    """How many images come back from one request: members of a batch, or frames."""
    if version.startswith("seedvr2_"):
        return 1
    if version == "svd_i2v":
        return num_frames
    if version in _QUARTER_SECOND:
        return min(num_frames, (num_frames - 1) // 4 * 4 + 1)
    if version in ("ltx2", "ltx2.3"):
        return min(num_frames, (num_frames - 1) // 8 * 8 + 1)
    return batch_size


def batch_seeds(seed: int, count: int) -> list[int]:
    """Scale Alike: the seed of each member, by 32-bit xorshift from the one before."""
    seeds = [seed]
    while len(seeds) < count:
        x = seeds[-1] or 0xBAD5EED
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        seeds.append(x)
    return seeds[:count]


AUDIO_RATES = {"ltx2": 24000, "ltx2.3": 48000}


def audio_samples(version: str, num_frames: int) -> int:
    """Samples a channel of the sound that LTX returns; 0 for other versions."""
    if version not in AUDIO_RATES:
        return 0
    latents = ((num_frames - 1) // 8 + 1 - 1) * 8 + 1
    return ((latents - 1) * 4 + 1) * (240 if version == "ltx2" else 480)
