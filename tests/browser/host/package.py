"""The package as ComfyUI imports it, and what the page is told about its node classes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

CORE = "nodes"
"""The python_module of ComfyUI's own nodes."""


class Package:
    """The package in `folder`, under a module name that is its path, with its own runner for running graphs."""

    def __init__(self, folder: Path, base: Path):
        self.folder = folder
        self.name = folder.name
        self._module_name = str(folder).replace(".", "_x_")
        root = self._execute()
        self.web = folder / root.WEB_DIRECTORY
        self.execution, self.workflow, self.validation, stand_ins, self.errors = (
            self.part(name)
            for name in ("runner.execution", "runner.workflow", "runner.validation", "runner.stand_ins", "drawthings_core.errors")
        )
        self.own: Mapping[str, Any] = root.NODE_CLASS_MAPPINGS
        self._input = base / "input"
        folders = stand_ins.Folders((self._input, base / "output", base / "temp"), base / "output")
        self.classes = {**stand_ins.bound(folders), **self.own}
        self.titles = {**stand_ins.TITLES, **root.NODE_DISPLAY_NAME_MAPPINGS}

    def part(self, name: str) -> ModuleType:
        """A module of the package."""
        return importlib.import_module(f"{self._module_name}.{name}")

    def _execute(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location(self._module_name, self.folder / "__init__.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._module_name] = module
        spec.loader.exec_module(module)
        return module

    def definitions(self) -> dict[str, Any]:
        """/object_info of all classes."""
        return {name: self.definition(name) for name in self.classes}

    def definition(self, name: str) -> dict[str, Any]:
        """/object_info of one class."""
        node = self.classes[name]
        inputs = {group: dict(entries) for group, entries in node.INPUT_TYPES().items()}
        for entries in inputs.values():
            entries.update({key: self._with_pictures(entry) for key, entry in entries.items() if _uploads(entry)})
        outputs = tuple(node.RETURN_TYPES)
        return {
            "input": inputs,
            "input_order": {group: list(entries) for group, entries in inputs.items()},
            "is_input_list": getattr(node, "INPUT_IS_LIST", False),
            "output": outputs,
            "output_is_list": getattr(node, "OUTPUT_IS_LIST", [False] * len(outputs)),
            "output_name": getattr(node, "RETURN_NAMES", outputs),
            "output_tooltips": getattr(node, "OUTPUT_TOOLTIPS", None),
            "name": name,
            "display_name": self.titles.get(name, name),
            "description": getattr(node, "DESCRIPTION", ""),
            "python_module": f"custom_nodes.{self.name}" if name in self.own else CORE,
            "category": node.CATEGORY,
            "output_node": bool(getattr(node, "OUTPUT_NODE", False)),
            "deprecated": bool(getattr(node, "DEPRECATED", False)),
            "experimental": bool(getattr(node, "EXPERIMENTAL", False)),
            "api_node": False,
        }

    def _with_pictures(self, entry: Any) -> Any:
        """A combo of uploaded pictures offers the input folder's; the runner's stand-ins leave theirs empty."""
        choices, options = entry
        return choices or sorted(path.name for path in self._input.iterdir() if path.is_file()), options

    def scripts(self) -> list[str]:
        """The scripts that the page imports, as it asks for them."""
        return [f"/extensions/{self.name}/{path.relative_to(self.web).as_posix()}" for path in sorted(self.web.rglob("*.js"))]

    def templates(self) -> list[str]:
        """Names of the example workflows."""
        return sorted(path.stem for path in (self.folder / "example_workflows").glob("*.json"))

    def translations(self) -> dict[str, Any]:
        """locales/<language>/*.json as one object a language: main.json at its top, the others under their names."""
        found: dict[str, Any] = {}
        for path in sorted((self.folder / "locales").glob("*/*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            language = found.setdefault(path.parent.name, {})
            language.update(content if path.stem == "main" else {path.stem: content})
        return found


def _uploads(entry: Any) -> bool:
    return len(entry) > 1 and isinstance(entry[1], Mapping) and bool(entry[1].get("image_upload"))
