"""Generation settings: one table (`table`), checked values (`records`, `options`), the wire (`flatbuffer`) and the app's JSON
(`app_json`).
"""

from .choices import (
    Choice,
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
    Sampler,
    SeedMode,
)
from .options import Options
from .records import Configuration, Control, LoRA, Record
from .table import CONFIGURATION, CONTROL, DEPRECATED, LORA, SIZE_UNIT, Kind, Setting

__all__ = [
    "CONFIGURATION",
    "CONTROL",
    "DEPRECATED",
    "LORA",
    "SIZE_UNIT",
    "Choice",
    "ColorCalibration",
    "CompressionMethod",
    "Configuration",
    "Control",
    "ControlInputType",
    "ControlMode",
    "Kind",
    "LoRA",
    "LoRAMode",
    "Options",
    "Record",
    "Sampler",
    "SeedMode",
    "Setting",
]
