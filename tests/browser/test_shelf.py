"""What ComfyUI itself shows of the package: example workflows in its template browser, help pages in its help panel."""

from __future__ import annotations

from typing import Any

import comfyui_drawthings
import pytest
from comfyui_process import FOLDER

from .page import ComfyPage, example

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
HELPED = "DrawThingsGenerate"
PANEL = """kind => {
  const stores = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s
  const { app } = drawThingsTest
  if (!stores.get("nodeHelp")) return stores.get("rightSidePanel").openPanel("info")
  stores.get("nodeHelp").openHelp(stores.get("nodeDef").nodeDefsByName[kind])
  if (stores.get("sidebarTab").activeSidebarTabId !== "node-library") app.extensionManager.command.execute("Workspace.ToggleSidebarTab.node-library")
}"""
"""Frontends open it by a button that comes and goes, each another."""


def test_an_example_is_opened_from_the_template_browser(comfy):
    if comfy.vue:
        pytest.skip("the template browser is the same in both renderings")
    comfy.command("Comfy.BrowseTemplates")
    browser = comfy.page.locator("[role=dialog]").last
    browser.get_by_text(FOLDER).first.click()
    card = browser.get_by_role("img", name="edit_image").first
    card.wait_for()
    comfy.until(
        "() => [...document.querySelectorAll('[role=dialog] img')].some((one) => one.alt === 'edit_image' && one.naturalWidth > 100)"
    )
    comfy.shot("templates")
    card.click()
    browser.wait_for(state="detached")
    comfy.until("() => drawThingsTest.nodes().some((one) => one.type === 'DrawThingsEdit')")
    opened = sorted(node["type"] for node in comfy.saved()["nodes"])
    assert opened == sorted(node["type"] for node in example("edit_image")["nodes"])
    assert all(row["known"] for row in comfy.js("() => drawThingsTest.nodes()"))


@pytest.fixture
def docs(comfy: ComfyPage) -> Any:
    """Frontends look for the pages of a folder up to the first dot of its name, and the tests' folder has one. A reload closes the panel again."""
    if comfy.vue:
        pytest.skip("the help panel is the same in both renderings")
    pattern = f"**/extensions/{FOLDER.partition('.')[0]}/docs/**"
    comfy.page.route(
        pattern, lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace(FOLDER.partition(".")[0], FOLDER)))
    )
    yield
    comfy.page.unroute(pattern)
    comfy.reload()


def test_the_help_panel_shows_a_page_with_its_picture(comfy, simulator, docs):
    comfy.open(example("text_to_image", simulator))
    comfy.node(HELPED).select()
    comfy.js(PANEL, HELPED)
    comfy.until(
        "kind => [...document.querySelectorAll('img')].some((one) => one.src.endsWith(`/docs/pictures/${kind}.svg`) && one.naturalWidth > 100)",
        HELPED,
    )
    comfy.page.get_by_text("Makes pictures from a prompt on a Draw Things server.").first.wait_for()
    comfy.shot("help_panel")


def test_every_help_page_has_a_picture_that_can_be_drawn(comfy):
    if comfy.vue:
        pytest.skip("files are the same in both renderings")
    wrong = comfy.js(
        """async ([folder, kinds]) => {
          const docs = `/extensions/${folder}/docs/`
          const looked = await Promise.all(kinds.flatMap((kind) => ["en", "zh", "ja"].map(async (language) => {
            const page = await (await fetch(`${docs}${kind}/${language}.md`)).text()
            const [, source] = /!\\[[^\\]]*\\]\\(([^)]+)\\)/.exec(page) ?? []
            const picture = new Image()
            picture.src = docs + source
            const drawn = source?.includes(kind) && await picture.decode().then(() => picture.naturalWidth > 100, () => false)
            return drawn ? [] : [`${kind} ${language}: ${source}`]
          })))
          return looked.flat()
        }""",
        [FOLDER, list(NODES)],
    )
    assert wrong == []
