"""Generate Video."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..drawthings_core.client import GenerationResult
from ..drawthings_core.configuration import CONFIGURATION
from ..drawthings_core.families import family
from ..drawthings_core.job import Plan, Run
from . import widgets
from .generate import Generating, generating_sockets, generating_widgets
from .generation import Generated
from .pictures import image_of_job, tensor_out

SILENCE_RATE = 44100
"""Samples a second of the silence that stands for no sound, as ComfyUI's own Empty Audio."""


class Clip(Generated):
    """The frames and the sound of one video."""

    def __init__(self, planned: Plan):
        super().__init__(planned)
        self._sound: np.ndarray | None = None
        known = family(planned.version)
        self._sound_rate = known.audio_output_rate if known else None

    @property
    def frames(self) -> int:
        return len(self.album.pictures)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self._plan.frame_rate

    def audio(self) -> dict[str, Any]:
        """AUDIO: waveform float32 [1, channels, N] and its sample_rate; as long a silence where there is no sound.

        Never None: ComfyUI's Create Video takes that for no sound, but its Save Audio fails on it.
        """
        if self._sound is not None:
            return {"waveform": tensor_out(self._sound[None]), "sample_rate": self._sound_rate}
        rate = self._sound_rate or SILENCE_RATE
        silence = np.zeros((1, 2, math.ceil(self.frames / self.frame_rate * rate)), np.float32)
        return {"waveform": tensor_out(silence), "sample_rate": rate}

    def add(self, run: Run, result: GenerationResult) -> None:
        super().add(run, result)
        if self._sound is None and self._sound_rate is not None:
            self._note("The server sent no sound: the audio is silence.")

    def _hear(self, sound: np.ndarray) -> None:
        if self._sound_rate is None:
            self._note("The server sent sound for a family whose sample rate is not known here: it was left out.")
            return
        if not np.isfinite(sound).all():
            self._note("The sound has values that are not numbers, which were made silent.")
        self._sound = np.clip(np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)

    def _made(self) -> dict[str, Any]:
        """Once for the video, not once for every frame."""
        sent = self._plan.job.images if self._plan.sends_images else None
        return {
            "seeds": [self._rows[0]["seed"]] if self._rows else [],
            "video": {
                "frames": self.frames,
                "frames_per_second": self.frame_rate,
                "seconds": round(self.frames / self.frame_rate, 3),
                "sound_hz": self._sound_rate if self._sound is not None else None,
                "input_frames": 0 if sent is None else len(sent),
            },
        }


class Video(Generating):
    """Text to video, and image to video when an image is connected."""

    DESCRIPTION = "Makes a video on a Draw Things server, from text or from its first frame: frames, sound and frame rate for Create Video."
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT", "STRING")
    RETURN_NAMES = ("frames", "audio", "fps", "info")
    OUTPUT_TOOLTIPS = (
        "The frames in order, as one batch.",
        "The sound, from LTX models; otherwise silence as long as the video.",
        "Frames a second at which the model's videos are played.",
        "What was sent, the seed, the length of the video, and notes, as JSON.",
    )
    GATHERS = Clip

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        shared = generating_widgets(strength=1.0)
        return {
            "required": {
                **{name: shared[name] for name in ("server", "model")},
                "prompt": widgets.text("What the video shows, and what happens in it.", multiline=True, dynamicPrompts=True),
                "negative_prompt": widgets.text(
                    "What the video must not show. Has no effect where guidance is off or built in.", multiline=True, dynamicPrompts=True
                ),
                **{name: shared[name] for name in ("seed", "width", "height")},
                "num_frames": widgets.setting(CONFIGURATION["num_frames"]),
                **{name: shared[name] for name in ("steps", "guidance", "sampler")},
                "strength": widgets.number(
                    CONFIGURATION["strength"],
                    1.0,
                    tooltip="1: made from noise, with the image as first frame where the model is made for that. Less: the input frames "
                    "themselves are changed by that much. Without an image it has no effect.",
                ),
                "fit": shared["fit"],
            },
            "optional": {
                "image": widgets.socket(
                    "IMAGE", "The first frame. A batch is the first frames in order, for Wan and LTX; other models take its first picture."
                ),
                **generating_sockets(),
            },
            "hidden": cls.HIDDEN,
        }

    async def generate(self, server: Any, image: Any = None, **inputs: Any) -> tuple[Any, dict[str, Any], float, str]:
        images = None if image is None else image_of_job(image, "image")
        clip = await self._generate(server, self.job(inputs, images=images, one_video=True), inputs)
        assert isinstance(clip, Clip)
        return clip.images(), clip.audio(), clip.frame_rate, clip.info()
