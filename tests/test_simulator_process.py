"""The simulator as a command: flags, certificate, control channel, faults, and a child that never stays behind."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.configuration import Configuration, flatbuffer
from comfyui_drawthings.drawthings_core.errors import TensorError
from comfyui_drawthings.drawthings_core.simulator import faults, process
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorFailed, SimulatorProcess
from comfyui_drawthings.proto import messages, service

LIMITS = [("grpc.max_receive_message_length", 1 << 30)]
OVERRIDE = [("grpc.ssl_target_name_override", "localhost")]


@pytest.fixture(scope="module")
def shared():
    with SimulatorProcess("--no-tls", "--step-seconds", "0", "--picture", "plain") as running:
        yield running


@pytest.fixture
def simulator(shared):
    yield shared
    shared.clear_faults()
    shared.clear()


@pytest.fixture(scope="module")
def stub(shared):
    with grpc.insecure_channel(shared.address, options=LIMITS) as channel:
        yield service.Stub(channel)


def request(**settings):
    made = messages.ImageGenerationRequest(prompt="a fox", scaleFactor=1, chunked=True)
    base = {"model": "sd_v1.5_f16.ckpt", "steps": 4, "start_width": 128, "start_height": 128}
    made.configuration = flatbuffer.pack(Configuration({**base, **settings}))
    return made


def run(stub, made=None, timeout=20):
    return list(stub.GenerateImage(made or request(), timeout=timeout))


def images_of(responses):
    return [piece for response in responses for piece in response.generatedImages]


def status_of(stub, made=None, timeout=20):
    with pytest.raises(grpc.RpcError) as caught:
        run(stub, made, timeout)
    return caught.value.code(), caught.value.details()


@contextlib.contextmanager
def started(*flags):
    with (
        SimulatorProcess("--no-tls", "--step-seconds", "0", *flags) as simulator,
        grpc.insecure_channel(simulator.address, options=LIMITS) as channel,
    ):
        yield simulator, service.Stub(channel)


def until_error(call):
    """(messages before the error, its status)"""
    count = 0
    try:
        for _ in call:
            count += 1
    except grpc.RpcError as error:
        return count, error.code()
    return count, None


@contextlib.contextmanager
def secure(simulator, roots, options=OVERRIDE):
    credentials = grpc.ssl_channel_credentials(roots.encode())
    with grpc.secure_channel(simulator.address, credentials, options=options) as channel:
        yield service.Stub(channel)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# TLS


def peer(simulator, protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    with socket.create_connection((simulator.host, simulator.port), 5) as raw, context.wrap_socket(raw) as wrapped:
        return wrapped.selected_alpn_protocol(), wrapped.getpeercert(binary_form=True), wrapped.version()


def test_tls_with_its_own_certificate():
    with SimulatorProcess("--step-seconds", "0") as simulator:
        assert simulator.tls
        protocol, certificate, version = peer(simulator, ["h2"])
        assert protocol == "h2"
        assert version in ("TLSv1.2", "TLSv1.3")
        assert ":".join(f"{byte:02X}" for byte in hashlib.sha256(certificate).digest()) == simulator.fingerprint
        assert ssl.PEM_cert_to_DER_cert(simulator.certificate) == certificate
        for roots in (simulator.certificate, simulator.root_certificate):
            for options in (OVERRIDE, []):
                with secure(simulator, roots, options) as stub:
                    assert stub.Echo(messages.EchoRequest(name="x"), timeout=10).message == "HELLO x"


def test_restart_makes_a_new_certificate_on_the_same_port():
    with SimulatorProcess() as simulator:
        before = simulator.fingerprint, simulator.port
        simulator.restart()
        assert simulator.port == before[1]
        assert simulator.fingerprint != before[0]


def test_certificate_directory_keeps_it(tmp_path):
    flags = ("--certificate-directory", str(tmp_path / "kept"))
    with SimulatorProcess(*flags) as first, SimulatorProcess(*flags) as second:
        assert first.fingerprint == second.fingerprint
        assert first.root_certificate == second.root_certificate
    files = ("--certificate", str(tmp_path / "kept" / "server_crt.crt"), "--key", str(tmp_path / "kept" / "server_key.key"))
    with SimulatorProcess(*files) as third:
        assert third.fingerprint == first.fingerprint


@pytest.mark.parametrize("flags", [("--certificate-expired",), ("--certificate-name", "example.test")])
def test_bad_certificates_are_refused_by_a_checking_client(flags):
    with SimulatorProcess(*flags) as simulator, secure(simulator, simulator.root_certificate) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Echo(messages.EchoRequest(name="x"), timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


# The command


def test_flags_of_the_real_server_are_taken():
    flags = ["-n", "studio", "-a", "127.0.0.1", "-g", "1", "-w", "8", "--no-flash-attention", "--cpu-offload", "--debug", "--supervised"]
    with SimulatorProcess(*flags, "--no-tls", "--no-response-compression", "--step-seconds", "0") as simulator:
        with grpc.insecure_channel(simulator.address, options=LIMITS) as channel:
            responses = run(service.Stub(channel), request(start_width=256))
        assert tensor.Header.unpack(images_of(responses)[0]).codec == tensor.Codec.RAW
        assert simulator.fingerprint is None
        assert simulator.certificate is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["/no/such/folder"], "does not exist"),
        (["--fault", "nonsense"], "There is no fault"),
        (["--certificate", "x.pem"], "belong together"),
        (["--address", "203.0.113.1"], "cannot listen"),
    ],
)
def test_unusable_flags_end_with_a_sentence(flags, sentence):
    with pytest.raises(SimulatorFailed, match=sentence):
        SimulatorProcess("--no-tls" if "--certificate" not in flags else "--model-browser", *flags).start()


def test_a_taken_port_is_told(simulator):
    with pytest.raises(SimulatorFailed, match="cannot listen"):
        SimulatorProcess("--no-tls", "--port", str(simulator.port)).start()


def test_runs_as_a_module_and_stops_on_sigterm():
    command = [sys.executable, "-m", "comfyui_drawthings.drawthings_core.simulator", "--no-tls", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        assert ready["event"] == "ready"
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    assert not os.path.exists(ready["models_directory"])


# The helper


def test_every_way_to_end_reaps_the_child_and_its_directory():
    for end in ("close", "terminate", "kill"):
        simulator = SimulatorProcess("--no-tls")
        simulator.start()
        pid, models = simulator.pid, simulator.models_directory
        assert models.is_dir()
        getattr(simulator, end)()
        assert gone(pid), end
        assert not models.exists(), end
        assert not simulator.running
        with pytest.raises(SimulatorFailed):
            simulator.state()
        simulator.close()


def test_an_error_in_the_block_reaps_the_child():
    pids = []

    def failing():
        with SimulatorProcess("--no-tls") as simulator:
            pids.append(simulator.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert gone(pids[0])


def test_the_child_ends_with_a_dying_parent():
    script = (
        "import os, sys; from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess\n"
        "s = SimulatorProcess('--no-tls'); s.start(); print(s.pid, s.models_directory, flush=True); os._exit(1)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60).stdout
    pid, models = output.split()
    for _ in range(200):
        if gone(int(pid)) and not os.path.exists(models):
            break
        time.sleep(0.02)
    assert gone(int(pid))
    assert not os.path.exists(models)


def test_a_checkout_of_any_name_starts_its_own_code(tmp_path):
    root = Path(process.__file__).resolve().parents[2]
    for folder in ("drawthings_core", "proto"):
        shutil.copytree(root / folder, tmp_path / "some name" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "some name" / "drawthings_core" / "simulator" / "process.py"
    (module.parent / "catalog.json").write_text(json.dumps({"built_in": {}, "custom": {}, "other_files": ["only_here.ckpt"]}))
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('odd', {str(module)!r})\n"
        "odd = importlib.util.module_from_spec(spec); sys.modules['odd'] = odd; spec.loader.exec_module(odd)\n"
        "from pathlib import Path\n"
        "simulator = odd.SimulatorProcess('--no-tls')\n"
        "simulator.start(); print([path.name for path in simulator.models_directory.iterdir()]); simulator.close()"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout.strip() == "['only_here.ckpt']", done.stderr


# The control channel


def test_requests_are_summarised(simulator, stub):
    made = request(seed=5, sampler="DDIM", loras=[{"file": "a.ckpt", "weight": 0.5}])
    image = tensor.encode(np.zeros((1, 128, 128, 3), np.float16), compress=True)
    mask = np.full((128, 128), 3, np.uint8)
    mask[:64] = 2
    made.contents.append(image)
    made.image = hashlib.sha256(image).digest()
    made.mask = tensor.encode(mask)
    made.negativePrompt, made.user = "bad", "tester"
    made.keywords.append("easynegative")
    made.override.loras = b'[{"file": "a.ckpt"}]'
    run(stub, made)
    stub.Echo(messages.EchoRequest(name="someone"), timeout=10)
    (call,) = simulator.requests()
    assert (call["prompt"], call["negative_prompt"], call["user"], call["chunked"]) == ("a fox", "bad", "tester", True)
    assert call["configuration"]["seed"] == 5
    assert call["configuration"]["sampler"] == "DDIM"
    assert call["configuration"]["loras"] == [{"file": "a.ckpt", "weight": 0.5, "mode": "All"}]
    assert (call["image"]["shape"], call["image"]["dtype"], call["image"]["referenced"]) == ([1, 128, 128, 3], "float16", True)
    assert call["image"]["sha256"] == hashlib.sha256(image).hexdigest()
    assert (call["mask"]["codes"], call["mask"]["referenced"]) == ({"2": 8192, "3": 8192}, False)
    assert call["override"]["loras"] == [{"file": "a.ckpt"}]
    assert (call["keywords"], call["contents"]) == (["easynegative"], 1)
    assert [other["method"] for other in simulator.requests(None)] == ["GenerateImage", "Echo"]
    simulator.clear()
    assert simulator.requests(None) == []


def test_bad_commands_are_answered(simulator):
    with pytest.raises(SimulatorFailed, match="no such command"):
        simulator.command(command="dance")
    with pytest.raises(SimulatorFailed, match="There is no fault"):
        simulator.set_fault("nonsense")
    with pytest.raises(SimulatorFailed, match="TypeError"):
        simulator.set("nonsense", 1)
    assert simulator.command(command="ping") == {"ok": True}
    assert set(simulator.command(command="faults")["faults"]) == set(faults.FAULTS)


# Faults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nan_image", ("nan_image", None, None)),
        ("nan_image=1@2", ("nan_image", 1, 2)),
        ("delay_first=0.5", ("delay_first", 0.5, None)),
        ("error_status=PERMISSION_DENIED:throttlePolicy 5@1", ("error_status", "PERMISSION_DENIED:throttlePolicy 5", 1)),
    ],
)
def test_fault_flags(text, expected):
    assert faults.parse(text) == expected


def test_a_fault_by_flag_lasts_for_its_calls():
    with started("--fault", "empty_result@1") as (_, stub):
        assert not images_of(run(stub))
        assert images_of(run(stub))


@pytest.mark.parametrize("name", ["truncated_tensor", "corrupt_header", "corrupt_fpzip"])
def test_broken_tensors(simulator, stub, name):
    simulator.set_fault(name, 1)
    good, bad = images_of(run(stub, request(batch_size=2)))
    tensor.decode(good)
    with pytest.raises(TensorError):
        tensor.decode(bad)


@pytest.mark.parametrize("kind", ["cut", "bytes", "bit"])
def test_damage_by_chance_is_behind_the_headers_and_can_be_had_again(simulator, stub, kind):
    simulator.set("picture", "scene")
    try:
        (good,) = images_of(run(stub))
        simulator.set_fault("damaged_payload", {"kind": kind, "seed": 3})
        (bad,) = images_of(run(stub))
    finally:
        simulator.set("picture", "plain")
    assert bad == faults.damaged(good, kind, 3) != faults.damaged(good, kind, 4)
    assert tensor.check(bad) == tensor.check(good)
    assert len(bad) < len(good) if kind == "cut" else len(bad) == len(good)


def test_prepared_pictures_are_encoded_once():
    with started("--picture", "prepared", "--fault", "nan_image@1") as (simulator, stub):
        (spoiled,) = images_of(run(stub))
        assert np.isnan(tensor.decode(spoiled)).sum() == 1
        four = images_of(run(stub, request(batch_size=4)))
        assert len(set(four)) == 1
        picture = tensor.decode(four[0])
        assert picture.shape == (1, 128, 128, 3)
        assert picture.std() > 0.3
        simulator.set("compress", False)
        np.testing.assert_array_equal(tensor.decode(images_of(run(stub))[0]), picture)
        transparent = tensor.decode(images_of(run(stub, request(model="qwen_image_layered_1.0_q8p.ckpt", batch_size=2)))[0])
        assert transparent.shape[3] == 4
        assert transparent[..., 0].min() >= 0


def test_wrong_values_and_shapes(simulator, stub):
    def arrays():
        return [tensor.decode(piece) for piece in images_of(run(stub, request(batch_size=2)))]

    simulator.set_fault("nan_image", 1, calls=1)
    first, second = arrays()
    assert np.isfinite(first).all()
    assert np.isnan(second).sum() == 1
    simulator.set_fault("inf_image", 0, calls=1)
    assert np.isinf(arrays()[0]).sum() == 1
    simulator.set_fault("wrong_shape", calls=1)
    assert arrays()[0].shape == (128, 128)
    simulator.set_fault("wrong_dtype", calls=1)
    assert arrays()[0].dtype == np.uint8
    simulator.set_fault("mixed_sizes", 1, calls=1)
    assert [array.shape[2] for array in arrays()] == [128, 64]
    simulator.set_fault("extra_image", calls=1)
    assert len(arrays()) == 3
    simulator.set_fault("missing_image", calls=1)
    assert len(arrays()) == 1
    assert len(arrays()) == 2


def test_broken_streams(simulator, stub):
    simulator.set_fault("missing_last_chunk", calls=1)
    assert not images_of(run(stub))
    simulator.set_fault("mixed_chunks", calls=1)
    pieces = [response for response in run(stub) if response.generatedImages]
    assert [response.chunkState for response in pieces] == [messages.MORE_CHUNKS, messages.LAST_CHUNK]
    simulator.set_fault("wrong_download_size", calls=1)
    responses = run(stub)
    assert next(r.downloadSize for r in responses if r.HasField("downloadSize")) == 2 * len(images_of(responses)[0])
    simulator.set_fault("unknown_signpost", calls=1)
    strange = [r for r in run(stub) if r.HasField("currentSignpost") and r.currentSignpost.WhichOneof("signpost") is None]
    assert len(strange) == 1
    simulator.set_fault("unknown_fields", calls=1)
    assert all(b"unknown" in response.SerializeToString() for response in run(stub))
    simulator.set_fault("bad_preview", calls=1)
    previews = [response.previewImage for response in run(stub) if response.HasField("previewImage")]
    assert previews
    assert all(preview.startswith(b"not a tensor") for preview in previews)
    simulator.set_fault("audio_without_images", calls=1)
    responses = run(stub, request(model="ltx_2_19b_distilled_q8p.ckpt", num_frames=9))
    assert not images_of(responses)
    assert any(response.generatedAudio for response in responses)


def test_error_status(simulator, stub):
    simulator.set_fault("error_status", "PERMISSION_DENIED:throttlePolicy: slow down", calls=1)
    assert status_of(stub) == (grpc.StatusCode.PERMISSION_DENIED, "throttlePolicy: slow down")
    simulator.set_fault("error_status", {"code": "RESOURCE_EXHAUSTED", "details": "x", "after": 3}, calls=1)
    assert until_error(stub.GenerateImage(request(), timeout=10)) == (3, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert images_of(run(stub))


@pytest.mark.parametrize("fault", ["stall_first", "stall_sampling", "stall_chunk"])
def test_stalls_last_until_the_client_goes_and_the_next_call_works(simulator, stub, fault):
    simulator.set_fault(fault, calls=1)
    made = request(batch_size=2)
    assert status_of(stub, made, timeout=0.5)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(images_of(run(stub, made))) == 2


def test_bytes_stop_in_the_middle_of_a_message_and_nothing_is_closed():
    alone = [*LIMITS, ("grpc.use_local_subchannel_pool", 1)]  # not on the connection of `stub`
    made = request(batch_size=2)

    def silent(other):
        try:
            other.Hours(messages.HoursRequest(), timeout=0.2)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        return False

    with started("--relay", "--picture", "plain") as (simulator, stub), grpc.insecure_channel(simulator.address, options=alone) as own:
        whole = len(run(stub, made))
        simulator.set_fault("stall_inside", 1, calls=1)
        call = service.Stub(own).GenerateImage(made, timeout=60)
        for _ in range(whole - 1):
            next(call)
        end = time.monotonic() + 30
        while not silent(service.Stub(own)):  # nothing else comes on that connection either
            assert time.monotonic() < end
            time.sleep(0.3)  # the relay waits until nothing passes
        assert call.is_active()
        assert len(run(stub, made)) == whole


def test_drop_and_kill():
    with started() as (simulator, stub):
        simulator.set_fault("drop_after", 3, calls=1)
        assert until_error(stub.GenerateImage(request(), timeout=10)) == (3, grpc.StatusCode.UNAVAILABLE)
        simulator.set_fault("drop_after", 0, calls=1)
        assert until_error(stub.GenerateImage(request(), timeout=10)) == (0, grpc.StatusCode.UNAVAILABLE)
        simulator.set_fault("kill_after", 3)
        assert until_error(stub.GenerateImage(request(), timeout=10)) == (3, grpc.StatusCode.UNAVAILABLE)
        assert simulator.wait(10) == 70


def test_slow_ones(simulator, stub):
    for fault, value, call in (
        ("delay_first", 0.3, lambda: run(stub)),
        ("slow_transfer", 0.3, lambda: run(stub)),
        ("slow_echo", 0.3, lambda: stub.Echo(messages.EchoRequest(name="x"), timeout=10)),
    ):
        simulator.set_fault(fault, value, calls=1)
        began = time.monotonic()
        call()
        assert time.monotonic() - began >= 0.3, fault
    simulator.set_fault("heartbeats", 0.05, calls=1)
    simulator.set_fault("delay_first", 0.3, calls=1)
    assert run(stub)[0].ByteSize() == 0


def test_secret_missing_flips(simulator, stub):
    simulator.set_fault("secret_missing_flips")
    answers = [stub.Echo(messages.EchoRequest(name="x"), timeout=10).sharedSecretMissing for _ in range(4)]
    assert sorted(answers) == [False, False, True, True]
    assert answers[0] != answers[1]


def test_every_fault_can_be_set_and_leaves_the_server_working(simulator, stub):
    for name in faults.FAULTS:
        if name in ("kill_after", "kill_unaccepted", "stall_first", "stall_sampling", "stall_chunk"):
            continue
        simulator.set_fault(name, calls=1)
        with contextlib.suppress(grpc.RpcError):
            run(stub, timeout=5)
        simulator.clear_faults()
        assert images_of(run(stub)), name
