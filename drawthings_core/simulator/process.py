"""The simulator as a child process, for tests, the demo and the ComfyUI host.

    with SimulatorProcess("--no-tls", "--model-browser") as simulator:
        channel = grpc.insecure_channel(simulator.address)
        ...
        simulator.requests()

The child loads this very folder as a package of its own, so it neither needs an installation nor cares under which name the
parent imported it. It ends with its parent: stdin is its control channel.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]

# A bare module with a path: the package's own __init__ would import the nodes, and with them torch.
_BOOTSTRAP = """
import sys, types
sys.path[:] = [entry for entry in sys.path if entry]
package = types.ModuleType("comfyui_drawthings")
package.__path__ = [{root!r}]
sys.modules["comfyui_drawthings"] = package
from comfyui_drawthings.drawthings_core.simulator.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


class SimulatorFailed(RuntimeError):
    """The child did not start, or does not answer; the text holds the end of its log."""


class SimulatorProcess:
    """A running simulator; a context manager that always reaps its child.

    flags: of the command line. Without --port a free one is taken. start_seconds, answer_seconds: time limits.
    """

    def __init__(self, *flags: str, start_seconds: float = 30.0, answer_seconds: float = 30.0):
        self.flags = flags
        self.ready: dict[str, Any] = {}
        """The ready line."""
        self.events: list[dict[str, Any]] = []
        """Every other event line, such as a trap."""
        self._start_seconds = start_seconds
        self._answer_seconds = answer_seconds
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._lock = threading.Lock()
        self._log: Any = None

    def __enter__(self) -> SimulatorProcess:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # What it is

    @property
    def host(self) -> str:
        return "127.0.0.1" if self.ready["address"] in ("0.0.0.0", "::") else self.ready["address"]

    @property
    def port(self) -> int:
        return self.ready["port"]

    @property
    def address(self) -> str:
        """host:port"""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def tls(self) -> bool:
        return self.ready["tls"]

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the certificate, AA:BB:..., None without TLS."""
        return self.ready["fingerprint"]

    @property
    def certificate(self) -> str | None:
        """The leaf that the server sends, as PEM."""
        return self.ready["certificate"]

    @property
    def root_certificate(self) -> str | None:
        """The root that signed it, as PEM; None without TLS and for a certificate that was given."""
        return self.ready["root_certificate"]

    @property
    def models_directory(self) -> Path:
        return Path(self.ready["models_directory"])

    @property
    def pid(self) -> int | None:
        """Process id, None when it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def log(self) -> str:
        """Everything the child wrote to stderr."""
        if self._log is None:
            return ""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    # Starting and ending

    def start(self) -> None:
        """Start the child and wait for its ready line. Raises SimulatorFailed."""
        flags = list(self.flags)
        if not any(flag in ("--port", "-p") or flag.startswith("--port=") for flag in flags):
            flags += ["--port", "0"]
        self.ready, self.events, self._answers = {}, [], queue.Queue()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP.format(root=str(_ROOT)), *flags, "--control"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, args=(self._process, self._answers), daemon=True).start()
        first = self._next(self._start_seconds)
        if first is None or first.get("event") != "ready":
            log = self.log()
            self.close()
            raise SimulatorFailed(f"The simulator did not start:\n{log[-2000:]}")
        self.ready = first

    def restart(self) -> None:
        """End the child and start another with the same flags and, where it was a free one, the same port."""
        port = self.port
        self.close()
        if "--port" not in self.flags:
            self.flags = (*self.flags, "--port", str(port))
        self.start()

    def terminate(self, seconds: float = 5.0) -> int | None:
        """Ask the child to stop (SIGTERM) and reap it; its exit code."""
        if self.running:
            assert self._process is not None
            self._process.terminate()
            self.wait(seconds)
        self._reap()
        return self.exit_code

    def kill(self) -> None:
        """End the child at once, as a crash would, and reap it."""
        if self.running:
            assert self._process is not None
            self._process.kill()
        self._reap()

    def wait(self, seconds: float = 10.0) -> int | None:
        """Wait for the child to end by itself (a trap, a kill fault); its exit code, or None when it still runs."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End and reap the child, however it is."""
        if self.running:
            assert self._process is not None
            self._close_stdin()
            if self.wait(5.0) is None:
                self._process.kill()
        self._reap()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _reap(self) -> None:
        if self._process is None:
            return
        if self.wait(5.0) is None:
            self._process.kill()
            self._process.wait()
        self._close_stdin()
        if self.ready.get("temporary"):
            # A killed child could not remove its own temporary models directory.
            shutil.rmtree(self.ready["models_directory"], ignore_errors=True)

    def _close_stdin(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # what was buffered for a child that is gone
                self._process.stdin.close()

    # The control channel

    def command(self, **command: Any) -> dict[str, Any]:
        """Send one command, such as command="state", and give its answer. Raises SimulatorFailed for a refusal."""
        with self._lock:
            if not self.running:
                raise SimulatorFailed(f"The simulator has ended with code {self.exit_code}.")
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(json.dumps(command) + "\n")
                self._process.stdin.flush()
            except OSError as error:
                raise SimulatorFailed("The simulator has ended.") from error
            answer = self._next(self._answer_seconds)
        if answer is None:
            raise SimulatorFailed(f"The simulator does not answer {command}.")
        if not answer.get("ok"):
            raise SimulatorFailed(f"The simulator refused {command}: {answer.get('error')}")
        return answer

    def requests(self, method: str | None = "GenerateImage") -> list[dict[str, Any]]:
        """What arrived since the start or the last clear; method None: every call."""
        calls = self.command(command="requests")["requests"]
        return [call for call in calls if method is None or call["method"] == method]

    def clear(self) -> None:
        """Forget what arrived."""
        self.command(command="clear")

    def state(self) -> dict[str, Any]:
        """running, queued, traps, trap_reasons, faults, history: outcome, last stage, path, model, skipped, ... of each job; calls by
        method and connections since the start or the last clear.
        """
        return self.command(command="state")

    def set_fault(self, name: str, value: Any = None, calls: int | None = None) -> None:
        """Let something go wrong in the next `calls` calls, or until cleared."""
        self.command(command="set_fault", name=name, value=value, calls=calls)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self.command(command="clear_faults")

    def set(self, name: str, value: Any) -> None:
        """Change a setting of later generations: step_seconds, compress, remote_downloads, picture."""
        self.command(command="set", name=name, value=value)

    def wait_until(self, seconds: float = 10.0, **counts: int) -> dict[str, Any]:
        """Wait until the state's counts are as given, such as running=1, queued=0. Raises SimulatorFailed."""
        end = time.monotonic() + seconds
        while True:
            state = self.state()
            if all(state[name] == count for name, count in counts.items()):
                return state
            if time.monotonic() > end:
                raise SimulatorFailed(f"The simulator did not come to {counts}: {state}")
            time.sleep(0.01)

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """The next answer or ready line; None when the child ended or the time is over."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def _read(self, process: subprocess.Popen[str], answers: queue.Queue[dict[str, Any] | None]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if message.get("event") not in (None, "ready"):
                    self.events.append(message)
                else:
                    answers.put(message)
        answers.put(None)
