"""Decoding in other processes: what damaged streams, ended workers and missing means do to the host (nothing), and what is left behind
(nothing). Real processes throughout.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import decoding, errors, images, tensor
from comfyui_drawthings.drawthings_core.album import Album
from comfyui_drawthings.drawthings_core.client import Cancellation, Client, GenerationResult
from comfyui_drawthings.drawthings_core.configuration import Configuration, Sampler
from comfyui_drawthings.drawthings_core.decoding import Pool
from comfyui_drawthings.drawthings_core.decoding import pool as pools
from comfyui_drawthings.drawthings_core.decoding.memory import KEPT, SharedMemory
from comfyui_drawthings.drawthings_core.receiving import Inbox, Received, Receiver
from comfyui_drawthings.drawthings_core.request import GenerationRequest
from comfyui_drawthings.drawthings_core.response import Preview, Step
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.simulator.faults import damaged
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.proto import messages

pytestmark = pytest.mark.skipif(not tensor.fpzip_available(), reason="fpzip is not installed")
posix = pytest.mark.skipif(os.name == "nt", reason="signals and /proc")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

ROOT = Path(__file__).resolve().parents[1]
MODEL = "sd_v1.5_f16.ckpt"


def picture(height: int = 96, width: int = 128, channels: int = 3, seed: int = 0, dtype: type = np.float16) -> np.ndarray:
    """A result tensor [1, H, W, C] that compresses as pictures do."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.stack([np.sin(x / 9 + channel) * np.cos(y / (7 + channel)) for channel in range(channels)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 0.02, waves.shape)
    return (waves * 1.05 + noise).astype(dtype)[None]


GOOD = picture(seed=7)
GOOD_BYTES = tensor.encode(GOOD, compress=True)


def place(height: int = 96, width: int = 128) -> np.ndarray:
    return np.empty((height, width, 3), np.float32)


def expect_good(pool: Pool) -> None:
    """The next tensor decodes right."""
    rgb = place()
    pool.submit_picture(GOOD_BYTES, rgb, None).result(30)
    np.testing.assert_array_equal(rgb, images.picture_from_tensor(GOOD).rgb)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(2) as made:
        yield made


@pytest.fixture
def own_pool() -> Iterator[Pool]:
    with Pool(1) as made:
        expect_good(made)
        yield made


# -- what comes out


@pytest.mark.parametrize(
    "values",
    [
        picture(channels=16),
        picture(dtype=np.float32),
        picture(dtype=np.float64),
        np.sin(np.arange(40000, dtype=np.float32) / 50).reshape(2, 20000),
        np.linspace(0, 1, 70000, dtype=np.float16),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)
def test_values_are_those_of_the_tensor(pool, values):
    data = tensor.encode(values, compress=True)
    decoded = pool.submit(data).result(30)
    assert decoded.dtype == values.dtype
    np.testing.assert_array_equal(decoded, values)
    np.testing.assert_array_equal(decoded, tensor.decode(data))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("channels", [3, 4])
def test_pictures_are_those_of_the_process_itself(pool, dtype, channels):
    values = picture(300, 257, channels, dtype=dtype)
    expected = images.picture_from_tensor(values)
    rgb = place(300, 257)
    alpha = np.empty((300, 257), np.float32) if channels == 4 else None
    pool.submit_picture(tensor.encode(values, compress=True), rgb, alpha).result(30)
    np.testing.assert_array_equal(rgb, expected.rgb)
    if alpha is not None:
        np.testing.assert_array_equal(alpha, expected.alpha)


def test_every_half_becomes_what_it_is_in_this_process(pool):
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(1, 248, 256, 1)
    values = np.concatenate([finite, finite[:, ::-1], -finite], axis=3)
    rgb = place(248, 256)
    pool.submit_picture(tensor.encode(values, compress=True), rgb, None).result(30)
    np.testing.assert_array_equal(rgb, images.picture_from_tensor(values).rgb)


@pytest.mark.parametrize("worth", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(pool, worth):
    values = GOOD.copy()
    values[0, -1, -1, -1] = worth
    data = tensor.encode(values, compress=True)
    with pytest.raises(decoding.NotFinite):
        pool.submit_picture(data, place(), None).result(30)
    np.testing.assert_array_equal(pool.submit(data).result(30), values)
    expect_good(pool)


@pytest.mark.parametrize(("dtype", "value"), [(np.float64, 1e300), (np.float64, -1e5), (np.float32, 5e13), (np.float32, -7e4)])
def test_what_no_model_makes_is_damage_and_no_white_or_black_pixel(pool, dtype, value):
    """A flipped bit in a stream of floats gives such values; clipped they would be a picture that nobody doubts."""
    values = picture(dtype=dtype)
    values[0, -1, -1, -1] = value
    with pytest.raises(errors.TensorError, match="out of range"):
        pool.submit_picture(tensor.encode(values, compress=True), place(), None).result(30)
    expect_good(pool)


@posix
def test_an_error_holds_nothing_of_its_tensor(tmp_path):
    rgb = place()
    array = weakref.ref(rgb)
    gc.disable()
    try:
        with Pool(1, executable=killed_while_decoding(tmp_path, 2)) as pool:
            future = pool.submit_picture(GOOD_BYTES, rgb, None)
            del rgb
            error = future.exception(30)
            del future
            assert isinstance(error, errors.DecoderFailed)
            until(lambda: array() is None)
    finally:
        gc.enable()


def test_what_was_refused_holds_no_arrays(pool):
    """Not until the collector comes: of a clip they are hundreds of megabytes."""
    values = picture(dtype=np.float32)
    values[0, 0, 0, 0] = 1e9
    rgb = place()
    array = weakref.ref(rgb)
    gc.disable()
    try:
        future = pool.submit_picture(tensor.encode(values, compress=True), rgb, None)
        error = future.exception(30)
        assert isinstance(error, errors.TensorError)
        pool.submit(GOOD_BYTES).result(30)  # its thread has let go of the one before
        del future, error, rgb
        assert array() is None
    finally:
        gc.enable()


def test_what_can_be_checked_is_refused_before_any_worker_sees_it():
    with Pool(1) as pool:
        for data in (
            GOOD_BYTES[:67],
            GOOD_BYTES[: tensor.HEADER_SIZE + 8],
            GOOD_BYTES[:68] + bytes(200),
            GOOD_BYTES[:24] + b"\x07" + GOOD_BYTES[25:],
        ):
            with pytest.raises(errors.TensorError):
                pool.submit(data)
        with pytest.raises(ValueError, match="RAW"):
            pool.submit(tensor.encode(GOOD))
        assert pool.pids == []


def test_memory_grows_with_the_tensor(pool):
    for side in (64, 512, 128):
        values = picture(side, side)
        np.testing.assert_array_equal(pool.submit(tensor.encode(values, compress=True)).result(30), values)
    memory = SharedMemory()
    memory.reserve(10)
    memory.write(b"kept")
    memory.reserve(5 << 20)
    assert memory.size == 5 << 20
    found = np.empty(4, np.uint8)
    memory.read(found, 0)
    assert bytes(found) == b"kept" or not memory.descriptors
    memory.close()


def test_memory_of_a_large_tensor_is_given_back(pool):
    large = picture(1536, 2048, dtype=np.float32)
    data = tensor.encode(large, compress=True)
    for _ in range(2):
        np.testing.assert_array_equal(pool.submit(data).result(60), large)
        assert [worker._memory.size for worker in pool._workers if worker._memory.size > KEPT] == []
        expect_good(pool)
    memory = SharedMemory()
    memory.reserve(KEPT + 1)
    memory.trim()
    assert memory.size == 0
    assert [os.fstat(descriptor).st_size for descriptor in memory.descriptors] in ([], [0])
    memory.close()


# -- damage


def damaged_streams() -> list[bytes]:
    """200 truncations and random changes of bytes, and 60 flips of a single bit, all behind the headers."""
    counts = {"cut": 100, "bytes": 100, "bit": 60}
    return [damaged(GOOD_BYTES, kind, seed) for kind, count in counts.items() for seed in range(count)]


def test_damaged_streams_harm_nobody():
    outcomes: list[str] = []
    with Pool(3, tensor_seconds=3) as pool:
        streams = damaged_streams()
        for start in range(0, len(streams), 20):
            places = [place() for _ in streams[start : start + 20]]
            futures = [pool.submit_picture(*row, None) for row in zip(streams[start : start + 20], places, strict=True)]
            for future, rgb in zip(futures, places, strict=True):
                error = future.exception(60)
                if error is None:
                    assert np.isfinite(rgb).all()
                else:
                    assert isinstance(error, errors.TensorError)
                    assert str(error).endswith((".", "?"))
                outcomes.append(type(error).__name__)
            expect_good(pool)
    assert len(outcomes) == 260
    print({name: outcomes.count(name) for name in set(outcomes)})


@pytest.fixture
def client(simulator):
    with Pool(2) as pool:
        made = Client(Server(simulator.host, simulator.port, TLSMode.plain), decoders=pool)
        yield made
        made.close()


def request(**settings) -> GenerationRequest:
    base = {"model": MODEL, "start_width": 128, "start_height": 128, "steps": 2, "sampler": Sampler.dpmpp_2m_trailing}
    return GenerationRequest(Configuration({**base, **settings}), prompt="a cat")


class NamedDamage(Exception):
    """A damaged result, and the error says which."""


def named(client: Client, wanted: GenerationRequest) -> GenerationResult:
    try:
        return client.generate(wanted)
    except (errors.TensorError, errors.NonFiniteImage) as error:
        if "Image 1 " not in str(error):
            raise
        raise NamedDamage from error


def test_damaged_results_of_a_server_are_named(client, simulator):
    expected = client.generate(request()).pictures[0].rgb
    chance = random.Random(3)
    for _ in range(12):
        simulator.set_fault("flipped_bit", 0.01 + 0.98 * chance.random())
        with contextlib.suppress(NamedDamage):
            assert np.isfinite(named(client, request()).pictures[0].rgb).all()
    simulator.clear_faults()
    simulator.set_fault("truncated_tensor", 2)
    with pytest.raises(errors.TensorError, match="Image 3 is damaged"):
        client.generate(request(batch_size=4))
    simulator.clear_faults()
    np.testing.assert_array_equal(client.generate(request()).pictures[0].rgb, expected)


# -- workers that end, hang or ask for too much


@posix
def test_a_worker_that_is_ended_while_idle_is_replaced_unnoticed(own_pool):
    (pid,) = own_pool.pids
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    expect_good(own_pool)
    assert own_pool.pids != [pid]


def stopped(pool: Pool) -> int:
    """The pid of the pool's only worker, which does nothing any more."""
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    return pid


def killed_while_decoding(folder: Path, times: int) -> str:
    """A Python whose first workers, `times` of them, are killed when each has its first tensor, as by a system that lacks memory."""
    program, executable = folder / "killed.py", folder / "killed"
    program.write_text(
        textwrap.dedent(f"""
            import os, runpy, signal, sys
            import fpzip
            decompress = fpzip.decompress
            def end(*arguments, **named):
                with open({str(folder / "deaths")!r}, "a+") as file:
                    file.seek(0)
                    if len(file.read()) >= {times}:
                        return decompress(*arguments, **named)
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
            fpzip.decompress = end
            sys.argv = [argument for argument in sys.argv[1:] if not argument.startswith("-") or argument == "-"]
            runpy.run_path(sys.argv[0], run_name="__main__")
        """)
    )
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    executable.chmod(0o755)
    return str(executable)


@posix
def test_what_a_worker_was_decoding_when_it_was_ended_is_decoded_by_the_next(tmp_path):
    with Pool(1, executable=killed_while_decoding(tmp_path, 1)) as pool:
        rgb = place()
        futures = [pool.submit_picture(GOOD_BYTES, rgb, None), *(pool.submit(GOOD_BYTES) for _ in range(2))]
        futures[0].result(30)
        np.testing.assert_array_equal(rgb, images.picture_from_tensor(GOOD).rgb)
        for future in futures[1:]:
            np.testing.assert_array_equal(future.result(30), GOOD)


@posix
def test_a_tensor_whose_workers_are_ended_again_and_again_is_one_tensors_error(tmp_path):
    with Pool(1, executable=killed_while_decoding(tmp_path, 2)) as pool:
        futures = [pool.submit(GOOD_BYTES) for _ in range(2)]
        with pytest.raises(errors.DecoderFailed, match="signal 9"):
            futures[0].result(30)
        np.testing.assert_array_equal(futures[1].result(30), GOOD)


@posix
def test_a_tensor_whose_worker_is_ended_where_no_other_starts_says_so(tmp_path):
    once = tmp_path / "once"
    only = tmp_path / "only"
    killed = killed_while_decoding(tmp_path, 1)
    only.write_text(f'#!/bin/sh\n[ -e "{once}" ] && exit 1\ntouch "{once}"\nexec "{killed}" "$@"\n')
    only.chmod(0o755)
    with Pool(1, executable=str(only)) as pool:
        with pytest.raises(errors.DecoderUnavailable, match="exit code 1"):
            pool.submit(GOOD_BYTES).result(30)
        assert pool.unavailable(0) is None  # once may be chance
        with pytest.raises(errors.DecoderUnavailable):
            pool.submit(GOOD_BYTES).result(30)
        assert pool.unavailable(0) == "exit code 1"
        assert pool.unavailable(pool.failures) is None


@posix
def test_a_worker_that_hangs_is_one_tensors_error():
    with Pool(1, tensor_seconds=0.5) as pool:
        expect_good(pool)
        pid = stopped(pool)
        started = time.monotonic()
        futures = [pool.submit(GOOD_BYTES) for _ in range(3)]
        with pytest.raises(errors.DecoderFailed, match="not decoded within"):
            futures[0].result(10)
        assert time.monotonic() - started < 2
        for future in futures[1:]:
            np.testing.assert_array_equal(future.result(10), GOOD)
        assert not running(pid)


@linux
def test_memory_is_limited():
    large = tensor.encode(np.zeros((1, 2048, 2048, 3), np.float16), compress=True)
    with Pool(1, memory=24 << 20) as pool:
        with pytest.raises(errors.TensorError):
            pool.submit(large).result(30)
        expect_good(pool)
    with Pool(1) as pool:
        assert pool.submit(large).result(30).shape == (1, 2048, 2048, 3)


# -- nothing is left behind


def test_idle_workers_end_and_come_back():
    with Pool(2, idle_seconds=0.2) as pool:
        pool.warm(2)
        until(lambda: len(pool.pids) == 2)
        until(lambda: not pool.pids)
        expect_good(pool)


def script(body: str, *arguments: str, **options) -> subprocess.Popen[str]:
    """A Python of its own with the decoders loaded from `folder` as a package of the name `name`."""
    program = """
        import sys, types, importlib, os, time
        def load(folder, name):
            package = types.ModuleType(name)
            package.__path__ = [folder]
            sys.modules[name] = package
            return importlib.import_module(name + ".drawthings_core.decoding"), importlib.import_module(name + ".drawthings_core.tensor")
        decoding, tensor = load(sys.argv[1], sys.argv[2])
        import numpy as np
        GOOD = np.zeros((1, 64, 64, 3), np.float16) + np.float16(0.5)
        DATA = tensor.encode(GOOD, compress=True)
    """
    program = textwrap.dedent(program) + textwrap.dedent(body)
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=pipe, stderr=pipe, text=True, **options)


@linux
def test_nothing_is_left_after_close():
    """In a process of its own, so that whatever is there is this pool's."""
    host = script(
        """
        import threading
        errors = importlib.import_module("some_name.drawthings_core.errors")
        def state():
            return threading.enumerate(), os.listdir("/proc/self/fd")
        decoding.Pool(1).close()
        before = state()
        pool = decoding.Pool(2)
        futures = [pool.submit(DATA) for _ in range(6)]
        futures[0].result(30)
        assert len(state()[0]) > len(before[0]) and len(state()[1]) > len(before[1])
        pool.close()
        assert all(future.done() for future in futures)
        assert state() == before, (state(), before)
        try:
            raise SystemExit(f"A child is left: {os.waitpid(-1, os.WNOHANG)}")
        except ChildProcessError:
            pass
        try:
            raise SystemExit(f"A closed pool takes tensors: {pool.submit(DATA)}")
        except errors.DecoderUnavailable:
            pass
        pool.close()
        print("nothing is left")
        """,
        *(str(ROOT), "some_name"),
    )
    out, err = host.communicate(timeout=60)
    assert (out.strip(), err, host.returncode) == ("nothing is left", "", 0)


@linux
@pytest.mark.parametrize("busy", [False, True])
def test_workers_end_with_a_killed_host(busy):
    host = script(
        """
        pool = decoding.Pool(2, idle_seconds=600)
        pool.warm(2)
        while len(pool.pids) < 2 or pool._free < 2: time.sleep(0.01)
        if sys.argv[3] == "True":
            large = tensor.encode(np.zeros((1, 4096, 4096, 3), np.float16), compress=True)
            [pool.submit(large) for _ in range(2)]
        print(*pool.pids, flush=True)
        time.sleep(60)
        """,
        *(str(ROOT), "some_name", str(busy)),
    )
    assert host.stdout is not None
    pids = [int(pid) for pid in host.stdout.readline().split()]
    assert len(pids) == 2
    host.kill()
    host.communicate()
    until(lambda: not any(running(pid) for pid in pids), 20)


def test_a_host_that_ends_without_closing_says_nothing_and_waits_for_nobody():
    host = script(
        """
        print(bool((decoding.shared().submit(DATA).result(30) == GOOD).all()), flush=True)
        decoding.shared().submit(DATA)
        """,
        *(str(ROOT), "some_name"),
    )
    out, err = host.communicate(timeout=30)
    assert (out.strip(), err, host.returncode) == ("True", "", 0)


@posix
def test_a_forked_child_has_workers_of_its_own():
    host = script(
        """
        pool = decoding.shared()
        assert (pool.submit(DATA).result(30) == GOOD).all()
        mine = pool.pids
        child = os.fork()
        if child == 0:
            theirs = decoding.shared()
            fine = (theirs.submit(DATA).result(30) == GOOD).all() and not set(theirs.pids) & set(mine)
            sys.exit(0 if fine else 3)
        assert os.waitpid(child, 0)[1] == 0
        assert (pool.submit(DATA).result(30) == GOOD).all() and pool.pids == mine
        print("fine")
        """,
        *(str(ROOT), "some_name"),
    )
    out, err = host.communicate(timeout=60)
    assert (out.strip(), host.returncode) == ("fine", 0), err


# -- where it runs


def test_folders_and_names_of_every_kind(tmp_path):
    folder = tmp_path / "my nodes.v1 ü" / "comfyui-drawthings (2)"
    for name in ("drawthings_core", "proto"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    # What stands beside the worker must not be taken for a library
    (folder / "drawthings_core" / "decoding" / "fpzip.py").write_text("raise SystemExit('the wrong fpzip')")
    host = script("print(bool((decoding.Pool(1).submit(DATA).result(30) == GOOD).all()))", str(folder), "/custom nodes/odd-name")
    out, err = host.communicate(timeout=30)
    assert (out.strip(), err) == ("True", "")


def test_two_loops_in_two_threads_share_a_pool(pool):
    async def work(values: np.ndarray) -> list[np.ndarray]:
        data = tensor.encode(values, compress=True)
        return await asyncio.gather(*(asyncio.wrap_future(pool.submit(data)) for _ in range(10)))

    def run(number: int) -> None:
        values = picture(seed=number)
        found[number] = all(np.array_equal(array, values) for array in asyncio.run(work(values)))

    found: dict[int, bool] = {}
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {0: True, 1: True}


NO_WORKER = {
    "no executable": "",
    "not there": str(ROOT / "no such python"),
    "not a program": str(ROOT / "README.md"),
    "ends at once": shutil.which("false") or "false",
    "says something else": shutil.which("echo") or "echo",
}


@posix
@pytest.mark.parametrize("kind", NO_WORKER)
def test_without_processes_nothing_is_decoded_and_the_user_is_told(kind):
    with Pool(2, executable=NO_WORKER[kind], start_seconds=5) as pool:
        pool.warm(2)
        for _ in range(2):
            with pytest.raises(errors.DecoderUnavailable, match=r"cannot be started .* switch response compression off") as caught:
                pool.submit(GOOD_BYTES).result(10)
            assert str(caught.value).endswith(".")


@posix
def test_what_a_python_prints_when_it_starts_is_passed_over(tmp_path):
    chatty = tmp_path / "chatty"
    chatty.write_text(f'#!/bin/sh\necho "a site of its own dt dtw"\nexec "{sys.executable}" "$@"\n')
    chatty.chmod(0o755)
    with Pool(1, executable=str(chatty)) as pool:
        expect_good(pool)


@posix
def test_a_decoder_that_cannot_be_started_is_not_tried_again_at_every_step(tmp_path):
    starts = tmp_path / "starts"
    broken = tmp_path / "broken"
    broken.write_text(f'#!/bin/sh\necho >> "{starts}"\nexit 1\n')
    broken.chmod(0o755)
    with Pool(1, executable=str(broken)) as pool:
        for expected in (1, 2):  # by each tensor, which has nobody else
            for _ in range(20):
                pool.warm()
            with pytest.raises(errors.DecoderUnavailable):
                pool.submit(GOOD_BYTES).result(30)
            assert len(starts.read_text()) <= expected + 1


@posix
def test_a_decoder_that_somebody_ended_while_it_started_is_started_again(tmp_path):
    once, unlucky = tmp_path / "once", tmp_path / "unlucky"
    unlucky.write_text(f'#!/bin/sh\nif [ ! -e "{once}" ]; then touch "{once}"; kill -9 $$; fi\nexec "{sys.executable}" "$@"\n')
    unlucky.chmod(0o755)
    with Pool(1, executable=str(unlucky)) as pool:
        expect_good(pool)
    assert once.exists()


def test_a_worker_that_never_says_hello(tmp_path):
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    with (
        Pool(1, executable=str(silent), start_seconds=0.3) as pool,
        pytest.raises(errors.DecoderUnavailable, match="did not answer within"),
    ):
        pool.submit(GOOD_BYTES).result(10)


@pytest.mark.parametrize("flags", [["-I"], ["-s"], ["-E"], ["-s", "-E"]])
def test_workers_look_for_modules_as_their_host_does(tmp_path, flags):
    """ComfyUI's portable edition runs with -s: a user's own, other numpy is none of its concern."""
    shown = tmp_path / "shown"
    probe = tmp_path / "probe.py"
    probe.write_text(f"import sys; open({str(shown)!r}, 'w').write(repr(list(sys.flags)))")
    program = f"""
        import importlib, sys, types
        package = types.ModuleType("some_name")
        package.__path__ = [{str(ROOT)!r}]
        sys.modules["some_name"] = package
        process = importlib.import_module("some_name.drawthings_core.decoding.process")
        import pathlib, subprocess
        process._SCRIPT = pathlib.Path({str(probe)!r})
        subprocess.run(process._command(None), check=True)
        print(repr(list(sys.flags)))
    """
    host = subprocess.run([sys.executable, *flags, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True)
    assert host.stdout.strip() == shown.read_text()


def test_a_packed_application_is_not_started_again():
    host = script(
        """
        sys.frozen = True
        try:
            decoding.Pool(1).submit(DATA).result(30)
        except tensor.CodecUnavailable as error:
            print(error)
        """,
        *(str(ROOT), "some_name"),
    )
    out, _ = host.communicate(timeout=30)
    assert "packed application" in out


@posix
@pytest.mark.parametrize("previews", [True, False])
def test_a_client_without_processes_says_it_while_the_server_samples(simulator, monkeypatch, previews):
    """Its previews show that the server compresses; whoever waited for the picture would lose it."""
    monkeypatch.setattr(pools, "_AFTER_FAILURE_SECONDS", 0.2)
    heard: list[object] = []
    with Pool(3, executable="") as pool:
        client = Client(Server(simulator.host, simulator.port, TLSMode.plain), decoders=pool)
        simulator.set("step_seconds", 0.05)
        try:
            for _ in range(2):
                heard.clear()
                with pytest.raises(errors.DecoderUnavailable):
                    client.generate(request(steps=60), on_event=heard.append, previews=previews)
                assert previews or not any(isinstance(event, Preview) for event in heard)
                assert len([event for event in heard if isinstance(event, Step)]) < 40
            simulator.set("compress", False)  # as the error asks for
            assert len(client.generate(request(steps=2)).pictures) == 1
        finally:
            simulator.set("compress", True)
            simulator.set("step_seconds", 0)
            client.close()


@posix
def test_a_decoder_that_did_not_start_once_ends_no_run(simulator, tmp_path):
    """A system may lack memory for a moment. Without previews nothing but the picture has another started so soon."""
    once, moody = tmp_path / "once", tmp_path / "moody"
    moody.write_text(f'#!/bin/sh\n[ -e "{once}" ] || {{ touch "{once}"; exit 1; }}\nexec "{sys.executable}" "$@"\n')
    moody.chmod(0o755)
    with Pool(1, executable=str(moody)) as pool:
        client = Client(Server(simulator.host, simulator.port, TLSMode.plain), decoders=pool)
        simulator.set("step_seconds", 0.05)
        try:
            result = client.generate(request(steps=60), previews=False)
        finally:
            simulator.set("step_seconds", 0)
            client.close()
    assert once.exists()
    assert result.whole


def test_a_client_without_processes_says_it_once_and_takes_raw_results(simulator):
    with Pool(1, executable="") as pool:
        client = Client(Server(simulator.host, simulator.port, TLSMode.plain), decoders=pool)
        with pytest.raises(errors.DecoderUnavailable) as caught:
            client.generate(request())
        assert "Image" not in str(caught.value)
        simulator.set("compress", False)
        try:
            assert len(client.generate(request()).pictures) == 1
        finally:
            simulator.set("compress", True)
            client.close()


# -- the client


def test_pictures_of_a_run_are_views_of_one_array(client):
    result = client.generate(request(batch_size=3))
    bases = {id(view.rgb.base) for view in result.pictures}
    assert len(bases) == 1
    assert result.pictures[0].rgb.base.shape == (3, 128, 128, 3)


def test_a_result_that_is_let_go_of_is_gone_without_the_garbage_collector(client):
    gc.collect()
    gc.disable()
    try:
        result = client.generate(request(steps=8))
        memory = weakref.ref(result.pictures[0].rgb.base)
        del result
        until(lambda: memory() is None)
    finally:
        gc.enable()


def test_an_album_takes_what_comes():
    album = Album(2)
    for number in range(5):
        album.place(4, 6, alpha=number == 3).rgb[:] = number
    assert album.images()[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    album.pictures[3].alpha[:] = 0.25
    assert album.transparencies()[:, 0, 0].tolist() == [0, 0, 0, 0.75, 0]
    exact = Album(3)
    for _ in range(3):
        exact.place(4, 6, alpha=True)
    assert np.shares_memory(exact.images(), exact.pictures[0].rgb)
    few = Album(1000)
    few.place(4, 6, alpha=False)
    assert few.images().base is None


@posix
def test_cancelling_while_results_are_decoded(client, simulator):
    client.generate(request())
    pids = client._decoders.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.cancel).start()
    started = time.monotonic()
    with pytest.raises(errors.GenerationCancelled):
        client.generate(request(batch_size=4), cancellation=cancellation)
    assert time.monotonic() - started < 1.5
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert len(client.generate(request()).pictures) == 1


@posix
def test_a_preview_that_hangs_holds_nobody_up_and_later_ones_do_not_queue(client, simulator):
    client.generate(request())
    pid = stopped(client._decoders)
    simulator.set("step_seconds", 0.05)
    events: list = []
    started = time.monotonic()
    result = client.generate(request(steps=30, start_width=512, start_height=512), on_event=events.append)
    assert time.monotonic() - started < 4.5
    assert len(result.pictures) == 1
    assert len([event for event in events if isinstance(event, Step)]) >= 30
    # The first previews are noise, which arrives raw; of the compressed ones the first hangs and the last one waits.
    shown = [event for event in events if isinstance(event, Preview)]
    assert 0 < len(shown) < 15
    assert len(client._decoders._later) <= 1
    os.kill(pid, signal.SIGCONT)


def test_results_go_before_previews():
    order: list[str] = []
    with Pool(1) as pool:
        first = pool.submit(GOOD_BYTES)  # while the worker starts, the rest waits
        later: Future = pool.submit(GOOD_BYTES, preview=True)
        others = [pool.submit(GOOD_BYTES) for _ in range(3)]
        for name, future in (("preview", later), *(("result", other) for other in (first, *others))):
            future.add_done_callback(lambda _, name=name: order.append(name))
        wait([first, later, *others], 30)
    assert order == ["result"] * 4 + ["preview"]


def answer(**fields) -> messages.ImageGenerationResponse:
    return messages.ImageGenerationResponse(**fields)


def test_an_inbox_reads_ahead_a_little_and_ends_with_its_call():
    taken: list[int] = []

    def call():
        for number in range(10):
            taken.append(number)
            yield answer(generatedImages=[b"a picture"], scaleFactor=number)
        raise KeyError("the end")

    inbox = Inbox(call())
    until(lambda: len(taken) == 3)
    time.sleep(0.05)
    assert taken == [0, 1, 2]
    seen = []

    def read() -> None:
        for found in inbox:
            seen.append(None if found is None else found.scaleFactor)
            if seen[-1] == 4:
                inbox.wake()

    with pytest.raises(KeyError):
        read()
    assert seen == [0, 1, 2, 3, 4, None, 5, 6, 7, 8, 9]
    inbox.close()
    unread = Inbox(iter([answer(generatedImages=[b"a picture"])] * 100))
    unread.close()
    assert "drawthings-receive" not in {thread.name for thread in threading.enumerate()}


def test_of_the_previews_that_wait_the_newest_stays():
    def call():
        for number in range(50):
            yield answer(previewImage=b"%d" % number, scaleFactor=number)
        yield answer(generatedImages=[b"a picture"], scaleFactor=50)

    inbox = Inbox(call())
    until(lambda: inbox._ended)
    found = list(inbox)
    assert [one.scaleFactor for one in found] == list(range(51))  # what else they say stays
    assert [one.previewImage for one in found if one.previewImage] == [b"49"]
    inbox.close()


def test_several_tensors_are_decoded_at_once():
    """Only printed: what it gains depends on the machine."""
    large = tensor.encode(picture(512, 512), compress=True)
    with Pool(2) as pool:
        wait([pool.submit(large) for _ in range(2)], 30)
        took = []
        for together in (1, 6):
            started = time.perf_counter()
            for _ in range(0, 6, together):
                wait([pool.submit(large) for _ in range(together)], 30)
            took.append(time.perf_counter() - started)
    print(f"6 tensors, one after the other {took[0]:.3f} s, together {took[1]:.3f} s")


def test_a_damaged_preview_in_deflate_is_left_out(pool):
    """bfloat16 travels in DEFLATE, which is inflated here."""
    data = tensor.encode(np.zeros((1, 16, 16, 4), np.float32), compress=True, datatype=tensor.DataType.BFLOAT16)
    good, bad = (Received.checked(one, datatypes=(tensor.DataType.BFLOAT16,)) for one in (data, data[:68] + b"\xff" * (len(data) - 68)))
    receiver = Receiver(pool, Album(), lambda: None, lambda: None)
    assert list(receiver.take(Preview(bad))) == []
    assert len(list(receiver.take(Preview(good)))) == 1
