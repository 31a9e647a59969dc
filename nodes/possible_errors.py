"""Which errors a node may show, for its help page."""

from __future__ import annotations

from typing import Any

from ..drawthings_core import errors as e
from ..drawthings_core.error_help import CONNECTION, GENERATION, INPUT

_MORE: dict[str, tuple[type[e.DrawThingsError], ...]] = {
    "DrawThingsEdit": (e.NotAnEditingModel,),
    "DrawThingsLoadServer": (e.SecretNotAllowed,),
    "DrawThingsLoadImage": (e.InvalidImage, e.MetadataError, e.NoMetadata),
    "DrawThingsOptionsFromJSON": (e.MetadataError, e.NoMetadata),
    "DrawThingsRecommendedSettings": (e.FileNotOnServer, e.ModelBrowserOff, e.FileNotUsable),
    "DrawThingsSaveImage": (e.InvalidImage, e.FileNotWritten),
    "DrawThingsTextualInversion": (e.FileNotOnServer, e.FileNotUsable),
    "DrawThingsTriggerWords": (e.FileNotOnServer, e.FileNotUsable),
    "DrawThingsUploadModel": (e.NotUploadable, e.ServerStalled, e.UploadFailed),
}


def of(node_id: str, node: Any) -> set[type[e.DrawThingsError]]:
    """From what the node's definition says that it does, and the table of those that do more."""
    definition = node.INPUT_TYPES()
    inputs = {kind for section in ("required", "optional") for kind, _ in definition.get(section, {}).values() if isinstance(kind, str)}
    found = {*INPUT, *_MORE.get(node_id, ())}
    asks = "DT_SERVER" in inputs or "DT_SERVER" in node.RETURN_TYPES
    if asks:
        found.update(CONNECTION)
    if "DT_SERVER" in inputs:
        found.add(e.AllServersFailed)
    if asks and "info" in getattr(node, "RETURN_NAMES", ()):
        found.update(GENERATION)
    if inputs & {"IMAGE", "MASK"}:
        found.add(e.InvalidImage)
    return found
