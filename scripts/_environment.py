"""The virtual environment that demo.py, test.py and check share. Standard library only: it runs on a bare Python.

The environment is `.venv` in the checkout, or the folder that DRAWTHINGS_VENV names. It sees nothing of the Python that made
it, so that what works here works on a fresh machine. A stamp file in it remembers what was installed from which pyproject.toml;
as long as that holds, nothing is asked of the network.

DRAWTHINGS_TORCH     requirement for torch, such as torch==2.9.0. Without it: the build that pip is configured to find on this
                     machine (PIP_FIND_LINKS), if there is one, else plain torch, which brings gigabytes of CUDA libraries on
                     Linux. An environment given by DRAWTHINGS_VENV that has torch already keeps it.
PIP_CONSTRAINT, PIP_INDEX_URL and pip's other settings are respected, since pip is what installs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import runpy
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV_VARIABLE = "DRAWTHINGS_VENV"
TORCH_VARIABLE = "DRAWTHINGS_TORCH"
OLDEST_PYTHON = (3, 10)
STAMP = "drawthings-stamp.json"
TAIL = 30
"""Lines of pip's output that are shown when it fails."""

_SHOWN = ("Collecting ", "Downloading ", "Installing ", "Building ", "Successfully ")


class SetupFailed(Exception):
    """The environment could not be made; the text says what to do."""


def folder() -> Path:
    """The virtual environment's folder."""
    given = os.environ.get(VENV_VARIABLE)
    return Path(given).expanduser().resolve() if given else ROOT / ".venv"


def python(environment: Path | None = None) -> Path:
    """The interpreter of an environment."""
    base = environment or folder()
    return base / "Scripts" / "python.exe" if os.name == "nt" else base / "bin" / "python"


def inside() -> bool:
    """Whether this process already runs in the environment."""
    return Path(sys.prefix).resolve() == folder().resolve()


def demo_requirements() -> dict[str, list[str]]:
    """What the demo needs, as pip arguments by layer; a layer is installed as one."""
    return {"package": [os.environ.get(TORCH_VARIABLE) or "torch", "--editable", f"{ROOT}[torch,simulator]"]}


def test_requirements() -> dict[str, list[str]]:
    """What the tests and the checks need besides."""
    tools = [
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "hypothesis",
        "ruff",
        "pyright[nodejs]",
        "cryptography",
        "websockets",
        "aiohttp",
        "zeroconf",
    ]
    return {**demo_requirements(), "tools": [*tools, *_compilers()]}


def browser_requirements() -> dict[str, list[str]]:
    """What drives a browser. It brings no browser, and fetches none."""
    return {"browser": ["playwright", "pytest-rerunfailures"]}


def client_requirements() -> dict[str, list[str]]:
    """The independent client that one test compares with. It pins Pillow, so it has an environment of its own."""
    return {"client": ["drawthings-py"]}


def client_folder() -> Path:
    """The environment of the independent client."""
    return folder() / "independent-client"


def _compilers() -> list[str]:
    """grpcio-tools and flatc at the versions that the committed generated code is compared with."""
    pinned: Mapping[str, str] = runpy.run_path(str(ROOT / "proto" / "generate.py"), run_name="generate")["COMPILERS"]
    return [f"{name}=={version}" for name, version in pinned.items()]


def ensure(layers: Mapping[str, Sequence[str]], environment: Path | None = None) -> Path:
    """Make the environment hold these layers; its interpreter. Raises SetupFailed."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupFailed(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed; this is {sys.version.split()[0]}.")
    target = environment or folder()
    stamps = _read_stamps(target)
    marks = {name: _mark(arguments) for name, arguments in layers.items()}
    missing = {name: arguments for name, arguments in layers.items() if stamps.get(name) != marks[name]}
    if not missing and _works(target):
        return python(target)
    if not _works(target):
        missing = dict(layers)
        stamps = {}
        _make(target)
    for name, arguments in missing.items():
        say(f"Installing into {target}: {', '.join(_spoken(arguments))} (the first time this takes a few minutes)")
        _pip(target, arguments)
        stamps[name] = marks[name]
        (target / STAMP).write_text(json.dumps(stamps, indent=1), encoding="utf-8")
    return python(target)


def say(text: str) -> None:
    print(text, flush=True)


def _read_stamps(target: Path) -> dict[str, str]:
    try:
        found = json.loads((target / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(arguments: Sequence[str]) -> str:
    """What a layer was installed from."""
    digest = hashlib.sha256()
    for part in (*arguments, str(ROOT), os.environ.get("PIP_CONSTRAINT", "")):
        digest.update(part.encode() + b"\0")
    digest.update((ROOT / "pyproject.toml").read_bytes())
    for file in os.environ.get("PIP_CONSTRAINT", "").split():
        if Path(file).is_file():
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()


def _works(target: Path) -> bool:
    """Whether the environment is there, and its interpreter still starts: an upgrade of Python can take it away."""
    try:
        return subprocess.run([str(python(target)), "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _make(target: Path) -> None:
    """A new environment with pip in it. Debian's python3 comes without ensurepip: then a pip outside installs pip inside."""
    ours, there = (target / STAMP).is_file(), target.exists() and any(target.iterdir())
    clear = ["--clear"] if ours else []
    if there and not ours and not (target / "pyvenv.cfg").is_file():
        raise SetupFailed(f"{target} is in the way and is no virtual environment: move it, or name another folder with {VENV_VARIABLE}.")
    say(f"Making a virtual environment in {target}")
    has_pip = importlib.util.find_spec("ensurepip") is not None
    command = [sys.executable, "-m", "venv", *clear, *([] if has_pip else ["--without-pip"]), str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode == 0 and not has_pip:
        outside = [sys.executable, "-m", "pip", "--python", str(python(target)), "install", "pip"]
        made = subprocess.run(outside, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        advice = "install Python's venv module (Debian and Ubuntu: apt install python3-venv) and try again"
        raise SetupFailed(f"No virtual environment could be made in {target}: {advice}.\n{(made.stdout + made.stderr).strip()}")


def _pip(target: Path, arguments: Sequence[str]) -> None:
    """pip install, with the lines that show that it moves. Raises SetupFailed."""
    arguments = [_torch_here(target) if argument == "torch" else argument for argument in arguments]
    command = [str(python(target)), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *arguments]
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            if line.strip().startswith(_SHOWN):
                say(f"  {line.strip()[:140]}")
    if process.returncode != 0:
        text = "\n".join(tail)
        raise SetupFailed(f"pip could not install {', '.join(_spoken(arguments))}; the end of what it said:\n{text}")


def _torch_here(target: Path) -> str:
    """The torch that pip finds without asking an index, exactly; "torch" when there is none or one is installed already."""
    installed = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    if subprocess.run([str(python(target)), "-c", installed], check=False).returncode == 0:
        return "torch"
    command = [str(python(target)), "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "--ignore-installed"]
    found = subprocess.run([*command, "--quiet", "--report", "-", "torch"], capture_output=True, text=True, check=False)
    try:
        version = json.loads(found.stdout)["install"][0]["metadata"]["version"]
    except (ValueError, LookupError, TypeError):
        return "torch"
    return f"torch=={version}"


def _spoken(arguments: Sequence[str]) -> list[str]:
    """The requirements without options, the checkout by its name."""
    return [argument.replace(str(ROOT), "this package") for argument in arguments if not argument.startswith("--")]
