"""What the graph shows. Node ids are forever: shared workflows name them."""

from . import boundary, host, options
from .edit import Edit
from .files import FilesExist, UploadModel
from .generate import Generate, Inpaint
from .hints import ControlNetHint, Moodboard
from .load_image import LoadImage
from .load_server import LoadServer, ServerPool
from .loras import LoRAStack
from .options_json import OptionsFromJSON, OptionsToJSON
from .prompts import TextualInversion, TriggerWords
from .recommended import RecommendedSettings
from .save_image import SaveImage
from .server_info import ServerInfo
from .upscale import Upscale
from .video import Video

NODE_CLASS_MAPPINGS = {
    "DrawThingsLoadServer": LoadServer,
    "DrawThingsGenerate": Generate,
    "DrawThingsInpaint": Inpaint,
    "DrawThingsVideo": Video,
    "DrawThingsEdit": Edit,
    "DrawThingsUpscale": Upscale,
    "DrawThingsControlNetHint": ControlNetHint,
    "DrawThingsMoodboard": Moodboard,
    "DrawThingsLoRAStack": LoRAStack,
    "DrawThingsRecommendedSettings": RecommendedSettings,
    "DrawThingsOptionsFromJSON": OptionsFromJSON,
    "DrawThingsOptionsToJSON": OptionsToJSON,
    "DrawThingsSaveImage": SaveImage,
    "DrawThingsLoadImage": LoadImage,
    "DrawThingsUploadModel": UploadModel,
    "DrawThingsFilesExist": FilesExist,
    "DrawThingsServerInfo": ServerInfo,
    "DrawThingsTextualInversion": TextualInversion,
    "DrawThingsTriggerWords": TriggerWords,
    "DrawThingsServerPool": ServerPool,
    **options.NODES,
}

NODE_DISPLAY_NAME_MAPPINGS = {
    "DrawThingsLoadServer": "Load Server (Draw Things)",
    "DrawThingsGenerate": "Generate (Draw Things)",
    "DrawThingsInpaint": "Inpaint (Draw Things)",
    "DrawThingsVideo": "Generate Video (Draw Things)",
    "DrawThingsEdit": "Edit Image (Draw Things)",
    "DrawThingsUpscale": "Upscale (Draw Things)",
    "DrawThingsControlNetHint": "ControlNet Hint (Draw Things)",
    "DrawThingsMoodboard": "Moodboard (Draw Things)",
    "DrawThingsLoRAStack": "LoRA Stack (Draw Things)",
    "DrawThingsRecommendedSettings": "Recommended Settings (Draw Things)",
    "DrawThingsOptionsFromJSON": "Options from JSON (Draw Things)",
    "DrawThingsOptionsToJSON": "Options to JSON (Draw Things)",
    "DrawThingsSaveImage": "Save Image (Draw Things)",
    "DrawThingsLoadImage": "Load Draw Things Image",
    "DrawThingsUploadModel": "Upload Model (Draw Things)",
    "DrawThingsFilesExist": "Files Exist (Draw Things)",
    "DrawThingsServerInfo": "Server Info (Draw Things)",
    "DrawThingsTextualInversion": "Textual Inversion (Draw Things)",
    "DrawThingsTriggerWords": "Trigger Words (Draw Things)",
    "DrawThingsServerPool": "Server Pool (Draw Things)",
    **options.TITLES,
}

for _node_class in NODE_CLASS_MAPPINGS.values():
    boundary.guard(_node_class)

if host.page_routes() is not None:  # then aiohttp is there too
    from . import routes

    routes.add_to(host.page_routes())
