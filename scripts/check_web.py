#!/usr/bin/env python3
"""Check the types of the browser extension (web/) against ComfyUI's frontend.

    python3 scripts/check_web.py

Needs npm and Node.js, and the npm registry the first time: TypeScript and ComfyUI's types go into a folder of the tests' environment, at the versions
of tests/web_types/package-lock.json. Where npm or Node.js is not installed the check is skipped, and that is said; where npm fails, so does the check.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _environment

SOURCE = _environment.ROOT / "tests" / "web_types"
INSTALL_SECONDS = 300


class Failed(Exception):
    """The check could not be made; the text says why."""


def main() -> int:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("SKIPPED the types of web/: npm or Node.js is not installed.")
        return 0
    try:
        folder = _installed(npm)
    except Failed as reason:
        print(f"The types of web/ were not checked: {reason}", file=sys.stderr)
        return 1
    _copy(folder)
    compiler = folder / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(["node", str(compiler), "-p", "."], cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout.replace("extensions/drawthings/", "web/") + done.stderr, end="")
    return done.returncode


def _installed(npm: str) -> Path:
    """A folder with what package-lock.json names. Raises Failed."""
    folder = _environment.folder() / "web-types"
    lock = (SOURCE / "package-lock.json").read_bytes()
    stamp, mark = folder / "stamp", hashlib.sha256(lock).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, folder / name)
    _environment.say(f"Installing ComfyUI's types and TypeScript into {folder} (the first time this takes half a minute)")
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "CI": "1"}, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"npm did not finish within {INSTALL_SECONDS} seconds.") from None
    if done.returncode != 0:
        raise Failed(f"npm cannot install them.\n{done.stderr.strip()[-1000:]}")
    stamp.write_text(mark, encoding="utf-8")
    return folder


def _copy(folder: Path) -> None:
    """web/ where ComfyUI serves it, beside ComfyUI's scripts: that is what its relative imports mean."""
    extension = folder / "extensions" / "drawthings"
    shutil.rmtree(extension, ignore_errors=True)
    shutil.copytree(_environment.ROOT / "web", extension, ignore=shutil.ignore_patterns("docs"))
    shutil.copytree(SOURCE / "scripts", folder / "scripts", dirs_exist_ok=True)
    shutil.copy(SOURCE / "tsconfig.json", folder / "tsconfig.json")


if __name__ == "__main__":
    sys.exit(main())
