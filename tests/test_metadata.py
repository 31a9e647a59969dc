"""Settings inside pictures: written as the app writes them, read from whoever wrote them, and never a crash or a hang."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import time
import xml.etree.ElementTree as ET
import zlib

import pytest
from comfyui_drawthings.drawthings_core import families, metadata, xmp
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, Configuration, Control, LoRA, LoRAMode, Sampler, SeedMode
from comfyui_drawthings.drawthings_core.errors import DrawThingsError, InvalidInput, MetadataError, NoMetadata
from comfyui_drawthings.drawthings_core.metadata import PictureSettings
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_configuration import configurations

XML_NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}
VERSIONS = [None, "a_family_of_tomorrow", *families.families()]
SDXL = "sdxl_base_v0.9"


# -- the app's published reader, from the table of app_behaviour.md section 7 and from nothing of ours


def app_reads(comment):
    """What the app takes from a comment: R keys, each of the type that it expects."""
    kinds = {"int": int, "number": (int, float), "string": str, "bool": bool}
    rows = {
        **dict.fromkeys(("c", "uc", "sampler", "size", "model", "seed_mode", "upscaler", "first_stage_size", "refiner"), "string"),
        **dict.fromkeys(("target_size", "original_size", "negative_original_size"), "string"),
        **dict.fromkeys(("steps", "seed", "clip_skip", "image_prior_steps", "crop_top", "crop_left", "aesthetic_score"), "int"),
        **dict.fromkeys(("scale", "strength", "image_guidance", "second_stage_strength", "clip_weight", "refiner_start"), "number"),
        "negative_aesthetic_score": "number",
        **dict.fromkeys(("hires_fix", "negative_prompt_for_image_prior", "expand_prompt_to_json", "zero_negative_prompt"), "bool"),
    }
    taken = {}
    for key, kind in rows.items():
        value = comment.get(key)
        if isinstance(value, kinds[kind]) and (kind == "bool" or not isinstance(value, bool)):
            taken[key] = value
    if "seed" in taken and not 0 <= taken["seed"] < 2**32:
        del taken["seed"]
    for key in [key for key in taken if key.endswith("size")]:
        width, _, height = taken[key].partition("x")
        taken[key] = (int(width), int(height))
        if key in ("size", "first_stage_size"):
            taken[key] = (int(width) // 64 * 64, int(height) // 64 * 64)
    taken["sampler"] = app_sampler(taken["sampler"])
    modes = ["Legacy", "Torch CPU Compatible", "Scale Alike", "NVIDIA GPU Compatible"]
    taken["seed_mode"] = modes.index(taken["seed_mode"]) if taken["seed_mode"] in modes else 2
    taken["lora"] = [
        (lora["model"], lora["weight"], lora.get("mode", "all"))
        for lora in comment.get("lora", [])
        if isinstance(lora.get("model"), str) and isinstance(lora.get("weight"), (int, float))
    ]
    required = {"file": str, "weight": (int, float), "no_prompt": bool, "guidance_start": (int, float), "guidance_end": (int, float)}
    taken["control"] = [
        (*(control[key] for key in required), control.get("global_average_pooling"))
        for control in comment.get("control", [])
        if all(isinstance(control.get(key), kind) for key, kind in required.items())
    ]
    return taken


def app_sampler(name):
    """The app's substring tests; DPM++ 2M Karras for anything else."""
    low = name.lower()

    def one(plain, **others):
        return next((number for word, number in others.items() if word in low), plain)

    if "dpm" in low:
        return one(4, substep=8, trailing=11, ays=14) if "sde" in low else one(0, trailing=15, ays=12)
    if "euler" in low:
        return one(1, substep=7, trailing=10, ays=13)
    if "unipc" in low:
        return one(5, trailing=17, ays=18)
    if "ddim" in low:
        return one(2, trailing=16)
    if "tcd" in low:
        return one(9, trailing=19)
    return 3 if "plms" in low else 6 if "lcm" in low else 0


def app_expects(made):
    """Every R key of a picture, in the app's form, from the settings."""
    c = made.configuration
    known = families.family(made.version)

    def size(name):
        return c[f"{name}_width"], c[f"{name}_height"]

    expected = {
        "c": made.prompt, "uc": made.negative_prompt, "steps": c["steps"], "sampler": int(c["sampler"]), "scale": c["guidance_scale"],
        "seed": c["seed"], "size": size("start"), "model": c["model"] or "", "strength": c["strength"], "seed_mode": int(c["seed_mode"]),
        "lora": [(one["file"], one["weight"], one["mode"].json) for one in c["loras"] if one["file"]],
        "control": [
            (o["file"], o["weight"], o["no_prompt"], o["guidance_start"], o["guidance_end"], o["global_average_pooling"])
            for o in c["controls"] if o["file"]
        ],
    }  # fmt: skip
    if c["upscaler"]:
        expected["upscaler"] = c["upscaler"]
    if c["clip_skip"] > 1:
        expected["clip_skip"] = c["clip_skip"]
    if c["hires_fix"]:
        expected |= {"hires_fix": True, "first_stage_size": size("hires_fix_start"), "second_stage_strength": c["hires_fix_strength"]}
    if c["refiner_model"]:
        expected |= {"refiner": c["refiner_model"], "refiner_start": c["refiner_start"]}

    def matters(*kinds):
        return known is None or known.version in kinds

    if matters("kandinsky2.1"):
        expected |= {name: c[name] for name in ("clip_weight", "image_prior_steps", "negative_prompt_for_image_prior")}
    if matters("ideogram_4"):
        expected["expand_prompt_to_json"] = c["expand_prompt_to_json"]
    if matters(SDXL, "sdxl_refiner_v0.9", "ssd_1b"):
        expected |= {"target_size": size("target_image"), "original_size": size("original_image")}
        expected |= {"negative_original_size": size("negative_original_image"), "crop_top": c["crop_top"], "crop_left": c["crop_left"]}
        expected["negative_aesthetic_score"] = c["negative_aesthetic_score"]
        if c["aesthetic_score"].is_integer():
            expected["aesthetic_score"] = c["aesthetic_score"]
    return expected


texts = st.text(max_size=60) | st.text(st.characters(codec="utf-8"), max_size=60)


@settings(max_examples=200, deadline=None)
@given(configurations, st.sampled_from(VERSIONS), texts, texts)
def test_settings_come_back_and_the_app_reads_its_keys(configuration, version, prompt, negative):
    prompt, negative = (text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in (prompt, negative))
    made = PictureSettings(prompt, negative, configuration, version, 2.5)
    comment = json.loads(comment_of(metadata.packet(made)))
    found = metadata.read(comment)
    kept = {name: tuple(part for part in configuration[name] if part["file"]) for name in ("loras", "controls")}
    expected = configuration.updated(name=None, **kept)  # a part without a file is none, and the preset's name has no key
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    assert Configuration(found.settings) == expected
    assert [note for note in found.notes if "not in the file" not in note] == []
    taken = app_reads(comment)
    wanted = app_expects(made)
    assert {key: taken.get(key) for key in wanted} == wanted


def test_every_key_of_the_table_is_written_when_it_should_be():
    everything = Configuration(
        model="m.ckpt", upscaler="u.ckpt", shift=3, clip_skip=2, sharpness=1, mask_blur_outset=3, hires_fix=True, refiner_model="r.ckpt",
        tiled_decoding=True, tiled_diffusion=True, tea_cache=True, causal_inference=3, sampler=Sampler.tcd_trailing,
        loras=[LoRA(file="l.ckpt", weight=0.5)], controls=[Control(file="c.ckpt")],
    )  # fmt: skip
    always = {"c", "uc", "v2", "steps", "sampler", "scale", "seed", "size", "model", "strength", "seed_mode"}
    chosen = {
        *("upscaler", "shift", "clip_skip", "sharpness", "mask_blur", "mask_blur_outset", "hires_fix", "first_stage_size"),
        *("second_stage_strength", "refiner", "refiner_start", "tiled_decoding", "decoding_tile_width", "decoding_tile_height"),
        *("decoding_tile_overlap", "tiled_diffusion", "diffusion_tile_width", "diffusion_tile_height", "diffusion_tile_overlap"),
        *("tea_cache", "tea_cache_start", "tea_cache_end", "tea_cache_threshold", "tea_cache_max_skip_steps", "causal_inference"),
        *("stochastic_sampling_gamma", "lora", "control"),
    }
    of_family = {
        SDXL: {
            *("target_size", "original_size", "negative_original_size", "crop_top", "crop_left", "zero_negative_prompt"),
            *("aesthetic_score", "negative_aesthetic_score"),
        },
        "svd_i2v": {"num_frames", "fps", "motion_scale", "cond_aug", "min_cfg"},
        "hunyuan_video": {"num_frames"},
        "kandinsky2.1": {"clip_weight", "image_prior_steps", "negative_prompt_for_image_prior"},
        "ideogram_4": {"expand_prompt_to_json", "zero_negative_prompt"},
        "wurstchen_v3.0_stage_c": {"stage_1_latents_size", "stage_2_steps", "stage_2_guidance", "stage_2_shift"},
        "qwen_image": set(),
    }
    for version, own in of_family.items():
        comment = metadata.user_comment(PictureSettings("p", "n", everything, version, 1.0))
        assert set(comment) == always | chosen | own | {"profile"}, version
        plain = metadata.user_comment(PictureSettings("p", "", Configuration(mask_blur=0), version))
        assert set(plain) == always | own, version
    assert metadata.user_comment(PictureSettings("", "", Configuration(), "v1"))["image_guidance"] == 1.5
    assert metadata.user_comment(PictureSettings("", "", Configuration(start_width=1024), "wurstchen_v3.0_stage_c"))[
        "stage_1_latents_size"
    ] == "24x12"  # fmt: skip


def test_values_look_like_the_apps_own():
    comment = metadata.user_comment(PictureSettings("", "", Configuration(guidance_scale=4, sampler=Sampler.euler_a), SDXL))
    assert json.dumps([comment[key] for key in ("scale", "strength", "sampler", "seed_mode", "size", "aesthetic_score", "model")]) == (
        '[4, 1, "Euler Ancestral", "Scale Alike", "512x512", 6, ""]'
    )


def test_readable_text():
    one = Configuration(model="m.ckpt", seed=5, hires_fix=True, loras=[LoRA(file="a.ckpt", weight=0.5)], mask_blur=0)
    assert metadata.description(PictureSettings("a cat\non a mat", "dogs", one, "qwen_image")) == (
        "a cat\non a mat\n-dogs\nSteps: 20, Sampler: UniPC AYS, Guidance Scale: 4.5, Seed: 5, Size: 512x512, Model: m.ckpt, Strength: 1.0, "
        "Seed Mode: Scale Alike, Hires Fix: true, First Stage Size: 448x448, Second Stage Strength: 0.7, LoRA Model: a.ckpt, LoRA Weight: 0.5"
    )
    two = one.updated(loras=[LoRA(file="a.ckpt"), LoRA(file="b.ckpt")], hires_fix=False)
    text = metadata.description(PictureSettings("a cat", "", two, "qwen_image"))
    assert text.startswith("a cat\nSteps: 20,")
    assert text.endswith("LoRA 1 Model: a.ckpt, LoRA 1 Weight: 0.6, LoRA 2 Model: b.ckpt, LoRA 2 Weight: 0.6")


def test_the_apps_sampler_words_are_ours():
    for member in Sampler:
        assert app_sampler(member.in_pictures) == member
        assert Sampler.by_parts(member.in_pictures) is member
    assert Sampler.by_parts("dpmpp-sde (AYS)") is Sampler.dpmpp_sde_ays
    assert Sampler.by_parts("heun") is None


# -- the packet


def packet_with(comment, **more):
    """A packet in the form of ImageIO."""
    return xmp.packet(more.get("description", "a cat"), more.get("creator", "Draw Things"), comment)


def comment_of(packet):
    """By another XML reader than ours."""
    (item,) = ET.fromstring(packet).findall(".//exif:UserComment/rdf:Alt/rdf:li", XML_NAMES)
    return item.text


PLANES = "".join(chr(plane << 16 | 0x41) for plane in range(17)) + "\U0010ffff\ufdd0\ufffe\uffff\u0085\u2028‮é漢👩‍🎨"


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t leading and trailing \r\n ",
        PLANES,
        "".join(map(chr, range(0x20))) + "\x7f",
        ']]> <!-- & &amp; &#xA; &lt; "quoted" \'too\' <?xpacket end="w"?> </rdf:li></x:xmpmeta>',
        '{"c": "x"}',
        "\\u0041 \\ \\\\",
        "<" * 1_000_000,
        "é漢👩‍🎨" * 200_000,
    ],
    ids=["empty", "white space", "planes", "control characters", "markup", "JSON", "backslashes", "a million brackets", "a million others"],
)
def test_prompts_survive(prompt):
    made = PictureSettings(prompt, prompt[::-1], Configuration(clip_l_text=prompt[:1000].replace("\0", "") or None), SDXL)
    packet = metadata.packet(made)
    for comment in (comment_of(packet), xmp.properties(packet)[xmp.USER_COMMENT], saved_and_opened(packet)):
        found = metadata.read(json.loads(comment))
        assert (found.prompt, found.negative_prompt) == (prompt, prompt[::-1])
        assert Configuration(found.settings) == made.configuration
    assert xmp.properties(packet)[xmp.CREATOR_TOOL] == "Draw Things"


def saved_and_opened(packet):
    chunks = PngInfo()
    chunks.add_itxt(xmp.PNG_KEYWORD, packet)
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG", pnginfo=chunks)
    buffer.seek(0)
    with Image.open(buffer) as picture:
        return xmp.properties(picture.info[xmp.PNG_KEYWORD])[xmp.USER_COMMENT]


def test_half_a_surrogate_pair_is_replaced():
    comment = comment_of(metadata.packet(PictureSettings("a\ud800b", "\udfff", Configuration())))
    assert json.loads(comment)["c"] == "a\ufffdb"


def test_what_only_text_searches_look_for_is_there():
    """stable-diffusion-prompt-reader and others search for these, without an XML reader."""
    packet = packet_with('{"c":"a"}', description="a cat\n-dogs")
    assert "<xmp:CreatorTool>Draw Things</xmp:CreatorTool>" in packet
    assert packet.index('<rdf:li xml:lang="x-default">a cat&#xA;-dogs</rdf:li>') < packet.index("exif:UserComment>")


RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
EXIF = 'xmlns:exif="http://ns.adobe.com/exif/1.0/"'
COMMENT = '{"c":"a &amp; b","uc":""}'
OTHER_FORMS = {
    "an attribute": f"<rdf:RDF {RDF}><rdf:Description {EXIF} exif:UserComment='{COMMENT}'/></rdf:RDF>",
    "plain text": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment>\n{COMMENT}\n</exif:UserComment></rdf:Description></rdf:RDF>",
    "CDATA": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment><![CDATA[{COMMENT.replace('&amp;', '&')}]]></exif:UserComment>"
    "</rdf:Description></rdf:RDF>",
    "other prefixes": '<q:RDF xmlns:q="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><q:Description><UserComment '
    f'xmlns="http://ns.adobe.com/exif/1.0/"><q:Alt><q:li>{COMMENT}</q:li></q:Alt></UserComment></q:Description></q:RDF>',
    "a value": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment rdf:parseType='Resource'><rdf:value>{COMMENT}</rdf:value>"
    "<exif:note>n</exif:note></exif:UserComment></rdf:Description></rdf:RDF>",
    "languages": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment><rdf:Alt><rdf:li xml:lang='de'>anderes</rdf:li>"
    f"<rdf:li xml:lang='x-default'>{COMMENT}</rdf:li><rdf:li xml:lang='x-default'>again</rdf:li></rdf:Alt></exif:UserComment>"
    "</rdf:Description></rdf:RDF>",
    "several descriptions": f"<rdf:RDF {RDF}><rdf:Description rdf:about=''/><rdf:Description {EXIF}><exif:UserComment><rdf:Bag><rdf:li>"
    f"{COMMENT}</rdf:li></rdf:Bag></exif:UserComment></rdf:Description></rdf:RDF>",
    "character references": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment>{{&#34;c&#x22;:&quot;a &#38; b&quot;,"
    "&quot;uc&quot;:&quot;&quot;}</exif:UserComment></rdf:Description></rdf:RDF>",
}


@pytest.mark.parametrize("form", OTHER_FORMS)
@pytest.mark.parametrize("frame", ["{}", '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>   \n\0\0',
                                   '<?xml version="1.0" encoding="ISO-8859-1"?><x:xmpmeta xmlns:x="adobe:ns:meta/">{}</x:xmpmeta>'])  # fmt: skip
def test_every_form_of_rdf_is_read(form, frame):
    comment = xmp.properties(frame.format(OTHER_FORMS[form]))[xmp.USER_COMMENT]
    assert json.loads(comment) == {"c": "a & b", "uc": ""}


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
)
HOSTILE = {
    "laughs": LAUGHS + f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment>&j;</exif:UserComment></rdf:Description></rdf:RDF>",
    "a file": f'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment>&f;'
    "</exif:UserComment></rdf:Description></rdf:RDF>",
    "a document type": '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    "an unknown entity": f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment>&nbsp;</exif:UserComment></rdf:Description></rdf:RDF>",
    "depth": "<a>" * 1_000_000,
    "depth inside": packet_with("X").replace("X", "<a>" * 200_000),
    "cut off": packet_with("{}")[:300],
    "not XML": "a cat",
    "empty": "",
    "zeros": "\0" * 1000,
    "an unbound prefix": packet_with("{}").replace(' xmlns:rdf="', ' xmlns:other="'),
    "too large": "<a>" + " " * (xmp.LARGEST_PACKET + 1) + "</a>",
    "not UTF-8": packet_with("é").encode("latin-1"),
    "UTF-16": packet_with("{}").encode("utf-16"),
    "surrogates": "<a>\ud800</a>",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_packets_are_a_sentence(case):
    started = time.perf_counter()
    with pytest.raises(MetadataError, match="settings in the picture cannot be read") as raised:
        xmp.properties(HOSTILE[case])
    assert time.perf_counter() - started < 2
    assert len(str(raised.value)) < 500


def test_a_million_items_are_no_trouble():
    items = "".join(f"<rdf:li xml:lang='l{number}'>x</rdf:li>" for number in range(300_000))
    text = f"<rdf:RDF {RDF}><rdf:Description {EXIF}><exif:UserComment><rdf:Alt>{items}</rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF>"
    assert xmp.properties(text) == {xmp.USER_COMMENT: "x"}


# -- comments of others


WRITTEN_BY_THE_APP = {
    "c": "a man with a chain, saying \"hello\"", "uc": "blurry", "model": "ltx_2.3_22b_distilled_q6p.ckpt", "sampler": "TCD Trailing",
    "profile": {"duration": 0, "timings": []}, "scale": 1, "seed": 931386102, "seed_mode": "Scale Alike", "shift": 5, "size": "512x384",
    "steps": 8, "strength": 1,
    "v2": {
        "aestheticScore": 6, "batchCount": 1, "batchSize": 1, "causalInference": 0, "cfgZeroStar": True, "clipLText": None, "clipSkip": 2,
        "controls": [], "decodingTileHeight": 1024, "guidanceScale": 1, "guidingFrameNoise": 0.02, "height": 384, "hiresFixStrength": 0.7,
        "id": 0, "loras": [], "maskBlur": 1.5, "model": "ltx_2.3_22b_distilled_q6p.ckpt", "numFrames": 80, "refinerStart": 0.125,
        "sampler": 19, "seed": 931386102, "seedMode": 2, "sharpness": 0, "shift": 5, "steps": 8, "strength": 1, "teaCacheEnd": 2,
        "teaCacheThreshold": 0.20000000298023224, "upscalerScaleFactor": 0, "width": 512, "zeroNegativePrompt": False,
    },
}  # fmt: skip


def test_a_comment_of_the_app():
    """Optional keys are left out or null, whole numbers have no fraction, floats may be long."""
    found = metadata.read(WRITTEN_BY_THE_APP)
    assert found.notes == []
    assert found.prompt == 'a man with a chain, saying "hello"'
    read = Configuration(found.settings)
    assert (read["sampler"], read["num_frames"], read["tea_cache_threshold"], read["clip_l_text"]) == (Sampler.tcd_trailing, 80, 0.2, None)
    assert set(found.settings) >= {"cfg_zero_star", "refiner_start", "start_height"}


def test_a_comment_of_an_old_app():
    found = metadata.read(
        {"c": "a guitar", "uc": "", "steps": 10, "sampler": "DDIM", "scale": 10, "seed": 1177739245, "size": "1152x768",
         "model": "sd_v1.4_f16.ckpt", "strength": 1, "hires_fix": True, "first_stage_size": "768x512", "second_stage_strength": 0.7,
         "lora": [{"model": "a.ckpt", "weight": 0.3}, {"model": "b.ckpt", "weight": 0.4, "mode": "base"}]}
    )  # fmt: skip
    assert found.settings == {
        "steps": 10, "sampler": Sampler.ddim, "guidance_scale": 10, "seed": 1177739245, "start_width": 1152, "start_height": 768,
        "model": "sd_v1.4_f16.ckpt", "strength": 1, "hires_fix": True, "hires_fix_start_width": 768, "hires_fix_start_height": 512,
        "hires_fix_strength": 0.7, "loras": (LoRA(file="a.ckpt", weight=0.3), LoRA(file="b.ckpt", weight=0.4, mode=LoRAMode.base)),
    }  # fmt: skip
    assert found.notes == ["The picture does not hold the complete configuration: what it does not name is up to the node that generates."]


def test_what_the_app_would_take_wins_over_v2():
    found = metadata.read({"c": "", "seed": 7, "steps": 9, "lora": [{"model": "x.ckpt", "weight": 1}],
                           "v2": {"seed": 8, "steps": 9, "shift": 3, "loras": [{"file": "y.ckpt", "weight": 0.2, "mode": "base"}]}})  # fmt: skip
    assert (found.settings["seed"], found.settings["shift"]) == (7, 3)
    assert found.settings["loras"] == (LoRA(file="y.ckpt", weight=0.2, mode=LoRAMode.base),)
    assert found.notes == ["The picture names these twice, and differently: Seed. Taken is what Draw Things would take."]


@pytest.mark.parametrize(
    ("comment", "left", "words"),
    [
        ({"steps": 0}, {}, "steps is 0, but allowed"),
        ({"steps": "many"}, {}, "steps is 'many'"),
        ({"sampler": "Heun"}, {}, "sampler is 'Heun', which cannot be read"),
        ({"sampler": "dpmpp 2m trailing"}, {"sampler": Sampler.dpmpp_2m_trailing}, ""),
        ({"sampler": 19}, {"sampler": Sampler.tcd_trailing}, ""),
        ({"sampler": 99}, {}, "sampler is 99"),
        ({"seed_mode": "Legacy"}, {"seed_mode": SeedMode.legacy}, ""),
        ({"seed_mode": "Dice"}, {}, "seed_mode is 'Dice'"),
        ({"seed": -1}, {}, "random"),
        ({"seed": 2**32}, {}, "seed is 4294967296"),
        ({"size": "1000x512"}, {"start_width": 960, "start_height": 512}, "width was 1000 and became 960"),
        ({"size": "1024"}, {}, "size is '1024', which cannot be read"),
        ({"size": [512, 512]}, {}, "size is"),
        ({"size": "999999999x64"}, {}, "width is 999999999"),
        ({"model": "../../etc/passwd"}, {}, "without folders"),
        ({"lora": "x"}, {}, "a list of LoRAs"),
        ({"lora": [{"weight": 1}]}, {"loras": ()}, ""),
        ({"lora": [{"model": "a.ckpt", "weight": 99}]}, {"loras": (LoRA(file="a.ckpt"),)}, "weight is 99"),
        ({"control": [{"file": "c.ckpt", "guidance_end": 0.5}]}, {"controls": (Control(file="c.ckpt", guidance_end=0.5),)}, "hint pictures"),
        ({"v2": "text"}, {}, "v2 was ignored"),
        ({"v2": {"prompt": "x"}}, {}, "v2 was ignored"),
        ({"v2": {"steps": 8, "tomorrow": 1}}, {"steps": 8}, "tomorrow is not a Draw Things setting"),
        ({"v2": {"steps": 8, "sampler": 77, "loras": 5}}, {"steps": 8}, "sampler is 77.*\n.*loras is 5"),
        ({"uc": 7}, {}, "uc is 7, which is no text"),
        ({"scale": float("nan")}, {}, "guidanceScale is nan"),
        ({"scale": 10**400}, {}, "guidanceScale is 1000"),
        ({"hires_fix": "yes"}, {}, "true or false"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out_and_said(comment, left, words):
    found = metadata.read({"c": "a cat", **comment})
    assert found.prompt == "a cat"
    assert found.settings == left
    assert re.search(words, "\n".join(found.notes))


def test_notes_are_bounded():
    loras = [{f"key{number}" * 200: number, "weight": "x" * 10_000} for number in range(500)]
    found = metadata.read({"c": "", "v2": {"loras": loras}})
    assert len(found.notes) == metadata.MOST_NOTES + 1
    assert max(map(len, found.notes)) <= metadata.LONGEST_NOTE + 1
    assert found.notes[-1].startswith("And ")


def test_no_depth_of_nesting_is_a_crash():
    for depth in (*range(850, 1000, 3), 3000, 9000, 100_000):
        comment = f'{{"c":"","size":{"[" * depth}{"]" * depth},"v2":{{"steps":{"[" * depth}{"]" * depth}}}}}'
        with contextlib.suppress(MetadataError):
            assert metadata.in_picture(opened(png(itxt(packet_with(comment).encode())))).settings == {}
        with pytest.raises(InvalidInput):
            metadata.pasted(f'{{"steps":{"[" * depth}{"]" * depth}}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = [*sorted(metadata.user_comment(PictureSettings("", "", Configuration(tea_cache=True, hires_fix=True)))), "lora", "control"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=12), st.dictionaries(st.sampled_from(list(CONFIGURATION)), json_values))
def test_any_values_are_settings_or_notes(comment, whole):
    rows = {CONFIGURATION[name].json_key: value for name, value in whole.items()}
    Configuration(metadata.read({"c": "", "v2": rows, **comment}).settings)


# -- picture files


MADE = PictureSettings("a cat", "dogs", Configuration(model="m.ckpt", seed=77, steps=9), SDXL)


def opened(content):
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def png(*chunks, after=()):
    """A PNG with these raw chunks before, and others after, its pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    content = buffer.getvalue()
    end = content.index(b"IEND") - 4
    return content[:33] + b"".join(chunks) + content[33:end] + b"".join(after) + content[end:]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def itxt(text, keyword=b"XML:com.adobe.xmp", compressed=False):
    data = zlib.compress(text) if compressed else text
    return chunk(b"iTXt", keyword + b"\0" + bytes([compressed, 0]) + b"\0\0" + data)


def exif_with(comment: bytes) -> bytes:
    """A big-endian EXIF block with a UserComment and the pixel size, as ImageIO writes it."""
    entries = struct.pack(">HHII", 0x9286, 7, len(comment), 26 + 6 + 24) + struct.pack(">HHII", 0xA002, 4, 1, 4)
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0) + struct.pack(">H", 2) + entries + b"\0\0\0\0" + comment


def jpeg(*, exif=b"", packet=b""):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    parts = b""
    for part in (b"Exif\0\0" + exif if exif else b"", b"http://ns.adobe.com/xap/1.0/\0" + packet if packet else b""):
        parts += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part if part else b""
    return buffer.getvalue()[:2] + parts + buffer.getvalue()[2:]


PACKET = metadata.packet(MADE).encode()
JSON = json.dumps(metadata.user_comment(MADE)).encode()
FILES = {
    "PNG": png(itxt(PACKET)),
    "PNG, compressed": png(itxt(PACKET, compressed=True)),
    "PNG, after the pixels": png(after=[itxt(PACKET)]),
    "PNG, EXIF": png(chunk(b"eXIf", exif_with(b"ASCII\0\0\0" + JSON))),
    "PNG, XMP of others and EXIF": png(itxt(packet_with("A1111 wrote this").encode()), chunk(b"eXIf", exif_with(b"ASCII\0\0\0" + JSON))),
    "PNG, damaged XMP and EXIF": png(itxt(b"<x"), chunk(b"eXIf", exif_with(b"ASCII\0\0\0" + JSON))),
    "JPEG, XMP": jpeg(packet=PACKET),
    "JPEG, EXIF ASCII": jpeg(exif=exif_with(b"ASCII\0\0\0" + JSON)),
    "JPEG, EXIF undefined": jpeg(exif=exif_with(b"\0" * 8 + JSON)),
    "JPEG, EXIF without code": jpeg(exif=exif_with(JSON)),
    "JPEG, EXIF UNICODE": jpeg(exif=exif_with(b"UNICODE\0" + JSON.decode().encode("utf-16-be"))),
    "JPEG, EXIF UNICODE little": jpeg(exif=exif_with(b"UNICODE\0" + JSON.decode().encode("utf-16-le"))),
    "JPEG, EXIF UNICODE marked": jpeg(exif=exif_with(b"UNICODE\0" + JSON.decode().encode("utf-16"))),
}


@pytest.mark.parametrize("name", FILES)
def test_pictures_of_every_kind(name):
    found = metadata.in_picture(opened(FILES[name]))
    assert (found.prompt, found.negative_prompt) == ("a cat", "dogs")
    assert Configuration(found.settings) == MADE.configuration


@pytest.mark.parametrize(("kind", "how"), [("WEBP", {"xmp": PACKET}), ("TIFF", {"tiffinfo": {700: PACKET}})])
def test_other_formats(kind, how):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind, **how)
    assert metadata.in_picture(opened(buffer.getvalue())).prompt == "a cat"


@pytest.mark.parametrize(
    "content",
    [
        png(),
        jpeg(),
        png(itxt(packet_with("Steps: 20, Sampler: Euler").encode())),
        png(itxt(packet_with('{"prompt": "NovelAI", "steps": 28}').encode())),
        png(itxt(packet_with("").encode())),
        png(chunk(b"tEXt", b"prompt\0{}")),
        jpeg(exif=exif_with(b"JIS\0\0\0\0\0\x1b$B")),
        jpeg(exif=exif_with(b"ASCII\0\0\0caf\xe9")),
    ],
)
def test_pictures_without_settings_are_said(content):
    with pytest.raises(NoMetadata, match="holds no Draw Things settings"):
        metadata.in_picture(opened(content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(itxt(b"<x")), "not XML"),
        (png(itxt(packet_with('{"c": "a cat"').encode())), "not JSON"),
        (png(itxt(packet_with('{"c": ' + "[" * 100_000).encode())), "not JSON"),
        (jpeg(exif=exif_with(b'ASCII\0\0\0{"c":"caf\xe9"}')), "no text"),
    ],
)
def test_damaged_settings_are_said(content, words):
    with pytest.raises(MetadataError, match=words):
        metadata.in_picture(opened(content))


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["packet", "exif", "json"]), st.integers(0, 10**9), st.binary(min_size=1, max_size=8), st.booleans())
@example("exif", 10, b"\xff\xff\xff\xff", False)
def test_damage_anywhere_is_settings_or_a_sentence(kind, place, damage, cut):
    def hurt(content):
        at = place % len(content)
        return content[:at] + damage + (b"" if cut else content[at + len(damage) :])

    if kind == "packet":
        content = png(itxt(hurt(PACKET)))
    elif kind == "json":
        content = png(itxt(packet_with(hurt(JSON).decode("utf-8", "replace")).encode()))
    else:
        content = jpeg(exif=hurt(exif_with(b"ASCII\0\0\0" + JSON)))
    with contextlib.suppress(DrawThingsError):
        Configuration(metadata.in_picture(opened(content)).settings)


# -- pasted


def test_pasted_json_of_each_kind():
    comment = json.dumps(metadata.user_comment(MADE))
    found = metadata.pasted(comment)
    assert (found.prompt, found.negative_prompt, found.settings["seed"]) == ("a cat", "dogs", 77)
    assert found.notes == ["This is a picture's metadata: its prompts and settings were read."]
    assert metadata.pasted('{"steps": 8}') == ("", "", {"steps": 8}, [])
    assert metadata.pasted('{"prompt": "a cat", "configuration": {"steps": 8}}').prompt == "a cat"
    with pytest.raises(InvalidInput, match="HTTP API"):
        metadata.pasted('{"prompt": "a cat", "steps": 8}')
    with pytest.raises(InvalidInput, match="not JSON"):
        metadata.pasted("a cat")
