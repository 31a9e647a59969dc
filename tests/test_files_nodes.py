"""Upload Model, Files Exist and Server Info as nodes and as commands, against a real server process."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import math
import socket
import time
from pathlib import Path

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import errors, file_check, report, servers_cli
from comfyui_drawthings.drawthings_core.catalog import SECTIONS
from comfyui_drawthings.drawthings_core.client import Client, client_for
from comfyui_drawthings.drawthings_core.file_check import Finding, Wanted, wanted
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes import host, known_files
from conftest import SECRET

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
MODEL = "sd_v1.5_f16.ckpt"
HEADER = b"SQLite format 3\0"
CONTENT = HEADER + bytes(range(256)) * 8
NAME = "new_lora_f16.ckpt"


def run(node_id: str, **inputs) -> dict:
    node = NODES[node_id]()
    return asyncio.run(getattr(node, node.FUNCTION)(**inputs))


def upload(server, file="uploads/" + NAME, existing="keep", **more) -> dict:
    return run("DrawThingsUploadModel", server=server, file=file, existing=existing, **more)


def check(server, files, hashes=False, minutes=1) -> dict:
    return run("DrawThingsFilesExist", server=server, files=files, hashes=hashes, minutes=minutes)


@pytest.fixture
def server(simulator):
    yield Server(simulator.host, simulator.port, TLSMode.plain)
    for left in simulator.models_directory.glob("new_*"):
        left.unlink()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file in the uploads folder."""
    monkeypatch.setenv("DRAWTHINGS_UPLOADS", str(tmp_path))
    (tmp_path / NAME).write_bytes(CONTENT)
    return tmp_path / NAME


class Watcher:
    """A host's listener: records what it is told, and presses Cancel on request."""

    previews = False

    def __init__(self) -> None:
        self.bars: list[tuple[int, int]] = []
        self.words: list[str] = []
        self.cancel_at_words = ""
        self.cancelled_at = math.inf

    def progress(self, node_id, value, total, preview):
        self.bars.append((value, total))

    def say(self, node_id, doing):
        self.words.append("" if doing is None else doing.text)

    def interrupted(self):
        if self.cancel_at_words and any(self.cancel_at_words in words for words in self.words):
            self.cancelled_at = min(self.cancelled_at, time.monotonic())
            return True
        return False


@pytest.fixture
def watcher(monkeypatch):
    watching = Watcher()
    monkeypatch.setattr(host, "listener", watching)
    return watching


# -- Upload Model


def test_upload_model(server, simulator, source, watcher):
    assert "uploads/" + NAME in NODES["DrawThingsUploadModel"].INPUT_TYPES()["required"]["file"][0]
    result = upload(server)
    passed_on, name, sha256, text = result["result"]
    assert (passed_on, name, sha256) == (server, NAME, hashlib.sha256(CONTENT).hexdigest())
    assert (simulator.models_directory / NAME).read_bytes() == CONTENT
    assert result["ui"] == {"text": [text]}
    assert f"Uploaded {NAME}: 2.1 kB in " in text
    assert "The server lists it, but does not know what it is" in text
    assert (len(CONTENT), len(CONTENT)) in watcher.bars
    assert watcher.words[-1] == ""
    assert any(words.startswith(f"Sending {NAME}: ") for words in watcher.words)
    again = upload(server)["result"][3]
    assert again.startswith(f"{NAME} is on the server already, with the same contents")
    assert len(simulator.requests("UploadFile")) == 1


def test_what_the_server_knows_is_said_and_offered(server, simulator, source, monkeypatch):
    """A file of a known name becomes part of the lists at once."""
    monkeypatch.setattr(known_files, "_seen", {})  # servers of other tests had it
    path = simulator.models_directory / "realesrgan_x4plus_f16.ckpt"
    before = path.read_bytes()
    path.unlink()
    known_files.remember(server.address, client_for(server).catalog(max_age=0))
    assert path.name not in known_files.listed("upscaler")
    try:
        text = upload(server, name=path.name)["result"][3]
    finally:
        path.write_bytes(before)
    assert "The server knows it as the upscaler Real-ESRGAN X4+." in text
    assert path.name in known_files.listed("upscaler")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"file": "none"}, "No file is chosen"),
        ({"file": "/etc/passwd"}, "not in a folder to pick from"),
        ({"file": "uploads/../" + NAME}, "not in a folder to pick from"),
        ({"file": "loras/" + NAME}, "not in a folder to pick from"),
        ({"file": "uploads/nothing.ckpt"}, "is not there"),
        ({"name": "../x.ckpt"}, "not a plain file name"),
        ({"existing": "perhaps"}, "existing is 'perhaps', but allowed is one of keep, replace, send anyway"),
        ({"server": "127.0.0.1"}, "connect a Load Server node"),
        ({"name": MODEL}, "has another file named"),
    ],
)
def test_what_upload_model_refuses(server, simulator, source, inputs, words):
    with pytest.raises(errors.InvalidInput, match=words):
        upload(**{"server": server, **inputs})
    assert simulator.requests("UploadFile") == []


def test_upload_model_asks_for_another_run_when_the_file_changes(source):
    state = NODES["DrawThingsUploadModel"].IS_CHANGED
    first = state(file="uploads/" + NAME, existing="keep")
    assert first == state(file="uploads/" + NAME, existing="keep")
    source.write_bytes(CONTENT + b"more")
    assert state(file="uploads/" + NAME, existing="keep") != first
    assert state(file="none") == "none"


def test_cancel_stops_an_upload_within_a_second(server, simulator, source, watcher):
    source.write_bytes(CONTENT * 10_000)
    simulator.set_fault("slow_upload", 0.1)
    watcher.cancel_at_words = "Sending"
    with pytest.raises(errors.GenerationCancelled):
        upload(server)
    assert time.monotonic() - watcher.cancelled_at < 1
    end = time.monotonic() + 2
    while list(simulator.models_directory.glob("new_*")) and time.monotonic() < end:
        time.sleep(0.02)
    assert not list(simulator.models_directory.glob("new_*"))


# -- Files Exist


def test_files_exist(server, simulator):
    result = check(server, f"{MODEL}\n\n nothing.ckpt ")
    all_there, text, data = result["result"]
    assert not all_there
    assert text.splitlines() == [f"On the server at {server.address}: 1 of 2.", f"there    {MODEL}", "missing  nothing.ckpt"]
    assert result["ui"] == {"text": [text]}
    assert [row["exists"] for row in json.loads(data)["files"]] == [True, False]
    assert check(server, MODEL)["result"][0]
    assert MODEL in known_files.listed("model")


def test_files_exist_with_hashes(server, simulator, watcher):
    other = "sd_xl_base_1.0_f16.ckpt"
    right, wrong = hashlib.sha256((simulator.models_directory / MODEL).read_bytes()).hexdigest(), "0" * 64
    simulator.clear()
    all_there, text, data = check(server, f"{MODEL}\nnothing.ckpt\n{other}", hashes=True)["result"]
    assert not all_there
    assert f"there    {MODEL}  SHA-256 {right}" in text
    assert [call["hashed"] for call in simulator.requests("FilesExist")] == [[], [MODEL], [other]]
    assert "The server reads sd_xl_base_1.0_f16.ckpt (2 of 2)" in watcher.words
    assert check(server, f"{right.upper()}  {MODEL}\n{other}")["result"][0]
    all_there, text, data = check(server, f"{MODEL} {wrong}\n{other}")["result"]
    assert not all_there
    assert f"differs  {MODEL}  SHA-256 {right}, expected {wrong[:12]}…" in text
    assert json.loads(data) == {
        "address": server.address,
        "all_there": False,
        "files": [
            {"file": MODEL, "exists": True, "sha256": right, "expected": wrong, "right": False},
            {"file": other, "exists": True, "sha256": None, "expected": None, "right": True},
        ],
    }


def test_hashes_have_a_time_limit_and_can_be_cancelled(server, simulator, watcher):
    simulator.set_fault("slow_hash", 3)
    with pytest.raises(errors.ServerUnreachable, match=r"it has not read 'sd_v1.5_f16.ckpt' to its end within 0.01 minutes.*more minutes"):
        file_check.check(client_for(server), [Wanted(MODEL)], hashes=True, minutes=0.01)
    watcher.cancel_at_words = "The server reads"
    with pytest.raises(errors.GenerationCancelled):
        check(server, MODEL, hashes=True)
    assert time.monotonic() - watcher.cancelled_at < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.ckpt\n b c.ckpt \n\na.ckpt", [Wanted("a.ckpt"), Wanted("b c.ckpt")]),
        ("A" * 64 + "  a b.ckpt", [Wanted("a b.ckpt", "a" * 64)]),
        ("b" * 64 + " *a.ckpt", [Wanted("a.ckpt", "b" * 64)]),
        ("a b.ckpt\t" + "c" * 64, [Wanted("a b.ckpt", "c" * 64)]),
        ("a.ckpt\na.ckpt " + "c" * 64, [Wanted("a.ckpt", "c" * 64)]),
        ("d" * 64, [Wanted("d" * 64)]),
    ],
)
def test_names_with_and_without_hashes(text, expected):
    assert wanted(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "No file is named"),
        (" \n ", "No file is named"),
        ("../etc/passwd", "not a plain file name"),
        ("a/b.ckpt " + "a" * 64, "not a plain file name"),
        ("..", "not a plain file name"),
        (f"a.ckpt {'a' * 64}\na.ckpt {'b' * 64}", "two different hashes"),
    ],
)
def test_names_that_are_refused(text, words):
    with pytest.raises(errors.InvalidInput, match=words):
        wanted(text)


def test_a_proxy_tells_no_hashes():
    with SimulatorProcess("--no-tls", "--proxy", "--thresholds", "20000,80000,1790000000") as proxy:
        server = Server(proxy.host, proxy.port, TLSMode.plain)
        all_there, text, _ = check(server, MODEL, hashes=True)["result"]
        assert all_there
        assert f"{MODEL}  (the server tells no hash)" in text
        all_there, text, _ = check(server, f"{MODEL} {'a' * 64}")["result"]
        assert not all_there
        assert f"unknown  {MODEL}" in text
        told = report.ask(client_for(server))
        assert "by name only: it is a proxy, or has no complete model: import or download one in Draw Things." in told.text()
        assert f"\nFiles:\n  {sorted(told.catalog.files, key=str.casefold)[0]}" in told.text()
        assert "Cloud thresholds (now): community 20,000, plus 80,000 compute units, until 2026-09-21T14:13:20Z." in told.text()
        assert json.loads(told.json())["thresholds"]["now"] == {"community": 20000, "plus": 80000, "expires": "2026-09-21T14:13:20Z"}
        client_for(server).close()


def test_both_ask_anew_each_time():
    for node_id in ("DrawThingsServerInfo", "DrawThingsFilesExist"):
        assert math.isnan(NODES[node_id].IS_CHANGED(server=None))


def test_words_of_findings():
    assert str(Finding("x.ckpt", True, True, "", "")) == "there    x.ckpt  (the server tells no hash)"
    assert not Finding("x.ckpt", True, True, "", "a" * 64).right
    assert not Finding("x.ckpt", False, False, "", "").right


# -- Server Info


def test_server_info(guarded):
    known_files._seen.clear()
    server = Server(guarded.host, guarded.port, secret=SECRET)
    result = run("DrawThingsServerInfo", server=server)
    text, data = result["result"]
    assert result["ui"] == {"text": [text]}
    lines = text.splitlines()
    assert lines[0] == f"Draw Things server at {guarded.address}"
    assert lines[1].startswith("It answers in ")
    assert lines[2] == f"TLS: on (mode auto), SHA-256 {guarded.fingerprint}."
    assert lines[3] == "Shared secret: accepted."
    assert lines[4].startswith("Model browser: on, ")
    assert "  Generic (Stable Diffusion v1.5): sd_v1.5_f16.ckpt (Stable Diffusion v1)" in lines
    assert "  Easy Negative: easynegative_ti_f16.ckpt (Stable Diffusion v1, <easynegative>)" in lines
    assert "  Real-ESRGAN X4+: realesrgan_x4plus_f16.ckpt (4 times)" in lines
    assert (
        "  an_unknown_finetune_f16.ckpt"
        in lines[lines.index("Files that no entry is about (helpers, or models that were never imported):") :]
    )
    assert "The model 'Veo 3.1' was left out: it runs on a web service, not on this server." in lines
    assert SECRET not in text + data
    parsed = json.loads(data)
    catalog = client_for(server).catalog()
    for kind, key in zip(SECTIONS, ("models", "loras", "controls", "textual_inversions", "upscalers"), strict=True):
        assert {row["file"] for row in parsed[key]} == set(catalog.entries[kind])
        assert f"({len(parsed[key])}):" in text
    assert parsed["tls"] == {"mode": "auto", "encrypted": True, "fingerprint": guarded.fingerprint, "built_in_certificate": False}
    assert (parsed["secret"], parsed["model_browser"], parsed["thresholds"], parsed["not_offered"]) == ("accepted", True, {}, [])
    assert MODEL in known_files.listed("model")
    client_for(server).close()


def test_server_info_without_tls_secret_and_lists():
    with SimulatorProcess("--no-tls", "--thresholds", "20000,80000,0") as simulator:
        for secret, words in ((None, "not asked for"), ("x", "given, but the server asks for none")):
            told = report.ask(Client(Server(simulator.host, simulator.port, TLSMode.plain, secret=secret)))
            lines = told.text().splitlines()
            assert lines[2:5] == [
                "TLS: off (mode plain).",
                f"Shared secret: {words}.",
                "Model browser: off, so nothing is listed. Type file names by hand, or switch it on in Draw Things (gRPCServerCLI: --model-browser).",
            ]
        assert "Cloud thresholds (raised at these hours): community 20,000, plus 80,000 compute units." in lines
        assert json.loads(told.json())["tls"]["fingerprint"] is None


def test_server_info_says_what_is_wrong(guarded):
    for secret in (None, "wrong horse"):
        with pytest.raises(errors.SecretRejected):
            run("DrawThingsServerInfo", server=Server(guarded.host, guarded.port, secret=secret))
    with pytest.raises(errors.InvalidInput, match="connect a Load Server node"):
        run("DrawThingsServerInfo", server=None)


def test_what_a_server_says_stays_on_its_line(tmp_path):
    """Names and families from a server's own files: line breaks, other scripts, families that are new."""
    for file in ("mine.ckpt", "strange.ckpt", "clip_vit_l14_f16.ckpt", "vae_ft_mse_840000_f16.ckpt"):
        (tmp_path / file).write_bytes(b"x")
    mine = {
        "name": "Zwei\nZeilen \x1b[31m",
        "file": "mine.ckpt",
        "prefix": "日本, ",
        "version": "v1",
        "upcast_attention": False,
        "default_scale": 8,
    }
    (tmp_path / "custom.json").write_text(json.dumps([mine]), encoding="utf-8")
    with SimulatorProcess("--no-tls", "--model-browser", str(tmp_path)) as simulator:
        told = report.ask(Client(Server(simulator.host, simulator.port, TLSMode.plain)))
    assert "\nModels (1):\n  Zwei Zeilen  [31m: mine.ckpt (Stable Diffusion v1, prompt begins '日本, ')\n" in told.text()
    assert "\n  strange.ckpt" in told.text()
    assert json.loads(told.json())["models"][0]["name"] == mine["name"]


def test_new_families_and_missing_calls_are_named():
    from catalogs import catalog, model

    told = report.ServerReport(
        "host:1",
        TLSMode.auto,
        None,
        0.0123,
        report.Secret.not_asked,
        catalog(models=[model("x.ckpt", "flux9"), {"file": "y.ckpt", "name": "Y"}]),
        {},
        ("Hours",),
    )
    assert "It answers in 12.3 ms." in told.text()
    assert "Families that are new to this package: flux9." in told.text()
    assert "It is older than these calls, or another program: Hours." in told.text()
    assert "\nThe model 'y.ckpt' was left out: the server does not tell its version." in told.text()


# -- commands


def servers(*arguments: str) -> int:
    return servers_cli.main(list(arguments))


def test_check_says_the_same(guarded, capsys, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_STUDIO", SECRET)
    assert servers("check", guarded.address, "--secret", "studio") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Draw Things server at {guarded.address}\n")
    assert SECRET not in text
    assert servers("check", guarded.address, "--secret", "studio", "--json") == 0
    assert json.loads(capsys.readouterr().out)["secret"] == "accepted"


def test_check_names_the_next_step_of_each_failure(guarded, capsys, monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_STUDIO", "another")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    for arguments, problem, step in (
        (
            (f"127.0.0.1:{nobody}",),
            "No Draw Things server answers",
            f"In the app: Switch API Server on, with protocol gRPC and port {nobody};",
        ),
        ((guarded.address, "--tls", "plain"), "speaks TLS", "On the command line: gRPCServerCLI MODELS_FOLDER --no-tls"),
        ((guarded.address, "--tls", "system"), "cannot be trusted", "In the app: Update Draw Things"),
        ((guarded.address,), "asks for a shared secret", "On the command line: gRPCServerCLI MODELS_FOLDER  (without --shared-secret)"),
        ((guarded.address, "--secret", "studio"), "did not accept the shared secret", "In the app: Compare the API server's shared secret"),
    ):
        assert servers("check", *arguments) == 1
        told = capsys.readouterr().err
        assert problem in told
        assert step in told


def test_upload_and_files_on_the_command_line(server, source, capsys, monkeypatch):
    address = server.address
    assert servers("upload", address, str(source)) == 0
    assert f"Uploaded {NAME}" in capsys.readouterr().out
    assert servers("files", address, NAME, MODEL) == 0
    capsys.readouterr()
    assert servers("files", address, NAME, "nothing.ckpt", "--json") == 1
    assert [row["exists"] for row in json.loads(capsys.readouterr().out)["files"]] == [True, False]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{hashlib.sha256(CONTENT).hexdigest()}  {NAME}\n"))
    assert servers("files", address, "-") == 0
    assert "1 of 1, with the right contents." in capsys.readouterr().out
    assert servers("upload", address, str(Path(source).with_name("absent.ckpt"))) == 1
    assert "cannot be read" in capsys.readouterr().err
