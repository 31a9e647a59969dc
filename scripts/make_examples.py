#!/usr/bin/env python3
"""Write example_workflows/: one workflow a subject in ComfyUI's UI format, its thumbnail, and the pictures that they load; and
nodes/example_files.json, the files that they name. The examples themselves are in _examples.py.

    python3 scripts/make_examples.py            # write
    python3 scripts/make_examples.py --check    # exit 1 when a committed file is not what this script gives

Needs the package installed (scripts/test.py makes such an environment).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comfyui_drawthings.drawthings_core import metadata  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.drawthings_core.catalog import SECTIONS  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.nodes.widgets import NONE  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner import execution, overrides, workflow  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.inputs import input_specs  # pyright: ignore[reportMissingImports]
from comfyui_drawthings.runner.stand_ins import Folders, bound, in_use  # pyright: ignore[reportMissingImports]
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _pictures
import _thumbnails
import demo
from _examples import SAVED, SAVED_PICTURE, sheets
from _sheets import CLASSES, DISPLAY, Sheet, document

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"
NAMED = ROOT / "nodes" / "example_files.json"
NEARLY = 3
"""Mean difference of two pictures' levels, of 255, that other fonts on the simulator's picture may make."""


def texts(made: Sequence[Sheet]) -> dict[Path, str]:
    """File -> JSON text."""
    written = {FOLDER / f"{sheet.name}.json": document(sheet) for sheet in made}
    return {path: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for path, content in {**written, NAMED: named(made)}.items()}


def named(made: Sequence[Sheet]) -> dict[str, list[str]]:
    """The files that the examples name, by kind: what known_files offers before a server was seen."""
    found: dict[str, set[str]] = {kind: set() for kind in SECTIONS}
    for placed in (placed for sheet in made for placed in sheet.nodes if placed.type in CLASSES):
        for spec in input_specs(CLASSES[placed.type]).values():
            kind, file = spec.options.get("drawthings_files"), placed.values.get(spec.name, NONE)
            if kind in found and file != NONE:
                found[kind].add(file)
    return {kind: sorted(files) for kind, files in found.items()}


def mark(sheet: Sheet) -> str:
    """What a thumbnail's comment says: a digest of what its example makes, whatever stands where and whatever is left as it is."""
    rows = [
        [placed.type, dict(placed.values), {name: [source.node.id, source.slot] for name, source in placed.sources.items()}]
        for placed in sheet.nodes
        if placed.type in CLASSES
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def thumbnails(wanted: Sequence[Sheet], folder: Path) -> dict[str, Path]:
    """File name -> a new thumbnail in `folder`, from what the simulator makes of each example."""
    if not wanted:
        return {}
    uploads = folder / "uploads"
    demo.make_upload(uploads)
    os.environ[demo.UPLOADS_VARIABLE] = str(uploads)
    made = {}
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as simulator:
        for sheet in wanted:
            picture = _thumbnails.draw(_made(sheet, folder / sheet.name, {"host": simulator.host, "port": simulator.port}))
            made[f"{sheet.name}.jpg"] = path = folder / f"{sheet.name}.jpg"
            path.write_bytes(_thumbnails.encoded(picture, mark(sheet)))
    return made


def _made(sheet: Sheet, out: Path, server: Mapping[str, Any]) -> _thumbnails.Made:
    folders = Folders((FOLDER / "input",), out)
    classes = {**NODE_CLASS_MAPPINGS, **bound(folders)}
    saved = document(sheet)
    graph = overrides.use_server(workflow.parse(saved, classes, DISPLAY), server)
    for number in demo.uploading(saved):
        graph = graph.with_inputs(str(number), {"file": f"uploads/{demo.UPLOADED}"})
    with in_use(folders):
        outcome = execution.run(graph, classes)
    shown = "\n".join(text for node, text in outcome.shown if node.type in NODE_CLASS_MAPPINGS)
    text = shown.replace(f"{server['host']}:{server['port']}", "127.0.0.1:7859")
    enlarged = [placed.sources["image"].node for placed in sheet.nodes if placed.type == "DrawThingsUpscale"]
    return _thumbnails.Made(
        [path for path in folders.written if path.suffix in demo.PICTURES],
        [path for path in folders.written if path.suffix == ".wav"],
        text,
        FOLDER / "input" / enlarged[0].values["image"] if enlarged else None,
    )


def pictures() -> dict[str, np.ndarray]:
    """File name -> uint8 pixels. PNG bytes differ with the version of zlib; pixels do not."""
    return {name: _pictures.eight_bit(paint()) for name, paint in _pictures.PICTURES.items()}


def saved_picture(folder: Path) -> Path:
    """The picture that has its settings in it, as Save Image writes what the simulator makes of them."""

    async def make(kind: str, **inputs: Any) -> Any:
        defaults = {name: spec.default for name, spec in input_specs(CLASSES[kind]).items() if spec.widget and spec.required}
        made = getattr(CLASSES[kind](), CLASSES[kind].FUNCTION)(**{**defaults, **inputs})
        return await made if inspect.isawaitable(made) else made

    async def save(host: str, port: int) -> None:
        (server,) = await make("DrawThingsLoadServer", host=host, port=port, tls="plain")
        images, _, info = await make("DrawThingsGenerate", server=server, **SAVED)
        await make("DrawThingsSaveImage", images=images, info=info, compression=9)

    folders = Folders((), folder)
    flags = ("--no-tls", "--model-browser", "--no-response-compression", "--step-seconds", "0")
    with in_use(folders), SimulatorProcess(*flags) as simulator:
        asyncio.run(save(simulator.host, simulator.port))
    return folders.written[0]


def _nearly_same(one: Path, other: Path) -> bool:
    """Whether two pictures have the same settings, and pixels as near as fonts of different machines allow."""
    with Image.open(one) as a, Image.open(other) as b:
        if a.size != b.size or metadata.in_picture(a) != metadata.in_picture(b):
            return False
        return bool(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).mean() < NEARLY)


def stale(folder: Path) -> dict[Path, Path | np.ndarray | str]:
    """Committed files that are not what this script gives, and what it gives: text, pixels, or a file in `folder`."""
    found: dict[Path, Path | np.ndarray | str] = {}
    made = sheets()
    for path, text in texts(made).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            found[path] = text
    for name, pixels in pictures().items():
        path = FOLDER / "input" / name
        if not path.is_file() or not np.array_equal(np.asarray(Image.open(path)), pixels):
            found[path] = pixels
    old = [sheet for sheet in made if _thumbnails.comment_of(FOLDER / f"{sheet.name}.jpg") != mark(sheet)]
    found.update({FOLDER / name: path for name, path in thumbnails(old, folder).items()})
    saved, again = FOLDER / "input" / SAVED_PICTURE, saved_picture(folder)
    if not saved.is_file() or not _nearly_same(saved, again):
        found[saved] = again
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    (FOLDER / "input").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = stale(Path(folder))
        for path, content in found.items():
            print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
            if not check:
                _write(path, content)
    return 1 if check and found else 0


def _write(path: Path, content: Path | np.ndarray | str) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="\n")
    elif isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        Image.fromarray(content).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
