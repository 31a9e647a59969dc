"""Small stand-ins for the ComfyUI nodes that read, write and show results; they give and write what ComfyUI's own do, but for video
and sound (see `media`).
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import torch
from PIL import Image

from ..drawthings_core.errors import FileNotWritten, InvalidImage, short
from ..nodes import host, pictures, prefixes
from . import media
from .workflow import WorkflowError

_ANNOTATION = re.compile(r" \[(input|output|temp)\]$")


@dataclass
class Folders:
    """Where pictures are looked for, in order, and where results go.

    written: the files that were saved, in order. remarks: what is different about them from ComfyUI's, one sentence each.
    """

    inputs: tuple[Path, ...]
    out: Path
    written: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def temp(self) -> Path:
        return self.out / "temp"

    def find(self, name: str) -> Path:
        """The file that a LoadImage names. Raises WorkflowError when none of the input folders has it; nothing outside is opened."""
        plain = _ANNOTATION.sub("", name)
        outside = False
        for folder in self.inputs:
            try:
                path = (folder / plain).resolve()
                if not path.is_relative_to(folder.resolve()):
                    outside = True
                elif path.is_file():
                    return path
            except (OSError, ValueError):
                continue  # a name that no file can have
        if outside:
            raise WorkflowError(f"the picture {short(name)} is not inside an input folder: copy it there, or give its folder with --input.")
        searched = ", ".join(str(folder) for folder in self.inputs)
        raise WorkflowError(f"the picture {short(name)} was not found in {searched}: give its folder with --input.")

    def place(self, prefix: str, width: int, height: int, temp: bool = False) -> host.Place:
        """Where a picture with this prefix goes, as ComfyUI would have it. Raises WorkflowError for a prefix that leads outside, and
        FileNotWritten when its folder cannot be made.
        """
        out = self.temp if temp else self.out
        folder, stem = _inside(out, _with_variables(prefix, width, height))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileNotWritten(stem, f"its folder {folder} cannot be made: {error.strerror}") from error
        subfolder = folder.relative_to(out).as_posix()
        return host.Place(folder, "" if subfolder == "." else subfolder, stem, _next_number(folder, stem))

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """While the body writes this file, which then counts as written. Raises FileNotWritten, and leaves no half of it."""
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise FileNotWritten(path.name, error.strerror or str(error)) from error
        self.written.append(path)


@contextlib.contextmanager
def in_use(folders: Folders) -> Iterator[None]:
    """Nodes of our own read and write in these folders too."""
    before, host.folders = host.folders, folders
    try:
        yield
    finally:
        host.folders = before


class StandIn:
    """A node that knows the runner's folders; `bound` sets them."""

    folders: ClassVar[Folders]
    TITLE: ClassVar[str]
    CATEGORY = "image"


class LoadImage(StandIn):
    TITLE = "Load Image"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ([], {"image_upload": True})}}

    @classmethod
    def VALIDATE_INPUTS(cls, image: Any) -> bool | str:
        return _found(cls, image)

    def load(self, image: str) -> tuple[torch.Tensor, torch.Tensor]:
        with _open(self.folders.find(image), image) as file:
            return pictures.loaded(file, image)


class LoadImageMask(StandIn):
    TITLE = "Load Image (as Mask)"
    RETURN_TYPES = ("MASK",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ([], {"image_upload": True}), "channel": (["alpha", "red", "green", "blue"],)}}

    @classmethod
    def VALIDATE_INPUTS(cls, image: Any) -> bool | str:
        return _found(cls, image)

    def load(self, image: str, channel: str) -> tuple[torch.Tensor]:
        """MASK [1, H, W]: that channel, alpha inverted."""
        with _open(self.folders.find(image), image) as file, pictures.reading(image):
            picture = pictures.upright(file)
            if picture.getbands() != ("R", "G", "B", "A"):
                picture = picture.convert("RGBA")
        letter = channel[:1].upper()
        mask = pictures.unit(picture.getchannel(letter))
        return (torch.from_numpy(1 - mask if letter == "A" else mask)[None],)


class SaveImage(StandIn):
    TITLE = "Save Image"
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    COMPRESSION = 4
    TEMP = False

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE",), "filename_prefix": ("STRING", {"default": "ComfyUI"})},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def save(
        self, images: torch.Tensor, filename_prefix: str = "ComfyUI", prompt: Any = None, extra_pnginfo: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One PNG a picture, named prefix_00001_.png and on, with the prompt and the workflow in text chunks."""
        place = self.folders.place(prefixes.filled(filename_prefix, prompt), images.shape[2], images.shape[1], self.TEMP)
        chunks = pictures.workflow_chunks(prompt, extra_pnginfo)
        rows = []
        for index, picture in enumerate(images):
            path = _free(place, index, ".png")
            with self.folders.writing(path):
                media.eight_bit(picture).save(path, pnginfo=chunks, compress_level=self.COMPRESSION)
            rows.append(_row(path, place, self.TEMP))
        return {"ui": {"images": rows}}


class PreviewImage(SaveImage):
    TITLE = "Preview Image"
    COMPRESSION = 1
    TEMP = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"images": ("IMAGE",)}, "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}}

    def save(self, images: torch.Tensor, filename_prefix: str = "ComfyUI_temp", prompt: Any = None, extra_pnginfo: Any = None) -> dict:
        return super().save(images, filename_prefix, prompt, extra_pnginfo)


class JoinImageWithAlpha(StandIn):
    TITLE = "Join Image with Alpha"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "join"
    CATEGORY = "mask/compositing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image": ("IMAGE",), "alpha": ("MASK",)}}

    def join(self, image: torch.Tensor, alpha: torch.Tensor) -> tuple[torch.Tensor]:
        """IMAGE [N, H, W, 4] with 1 - mask as alpha, of as many as there are of both; a mask of another size is scaled."""
        number = min(len(image), len(alpha))
        mask = torch.nn.functional.interpolate(alpha[:number, None], size=image.shape[1:3], mode="bilinear")
        return (torch.cat((image[:number, :, :, :3], 1 - mask.permute(0, 2, 3, 1)), dim=3),)


class PreviewAny(StandIn):
    """Shows text in the browser; here it is printed."""

    TITLE = "Preview Any"
    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True
    CATEGORY = "utils"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"source": ("*", {})}}

    def show(self, source: Any) -> dict[str, Any]:
        return {"ui": {"text": (str(source),)}}


class CreateVideo(StandIn):
    TITLE = "Create Video"
    RETURN_TYPES = ("VIDEO",)
    FUNCTION = "create"
    CATEGORY = "image/video"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"images": ("IMAGE",), "fps": ("FLOAT", {"default": 30.0, "min": 1.0, "max": 120.0, "step": 1.0})},
            "optional": {"audio": ("AUDIO",)},
        }

    def create(self, images: torch.Tensor, fps: float, audio: Mapping[str, Any] | None = None) -> tuple[media.Video]:
        return (media.Video(images, audio, fps),)


class SaveVideo(StandIn):
    TITLE = "Save Video"
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "image/video"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "video": ("VIDEO",),
                "filename_prefix": ("STRING", {"default": "video/ComfyUI"}),
                "format": (["auto", "mp4"], {"default": "auto"}),
                "codec": (["auto", "h264"], {"default": "auto"}),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, format: Any = None, codec: Any = None) -> bool:
        """Newer releases have more of them, and here none is used."""
        return True

    def save(
        self,
        video: media.Video,
        filename_prefix: str,
        format: str,
        codec: str,
        prompt: Any = None,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """An animated WebP, named prefix_00001_.webp and on, and a WAV of the same name when there is sound."""
        place = self.folders.place(prefixes.filled(filename_prefix, prompt), video.images.shape[2], video.images.shape[1])
        path = _free(place, 0, ".webp")
        with self.folders.writing(path):
            media.write_webp(path, video, prompt, extra_pnginfo)
        sound = video.sound
        if sound is not None:
            with self.folders.writing(path.with_suffix(".wav")):
                media.write_wav(path.with_suffix(".wav"), *sound)
        self.folders.remarks.append(
            f"{path.name} is an animated picture{' and its sound a file beside it' if sound else ''}: the same workflow saves an MP4 in ComfyUI."
        )
        return {"ui": {"images": [_row(path, place)], "animated": [True]}}


class SaveAudio(StandIn):
    TITLE = "Save Audio (FLAC)"
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    CATEGORY = "audio"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"audio": ("AUDIO",), "filename_prefix": ("STRING", {"default": "audio/ComfyUI"})},
            "hidden": {"prompt": "PROMPT"},
        }

    def save(self, audio: Mapping[str, Any], filename_prefix: str, prompt: Any = None) -> dict[str, Any]:
        """A WAV, 16 bits, for each sound of the batch, named prefix_00001_.wav and on."""
        place = self.folders.place(prefixes.filled(filename_prefix, prompt), 0, 0)
        rows = []
        for index, waveform in enumerate(audio["waveform"]):
            path = _free(place, index, ".wav")
            with self.folders.writing(path):
                media.write_wav(path, waveform.cpu().numpy(), int(audio["sample_rate"]))
            self.folders.remarks.append(f"{path.name} is a WAV: the same workflow saves a FLAC in ComfyUI.")
            rows.append(_row(path, place))
        return {"ui": {"audio": rows}}


STAND_INS: dict[str, type[StandIn]] = {
    stand_in.__name__: stand_in
    for stand_in in (
        LoadImage,
        LoadImageMask,
        SaveImage,
        PreviewImage,
        PreviewAny,
        CreateVideo,
        SaveVideo,
        SaveAudio,
        JoinImageWithAlpha,
    )
}
"""By node type, which is the class's name."""
TITLES = {name: stand_in.TITLE for name, stand_in in STAND_INS.items()}


def bound(folders: Folders) -> dict[str, type[StandIn]]:
    """The stand-ins, reading and writing in these folders."""
    return {name: type(name, (stand_in,), {"folders": folders}) for name, stand_in in STAND_INS.items()}


def _found(stand_in: type[StandIn], image: Any) -> bool | str:
    try:
        return bool(stand_in.folders.find(str(image)))
    except WorkflowError as error:
        return str(error)


def _open(path: Path, name: str) -> Image.Image:
    try:
        return pictures.opened(path, name)
    except InvalidImage as error:
        raise WorkflowError(str(error)) from error


def _with_variables(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    values = {
        "%width%": width,
        "%height%": height,
        "%year%": now.tm_year,
        "%month%": f"{now.tm_mon:02}",
        "%day%": f"{now.tm_mday:02}",
        "%hour%": f"{now.tm_hour:02}",
        "%minute%": f"{now.tm_min:02}",
        "%second%": f"{now.tm_sec:02}",
    }
    for variable, value in values.items():
        prefix = prefix.replace(variable, str(value))
    return prefix


def _inside(out: Path, prefix: str) -> tuple[Path, str]:
    """The folder and the beginning of the file name; a prefix may name sub-folders, but none outside `out`."""
    try:
        prefix.encode("utf-8")
    except UnicodeEncodeError as error:
        raise WorkflowError(f"The prefix {short(prefix)} holds half a character (a lone surrogate), which no file name can.") from error
    parts = PurePosixPath(prefix.replace("\\", "/"))
    folder = out / parts.parent
    if PureWindowsPath(prefix).drive or "\0" in prefix or not folder.resolve().is_relative_to(out.resolve()):
        raise WorkflowError(f"The prefix {short(prefix)} leads outside the output folder: choose a name inside it.")
    return folder, parts.name or "ComfyUI"


def _free(place: host.Place, index: int, suffix: str) -> Path:
    try:
        return next(path for path in place.paths(index, suffix) if not path.exists())
    except OSError as error:  # its name is longer than any file's
        raise FileNotWritten(place.name, error.strerror or str(error)) from error


def _row(path: Path, place: host.Place, temp: bool = False) -> dict[str, str]:
    """How ComfyUI's page is told of a file."""
    return {"filename": path.name, "subfolder": place.subfolder, "type": "temp" if temp else "output"}


def _next_number(folder: Path, name: str) -> int:
    pattern = re.compile(re.escape(name) + r"_(\d+)_?\.", re.IGNORECASE)
    numbers = [int(found.group(1)) for path in folder.iterdir() if (found := pattern.match(path.name))]
    return max(numbers, default=0) + 1
