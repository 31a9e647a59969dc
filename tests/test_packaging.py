"""What installs the package agrees with itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import comfyui_drawthings
import pytest
from PIL import Image

ROOT = Path(comfyui_drawthings.__file__).parent
sys.path.insert(0, str(ROOT / "scripts"))
import for_registry  # noqa: E402

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


def test_the_version_is_in_one_place_and_is_one_for_the_registry():
    (version,) = re.findall(r'^version = "(.*)"$', PROJECT, re.M)
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    others = [path for room in ("drawthings_core", "nodes", "runner") for path in (ROOT / room).rglob("*.py")] + [ROOT / "__init__.py"]
    assert not [path for path in others if re.search(r"\b__version__\b", path.read_text(encoding="utf-8"))]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest is not None
    assert newest[1] in ("Unreleased", version)


def test_what_the_registry_reads_is_there():
    for line in ('license = { file = "LICENSE" }', 'readme = "README.md"', 'requires-comfyui = ">=0.3.64"', 'DisplayName = "Draw Things"'):
        assert line in PROJECT
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    with Image.open(ROOT / for_registry.ICON) as icon:
        assert icon.size == (400, 400)


def test_the_publisher_fills_in_what_only_the_publisher_knows():
    text = for_registry.filled(PROJECT, "somebody", "somebody/draw-things")
    assert 'PublisherId = "somebody"' in text
    assert f'Icon = "https://raw.githubusercontent.com/somebody/draw-things/HEAD/{for_registry.ICON}"' in text
    assert 'Repository = "https://github.com/somebody/draw-things"' in text
    assert for_registry.filled(text, "somebody", "somebody/draw-things") == text
    changed = [line for line in text.splitlines() if line not in PROJECT.splitlines()]
    assert len(changed) == 5


@pytest.mark.parametrize(("publisher", "repository"), [("", "a/b"), ("@me", "a/b"), ("me", "a"), ('m"e', "a/b"), ("me", "https://x/y")])
def test_a_publisher_or_repository_that_is_none_is_refused(publisher, repository):
    with pytest.raises(ValueError, match="is no"):
        for_registry.filled(PROJECT, publisher, repository)
