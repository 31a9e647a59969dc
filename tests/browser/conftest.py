"""One browser, one host a frontend and one page a rendering serve all tests here. See README.md."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import hosts, page

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import _frontends

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
FLAGS += ("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",)
"""No page reaches the network. (A route of playwright's that refuses it would switch off Chromium's caches: a load would cost three times as much.)"""
RENDERINGS = ("classic", "nodes2")


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("browser")
    if item.config.pluginmanager.hasplugin("rerunfailures"):
        item.add_marker(pytest.mark.flaky(reruns=1))  # a browser on a busy machine may stumble once; the summary names what did


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Fixtures see whether their test failed."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


# package scope: playwright leaves its event loop running, in which no other test could run one
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if any(importlib.util.find_spec(name) is None for name in ("playwright", "aiohttp")):
        pytest.skip("needs playwright and aiohttp: python3 scripts/test.py installs them")
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        pytest.skip("needs Chromium: install it (Debian: apt install chromium), or set CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="package", params=_frontends.VERSIONS)
def frontend(request: pytest.FixtureRequest) -> str:
    """A version of ComfyUI's page."""
    if _frontends.found(request.param) is None:
        pytest.skip(f"needs ComfyUI's frontend {request.param}: python3 scripts/test.py fetches it")
    return request.param


@pytest.fixture(scope="package")
def host(frontend: str, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hosts.Host]:
    """What serves that page."""
    folder = _frontends.found(frontend)
    assert folder is not None
    made = hosts.host(tmp_path_factory.mktemp("host") / "base", folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="package")
def _context(host: hosts.Host, browser: Any) -> Iterator[Any]:
    """One a frontend, so that the second rendering finds the page's compiled scripts in its cache."""
    opened = page.context(browser, host)
    yield opened
    opened.close()


@pytest.fixture(scope="package", params=RENDERINGS)
def _page(request: pytest.FixtureRequest, frontend: str, host: hosts.Host, _context: Any) -> Iterator[page.ComfyPage]:
    opened = page.ComfyPage(_context, host, frontend, request.param)
    yield opened
    opened.close()


@pytest.fixture
def comfy(_page: page.ComfyPage, request: pytest.FixtureRequest) -> Iterator[page.ComfyPage]:
    """ComfyUI's page with an empty graph. Afterwards nothing of ours may have complained in its console."""
    _page.clear()
    yield _page
    if request.node.stash.get(_FAILED, False):
        _page.shot(f"failed_{request.node.originalname}")
    complaints = _page.complaints.copy()
    _page.complaints.clear()
    assert not complaints, "\n".join(complaints)
