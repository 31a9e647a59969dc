"""Save Image and Load Draw Things Image, as a graph uses them: both programs find their settings in the file."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import time
import types
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import errors, xmp
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, Options, SeedMode, app_json
from comfyui_drawthings.drawthings_core.errors import short
from comfyui_drawthings.nodes import host, prefixes
from comfyui_drawthings.runner import cli, stand_ins
from conftest import SECRET
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_metadata import XML_NAMES, app_reads
from test_nodes import NODES, call, server, small

__all__ = ["server"]  # a fixture


@pytest.fixture
def folders(tmp_path):
    """Where the nodes read and write."""
    made = stand_ins.Folders((tmp_path / "input", tmp_path), tmp_path / "out")
    with stand_ins.in_use(made):
        yield made


def save(images=None, **inputs):
    images = torch.zeros(1, 8, 16, 3) if images is None else images
    return call("DrawThingsSaveImage", images=images, **inputs)["ui"]["images"]


def info_of(*seeds, **more):
    """What Generate tells of pictures with these seeds."""
    configuration = Configuration(model="m.ckpt", steps=7, seed=4)
    rows = [{"seed": seed, "request_seed": 4, "member": number} for number, seed in enumerate(seeds)]
    told = {"prompt": "a cat", "negative_prompt": "dogs", "family": "v1", "configuration": app_json.write(configuration)}
    return json.dumps({**told, "seeds": list(seeds), "images": rows, "notes": [], "seconds": 1.5, **more})


def chunks_of(path):
    """(kind, data) of a PNG's chunks, checksums checked, by the format's own rules."""
    content = Path(path).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, []
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + data) == struct.unpack_from(">I", content, at + 8 + length)[0]
        found.append((kind, data))
        at += 12 + length
    return found


def comment_in(path):
    """exif:UserComment as the app's side gets at it: the uncompressed iTXt chunk, an XML reader, JSON."""
    (text,) = (data for kind, data in chunks_of(path) if kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0"))
    header = b"XML:com.adobe.xmp\0\0\0\0\0"  # not compressed, no language, no translated keyword
    assert text.startswith(header)
    root = ET.fromstring(text[len(header) :].decode("utf-8"))
    assert root.find(".//xmp:CreatorTool", XML_NAMES).text == "Draw Things"
    return json.loads(root.find(".//exif:UserComment/rdf:Alt/rdf:li", XML_NAMES).text)


# -- saving


def test_what_generate_made_comes_back_in_both_programs(server, simulator, folders):
    images, _, info = call(
        "DrawThingsGenerate", server=server, **small(prompt="a <cat> & é漢", negative_prompt="dogs", seed=99, batch_size=3)
    )
    prompt = {"1": {"class_type": "DrawThingsGenerate", "inputs": {"seed": 99}}}
    workflow = {"nodes": [{"id": 1, "title": "漢"}]}
    rows = save(images, info=info, prompt=prompt, extra_pnginfo={"workflow": workflow})
    assert rows == [{"filename": f"DrawThings_{number:05}_.png", "subfolder": "", "type": "output"} for number in (1, 2, 3)]
    told = json.loads(info)
    for path, seed in zip(folders.written, told["seeds"], strict=True):
        texts = dict(data.split(b"\0", 1) for kind, data in chunks_of(path) if kind == b"tEXt")
        assert {key: json.loads(value) for key, value in texts.items()} == {b"prompt": prompt, b"workflow": workflow}
        comment = comment_in(path)
        assert app_reads(comment)["seed"] == comment["v2"]["seed"] == seed
        assert comment["v2"] == {**told["configuration"], "seed": seed}
        _, _, read_prompt, read_negative, options, _ = call("DrawThingsLoadImage", image=f"out/{path.name}", take_batch=True)
        assert (read_prompt, read_negative) == ("a <cat> & é漢", "dogs")
        assert Configuration(options) == app_json.read(told["configuration"]).configuration().updated(seed=seed)


def test_a_picture_of_a_batch_is_made_again_from_its_file_alone(server, simulator, folders):
    images, _, info = call("DrawThingsGenerate", server=server, **small(seed=7, batch_size=3, batch_count=2))
    save(images, info=info)
    for number, path in enumerate(folders.written):
        loaded, _, prompt, negative, options, notes = call("DrawThingsLoadImage", image=f"out/{path.name}")
        again = call("DrawThingsGenerate", server=server, prompt=prompt, negative_prompt=negative, options=options)[0]
        assert again.shape[0] == 1
        assert torch.equal(again[0], images[number])
        assert (loaded[0] - images[number]).abs().max() <= 0.5 / 255 + 1e-6
        assert notes == ""


def test_chunks_are_those_of_comfyuis_own_save_image(folders):
    prompt, extra = {"3": {"inputs": {"text": "é"}}}, {"workflow": {"a": [1, "é"]}, "other": 5}
    save(prompt=prompt, extra_pnginfo=extra, filename_prefix="ours")
    own = stand_ins.bound(folders)["SaveImage"]()
    own.save(torch.zeros(1, 8, 16, 3), "theirs", prompt=prompt, extra_pnginfo=extra)
    ours, theirs = (chunks_of(path) for path in folders.written)
    assert ours == theirs


def test_without_info_there_are_no_settings(folders):
    save()
    assert [kind for kind, _ in chunks_of(folders.written[0])] == [b"IHDR", b"IDAT", b"IEND"]
    with pytest.raises(errors.NoMetadata):
        call("DrawThingsLoadImage", image="out/DrawThings_00001_.png")


def test_disable_metadata_is_honoured(folders, monkeypatch):
    """ComfyUI's own flag, which it keeps in this module."""
    arguments = types.SimpleNamespace(args=types.SimpleNamespace(disable_metadata=True))
    monkeypatch.setitem(sys.modules, "comfy.cli_args", arguments)
    save(info=info_of(5), prompt={"1": {}}, extra_pnginfo={"workflow": {}})
    assert [kind for kind, _ in chunks_of(folders.written[0])] == [b"IHDR", b"IDAT", b"IEND"]


def test_every_level_is_rounded_to_the_nearest(folders):
    wobble = torch.linspace(-0.49, 0.49, 256)
    levels = ((torch.arange(256) + wobble) / 255).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    save(torch.cat([levels, levels * 3 - 1]))
    first, second = (np.asarray(Image.open(path)) for path in folders.written)
    np.testing.assert_array_equal(first[..., 0].ravel(), np.arange(256))
    assert second.min() == 0
    assert second.max() == 255


@pytest.mark.parametrize("compression", [0, 9])
def test_compression_changes_the_size_only(folders, compression):
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    save(picture, compression=4, filename_prefix="a")
    save(picture, compression=compression, filename_prefix="b")
    one, other = folders.written
    assert np.array_equal(Image.open(one), Image.open(other))
    assert (other.stat().st_size > one.stat().st_size) == (compression == 0)


def test_mask_makes_it_transparent_and_comes_back(folders):
    mask = torch.zeros(1, 8, 16)
    mask[0, :4] = 1
    mask[0, 4] = 0.5
    save(torch.ones(2, 8, 16, 3), mask=mask, info=info_of(1, 2))
    for path in folders.written:
        with Image.open(path) as picture:
            assert picture.mode == "RGBA"
            assert [picture.getpixel((3, y))[3] for y in (0, 4, 7)] == [0, 128, 255]
        image, loaded, *_ = call("DrawThingsLoadImage", image=f"out/{path.name}")
        assert image.shape == (1, 8, 16, 3)
        assert (loaded[0] - mask[0]).abs().max() < 0.003


def test_mask_of_another_size_is_stretched(folders):
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    save(torch.ones(1, 8, 16, 3), mask=mask)
    alpha = np.asarray(Image.open(folders.written[0]))[..., 3]
    assert alpha.shape == (8, 16)
    assert alpha[:, :7].max() == 0
    assert alpha[:, 9:].min() == 255


@pytest.mark.parametrize(("channels", "mode"), [(1, "RGB"), (3, "RGB"), (4, "RGBA")])
def test_pictures_of_other_channels(folders, channels, mode):
    save(torch.full((1, 8, 8, channels), 0.2))
    with Image.open(folders.written[0]) as picture:
        assert picture.mode == mode


# -- info


def test_each_picture_has_its_own_seed_and_unknown_ones_that_of_the_request(folders):
    save(torch.zeros(3, 8, 8, 3), info=info_of(10, 20, None))
    assert [comment_in(path)["seed"] for path in folders.written] == [10, 20, 4]


def test_some_of_the_pictures(folders):
    save(torch.zeros(2, 8, 8, 3), info=info_of(10, 20, 30, 40), first_picture=3)
    assert [comment_in(path)["seed"] for path in folders.written] == [30, 40]
    with pytest.raises(errors.InvalidInput, match=r"1 pictures to save, but info tells of 2.*first_picture"):
        save(info=info_of(1, 2))
    with pytest.raises(errors.InvalidInput, match="From picture 2 on info tells of 1, but there are 2"):
        save(torch.zeros(2, 8, 8, 3), info=info_of(1, 2), first_picture=2)
    assert len(folders.written) == 2


def test_frames_of_a_video_share_its_seed(server, simulator, folders):
    inputs = {
        "model": "wan_v2.1_1.3b_480p_f16.ckpt",
        "prompt": "a cat",
        "width": 128,
        "height": 128,
        "num_frames": 5,
        "steps": 2,
        "seed": 6,
    }
    frames, _, _, info = call("DrawThingsVideo", server=server, **inputs)
    save(frames, info=info, filename_prefix="all")
    save(frames[2:4], info=info, filename_prefix="some")
    assert [comment_in(path)["seed"] for path in folders.written] == [6] * 7
    assert comment_in(folders.written[0])["num_frames"] == 5


@pytest.mark.parametrize(
    "info",
    [
        "a cat",
        "{",
        "[]",
        "5",
        "null",
        "{}",
        '{"steps": 20}',
        "[" * 100_000,
        info_of(1, prompt=None),
        info_of(1, negative_prompt=5),
        info_of(1, family=5),
        info_of(1, configuration={"steps": 0}),
        info_of(1, configuration=[]),
        info_of(1, configuration=None),
        info_of(1, images=5),
        info_of(1, video={}, seeds=[]),
        info_of(1, video={}, seeds=["x"]),
        info_of(1, images=[5]),
        info_of(1, images=[{}]),
        info_of("x"),
        info_of(-1),
        info_of(2**32),
        info_of(1.5),
        info_of(1, seconds="x"),
        info_of(1, seconds=float("nan")),
    ],
)
def test_info_from_elsewhere_is_said(folders, info):
    with pytest.raises(errors.InvalidInput, match="'info' is not what Generate tells: connect the output 'info'"):
        save(info=info)
    assert folders.written == []


def test_a_prompt_of_a_megabyte_and_of_every_plane(folders):
    prompt = "".join(chr(plane << 16 | 0x41) for plane in range(17)) * 20_000 + "\0\x01\x1f\ufffe <&>]]>"
    save(info=info_of(1, prompt=prompt), prompt={"1": {"inputs": {"text": prompt}}})
    started = time.perf_counter()
    assert call("DrawThingsLoadImage", image="out/DrawThings_00001_.png")[2] == prompt
    assert time.perf_counter() - started < 5


# -- names


def test_names_count_on_and_nothing_is_overwritten(folders):
    for _ in range(2):
        save(torch.zeros(2, 8, 8, 3), filename_prefix="a/b")
    (folders.out / "a" / "b_00007_.png").write_bytes(b"mine")
    assert save(filename_prefix="a/b") == [{"filename": "b_00008_.png", "subfolder": "a", "type": "output"}]
    assert [path.name for path in folders.written] == [f"b_0000{number}_.png" for number in (1, 2, 3, 4, 8)]
    for _ in range(2):  # ComfyUI's own counter does not see these names
        save(torch.zeros(2, 8, 8, 3), filename_prefix="n%batch_num%")
    assert len({path.name for path in folders.written}) == 9


def test_variables(folders):
    prompt = {
        "3": {"class_type": "DrawThingsGenerate", "inputs": {"seed": 5, "model": "a/b:c", "prompt": ["4", 0]}, "_meta": {"title": "Mine"}},
        "4": {"class_type": "Text", "inputs": {"on": True}},
    }
    now = time.struct_time((2025, 3, 9, 7, 5, 4, 0, 0, 0))
    for text, filled in {
        "%date:yyyy-MM-dd_hh.mm.ss%": "2025-03-09_07.05.04",
        "%date:yy M d h m s%": "25 3 9 7 5 4",
        "%DrawThingsGenerate.seed%": "5",
        "%Mine.model%": "a_b_c",
        "%Text.on%": "true",
        "%Mine.prompt%": "%Mine.prompt%",
        "%None.seed%": "%None.seed%",
        "%width%x%height%": "%width%x%height%",
        "100%": "100%",
    }.items():
        assert prefixes.filled(text, prompt, now) == filled
    save(filename_prefix="%width%x%height% %Mine.seed%", prompt=prompt)
    assert folders.written[0].name == "16x8 5_00001_.png"


@pytest.mark.parametrize("prefix", ["../up", "/etc/up", "a/../../up", "a\0b"])
def test_nothing_is_written_outside(folders, prefix):
    with pytest.raises(errors.InvalidInput, match="leads outside the output folder"):
        save(filename_prefix=prefix)
    assert folders.written == []


def test_a_name_that_cannot_be_written_is_said(folders):
    with pytest.raises(errors.InvalidInput, match="too long for the name of a file: shorten filename_prefix"):
        save(filename_prefix="x" * 300)
    folders.out.mkdir(exist_ok=True)
    (folders.out / "file").write_bytes(b"")
    with pytest.raises(errors.FileNotWritten, match="cannot be written"):
        save(filename_prefix="file/x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a file on a full disk, which Linux has")
def test_a_full_disk_leaves_nothing_half_written(folders, monkeypatch):
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: write(Path("/dev/full"), content))
    with pytest.raises(errors.FileNotWritten, match="No space left on device"):
        save()
    assert list(folders.out.iterdir()) == []


def test_outside_of_any_host_it_says_so():
    assert host.folders is None
    with pytest.raises(errors.InvalidInput, match="no input and output folders here"):
        save()


# -- loading


def write(folder, name="x.png", comment='{"c":"a cat","uc":"","steps":9,"seed":5,"size":"512x640","model":"m.ckpt"}', **more):
    """A picture with this comment, as Draw Things would have it."""
    chunks = PngInfo()
    chunks.add_itxt(xmp.PNG_KEYWORD, xmp.packet("", "Draw Things", comment))
    path = folder / "input" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), "red").save(path, pnginfo=chunks, **more)
    return path


def test_switches_leave_settings_to_generate(folders, tmp_path):
    write(
        tmp_path, comment='{"c":"","steps":9,"seed":5,"size":"512x640","model":"m.ckpt","v2":{"batchSize":2,"batchCount":3,"seedMode":1}}'
    )
    given = Options({"steps": 3, "sharpness": 1.0})
    everything = {
        "steps": 9,
        "seed": 5,
        "start_width": 512,
        "start_height": 640,
        "model": "m.ckpt",
        "seed_mode": SeedMode.torch_cpu_compatible,
    }
    *_, options, notes = call("DrawThingsLoadImage", image="x.png", options=given)
    assert options == {**everything, "sharpness": 1.0}
    assert (
        notes == "It is one of 2 that were made together from one seed (Torch CPU Compatible): for the same picture switch take_batch on."
    )
    *_, options, notes = call("DrawThingsLoadImage", image="x.png", take_model=False, take_size=False, take_seed=False, take_batch=True)
    assert options == {"steps": 9, "seed_mode": SeedMode.torch_cpu_compatible, "batch_size": 2, "batch_count": 3}
    assert notes == ""


def test_notes_say_what_could_not_be_read(folders, tmp_path):
    write(tmp_path, comment='{"c":"a cat","sampler":"Heun","v2":{"steps":8,"controls":[{"file":"c.ckpt"}],"warp":9}}')
    *_, prompt, _, options, notes = call("DrawThingsLoadImage", image="x.png")
    assert prompt == "a cat"
    assert set(options) == {"steps", "controls"}
    assert notes.splitlines() == [
        "warp is not a Draw Things setting and was ignored.",
        "sampler is 'Heun', which cannot be read. It was left out.",
        "It was made with c.ckpt, whose hint pictures are not in the file: connect each with a ControlNet Hint or Moodboard whose control is "
        "none.",
    ]


def test_pixels_are_those_of_comfyuis_load_image(folders, tmp_path):
    path = write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as picture:
        turned = Image.merge("RGBA", (*picture.split(), Image.linear_gradient("L").resize((6, 4))))
        turned.save(path, pnginfo=info_chunks(picture), exif=exif)
    image, mask, *_ = call("DrawThingsLoadImage", image="x.png")
    their_image, their_mask = stand_ins.bound(folders)["LoadImage"]().load("x.png")
    assert image.shape == (1, 6, 4, 3)
    assert torch.equal(image, their_image)
    assert torch.equal(mask, their_mask)


def info_chunks(picture):
    chunks = PngInfo()
    chunks.add_itxt(xmp.PNG_KEYWORD, picture.info[xmp.PNG_KEYWORD])
    return chunks


@pytest.mark.parametrize("name", ["../secret.png", "{outside}", "sub/../../secret.png", "none.png", "", ".", "a\0b"])
def test_nothing_outside_is_opened(folders, tmp_path, name):
    outside = write(tmp_path.parent / "elsewhere", "secret.png")
    name = name.format(outside=outside)
    node = load_node()
    assert node.VALIDATE_INPUTS(image=name) is not True
    with pytest.raises(errors.InvalidInput):
        call("DrawThingsLoadImage", image=name)


def load_node():
    return NODES["DrawThingsLoadImage"]


def test_a_file_written_anew_is_noticed(folders, tmp_path):
    node = load_node()
    path = write(tmp_path)
    first = node.IS_CHANGED(image="x.png", take_seed=True)
    assert node.IS_CHANGED(image="x.png") == first
    assert node.VALIDATE_INPUTS(image="x.png") is True
    assert node.VALIDATE_INPUTS() is True
    path.write_bytes(write(tmp_path, "y.png", comment='{"c":"dogs"}').read_bytes())
    assert node.IS_CHANGED(image="x.png") != first


def test_damaged_files_are_said(folders, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(errors.InvalidImage, match=r"'bad.png' cannot be read"):
        call("DrawThingsLoadImage", image="bad.png")
    write(tmp_path, comment='{"c": ')
    with pytest.raises(errors.MetadataError, match="not JSON"):
        call("DrawThingsLoadImage", image="x.png")


def fake_comfyui(monkeypatch, base):
    """ComfyUI's folder_paths as far as the node uses it; test_comfyui.py runs the real one."""
    paths = types.SimpleNamespace(
        get_input_directory=lambda: str(base / "input"),
        annotated_filepath=lambda name: (name[:-9], str(base / "output")) if name.endswith("[output]") else (name, None),
        filter_files_content_types=lambda names, kinds: [name for name in names if name.endswith(".png")],
    )
    monkeypatch.setitem(sys.modules, "folder_paths", paths)


def test_comfyuis_folders_are_offered_and_kept_to(tmp_path, monkeypatch):
    fake_comfyui(monkeypatch, tmp_path)
    assert host.input_pictures() == []
    write(tmp_path, "b.png")
    write(tmp_path, "a.png")
    (tmp_path / "input" / "c.txt").write_bytes(b"")
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "o.png").write_bytes((tmp_path / "input" / "a.png").read_bytes())
    assert load_node().INPUT_TYPES()["required"]["image"][0] == ["a.png", "b.png"]
    assert call("DrawThingsLoadImage", image="a.png")[2] == "a cat"
    assert call("DrawThingsLoadImage", image="o.png [output]")[2] == "a cat"
    (tmp_path / "secret.png").write_bytes(b"")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "sub/../../secret.png", "../input2/a.png", "", "a.png\0"):
        assert (
            load_node().VALIDATE_INPUTS(image=name)
            == f"The picture {short(name)} is not in ComfyUI's input folder: upload it, or choose another."
        )


# -- by drawthings-run


def graph(**inputs):
    return {
        "1": {"class_type": "DrawThingsLoadServer", "inputs": {"host": "127.0.0.1", "port": 7859, "tls": "auto", "secret": "demo"}},
        "2": {
            "class_type": "DrawThingsGenerate",
            "inputs": {
                "server": ["1", 0], "model": "sd_v1.5_f16.ckpt", "prompt": "a tree", "negative_prompt": "", "seed": 7, "width": 128,
                "height": 128, "steps": 2, "guidance": -1, "sampler": "recommended", "strength": 0.7, "batch_count": 2, "batch_size": 1,
                "fit": "crop", **inputs,
            },
        },
        "3": {
            "class_type": "DrawThingsSaveImage",
            "inputs": {"images": ["2", 0], "info": ["2", 2], "filename_prefix": "made", "compression": 4, "first_picture": 0},
        },
    }  # fmt: skip


def load_graph(name):
    loader = {"image": name, "take_model": True, "take_size": True, "take_seed": True, "take_batch": False}
    made = graph(prompt=["4", 2], negative_prompt=["4", 3], options=["4", 4], batch_count=1, seed=0, steps=9)
    return {**made, "4": {"class_type": "DrawThingsLoadImage", "inputs": loader}}


def test_the_runner_saves_lists_and_loads(guarded, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_DEMO", SECRET)

    def run(document, *flags):
        (tmp_path / "graph.json").write_text(json.dumps(document), encoding="utf-8")
        code = cli.main([str(tmp_path / "graph.json"), "--server", guarded.address, "--out", str(tmp_path / "out"), *flags])
        said = capsys.readouterr()
        assert code == 0, said.err
        return [Path(line.removeprefix("wrote ")) for line in said.out.splitlines() if line.startswith("wrote ")]

    written = run(graph())
    assert [path.name for path in written] == ["made_00001_.png", "made_00002_.png"]
    for path in written:
        assert SECRET.encode() not in path.read_bytes()
        texts = dict(data.split(b"\0", 1) for kind, data in chunks_of(path) if kind == b"tEXt")
        assert json.loads(texts[b"prompt"])["2"]["inputs"]["prompt"] == "a tree"
    assert [comment_in(path)["seed"] for path in written] == [7, 8]
    (again,) = run(load_graph("made_00002_.png"), "--input", str(tmp_path / "out"))
    assert np.array_equal(Image.open(again), Image.open(written[1]))
    assert {**comment_in(again)["v2"], "batchCount": 2} == comment_in(written[1])["v2"]
    assert host.folders is None


def test_the_runner_says_what_a_picture_lacks(guarded, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_DEMO", SECRET)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "graph.json").write_text(json.dumps(load_graph("plain.png")), encoding="utf-8")
    assert cli.main([str(tmp_path / "graph.json"), "--server", guarded.address, "--out", str(tmp_path / "out")]) == 5
    assert re.search(r"\(node 4\): The picture holds no Draw Things settings", capsys.readouterr().err)


def test_loras_and_controls_travel_in_the_options(server, simulator, folders):
    (loras,) = call("DrawThingsLoRAStack", lora_1="add_detail_v1.5_lora_f16.ckpt", weight_1=0.4)
    control = Control(file="controlnet_depth_1.x_v1.1_f16.ckpt", weight=0.8, guidance_end=0.6)
    images, _, info = call("DrawThingsGenerate", server=server, loras=loras, options=Options({"controls": (control,)}), **small(seed=3))
    save(images, info=info)
    *_, prompt, negative, options, notes = call("DrawThingsLoadImage", image="out/DrawThings_00001_.png")
    assert notes.startswith("It was made with controlnet_depth_1.x_v1.1_f16.ckpt, whose hint pictures are not in the file: connect each")
    call("DrawThingsGenerate", server=server, prompt=prompt, negative_prompt=negative, options=options)
    first, again = simulator.requests()
    assert again["configuration_sha256"] == first["configuration_sha256"]
    assert first["configuration"]["loras"][0]["file"] == "add_detail_v1.5_lora_f16.ckpt"


def test_a_picture_made_from_an_image_asks_for_it(server, simulator, folders):
    """Strength below 1, as image to image and Upscale send it; without the image Generate says that the strength is idle."""
    images, _, info = call("DrawThingsGenerate", server=server, image=torch.full((1, 192, 256, 3), 0.5), strength=0.4, **small(seed=3))
    save(images, info=info)
    *_, prompt, _, options, notes = call("DrawThingsLoadImage", image="out/DrawThings_00001_.png")
    assert notes.startswith("Its strength is 0.4: the image that it was made from is not in the file, so connect it")
    _, _, info = call("DrawThingsGenerate", server=server, model="sd_v1.5_f16.ckpt", prompt=prompt, options=options)
    assert simulator.requests()[-1]["configuration"]["strength"] == 1
    assert json.loads(info)["notes"] == ["Without effect while there is no image: Strength."]
    image = torch.full((1, 192, 256, 3), 0.5)
    again, _, info = call("DrawThingsGenerate", server=server, model="sd_v1.5_f16.ckpt", prompt=prompt, options=options, image=image)
    assert torch.equal(again, images)
    assert json.loads(info)["notes"] == []


def test_the_runner_names_what_counts_twice(guarded, tmp_path, capsys, monkeypatch):
    """A picture's settings hold its LoRA and its control: connected once more they are named, left out they give the same picture."""
    monkeypatch.setenv("DRAWTHINGS_SECRET_DEMO", SECRET)
    lora, control = "add_detail_v1.5_lora_f16.ckpt", "controlnet_depth_1.x_v1.1_f16.ckpt"
    Image.linear_gradient("L").save(tmp_path / "depth.png")

    def run(document):
        (tmp_path / "graph.json").write_text(json.dumps(document), encoding="utf-8")
        flags = ["--server", guarded.address, "--out", str(tmp_path)]
        assert cli.main([str(tmp_path / "graph.json"), *flags]) == 0
        said = capsys.readouterr()
        (written,) = [Path(line.removeprefix("wrote ")) for line in said.out.splitlines() if line.startswith("wrote ")]
        return written, said.out + said.err

    def connected(document, lora, control):
        hint = {"hint_type": "Depth", "control": control, "weight": 0.7, "start": 0.0, "end": 1.0, "mode": "Balanced", "image": ["6", 0]}
        slots = {f"lora_{slot}": "none" for slot in range(1, 6)} | {f"weight_{slot}": 0.5 for slot in range(1, 6)}
        slots |= {f"mode_{slot}": "All" for slot in range(1, 6)} | {"lora_1": lora}
        made = {
            **document,
            "5": {"class_type": "DrawThingsControlNetHint", "inputs": hint},
            "6": {"class_type": "LoadImage", "inputs": {"image": "depth.png"}},
            "7": {"class_type": "DrawThingsLoRAStack", "inputs": slots},
        }
        made["2"]["inputs"].update(hints=["5", 0], loras=["7", 0])
        return made

    first, said = run(connected(graph(batch_count=1), lora, control))
    assert "twice" not in said
    _, said = run(connected(load_graph(first.name), lora, control))
    for file, node in ((lora, "LoRA Stack"), (control, "the hints")):
        assert f"{file} is there twice, in the options and {node}, so it counts twice: remove one." in said
    again, said = run(connected(load_graph(first.name), "none", "none"))
    assert "twice" not in said
    assert np.array_equal(Image.open(again), Image.open(first))
