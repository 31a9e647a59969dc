"""Who may know whom: design section 1, read off every module's imports and checked once more on a running interpreter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> the rooms it may import besides itself; "" is the package's own __init__.
ARROWS: dict[str, set[str]] = {
    "": {"nodes"},
    "proto": set(),
    "drawthings_core": {"proto"},
    "nodes": {"drawthings_core", "proto"},
    "runner": {"nodes", "drawthings_core", "proto"},
    "long_runs": {"runner", "nodes", "drawthings_core", "proto"},
}

# Room -> what it may import beside the standard library; pyproject.toml declares them. generate.py is a tool, not a part.
THIRD_PARTY: dict[str, set[str]] = {
    "": set(),
    "proto": {"flatbuffers", "google", "grpc"},
    "drawthings_core": {"PIL", "flatbuffers", "fpzip", "google", "grpc", "numpy", "zeroconf"},
    "drawthings_core/simulator": {"PIL", "cryptography", "flatbuffers", "google", "grpc", "numpy", "zeroconf"},
    "nodes": {"PIL", "aiohttp", "numpy", "torch"},  # aiohttp: ComfyUI's web server, only imported where that is
    "runner": {"PIL", "numpy", "torch", "tqdm"},
    "long_runs": {"PIL", "_environment", "flatbuffers", "google", "grpc", "numpy", "torch"},  # _environment: of scripts/
}

# ComfyUI's top-level modules. Only this module of ours may name them.
COMFYUI = {
    *("app", "comfy", "comfy_api", "comfy_config", "comfy_execution", "comfy_extras", "cuda_malloc", "execution", "folder_paths"),
    *("latent_preview", "main", "node_helpers", "nodes", "server", "utils"),
}
HOST_MODULE = "nodes/host.py"


class Import(NamedTuple):
    """One imported module: `absolute` is its dotted name, `target` the parts below our root; one of the two is empty."""

    file: str
    line: int
    absolute: str
    target: tuple[str, ...]

    @property
    def room(self) -> str:
        return _room(self.file)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.absolute or '.' + '.'.join(self.target)}"


def _room(file: str) -> str:
    return file.split("/")[0] if "/" in file else ""


def _modules() -> list[Path]:
    return [ROOT / "__init__.py", *(path for room in ARROWS if room for path in sorted((ROOT / room).rglob("*.py")))]


def _imports_of(path: Path) -> Iterator[Import]:
    """Every import statement, wherever it stands; `from . import x` counts as importing .x when that is a module."""
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name, ())
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield Import(file, node.lineno, node.module or "", ())
        elif isinstance(node, ast.ImportFrom):
            depth = len(Path(file).parent.parts)
            assert node.level <= depth + 1, f"{file}:{node.lineno} reaches above the package"
            base = Path(file).parent.parts[: depth - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            for alias in node.names:
                below = ROOT.joinpath(*base, alias.name)
                is_module = below.is_dir() or below.with_suffix(".py").exists()
                yield Import(file, node.lineno, "", (*base, alias.name) if is_module else base)


IMPORTS = [found for path in _modules() for found in _imports_of(path)]


def _offenders(found: list[Import]) -> str:
    return "\n".join(str(row) for row in found)


def test_every_room_is_covered():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms - {"tests"} == set(ARROWS) - {""}
    assert len(IMPORTS) > 200


def test_imports_inside_the_package_are_relative():
    # ComfyUI gives the folder a name of its own, and has top-level modules called "nodes", "server" and more itself.
    ours = {*ARROWS, "comfyui_drawthings", *(path.stem for path in _modules() if path.parent == ROOT)}
    assert not _offenders([row for row in IMPORTS if row.absolute and row.absolute.split(".")[0] in ours])


def test_arrows_point_one_way():
    assert not _offenders([row for row in IMPORTS if row.target and row.target[0] not in {row.room, *ARROWS[row.room]}])


def test_nothing_imports_the_package_root():
    assert not _offenders([row for row in IMPORTS if not row.absolute and not row.target])


def test_nothing_that_users_run_imports_the_simulator():
    simulator = ("drawthings_core", "simulator")
    outside = [row for row in IMPORTS if not row.file.startswith(("drawthings_core/simulator/", "long_runs/"))]
    assert not _offenders([row for row in outside if row.target[:2] == simulator])


def test_only_the_host_module_names_comfyui():
    assert not _offenders([row for row in IMPORTS if row.absolute.split(".")[0] in COMFYUI and row.file != HOST_MODULE])


@pytest.mark.parametrize("room", ["drawthings_core", "proto"])
def test_core_names_neither_comfyui_nor_torch(room):
    forbidden = {"torch", "proto", *COMFYUI}
    assert not _offenders([row for row in IMPORTS if row.room == room and row.absolute.split(".")[0] in forbidden])


def test_third_party_imports_are_the_declared_ones():
    def allowed(row: Import) -> set[str]:
        in_simulator = row.file.startswith("drawthings_core/simulator/")
        return THIRD_PARTY["drawthings_core/simulator" if in_simulator else row.room]

    absolute = [row for row in IMPORTS if row.absolute and row.file != HOST_MODULE]
    foreign = [row for row in absolute if row.absolute.split(".")[0] not in {"__future__", *sys.stdlib_module_names}]
    assert not _offenders([row for row in foreign if row.absolute.split(".")[0] not in allowed(row)])


def _loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    return set(json.loads(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout))


def _import_all(*rooms: str) -> str:
    paths = [path for path in _modules() if _room(path.relative_to(ROOT).as_posix()) in rooms]
    skipped = {"__main__.py"}  # runs the command
    names = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in paths if path.name not in skipped]
    return "\n".join(f"import comfyui_drawthings.{name.removesuffix('.__init__')}" for name in names)


def test_core_and_proto_load_neither_torch_nor_comfyui():
    loaded = _loaded_after(_import_all("proto", "drawthings_core"))
    assert {"grpc", "google", "flatbuffers", "numpy"} <= loaded
    assert not loaded & {"torch", "comfy", "nodes", "folder_paths", "server", "execution"}


def test_client_side_does_not_load_the_simulator():
    program = "import comfyui_drawthings.drawthings_core.client, comfyui_drawthings.drawthings_core.job, sys\n"
    program += "print([name for name in sys.modules if 'simulator' in name or name == 'cryptography'])"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_package_root_loads_almost_nothing():
    loaded = _loaded_after("import comfyui_drawthings\nassert comfyui_drawthings.WEB_DIRECTORY")
    assert not loaded & {"torch", "grpc", "google", "numpy", "PIL", "flatbuffers", "fpzip"}
