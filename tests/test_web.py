"""What the browser extension says about nodes is true of them."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
from pathlib import Path

import comfyui_drawthings
import pytest

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
WEB = Path(comfyui_drawthings.__file__).parent / "web"
MODULES = sorted(WEB.rglob("*.js"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(WEB).as_posix())
def test_every_node_that_a_module_names_exists(module):
    assert set(re.findall(r'"(DrawThings\w+)"', module.read_text(encoding="utf-8"))) <= NODES.keys()


def test_nodes_that_show_text_are_output_nodes_that_give_text():
    """Python's ui.text and the list of the extension are about the same nodes."""
    listed = re.search(r"SHOW_TEXT = new Set\(\[(.*?)\]\)", (WEB / "text_on_node.js").read_text(encoding="utf-8"), re.S)
    assert listed
    giving = {
        node_id
        for node_id, node in NODES.items()
        if getattr(node, "OUTPUT_NODE", False) and '"text"' in Path(inspect.getfile(node)).read_text(encoding="utf-8")
    }
    assert set(re.findall(r'"(\w+)"', listed[1])) == giving


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(WEB).as_posix())
def test_modules_can_be_parsed(module, tmp_path):
    copy = tmp_path / f"{module.stem}.mjs"
    copy.write_bytes(module.read_bytes())
    done = subprocess.run(["node", "--check", str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", sorted((WEB / "rules").rglob("*.js")), ids=lambda path: path.relative_to(WEB).as_posix())
def test_rules_import_nothing_but_rules(module):
    code = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", module.read_text(encoding="utf-8"), flags=re.S | re.M)  # types are named in comments
    code = re.sub(r'^import \{[^}]*\} from "\./\w+\.js"$', "", code, flags=re.M)
    assert not re.search(r"\bimport\b|^\s*export\b.*\bfrom\b", code, re.M)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(WEB).as_posix())
def test_types_are_checked_in_every_module(module):
    assert module.read_text(encoding="utf-8").startswith("// @ts-check\n")


LOADS_QUIETLY = """
import { pathToFileURL } from "node:url"
const before = new Set(Object.getOwnPropertyNames(globalThis))
for (const name of ["setTimeout", "setInterval", "fetch", "queueMicrotask"]) globalThis[name] = () => { throw new Error(`${name} was called`) }
for (const write of ["log", "info", "warn", "error"]) console[write] = () => { throw new Error(`console.${write} was called`) }
await import(pathToFileURL(process.argv[1]).href)
const added = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name))
if (added.length) throw new Error(`made globals: ${added}`)
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize(
    "module", [path for path in MODULES if path.name != "drawthings.js"], ids=lambda path: path.relative_to(WEB).as_posix()
)
def test_only_the_entry_does_something_when_loaded(module):
    """ComfyUI loads every module as an extension. Without a browser, without ComfyUI's scripts, and with nothing called, each still loads."""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", LOADS_QUIETLY, str(module)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    statements = {line.split(" ")[0] for line in module.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z_$(\[`]", line)}
    assert statements <= {"import", "export", "const", "let", "function", "function*", "async", "class"}
