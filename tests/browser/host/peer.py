"""The other side of nodes/host.py: the modules of ComfyUI that it looks for, put where it looks, sys.modules."""

from __future__ import annotations

import contextvars
import mimetypes
import os
import re
import sys
import threading
import types
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web
from PIL import Image

from .messages import Messages

FOLDERS = {"input": "input", "output": "output", "temp": "output/temp", "user": "user"}
"""Below the base folder; the runner's stand-ins keep temporary pictures inside the output folder."""


class InterruptProcessingException(Exception):
    """Ends a run without counting as a failure."""


executing: contextvars.ContextVar[Any] = contextvars.ContextVar("executing", default=None)
"""Which prompt's node runs in this context: prompt_id, node_id, list_index."""


class Peer:
    """What one host's modules share. running: the job that runs, with prompt_id, client_id and progress."""

    def __init__(self, base: Path, messages: Messages):
        self.base = base
        self.messages = messages
        self.running: Any = None
        self.interrupt = threading.Event()

    def check_interrupt(self) -> None:
        """Raise for a flag that is set, and lower it."""
        if self.interrupt.is_set():
            self.interrupt.clear()
            raise InterruptProcessingException

    def progress(self, node_id: str, value: float, total: float, preview: Image.Image | None, kind: str) -> None:
        job = self.running
        if job is None:
            return
        job.progress(node_id, value, total)
        if preview is not None:
            metadata = {"node_id": node_id, "display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
            self.messages.send_preview(preview, kind, {**metadata, "prompt_id": job.prompt_id}, job.client_id)


class PromptServer:
    """ComfyUI's server, as far as packages use it."""

    instance: ClassVar[PromptServer]

    def __init__(self, peer: Peer):
        self._peer = peer
        self.routes = web.RouteTableDef()
        self.last_node_id: str | None = None
        self.user_manager = types.SimpleNamespace(users={"default": "default"})

    @property
    def client_id(self) -> str | None:
        """Whose prompt is running."""
        return self._peer.running.client_id if self._peer.running is not None else None

    @property
    def prompt_queue(self) -> types.SimpleNamespace:
        """currently_running: number -> the row of a prompt."""
        running = self._peer.running
        return types.SimpleNamespace(currently_running={} if running is None else {0: tuple(running.row)})

    def send_sync(self, event: str, data: Any, sid: str | None = None) -> None:
        self._peer.messages.send(event, data, sid)

    def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
        self._peer.messages.send_text(text, str(node_id), sid or self.client_id)


def install(peer: Peer) -> PromptServer:
    """Put the modules in place; the server on which packages register their routes."""
    server = PromptServer.instance = PromptServer(peer)
    _module("server", PromptServer=PromptServer)
    _module("comfy")
    _module("comfy.utils", ProgressBar=_progress_bar(peer))
    _module(
        "comfy.model_management",
        InterruptProcessingException=InterruptProcessingException,
        processing_interrupted=peer.interrupt.is_set,
        throw_exception_if_processing_interrupted=peer.check_interrupt,
        interrupt_current_processing=lambda value=True: peer.interrupt.set() if value else peer.interrupt.clear(),
    )
    _module("comfy_execution")
    _module("comfy_execution.utils", get_executing_context=executing.get)
    _module("comfy.cli_args", args=types.SimpleNamespace(disable_metadata=False))
    _folder_paths(peer.base)
    return server


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def _progress_bar(peer: Peer) -> type:
    class ProgressBar:
        def __init__(self, total: float, node_id: str | None = None):
            self.total = total
            self.current = 0.0
            self.node_id = node_id

        def update_absolute(self, value: float, total: float | None = None, preview: Any = None) -> None:
            peer.check_interrupt()
            self.total = self.total if total is None else total
            self.current = min(value, self.total)
            kind, picture, longest = preview or ("JPEG", None, None)
            if picture is not None and longest is not None:
                picture = picture.copy()
                picture.thumbnail((longest, longest))
            peer.progress(str(self.node_id or ""), self.current, self.total, picture, kind)

        def update(self, value: float) -> None:
            self.update_absolute(self.current + value)

    return ProgressBar


_ANNOTATED = re.compile(r" \[(input|output|temp)\]$")


def _folder_paths(base: Path) -> None:
    folders = {name: str(base / place) for name, place in FOLDERS.items()}

    def annotated_filepath(name: str) -> tuple[str, str | None]:
        found = _ANNOTATED.search(name)
        return (name[: found.start()], folders[found[1]]) if found else (name, None)

    def filter_files_content_types(files: list[str], wanted: list[str]) -> list[str]:
        return [name for name in files if (mimetypes.guess_type(name)[0] or "").partition("/")[0] in wanted]

    _module(
        "folder_paths",
        base_path=str(base),
        models_dir=str(base / "models"),
        folder_names_and_paths={"loras": ([str(base / "models" / "loras")], set()), "custom_nodes": ([], set())},
        get_folder_paths=lambda name: [str(base / "models" / name)],
        get_filename_list=lambda name: _listed(base / "models" / name),
        get_input_directory=lambda: folders["input"],
        get_output_directory=lambda: folders["output"],
        get_temp_directory=lambda: folders["temp"],
        get_user_directory=lambda: folders["user"],
        annotated_filepath=annotated_filepath,
        filter_files_content_types=filter_files_content_types,
        get_save_image_path=_save_image_path,
    )


def _listed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _save_image_path(prefix: str, folder: str, width: int = 0, height: int = 0) -> tuple[str, str, int, str, str]:
    """Folder, beginning of the name, number, folder within `folder`, prefix. Raises Exception for a prefix that leads outside."""
    prefix = prefix.replace("%width%", str(width)).replace("%height%", str(height))
    subfolder, name = os.path.split(os.path.normpath(prefix))
    target = os.path.join(folder, subfolder)
    if os.path.commonpath((folder, os.path.abspath(target))) != folder:
        raise Exception("a prefix outside the folder")
    os.makedirs(target, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"_(\d+)_", re.IGNORECASE)
    numbers = [int(found[1]) for entry in os.listdir(target) if (found := pattern.match(entry))]
    return target, name, max(numbers, default=0) + 1, subfolder, prefix
