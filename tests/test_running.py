"""What the page is told while a node runs: by a peer that stands in for the parts of ComfyUI that nodes/host.py looks for."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import decoding, errors, tensor
from comfyui_drawthings.drawthings_core.client import Cancellation
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.nodes import host
from comfyui_drawthings.nodes.page import ROUTES

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
MODEL = "sd_v1.5_f16.ckpt"


class Peer:
    """ComfyUI as a node sees it: `told` is what the pages got, `bars` and `pictures` what its own progress bar did."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[str, dict[str, Any], str | None]] = []
        self.pictures = 0
        self.interrupted = False
        self.user_folder = folder / "user"
        self.client_id: str | None = "page"
        self.user_manager = SimpleNamespace(users={"default": "default", "ann_1": "Ann"})
        extra = {"extra_pnginfo": {"workflow": {"id": "graph"}}}
        self.prompt_queue = SimpleNamespace(currently_running={0: (1, "prompt", {}, extra, [])})

    def send_sync(self, event: str, data: dict[str, Any], client_id: str | None = None) -> None:
        self.told.append((event, json.loads(json.dumps(data)), client_id))

    def update_absolute(self, value: int, total: int, preview: Any = None) -> None:
        self.pictures += preview is not None

    def choose(self, user: str, content: str) -> None:
        (self.user_folder / user).mkdir(parents=True, exist_ok=True)
        (self.user_folder / user / "comfy.settings.json").write_text(content)

    def modules(self) -> dict[str, Any]:
        context = SimpleNamespace(prompt_id="prompt")
        return {
            "comfy.utils": SimpleNamespace(ProgressBar=lambda total, node_id=None: self),
            "comfy.model_management": SimpleNamespace(
                processing_interrupted=lambda: self.interrupted, InterruptProcessingException=errors.GenerationCancelled
            ),
            "comfy_execution.utils": SimpleNamespace(get_executing_context=lambda: context),
            "server": SimpleNamespace(PromptServer=SimpleNamespace(instance=self)),
            "folder_paths": SimpleNamespace(get_user_directory=lambda: str(self.user_folder)),
        }

    def lines(self, node: str) -> list[str]:
        return [data.get("text", "") for _, data, _ in self.told if data["node"] == node]

    def stages(self, node: str) -> list[str]:
        """Without repetitions."""
        found = [data["stage"] for _, data, _ in self.told if data["node"] == node]
        return [stage for number, stage in enumerate(found) if number == 0 or found[number - 1] != stage]


@pytest.fixture
def peer(tmp_path, monkeypatch) -> Peer:
    made = Peer(tmp_path)
    modules = made.modules()
    monkeypatch.setattr(host, "_comfy", modules.get)
    return made


async def generating(simulator, node_id: str = "7", **inputs: Any) -> Any:
    defaults = {"prompt": "a cat", "negative_prompt": "", "seed": 1, "width": 256, "height": 192, "steps": 4, "guidance": -1}
    more = {"sampler": "recommended", "strength": 1.0, "batch_count": 1, "batch_size": 1, "fit": "crop", "model": MODEL}
    server = Server(simulator.host, simulator.port)
    return await NODES["DrawThingsGenerate"]().generate(server, **{**defaults, **more, **inputs, "unique_id": node_id})


def test_the_page_of_the_prompt_is_told_every_stage_and_that_it_is_over(peer, simulator):
    simulator.set("step_seconds", 0.1)
    asyncio.run(generating(simulator))
    assert peer.stages("7") == ["asking", "waiting", "preparing", "sampling", "decoding", "packing", "receiving", "finishing", ""]
    assert {(event, client, data["prompt_id"], data["workflow"]) for event, data, client in peer.told} == {
        ("drawthings.progress", "page", "prompt", "graph")
    }
    (first, *_) = [data for _, data, _ in peer.told if data["stage"] == "sampling"]
    assert first == {
        "node": "7",
        "prompt_id": "prompt",
        "workflow": "graph",
        "stage": "sampling",
        "text": "Step 1 of 4",
        "values": {"step": 1, "steps": 4},
        "run": 1,
        "runs": 1,
        "left": None,
    }


def test_steps_are_told_a_few_times_a_second(peer, simulator):
    simulator.set("step_seconds", 0.02)
    started = time.monotonic()
    asyncio.run(generating(simulator, steps=60))
    took = time.monotonic() - started
    steps = [line for line in peer.lines("7") if line.startswith("Step ")]
    assert 2 <= len(steps) <= 1 + took / host.SAY_SECONDS
    assert any(data.get("left") for _, data, _ in peer.told)


def test_the_second_pass_downloads_and_several_requests(peer, simulator):
    options = {"hires_fix": True, "hires_fix_start_width": 256, "hires_fix_start_height": 192}
    simulator.set("remote_downloads", 2)
    try:
        asyncio.run(generating(simulator, width=512, height=384, batch_count=2, options=options))
    finally:
        simulator.set("remote_downloads", 0)
    stages = peer.stages("7")
    assert {"downloading_part", "sampling", "second_preparing", "second_sampling", "second_decoding"} <= set(stages)
    assert any(line.startswith("1 of 2: The server downloads model 1 of 2: ") for line in peer.lines("7"))
    assert any(line.startswith("2 of 2: The server downloads model 2 of 2: ") for line in peer.lines("7"))


def test_of_two_nodes_on_one_server_the_second_waits_and_says_so(peer, simulator):
    simulator.set("step_seconds", 0.1)

    async def both():
        await asyncio.gather(generating(simulator, "7"), generating(simulator, "5:3", seed=2))

    asyncio.run(both())
    waited = [node for node in ("7", "5:3") if "queued_behind" in peer.stages(node)]
    assert len(waited) == 1
    assert "Waiting in the server's queue, 1 of this ComfyUI before it" in peer.lines(waited[0])
    stages = peer.stages(waited[0])
    assert stages[stages.index("queued_behind") + 1] in ("waiting", "preparing")  # the server may begin before the first has its pictures
    assert [peer.stages(node)[-1] for node in ("7", "5:3")] == ["", ""]


def test_a_proxy_says_that_the_call_is_queued(peer, simulator):
    simulator.set_fault("heartbeats", 0.05)
    simulator.set_fault("delay_first", 0.3)
    asyncio.run(generating(simulator))
    assert peer.stages("7")[:3] == ["asking", "waiting", "queued"]


@pytest.mark.parametrize("end", ["failure", "cancel"])
def test_the_line_goes_when_the_run_fails_or_is_cancelled(peer, simulator, end):
    if end == "failure":
        simulator.set_fault("empty_result")
    else:
        simulator.set("step_seconds", 0.3)
        threading.Timer(0.6, lambda: setattr(peer, "interrupted", True)).start()
    with pytest.raises(errors.NoImage if end == "failure" else errors.GenerationCancelled):
        asyncio.run(generating(simulator))
    end_by = time.monotonic() + 2
    while peer.stages("7")[-1] != "" and time.monotonic() < end_by:  # the thread of a cancelled run ends by itself
        time.sleep(0.02)
    assert peer.stages("7")[-1] == ""


def test_a_thread_that_outlives_its_prompt_speaks_to_its_own_page(peer):
    progress = host.Progress("7")
    peer.client_id = "another page"
    progress.say(host.Doing("decoding"))
    assert [client for _, _, client in peer.told] == ["page"]


def test_a_prompt_without_a_page_tells_nobody(peer, simulator):
    peer.client_id = None
    asyncio.run(generating(simulator))
    assert peer.told == []


class TestPreviews:
    """The setting is the user's, as the frontend keeps it."""

    OFF = json.dumps({"DrawThings.Previews": False})

    def pictures(self, peer: Peer, simulator) -> int:
        simulator.set("step_seconds", 0.1)
        asyncio.run(generating(simulator, steps=6))
        return peer.pictures

    def test_are_shown_unless_switched_off(self, peer, simulator):
        assert self.pictures(peer, simulator) > 0

    def test_are_not_decoded_when_off(self, peer, simulator, monkeypatch):
        peer.choose("default", self.OFF)
        decoded: list[str] = []
        for owner, name in ((tensor, "decode"), (decoding.Pool, "submit")):  # raw ones, compressed ones; the picture comes by neither
            original = getattr(owner, name)
            monkeypatch.setattr(
                owner, name, lambda *given, original=original, **more: decoded.append(original.__name__) or original(*given, **more)
            )
        assert self.pictures(peer, simulator) == 0
        assert decoded == []
        peer.choose("default", "{}")
        assert self.pictures(peer, simulator) > 0
        assert decoded

    @pytest.mark.parametrize("content", ["", "not JSON", "[]", json.dumps({"DrawThings.Previews": True, "Other": False})])
    def test_settings_that_cannot_be_read_leave_them_on(self, peer, content):
        peer.choose("default", content)
        assert host.Progress("7").previews

    def test_each_user_has_a_choice(self, peer):
        peer.choose("ann_1", self.OFF)
        assert host.Progress("7").previews
        ROUTES["present"].answer({"client": "page", "user": "ann_1"}, Cancellation())
        assert not host.Progress("7").previews
        peer.client_id = "another page"
        assert host.Progress("7").previews

    @pytest.mark.parametrize("user", ["../user/ann_1", "nobody", ""])
    def test_only_users_of_comfyui_have_settings(self, peer, user):
        peer.choose("ann_1", self.OFF)
        ROUTES["present"].answer({"client": "page", "user": user}, Cancellation())
        assert host.Progress("7").previews

    def test_what_a_page_says_of_itself_must_be_text(self, peer):
        for body in ({}, {"client": 1, "user": "a"}, {"client": "page"}):
            with pytest.raises(errors.InvalidInput):
                ROUTES["present"].answer(body, Cancellation())

    def test_pages_are_forgotten_in_time(self, peer):
        for number in range(host._USERS + 10):
            host.remember_user(f"page {number}", "ann_1")
        assert len(host._users) == host._USERS
