"""Uploads: which files may leave this machine, and what becomes of them on the way and on the server."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import errors, model_files, uploading
from comfyui_drawthings.drawthings_core.client import Cancellation, Client
from comfyui_drawthings.drawthings_core.model_files import Folder, Format, Library, Opened, format_of, plain_name, whole_model
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.drawthings_core.uploading import Existing, UploadStage, size_words, upload_model
from conftest import SECRET

HEADER = b"SQLite format 3\0"
NAME = "new_lora_f16.ckpt"


@pytest.fixture
def client(simulator):
    with_client = Client(Server(simulator.host, simulator.port, TLSMode.plain))
    yield with_client
    with_client.close()
    for left in simulator.models_directory.glob("new_*"):
        left.unlink()


@pytest.fixture
def source(tmp_path):
    """Three chunks and a bit of Draw Things' format."""
    return written(tmp_path / NAME, (3 << 20) + 17)


def written(path: Path, size: int, seed: int = 0) -> Path:
    path.write_bytes(HEADER + np.random.default_rng(seed).bytes(size - len(HEADER)))
    return path


def nothing_left(simulator: SimulatorProcess) -> bool:
    """Whether the server has no trace of NAME, at the latest after two seconds."""
    end = time.monotonic() + 2
    while list(simulator.models_directory.glob("new_*")) and time.monotonic() < end:
        time.sleep(0.02)
    return not list(simulator.models_directory.glob("new_*"))


# -- what arrives


@pytest.mark.parametrize("size", [17, 1 << 20, (3 << 20) + 17, 70 << 20])
def test_upload(client, simulator, tmp_path, size):
    source = written(tmp_path / NAME, size)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    seen: list[uploading.UploadProgress] = []
    done = client.upload(source, on_progress=seen.append)
    arrived = simulator.models_directory / NAME
    assert hashlib.sha256(arrived.read_bytes()).hexdigest() == digest
    assert (done.name, done.size, done.sha256, done.sent) == (NAME, size, digest, True)
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages == [UploadStage.reading, UploadStage.sending, UploadStage.checking]
    assert all(progress.total == size and 0 <= progress.done <= size for progress in seen)
    for stage in stages[:2]:
        counts = [progress.done for progress in seen if progress.stage is stage]
        assert counts == sorted(counts)
    (call,) = simulator.requests("UploadFile")
    assert (call["largest"], call["chunks"]) == (min(size, 1 << 20), -(-size // (1 << 20)))
    assert call["kept"]


def test_progress_in_words():
    told = [
        str(uploading.UploadProgress(stage, "x.ckpt", done, 6_900_000_000))
        for stage, done in zip(UploadStage, (0, 0, 12_345_678, 0), strict=True)
    ]
    assert told == [
        "Reading x.ckpt: 0 bytes of 6.9 GB",
        "The server reads its own x.ckpt (6.9 GB)",
        "Sending x.ckpt: 12.3 MB of 6.9 GB",
        "The server checks x.ckpt (6.9 GB)",
    ]
    assert [size_words(count) for count in (1, 999, 1000, 999_949, 99_960, 5 * 10**12)] == [
        *("1 bytes", "999 bytes", "1.0 kB", "1.0 MB", "100 kB", "5000 GB"),
    ]


MEASURE = """
import resource, sys
from pathlib import Path
from comfyui_drawthings.drawthings_core.client import Client
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.tls import TLSMode

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

client = Client(Server(sys.argv[1], int(sys.argv[2]), TLSMode.plain))
client.echo()
before = peak()
client.upload(Path(sys.argv[3]))
print(peak() - before)
client.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_large_file_is_never_in_memory(client, simulator, tmp_path):
    """300 MB to a server that is slower than this machine: the memory that it takes is that of the window."""
    source = tmp_path / NAME
    with source.open("wb") as file:
        file.write(HEADER)
        file.truncate(300_000_000)
    simulator.set_fault("slow_upload", 0.002)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, simulator.host, str(simulator.port), str(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < uploading.WINDOW * uploading.CHUNK_SIZE
    assert (simulator.models_directory / NAME).stat().st_size == 300_000_000


# -- a name that is there already


def test_equal_contents_are_not_sent_again(client, simulator, source):
    assert client.upload(source).sent
    seen: list[uploading.UploadProgress] = []
    again = client.upload(source, on_progress=seen.append)
    assert (again.sent, again.sha256) == (False, hashlib.sha256(source.read_bytes()).hexdigest())
    assert [progress.stage for progress in seen][-1] is UploadStage.comparing
    assert not client.upload(source, existing=Existing.replace).sent
    assert len(simulator.requests("UploadFile")) == 1
    assert client.upload(source, existing=Existing.send_anyway).sent
    assert [call["hashed"] for call in simulator.requests("FilesExist")] == [[], [], [NAME], [], [NAME]]


def test_a_name_whose_hash_the_server_does_not_tell_is_said_so(client, simulator, source):
    (simulator.models_directory / NAME).mkdir()  # which exists and cannot be read; a proxy tells no hash either
    try:
        with pytest.raises(errors.NotUploadable, match=f"has a file named '{NAME}' and does not tell its hash"):
            client.upload(source)
    finally:
        (simulator.models_directory / NAME).rmdir()
    assert simulator.requests("UploadFile") == []


def test_other_contents_stay_unless_told(client, simulator, source):
    (simulator.models_directory / NAME).write_bytes(b"another one")
    with pytest.raises(errors.NotUploadable, match=f"has another file named '{NAME}'"):
        client.upload(source)
    assert (simulator.models_directory / NAME).read_bytes() == b"another one"
    assert client.upload(source, existing=Existing.replace).sent
    assert (simulator.models_directory / NAME).read_bytes() == source.read_bytes()


# -- what goes wrong


@pytest.mark.parametrize("where", ["reading", "comparing", "sending", "window"])
def test_cancel_ends_an_upload_at_once_and_leaves_nothing(client, simulator, tmp_path, where):
    source = written(tmp_path / NAME, 80 << 20)
    if where == "comparing":
        (simulator.models_directory / NAME).write_bytes(b"x")
        simulator.set_fault("slow_hash", 20)
    elif where != "reading":
        simulator.set_fault("slow_upload" if where == "sending" else "upload_stalls", 0.05)
    cancellation = Cancellation()
    cancelled_at: list[float] = []

    def cancel():
        cancelled_at.append(time.monotonic())
        cancellation.cancel()

    started = {"reading": UploadStage.reading, "comparing": UploadStage.comparing}.get(where, UploadStage.sending)

    def told(progress):
        if progress.stage is started and not cancelled_at:
            cancelled_at.append(0)
            threading.Timer(0.2 if where != "reading" else 0, cancel).start()

    if where == "window":  # nothing is ever told: the server does not even answer the first message
        threading.Timer(1, cancel).start()
    with pytest.raises(errors.GenerationCancelled):
        client.upload(source, on_progress=told, cancellation=cancellation)
    assert time.monotonic() - cancelled_at[-1] < 1
    if where == "comparing":
        assert (simulator.models_directory / NAME).read_bytes() == b"x"
    else:
        assert nothing_left(simulator)
    simulator.clear_faults()
    (simulator.models_directory / NAME).unlink(missing_ok=True)
    assert client.upload(source).sent


def test_server_dies_in_the_middle(tmp_path):
    source = written(tmp_path / NAME, 8 << 20)
    with SimulatorProcess("--no-tls", "--fault", "upload_kill=3") as dying:
        client = Client(Server(dying.host, dying.port, TLSMode.plain))
        with pytest.raises(errors.ConnectionLost, match="went away during the call"):
            client.upload(source)
        client.close()
        dying.wait()


@pytest.mark.parametrize(
    ("fault", "value", "raised", "words"),
    [
        ("upload_error", "UNIMPLEMENTED", errors.NotSupported, "does not offer UploadFile: it is a proxy"),
        ("upload_error", None, errors.UploadFailed, "see whether its disk is full"),
        ("upload_error", {"code": "RESOURCE_EXHAUSTED", "after": 2}, errors.MessageTooLarge, "refuses"),
        ("upload_spoils", None, errors.UploadFailed, r"DATA_LOSS.*what arrived is not what was sent"),
        ("disk_full", 2_000_000, errors.UploadFailed, "see whether its disk is full"),
    ],
    ids=["a proxy", "refused", "in the middle", "other bytes", "disk full"],
)
def test_an_upload_that_the_server_ends(client, simulator, source, fault, value, raised, words):
    simulator.set_fault(fault, value)
    with pytest.raises(raised, match=words):
        client.upload(source)
    assert nothing_left(simulator)
    simulator.clear_faults()
    assert client.upload(source).sent  # the client is as good as new


def test_proxy_takes_no_uploads(source):
    with SimulatorProcess("--no-tls", "--proxy") as proxy:
        client = Client(Server(proxy.host, proxy.port, TLSMode.plain))
        with pytest.raises(errors.NotSupported, match="it is a proxy"):
            client.upload(source)
        client.close()


@pytest.mark.parametrize("secret", [None, "wrong horse"])
def test_wrong_secret_is_told_before_the_file_is_read(guarded, source, secret):
    client = Client(Server(guarded.host, guarded.port, secret=secret))
    seen: list[uploading.UploadProgress] = []
    with pytest.raises(errors.SecretRejected) as caught:
        client.upload(source, on_progress=seen.append)
    assert (str(secret) in str(caught.value), seen, guarded.requests("UploadFile")) == (False, [], [])
    client.close()


def test_the_secret_is_in_every_message(guarded, source):
    client = Client(Server(guarded.host, guarded.port, secret=SECRET))
    assert client.upload(source).sent
    (guarded.models_directory / NAME).unlink()
    client.close()


@pytest.mark.parametrize("change", ["grows", "shrinks", "same size"])
@pytest.mark.parametrize("stage", [UploadStage.reading, UploadStage.sending])
def test_a_file_that_changes_meanwhile(client, simulator, tmp_path, change, stage):
    source = written(tmp_path / NAME, 60 << 20)
    simulator.set_fault("slow_upload", 0.01)

    def meddle(progress):
        if progress.stage is stage and progress.done < progress.total:
            with source.open("r+b") as file:
                if change == "shrinks":
                    file.truncate(1 << 20)
                else:
                    file.seek(0, os.SEEK_END if change == "grows" else os.SEEK_SET)
                    file.write(b"other")

    with pytest.raises(errors.NotUploadable, match="changed while it was read"):
        client.upload(source, on_progress=meddle)
    assert nothing_left(simulator)


# -- which files, under which names

NOT_PLAIN = ["../evil.ckpt", "a/b.ckpt", "", " ", ".", "..", "a\\b.ckpt", "/etc/passwd", "a\0b.ckpt", "a\nb.ckpt", "\ud800.ckpt", "x" * 256]


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_names_with_path_parts_are_refused(name):
    with pytest.raises(errors.InvalidInput, match=r"file name"):
        plain_name(name)


@pytest.mark.parametrize("name", ["../evil.ckpt", "a/b.ckpt", "a\\b.ckpt", ".."])
def test_nothing_is_asked_about_a_name_with_path_parts(client, simulator, source, name):
    with pytest.raises(errors.InvalidInput):
        client.upload(source, name)
    assert simulator.requests(None) == []


@pytest.mark.parametrize("name", ["x.ckpt", "Grüße 日本.ckpt", "..ckpt", "x" * 255, "~x.ckpt"])
def test_plain_names_stay(name):
    assert plain_name(f" {name} ") == name


@pytest.fixture
def library(tmp_path):
    """Two folders to pick from, and what lies outside of them."""
    loras, extra, own, outside = (tmp_path / name for name in ("models/loras", "disk2/loras", "uploads", "outside"))
    for folder in (loras / "flux", extra, own, outside):
        folder.mkdir(parents=True)
    for path in (loras / "a.ckpt", loras / "flux" / "b.ckpt", extra / "c.ckpt", own / "d.ckpt", outside / "secret.ckpt"):
        path.write_bytes(HEADER)
    (loras / "notes.yaml").write_text("key: value")
    (own / ".hidden.ckpt").write_bytes(HEADER)
    (own / "link_in.ckpt").symlink_to(loras / "a.ckpt")
    (own / "link_out.ckpt").symlink_to(outside / "secret.ckpt")
    (own / "link_etc.ckpt").symlink_to("/etc/passwd")
    (own / "dangling.ckpt").symlink_to(own / "nowhere.ckpt")
    (own / "loop.ckpt").symlink_to(own / "loop.ckpt")
    (loras / "folder_out").symlink_to(outside)
    (own / "split.ckpt").write_bytes(HEADER)
    (own / "split.ckpt-tensordata").write_bytes(b"weights")
    (own / "sly.ckpt").write_bytes(HEADER)
    (own / "sly.ckpt-tensordata").symlink_to("/etc/passwd")
    files = ("a.ckpt", "flux/b.ckpt", "c.ckpt", "notes.yaml", "folder_out/secret.ckpt")
    return Library([Folder("uploads", (own,), tuple(os.listdir(own))), Folder("loras", (loras, extra), files)])


def test_what_is_listed(library):
    listed = library.listing()
    assert listed[:2] == ["uploads/d.ckpt", "uploads/dangling.ckpt"]
    assert {"loras/a.ckpt", "loras/flux/b.ckpt", "loras/c.ckpt", "uploads/split.ckpt"} <= set(listed)
    assert not {name for name in listed if "notes" in name or "hidden" in name or "tensordata" in name}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("loras/a.ckpt", ["a.ckpt"]),
        ("loras/flux/b.ckpt", ["b.ckpt"]),
        ("loras\\flux\\b.ckpt", ["b.ckpt"]),
        ("loras/c.ckpt", ["c.ckpt"]),
        (" uploads/d.ckpt ", ["d.ckpt"]),
        ("uploads/link_in.ckpt", ["link_in.ckpt"]),
        ("uploads/split.ckpt", ["split.ckpt-tensordata", "split.ckpt"]),
    ],
)
def test_files_that_can_be_picked(library, choice, names):
    found = library.find(choice)
    assert [one.name for one in found] == names
    assert all(one.path.is_file() and not one.path.is_symlink() for one in found)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("", "not in a folder"),
        ("none", "not in a folder"),
        ("a.ckpt", "not in a folder"),
        ("custom_nodes/a.ckpt", "not in a folder"),
        ("loras/", "not in a folder"),
        ("loras/../../outside/secret.ckpt", "not in a folder"),
        ("loras/flux/../a.ckpt", "not in a folder"),
        ("uploads/..", "not in a folder"),
        ("../outside/secret.ckpt", "not in a folder"),
        ("loras//etc/passwd", "not in a folder"),
        ("/etc/passwd", "not in a folder"),
        ("C:\\models\\a.ckpt", "not in a folder"),
        ("loras/C:/a.ckpt", "not in a folder"),
        ("\\\\server\\share\\a.ckpt", "not in a folder"),
        ("loras/a.ckpt::$DATA", "not in a folder"),
        ("LORAS/a.ckpt", "not in a folder"),
        ("loras/a.ckpt.", "not a model file by its ending"),
        ("loras/a.ckpt ./x", "not a model file by its ending"),
        ("loras/NUL", "not a model file by its ending"),
        ("loras/FLUX~1/x.ckpt", "is not there"),
        ("loras/flux/C:a.ckpt", "not in a folder"),
        ("loras/a\0.ckpt", "not in a folder"),
        ("loras/notes.yaml", "not a model file by its ending"),
        ("loras/flux", "not a model file by its ending"),
        ("uploads/.hidden.ckpt", "not a model file by its ending"),
        ("uploads/split.ckpt-tensordata", "not a model file by its ending"),
        ("loras/nothing.ckpt", "is not there"),
        ("uploads/link_out.ckpt", "leads out of the folders"),
        ("uploads/link_etc.ckpt", "leads out of the folders"),
        ("loras/folder_out/secret.ckpt", "leads out of the folders"),
        ("uploads/sly.ckpt", "leads out of the folders"),
        ("uploads/dangling.ckpt", "leads nowhere"),
        ("uploads/loop.ckpt", "leads nowhere"),
    ],
)
def test_files_that_cannot_be_picked(library, choice, words):
    with pytest.raises(errors.InvalidInput, match=words):
        library.find(choice)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
def test_a_pipe_in_a_folder_is_neither_waited_for_nor_sent(client, simulator, tmp_path):
    os.mkfifo(tmp_path / "x.ckpt")
    library = Library([Folder("loras", (tmp_path,), ("x.ckpt",))])
    with pytest.raises(errors.NotUploadable, match="a pipe"):
        upload_model(client, library.find("loras/x.ckpt"), "", Cancellation())
    assert simulator.requests(None) == []


def test_a_hard_link_is_the_file_itself(library, tmp_path):
    """docs/security.md says so: nobody can tell it from a copy, and who makes one can read the file."""
    (tmp_path / "models" / "loras" / "hard.ckpt").hardlink_to(tmp_path / "outside" / "secret.ckpt")
    assert [one.name for one in library.find("loras/hard.ckpt")] == ["hard.ckpt"]


def test_the_own_folder(tmp_path, monkeypatch):
    assert model_files.uploads().files == ()
    home = Path(os.environ["DRAWTHINGS_HOME"]) / "uploads"
    home.mkdir(parents=True)
    (home / "x.ckpt").write_bytes(b"x")
    assert model_files.uploads() == Folder("uploads", (home,), ("x.ckpt",))
    monkeypatch.setenv("DRAWTHINGS_UPLOADS", str(tmp_path))
    assert model_files.uploads().roots == (tmp_path,)


def _folder(path):
    path.mkdir()


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (_folder, "is a folder"),
        (_pipe, "is a device or a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device or a pipe"),
        (_socket, "cannot be read"),
        (lambda path: None, "cannot be read .No such file"),
    ],
    ids=["empty", "folder", "pipe", "device", "socket", "absent"],
)
def test_only_regular_files_are_opened(client, simulator, tmp_path, make, words):
    path = tmp_path / "x.ckpt"
    make(path)
    with pytest.raises(errors.NotUploadable, match=words):
        client.upload(path)
    assert simulator.requests(None) == []


# -- formats


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (HEADER, Format.draw_things),
        ((40).to_bytes(8, "little") + b'{"a":{}', Format.safetensors),
        (b"GGUF" + bytes(12), Format.gguf),
        (b"PK\x03\x04" + bytes(12), Format.pytorch),
        (b"\x80\x02}q" + bytes(12), Format.pytorch),
        (b"hello", Format.other),
        (b"x", Format.other),
    ],
)
def test_formats(head, known):
    assert format_of(head) is known


def test_other_formats_are_refused_in_words(client, simulator, tmp_path):
    source = tmp_path / "new_style.safetensors"
    source.write_bytes((8).to_bytes(8, "little") + b"{}      ")
    with pytest.raises(
        errors.NotUploadable, match=r"is a safetensors file, and .* neither use nor convert it: import it in the Draw Things app"
    ):
        upload_model(client, whole_model(source), "", Cancellation())
    source.rename(tmp_path / "new_style.ckpt")  # an ending convinces nobody
    with pytest.raises(errors.NotUploadable, match="is a safetensors file"):
        upload_model(client, whole_model(tmp_path / "new_style.ckpt"), "", Cancellation())
    assert simulator.requests(None) == []
    (sent,) = upload_model(client, whole_model(tmp_path / "new_style.ckpt"), "", Cancellation(), other_formats=True)
    assert sent.sent


def test_weights_go_first_and_under_the_same_name(client, simulator, source):
    weights = source.with_name(source.name + "-tensordata")
    weights.write_bytes(b"weights")
    done = upload_model(client, whole_model(source), "new_name.ckpt", Cancellation())
    assert [one.name for one in done] == ["new_name.ckpt-tensordata", "new_name.ckpt"]
    assert [call["filename"] for call in simulator.requests("UploadFile")] == [one.name for one in done]
    with pytest.raises(errors.NotUploadable, match=r"ends in \.ckpt"):
        upload_model(client, whole_model(source), "new_name.safetensors", Cancellation())


def test_nothing_is_sent_when_one_of_two_is_refused(client, simulator, source):
    source.with_name(source.name + "-tensordata").write_bytes(b"weights")
    (simulator.models_directory / NAME).write_bytes(b"another one")
    with pytest.raises(errors.NotUploadable, match="another file named"):
        upload_model(client, whole_model(source), "", Cancellation())
    assert simulator.requests("UploadFile") == []


def test_half_a_model_on_the_server_is_said(client, simulator, source):
    source.with_name(source.name + "-tensordata").write_bytes(b"its weights")
    simulator.set_fault("upload_error", {"code": "INTERNAL", "after": 2})
    with pytest.raises(
        errors.DrawThingsError, match=r"The server has half_pair\.ckpt-tensordata of the new model but not 'half_pair\.ckpt'"
    ):
        upload_model(client, whole_model(source), "half_pair.ckpt", Cancellation())


def test_a_closed_file_is_an_error_of_ours(source):
    with Opened(source) as file:
        pieces = file.pieces(1 << 20)
        next(pieces)
    with pytest.raises(errors.NotUploadable, match="closed file"):
        next(pieces)
