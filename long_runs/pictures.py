"""Picture files with settings inside, damaged as files, as PNG chunks, as XMP, as EXIF and as JSON: loaded, dropped and pasted."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from ..drawthings_core import metadata, xmp
from ..drawthings_core.client import Cancellation
from ..drawthings_core.configuration import Configuration, Control, LoRA, Sampler, app_json
from ..nodes.load_image import LoadImage
from ..nodes.options_json import OptionsFromJSON
from ..nodes.page import configuration
from ..runner import stand_ins
from . import damage
from .damage import NUMBERS, Dice, damaged, damaged_json
from .page import Section

COUNT = 50_000
SIDE = 16
MODES = ("RGB", "RGB", "RGBA", "L", "LA", "P", "1", "I;16")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
SWITCHES = ("take_model", "take_size", "take_seed", "take_batch")


def settings(dice: Dice) -> metadata.PictureSettings:
    """What a picture was made with; every part of it is there in some."""
    loras = tuple(LoRA(file=f"lora_{number}.ckpt", weight=0.5) for number in range(dice.choice([0, 1, 3])))
    controls = tuple(Control(file=f"control_{number}.ckpt", guidance_end=0.5) for number in range(dice.choice([0, 1, 2])))
    made = Configuration(
        model="sd_v1.5_f16.ckpt",
        start_width=dice.choice([128, 512]),
        steps=dice.randrange(1, 50),
        seed=dice.randrange(2**32),
        sampler=dice.choice(list(Sampler)),
        strength=dice.choice([1.0, 0.5]),
        hires_fix=dice.often(0.3),
        tea_cache=dice.often(0.3),
        refiner_model=dice.choice([None, "refiner.ckpt"]),
        loras=loras,
        controls=controls,
    )
    return metadata.PictureSettings(
        "a cat\n日本 🏰", dice.choice(["", "a dog"]), made, dice.choice([None, "v1", "flux1", "wurstchen_v3.0_stage_c"]), 1.5
    )


def comment(dice: Dice) -> str:
    """The JSON of a picture, damaged or not, as objects or as text."""
    document: Any = metadata.user_comment(settings(dice))
    if dice.often(0.6):
        document = damaged_json(document, dice)
    text = json.dumps(document)
    return _damaged_text(text, dice) if dice.often(0.2) else text


def _damaged_text(text: str, dice: Dice) -> str:
    return damaged(text.encode("utf-8", "surrogatepass"), dice).decode("utf-8", "replace")


def packet(dice: Dice) -> str:
    """XMP, damaged or not."""
    text = xmp.packet("a cat", metadata.CREATOR, xmp.in_json(comment(dice)))
    kind = dice.randrange(8)
    if kind == 0:
        return _damaged_text(text, dice)
    if kind == 1:
        return text.replace("<exif:UserComment>", "<exif:UserComment>" + "<a>" * dice.choice([50, 200, 5000]))
    if kind == 2:
        return f'<!DOCTYPE a [<!ENTITY b "{"c" * 100}">]>' + text.replace("a cat", "&b;" * 100)
    if kind == 3:
        return text.replace("rdf:li", dice.choice(["rdf:value", "rdf:Alt", "li", "rdf:li"]))
    return text


def picture(dice: Dice) -> bytes:
    """A file of some format, with its settings in XMP, in EXIF, or both."""
    mode = dice.choice(MODES)
    still = Image.new(mode, (SIDE, SIDE), dice.choice([0, 1]))
    with contextlib.suppress(ValueError):
        still.putpixel((1, 1), dice.randrange(2))
    kind = dice.choice(["PNG", "PNG", "PNG", "PNG", "APNG", "JPEG", "WEBP", "TIFF", "GIF"])
    more: dict[str, Any] = {}
    exif = Image.Exif()
    if dice.often(0.4):
        exif[ExifTags.Base.Orientation] = dice.choice([1, 3, 6, 9, 65535])
        code = dice.choice([b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", b"\0" * 8, b""])
        encoding = dice.choice(["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = code + comment(dice).encode(encoding, "replace")
        data = exif.tobytes()
        more["exif"] = damaged(data, dice) if dice.often(0.4) else data
    file = io.BytesIO()
    if kind in ("PNG", "APNG"):
        info = PngInfo()
        if dice.often(0.9):
            info.add_itxt(xmp.PNG_KEYWORD, packet(dice), zip=dice.often(0.3))
        if kind == "APNG":
            more |= {"save_all": True, "append_images": [still.rotate(90)] * dice.choice([1, 3])}
        still.save(file, "PNG", pnginfo=info, **more)
        return file.getvalue()
    colours = Image.new("RGBA" if kind == "WEBP" else "RGB", (SIDE, SIDE), dice.choice([0, 1]))
    if kind in ("GIF", "WEBP", "TIFF") and dice.often(0.4):
        more |= {"save_all": True, "append_images": [colours.rotate(90)] * 2}
    text = packet(dice).encode("utf-8", "replace")
    if kind in ("GIF", "TIFF") or (kind == "JPEG" and len(more.get("exif", b"")) > 60_000):
        more.pop("exif", None)
    if kind == "TIFF":
        more["tiffinfo"] = {700: text}
    elif kind == "WEBP" or (kind == "JPEG" and len(text) < 60_000):
        more["xmp"] = text
    colours.save(file, kind, **more)
    return file.getvalue()


def wrong(data: bytes, dice: Dice) -> bytes:
    """The same, damaged anywhere, or a PNG in one chunk whose checksum is right; many stay as they are."""
    kind = dice.randrange(6)
    if kind <= 2:
        return data
    if kind == 3 or not data.startswith(SIGNATURE):
        return damaged(data, dice)
    chunks = _chunks(data)
    at = dice.randrange(len(chunks))
    name, content = chunks[at]
    change = dice.randrange(5)
    if change == 0:
        del chunks[at]
    elif change == 1:
        chunks.insert(dice.randrange(len(chunks) + 1), chunks[at])
    elif change == 2 and name == b"IHDR":
        field = dice.choice([0, 4])
        chunks[at] = name, content[:field] + dice.choice(NUMBERS).to_bytes(4, "big") + content[field + 4 :]
    elif change == 3:
        chunks[at] = dice.choice([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"fcTL", b"tRNS", b"PLTE", b"iCCP"]), content
    else:
        chunks[at] = name, damaged(content, dice)
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    position = len(SIGNATURE)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += length + 12
    return found


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def loaded(number: int) -> str:
    """By Load Draw Things Image."""
    dice = Dice(number)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "p.png").write_bytes(wrong(picture(dice), dice))
        with stand_ins.in_use(stand_ins.Folders((Path(folder),), Path(folder) / "out")):
            given: Any = LoadImage().load(image="p.png", **{name: dice.often(0.5) for name in SWITCHES})
    _check_notes(given[5].splitlines())
    return "loaded"


def dropped(number: int) -> str:
    """By the page, on a new node or on one that is there, without its pixels or with them."""
    dice = Dice(number)
    data = wrong(picture(dice), dice)
    encoded = base64.b64encode(data).decode()
    pasted = configuration.paste(_body({"picture": encoded[: -dice.choice([4, 5])] if dice.often(0.05) else encoded}, dice), Cancellation())
    json.dumps(pasted)
    _check_notes(pasted["notes"])
    return "dropped"


def pasted(number: int) -> str:
    """Text by the page and by Options from JSON: a picture's JSON, a configuration, or the info of Generate."""
    dice = Dice(number)
    text = comment(dice)
    if dice.often(0.7):
        document: Any = app_json.write(settings(dice).configuration)
        if dice.often(0.3):
            document = {"prompt": "a cat", "negative_prompt": "", "configuration": document}
        text = json.dumps(damaged_json(document, dice))
    told = configuration.paste(_body({"text": text}, dice), Cancellation())
    json.dumps(told)
    _check_notes(told["notes"])
    OptionsFromJSON().read(json=text, **dict.fromkeys(SWITCHES, True))
    return "pasted"


def _body(given: dict[str, Any], dice: Dice) -> dict[str, Any]:
    node = dice.choice(
        [
            None,
            {"kind": "DrawThingsGenerate", "widgets": {}, "linked": []},
            {"kind": "DrawThingsVideo", "widgets": {}, "linked": ["prompt"]},
        ]
    )
    return {**given, "node": node}


def properties(number: int) -> str:
    """XMP as bytes."""
    dice = Dice(number)
    xmp.properties(damaged(packet(dice).encode("utf-8", "replace"), dice))
    return "properties"


def _check_notes(notes: list[str]) -> None:
    if len(notes) > metadata.MOST_NOTES + 1 + len(SWITCHES) or any(len(note) > damage.LONGEST_SENTENCE for note in notes):
        raise AssertionError(f"{len(notes)} notes, of up to {max(map(len, notes))} characters")


ATTEMPTS: dict[str, damage.Attempt] = {
    "picture, loaded": loaded,
    "picture, dropped": dropped,
    "settings, pasted": pasted,
    "packet": properties,
}


def run(count: int, seed: int) -> Section:
    return damage.run(
        __name__,
        "Damaged pictures",
        "PNG, APNG, JPEG, WebP, TIFF and GIF files with settings in XMP and EXIF, changed as files, as chunks with right checksums, as XML and as JSON: "
        "loaded by a node, dropped on the page, and pasted as text.",
        count,
        seed,
    )
