"""Picture files that Pillow stumbles over: a sentence, never its own errors, and no more pixels than fit."""

from __future__ import annotations

import io

import pytest
from comfyui_drawthings.drawthings_core.errors import InvalidImage
from comfyui_drawthings.nodes import pictures
from PIL import Image

FRAMES = [Image.effect_noise((32, 32), 50 + number).convert("RGB") for number in range(3)]


def saved(kind, **more):
    file = io.BytesIO()
    FRAMES[0].save(file, kind, save_all=True, append_images=FRAMES[1:], **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_a_damaged_later_frame_is_a_sentence(tmp_path, kind):
    data = saved(kind)
    path = tmp_path / "p"
    path.write_bytes(data)
    with pictures.opened(path, "p") as file:
        assert pictures.loaded(file, "p")[0].shape == (3, 32, 32, 3)
    refused = []
    for cut in range(len(data) // 2, len(data), len(data) // 20):
        path.write_bytes(data[:cut])
        try:
            with pictures.opened(path, "p") as file:
                pictures.loaded(file, "p")
        except InvalidImage as error:
            refused.append(str(error))
    assert refused
    assert all(sentence.startswith("The picture 'p' cannot be read") for sentence in refused)


def test_frames_beyond_memory_are_refused(tmp_path, monkeypatch):
    (tmp_path / "p.gif").write_bytes(saved("GIF"))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 2 * 32 * 32)
    with pictures.opened(tmp_path / "p.gif", "p.gif") as file, pytest.raises(InvalidImage, match="in all its frames"):
        pictures.loaded(file, "p.gif")
