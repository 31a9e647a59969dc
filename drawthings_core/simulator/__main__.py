"""python -m comfyui_drawthings.drawthings_core.simulator"""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
