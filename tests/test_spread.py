"""Several servers as one, against real simulators: the same results as on one, and what happens when some or all of them fail."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import comfyui_drawthings
import numpy as np
import pytest
import torch
from comfyui_drawthings.drawthings_core import client as clients
from comfyui_drawthings.drawthings_core import errors, seats, spread
from comfyui_drawthings.drawthings_core.client import Cancellation
from comfyui_drawthings.drawthings_core.job import Job, Plan, plan
from comfyui_drawthings.drawthings_core.servers import Server, ServerPool
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.watch import Patience
from comfyui_drawthings.nodes import host
from comfyui_drawthings.runner import cli, execution, stand_ins, workflow

NODES = {**comfyui_drawthings.NODE_CLASS_MAPPINGS, **stand_ins.STAND_INS}
MODEL = "sd_v1.5_f16.ckpt"
GIVEN: dict[str, Any] = {
    "model": MODEL,
    "prompt": "a cat",
    "negative_prompt": "",
    "seed": 4294967294,
    "width": 256,
    "height": 192,
    "steps": 4,
}
GIVEN |= {"guidance": -1, "sampler": "recommended", "strength": 0.5, "batch_count": 1, "batch_size": 1, "fit": "crop"}
PATIENCE = 30.0
posix = pytest.mark.skipif(os.name == "nt", reason="stops a process by a signal")


class Three(list[SimulatorProcess]):
    """Simulators, and what a graph calls them."""

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(Server(one.host, one.port) for one in self)

    @property
    def pool(self) -> ServerPool:
        return ServerPool(self.servers)

    def set(self, name: str, value: Any) -> None:
        for one in self:
            one.set(name, value)

    def set_fault(self, name: str, value: Any = None) -> None:
        for one in self:
            one.set_fault(name, value)

    def made(self) -> list[int]:
        """Generations that each was asked for."""
        return [len(one.requests()) for one in self]


@pytest.fixture(scope="module")
def _three() -> Iterator[Three]:
    made = Three(SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") for _ in range(3))
    with ThreadPoolExecutor() as starting:
        list(starting.map(SimulatorProcess.start, made))
    yield made
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def proxy() -> Iterator[SimulatorProcess]:
    """One address with two GPUs."""
    with SimulatorProcess("--no-tls", "--proxy", "0.05", "--gpus", "2", "--step-seconds", "0.1") as made:
        yield made


@pytest.fixture
def three(_three: Three, monkeypatch: pytest.MonkeyPatch) -> Three:
    """Three that are well, of which nothing is known."""
    for one in _three:
        if not one.running:
            one.restart()
        one.clear_faults()
        one.clear()
        one.set("step_seconds", 0)
    monkeypatch.setattr(spread.health, "_troubles", {})
    monkeypatch.setattr(seats.shared, "_seats", {})
    return _three


async def asked(node: str, server: Any, **inputs: Any) -> Any:
    return await NODES[node]().generate(server, **{**GIVEN, **inputs})


def nobody() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def run(node: str, server: Any, **inputs: Any) -> Any:
    return asyncio.run(asked(node, server, **inputs))


def notes(outputs: Any) -> list[str]:
    return json.loads(outputs[-1])["notes"]


class Nobody:
    """Whom nothing interests."""

    previews = False

    def began(self, name, number): ...
    def event(self, name, number, event): ...
    def ended(self, name, number, done): ...


def pictures(count: int) -> torch.Tensor:
    across = torch.linspace(0, 1, 256).expand(count, 192, 256)
    return torch.stack([across * (number + 1) / count for number in range(3)], dim=-1)


class TestTheSameAsOnOneServer:
    def same(self, three: Three, node: str, **inputs: Any) -> dict[str, Any]:
        alone, shared = run(node, three.servers[0], **inputs), run(node, three.pool, **inputs)
        for one, other in zip(alone[:-1], shared[:-1], strict=True):
            if isinstance(one, torch.Tensor):
                assert np.array_equal(one.numpy(), other.numpy())
        infos = [json.loads(outputs[-1]) for outputs in (alone, shared)]
        told = infos[1].pop("servers")
        for info in infos:
            del info["seconds"]
        assert infos[0] == infos[1]
        return told

    def test_repetitions_of_batches_over_the_end_of_the_seeds(self, three):
        told = self.same(three, "DrawThingsGenerate", batch_count=7, batch_size=2)
        assert sum(told.values()) == 7
        assert sum(three.made()) == 14

    def test_a_batch_of_input_pictures(self, three):
        self.same(three, "DrawThingsGenerate", image=pictures(5), batch_count=2)

    def test_masks_of_which_one_is_empty(self, three):
        masks = torch.zeros(3, 192, 256)
        masks[0, 50:100, 50:100] = masks[2, :90] = 1
        told = self.same(three, "DrawThingsInpaint", image=pictures(3), mask=masks)
        assert sum(told.values()) == 2

    def test_an_instruction(self, three):
        self.same(three, "DrawThingsEdit", model="flux_1_kontext_dev_q8p.ckpt", instruction="make it green", image=pictures(3))

    def test_a_video_goes_to_one_of_them_with_its_sound(self, three):
        alone, shared = (
            run("DrawThingsVideo", server, model="ltx_2_19b_distilled_q8p.ckpt", num_frames=9) for server in (three.servers[0], three.pool)
        )
        assert np.array_equal(alone[0].numpy(), shared[0].numpy())
        assert np.array_equal(alone[1]["waveform"].numpy(), shared[1]["waveform"].numpy())
        assert sum(three.made()) == 2

    def test_an_upscale(self, three):
        inputs = {"image": pictures(4), "upscaler": "realesrgan_x2plus_f16.ckpt", "scale": 2.0, "face_restoration": "none", "seed": 1}
        alone, shared = (
            asyncio.run(NODES["DrawThingsUpscale"]().upscale(server, model=MODEL, **inputs)) for server in (three.servers[0], three.pool)
        )
        assert np.array_equal(alone[0].numpy(), shared[0].numpy())
        assert alone[0].shape == (4, 384, 512, 3)


class TestSharing:
    def test_every_free_server_takes_the_next(self, three):
        three.set("step_seconds", 0.05)
        told = json.loads(run("DrawThingsGenerate", three.pool, batch_count=9)[-1])["servers"]
        assert set(told) == {server.address for server in three.servers}
        assert sum(three.made()) == 9

    def test_several_prompts_as_comfyui_calls_a_node_for_a_list(self, three):
        three.set("step_seconds", 0.05)

        async def all_at_once() -> list[Any]:
            calls = (asked("DrawThingsGenerate", three.pool, prompt=f"cat {number}") for number in range(6))
            return await asyncio.gather(*calls)

        made = asyncio.run(all_at_once())
        assert min(three.made()) >= 1
        for number, outputs in enumerate(made):
            alone = run("DrawThingsGenerate", three.servers[0], prompt=f"cat {number}")
            assert np.array_equal(outputs[0].numpy(), alone[0].numpy())

    def test_a_proxy_that_is_connected_twice_gets_two_requests_at_a_time(self, proxy):
        server = Server(proxy.host, proxy.port)
        proxy.set("step_seconds", 0.3)
        with ThreadPoolExecutor() as beside:
            running = beside.submit(run, "DrawThingsGenerate", ServerPool((server, server)), batch_count=2)
            proxy.wait_until(PATIENCE, running=2)
            proxy.set("step_seconds", 0.05)  # of later ones
            outputs = running.result(PATIENCE)
        assert outputs[0].shape[0] == 2
        assert json.loads(outputs[-1])["servers"] == {proxy.address: 2}

    def test_a_proxy_is_one_of_a_pool(self, three, proxy):
        three.set("step_seconds", 0.05)
        outputs = run("DrawThingsGenerate", ServerPool((Server(proxy.host, proxy.port), *three.servers[:1])), batch_count=4)
        alone = run("DrawThingsGenerate", three.servers[0], batch_count=4)
        assert np.array_equal(outputs[0].numpy(), alone[0].numpy())
        assert len(json.loads(outputs[-1])["servers"]) == 2
        assert proxy.state()["running"] == 0


class TestFailing:
    def test_one_that_is_killed_in_the_middle_loses_nothing(self, three):
        expected = run("DrawThingsGenerate", three.servers[0], batch_count=8)
        three.set("step_seconds", 0.15)
        with ThreadPoolExecutor() as beside:
            running = beside.submit(run, "DrawThingsGenerate", three.pool, batch_count=8)
            three[1].wait_until(PATIENCE, running=1)
            three[1].kill()
            outputs = running.result(PATIENCE)
        assert np.array_equal(outputs[0].numpy(), expected[0].numpy())
        info, whole = json.loads(outputs[-1]), json.loads(expected[-1])
        assert info["images"] == whole["images"]
        (note,) = info["notes"]
        assert note.startswith("A server failed, and was left out for a while.")
        assert three.servers[1].address in note

    def test_it_is_skipped_for_a_while_and_then_used_again(self, three, monkeypatch):
        monkeypatch.setattr(spread.health, "cool_down", 60.0)
        three[0].set_fault("error_status", "INTERNAL:broken", calls=1)
        (note,) = notes(run("DrawThingsGenerate", three.pool, batch_count=3))
        assert "(INTERNAL, saying 'broken')" in note
        three[0].clear()
        (note,) = notes(run("DrawThingsGenerate", three.pool, batch_count=6))
        assert note.startswith("A server was left out at first, since it failed ")
        assert three.servers[0].address in note
        assert three.made()[0] == 0
        trouble = spread.health._troubles[three.servers[0]]
        spread.health._troubles[three.servers[0]] = trouble._replace(until=time.monotonic())
        three.set("step_seconds", 0.05)
        assert notes(run("DrawThingsGenerate", three.pool, batch_count=6)) == []
        assert three.made()[0] >= 1

    def test_it_comes_back_while_the_work_goes_on(self, three, monkeypatch):
        monkeypatch.setattr(spread.health, "cool_down", 0.2)
        three.set("step_seconds", 0.05)
        three[0].set_fault("error_status", "INTERNAL:broken", calls=1)
        told = json.loads(run("DrawThingsGenerate", three.pool, batch_count=16)[-1])
        assert told["servers"][three.servers[0].address] >= 1
        assert len(told["notes"]) == 1

    def test_where_all_failed_lately_all_are_tried(self, three):
        for server in three.servers:
            spread.health.failed(server, errors.ServerFailed(server.address, "INTERNAL", "It failed."))
        assert run("DrawThingsGenerate", three.pool, batch_count=3)[0].shape[0] == 3

    def test_half_an_answer_is_given_back(self, three):
        expected = run("DrawThingsGenerate", three.servers[0], batch_size=2)
        three[0].set_fault("missing_image")
        for number in (1, 2):
            three[number].set_fault("delay_first", 0.5)  # so that the first begins with it
        outputs = run("DrawThingsGenerate", three.pool, batch_size=2, batch_count=1)
        assert np.array_equal(outputs[0].numpy(), expected[0].numpy())

    def test_half_an_answer_is_kept_where_nobody_gives_a_whole_one(self, three):
        for one in three:
            one.set_fault("error_status", {"code": "INTERNAL", "details": "", "after": 10})
        outputs = run("DrawThingsGenerate", three.pool, batch_size=2)
        assert outputs[0].shape[0] == 1
        assert any("after 1 images" in note for note in notes(outputs))

    def test_one_without_the_model_gets_nothing(self, three):
        file = three[0].models_directory / MODEL
        file.rename(file.with_suffix(".gone"))
        try:
            outputs = run("DrawThingsGenerate", three.pool, batch_count=6)
        finally:
            file.with_suffix(".gone").rename(file)
        assert three.made()[0] == 0
        (note,) = notes(outputs)
        assert note.startswith(f"A server got nothing to do. Model '{MODEL}' is not on the server at {three.servers[0].address}")
        assert outputs[0].shape[0] == 6
        assert spread.health.trouble(three.servers[0]) is None

    def test_when_all_fail_each_says_why(self, three):
        three[0].set_fault("error_status", "INTERNAL:no room")
        three[1].set_fault("empty_result")
        three[2].set_fault("nan_image")
        with pytest.raises(errors.AllServersFailed) as raised:
            run("DrawThingsGenerate", three.pool, batch_count=3)
        sentence = str(raised.value)
        assert [type(error) for error in raised.value.errors.values()] == [errors.ServerFailed, errors.NoImage, errors.NonFiniteImage]
        assert all(server.address in sentence for server in three.servers)
        assert all(words in sentence for words in ("no room", "finished without an image", "NaN"))

    def test_when_all_fail_in_the_middle_what_is_done_is_kept(self, three, monkeypatch):
        monkeypatch.setattr(spread.health, "cool_down", 60.0)
        expected = run("DrawThingsGenerate", three.servers[0], batch_count=12)
        three[0].set("step_seconds", 0.05)
        three[0].clear()
        for one in three[1:]:
            one.set_fault("error_status", "INTERNAL:broken")
        with ThreadPoolExecutor() as beside:
            running = beside.submit(run, "DrawThingsGenerate", three.pool, batch_count=12)
            end = time.monotonic() + PATIENCE
            while len(three[0].requests()) < 2 and time.monotonic() < end:
                time.sleep(0.02)
            three[0].set_fault("error_status", "INTERNAL:broken")
            outputs = running.result(PATIENCE)
        info = json.loads(outputs[-1])
        seeds = [row["seed"] for row in json.loads(expected[-1])["images"]]
        assert 0 < len(info["images"]) < 12
        for row, picture in zip(info["images"], outputs[0], strict=True):
            assert np.array_equal(picture.numpy(), expected[0][seeds.index(row["seed"])].numpy())
        assert (
            info["notes"][-1]
            == f"{12 - len(info['images'])} of 12 runs are missing: no server could make them. Queue it again to make all of them."
        )

    def test_what_is_the_requests_own_fault_is_told_at_once(self, three):
        with pytest.raises(errors.InvalidInput) as raised:
            run("DrawThingsGenerate", three.pool, batch_count=3, steps=1, sampler="Euler A")
        assert not isinstance(raised.value, errors.AllServersFailed)
        with pytest.raises(errors.FamilyMismatch):
            run("DrawThingsGenerate", three.pool, batch_count=3, options={"refiner_model": "sd_xl_base_1.0_f16.ckpt"})
        assert three.made() == [0, 0, 0]
        assert spread.health._troubles == {}

    @pytest.mark.parametrize("fault", [("drop_after", 3), ("kill_after", 0)])
    def test_a_run_that_servers_go_away_with_is_not_given_to_all(self, three, monkeypatch, fault):
        monkeypatch.setattr(spread, "_MOST_LOSSES", 2)
        for one in three:
            one.set_fault(*fault)
        with pytest.raises(errors.AllServersFailed) as raised:
            run("DrawThingsGenerate", three.pool)
        assert [type(error) for error in raised.value.errors.values()] == [errors.ConnectionLost] * 2
        (spared,) = (one for one in three if one.address not in raised.value.errors)
        assert spared.requests() == []
        end = time.monotonic() + PATIENCE
        while fault[0] == "kill_after" and sum(one.running for one in three) > 1 and time.monotonic() < end:
            time.sleep(0.01)  # their connections are closed, and they are about to end
        assert [one for one in three if one.running] == ([spared] if fault[0] == "kill_after" else three)

    def test_a_run_that_every_server_fails_with_ends(self, three, monkeypatch):
        """Though they come back at once. Nobody begins it while another one tells of it."""
        monkeypatch.setattr(spread.health, "cool_down", 0.0)
        three.set_fault("error_status", "INTERNAL:broken")
        told = []

        class Watcher(Nobody):
            def began(self, name, number):
                told.append((number, "began"))

            def ended(self, name, number, done):
                told.append((number, done))

        with pytest.raises(errors.AllServersFailed) as raised, spread.Team(three.servers, MODEL, Cancellation()) as team:
            list(team.done(plan(Job(MODEL), team.catalog()), Watcher()))
        assert list(raised.value.errors) == [one.address for one in three]
        assert all(1 <= made <= 2 for made in three.made())
        assert told == [(0, "began"), (0, False)] * sum(three.made())

    @posix
    def test_one_that_freezes_holds_nothing_though_it_is_tried_again(self, three, monkeypatch):
        monkeypatch.setattr(spread.health, "cool_down", 0.0)
        three.set("step_seconds", 0.5)
        begun = []

        class Watcher(Nobody):
            def began(self, name, number):
                begun.append(name)

        def work() -> dict[str, int]:
            with spread.Team(three.servers, MODEL, Cancellation()) as team:
                made = list(team.done(plan(Job(MODEL, settings={"batch_count": 4, "steps": 4}), team.catalog()), Watcher()))
                assert [one.run.seed for one in made] == [0, 1, 2, 3]
                assert "has not answered for" in team.notes[0]
                return dict(team.made)

        server, pid = three.servers[0], three[0].pid
        assert pid is not None
        impatient = clients.Client(server, patience=Patience(ask_after=0.5, unanswered=2))
        monkeypatch.setitem(clients._clients, server, impatient)
        try:
            with ThreadPoolExecutor() as beside:
                running = beside.submit(work)
                three[0].wait_until(PATIENCE, running=1)
                os.kill(pid, signal.SIGSTOP)
                told = running.result(PATIENCE)
        finally:
            os.kill(pid, signal.SIGCONT)
            impatient.close()
        assert server.address not in told
        assert begun.count(server.address) == 1

    @posix
    def test_one_that_is_frozen_when_it_is_to_join_is_not_waited_for_without_end(self, three, monkeypatch):
        monkeypatch.setattr(spread, "_PATIENCE", Patience(ask_after=0.3, unanswered=0.5))
        (frozen, broken), pid = three.servers[:2], three[0].pid
        client = clients.client_for(frozen)
        client.catalog()  # on a connection that is kept
        for server in (frozen, broken):
            spread.health.failed(server, errors.ConnectionLost(server.address, "It went away."))
        three[1].set_fault("error_status", "INTERNAL:broken")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(errors.AllServersFailed) as raised:
                run("DrawThingsGenerate", ServerPool((frozen, broken)))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "has not answered for" in str(raised.value.errors[frozen.address])
        assert not client.connected

    @posix
    def test_one_that_fell_asleep_between_two_runs_takes_none(self, three, monkeypatch):
        monkeypatch.setattr(spread, "_PATIENCE", Patience(ask_after=0.3, unanswered=0.5))
        run("DrawThingsGenerate", three.pool, batch_count=3)  # after which nobody has to be greeted
        frozen, pid = three.servers[0], three[0].pid
        clients.client_for(frozen).catalog()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            outputs = run("DrawThingsGenerate", three.pool, batch_count=4)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert outputs[0].shape[0] == 4
        assert any(frozen.address in note and "has not answered for" in note for note in notes(outputs))

    def test_those_that_rest_are_tried_before_the_work_is_given_up(self, three):
        for server in three.servers[:2]:
            spread.health.failed(server, errors.ConnectionLost(server.address, "It went away."))
        three[2].set_fault("error_status", "INTERNAL:broken")
        outputs = run("DrawThingsGenerate", three.pool, batch_count=4)
        assert outputs[0].shape[0] == 4
        assert three.made()[2] == 1
        assert all(spread.health.trouble(server) is None for server in three.servers[:2] if three.made()[three.servers.index(server)])

    def test_one_whose_results_are_of_no_use_gets_no_more_of_them(self, three):
        expected = run("DrawThingsGenerate", three.servers[1], batch_count=12)
        three.set("step_seconds", 0.1)
        three[0].set_fault("nan_image", 0)
        three[0].clear()
        outputs = run("DrawThingsGenerate", three.pool, batch_count=12)
        assert np.array_equal(outputs[0].numpy(), expected[0].numpy())
        assert three.made()[0] == 2
        assert [note.partition(".")[0] for note in notes(outputs)] == [
            "What a server sent was not used, and its run was given back",
            "A server failed, and got nothing more to do",
        ]

    def test_one_bad_result_does_not_put_a_server_out(self, three):
        three.set("step_seconds", 0.02)
        three[0].set_fault("nan_image", 0, calls=1)
        outputs = run("DrawThingsGenerate", ServerPool(three.servers[:2]), batch_count=8)
        assert outputs[0].shape[0] == 8
        assert json.loads(outputs[-1])["servers"][three.servers[0].address] >= 1

    def test_fewer_pictures_are_taken_where_nobody_gives_more(self, three):
        three.set_fault("missing_image")
        outputs = run("DrawThingsGenerate", three.pool, batch_count=6, batch_size=2)
        info = json.loads(outputs[-1])
        alone = json.loads(run("DrawThingsGenerate", three.servers[0], batch_count=6, batch_size=2)[-1])
        assert info["images"] == alone["images"]
        assert sum(info["servers"].values()) == 6
        assert set(alone["notes"]) <= set(info["notes"])
        assert not any("nothing more to do" in note for note in info["notes"])
        assert spread.health._troubles == {}

    def test_fewer_frames_are_not_asked_for_again(self, three):
        three.set_fault("missing_image")
        outputs = run("DrawThingsVideo", three.pool, model="ltx_2_19b_distilled_q8p.ckpt", num_frames=9)
        assert outputs[0].shape[0] == 8
        assert sum(three.made()) == 1

    def test_one_that_lacks_the_model_does_not_answer_for_one_that_is_slow(self, three, monkeypatch):
        monkeypatch.setattr(spread, "LATE", 0.1)
        file = three[0].models_directory / MODEL
        file.rename(file.with_suffix(".gone"))
        for server in three.servers[:2]:
            clients.client_for(server).close()
        three[1].set_fault("slow_echo", 0.5)
        try:
            with spread.Team(three.servers[:2], MODEL, Cancellation()) as team:
                assert team.catalog().find("model", MODEL)
        finally:
            file.with_suffix(".gone").rename(file)
            clients.client_for(three.servers[0]).close()

    def test_pictures_are_encoded_while_others_work(self, three):
        changed, free = seats.shared.changed, []

        def look():
            free.append(changed.acquire(timeout=1))
            if free[-1]:
                changed.release()

        class Watched(Plan):
            def runs(self):
                for made in super().runs():
                    looking = threading.Thread(target=look)
                    looking.start()
                    looking.join()
                    yield made

        with spread.Team(three.servers, MODEL, Cancellation()) as team:
            planned = plan(Job(MODEL, settings={"batch_count": 6, "steps": 4}), team.catalog())
            made = list(team.done(Watched(**{field.name: getattr(planned, field.name) for field in fields(planned)}), Nobody()))
        assert len(made) == 6
        assert free == [True] * 6


class TestStopping:
    def test_cancelling_stops_all(self, three):
        three.set("step_seconds", 0.3)
        cancellation = Cancellation()
        threads = threading.active_count()
        with ThreadPoolExecutor(1) as beside:
            working = beside.submit(self.work, three, cancellation)
            for one in three:
                one.wait_until(PATIENCE, running=1)
            cancellation.cancel()
            with pytest.raises(errors.GenerationCancelled):
                working.result(PATIENCE)
        for one in three:
            one.wait_until(PATIENCE, running=0, queued=0)
            assert [job["outcome"] for job in one.state()["history"][-1:]] == ["cancelled"]
        end = time.monotonic() + PATIENCE
        while threading.active_count() > threads and time.monotonic() < end:
            time.sleep(0.02)
        assert threading.active_count() <= threads
        three.set("step_seconds", 0)
        assert run("DrawThingsGenerate", three.pool, batch_count=3)[0].shape[0] == 3

    @staticmethod
    def work(three: Three, cancellation: Cancellation) -> list[spread.Done]:
        with spread.Team(three.servers, MODEL, cancellation) as team:
            planned = plan(Job(MODEL, settings={"batch_count": 6, "steps": 8}), team.catalog())
            return list(team.done(planned, Nobody()))

    @pytest.mark.parametrize("when", ["began", "event", "ended"])
    def test_what_a_watcher_raises_ends_the_work(self, three, when):
        class Interrupt(Exception):
            pass

        class Watcher:
            previews = True

            def _said(self, what):
                if what == when:
                    raise Interrupt

            def began(self, name, number):
                self._said("began")

            def event(self, name, number, event):
                self._said("event")

            def ended(self, name, number, done):
                self._said("ended")

        with pytest.raises(Interrupt), spread.Team(three.servers, MODEL, Cancellation()) as team:
            list(team.done(plan(Job(MODEL, settings={"batch_count": 6}), team.catalog()), Watcher()))
        for one in three:
            one.wait_until(PATIENCE, running=0, queued=0)

    def test_what_making_a_run_raises_ends_the_work(self, three):
        class Broken:
            def __init__(self, planned):
                self._planned = planned

            def __getattr__(self, name):
                return getattr(self._planned, name)

            def runs(self):
                yield from itertools.islice(self._planned.runs(), 1)
                raise errors.InvalidInput("two depth hints")

        with pytest.raises(errors.InvalidInput, match="two depth hints"), spread.Team(three.servers, MODEL, Cancellation()) as team:
            list(team.done(Broken(plan(Job(MODEL, settings={"batch_count": 6}), team.catalog())), Nobody()))


class TestProgress:
    def test_shows_all_of_them(self, three, monkeypatch):
        class Listener:
            previews = True

            def __init__(self) -> None:
                self.said: list[str] = []
                self.bar: list[tuple[int, int]] = []
                self.pictures = 0

            def progress(self, node_id, value, total, preview):
                self.bar.append((value, total))
                self.pictures += preview is not None

            def say(self, node_id, doing):
                self.said.append("" if doing is None else doing.text)

            def interrupted(self) -> bool:
                return False

        listener = Listener()
        monkeypatch.setattr(host, "listener", listener)
        three.set("step_seconds", 0.05)
        three[2].set_fault("drop_after", 5)
        run("DrawThingsGenerate", three.pool, batch_count=6, unique_id="7")
        both = [line for line in listener.said if all(f"{server.address}: Step " in line for server in three.servers[:2])]
        assert both
        assert listener.said[0] == "Asking the server"
        assert listener.said[1].startswith("0 of 6 done; ")
        assert "6 of 6 done" in listener.said
        assert listener.said[-1] == ""
        assert listener.bar == sorted(listener.bar)
        assert listener.bar[-1] == (30, 30)
        assert listener.pictures >= 2


class TestServersThatAreOff:
    def test_a_pool_goes_on_without_them(self, three):
        graph = self.graph([("127.0.0.1", nobody()), *((one.host, one.port) for one in three[:2])])
        (report,) = execution.run(graph, NODES).reports
        assert len(report.seeds) == 3
        (note,) = report.notes
        assert note.startswith("A server was left out at first, since it failed 0 s ago. No Draw Things server answers at 127.0.0.1:")

    def test_when_all_are_off_the_pool_says_so(self):
        with pytest.raises(execution.NodeFailed) as raised:
            execution.run(self.graph([("127.0.0.1", nobody()), ("localhost", nobody())]), NODES)
        assert raised.value.node.type == "DrawThingsServerPool"
        assert isinstance(raised.value.cause, errors.AllServersFailed)
        assert cli.exit_code(raised.value.cause) == 3
        assert cli.exit_code(errors.AllServersFailed({})) == 1

    def test_a_load_server_that_leads_elsewhere_too_connects_by_itself(self, three):
        info = {"info": {"class_type": "DrawThingsServerInfo", "inputs": {"server": ["0", 0]}}}
        graph = self.graph([("127.0.0.1", nobody()), (three[0].host, three[0].port)], info)
        with pytest.raises(execution.NodeFailed) as raised:
            execution.run(graph, NODES)
        assert raised.value.node.type == "DrawThingsLoadServer"

    @staticmethod
    def graph(addresses: list[tuple[str, int]], more: dict[str, Any] | None = None) -> workflow.Graph:
        loaders = {
            str(number): {"class_type": "DrawThingsLoadServer", "inputs": {"host": name, "port": port, "tls": "auto"}}
            for number, (name, port) in enumerate(addresses)
        }
        pool = {f"server_{number + 1}": [str(number), 0] for number in range(len(addresses))}
        prompt = {
            **loaders,
            "pool": {"class_type": "DrawThingsServerPool", "inputs": pool},
            "generate": {"class_type": "DrawThingsGenerate", "inputs": {**GIVEN, "batch_count": 3, "server": ["pool", 0]}},
            "save": {"class_type": "PreviewAny", "inputs": {"source": ["generate", 2]}},
            **(more or {}),
        }
        return workflow.parse(prompt, NODES, {})


class TestSideBySide:
    def test_two_nodes_of_a_graph_with_a_server_each(self, three):
        """Both servers are at work before either has ended."""
        graph = {}
        for number, one in enumerate(three[:2]):
            one.set("step_seconds", 0.2)
            inputs = {**GIVEN, "steps": 12, "server": [f"server {number}", 0]}
            graph[f"server {number}"] = {
                "class_type": "DrawThingsLoadServer",
                "inputs": {"host": one.host, "port": one.port, "tls": "auto"},
            }
            graph[f"generate {number}"] = {"class_type": "DrawThingsGenerate", "inputs": inputs}
            graph[f"save {number}"] = {"class_type": "PreviewAny", "inputs": {"source": [f"generate {number}", 2]}}
        with ThreadPoolExecutor() as beside:
            running = beside.submit(execution.run, workflow.parse(graph, NODES, {}), NODES)
            three[0].wait_until(PATIENCE, running=1)
            three[1].wait_until(PATIENCE, running=1)
            assert three[0].state()["running"] == 1
            assert len(running.result(PATIENCE).reports) == 2


class TestOtherNodes:
    def test_server_info_tells_of_each(self, three):
        dead = Server("127.0.0.1", nobody())
        text, data = asyncio.run(NODES["DrawThingsServerInfo"]().ask(ServerPool((*three.servers[:2], three.servers[0], dead))))["result"]
        told = json.loads(data)["servers"]
        assert [row["address"] for row in told] == [*(server.address for server in three.servers[:2]), dead.address]
        assert text.count("Draw Things server at ") == 3
        assert "No Draw Things server answers" in told[2]["error"]

    def test_files_exist_on_every_server(self, three):
        there, text, data = asyncio.run(NODES["DrawThingsFilesExist"]().check(three.pool, MODEL, False, 1))["result"]
        assert there
        assert text.count("1 of 1") == 3
        assert len(json.loads(data)["servers"]) == 3
        (three[2].models_directory / "only_here.ckpt").write_bytes(b"x")
        there, text, _ = asyncio.run(NODES["DrawThingsFilesExist"]().check(three.pool, "only_here.ckpt", False, 1))["result"]
        assert not there
        assert text.count("missing") == 2

    def test_files_exist_fails_where_one_does_not_answer(self, three):
        with pytest.raises(errors.ServerUnreachable):
            asyncio.run(
                NODES["DrawThingsFilesExist"]().check(ServerPool((*three.servers[:1], Server("127.0.0.1", nobody()))), MODEL, False, 1)
            )

    def test_upload_model_sends_to_each(self, three, tmp_path, monkeypatch):
        with contextlib.closing(sqlite3.connect(tmp_path / "mine.ckpt")) as made:
            made.execute("CREATE TABLE tensors (name TEXT)")
        monkeypatch.setenv("DRAWTHINGS_UPLOADS", str(tmp_path))
        dead = Server("127.0.0.1", nobody())
        pool = ServerPool((*three.servers[:2], dead))
        given, name, _, report = asyncio.run(NODES["DrawThingsUploadModel"]().upload(pool, "uploads/mine.ckpt", "keep"))["result"]
        assert given is pool
        assert all((one.models_directory / name).is_file() for one in three[:2])
        assert all(server.address in report for server in pool.servers)
        assert "No Draw Things server answers" in report

    def test_what_the_servers_have_together(self, three):
        outputs = asyncio.run(
            NODES["DrawThingsRecommendedSettings"]().recommend(ServerPool((Server("127.0.0.1", nobody()), *three.servers)), MODEL)
        )
        assert outputs[1:3] == (512, 512)
        words = asyncio.run(NODES["DrawThingsTriggerWords"]().add(three.pool, "a cat", MODEL))
        assert words[0] == "a cat"

    def test_a_pool_of_pools(self, three):
        inner = ServerPool(three.servers[:2])
        (pool,) = asyncio.run(NODES["DrawThingsServerPool"]().gather(inner, server_3=three.servers[2], server_5=None))
        assert pool == three.pool
        with pytest.raises(errors.InvalidInput, match="server_2"):
            asyncio.run(NODES["DrawThingsServerPool"]().gather(inner, server_2="127.0.0.1"))


def test_names_are_short_where_hosts_differ():
    servers = [Server("mac.local"), Server("gpu", 1), Server("gpu", 2), Server("mac.local")]
    assert spread.names(servers) == ["mac.local", "gpu:1", "gpu:2", "mac.local (2)"]
