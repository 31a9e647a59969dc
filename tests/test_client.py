"""The client against a real server process: calls, TLS, secrets, results, errors, cancellation."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
import time

import grpc
import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import errors, tensor, tls
from comfyui_drawthings.drawthings_core.client import CALL_TIMEOUT, Cancellation, Client, client_for
from comfyui_drawthings.drawthings_core.configuration import Configuration, Control, LoRA, Sampler
from comfyui_drawthings.drawthings_core.request import GenerationRequest, Hint, build
from comfyui_drawthings.drawthings_core.response import Preview, Stage, Step, Transfer
from comfyui_drawthings.drawthings_core.servers import Profiles, Server
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.drawthings_core.watch import Patience, Watch
from conftest import SECRET

MODEL = "sd_v1.5_f16.ckpt"


@pytest.fixture
def client(simulator):
    with_client = Client(Server(simulator.host, simulator.port, TLSMode.plain))
    yield with_client
    with_client.close()


def request(**more) -> GenerationRequest:
    settings = {"model": MODEL, "start_width": 256, "start_height": 192, "steps": 4, "sampler": Sampler.dpmpp_2m_trailing}
    settings.update(more.pop("settings", {}))
    return GenerationRequest(Configuration(settings), prompt=more.pop("prompt", "a cat"), **more)


# -- the calls


def test_echo_and_catalogue(client):
    reply = client.echo()
    assert reply.message == "HELLO ComfyUI"
    catalog = client.catalog()
    assert catalog.browsing
    assert MODEL in catalog.entries["model"]
    assert catalog.skipped == ("The model 'Veo 3.1' was left out: it runs on a web service, not on this server.",)
    assert client.catalog() is catalog


def test_files_exist_with_hashes(client, simulator):
    path = simulator.models_directory / MODEL
    there, absent = client.files_exist([MODEL, "nothing.ckpt"], hashes=True)
    assert there == (MODEL, True, hashlib.sha256(path.read_bytes()).digest())
    assert absent == ("nothing.ckpt", False, b"")
    assert client.files_exist([MODEL])[0].sha256 == b""


def test_pubkey_and_hours_of_a_plain_server(client):
    assert client.pubkey() == ""
    assert client.hours() is None


# -- a generation


def test_text_to_image_reports_everything(client, simulator):
    events: list = []
    simulator.set("step_seconds", 0.3)  # a preview that another one overtakes is not shown
    result = client.generate(request(), on_event=events.append)
    (picture,) = result.pictures
    assert picture.rgb.shape == (192, 256, 3)
    assert picture.rgb.dtype == np.float32
    assert picture.alpha is None
    assert [e.name for e in events if isinstance(e, Stage)] == ["text encoded", "image encoded", "image decoded"]
    assert [e.step for e in events if isinstance(e, Step)] == [0, 1, 2, 3, 4]
    assert {e.planned for e in events if isinstance(e, Step)} == {4}
    assert [e.latent.shape for e in events if isinstance(e, Preview)] == [(1, 24, 32, 4)] * 2  # at steps 1 and 3
    transfers = [e for e in events if isinstance(e, Transfer)]
    assert transfers[0].received == 0
    assert transfers[-1].received == transfers[-1].expected > 0
    (arrived,) = simulator.requests()
    assert arrived["prompt"] == "a cat"
    assert arrived["chunked"]


@pytest.mark.parametrize("compression", [True, False])
def test_a_slow_listener_sees_the_newest_preview_next(simulator, client, compression):
    """It is busy with the first preview until the server has sent all others, and must not be shown them one by one."""
    shown: list[int] = []
    step = -1

    def listen(event):
        nonlocal step
        if isinstance(event, Step):
            step = event.step
        elif isinstance(event, Preview):
            shown.append(step)
            if len(shown) == 1:
                simulator.wait_until(running=0)

    simulator.set("compress", compression)
    simulator.set("step_seconds", 0.1)
    try:
        result = client.generate(request(settings={"steps": 12}), on_event=listen)
    finally:
        simulator.set("compress", True)
    assert len(result.pictures) == 1
    assert shown[0] < 6  # there were more to come
    if compression:
        assert len(shown) <= 2  # results are decoded before a last preview
    else:
        assert shown[1:] == [11]


def test_same_request_same_picture_other_seed_another(client):
    one = client.generate(request(settings={"seed": 1})).pictures[0].rgb
    again = client.generate(request(settings={"seed": 1})).pictures[0].rgb
    other = client.generate(request(settings={"seed": 2})).pictures[0].rgb
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.01


def test_a_batch_comes_in_order_and_its_members_can_be_made_alone(client):
    from comfyui_drawthings.drawthings_core import seeds

    batch = client.generate(request(settings={"seed": 9, "batch_size": 3})).pictures
    for picture, seed in zip(batch, seeds.of_batch(9, 3, Configuration()["seed_mode"]), strict=True):
        np.testing.assert_array_equal(picture.rgb, client.generate(request(settings={"seed": seed})).pictures[0].rgb)


@pytest.mark.parametrize("compression", [True, False])
def test_large_results_come_in_chunks(simulator, client, compression):
    simulator.set("compress", compression)
    try:
        noise = np.random.default_rng(0).normal(0, 0.5, (1, 1024, 1024, 3)).clip(-1, 1).astype(np.float16)
        result = client.generate(request(image=noise, settings={"strength": 0.0}))  # strength 0 gives the image back
    finally:
        simulator.set("compress", True)
    assert result.pictures[0].rgb.shape == (1024, 1024, 3)
    np.testing.assert_allclose(result.pictures[0].rgb, (noise[0].astype(np.float32) + 1) / 2, atol=2e-4)


def test_what_is_sent_arrives(client, simulator):
    image = np.zeros((1, 192, 256, 3), np.float16)
    mask = np.full((192, 256), 3, np.uint8)
    mask[:64] = 2
    depth = np.ones((1, 192, 256, 1), np.float16)
    catalog = client.catalog()
    lora = next(e for e in catalog.entries["LoRA"].values() if e.version == "v1")
    control = next(e for e in catalog.entries["control"].values() if e.version == "v1" and e.modifier == "depth")
    settings = {"loras": [LoRA(file=lora.file, weight=0.5)], "controls": [Control(file=control.file)], "strength": 0.5}
    client.generate(request(image=image, mask=mask, hints=(Hint("depth", ((depth, 1.0),)),), settings=settings, negative_prompt="dog"))
    (arrived,) = simulator.requests()
    assert arrived["negative_prompt"] == "dog"
    assert arrived["image"]["sha256"] == hashlib.sha256(tensor.encode(image)).hexdigest()
    assert arrived["mask"]["shape"] == [192, 256]
    assert arrived["hints"][0]["type"] == "depth"
    assert arrived["contents"] == 3
    assert [spec["file"] for spec in arrived["override"]["models"]] == [MODEL]
    assert arrived["override"]["loras"] == [dict(lora.specification)]
    assert arrived["override"]["control_nets"] == [dict(control.specification)]


def test_video_frames_and_sound(client):
    catalog = client.catalog()
    wan = next(e for e in catalog.entries["model"].values() if e.version == "wan_v2.1_1.3b")
    settings = {"model": wan.file, "num_frames": 14, "start_width": 128, "start_height": 128}
    frames = client.generate(request(settings=settings)).pictures
    assert len(frames) == 13
    assert np.abs(frames[0].rgb - frames[6].rgb).max() > 0.05
    ltx = next(e for e in catalog.entries["model"].values() if e.version == "ltx2")
    result = client.generate(request(settings={**settings, "model": ltx.file, "num_frames": 17}))
    assert len(result.pictures) == 17
    assert result.audio is not None
    assert result.audio.shape[0] == 2
    assert result.audio.dtype == np.float32


def test_transparent_results_have_alpha(client):
    catalog = client.catalog()
    layered = next(e for e in catalog.entries["model"].values() if e.modifier == "qwenimage_layered")
    image = np.zeros((1, 192, 256, 3), np.float16)
    result = client.generate(request(image=image, settings={"model": layered.file, "batch_size": 2}))
    assert len(result.pictures) == 2
    assert result.pictures[0].alpha is not None
    assert result.pictures[0].alpha.shape == (192, 256)


# -- files


def test_missing_files_are_refused_before_anything_is_sent(client, simulator):
    for settings, kind in (
        ({"model": "sd_v1.6_f16.ckpt"}, "Model"),
        ({"loras": [LoRA(file="none.ckpt")]}, "LoRA"),
        ({"upscaler": "none.ckpt"}, "Upscaler"),
        ({"controls": [Control(file="none.ckpt")]}, "Control"),
        ({"refiner_model": "none.ckpt"}, "Refiner"),
    ):
        with pytest.raises(errors.FileNotOnServer, match=f"{kind} .*not on the server"):
            client.generate(request(settings=settings))
    with pytest.raises(errors.FileNotOnServer, match=r"did you mean .*sd_v1\.5"):
        client.generate(request(settings={"model": "sd_v1.6_f16.ckpt"}))
    assert simulator.requests() == []


def test_files_that_come_and_go_are_noticed(client, simulator):
    """A real server would use another model, or leave the LoRA out, without a word."""
    lora = next(e.file for e in client.catalog().entries["LoRA"].values() if e.version == "v1")
    for settings, kind in (({}, "Model"), ({"loras": [LoRA(file=lora)]}, "LoRA")):
        path = simulator.models_directory / (lora if settings else MODEL)
        content = path.read_bytes()
        client.generate(request(settings=settings))
        path.unlink()
        try:
            with pytest.raises(errors.FileNotOnServer, match=kind):
                client.generate(request(settings=settings))
        finally:
            path.write_bytes(content)
        client.generate(request(settings=settings))


def test_files_of_another_kind_and_unknown_ones_are_refused(client, simulator):
    catalog = client.catalog()
    lora = next(e.file for e in catalog.entries["LoRA"].values() if e.version == "v1")
    with pytest.raises(errors.FileNotUsable, match="is a LoRA, not a model"):
        client.generate(request(settings={"model": lora}))
    with pytest.raises(errors.FileNotUsable, match="is a model, not a LoRA"):
        client.generate(request(settings={"loras": [LoRA(file=MODEL)]}))
    unknown = simulator.models_directory / "nobody_knows_it.ckpt"
    unknown.write_bytes(b"x")
    try:
        with pytest.raises(errors.FileNotUsable, match="does not know what it is"):
            client.generate(request(settings={"model": unknown.name}))
    finally:
        unknown.unlink()
    with pytest.raises(errors.InvalidSetting, match="without folders"):
        request(settings={"model": "."})
    assert simulator.requests() == []


def test_a_server_that_lists_nothing_takes_typed_names():
    with SimulatorProcess("--no-tls", "--step-seconds", "0") as silent:
        client = Client(Server(silent.host, silent.port))
        assert not client.catalog().browsing
        assert len(client.generate(request()).pictures) == 1
        with pytest.raises(errors.FileNotOnServer, match="does not list its files, so check the spelling"):
            client.generate(request(settings={"model": "typed_wrong.ckpt"}))
        client.close()


# -- secrets and TLS


def test_secret(guarded):
    good = Client(Server(guarded.host, guarded.port, secret=SECRET))
    assert len(good.generate(request()).pictures) == 1
    for secret, words in ((None, "asks for a shared secret"), ("wrong", "did not accept")):
        bad = Client(Server(guarded.host, guarded.port, secret=secret))
        for call in (bad.echo, bad.catalog, lambda b=bad: b.generate(request()), lambda b=bad: b.files_exist(["x"])):
            with pytest.raises(errors.SecretRejected, match=words) as caught:
                call()
            assert SECRET not in str(caught.value)
            assert "wrong" not in str(caught.value)
        bad.close()
    good.close()
    assert SECRET not in guarded.log()


def test_auto_pins_on_first_use_and_a_changed_certificate_is_named(tmp_path):
    with SimulatorProcess("--step-seconds", "0") as server:
        profiles = Profiles(tmp_path / "servers.json")
        address = Server(server.host, server.port)
        Client(address, profiles).echo()
        assert tls.fingerprint(profiles.certificate(address.address)) == server.fingerprint
        before = server.fingerprint
        running = Client(address, profiles)
        running.echo()
        server.restart()  # makes a new certificate on the same port
        assert server.fingerprint != before
        for client in (running, Client(address, profiles)):
            with pytest.raises(errors.CertificateChanged, match="drawthings-servers accept") as caught:
                client.echo()
            assert caught.value.seen == server.fingerprint
        profiles.pin(address.address, tls.probe(server.host, server.port).certificate)  # what accept does
        assert running.echo().serverIdentifier


def test_tls_modes(guarded, tmp_path):
    def client(mode, ca_file=""):
        return Client(Server(guarded.host, guarded.port, mode, ca_file, SECRET))

    client(TLSMode.pinned).echo()
    root = tmp_path / "root.pem"
    root.write_text(guarded.root_certificate)
    client(TLSMode.ca_file, str(root)).echo()
    with pytest.raises(errors.CertificateRejected):
        client(TLSMode.system).echo()
    with pytest.raises(errors.TLSMismatch, match="choose auto"):
        client(TLSMode.plain).echo()
    with pytest.raises(errors.InvalidInput, match="CA file"):
        client(TLSMode.ca_file, str(tmp_path / "none.pem")).echo()
    root.write_text("not a certificate")
    with pytest.raises((errors.CertificateRejected, errors.InvalidInput)):
        client(TLSMode.ca_file, str(root)).echo()


@pytest.mark.parametrize("mode", [TLSMode.pinned, TLSMode.system, TLSMode.ca_file])
def test_tls_asked_of_a_plain_server(simulator, mode):
    with pytest.raises(errors.TLSMismatch, match="does not speak TLS"):
        Client(Server(simulator.host, simulator.port, mode, "whatever.pem")).echo()


def test_a_server_that_loses_its_tls_is_not_trusted_in_auto(simulator):
    profiles = Profiles()
    address = Server(simulator.host, simulator.port)
    with SimulatorProcess() as other:
        profiles.pin(address.address, other.certificate)
    with pytest.raises(errors.TLSMismatch, match="used TLS before"):
        Client(address, profiles).echo()


def test_expired_certificate():
    with SimulatorProcess("--certificate-expired") as server, pytest.raises(errors.CertificateRejected, match="expired"):
        Client(Server(server.host, server.port)).echo()


def test_certificate_for_another_name():
    with SimulatorProcess("--certificate-name", "example.test") as server:
        Client(Server(server.host, server.port)).echo()


# -- what goes wrong


def test_nothing_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(errors.ServerUnreachable, match="refused"):
        Client(Server("127.0.0.1", port)).echo()
    with pytest.raises(errors.ServerUnreachable, match="not known"):
        Client(Server("no-such-host.invalid")).echo()


def test_something_else_there():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(errors.ConnectionFailed) as caught:
            Client(Server("127.0.0.1", server.getsockname()[1])).echo(timeout=5)
        assert str(caught.value).endswith(".")


FAULTS = {
    "empty_result": (None, errors.NoImage, "without an image"),
    "nan_image": (0, errors.NonFiniteImage, "Image 1"),
    "inf_image": (0, errors.NonFiniteImage, "Image 1"),
    "truncated_tensor": (0, errors.TensorError, "Image 1 is damaged"),
    "corrupt_header": (0, errors.TensorError, "Image 1 is damaged"),
    "corrupt_fpzip": (0, errors.TensorError, "Image 1 is damaged"),
    "wrong_shape": (0, errors.TensorError, "Image 1"),
    "wrong_dtype": (0, errors.TensorError, "Image 1"),
    "giant_image": (0, errors.BadResult, "Image 1 came back as"),
    "audio_without_images": (None, errors.NoImage, "without an image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_results_are_named_and_the_next_call_works(client, simulator, fault):
    value, error, words = FAULTS[fault]
    simulator.set_fault(fault, value)
    settings = {"model": "ltx_2_19b_distilled_q8p.ckpt", "num_frames": 9} if fault.startswith("audio") else {}
    with pytest.raises(error, match=words):
        client.generate(request(settings=settings))
    simulator.clear_faults()
    assert len(client.generate(request()).pictures) == 1


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"strength": 1.0}, (512, 512)),
        ({"strength": 1.0, "upscaler": "4x_ultrasharp_f16.ckpt"}, (2048, 2048)),
        ({"model": "wurstchen_3.0_stage_c_f32_f16.ckpt", "strength": 0.5}, (512, 512)),
    ],
)
def test_a_run_that_does_not_begin_with_its_smaller_image_gives_the_canvas(client, settings, size):
    small = np.zeros((1, 64, 64, 3), np.float16)
    (picture,) = client.generate(request(image=small, settings={"start_width": 512, "start_height": 512, **settings})).pictures
    assert picture.rgb.shape[:2] == size


STATUSES = {
    "PERMISSION_DENIED:throttlePolicy exceeded": errors.QuotaExceeded,
    "PERMISSION_DENIED:cost 5 exceed threshold 3": errors.AccessDenied,
    "UNAUTHENTICATED:no": errors.AccessDenied,
    "RESOURCE_EXHAUSTED:too large": errors.MessageTooLarge,
    "UNIMPLEMENTED:no": errors.NotSupported,
    "INTERNAL:unknown error processing request": errors.ServerFailed,
    "INVALID_ARGUMENT:odd": errors.ServerFailed,
    "UNAVAILABLE:gone": errors.ConnectionLost,
}


@pytest.mark.parametrize("status", STATUSES)
def test_statuses_have_their_errors(client, simulator, status):
    simulator.set_fault("error_status", status)  # of every call: gRPC repeats one that nothing came back of
    with pytest.raises(STATUSES[status]) as caught:
        client.generate(request())
    assert type(caught.value) is STATUSES[status]
    assert caught.value.__cause__ is not None
    simulator.clear_faults()
    assert len(client.generate(request()).pictures) == 1


def test_a_secret_that_changes_while_running_is_named(guarded):
    client = Client(Server(guarded.host, guarded.port, secret=SECRET))
    client.catalog()
    client.server = Server(guarded.host, guarded.port, secret="old")  # as if the server's had changed
    with pytest.raises(errors.SecretRejected):
        client.generate(request())
    client.close()


def test_a_wrong_secret_is_named_by_a_server_that_answers_late(guarded):
    """With --echo-on-queue Echo waits for the queue (protocol.md section 5)."""
    client = Client(Server(guarded.host, guarded.port, secret=SECRET))
    client.catalog()
    client.server = Server(guarded.host, guarded.port, secret="old")
    guarded.set_fault("slow_echo", 6)
    with pytest.raises(errors.SecretRejected):
        client.generate(request())
    client.close()


def test_waiting_for_a_late_answer_can_be_cancelled(simulator):
    simulator.set_fault("slow_echo", 30)
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.cancel).start()
    started = time.monotonic()
    with pytest.raises(errors.GenerationCancelled):
        Client(Server(simulator.host, simulator.port)).catalog(cancellation=cancellation)
    assert time.monotonic() - started < 10
    assert CALL_TIMEOUT >= 300


def test_a_server_that_dies_is_named_and_comes_back():
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as server:
        client = Client(Server(server.host, server.port))
        client.catalog()
        server.set_fault("kill_after", 4)
        with pytest.raises(errors.ConnectionLost, match=r"went away|closed the connection"):
            client.generate(request())
        with pytest.raises(errors.ServerUnreachable):
            client.generate(request())
        server.restart()
        assert len(client.generate(request()).pictures) == 1
        client.close()


def test_an_error_after_images_keeps_the_images(client, simulator):
    simulator.set_fault("drop_after", 12)
    settings = {"batch_size": 4, "steps": 4}
    result = client.generate(request(settings=settings))
    simulator.clear_faults()
    assert 1 <= len(result.pictures) < 4
    assert "after" in result.notes[0]


def test_a_shared_connection_that_is_given_up_lets_running_calls_end(client, simulator):
    client.catalog()
    simulator.set("step_seconds", 0.1)
    results: list = []
    thread = threading.Thread(target=lambda: results.append(client.generate(request())))
    thread.start()
    simulator.wait_until(running=1)
    client.close()  # what an UNAVAILABLE of another node's call does
    client.echo()
    thread.join(20)
    assert len(results[0].pictures) == 1


def test_a_server_that_was_restarted_is_found_again_without_a_word():
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as server:
        client = Client(Server(server.host, server.port))
        client.generate(request())
        server.restart()
        client.generate(request())
        client.close()


def test_a_request_with_a_picture_is_repeated_when_nothing_came_back(client, simulator):
    """gRPC keeps requests of up to 256 KiB for that, unless it is told otherwise."""
    noise = np.random.default_rng(0).random((1, 512, 512, 3), np.float32).astype(np.float16)
    with_picture = request(image=noise, settings={"strength": 0.7, "start_width": 512, "start_height": 512})
    assert len(build(with_picture, client.catalog())) > 1 << 20
    simulator.set_fault("unavailable", "GenerateImage", 1)
    simulator.clear()
    assert len(client.generate(with_picture).pictures) == 1
    assert simulator.state()["calls"]["GenerateImage"] == 2


posix = pytest.mark.skipif(os.name == "nt", reason="stops a process by a signal")


@posix
def test_a_busy_server_is_not_taken_for_a_plain_one(guarded):
    """A stopped process accepts connections and answers nothing: to call it plain would send the secret in clear."""
    os.kill(guarded.pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.ServerUnreachable, match="does not answer"):
            tls.probe(guarded.host, guarded.port, timeout=0.5)
    finally:
        os.kill(guarded.pid, signal.SIGCONT)


@posix
@pytest.mark.parametrize("call", ["echo", "generate"])
def test_a_call_to_a_server_that_fell_asleep_ends(simulator, call):
    """On a connection that was open before."""
    client = Client(Server(simulator.host, simulator.port), patience=Patience(ask_after=0.2, unanswered=0.3))
    client.catalog()
    asked = {"echo": client.echo, "generate": lambda: client.generate(request())}
    os.kill(simulator.pid, signal.SIGSTOP)
    try:
        with pytest.raises(errors.ServerStalled, match="has not answered for"):
            asked[call]()
    finally:
        os.kill(simulator.pid, signal.SIGCONT)
    assert not client.connected
    asked[call]()
    client.close()


@posix
def test_a_call_to_a_server_that_fell_asleep_can_be_cancelled(simulator):
    client = Client(Server(simulator.host, simulator.port), patience=Patience(ask_after=0.1, unanswered=60))
    client.echo()
    cancellation = Cancellation()
    os.kill(simulator.pid, signal.SIGSTOP)
    threading.Timer(0.5, cancellation.cancel).start()
    try:
        with pytest.raises(errors.GenerationCancelled):
            client.echo(cancellation=cancellation)
    finally:
        os.kill(simulator.pid, signal.SIGCONT)
    client.close()


def test_a_server_that_is_slow_to_answer_and_lives_is_waited_for(simulator):
    client = Client(Server(simulator.host, simulator.port), patience=Patience(ask_after=0.1, unanswered=20))
    simulator.set_fault("slow_echo", 0.5)
    assert client.echo().message


def test_a_sign_of_life_is_asked_for_as_soon_as_silence_has_lasted():
    """And not when it has lasted nearly twice as long, where the call was heard of soon after it began."""

    class Answered:
        def code(self):
            return grpc.StatusCode.OK

        def cancel(self):
            return False

    def silence_before_asking() -> float:
        asked = threading.Event()

        def ask(_seconds):
            asked.set()
            return Answered()

        watch = Watch("host:1", Patience(ask_after=1.0), ask, lambda: None)
        time.sleep(0.1)
        watch.heard(False)
        began = time.monotonic()
        asked.wait(20)
        watch.close()
        return time.monotonic() - began

    assert any(silence_before_asking() < 1.7 for _ in range(10))  # on a busy machine not each time


def test_newer_servers_and_proxies_are_understood(client, simulator):
    simulator.set_fault("unknown_signpost")
    simulator.set_fault("unknown_fields")
    simulator.set_fault("bad_preview")
    simulator.set_fault("heartbeats", 0.01)
    assert len(client.generate(request()).pictures) == 1


# -- cancelling and sharing


@pytest.mark.parametrize("fault", ["stall_first", "stall_sampling", None])
def test_cancelling_ends_a_silent_call_at_once_and_the_next_works(client, simulator, fault):
    client.catalog()
    if fault:
        simulator.set_fault(fault, calls=1)
    else:
        simulator.set("step_seconds", 0.5)
    cancellation = Cancellation()
    cancelled_at: list[float] = []

    def cancel():
        time.sleep(0.4)
        cancelled_at.append(time.perf_counter())
        cancellation.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(errors.GenerationCancelled):
        client.generate(request(), cancellation=cancellation)
    ended = time.perf_counter()
    thread.join()
    assert ended - cancelled_at[0] < 0.2
    simulator.set("step_seconds", 0)
    assert len(client.generate(request()).pictures) == 1
    simulator.wait_until(running=0, queued=0)


def test_cancelling_ends_a_silent_echo(client, simulator):
    simulator.set_fault("slow_echo", 5, calls=1)
    cancellation = Cancellation()
    threading.Timer(0.3, cancellation.cancel).start()
    started = time.perf_counter()
    with pytest.raises(errors.GenerationCancelled):
        client.generate(request(), cancellation=cancellation)
    assert time.perf_counter() - started < 0.6


def test_cancelled_before_it_began(client, simulator):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(errors.GenerationCancelled):
        client.generate(request(), cancellation=cancellation)
    assert simulator.requests() == []


def test_an_error_of_the_listener_ends_the_call(client, simulator):
    simulator.set("step_seconds", 0.3)

    def fail(_event):
        raise KeyError("the graph's own trouble")

    with pytest.raises(KeyError):
        client.generate(request(), on_event=fail)
    simulator.wait_until(running=0, seconds=5)


def test_waiting_behind_another_is_no_error(client, simulator):
    simulator.set("step_seconds", 0.1)
    results = []
    threads = [threading.Thread(target=lambda: results.append(client.generate(request()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [len(result.pictures) for result in results] == [1, 1, 1]


def test_one_client_for_a_server(simulator):
    server = Server(simulator.host, simulator.port)
    client = client_for(server)
    assert client_for(Server(simulator.host, simulator.port)) is client
    client.generate(request())
    simulator.clear()
    client.generate(request())
    assert [call["method"] for call in simulator.requests(method=None)] == ["FilesExist", "GenerateImage"]  # no second Echo
    client.close()


def test_http_proxy_variables_are_not_used(simulator, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    Client(Server(simulator.host, simulator.port)).echo()


def test_server_names_are_resolved_by_the_system(simulator):
    Client(Server("localhost", simulator.port)).echo()
