"""What the server has and knows: the models directory, specifications, and what a file name in a request means.

Facts: model_specs.md; protocol.md sections 5 and 9. Built-in specifications are in catalog.json; custom.json and its
siblings in the models directory add to them. An override in a request wins over both for the time of that request.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalog import FACE_RESTORATION_FILES
from ..configuration import Configuration, Control, LoRA
from ..families import families, refines

Specification = dict[str, Any]

KINDS: dict[str, str] = {
    "models": "custom.json",
    "loras": "custom_lora.json",
    "control_nets": "custom_controlnet.json",
    "textual_inversions": "custom_textual_inversions.json",
    "upscalers": "custom_upscaler.json",
}
"""The five lists, and the file in the models directory that adds to each."""

_REQUIRED: dict[str, tuple[str, ...]] = {
    "models": ("name", "file", "prefix", "version", "upcast_attention", "default_scale"),
    "loras": ("name", "file", "prefix", "version"),
    "control_nets": ("name", "file", "version", "type", "global_average_pooling"),
    "textual_inversions": ("name", "file", "keyword", "length", "version"),
    "upscalers": ("name", "file", "scale_factor", "blocks"),
}
_FILE_KEYS: dict[str, tuple[str, ...]] = {
    "models": ("file", "text_encoder", "autoencoder", "image_encoder", "clip_encoder", "t5_encoder", "diffusion_mapping"),
    "loras": ("file", "alternative_decoder"),
    "control_nets": ("file", "image_encoder", "preprocessor", "autoencoder"),
    "textual_inversions": ("file",),
    "upscalers": ("file",),
}

DEFAULT_MODEL = "ltx_2.3_22b_distilled_1.1_q8p.ckpt"
"""The first built-in specification: what runs in place of a model that is not there."""

CASCADE_PREVIEWER = "wurstchen_3.0_stage_c_f32_previewer_f16.ckpt"
_CATALOG_FILE = Path(__file__).with_name("catalog.json")


@functools.cache
def _catalog() -> dict[str, Any]:
    return json.loads(_CATALOG_FILE.read_text(encoding="utf-8"))


def readable(kind: str, items: Any) -> list[Specification]:
    """The specifications that the server's decoder would keep: an item without a required key or of an unknown version drops."""
    if not isinstance(items, list):
        return []
    return [dict(item) for item in items if isinstance(item, Mapping) and _decodes(kind, item)]


def _decodes(kind: str, item: Mapping[str, Any]) -> bool:
    if any(item.get(key) is None for key in _REQUIRED[kind]):
        return False
    if kind == "upscalers":
        return item["scale_factor"] in (2, 4)
    weight = item.get("weight")
    if kind == "loras" and isinstance(weight, Mapping) and not {"lower_bound", "upper_bound"} <= set(weight):
        return False
    return item["version"] in families()


def parse_override(override: Any) -> dict[str, dict[str, Specification]]:
    """A MetadataOverride message as kind -> file -> specification; within one list the first entry of a file wins."""
    fields = {"models": "models", "loras": "loras", "control_nets": "controlNets", "textual_inversions": "textualInversions"}
    fields["upscalers"] = "upscalers"
    return {kind: _by_file(readable(kind, _json(getattr(override, name)))) for kind, name in fields.items()}


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8")) if data else []
    except ValueError:
        return []


def _by_file(items: Iterable[Specification]) -> dict[str, Specification]:
    found: dict[str, Specification] = {}
    for item in items:
        found.setdefault(item["file"], item)
    return found


def fill(directory: Path) -> None:
    """Put the believable set into an empty models directory: custom.json and its siblings, and a few bytes for every file."""
    catalog = _catalog()
    names = set(catalog["other_files"])
    for group in ("built_in", "custom"):
        for kind, items in catalog[group].items():
            for item in items:
                names.update(_files_of(kind, item))
    for kind, file in KINDS.items():
        items = catalog["custom"].get(kind)
        if items:
            (directory / file).write_text(json.dumps(items, indent=1), encoding="utf-8")
    for name in names:
        (directory / name).write_bytes(b"simulated " + name.encode())


def _files_of(kind: str, item: Specification) -> list[str]:
    """Every file that a specification needs to be complete; nothing for a third-party web API."""
    if item.get("remote_api_model_config"):
        return []
    files = [item[key] for key in _FILE_KEYS[kind] if item.get(key)]
    return [*files, *item.get("additional_clip_encoders", ()), *item.get("stage_models", ())]


def sha256_of(path: Path) -> bytes:
    """Raw SHA-256 of a file, piece by piece. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()


class ModelsDirectory:
    """A models directory. Nothing outside it is ever read or written, although the real server sanitises no name."""

    def __init__(self, path: Path):
        self.path = path.resolve()

    def inside(self, name: str) -> Path | None:
        """The path of `name`, or None when it leaves the directory (also through a symbolic link)."""
        try:
            path = (self.path / name).resolve()
        except (OSError, ValueError):
            return None
        return path if path == self.path or self.path in path.parents else None

    def exists(self, name: str | None) -> bool:
        """Plain path existence: a directory, and the empty name, which is the directory itself, count."""
        path = self.inside(name) if name is not None else None
        try:
            return path is not None and path.exists()
        except (OSError, ValueError):
            return False

    def hash(self, name: str) -> bytes:
        """Raw SHA-256 of a file, empty when it cannot be read."""
        path = self.inside(name)
        try:
            return sha256_of(path) if path is not None else b""
        except (OSError, ValueError):
            return b""

    def listing(self) -> list[str]:
        """What Echo lists: visible files directly inside, not empty, that end in .ckpt."""
        found = []
        for path in self.path.iterdir():
            if path.name.startswith(".") or not path.name.lower().endswith(".ckpt"):
                continue
            if path.is_file() and path.stat().st_size > 0:
                found.append(path.name)
        return found


class Catalog:
    """The specifications that one server knows, read afresh when asked: an upload or a new custom.json counts at once."""

    def __init__(self, directory: ModelsDirectory):
        self.directory = directory

    def known(self, kind: str) -> dict[str, Specification]:
        """file -> specification, built in and custom."""
        custom = self.directory.path / KINDS[kind]
        items = list(_catalog()["built_in"][kind])
        if custom.is_file():
            items += readable(kind, _json(custom.read_bytes()))
        return _by_file(items)

    def installed(self, kind: str) -> list[Specification]:
        """What Echo describes: known specifications whose files are all there."""
        return [item for item in self.known(kind).values() if all(map(self.directory.exists, _files_of(kind, item)))]


@dataclass(frozen=True)
class Resolved:
    """What a configuration's file names turned out to mean. Skipped names are those that the server silently ignores."""

    model: str
    version: str
    specification: Specification
    modifier: str
    transparent: bool
    loras: tuple[tuple[Specification, LoRA], ...]
    controls: tuple[tuple[Specification, Control], ...]
    refiner: str | None
    upscale: int
    upscaler: str | None
    face_restoration: str | None
    fell_back: bool
    skipped: tuple[str, ...]

    @property
    def layered(self) -> bool:
        """A layered Qwen model: each member of the batch is a layer with alpha."""
        return self.modifier == "qwenimage_layered"

    @property
    def with_alpha(self) -> bool:
        """Whether results have four channels."""
        return self.transparent or self.layered


def resolve(catalog: Catalog, override: dict[str, dict[str, Specification]], configuration: Configuration) -> Resolved:
    """Find every file that a configuration names; what is missing or of another version falls away without a word."""
    directory = catalog.directory

    def specification(kind: str, file: str) -> Specification | None:
        return override[kind].get(file) or catalog.known(kind).get(file)

    wanted = configuration["model"]
    fell_back = not directory.exists(wanted)
    model = DEFAULT_MODEL if fell_back else wanted or ""
    found = specification("models", model) or {}
    version = found.get("version", "v1")
    skipped: list[str] = []
    refiner = _refiner(directory, specification, configuration["refiner_model"], model, version, skipped)
    versions = {version} | ({"v1"} if version == "kandinsky2.1" else set())
    if refiner is not None:
        versions.add((specification("models", refiner) or {}).get("version", "v1"))
    loras = _present(directory, specification, "loras", configuration["loras"], versions, skipped)
    controls = _present(directory, specification, "control_nets", configuration["controls"], {version}, skipped)
    upscaler, upscale = _upscaler(directory, specification, configuration, skipped)
    face = configuration["face_restoration"]
    if face and not (face in FACE_RESTORATION_FILES and all(map(directory.exists, (face, *FACE_RESTORATION_FILES[face])))):
        skipped.append(face)
        face = None
    lent = next((spec["modifier"] for spec, _ in loras if spec.get("modifier", "none") != "none"), None)
    own = found.get("modifier", "none")
    return Resolved(
        model=model,
        version=version,
        specification=found,
        modifier=own if own != "none" or lent is None else lent,
        transparent=any(spec.get("alternative_decoder_version") == "transparent" for spec, _ in loras),
        loras=tuple(loras),
        controls=tuple((spec, control) for spec, control in controls if control["weight"] > 0),
        refiner=refiner,
        upscale=upscale,
        upscaler=upscaler,
        face_restoration=face or None,
        fell_back=fell_back,
        skipped=tuple(skipped),
    )


def _refiner(directory: ModelsDirectory, specification: Any, file: str | None, model: str, version: str, skipped: list[str]) -> str | None:
    if not file:
        return None
    found = (specification("models", file) or {}).get("version", "v1")
    if file != model and refines(found, version) and directory.exists(file):
        return file
    skipped.append(file)
    return None


def _present(
    directory: ModelsDirectory, specification: Any, kind: str, records: Iterable[Any], versions: set[str], skipped: list[str]
) -> list[tuple[Specification, Any]]:
    kept = []
    for record in records:
        file = record["file"] or ""
        found = specification(kind, file) or {"name": file, "file": file, "version": "v1"}
        if file and directory.exists(file) and found["version"] in versions:
            kept.append((found, record))
        else:
            skipped.append(file)
    return kept


def _upscaler(directory: ModelsDirectory, specification: Any, configuration: Configuration, skipped: list[str]) -> tuple[str | None, int]:
    file = configuration["upscaler"]
    if not file:
        return None, 1
    found = specification("upscalers", file)
    if found is None or not directory.exists(file):
        skipped.append(file)
        return None, 1
    forced = configuration["upscaler_scale_factor"]
    return file, forced if forced in (2, 4) else found["scale_factor"]
