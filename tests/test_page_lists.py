"""nodes/page/lists.py: what the lists of a graph's nodes are filled with."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import rules
from comfyui_drawthings.drawthings_core.catalog import FACE_RESTORATION, FACE_RESTORATION_FILES, SECTIONS
from comfyui_drawthings.drawthings_core.client import Cancellation, client_for
from comfyui_drawthings.drawthings_core.errors import GenerationCancelled, InvalidInput
from comfyui_drawthings.drawthings_core.families import families, refines
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes import known_files
from comfyui_drawthings.nodes.page import lists as module
from comfyui_drawthings.nodes.page.lists import lists
from conftest import SECRET


def at(simulator: Any, **more: Any) -> dict[str, Any]:
    """Load Server's widgets for a simulator."""
    return {"host": simulator.host, "port": simulator.port, "tls": "auto", "secret": "", "ca_file": "", **more}


def ask(*servers: Any, refresh: bool = True) -> list[dict[str, Any]]:
    return lists({"servers": list(servers), "refresh": refresh}, Cancellation())["servers"]


@pytest.fixture
def silent() -> Any:
    """The port of something that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_files_are_told_with_name_and_family(simulator):
    (told,) = ask(at(simulator))
    assert (told["address"], told["state"]) == (simulator.address, "listed")
    assert told["files"].keys() == {*SECTIONS, FACE_RESTORATION}
    catalog = client_for(Server(simulator.host, simulator.port)).catalog()
    for kind in SECTIONS:
        rows = told["files"][kind]
        assert {row["file"] for row in rows} == {file for file, entry in catalog.entries[kind].items() if rules.chosen(entry)}
        assert [row["name"].casefold() for row in rows] == sorted(row["name"].casefold() for row in rows)
    model = next(row for row in told["files"]["model"] if row["version"] == "flux1")
    assert model["family"] == families()["flux1"].name
    assert model["name"] == catalog.entries["model"][model["file"]].name
    assert [row["file"] for row in told["files"][FACE_RESTORATION]] == list(FACE_RESTORATION_FILES)


def test_what_cannot_be_chosen_is_not_offered(simulator):
    (told,) = ask(at(simulator))
    assert "wurstchen_v3.0_stage_b" not in {row["version"] for row in told["files"]["model"]}


def test_several_servers_answer_in_order(simulator, guarded):
    Profiles().save_secret("studio", SECRET)
    first, second, third = ask(at(guarded, secret="studio"), at(simulator), at(guarded))
    assert [first["address"], second["address"], third["address"]] == [guarded.address, simulator.address, guarded.address]
    assert [first["state"], second["state"], third["state"]] == ["listed", "listed", "failed"]
    assert third["error"]["type"] == "SecretRejected"
    assert SECRET not in str([first, second, third])


def test_one_that_is_wrong_does_not_spoil_the_others(simulator):
    wrong, none, unknown, right = ask({"host": "a b"}, 7, at(simulator, secret="nobody"), at(simulator))
    assert [row["error"]["type"] for row in (wrong, none, unknown)] == ["InvalidInput", "InvalidInput", "ProfileError"]
    assert right["state"] == "listed"


@pytest.mark.parametrize("body", [{"servers": 1}, {"servers": [{}] * 33}, {"servers": [], "refresh": "yes"}])
def test_a_body_that_is_not_ours_is_refused(body):
    with pytest.raises(InvalidInput):
        lists(body, Cancellation())


def test_a_server_that_went_away_is_told_with_what_was_known(simulator):
    address = "127.0.0.1:9"  # discard: nothing listens there
    known_files.remember(address, client_for(Server(simulator.host, simulator.port)).catalog())
    (told,) = ask({"host": "127.0.0.1", "port": 9})
    assert (told["state"], told["error"]["type"]) == ("failed", "ServerUnreachable")
    assert told["files"]["model"]


def test_a_server_that_does_not_answer_is_late(silent, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    started = time.monotonic()
    (told,) = ask({"host": "127.0.0.1", "port": silent})
    assert time.monotonic() - started < 3
    assert (told["state"], told["files"]) == ("late", {})


def test_waiting_can_be_ended(silent):
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()
    started = time.monotonic()
    with pytest.raises(GenerationCancelled):
        lists({"servers": [{"host": "127.0.0.1", "port": silent}], "refresh": True}, cancellation)
    assert time.monotonic() - started < module.PATIENCE / 2


def _echoes(simulator: Any) -> int:
    return len(simulator.requests("Echo"))


def test_who_asks_at_once_shares_one_call(simulator):
    ask(at(simulator))  # connected
    before = _echoes(simulator)
    simulator.set_fault("slow_echo", 0.5)
    threads = [threading.Thread(target=ask, args=(at(simulator), at(simulator))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert _echoes(simulator) == before + 1


def test_a_kept_answer_is_enough_without_refresh(simulator):
    ask(at(simulator))
    before = _echoes(simulator)
    assert ask(at(simulator), refresh=False)[0]["state"] == "listed"
    assert _echoes(simulator) == before


@pytest.mark.parametrize(
    ("host", "familiar"),
    [
        *(("127.0.0.1", True), ("192.168.1.20", True), ("100.64.0.7", True), ("fe80::1%en0", True), ("::1", True)),
        *(("localhost", True), ("studio", True), ("my-mac.local", True), ("My-Mac.local.", True)),
        *(("8.8.8.8", False), ("2001:4860:4860::8888", False), ("evil.example", False), ("local.evil.example", False)),
    ],
)
def test_opening_a_workflow_calls_nobody_on_the_internet(host, familiar):
    assert module._familiar(Server(host)) == familiar


def test_a_server_on_the_internet_is_asked_once_it_is_used(simulator):
    server = {"host": "studio.example", "port": 7859}
    assert ask(server, refresh=False) == [{"address": "studio.example:7859", "state": "unasked", "files": {}}]
    Profiles().save_server("studio", "studio.example", 7859, TLSMode.auto)
    assert module._familiar(Server("studio.example", 7859))
    assert not module._familiar(Server("studio.example", 7860))
    Profiles().pin("other.example:7859", "a certificate")
    assert module._familiar(Server("other.example", 7859))
    known_files.remember("third.example:7859", client_for(Server(simulator.host, simulator.port)).catalog())
    assert module._familiar(Server("third.example", 7859))


def test_what_fits_a_model_is_what_the_rules_accept():
    fits = rules.also_fits()
    assert fits.keys() == set(rules.RELATIONS)
    for model in families():
        assert set(fits["refiner"].get(model, ())) == {other for other in families() if other != model and refines(other, model)}
    assert fits["LoRA"] == {"kandinsky2.1": ["v1"]}


def test_every_list_says_what_it_lists():
    """The page knows from /object_info which widget takes which files."""
    for node_id, node in comfyui_drawthings.NODE_CLASS_MAPPINGS.items():
        for inputs in node.INPUT_TYPES().values():
            for name, spec in inputs.items():
                options = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else {}
                if f"{name}_file" in node.INPUT_TYPES().get("optional", {}) or "server_file" in options:
                    assert options["drawthings_files"] in {*SECTIONS, FACE_RESTORATION}, (node_id, name)
                if "drawthings_relation" in options:
                    assert options["drawthings_relation"] in rules.RELATIONS
    refiner = comfyui_drawthings.NODE_CLASS_MAPPINGS["DrawThingsRefinerOptions"].INPUT_TYPES()["required"]
    assert [spec[1].get("drawthings_relation") for spec in refiner.values()].count("refiner") == 1
