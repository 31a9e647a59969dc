"""The sidebar's servers: added with a secret, tested, used, forgotten; and what of a secret is left in the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SECRET

from .page import ComfyPage, example
from .test_lists import state

TAB = "Workspace.ToggleSidebarTab.drawthings-servers"
ELSEWHERE = "127.1"
"""This machine by a spelling that nobody knows as such: a stranger's address, as far as a secret is concerned."""


def saved(comfy: ComfyPage, route: str = "servers", **body: Any) -> dict[str, Any]:
    """What a route of ours answers to the page."""
    return comfy.js(
        """async ([route, body]) => {
          const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
          return (await drawThingsTest.api.fetchApi(`/drawthings/${route}`, options)).json()
        }""",
        [route, body],
    )


def forget_all(comfy: ComfyPage) -> None:
    now = saved(comfy)
    names = {kind: [row["name"] for row in now[kind]] for kind in ("servers", "secrets")}
    saved(comfy, "servers/forget", certificates=[row["address"] for row in now["certificates"]], **names)


@pytest.fixture
def tab(comfy: ComfyPage) -> Iterator[Any]:
    """The open tab, with nothing saved."""
    forget_all(comfy)
    comfy.command(TAB)
    panel = comfy.page.locator(".drawthings.panel")
    panel.get_by_role("button", name="Add a server").wait_for()
    yield panel
    comfy.page.keyboard.press("Escape")
    comfy.command(TAB)
    forget_all(comfy)


def dialog(comfy: ComfyPage) -> Any:
    return comfy.page.locator("dialog.drawthings")


def fill(comfy: ComfyPage, **fields: str) -> Any:
    """Fill the form that is open."""
    form = dialog(comfy)
    for label, text in fields.items():
        form.get_by_label(label, exact=True).fill(text)
    return form


def test_a_server_is_added_with_its_secret_and_nothing_of_it_stays(comfy, tab, guarded):
    tab.get_by_role("button", name="Add a server").click()
    form = fill(comfy, Name="Studio", Address=guarded.host, Port=str(guarded.port))
    form.get_by_label("Shared secret", exact=True).select_option(label="type a new one")
    typed = form.get_by_label("New shared secret")
    assert typed.get_attribute("type") == "password"
    typed.fill(SECRET)
    comfy.page.keyboard.press("Enter")

    form.get_by_text(guarded.fingerprint).wait_for()
    assert guarded.requests(None) == []  # nothing was said to it before it is trusted
    comfy.shot("servers_certificate")
    form.get_by_role("button", name="Trust it").click()
    form.get_by_text("It accepts the shared secret.").wait_for()
    form.get_by_text("Model browser on.").wait_for()
    comfy.shot("servers_tested")
    comfy.page.keyboard.press("Escape")
    dialog(comfy).wait_for(state="detached")

    comfy.open(example("text_to_image", guarded))
    tab.get_by_role("button", name="Use: Studio").click()
    loader = comfy.node("DrawThingsLoadServer")
    comfy.until("id => drawThingsTest.widget(id, 'saved_server').value === 'Studio'", loader.id)
    assert loader.choices("saved_server") == ["none", "Studio"]
    assert comfy.run().outcome == "success"
    comfy.shot("servers_used")

    page = comfy.js(
        """() => JSON.stringify([document.documentElement.outerHTML, [...document.querySelectorAll("input, textarea")].map((one) => one.value),
          { ...localStorage }, { ...sessionStorage }])"""
    )
    settings = comfy.js("async () => (await drawThingsTest.api.fetchApi('/settings')).text()")
    for place in (
        page,
        settings,
        json.dumps(comfy.saved()),
        json.dumps(comfy.prompt()),
        json.dumps(saved(comfy)),
        comfy.host.log.read_text(errors="replace"),
    ):
        assert SECRET not in place

    for secret, tone in (("another one", "bad"), (SECRET, "good")):  # under the same name: the node hears of it by the test
        tab.get_by_role("button", name="Edit: Studio").click()
        form = dialog(comfy)
        form.get_by_label("Shared secret", exact=True).select_option(label="type a new one")
        form.get_by_label("New shared secret").fill(secret)
        comfy.page.keyboard.press("Enter")
        form.locator(f'.outcome[data-mark="{tone}"]').wait_for()
        if comfy.draws_all:
            state(comfy, tone)
        comfy.page.keyboard.press("Escape")
        form.wait_for(state="detached")


def test_what_is_missing_or_wrong_is_said_where_it_is(comfy, tab, simulator):
    tab.get_by_role("button", name="Add a server").click()
    form = dialog(comfy)
    comfy.page.keyboard.press("Enter")
    form.get_by_text("Type a name, such as Studio.").wait_for()
    form.get_by_text("Type the name or IP address of the machine.").wait_for()
    fill(comfy, Name="Loft", Address="127.0.0.1", Port="1")
    form.get_by_role("button", name="Save and test").click()
    form.get_by_text("No Draw Things server answers at 127.0.0.1:1").wait_for()
    form.get_by_text("gRPCServerCLI MODELS_FOLDER --port 1").wait_for()
    comfy.shot("servers_refused")
    fill(comfy, Port=str(simulator.port))
    comfy.page.keyboard.press("Enter")
    form.get_by_text("It asks for no shared secret.").wait_for()
    assert [(row["name"], row["port"]) for row in saved(comfy)["servers"]] == [("Loft", simulator.port)]


def test_a_secret_goes_to_a_new_address_only_when_allowed(comfy, tab, simulator):
    saved(comfy, "servers/save", name="Studio", host="studio.invalid", new_secret=SECRET)
    simulator.clear()
    workflow = example("text_to_image", simulator)
    (loader,) = [node for node in workflow["nodes"] if node["type"] == "DrawThingsLoadServer"]
    loader["widgets_values"][0], loader["widgets_values"][3] = ELSEWHERE, "Studio"
    comfy.open(workflow)
    assert comfy.run().outcome == "error"
    asked = dialog(comfy)
    asked.get_by_text("where it never went").wait_for()
    assert simulator.requests(None) == []
    comfy.shot("servers_stranger")
    asked.get_by_role("button", name="It is mine").click()
    asked.get_by_text("It answers").wait_for()
    comfy.page.keyboard.press("Escape")
    assert comfy.run().outcome == "success"


def test_forgetting_takes_along_what_only_this_server_used(comfy, tab, simulator):
    saved(comfy, "servers/save", name="Studio", host=simulator.host, port=simulator.port, new_secret=SECRET)
    tab.get_by_role("button", name="Forget: Studio").first.click()
    dialog(comfy).get_by_role("button", name="Cancel").click()
    assert len(saved(comfy)["servers"]) == 1
    tab.get_by_role("button", name="Forget: Studio").first.click()
    dialog(comfy).get_by_text("Its secret Studio too").wait_for()
    dialog(comfy).get_by_role("button", name="Forget").click()
    tab.get_by_text("No server is saved yet.").wait_for()
    assert (saved(comfy)["servers"], saved(comfy)["secrets"]) == ([], [])


def test_servers_of_the_workflow_can_be_saved(comfy, tab, simulator):
    comfy.open(example("text_to_image", simulator))
    tab.get_by_role("button", name=f"Save: {simulator.address}").click()
    form = fill(comfy, Name="Found here")
    assert form.get_by_label("Address", exact=True).input_value() == simulator.host
    comfy.page.keyboard.press("Enter")
    form.get_by_text("It answers").wait_for()
    comfy.page.keyboard.press("Escape")
    tab.get_by_text("In this workflow").wait_for(state="detached")
