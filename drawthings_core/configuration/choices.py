"""The closed choices of a configuration. Values and wire names are config.fbs's; labels are what the app shows.

A choice is read leniently (`Sampler.parse`): by number, label, JSON word, wire name or member name, in any case.
"""

from __future__ import annotations

import enum
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Choice")


class Choice(enum.IntEnum):
    """An enum of config.fbs: the member's value is the wire's, `label` is the app's word, `json` its JSON string."""

    label: str
    json: str | None
    wire_name: str

    def __new__(cls: type[Self], value: int, wire_name: str, label: str, json: str | None = None) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.wire_name = wire_name
        member.label = label
        member.json = json
        return member

    @classmethod
    def labels(cls) -> list[str]:
        return [member.label for member in cls]

    @classmethod
    def parse(cls: type[Self], value: Any) -> Self | None:
        """The member that `value` names, or None."""
        if isinstance(value, bool):
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int):
            return next((member for member in cls if member == value), None)
        if isinstance(value, str):
            wanted = value.strip().casefold()
            for member in cls:
                names = {member.label, member.wire_name, member.name, *_ALIASES.get(member.wire_name, ())}
                if member.json is not None:
                    names.add(member.json)
                if wanted in {name.casefold() for name in names}:
                    return member
        return None


class Sampler(Choice):
    """Sampling algorithm with its noise schedule (SamplerType)."""

    dpmpp_2m_karras = 0, "DPMPP2MKarras", "DPM++ 2M Karras"
    euler_a = 1, "EulerA", "Euler A"
    ddim = 2, "DDIM", "DDIM"
    plms = 3, "PLMS", "PLMS"
    dpmpp_sde_karras = 4, "DPMPPSDEKarras", "DPM++ SDE Karras"
    unipc = 5, "UniPC", "UniPC"
    lcm = 6, "LCM", "LCM"
    euler_a_substep = 7, "EulerASubstep", "Euler A Substep"
    dpmpp_sde_substep = 8, "DPMPPSDESubstep", "DPM++ SDE Substep"
    tcd = 9, "TCD", "TCD"
    euler_a_trailing = 10, "EulerATrailing", "Euler A Trailing"
    dpmpp_sde_trailing = 11, "DPMPPSDETrailing", "DPM++ SDE Trailing"
    dpmpp_2m_ays = 12, "DPMPP2MAYS", "DPM++ 2M AYS"
    euler_a_ays = 13, "EulerAAYS", "Euler A AYS"
    dpmpp_sde_ays = 14, "DPMPPSDEAYS", "DPM++ SDE AYS"
    dpmpp_2m_trailing = 15, "DPMPP2MTrailing", "DPM++ 2M Trailing"
    ddim_trailing = 16, "DDIMTrailing", "DDIM Trailing"
    unipc_trailing = 17, "UniPCTrailing", "UniPC Trailing"
    unipc_ays = 18, "UniPCAYS", "UniPC AYS"
    tcd_trailing = 19, "TCDTrailing", "TCD Trailing"

    @property
    def in_pictures(self) -> str:
        """The word for it in a picture's metadata."""
        return _ALIASES.get(self.wire_name, (self.label,))[0]

    @classmethod
    def by_parts(cls, name: str) -> Sampler | None:
        """The sampler whose parts a name has, as the app reads a picture's metadata: "dpmpp_sde_ays" is DPM++ SDE AYS."""
        parts = _parts(name)
        return next((member for member in cls if _parts(member.label) == parts), None) if parts else None


_PARTS = ("dpm", "sde", "substep", "trailing", "ays", "euler", "unipc", "plms", "ddim", "lcm", "tcd")


def _parts(name: str) -> frozenset[str]:
    return frozenset(part for part in _PARTS if part in name.lower())


class SeedMode(Choice):
    """How the noise is made from the seed (SeedMode)."""

    legacy = 0, "Legacy", "Legacy"
    torch_cpu_compatible = 1, "TorchCpuCompatible", "Torch CPU Compatible"
    scale_alike = 2, "ScaleAlike", "Scale Alike"
    nvidia_gpu_compatible = 3, "NvidiaGpuCompatible", "NVIDIA GPU Compatible"


class ControlMode(Choice):
    """Which of prompt and control weighs more ("control importance" in the app)."""

    balanced = 0, "Balanced", "Balanced", "balanced"
    prompt = 1, "Prompt", "Prompt", "prompt"
    control = 2, "Control", "Control", "control"


class ControlInputType(Choice):
    """Which hint a control is fed when its specification names none (union controls)."""

    unspecified = 0, "Unspecified", "Unspecified", ""
    custom = 1, "Custom", "Custom", "custom"
    depth = 2, "Depth", "Depth", "depth"
    canny = 3, "Canny", "Canny", "canny"
    scribble = 4, "Scribble", "Scribble", "scribble"
    pose = 5, "Pose", "Pose", "pose"
    normalbae = 6, "Normalbae", "Normal BAE", "normal bae"
    color = 7, "Color", "Color", "color"
    lineart = 8, "Lineart", "LineArt", "lineart"
    softedge = 9, "Softedge", "SoftEdge", "softedge"
    seg = 10, "Seg", "Segmentation", "segmentation"
    inpaint = 11, "Inpaint", "Inpaint", "inpaint"
    ip2p = 12, "Ip2p", "Instruct Pix2Pix", "instruct pix2pix"
    shuffle = 13, "Shuffle", "Shuffle", "shuffle"
    mlsd = 14, "Mlsd", "MLSD", "mlsd"
    tile = 15, "Tile", "Tile", "tile"
    blur = 16, "Blur", "Blur", "blur"
    lowquality = 17, "Lowquality", "Low Quality", "low quality"
    gray = 18, "Gray", "Gray", "gray"


class LoRAMode(Choice):
    """Which network a LoRA acts on when there is a refiner; without one it always acts."""

    all = 0, "All", "All", "all"
    base = 1, "Base", "Base", "base"
    refiner = 2, "Refiner", "Refiner", "refiner"


class CompressionMethod(Choice):
    """Codec whose artefacts the app imitates on input frames."""

    disabled = 0, "Disabled", "Disabled", "disabled"
    h264 = 1, "H264", "H.264", "h264"
    h265 = 2, "H265", "H.265", "h265"
    jpeg = 3, "Jpeg", "JPEG", "jpeg"


class ColorCalibration(Choice):
    """Whether the colours of the result are matched to the input picture."""

    disabled = 0, "Disabled", "None", "none"
    lab = 1, "Lab", "Lab", "lab"


_ALIASES: dict[str, tuple[str, ...]] = {"EulerA": ("Euler Ancestral",)}
"""Other words for the same thing in PNG metadata and the HTTP API, by wire name."""
