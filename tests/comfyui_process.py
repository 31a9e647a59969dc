"""A real ComfyUI for tests: one process in a throw-away base directory, with this package linked into it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfyui_drawthings
from conftest import SECRET

COMFYUI_DIR = os.environ.get("COMFYUI_DIR", "")
ROOT = Path(comfyui_drawthings.__file__).parent
FOLDER = "comfyui-draw.things"
"""The package's name in custom_nodes: with a dot and a hyphen, which a folder may have and a module may not."""
SECRET_NAME = "test"
START_SECONDS = 120


def lay_out(base: Path) -> None:
    """The folders that a host wants, this package in custom_nodes, and the examples' pictures in the input folder."""
    for folder in ("custom_nodes", "models/loras", "input", "output", "temp", "user/default/workflows", "user/default/subgraphs"):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / FOLDER).symlink_to(ROOT, target_is_directory=True)
    for picture in (ROOT / "example_workflows" / "input").iterdir():
        (base / "input" / picture.name).write_bytes(picture.read_bytes())


def environment(base: Path) -> dict[str, str]:
    """Profiles of its own, in which SECRET is known as SECRET_NAME."""
    own = {
        "DRAWTHINGS_HOME": str(base / "home"),
        f"DRAWTHINGS_SECRET_{SECRET_NAME.upper()}": SECRET,
        "PYTHONDONTWRITEBYTECODE": "1",
        "DRAWTHINGS_DISCOVERY": "off",
    }
    return {**os.environ, **own}


class ComfyUI:
    """page: an unpacked frontend to serve instead of its own."""

    def __init__(self, base: Path, page: Path | None = None):
        self.base = base
        self._page = page
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        lay_out(base)
        self.log = base / "comfyui.log"
        # A file to upload, in one of ComfyUI's own model folders.
        (base / "models" / "loras" / "mine").mkdir(parents=True)
        (base / "models" / "loras" / "mine" / "comfy_lora_f16.ckpt").write_bytes(b"SQLite format 3\0" + bytes(3 << 20))
        self.upload_choice = "loras/mine/comfy_lora_f16.ckpt"

    def start(self) -> None:
        command = [os.environ.get("COMFYUI_PYTHON", sys.executable), "main.py", "--cpu", "--disable-auto-launch", "--disable-api-nodes"]
        command += ["--listen", "127.0.0.1", "--port", self.address.split(":")[1], "--base-directory", str(self.base)]
        command += ["--database-url", f"sqlite:///{self.base}/user/comfyui.db"]
        command += ["--front-end-root", str(self._page)] if self._page is not None else []
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=COMFYUI_DIR,
                env=environment(self.base),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                self.get("/system_stats")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"ComfyUI did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as reply:
            return json.loads(reply.read())

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def picture(self, row: Mapping[str, str]) -> bytes:
        query = urllib.parse.urlencode(row)
        with urllib.request.urlopen(f"http://{self.address}/view?{query}", timeout=30) as reply:
            return reply.read()
