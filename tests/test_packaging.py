"""What installs the package agrees with itself."""

from __future__ import annotations

import re
from pathlib import Path

import comfyui_drawthings

ROOT = Path(comfyui_drawthings.__file__).parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def quoted(block: str) -> list[str]:
    found = re.search(rf"^{block} = \[(.*?)^\]", PROJECT, re.S | re.M)
    assert found
    return re.findall(r'^\s*"(.*)",', found[1], re.M)


def test_requirements_are_the_projects_dependencies():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == quoted("dependencies")


def test_every_package_is_listed():
    listed = set(quoted("packages"))
    rooms = ("drawthings_core", "nodes", "proto", "runner")
    there = {
        ".".join(("comfyui_drawthings", *path.parent.relative_to(ROOT).parts))
        for room in rooms
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert listed == there | {"comfyui_drawthings"}


def test_every_data_file_travels():
    """Files that code reads at run time have an ending that package-data names."""
    data = set(re.findall(r'"\*\.(\w+)"', PROJECT))
    for room in ("drawthings_core", "nodes", "proto", "runner"):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.suffix == ".py" or path.suffix[1:] in data, path
