"""The package inside a real ComfyUI, with the simulator beside it.

Runs when COMFYUI_DIR names a ComfyUI checkout (COMFYUI_PYTHON its interpreter, this one by default); skipped otherwise.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfyui_drawthings
import comfyui_process
import pytest
from comfyui_drawthings.drawthings_core import metadata
from comfyui_process import COMFYUI_DIR, FOLDER, ROOT
from conftest import SECRET
from PIL import Image

EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))

pytestmark = pytest.mark.skipif(not COMFYUI_DIR, reason="needs a real ComfyUI: set COMFYUI_DIR to its checkout (and COMFYUI_PYTHON)")

websockets = pytest.importorskip("websockets.sync.client", reason="needs the websockets package")


class ComfyUI(comfyui_process.ComfyUI):
    """One that can be driven as a browser does."""

    def run(self, prompt: dict[str, Any], seconds: float = 60, on_event=lambda event: None) -> Run:
        """Queue a prompt and watch it to its end, as a browser does."""
        client_id = uuid.uuid4().hex
        with websockets.connect(f"ws://{self.address}/ws?clientId={client_id}", max_size=None) as socket_:
            socket_.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            started = self.post("/prompt", {"prompt": prompt, "client_id": client_id})
            assert not started.get("node_errors"), started
            run = Run(started["prompt_id"])
            end = time.monotonic() + seconds
            while run.outcome is None:
                message = socket_.recv(timeout=max(0.1, end - time.monotonic()))
                run.take(message)
                on_event(run)
        return run


class Run:
    """What a browser hears of one prompt."""

    def __init__(self, prompt_id: str):
        self.prompt_id = prompt_id
        self.outcome: str | None = None
        self.details: dict[str, Any] = {}
        self.progress: list[tuple[int, int]] = []
        self.progress_of: dict[str, list[float]] = {}
        self.previews: list[bytes] = []
        self.told: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] = {}

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            (kind,) = struct.unpack_from(">I", message)
            if kind in (1, 4):
                self.previews.append(message)
            return
        event = json.loads(message)
        data = event.get("data") or {}
        if data.get("prompt_id") != self.prompt_id:
            return
        if event["type"] == "progress":
            self.progress.append((data["value"], data["max"]))
            self.progress_of.setdefault(data["node"], []).append(data["value"] / data["max"])
        elif event["type"] == "drawthings.progress":
            self.told.append(data)
        elif event["type"] == "executed":
            self.outputs[data["node"]] = data["output"]
        elif event["type"] in ("execution_success", "execution_error", "execution_interrupted"):
            self.outcome = event["type"]
            self.details = data


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory) -> Iterator[ComfyUI]:
    host = ComfyUI(tmp_path_factory.mktemp("comfyui"))
    host.start()
    yield host
    host.stop()


def prompt_of(example: Path, simulator, **changes: Any) -> dict[str, Any]:
    """The example in API format, leading to the simulator; changes are inputs of the nodes that generate."""
    from comfyui_drawthings.runner import stand_ins, workflow

    folders = stand_ins.Folders((ROOT / "example_workflows" / "input",), Path("unused"))
    classes = {**comfyui_drawthings.NODE_CLASS_MAPPINGS, **stand_ins.bound(folders)}
    prompt = workflow.read(example, classes, {}).prompt()
    for node in prompt.values():
        if node["class_type"] == "DrawThingsLoadServer":
            node["inputs"].update(host=simulator.host, port=simulator.port, secret="test" if simulator.tls else "")
        if "seed" in node["inputs"]:
            node["inputs"].update(changes)
    return prompt


def test_import_and_definitions(comfyui):
    log = comfyui.log.read_text()
    assert "IMPORT FAILED" not in log, log[-3000:]
    definitions = comfyui.get("/object_info")
    for node_id in comfyui_drawthings.NODE_CLASS_MAPPINGS:
        assert definitions[node_id]["category"] == "Draw Things"
        assert definitions[node_id]["display_name"] == comfyui_drawthings.NODE_DISPLAY_NAME_MAPPINGS[node_id]


def test_help_and_templates_are_served(comfyui):
    for node_id in comfyui_drawthings.NODE_CLASS_MAPPINGS:
        with urllib.request.urlopen(f"http://{comfyui.address}/extensions/{FOLDER}/docs/{node_id}.md") as page:
            assert page.read().startswith(b"# ")
    assert set(comfyui.get("/api/workflow_templates")[FOLDER]) == {example.stem for example in EXAMPLES}


WITHOUT_PREVIEW = ("video_with_sound", "upscale", "seedvr2_upscale")
"""LTX latents have no formula; nothing is sampled, or in one step, to enlarge."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_every_example_completes_with_progress_and_previews(comfyui, guarded, example):
    prompt = prompt_of(example, guarded, seed=int(time.time() * 1000) % 2**32)
    for node in prompt.values():
        if node["class_type"] == "DrawThingsUploadModel":
            node["inputs"]["file"] = comfyui.upload_choice
    run = comfyui.run(prompt)
    assert run.outcome == "execution_success", run.details.get("exception_message")
    assert SECRET not in json.dumps(comfyui.get("/history"))
    if not any("seed" in node["inputs"] for node in prompt.values()):
        assert all(output["text"] for output in run.outputs.values())
        return
    assert run.progress_of
    for values in run.progress_of.values():
        assert values == sorted(values)
        assert values[-1] == 1
    assert bool(run.previews) == (example.stem not in WITHOUT_PREVIEW)
    pictures = [row for output in run.outputs.values() for row in (output or {}).get("images", ())]
    assert pictures
    assert all(comfyui.picture(row)[:8] == b"\x89PNG\r\n\x1a\n" or comfyui.picture(row)[4:8] == b"ftyp" for row in pictures)


LOOK_INTO = """
import av, json, numpy, sys
with av.open(sys.argv[1]) as file:
    told = {"metadata": dict(file.metadata)}
    for stream in file.streams:
        file.seek(0)
        frames = [frame.to_ndarray() for frame in file.decode(stream)]
        told[stream.type] = {"codec": stream.codec_context.name, "frames": len(frames), "seconds": float(stream.duration * stream.time_base)}
        if stream.type == "video":
            told["video"] |= {"rate": float(stream.average_rate), "size": [stream.width, stream.height]}
        else:
            sound = numpy.concatenate(frames, axis=1).astype(float)
            told["audio"] |= {"rate": stream.rate, "channels": stream.channels, "loudest": float(abs(sound).max())}
print(json.dumps(told))
"""
"""A video or sound file, as PyAV sees it, which comes with ComfyUI."""


def look_into(file: Path) -> dict[str, Any]:
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), "-c", LOOK_INTO, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def saved_by(comfyui: ComfyUI, prompt: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each saving node of a prompt wrote, by node type."""
    run = comfyui.run(prompt)
    assert run.outcome == "execution_success", run.details.get("exception_message")
    found = {}
    for node, output in run.outputs.items():
        for row in [*(output or {}).get("images", ()), *(output or {}).get("audio", ())]:
            found[prompt[node]["class_type"]] = look_into(comfyui.base / row["type"] / row["subfolder"] / row["filename"])
    return found


def test_comfyui_saves_a_video_with_its_sound(comfyui, simulator):
    """Frames, fps and audio into ComfyUI's own Create Video, Save Video and Save Audio."""
    files = saved_by(comfyui, prompt_of(ROOT / "example_workflows" / "video_with_sound.json", simulator, seed=11))
    video, sound = files["SaveVideo"]["video"], files["SaveVideo"]["audio"]
    assert (video["codec"], video["frames"], video["rate"], video["size"]) == ("h264", 25, 25, [512, 320])
    assert abs(video["seconds"] - 1) < 0.01
    assert (sound["codec"], sound["rate"], sound["channels"]) == ("aac", 48000, 2)
    assert abs(sound["seconds"] - 1) < 0.1
    assert sound["loudest"] > 0.1
    assert "DrawThingsVideo" in files["SaveVideo"]["metadata"]["prompt"]
    alone = files["SaveAudio"]["audio"]
    assert (alone["codec"], alone["rate"], alone["channels"]) == ("flac", 48000, 2)


@pytest.mark.parametrize("linked", [True, False])
def test_comfyui_saves_a_video_of_a_model_without_sound(comfyui, simulator, linked):
    """Linked, the silence becomes a silent track, and Save Audio can save it; not linked, there is no track."""
    prompt = prompt_of(ROOT / "example_workflows" / "text_to_video.json", simulator, seed=12)
    (node,) = (number for number, one in prompt.items() if one["class_type"] == "DrawThingsVideo")
    if linked:
        (video,) = (one for one in prompt.values() if one["class_type"] == "CreateVideo")
        video["inputs"]["audio"] = [node, 1]
        prompt["99"] = {"class_type": "SaveAudio", "inputs": {"audio": [node, 1], "filename_prefix": "silence"}}
    files = saved_by(comfyui, prompt)
    assert (files["SaveVideo"]["video"]["frames"], files["SaveVideo"]["video"]["rate"]) == (17, 16)
    assert ("audio" in files["SaveVideo"]) == linked
    if linked:
        assert files["SaveVideo"]["audio"]["loudest"] < 0.001
        assert abs(files["SaveAudio"]["audio"]["seconds"] - 17 / 16) < 0.01


def test_both_programs_settings_are_in_the_files(comfyui, guarded):
    prompt = prompt_of(ROOT / "example_workflows" / "save_with_settings.json", guarded, seed=77)
    run = comfyui.run(prompt)
    assert run.outcome == "execution_success", run.details.get("exception_message")
    rows = next(output["images"] for output in run.outputs.values() if output)
    found = []
    for row in rows:
        content = comfyui.picture(row)
        assert SECRET.encode() not in content
        with Image.open(io.BytesIO(content)) as picture:
            written = json.loads(picture.info["prompt"])  # ComfyUI adds what IS_CHANGED gave
            assert {number: node["inputs"] for number, node in written.items()} == {
                number: node["inputs"] for number, node in prompt.items()
            }
            found.append(metadata.in_picture(picture))
    seeds = [one.settings["seed"] for one in found]
    assert seeds[0] == 77
    assert len(set(seeds)) == 2
    assert {one.prompt for one in found} == {"a lighthouse on a rock, a red boat below, stormy sky, gouache"}


def test_a_prefix_that_leads_outside_is_a_sentence(comfyui, guarded):
    prompt = prompt_of(ROOT / "example_workflows" / "save_with_settings.json", guarded, seed=78)
    for node in prompt.values():
        if node["class_type"] == "DrawThingsSaveImage":
            node["inputs"]["filename_prefix"] = "../up"
    run = comfyui.run(prompt)
    assert (run.outcome, run.details["exception_type"]) == ("execution_error", "InvalidInput")
    assert "leads outside the output folder" in run.details["exception_message"]
    assert not list(comfyui.base.glob("up*"))


def test_cancel_stops_the_server_and_shows_as_interrupted(comfyui, simulator):
    simulator.set("step_seconds", 0.4)
    example = ROOT / "example_workflows" / "text_to_image.json"
    pressed: list[float] = []

    def press(run):
        if run.progress and run.progress[-1][0] >= 1 and not pressed:
            pressed.append(time.perf_counter())
            comfyui.post("/interrupt", {})

    run = comfyui.run(prompt_of(example, simulator, seed=1, steps=30), on_event=press)
    took = time.perf_counter() - pressed[0]
    assert run.outcome == "execution_interrupted"
    assert took < 1
    simulator.wait_until(running=0, queued=0, seconds=1)
    simulator.set("step_seconds", 0)
    assert comfyui.run(prompt_of(example, simulator, seed=2)).outcome == "execution_success"


def test_the_page_is_told_what_a_node_does(comfyui, simulator):
    simulator.set("step_seconds", 0.1)
    prompt = prompt_of(ROOT / "example_workflows" / "text_to_image.json", simulator, seed=31, steps=6)
    (node,) = (number for number, one in prompt.items() if one["class_type"] == "DrawThingsGenerate")
    run = comfyui.run(prompt)
    assert run.outcome == "execution_success"
    assert {told["node"] for told in run.told} == {node}
    assert any((told.get("text") or "").startswith("Step ") for told in run.told)  # which ones depends on the pace
    assert run.told[-1]["stage"] == ""


def test_previews_are_shown_unless_the_user_does_not_want_them(comfyui, simulator):
    simulator.set("step_seconds", 0.1)
    example = ROOT / "example_workflows" / "text_to_image.json"
    assert comfyui.run(prompt_of(example, simulator, seed=32, steps=6)).previews
    comfyui.post("/settings/DrawThings.Previews", False)  # as the frontend does
    try:
        assert not comfyui.run(prompt_of(example, simulator, seed=33, steps=6)).previews
    finally:
        comfyui.post("/settings/DrawThings.Previews", True)
    assert comfyui.run(prompt_of(example, simulator, seed=34, steps=6)).previews


def test_an_error_is_one_sentence_under_a_plain_name(comfyui, simulator):
    example = ROOT / "example_workflows" / "text_to_image.json"
    run = comfyui.run(prompt_of(example, simulator, seed=3, model="not_there.ckpt"))
    assert run.outcome == "execution_error"
    assert run.details["exception_type"] == "FileNotOnServer"
    assert run.details["exception_message"].strip().startswith("Model 'not_there.ckpt' is not on the server")
    assert comfyui.run(prompt_of(example, simulator, seed=4)).outcome == "execution_success"


@pytest.mark.parametrize(
    ("kind", "name", "value", "answer"),
    [
        ("DrawThingsLoadServer", "saved_server", {"a": 1}, "InvalidInput"),
        ("DrawThingsLoadServer", "secret", None, "ProfileError"),
        ("DrawThingsGenerate", "model", 7.5, "InvalidInput"),
        ("DrawThingsGenerate", "model", "half \ud83d", "InvalidInput"),
        ("DrawThingsGenerate", "guidance", math.nan, "InvalidSetting"),
        ("DrawThingsGenerate", "sampler", "no such sampler", "value_not_in_list"),
        ("DrawThingsGenerate", "seed", "many", "invalid_input_type"),
        ("DrawThingsGenerate", "steps", 10**400, "value_bigger_than_max"),
        ("DrawThingsLoadImage", "image", {"a": 1}, "custom_validation_failed"),
        ("DrawThingsUploadModel", "file", None, "InvalidInput"),
    ],
)
def test_values_edited_by_hand_are_a_sentence(comfyui, simulator, kind, name, value, answer):
    """Ours where ComfyUI leaves the check to the node, ComfyUI's own otherwise; never a traceback."""
    prompt = prompt_of(ROOT / "example_workflows" / "text_to_image.json", simulator)
    (server,) = (key for key, node in prompt.items() if node["class_type"] == "DrawThingsLoadServer")
    more = {"DrawThingsLoadImage": {"image": "x.png"}, "DrawThingsUploadModel": {"server": [server, 0], "existing": "keep"}}
    chosen = next((key for key, node in prompt.items() if node["class_type"] == kind), "")
    if not chosen:
        chosen = "90"
        prompt = {server: prompt[server], chosen: {"class_type": kind, "inputs": more[kind]}}
    prompt[chosen]["inputs"][name] = value
    prompt["91"] = {"class_type": "PreviewAny", "inputs": {"source": [chosen, 0]}}
    try:
        run = comfyui.run(prompt)
        answers = [run.details.get("exception_type", run.outcome)]
    except urllib.error.HTTPError as refused:
        answers = [error["type"] for node in json.loads(refused.read())["node_errors"].values() for error in node["errors"]]
    assert answer in answers


def test_two_servers_side_by_side(comfyui, simulator, guarded):
    """Two Generate nodes with different servers in one graph run at the same time."""
    simulator.set("step_seconds", 0.1)
    guarded.set("step_seconds", 0.1)
    example = ROOT / "example_workflows" / "text_to_image.json"
    prompt = prompt_of(example, simulator, seed=5, steps=10)
    for node_id, node in prompt_of(example, guarded, seed=6, steps=10).items():
        inputs = {name: [f"b{value[0]}", value[1]] if isinstance(value, list) else value for name, value in node["inputs"].items()}
        prompt[f"b{node_id}"] = {**node, "inputs": inputs}
    busy: list[tuple[int, int]] = []
    ended = threading.Event()

    def look():
        while not ended.wait(0.02):
            busy.append((simulator.state()["running"], guarded.state()["running"]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        run = comfyui.run(prompt)
    finally:
        ended.set()
        thread.join(5)
    assert run.outcome == "execution_success"
    assert (1, 1) in busy
