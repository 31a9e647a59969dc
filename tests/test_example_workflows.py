"""Each example runs, is what its script makes, and can be read as a graph."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS
from comfyui_drawthings.runner import cli, stand_ins
from conftest import SECRET
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "example_workflows"
EXAMPLES = sorted(FOLDER.glob("*.json"))
NOTES = {"Note", "MarkdownNote"}
SAID = {
    "prompt_words": [
        "Textual inversions act where the Draw Things app is the server; gRPCServerCLI reads <easynegative> as ordinary words."
    ]
}
"""What is always said about an example, by its name."""

TITLE_HEIGHT = 30
LARGEST_PICTURE = 150_000

each = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def maker():
    return script("make_examples")


def script(name):
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


def test_every_node_is_in_an_example():
    used = {node["type"] for path in EXAMPLES for node in read(path)["nodes"]}
    assert used >= NODE_CLASS_MAPPINGS.keys()


def test_committed_files_are_what_the_script_gives(maker, tmp_path):
    assert maker.stale(tmp_path) == {}


@each
def test_example_runs(path, tmp_path, capsys, guarded, monkeypatch):
    """Over TLS, with the secret and compressed answers, as committed but for the address."""
    demo = script("demo")
    monkeypatch.setenv("DRAWTHINGS_SECRET_DEMO", SECRET)
    monkeypatch.setenv("DRAWTHINGS_UPLOADS", str(tmp_path / "uploads"))
    demo.make_upload(tmp_path / "uploads")
    uploads = demo.uploads_of(read(path))
    code = cli.main([str(path), "--server", guarded.address, "--secret", "demo", "--out", str(tmp_path), *uploads])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert [line.partition(": ")[2] for line in captured.err.splitlines()] == SAID.get(path.stem, [])
    assert SECRET not in captured.out
    generating = next(iter(demo.models_of(read(path))), None)
    if generating is None:
        assert "shown by " in captured.out
        assert [call["kept"] for call in guarded.requests("UploadFile")] == [True] * bool(uploads)
        (guarded.models_directory / demo.UPLOADED).unlink(missing_ok=True)
        return
    saved = [file for file in tmp_path.iterdir() if file.suffix in (".png", ".webp")]
    assert saved
    for file in saved:
        with Image.open(file) as picture:
            assert workflow_in(picture)["id"] == read(path)["id"]
            assert np.asarray(picture).std() > 5
    assert f"(node {generating}): " in captured.out
    assert len(guarded.requests()) == (4 if path.stem == "server_pool" else 1)


def workflow_in(picture):
    """As ComfyUI reads it from a PNG, and from a WebP."""
    if "workflow" in picture.info:
        return json.loads(picture.info["workflow"])
    return json.loads(picture.getexif()[0x010F].removeprefix("workflow:"))


@each
def test_example_names_existing_nodes_and_inputs(path):
    classes = {**NODE_CLASS_MAPPINGS, **stand_ins.STAND_INS}
    for node in read(path)["nodes"]:
        if node["type"] in NOTES:
            continue
        declared = classes[node["type"]].INPUT_TYPES()
        assert {given["name"] for given in node["inputs"]} == declared["required"].keys() | declared.get("optional", {}).keys()


@each
def test_example_has_a_note_and_no_secret(path):
    nodes = read(path)["nodes"]
    assert any(node["type"] in NOTES and len(node["widgets_values"][0]) > 80 for node in nodes)
    loaders = [node for node in nodes if node["type"] == "DrawThingsLoadServer"]
    assert len(loaders) == (2 if path.stem == "server_pool" else 1)
    assert all(loader["widgets_values"][:4] == ["127.0.0.1", 7859, "auto", ""] for loader in loaders)


@each
def test_links_agree_with_both_ends(path):
    document = read(path)
    nodes = {node["id"]: node for node in document["nodes"]}
    for number, source, slot, target, target_slot, kind in document["links"]:
        output, given = nodes[source]["outputs"][slot], nodes[target]["inputs"][target_slot]
        assert number in output["links"]
        assert given["link"] == number
        assert output["type"] == kind
        assert given["type"] in (kind, "*")
    linked = [given["link"] for node in nodes.values() for given in node["inputs"] if given["link"] is not None]
    assert sorted(linked) == [link[0] for link in document["links"]]


def box(node):
    """left, top, right, bottom with the title bar."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_HEIGHT, x + width, y + height


@each
def test_nothing_overlaps(path):
    for one, other in itertools.combinations(read(path)["nodes"], 2):
        a, b = box(one), box(other)
        apart = a[2] + 10 <= b[0] or b[2] + 10 <= a[0] or a[3] + 10 <= b[1] or b[3] + 10 <= a[1]
        assert apart, f"{one['title']} and {other['title']}"


@each
def test_links_run_left_to_right_or_down(path):
    document = read(path)
    nodes = {node["id"]: node for node in document["nodes"]}
    for _, source, _, target, *_ in document["links"]:
        a, b = box(nodes[source]), box(nodes[target])
        assert b[0] >= a[2] or (b[0] == a[0] and b[1] > a[3])


@each
def test_pictures_that_an_example_loads_are_there(path):
    for node in read(path)["nodes"]:
        if node["type"] in ("LoadImage", "LoadImageMask", "DrawThingsLoadImage"):
            assert (FOLDER / "input" / node["widgets_values"][0]).is_file()


@each
def test_example_has_a_thumbnail(path):
    """What ComfyUI's template browser shows beside its name."""
    thumbnail = path.with_suffix(".jpg")
    assert thumbnail.stat().st_size <= script("_thumbnails").LARGEST
    with Image.open(thumbnail) as picture:
        assert (picture.format, picture.size) == ("JPEG", script("_thumbnails").SIZE)
        assert np.asarray(picture.convert("L")).std() > 5


def test_pictures_are_small():
    pictures = list((FOLDER / "input").glob("*.png"))
    assert pictures
    assert all(picture.stat().st_size < LARGEST_PICTURE for picture in pictures)
