"""Draw Things for ComfyUI. ComfyUI imports this folder under a name of its own: every import inside is relative."""

from typing import Any

WEB_DIRECTORY = "./web"
NODE_CLASS_MAPPINGS: dict[str, Any]
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str]


def __getattr__(name: str) -> Any:
    # Lazy, so that tools which need only drawthings_core (a server simulator, a check of a server) run without torch.
    if name in ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"):
        from . import nodes

        return getattr(nodes, name)
    raise AttributeError(name)
