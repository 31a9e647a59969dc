"""The demo inside a real ComfyUI: a throw-away base directory with this package in it, and the simulator beside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from _environment import ROOT, say

PYTHON_VARIABLE = "COMFYUI_PYTHON"
HOME_VARIABLE = "DRAWTHINGS_HOME"
NEEDED = ("grpc", "google.protobuf", "flatbuffers", "numpy", "PIL", "torch")
START_SECONDS = 300
STOP_SECONDS = 10
USUAL_PORT = 7859
LOAD_SERVER = "DrawThingsLoadServer"
PACKAGE = "comfyui-drawthings"
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Notification.ShowVersionUpdates": False}
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "out", "__pycache__", "*.egg-info", "build")


def serve(
    comfyui: Path, interpreter: Path | None, port: int, simulator_flags: Sequence[str], secret_name: str, secret: Mapping[str, str]
) -> int:
    """Run both until Ctrl-C. The exit code: 0 after Ctrl-C, 1 when ComfyUI could not be started."""
    from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess  # pyright: ignore[reportMissingImports]

    comfyui = comfyui.expanduser().resolve()
    if not (comfyui / "main.py").is_file():
        print(f"{comfyui} is not a ComfyUI checkout: it has no main.py.", file=sys.stderr)
        return 1
    python = interpreter or _own_python(comfyui)
    if python is None:
        print(f"{comfyui} has no .venv or venv: name ComfyUI's Python with --comfyui-python or {PYTHON_VARIABLE}.", file=sys.stderr)
        return 1
    missing = _missing(python)
    if missing:
        print(f"ComfyUI's Python lacks {', '.join(missing)}: install this package's dependencies there first:", file=sys.stderr)
        print(f"  {python} -m pip install {_dependencies()}", file=sys.stderr)
        return 1
    wanted = ("--port", str(USUAL_PORT)) if _free(USUAL_PORT) else ()
    with tempfile.TemporaryDirectory(prefix="drawthings-comfyui-") as scratch, SimulatorProcess(*simulator_flags, *wanted) as simulator:
        base = Path(scratch) / "base"
        _lay_out(base, simulator.host, simulator.port, secret_name)
        environment = {**os.environ, **secret, HOME_VARIABLE: str(Path(scratch) / "home")}
        port = port or _free_port()
        log = Path(scratch) / "comfyui.log"
        say(f"Starting ComfyUI with {python} ...")
        process = _start(python, comfyui, base, port, environment, log)
        try:
            if not _wait_ready(process, port):
                print(f"ComfyUI did not start; the end of its log:\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
                return 1
            say(f"\nComfyUI:           http://127.0.0.1:{port}")
            say(f"Draw Things:       {simulator.address} (a simulator, with TLS)")
            say(f"Name of the secret: {secret_name}")
            say("The examples are under Workflows (key W), already set to this server. Ctrl-C stops both.")
            return _wait_stopped(process, log)
        finally:
            _stop(process)


def _own_python(comfyui: Path) -> Path | None:
    """The Python of a checkout's own environment, or the one that the variable names."""
    for name in (".venv", "venv"):
        for place in ("bin/python", "Scripts/python.exe"):
            if (comfyui / name / place).is_file():
                return comfyui / name / place
    named = os.environ.get(PYTHON_VARIABLE)
    return Path(named) if named else None


def _missing(python: Path) -> list[str]:
    """Modules that ComfyUI's Python cannot find."""
    code = f"import importlib.util as u\nfor n in {NEEDED!r}:\n try: f=u.find_spec(n)\n except ModuleNotFoundError: f=None\n if not f: print(n)"
    try:
        found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return [f"an interpreter at {python}"]
    return found.stdout.split()


def _dependencies() -> str:
    return '"grpcio>=1.60" "protobuf>=4.25" "flatbuffers>=24.3" "fpzip>=1.2.4"'


def _lay_out(base: Path, host: str, port: int, secret_name: str) -> None:
    """custom_nodes with this package, the examples' pictures, and the examples with this server filled in."""
    (base / "custom_nodes").mkdir(parents=True)
    link = base / "custom_nodes" / PACKAGE
    try:
        link.symlink_to(ROOT, target_is_directory=True)
    except OSError:  # Windows, without the right to make links
        shutil.copytree(ROOT, link, ignore=LEFT_OUT)
    shutil.copytree(ROOT / "example_workflows" / "input", base / "input")
    saved = base / "user" / "default" / "workflows"
    saved.mkdir(parents=True)
    for workflow in sorted((ROOT / "example_workflows").glob("*.json")):
        document = json.loads(workflow.read_text(encoding="utf-8"))
        for node in document["nodes"]:
            if node["type"] == LOAD_SERVER:
                node["widgets_values"] = [host, port, "auto", secret_name, ""]
        (saved / workflow.name).write_text(json.dumps(document), encoding="utf-8")
    (base / "user" / "default" / "comfy.settings.json").write_text(json.dumps(SETTINGS), encoding="utf-8")


def _start(python: Path, comfyui: Path, base: Path, port: int, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    command = [str(python), "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)]
    command += ["--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}"]
    with log.open("wb") as file:
        return subprocess.Popen(command, cwd=comfyui, env=environment, stdout=file, stderr=subprocess.STDOUT)


def _wait_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            with opener.open(f"http://127.0.0.1:{port}/object_info/{LOAD_SERVER}", timeout=5) as answer:
                return LOAD_SERVER in json.load(answer)  # not there: it runs, but our package did not load
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(0.5)
    return False


def _wait_stopped(process: subprocess.Popen[bytes], log: Path) -> int:
    try:
        code = process.wait()
    except KeyboardInterrupt:
        say("\nStopping.")
        return 0
    print(f"ComfyUI ended by itself with code {code}; the end of its log:\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
    return 1


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End this one process, by its own id."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
