"""The commands of the checkout: what can be tested without making an environment. The demo itself runs in .ci/run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

import _comfyui  # noqa: E402
import _contact_sheet  # noqa: E402
import _environment  # noqa: E402
import demo  # noqa: E402


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An environment folder of the test's own."""
    monkeypatch.setenv("DRAWTHINGS_VENV", str(tmp_path / "venv"))
    monkeypatch.delenv("DRAWTHINGS_TORCH", raising=False)
    return tmp_path / "venv"


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    """A virtual environment with nothing in it: to make one takes seconds."""
    folder = tmp_path_factory.mktemp("made") / "venv"
    _environment._make(folder)
    return folder


@pytest.fixture
def made(_made, monkeypatch):
    """The environment's folder, where one is made already, in which no layer is installed."""
    monkeypatch.setenv("DRAWTHINGS_VENV", str(_made))
    (_made / _environment.STAMP).unlink(missing_ok=True)
    return _made


@pytest.fixture
def no_pip(monkeypatch):
    """What would be installed, instead of installing it: the one thing here that must not be done for real."""
    asked = []
    monkeypatch.setattr(_environment, "_pip", lambda target, arguments: asked.append(list(arguments)))
    return asked


def test_environment_is_installed_once(made, no_pip):
    layers = {"one": ["a==1"], "two": ["b"]}
    assert _environment.ensure(layers) == _environment.python(made)
    assert no_pip == [["a==1"], ["b"]]
    _environment.ensure(layers)
    assert len(no_pip) == 2
    _environment.ensure({"one": ["a==2"], "two": ["b"]})
    assert no_pip[2:] == [["a==2"]]


def test_environment_that_lost_its_python_is_made_again(made, no_pip):
    _environment.ensure({"one": ["a"]})
    _environment.python(made).unlink()
    _environment.ensure({"one": ["a"]})
    assert no_pip == [["a"], ["a"]]
    assert subprocess.run([str(_environment.python(made)), "-c", "pass"], check=False).returncode == 0


def test_folder_that_is_no_environment_is_left_alone(here, no_pip):
    here.mkdir()
    (here / "thesis.txt").write_text("years of work")
    with pytest.raises(_environment.SetupFailed, match="is in the way"):
        _environment.ensure({"one": ["a"]})
    assert (here / "thesis.txt").read_text() == "years of work"


def test_failed_pip_says_what_pip_said(made):
    with pytest.raises(_environment.SetupFailed, match="could not install") as raised:
        _environment.ensure({"one": ["--no-index", "--find-links", str(made), "no-such-package-anywhere"]})
    assert "no-such-package-anywhere" in str(raised.value)


def test_constraint_file_is_part_of_the_stamp(made, no_pip, tmp_path, monkeypatch):
    constraint = tmp_path / "constraint.txt"
    constraint.write_text("numpy<2\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(constraint))
    _environment.ensure({"one": ["a"]})
    constraint.write_text("numpy>=2\n")
    _environment.ensure({"one": ["a"]})
    assert len(no_pip) == 2


def test_torch_can_be_chosen(here, monkeypatch):
    assert _environment.demo_requirements()["package"][0] == "torch"
    monkeypatch.setenv("DRAWTHINGS_TORCH", "torch==2.9.0")
    assert _environment.demo_requirements()["package"][0] == "torch==2.9.0"


def test_test_tools_hold_the_pinned_compilers(here):
    tools = _environment.test_requirements()["tools"]
    assert any(tool.startswith("grpcio-tools==") for tool in tools)
    assert any(tool.startswith("flatc==") for tool in tools)


@pytest.mark.parametrize("name", ["_environment.py", "_frontends.py", "demo.py", "test.py", "check"])
def test_start_of_a_command_needs_the_standard_library_only(name):
    """A fresh machine has nothing else when these are started."""
    tree = ast.parse((SCRIPTS / name).read_text(encoding="utf-8"))
    imported = {alias.name for one in tree.body if isinstance(one, ast.Import) for alias in one.names}
    imported |= {one.module or "" for one in tree.body if isinstance(one, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} - {"_environment", "_frontends"} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", ["demo.py", "make_examples.py"])
def test_help_says_what_it_does(name, tmp_path):
    ended = subprocess.run([sys.executable, str(SCRIPTS / name), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "python3 scripts/" in ended.stdout


def test_demo_names_an_example_that_there_is_not():
    ended = subprocess.run([sys.executable, str(SCRIPTS / "demo.py"), "text_to_image", "tetx"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no such example: tetx" in ended.stderr


def test_demo_refuses_server_options_without_a_server(tmp_path):
    ended = subprocess.run([sys.executable, str(SCRIPTS / "demo.py"), "--model", "x"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--server" in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="permission bits")
@pytest.mark.parametrize("name", ["scripts/demo.py", "scripts/test.py", "scripts/check", ".ci/run"])
def test_commands_can_be_started(name):
    assert os.access(ROOT / name, os.X_OK)


def test_contact_sheet_shows_every_cell(tmp_path):
    Image.new("RGB", (300, 900), (200, 20, 20)).save(tmp_path / "tall.png")
    cells = [_contact_sheet.Cell("one", ("a" * 400,), [tmp_path / "tall.png"]), *[_contact_sheet.Cell("none", ("failed",))] * 3]
    sheet = _contact_sheet.draw(cells, "Title", "subtitle")
    width, height = _contact_sheet.CELL
    middle = (_contact_sheet.MARGIN + width // 2, _contact_sheet.HEAD + height // 2)
    assert sheet.getpixel(middle) == (200, 20, 20)
    assert sheet.height > 2 * height


def test_contact_sheet_shows_the_middle_of_a_video_and_no_sound(tmp_path):
    frames = [Image.new("RGB", (480, 320), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "clip.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    result = demo.Result("a_video", "m.ckpt", 1.0, 0, [tmp_path / "clip.wav", tmp_path / "clip.webp"])
    with Image.open(demo._contact_sheet([result], tmp_path, "nothing")) as sheet:
        middle = (_contact_sheet.MARGIN + _contact_sheet.CELL[0] // 2, _contact_sheet.HEAD + _contact_sheet.CELL[1] // 2)
        assert sheet.getpixel(middle) == (0, 255, 0)


def test_comfyui_folder_that_is_none_is_told(tmp_path, capsys):
    assert _comfyui.serve(tmp_path, None, 0, (), "demo", {}) == 1
    assert "no main.py" in capsys.readouterr().err


def test_comfyui_python_without_our_dependencies_is_told(tmp_path, capsys):
    (tmp_path / "main.py").touch()
    assert _comfyui.serve(tmp_path, tmp_path / "no-python", 0, (), "demo", {}) == 1
    assert "install" in capsys.readouterr().err


def test_comfyui_gets_the_examples_with_this_server(tmp_path):
    import json

    _comfyui._lay_out(tmp_path / "base", "127.0.0.1", 4321, "demo")
    assert (tmp_path / "base" / "custom_nodes" / "comfyui-drawthings" / "__init__.py").is_file()
    assert (tmp_path / "base" / "input" / "landscape.png").is_file()
    saved = list((tmp_path / "base" / "user" / "default" / "workflows").glob("*.json"))
    assert len(saved) == len(list((ROOT / "example_workflows").glob("*.json")))
    for path in saved:
        loader = next(node for node in json.loads(path.read_text())["nodes"] if node["type"] == "DrawThingsLoadServer")
        assert loader["widgets_values"][:4] == ["127.0.0.1", 4321, "auto", "demo"]
