"""drawthings-run: both workflow formats, what ComfyUI's frontend does before it sends, stand-ins, exit codes, Ctrl-C."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core.errors import FileNotWritten
from comfyui_drawthings.drawthings_core.stages import Doing
from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS
from comfyui_drawthings.runner import cli, dynamic_prompt, media, overrides, stand_ins, workflow
from comfyui_drawthings.runner.progress import TerminalProgress
from comfyui_drawthings.runner.workflow import Link, WorkflowError
from conftest import SECRET
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

CLASSES = {**NODE_CLASS_MAPPINGS, **stand_ins.STAND_INS}
MODEL = "sd_v1.5_f16.ckpt"
LOADER = ["127.0.0.1", 7859, "auto", "", ""]


def generate_values(**changes):
    """widgets_values of Generate by name, small and quick."""
    values = {
        "model": MODEL,
        "prompt": "a tree",
        "negative_prompt": "",
        "seed": 7,
        "width": 128,
        "height": 128,
        "steps": 2,
        "guidance": -1,
        "sampler": "recommended",
        "strength": 0.7,
        "batch_count": 1,
        "batch_size": 1,
        "fit": "crop",
        "model_file": "",
    }
    return {**values, **changes}


def positional(values):
    """As saved: the seed is followed by its control."""
    found = []
    for name, value in values.items():
        found += [value, "randomize"] if name == "seed" else [value]
    return found


def node(number, kind, values=None, inputs=(), mode=0, outputs=(), **more):
    """inputs: (name, type, link) rows."""
    rows = [{"name": name, "type": type_, "link": link} for name, type_, link in inputs]
    return {"id": number, "type": kind, "mode": mode, "inputs": rows, "outputs": list(outputs), "widgets_values": values, **more}


def ui(*nodes, links=(), **more):
    return {"nodes": list(nodes), "links": [list(link) for link in links], "version": 0.4, **more}


def plain_ui(**changes):
    """Load Server -> Generate -> Save Image."""
    return ui(
        node(1, "DrawThingsLoadServer", LOADER),
        node(2, "DrawThingsGenerate", positional(generate_values(**changes)), [("server", "DT_SERVER", 1)]),
        node(3, "SaveImage", ["made"], [("images", "IMAGE", 2)]),
        links=[(1, 1, 0, 2, 0, "DT_SERVER"), (2, 2, 0, 3, 0, "IMAGE")],
    )


def plain_api(**changes):
    return {
        "1": {"class_type": "DrawThingsLoadServer", "inputs": {"host": "127.0.0.1", "port": 7859, "tls": "auto"}},
        "2": {"class_type": "DrawThingsGenerate", "inputs": {"server": ["1", 0], **generate_values(**changes)}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "made"}, "_meta": {"title": "Keep"}},
    }


def parsed(document):
    return workflow.parse(document, CLASSES, {})


def inputs_of(document, number):
    return dict(parsed(document).nodes[str(number)].inputs)


class Command:
    """drawthings-run in this process, against one simulator."""

    def __init__(self, folder, capsys, server=None, *flags):
        self.folder, self.capsys = folder, capsys
        self.flags = [*(["--server", server] if server else []), *flags]
        self.out = folder / "out"

    def __call__(self, document, *arguments):
        path = self.folder / "graph.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        code = cli.main([str(path), "--out", str(self.out), *self.flags, *arguments])
        captured = self.capsys.readouterr()
        self.said, self.complained = captured.out, captured.err
        return code

    @property
    def written(self):
        return [Path(line.removeprefix("wrote ")) for line in self.said.splitlines() if line.startswith("wrote ")]


@pytest.fixture
def run(tmp_path, capsys, simulator):
    return Command(tmp_path, capsys, simulator.address)


# -- formats


@pytest.mark.parametrize("document", [plain_ui(), plain_api(), {"prompt": plain_api()}], ids=["ui", "api", "posted"])
def test_run_writes_picture_and_says_seeds(run, document):
    assert run(document) == 0, run.complained
    (path,) = run.written
    assert path.name == "made_00001_.png"
    with Image.open(path) as picture:
        assert picture.size == (128, 128)
        assert json.loads(picture.info["prompt"])["2"]["inputs"]["seed"] == 7
        assert ("workflow" in picture.info) == ("nodes" in document)
    assert "node 2): 7\n" in run.said
    assert run.complained == ""


def test_run_again_counts_on(run):
    assert run(plain_api()) == run(plain_api()) == 0
    assert run.written[0].name == "made_00002_.png"


def test_both_formats_give_the_same_prompt():
    from_ui, from_api = parsed(plain_ui()).prompt(), parsed(plain_api()).prompt()
    for number in from_api:
        assert from_ui[number]["class_type"] == from_api[number]["class_type"]
        assert from_api[number]["inputs"].items() <= from_ui[number]["inputs"].items()


def test_schema_1_has_links_as_objects():
    document = plain_ui()
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    document |= {"version": 1, "links": [dict(zip(keys, link, strict=True)) for link in document["links"]]}
    assert parsed(document).prompt() == parsed(plain_ui()).prompt()


def test_widget_values_by_name():
    document = plain_ui()
    document["nodes"][1]["widgets_values"] = generate_values(steps=9)
    assert inputs_of(document, 2)["steps"] == 9


def test_value_after_seed_is_its_control():
    assert inputs_of(plain_ui(width=192), 2)["width"] == 192


def test_missing_widget_values_are_defaults():
    document = plain_ui()
    del document["nodes"][1]["widgets_values"][5:]
    inputs = inputs_of(document, 2)
    assert inputs["width"] == 0
    assert inputs["sampler"] == "recommended"
    assert inputs["model_file"] == ""


def test_api_list_value_comes_wrapped():
    document = plain_api()
    document["2"]["inputs"]["prompt"] = {"__value__": [1, 2]}
    assert inputs_of(document, 2)["prompt"] == [1, 2]


def test_byte_order_mark_is_read(run):
    assert run("\ufeff" + json.dumps(plain_api())) == 0


# -- what the frontend does


def test_reroutes_are_followed():
    document = plain_ui()
    document["nodes"] += [node(8, "Reroute", None, [("", "*", 2)]), node(9, "Reroute", None, [("", "*", 3)])]
    document["links"] = [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 8, 0, "*"], [3, 8, 0, 9, 0, "*"], [4, 9, 0, 3, 0, "IMAGE"]]
    document["nodes"][2]["inputs"][0]["link"] = 4
    assert inputs_of(document, 3)["images"] == Link("2", 0)
    assert set(parsed(document).nodes) == {"1", "2", "3"}


def test_primitive_gives_its_value_through_a_reroute():
    document = plain_ui()
    document["nodes"] += [node(7, "PrimitiveNode", [4242, "increment"]), node(8, "Reroute", None, [("", "*", 5)])]
    document["links"] += [[5, 7, 0, 8, 0, "INT"], [6, 8, 0, 2, 4, "INT"]]
    document["nodes"][1]["inputs"].append({"name": "seed", "type": "INT", "link": 6, "widget": {"name": "seed"}})
    assert inputs_of(document, 2)["seed"] == 4242


def test_notes_are_left_out():
    document = plain_ui()
    document["nodes"] += [node(8, "Note", ["read me"]), node(9, "MarkdownNote", ["# read me"])]
    assert set(parsed(document).nodes) == {"1", "2", "3"}


def with_loras(mode):
    """Generate takes LoRAs from a stack (5) that continues another one (4)."""
    document = plain_ui()
    stack = [value for slot in range(5) for value in ("none", 1.0, "All")] + [""]
    document["nodes"] += [
        node(4, "DrawThingsLoRAStack", ["first.ckpt", *stack[1:]]),
        node(5, "DrawThingsLoRAStack", ["second.ckpt", *stack[1:]], [("loras", "DT_LORAS", 4)], mode=mode),
    ]
    document["links"] += [[4, 4, 0, 5, 0, "DT_LORAS"], [5, 5, 0, 2, 1, "DT_LORAS"]]
    document["nodes"][1]["inputs"].append({"name": "loras", "type": "DT_LORAS", "link": 5})
    return document


def test_bypassed_node_hands_on_the_same_type():
    assert inputs_of(with_loras(mode=4), 2)["loras"] == Link("4", 0)


def test_bypassed_node_without_such_an_input_gives_nothing():
    document = with_loras(mode=0)
    document["nodes"][3]["mode"] = 4
    assert "loras" not in inputs_of(document, 5)


def test_muted_node_gives_nothing():
    document = with_loras(mode=2)
    assert "loras" not in inputs_of(document, 2)
    assert "5" not in parsed(document).nodes


def test_output_whose_source_is_muted_is_left_out_and_others_run(run):
    document = plain_ui()
    second = copy.deepcopy(document["nodes"][1:])
    for row, number in zip(second, (12, 13), strict=True):
        row["id"] = number
    second[0]["inputs"][0]["link"], second[1]["inputs"][0]["link"], second[0]["mode"] = 11, 12, 2
    document["nodes"] += second
    document["links"] += [[11, 1, 0, 12, 0, "DT_SERVER"], [12, 12, 0, 13, 0, "IMAGE"]]
    assert run(document) == 2
    assert len(run.written) == 1
    assert "'images' of Save Image (node 13) is missing" in run.complained


def test_unknown_type_is_told_unless_muted(run):
    document = plain_ui()
    document["nodes"].append(node(9, "FancyUpscaler", [], title="My upscaler"))
    assert run(document) == 2
    assert "My upscaler (node 9)" in run.complained
    assert "'FancyUpscaler'" in run.complained
    document["nodes"][-1]["mode"] = 2
    assert run(document) == 0


def subgraphed(own_values=None, proxies=None):
    """Generate inside a subgraph; the server and the seed come from outside."""
    document = plain_ui()
    inner = document["nodes"][1]
    inner["inputs"] = [
        {"name": "server", "type": "DT_SERVER", "link": 1},
        {"name": "seed", "type": "INT", "link": 2, "widget": {"name": "seed"}},
    ]
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    inner_links = [(1, -10, 0, 2, 0, "DT_SERVER"), (2, -10, 1, 2, 1, "INT"), (3, 2, 0, -20, 0, "IMAGE")]
    definition = {
        "id": "aaaa-bbbb",
        "name": "My generator",
        "nodes": [inner],
        "links": [dict(zip(keys, link, strict=True)) for link in inner_links],
        "inputs": [{"name": "server", "type": "DT_SERVER"}, {"name": "seed", "type": "INT"}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE"}],
    }
    instance = node(5, "aaaa-bbbb", own_values, [("server", "DT_SERVER", 1), ("seed", "INT", None)])
    instance["inputs"][1]["widget"] = {"name": "seed"}
    if proxies:
        instance["properties"] = {"proxyWidgets": proxies}
    document["nodes"][1] = instance
    document["links"] = [[1, 1, 0, 5, 0, "DT_SERVER"], [2, 5, 0, 3, 0, "IMAGE"]]
    return document | {"definitions": {"subgraphs": [definition]}}


@pytest.mark.parametrize(
    ("document", "seed"),
    [
        (subgraphed(), 7),
        (subgraphed([]), 7),
        (subgraphed([99]), 99),
        (subgraphed([55], [["2", "seed"]]), 55),
    ],
)
def test_subgraph_is_expanded(document, seed):
    graph = parsed(document)
    assert set(graph.nodes) == {"1", "5:2", "3"}
    assert graph.nodes["3"].inputs["images"] == Link("5:2", 0)
    assert graph.nodes["5:2"].inputs["server"] == Link("1", 0)
    assert graph.nodes["5:2"].inputs["seed"] == seed


def test_muted_subgraph_takes_its_nodes_along():
    document = subgraphed()
    document["nodes"][1]["mode"] = 2
    assert set(parsed(document).nodes) == {"1", "3"}


def test_subgraph_in_an_unknown_form_says_what_to_do():
    with pytest.raises(WorkflowError, match="API format"):
        parsed(subgraphed([1, 2, 3]))


def test_group_node_says_what_to_do():
    document = plain_ui()
    document["nodes"].append(node(9, "workflow>mine"))
    with pytest.raises(WorkflowError, match="API format"):
        parsed(document)


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("a {red|blue} car", {"a red car", "a blue car"}),
        ("{a|{b|c}} d", {"a d", "b d", "c d"}),
        (r"\{not|this\}", {"{not|this}"}),
        ("one // comment\ntwo /* and\nthis */ three", {"one \ntwo  three"}),
        ("open {a|b", {"open a", "open b"}),
        ("", {""}),
    ],
)
def test_dynamic_prompt(text, results):
    assert {dynamic_prompt.resolve(text, random.Random(number)) for number in range(40)} == results


@pytest.mark.parametrize("text", ["{", "/*", "{a|", "/*/", "\\", "}", "|"])
def test_many_of_one_sign_are_no_trouble(text):
    """One pass: each sign used to begin another one over the rest, and another level of recursion."""
    dynamic_prompt.resolve(text * 100_000, random.Random(0))


# -- wrong workflows


def test_subgraphs_that_double_are_refused_before_they_fill_the_memory():
    """Twenty that hold two of the next would be a million nodes."""
    levels = [
        {"id": f"level {number}", "nodes": [node(inner, f"level {number + 1}") for inner in (1, 2)], "links": []} for number in range(20)
    ]
    with pytest.raises(WorkflowError, match="more than 20000 nodes"):
        parsed(ui(node(1, "level 0")) | {"definitions": {"subgraphs": levels}})


def test_a_deep_value_is_refused_before_it_is_written_again():
    document = plain_ui()
    document["extra"] = json.loads("[" * 400 + "]" * 400)
    with pytest.raises(WorkflowError, match="nested too deeply"):
        parsed(document)
    document["extra"] = json.loads("[" * 100 + "]" * 100)
    parsed(document)


def test_sentences_about_long_titles_are_short():
    document = plain_ui()
    document["nodes"][1] |= {"title": "x" * 100_000, "type": "y" * 100_000}
    with pytest.raises(WorkflowError, match="does not exist here") as error:
        parsed(document)
    assert len(str(error.value)) < 1000


def broken(change):
    document = plain_api()
    change(document)
    return document


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (broken(lambda d: d["2"]["inputs"].pop("server")), ["'server'", "node 2", "missing"]),
        (broken(lambda d: d["2"]["inputs"].pop("steps")), ["'steps'", "node 2", "missing"]),
        (broken(lambda d: d["2"]["inputs"].update(server=["77", 0])), ["'server'", "node 77"]),
        (broken(lambda d: d["2"]["inputs"].update(server=["1", 4])), ["'server'", "output 4"]),
        (broken(lambda d: d["2"]["inputs"].update(server=["1", 0], image=["1", 0])), ["'image'", "DT_SERVER"]),
        (broken(lambda d: d["2"]["inputs"].update(server=5)), ["'server'", "connect it"]),
        (broken(lambda d: d["2"]["inputs"].update(steps=-4)), ["'steps'", "-4"]),
        (broken(lambda d: d["2"]["inputs"].update(guidance="lots")), ["'guidance'", "FLOAT"]),
        (broken(lambda d: d["2"]["inputs"].update(guidance=float("nan"))), ["'guidance'", "nan"]),
        (broken(lambda d: d["2"]["inputs"].update(sampler="Magic")), ["'sampler'", "Magic"]),
        (broken(lambda d: d["2"]["inputs"].update(image=["3", 0])), ["'image'", "output 0"]),
        (broken(lambda d: d.pop("3")), ["Save Image"]),
        ({}, ["not a ComfyUI workflow"]),
        ([], ["not a ComfyUI workflow"]),
        ({"nodes": []}, ["no Load Server"]),
        ({"nodes": [{"id": 1}]}, ["damaged"]),
        ("{", ["not a JSON file"]),
        ("[" * 100_000, ["not a JSON file"]),
    ],
)
def test_workflow_that_cannot_run(run, document, words):
    assert run(document) == 2
    for word in words:
        assert word in run.complained
    assert "Traceback" not in run.complained
    assert run.complained.count("\n") == 1


def test_cycle_is_told(run):
    document = plain_api()
    for number, source in (("4", "5"), ("5", "4")):
        document[number] = {"class_type": "DrawThingsLoRAStack", "inputs": {"loras": [source, 0]}}
    document["2"]["inputs"]["loras"] = ["4", 0]
    assert run(document) == 2
    assert "circle" in run.complained


def test_reroute_circle_is_told():
    document = plain_ui()
    document["nodes"] += [node(8, "Reroute", None, [("", "*", 9)]), node(9, "Reroute", None, [("", "*", 8)])]
    document["links"] += [[8, 8, 0, 9, 0, "*"], [9, 9, 0, 8, 0, "*"]]
    document["nodes"][2]["inputs"][0]["link"] = 8
    with pytest.raises(WorkflowError, match="circle"):
        parsed(document)


def test_missing_link_is_told():
    document = plain_ui()
    del document["links"][1]
    with pytest.raises(WorkflowError, match="link 2 into the input 'images'"):
        parsed(document)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _places(value, path=()):
    yield path
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in rows:
        yield from _places(inner, (*path, key))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), value=JSON_VALUES, start=st.sampled_from([plain_ui(), plain_api(), subgraphed()]))
def test_damaged_file_is_an_error_of_ours(data, value, start):
    """Any value in any place is either still a workflow or a WorkflowError."""
    document = copy.deepcopy(start)
    path = data.draw(st.sampled_from(list(_places(document))))
    if not path:
        document = value
    else:
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
    with contextlib.suppress(WorkflowError):
        parsed(document)


# -- command line


def test_set_by_id_title_and_type(run, simulator):
    assert run(plain_api(), "--set", "2.seed=31", "--set", "DrawThingsGenerate.prompt=a=b.c", "--set", "Keep.filename_prefix=sub/x") == 0
    assert run.written[0].relative_to(run.out).as_posix() == "sub/x_00001_.png"
    assert "): 31\n" in run.said
    assert simulator.requests()[-1]["prompt"] == "a=b.c"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nine.seed=1", ["no node 'nine'", "2 (Generate (Draw Things))"]),
        ("2.sed=1", ["'sed'", "seed"]),
        ("2.server=1", ["'server'"]),
        ("2.steps=many", ["'steps'", "INT"]),
        ("2.fit=bend", ["'fit'", "bend"]),
    ],
)
def test_set_that_cannot_be(run, setting, words):
    assert run(plain_api(), "--set", setting) == 2
    for word in words:
        assert word in run.complained


def test_set_with_two_candidates_asks_for_the_id():
    graph = workflow.parse({**plain_api(), "9": plain_api()["3"]}, CLASSES, {})
    with pytest.raises(WorkflowError, match="node 3 or node 9"):
        overrides.apply(graph, [overrides.parse_setting("Keep.filename_prefix=x")], CLASSES)


@pytest.mark.parametrize("arguments", [["--set", "nonsense"], ["--server", "a b"], ["--tls", "maybe"], []])
def test_wrong_usage_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as exited:
        cli.main([*(["w.json"] if arguments else []), *arguments])
    assert exited.value.code == 2


def test_help_names_every_exit_code(capsys):
    with pytest.raises(SystemExit) as exited:
        cli.main(["--help"])
    assert exited.value.code == 0
    said = capsys.readouterr().out
    for code in (0, 1, *(row[0] for row in cli.EXIT_CODES)):
        assert f"\n  {code:3}  " in said


# -- exit codes


def test_no_such_workflow_exits_2(capsys, tmp_path):
    assert cli.main([str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_no_server_exits_3(tmp_path, capsys):
    run = Command(tmp_path, capsys, "127.0.0.1:1")
    assert run(plain_api()) == 3
    assert "127.0.0.1:1" in run.complained
    assert run.complained.count("\n") == 1


def test_tls_mismatch_exits_3(tmp_path, capsys, guarded):
    assert Command(tmp_path, capsys, guarded.address, "--tls", "plain")(plain_api()) == 3


def test_ca_file_is_trusted(tmp_path, capsys, guarded, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_OURS", SECRET)
    root = tmp_path / "root.pem"
    root.write_text(guarded.root_certificate)
    run = Command(tmp_path, capsys, guarded.address, "--ca-file", str(root), "--secret", "ours")
    assert run(plain_api()) == 0, run.complained


def test_wrong_secret_exits_4(tmp_path, capsys, guarded, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_OURS", "wrong")
    assert Command(tmp_path, capsys, guarded.address, "--secret", "ours")(plain_api()) == 4
    assert Command(tmp_path, capsys, guarded.address)(plain_api()) == 4


def test_secret_never_shows(tmp_path, capsys, guarded, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_OURS", SECRET)
    run = Command(tmp_path, capsys, guarded.address, "--secret", "ours")
    assert run(plain_ui(), "--debug") == 0
    assert SECRET not in run.said + run.complained
    assert SECRET.encode() not in run.written[0].read_bytes()


def test_unsaved_secret_exits_2(tmp_path, capsys, guarded):
    assert Command(tmp_path, capsys, guarded.address, "--secret", "nobody")(plain_api()) == 2


def test_model_that_is_not_there_exits_5(run):
    assert run(plain_api(model="sd_v1.5_f61.ckpt")) == 5
    assert "did you mean" in run.complained
    assert "node 2" in run.complained


def test_server_failure_exits_6(run, simulator):
    simulator.set_fault("empty_result", None, 1)
    assert run(plain_api()) == 6
    assert "without an image" in run.complained


def test_debug_shows_the_traceback(run):
    assert run(plain_api(model="sd_v1.5_f61.ckpt"), "--debug") == 5
    assert "Traceback" in run.complained


def test_full_disk_exits_1(run, tmp_path):
    run.out = tmp_path / "file"
    run.out.write_text("in the way")
    assert run(plain_api()) == 1
    assert "Traceback" not in run.complained
    assert "The file made cannot be written (its folder " in run.complained
    assert "Errno" not in run.complained


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_what_is_half_written_is_removed(tmp_path):
    """A link to a full disk stands for one."""
    folders = stand_ins.Folders((), tmp_path)
    path = tmp_path / "made_00001_.wav"
    path.symlink_to("/dev/full")
    with pytest.raises(FileNotWritten, match=r"made_00001_\.wav cannot be written .No space left on device"), folders.writing(path):
        media.write_wav(path, np.zeros((2, 100_000), np.float32), 48000)
    assert (folders.written, list(tmp_path.iterdir())) == ([], [])


def test_what_a_node_shows_is_printed(run):
    document = plain_api()
    document["4"] = {"class_type": "PreviewAny", "inputs": {"source": ["2", 2]}}
    assert run(document) == 0, run.complained
    assert "shown by Preview Any (node 4):\n  {\n" in run.said


# -- pictures


def with_picture(name, kind="LoadImage", **inputs):
    """Image to image from a picture of that name."""
    document = plain_api()
    document["4"] = {"class_type": kind, "inputs": {"image": name, **inputs}}
    document["2"]["inputs"]["image"] = ["4", 0]
    return document


def test_picture_beside_the_workflow_and_in_its_input_folder_and_given(run, tmp_path, simulator):
    for folder, name in ((tmp_path, "a.png"), (tmp_path / "input", "b.png"), (tmp_path / "given", "c.png")):
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (128, 128), "red").save(folder / name)
    for name in ("a.png", "b.png [input]", "c.png", str(tmp_path / "given" / "c.png")):
        assert run(with_picture(name), "--input", str(tmp_path / "given")) == 0, run.complained
    assert len(simulator.requests()) == 4


@pytest.mark.parametrize("name", ["../secret.png", "{outside}", "sub/../../secret.png", "link.png", "none.png", "", ".", "a\0b"])
def test_picture_outside_is_never_opened(run, tmp_path, name):
    outside = tmp_path.parent / "secret.png"
    Image.new("RGB", (64, 64)).save(outside)
    (tmp_path / "link.png").symlink_to(outside)
    assert run(with_picture(name.format(outside=outside))) == 2
    assert "node 4" in run.complained


def test_damaged_picture_exits_2(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert run(with_picture("bad.png")) == 2
    assert "'bad.png'" in run.complained


@pytest.mark.parametrize("prefix", ["../up", "/etc/up", "a/../../up", "a\0b", "half \ud800"])
def test_output_outside_the_folder_is_refused(run, prefix):
    document = plain_api()
    document["3"]["inputs"]["filename_prefix"] = prefix
    assert run(document) == 2
    assert run.written == []


def test_a_name_longer_than_any_file_s_is_said(run):
    document = plain_api()
    document["3"]["inputs"]["filename_prefix"] = "x" * 5000
    assert run(document) == 1
    assert "cannot be written" in run.complained
    assert run.written == []


def test_half_a_character_in_a_title_is_printed_somehow(run):
    document = plain_api()
    document["2"]["_meta"] = {"title": "half \ud800"}
    assert run(document) == 0
    assert "half \\ud800" in run.said


def test_output_names_are_filled_as_comfyuis_page_does(run):
    """A date, and inputs of other nodes by type or title."""
    document = plain_api()
    document["2"]["_meta"] = {"title": "Mine"}
    document["3"]["inputs"]["filename_prefix"] = "%date:yyyy%/%DrawThingsGenerate.seed% %Mine.prompt% %width%"
    assert run(document) == 0
    (path,) = run.written
    assert path.name == "7 a tree 128_00001_.png"
    assert path.parent == run.out / time.strftime("%Y")


@pytest.mark.parametrize("prefix", ["made", "made %batch_num%"])
def test_a_batch_counts_on_and_overwrites_nothing(tmp_path, prefix):
    folders = stand_ins.Folders((tmp_path,), tmp_path)
    save = stand_ins.bound(folders)["SaveImage"]().save
    for _ in range(2):
        save(torch.zeros(3, 8, 8, 3), prefix)
    save(torch.zeros(1, 8, 8, 3), prefix)
    names = [path.name for path in folders.written]
    assert len(set(names)) == 7
    if prefix == "made":
        assert names == [f"made_{number:05}_.png" for number in range(1, 8)]
    else:  # ComfyUI's counter does not see these names either, and goes on within a batch
        assert names[:3] == ["made 0_00001_.png", "made 1_00002_.png", "made 2_00003_.png"]


def test_videos_and_sounds_have_filled_names_too(tmp_path):
    folders = stand_ins.Folders((tmp_path,), tmp_path)
    nodes = stand_ins.bound(folders)
    prompt = {"2": {"class_type": "DrawThingsVideo", "inputs": {"seed": 5}}}
    video = media.Video(torch.zeros(2, 8, 8, 3), None, 8.0)
    nodes["SaveVideo"]().save(video, "v %DrawThingsVideo.seed%", "auto", "auto", prompt=prompt)
    sound = {"waveform": torch.zeros(2, 1, 100), "sample_rate": 8000}
    nodes["SaveAudio"]().save(sound, "a %DrawThingsVideo.seed%", prompt=prompt)
    assert [path.name for path in folders.written] == ["v 5_00001_.webp", "a 5_00001_.wav", "a 5_00002_.wav"]


def test_preview_goes_into_temp(run):
    document = plain_api()
    document["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    assert run(document) == 0
    assert run.written[0].parent == run.out / "temp"


def loaded(folder, name="x.png", kind="LoadImage", **inputs):
    made = stand_ins.bound(stand_ins.Folders((folder,), folder))[kind]()
    return [tensor.numpy() for tensor in made.load(name, **inputs)]


def test_load_image_without_alpha_has_a_small_empty_mask(tmp_path):
    Image.new("RGB", (10, 20), (255, 0, 51)).save(tmp_path / "x.png")
    image, mask = loaded(tmp_path)
    assert image.shape == (1, 20, 10, 3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[0, 0, 0], [1, 0, 0.2], atol=1e-6)
    assert mask.shape == (1, 64, 64)
    assert not mask.any()


def test_load_image_mask_is_one_minus_alpha(tmp_path):
    Image.new("RGBA", (8, 8), (10, 20, 30, 51)).save(tmp_path / "x.png")
    _, mask = loaded(tmp_path)
    np.testing.assert_allclose(mask, np.full((1, 8, 8), 0.8), atol=1e-6)


def test_load_image_palette_with_transparency(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / "x.png", transparency=1)
    _, mask = loaded(tmp_path)
    assert (mask == 1).all()


def test_load_image_turns_as_exif_says(tmp_path):
    picture = Image.new("RGB", (30, 10))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "x.jpg", exif=exif)
    image, _ = loaded(tmp_path, "x.jpg")
    assert image.shape == (1, 30, 10, 3)


def test_load_image_gives_every_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    image, mask = loaded(tmp_path, "x.gif")
    assert image.shape == (3, 4, 6, 3)
    assert len(mask) == 3


@pytest.mark.parametrize(("channel", "value"), [("red", 0.2), ("green", 0.4), ("blue", 0.6), ("alpha", 0.8)])
def test_load_image_mask_reads_its_channel(tmp_path, channel, value):
    Image.new("RGBA", (8, 8), (51, 102, 153, 51)).save(tmp_path / "x.png")
    (mask,) = loaded(tmp_path, kind="LoadImageMask", channel=channel)
    np.testing.assert_allclose(mask, np.full((1, 8, 8), value), atol=1e-6)


def test_saved_picture_keeps_all_levels(tmp_path):
    import torch

    levels = torch.arange(256, dtype=torch.float32).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3) / 255
    folders = stand_ins.Folders((tmp_path,), tmp_path)
    stand_ins.bound(folders)["SaveImage"]().save(levels, "%width%_levels")
    assert folders.written[0].name == "16_levels_00001_.png"
    saved = np.asarray(Image.open(folders.written[0]))
    np.testing.assert_array_equal(saved[..., 0].ravel(), np.arange(256))


def test_inpaint_mask_of_an_example_reaches_the_server(run, tmp_path, simulator):
    Image.new("RGB", (128, 128), "red").save(tmp_path / "a.png")
    mask = Image.new("L", (128, 128))
    mask.paste(255, (0, 0, 64, 128))
    mask.save(tmp_path / "m.png")
    document = with_picture("a.png")
    document["5"] = {"class_type": "LoadImageMask", "inputs": {"image": "m.png", "channel": "red"}}
    document["2"]["class_type"] = "DrawThingsInpaint"
    document["2"]["inputs"]["mask"] = ["5", 0]
    assert run(document) == 0, run.complained
    with Image.open(run.written[0]) as picture:
        assert picture.convert("RGB").getpixel((120, 100)) == (255, 0, 0)


# -- running


def test_independent_nodes_run_side_by_side(run, simulator):
    document = plain_api()
    document["12"], document["13"] = copy.deepcopy(document["2"]), copy.deepcopy(document["3"])
    document["12"]["inputs"]["seed"] = 70
    document["13"]["inputs"] |= {"images": ["12", 0], "filename_prefix": "other"}
    assert run(document) == 0
    assert {path.name for path in run.written} == {"made_00001_.png", "other_00001_.png"}
    assert "): 7\n" in run.said
    assert "): 70\n" in run.said


def test_failing_node_ends_the_others(run, simulator):
    simulator.set("step_seconds", 0.5)
    document = plain_api(steps=60)
    document["12"], document["13"] = copy.deepcopy(document["2"]), copy.deepcopy(document["3"])
    document["12"]["inputs"]["model"] = "no_such_model.ckpt"
    document["13"]["inputs"]["images"] = ["12", 0]
    started = time.monotonic()
    assert run(document) == 5
    assert "no_such_model.ckpt" in run.complained
    assert time.monotonic() - started < 10
    simulator.wait_until(running=0, queued=0)


def test_notes_of_a_node_are_told(run):
    assert run(plain_api(model="flux_1_dev_q8p.ckpt", sampler="Euler A")) == 0
    assert "note on " in run.complained


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_ctrl_c_stops_the_server_and_exits_130(tmp_path, simulator, sent):
    simulator.set("step_seconds", 1.0)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(plain_api(steps=100)))
    command = [sys.executable, "-m", "comfyui_drawthings.runner", str(path), "--server", simulator.address, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        simulator.wait_until(30, running=1)
        started = time.monotonic()
        process.send_signal(sent)
        out, complained = process.communicate(timeout=20)
    assert process.returncode == 130, complained
    assert time.monotonic() - started < 5
    assert "Interrupted" in complained
    assert "Traceback" not in complained
    assert out == ""
    simulator.wait_until(5, running=0, queued=0)


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_does_not_wait_for_a_silent_server(tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(plain_api()))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "comfyui_drawthings.runner", str(path), "--server", f"127.0.0.1:{silent.getsockname()[1]}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(30)
            connection, _ = silent.accept()  # it takes the call and says nothing
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, complained = process.communicate(timeout=20)
            connection.close()
    assert process.returncode == 130, complained
    assert time.monotonic() - started < 3


def test_module_runs_as_a_command(tmp_path, simulator):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(plain_ui()))
    command = [sys.executable, "-m", "comfyui_drawthings.runner", str(path), "--server", simulator.address, "--out", "results"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "results" / "made_00001_.png").is_file()


def test_a_pool_has_a_line_for_each_server_below_the_bar(capsys):
    """All of it in one would be cut off at the width of a terminal."""
    shown = TerminalProgress({"4": "Generate"}, always=True)
    busy = tuple((server, Doing("sampling", {"step": step, "steps": 20})) for server, step in (("mac", 3), ("gpu", 12)))
    shown.progress("4", 15, 84, None)
    shown.say("4", Doing("shared", {"done": 1, "runs": 4}, parts=busy))
    told = capsys.readouterr().err
    assert ", 1 of 4 done]" in told
    assert "\n\r  mac: Step 3 of 20" in told
    assert "\n\n\r  gpu: Step 12 of 20" in told
    shown.say("4", Doing("shared", {"done": 2, "runs": 4}, parts=busy[1:]))
    assert "\n\r  gpu: Step 12 of 20" in capsys.readouterr().err  # moved up
    shown.say("4", None)
    shown.close()
    assert "gpu" not in capsys.readouterr().err
