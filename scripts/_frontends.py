"""ComfyUI's own pages, which the browser tests run in: unpacked from their wheels, never imported. Standard library only."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSIONS = ("1.27.10", "1.35.9", "1.58.1")
"""Those that ComfyUI 0.3.64 and 0.8.0 ask for, and a newer one."""

_INSIDE = "comfyui_frontend_package/static/"
"""Where a wheel keeps the page."""


def folder(environment: Path | None = None) -> Path:
    """Where they are kept: one folder a version, in the virtual environment (that of this process unless another is given)."""
    return (environment or Path(sys.prefix)) / "frontends"


def found(version: str, environment: Path | None = None) -> Path | None:
    """The page's folder, or None when it is not there."""
    place = folder(environment) / version
    return place if (place / "index.html").is_file() else None


def ensure(environment: Path, python: Path) -> list[str]:
    """Have pip fetch what is missing. Sentences about those that cannot be had; their tests are then skipped."""
    return [problem for version in VERSIONS if found(version, environment) is None and (problem := _fetch(version, environment, python))]


def _fetch(version: str, environment: Path, python: Path) -> str:
    """Why it could not be had; "" when it is there."""
    print(f"Fetching ComfyUI's frontend {version}", flush=True)
    folder(environment).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(environment)) as scratch:
        command = [str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--progress-bar", "off"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", scratch, f"comfyui-frontend-package=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            return f"comfyui-frontend-package {version} cannot be had: {(done.stderr.strip().splitlines() or ['pip gave no file'])[-1]}"
        page = Path(scratch) / "page"
        _unpack(wheels[0], page)
        shutil.rmtree(folder(environment) / version, ignore_errors=True)
        page.rename(folder(environment) / version)
    return ""


def _unpack(wheel: Path, target: Path) -> None:
    """The page alone, without the maps to its sources, which are more than half of it."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.filename.startswith(_INSIDE) or entry.is_dir() or entry.filename.endswith(".map"):
                continue
            path = target / entry.filename.removeprefix(_INSIDE)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)
