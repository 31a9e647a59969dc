"""Test helpers are plain modules beside the tests."""

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from collections.abc import Iterator

import pytest
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess

SECRET = "correct horse"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests side by side: each file in one process, and those in a browser by frontend, so that each needs one host. Benchmarks, which share
    nothing and take long, go one by one, so that none of the processes is left alone with all of them.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrFrontend(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            frontend = re.search(r"^tests/browser/.*[\[-](\d+\.\d+\.\d+)[\]-]", nodeid)
            if frontend:
                return frontend[1]
            return nodeid if nodeid.startswith("tests/test_benchmarks.py") else super()._split_scope(nodeid)

    return ByFileOrFrontend(config, log)


@pytest.fixture(scope="session", autouse=True)
def _own_profile_folder_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with _own_profile_folder(tmp_path_factory):
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_profile_folder_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For what a module's fixtures ask of servers: a port may have been another server's, whose certificate is remembered."""
    with _own_profile_folder(tmp_path_factory):
        yield


@pytest.fixture(autouse=True)
def own_profile_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the profile of the person who runs it, or listens to the network around."""
    with _own_profile_folder(tmp_path_factory):
        limits = sys.modules.get("comfyui_drawthings.nodes.page.newcomers")
        if limits is not None:  # which counts the addresses of all tests of a process
            limits.newcomers.forget()
        yield


@contextlib.contextmanager
def _own_profile_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAWTHINGS_DISCOVERY", "off")
        patch.setenv("DRAWTHINGS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def _open_simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--no-tls", "--model-browser", "--step-seconds", "0") as simulator:
        yield simulator


@pytest.fixture(scope="session")
def _guarded_simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess("--model-browser", "--shared-secret", SECRET, "--step-seconds", "0") as simulator:
        yield simulator


def _fresh(simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    simulator.clear_faults()
    simulator.clear()
    simulator.set("step_seconds", 0)
    yield simulator
    simulator.clear_faults()
    simulator.set("step_seconds", 0)


@pytest.fixture
def simulator(_open_simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """A plain server with a catalogue, nothing wrong with it."""
    yield from _fresh(_open_simulator)


@pytest.fixture
def guarded(_guarded_simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """A server with TLS and the shared secret SECRET."""
    yield from _fresh(_guarded_simulator)
