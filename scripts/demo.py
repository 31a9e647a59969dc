#!/usr/bin/env python3
"""See the package work: every example workflow, through the real nodes, over gRPC.

    python3 scripts/demo.py                          against the simulator that comes with the package
    python3 scripts/demo.py text_to_image inpaint    some of them, by name
    python3 scripts/demo.py --server HOST:PORT       against your own Draw Things server
    python3 scripts/demo.py --comfyui DIR            inside your ComfyUI, with the simulator beside it

Needs Python 3.10 or newer and nothing else: it makes its own virtual environment (.venv in the checkout, or the folder that
DRAWTHINGS_VENV names; DRAWTHINGS_TORCH chooses the torch to install).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _environment

EXAMPLES = _environment.ROOT / "example_workflows"
SECRET_NAME = "demo"
SECRET_VARIABLE = "DRAWTHINGS_SECRET_DEMO"
SECRET = "not-a-secret"
HOME_VARIABLE = "DRAWTHINGS_HOME"
UPLOADS_VARIABLE = "DRAWTHINGS_UPLOADS"
UPLOADED = "demo_lora_f16.ckpt"
SIMULATOR_FLAGS = ("--model-browser", "--shared-secret", SECRET)
"""TLS and response compression are on by themselves."""
NO_SERVER = (3, 4)
"""Exit codes of drawthings-run after which no other example can do better."""

SHEET = "contact_sheet.png"
PICTURES = (".png", ".webp")
"""Endings of files that the contact sheet shows; sound is not."""

SPELLED = {
    "text": "Text",
    "inpaint": "Inpaint",
    "controlnet": "ControlNet",
    "moodboard": "Moodboard",
    "lora": "LoRA",
    "pose": "Pose",
    "prompt": "Prompt",
}
"""Words of file names as the contact sheet shows them."""


@dataclass
class Result:
    """How one example ended. text: what its nodes show; sentence: why it failed, "" when it did not."""

    name: str
    model: str
    seconds: float
    code: int
    files: list[Path] = field(default_factory=list)
    seeds: str = ""
    text: str = ""
    sentence: str = ""

    def facts(self) -> str:
        """Model, seed and time in a line; of an example that failed, why."""
        made = [self.model, f"seed {self.seeds}" if self.seeds else "", f"{self.seconds:.1f} s"]
        return self.sentence if self.code else ", ".join(filter(None, made))


def main() -> int:
    given = _arguments()
    try:
        interpreter = _environment.ensure(_environment.demo_requirements())
    except _environment.SetupFailed as error:
        print(error, file=sys.stderr)
        return 1
    if not _environment.inside():
        return _rerun(interpreter)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended on the way out
    try:
        if given.comfyui is not None:
            import _comfyui

            return _comfyui.serve(given.comfyui, given.comfyui_python, given.port, SIMULATOR_FLAGS, SECRET_NAME, {SECRET_VARIABLE: SECRET})
        return _with_server(given) if given.server else _with_simulator(given)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help="names of examples; all by default")
    parser.add_argument(
        "--out", type=Path, default=_environment.ROOT / "out", metavar="DIR", help="folder for the pictures (default: out in the checkout)"
    )
    real = parser.add_argument_group("with your own server")
    real.add_argument("--server", metavar="HOST:PORT")
    real.add_argument("--secret", metavar="NAME", help="NAME of a secret saved with drawthings-servers, never the secret itself")
    real.add_argument("--tls", metavar="MODE", help="auto, plain, system, CA file or pinned")
    real.add_argument(
        "--model", metavar="FILE", help="use this model in every example; controls and LoRAs stay, and must be for its family"
    )
    comfy = parser.add_argument_group("inside ComfyUI")
    comfy.add_argument("--comfyui", type=Path, metavar="DIR", help="a ComfyUI checkout; nothing is written into it")
    comfy.add_argument(
        "--comfyui-python",
        type=Path,
        metavar="FILE",
        help="its Python (default: its own .venv or venv, else $COMFYUI_PYTHON); it needs this package's dependencies",
    )
    comfy.add_argument("--port", type=int, default=0, help="ComfyUI's port (default: a free one)")
    given = parser.parse_args()
    unknown = {name for name in given.examples if not (EXAMPLES / f"{name}.json").is_file()}
    if unknown:
        parser.error(f"no such example: {', '.join(sorted(unknown))}")
    if not given.server and (given.secret or given.tls or given.model):
        parser.error("--secret, --tls and --model go with --server")
    return given


def _rerun(interpreter: Path) -> int:
    """This script once more, with the environment's interpreter."""
    command = [str(interpreter), str(Path(__file__).resolve()), *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)  # signals then reach the one process there is
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 130


def _with_simulator(given: argparse.Namespace) -> int:
    from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory(prefix="drawthings-demo-") as home, SimulatorProcess(*SIMULATOR_FLAGS) as simulator:
        _environment.say(f"A simulated Draw Things server listens on {simulator.address}: TLS, shared secret, compression, model browser.")
        environment = {**os.environ, HOME_VARIABLE: home, UPLOADS_VARIABLE: home, SECRET_VARIABLE: SECRET}
        make_upload(Path(home))
        flags = ["--server", simulator.address, "--secret", SECRET_NAME]
        return _run_all(given, flags, environment, "the simulator")


def _with_server(given: argparse.Namespace) -> int:
    flags = ["--server", given.server]
    for option in ("secret", "tls"):
        if getattr(given, option):
            flags += [f"--{option}", getattr(given, option)]
    return _run_all(given, flags, dict(os.environ), given.server)


def _run_all(given: argparse.Namespace, flags: Sequence[str], environment: dict[str, str], where: str) -> int:
    environment["PYTHONUTF8"] = "1"  # file names in what the command prints
    out = given.out.resolve()
    workflows = sorted((path for path in EXAMPLES.glob("*.json") if not given.examples or path.stem in given.examples), key=_order)
    if given.server:  # nothing is put on someone's own server
        workflows = [path for path in workflows if not uploads_of(json.loads(path.read_text(encoding="utf-8")))]
    results = []
    for number, workflow in enumerate(workflows, 1):
        print(f"[{number}/{len(workflows)}] {workflow.stem} ... ", end="", flush=True)
        result = _run(workflow, out, flags, given.model, environment)
        results.append(result)
        _environment.say(f"{result.seconds:.1f} s" if result.code == 0 else f"failed: {result.sentence}")
        if result.code in NO_SERVER:
            print("No server, so the other examples were not tried.", file=sys.stderr)
            return 1
    sheet = _contact_sheet(results, out, where)
    _environment.say(f"\nPictures are in {out}:")
    for result in results:
        for file in result.files:
            _environment.say(f"  {file.name}")
    _environment.say(f"All of them on one sheet: {sheet}")
    failed = [result for result in results if result.code != 0]
    if failed:
        print(f"{len(failed)} of {len(results)} examples failed: {', '.join(result.name for result in failed)}.", file=sys.stderr)
        if given.server and not given.model:
            print("Where a model is not on your server, name one that is with --model FILE.", file=sys.stderr)
    return 1 if failed else 0


def _order(workflow: Path) -> tuple[int, str]:
    """The plain ones first."""
    return len(json.loads(workflow.read_text(encoding="utf-8"))["nodes"]), workflow.stem


def models_of(workflow: dict[str, Any]) -> dict[int, str]:
    """Node id -> model file of every node of a saved workflow that has one; the node that makes pictures comes first.

    A model's widget stands before any seed, whose second widget has a value and no name here.
    """
    found: dict[int, str] = {}
    for node in sorted(workflow["nodes"], key=lambda node: not any(output["type"] == "IMAGE" for output in node["outputs"])):
        widgets = [given["name"] for given in node["inputs"] if "widget" in given]
        if "model" in widgets:
            found[node["id"]] = node["widgets_values"][widgets.index("model")]
    return found


def uploading(workflow: dict[str, Any]) -> list[int]:
    """Ids of the nodes of a saved workflow that upload a file."""
    return [node["id"] for node in workflow["nodes"] if node["type"] == "DrawThingsUploadModel"]


def uploads_of(workflow: dict[str, Any]) -> list[str]:
    """Arguments of drawthings-run that make a saved workflow upload what `make_upload` wrote; none where nothing is uploaded."""
    return [part for node in uploading(workflow) for part in ("--set", f"{node}.file=uploads/{UPLOADED}")]


def make_upload(folder: Path) -> None:
    """A small file in Draw Things' format: a database, here without tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(folder / UPLOADED)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS tensors (name TEXT, data BLOB)")


def _run(workflow: Path, out: Path, flags: Sequence[str], model: str | None, environment: dict[str, str]) -> Result:
    """One example, as the drawthings-run command would run it."""
    saved = json.loads(workflow.read_text(encoding="utf-8"))
    models = models_of(saved)
    own_model = next(iter(models.values()), "")
    chosen = [part for node in models if model for part in ("--set", f"{node}.model={model}")] + uploads_of(saved)
    command = [sys.executable, "-m", "comfyui_drawthings.runner", str(workflow), "--out", str(out), *flags, *chosen]
    started = time.monotonic()
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    result = Result(workflow.stem, model or own_model, time.monotonic() - started, ended.returncode)
    for line in ended.stdout.splitlines():
        if line.startswith("wrote "):
            result.files.append(Path(line.removeprefix("wrote ")))
        elif line.startswith("seeds of "):
            result.seeds = line.rpartition(": ")[2]
        elif line.startswith("  "):  # what a node shows is indented
            result.text += line.removeprefix("  ") + "\n"
    lines = ended.stderr.strip().splitlines()
    if ended.returncode != 0:
        result.sentence = lines[-1] if lines else f"it ended with code {ended.returncode}"
    elif not result.files and not result.text:
        result.code, result.sentence = 1, "it wrote no picture, and showed no text"
    return result


def _contact_sheet(results: Sequence[Result], out: Path, where: str) -> Path:
    import _contact_sheet as sheet

    cells = [
        sheet.Cell(
            " ".join(SPELLED.get(word, word) for word in result.name.split("_")),
            (result.facts(),),
            [file for file in result.files if file.suffix in PICTURES],
            result.text,
        )
        for result in results
    ]
    out.mkdir(parents=True, exist_ok=True)
    path = out / SHEET
    sheet.draw(cells, "Draw Things for ComfyUI", f"Every example workflow, run through the nodes over gRPC against {where}").save(path)
    return path


if __name__ == "__main__":
    sys.exit(main())
