"""What serves the page: our own host, or a real ComfyUI where COMFYUI_DIR is set."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import comfyui_process
from comfyui_process import COMFYUI_DIR, FOLDER

START_SECONDS = 60
STOP_SECONDS = 10

QUIET = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.0.0",
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Release.Status": "changelog seen",
    "Comfy.Release.Version": "999.0.0",
    "Comfy.Release.Timestamp": 4102444800000,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.VueNodes.AutoScaleLayout": False,
    "Comfy.Assets.UseAssetAPI": False,
    "Comfy.Workflow.Persist": False,
}
"""Settings that keep tours, release notes and the last session's workflow away."""


class Host(Protocol):
    """base: its base directory, with input/, output/ and user/default/. log: what it printed."""

    address: str
    base: Path
    log: Path

    def start(self) -> None: ...

    def stop(self) -> None: ...


class OwnHost:
    """tests/browser/host as a process."""

    def __init__(self, base: Path, page: Path):
        self.base = base
        self.address = ""
        self.log = base / "host.log"
        self._page = page
        comfyui_process.lay_out(base)

    def start(self) -> None:
        command = [sys.executable, "-m", "browser.host", "--page", str(self._page), "--base", str(self.base)]
        command += ["--package", str(self.base / "custom_nodes" / FOLDER)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[1],
                env=comfyui_process.environment(self.base),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        ended = threading.Timer(START_SECONDS, self._process.kill)
        ended.start()
        line = self._process.stdout.readline()
        ended.cancel()
        assert line, f"the host did not start:\n{self.log.read_text(errors='replace')[-3000:]}"
        self.address = f"127.0.0.1:{json.loads(line)['port']}"

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def host(base: Path, page: Path, **settings: Any) -> Host:
    """A host that is not started yet."""
    made = comfyui_process.ComfyUI(base, page) if COMFYUI_DIR else OwnHost(base, page)
    user = base / "user" / "default"
    (user / "comfy.settings.json").write_text(json.dumps({**QUIET, **settings}), encoding="utf-8")
    (user / "user.css").touch()  # the page asks for both, and complains when they are not there
    (user / "comfy.templates.json").write_text("[]", encoding="utf-8")
    return made
