"""`drawthings-servers` without an installation: run it with the Python that runs ComfyUI.

python custom_nodes/<this folder>/scripts/servers.py secret NAME
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    # The folder may have any name, and its own __init__ would bring torch: a bare package of that path serves.
    package = types.ModuleType("comfyui_drawthings")
    package.__path__ = [str(ROOT)]
    sys.modules["comfyui_drawthings"] = package
    from comfyui_drawthings.drawthings_core.servers_cli import main as servers  # pyright: ignore[reportMissingImports]

    return servers()


if __name__ == "__main__":
    sys.exit(main())
