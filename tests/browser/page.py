"""ComfyUI's page as the tests handle it: workflows, nodes, widgets, runs, messages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfyui_process import FOLDER, ROOT, SECRET_NAME

if TYPE_CHECKING:
    from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

    from .hosts import Host

READY_MILLISECONDS = 90_000
WAIT_SECONDS = 30.0
SIZE = {"width": 1600, "height": 1000}
ENDS = ("execution_success", "execution_error", "execution_interrupted")
SHOTS = ROOT / "out" / "browser"
"""Where screenshots are kept; git ignores it."""

_MISSING = r"Failed to load resource: the server responded with a status of 40[04] \([\w ]+\) @ http://[\d.:]+"
_OTHERS = r"https://([\w-]+\.)*(huggingface\.co|comfy\.org|googleapis\.com)/\S*"
_ELSEWHERE = rf"Failed to load resource: net::ERR_\w+ @ {_OTHERS}"
_REFUSED = rf"(Connecting to '|Fetch API cannot load ){_OTHERS} .*Content Security Policy.*"  # ComfyUI's own, with --disable-api-nodes
NOT_OURS = (
    rf"{_MISSING}/api/jobs\?\S*",  # newer pages ask for it, older ComfyUIs do not have it
    r"Failed to fetch \w+: JobsApiError: Failed to fetch jobs: 404\n.*",  # the same
    r"\[Jobs API\] .*",
    rf"{_MISSING}/api/(global_subgraphs|assets|node_replacements|features)(\?\S*)?",
    rf"{_MISSING}/(api/)?(user\.css|favicon\.ico|templates/index_logo\.json)(\?\S*)?",
    rf"{_MISSING}/extensions/(?!{re.escape(FOLDER)}/)\S+/docs/\w+/\w+\.md",
    _ELSEWHERE,
    _REFUSED,
    # 1.27's settings, at start
    r"TypeError: Cannot read properties of undefined \(reading 'id'\)\n +at onChange \(http://[\d.:]+/assets/index-\S+\)\n(?!.*/extensions/).*",
)
"""Complaints in the console that an empty ComfyUI makes as well, whole."""

_READY = """() => {
  const app = window.app ?? window.comfyAPI?.app?.app
  return !!(app?.canvas && app.extensionManager && (app.rootGraph || app.graph) && app.vueAppReady !== false
    && window.LiteGraph?.registered_node_types?.DrawThingsLoadServer)
}"""


@dataclass(frozen=True)
class Run:
    """How a queued prompt ended. outcome: success, error, interrupted, or rejected. events: of this run, in order."""

    outcome: str
    events: list[dict[str, Any]]
    detail: dict[str, Any]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The details of the events of one kind."""
        return [event["data"] for event in self.events if event["type"] == kind]

    @property
    def previews(self) -> int:
        """Latent previews that arrived."""
        return sum(event["type"] == "b_preview" for event in self.events)


def context(browser: Browser, host: Host) -> BrowserContext:
    """Where pages of a host are opened, with an empty storage."""
    made = browser.new_context(viewport=SIZE, locale="en-US")
    made.grant_permissions(["clipboard-read", "clipboard-write"], origin=f"http://{host.address}")
    made.add_init_script("try { localStorage.setItem('Comfy.NodeSearchBoxImpl.Tutorial', '1') } catch {}")
    return made


class Node:
    """A node of the open workflow."""

    def __init__(self, comfy: ComfyPage, node_id: str):
        self.comfy = comfy
        self.id = node_id

    def value(self, widget: str) -> Any:
        return self.comfy.js("([id, name]) => drawThingsTest.widget(id, name).value", [self.id, widget])

    def values(self) -> dict[str, Any]:
        """All widgets by name."""
        rows = self.comfy.js("id => drawThingsTest.node(id).widgets.map((one) => [one.name, one.value ?? null])", self.id)
        return dict(rows)

    def choices(self, widget: str) -> list[Any]:
        """What a combo offers."""
        return self.comfy.js("([id, name]) => drawThingsTest.choices(id, name)", [self.id, widget])

    def set(self, widget: str, value: Any) -> None:
        """Set a widget as a user does: its callback hears of it."""
        self.comfy.js("([id, name, value]) => drawThingsTest.set(id, name, value)", [self.id, widget, value])

    @property
    def title(self) -> str:
        return self.comfy.js("id => drawThingsTest.node(id).title", self.id)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height with the title bar, as it is drawn, in the graph's own pixels."""
        return tuple(self.comfy.js("id => drawThingsTest.box(id)", self.id))

    @property
    def element(self) -> Any:
        """Its element, where nodes are elements (Nodes 2.0); a playwright locator."""
        return self.comfy.page.locator(f'[data-node-id="{self.id}"]')

    @property
    def pictures(self) -> int:
        """Result or preview pictures that are shown on it."""
        return self.comfy.js("id => drawThingsTest.pictures(id)", self.id)

    def select(self) -> None:
        """Select it alone."""
        self.comfy.js(
            "id => { const { app } = drawThingsTest; app.canvas.deselectAll(); app.canvas.select(drawThingsTest.node(id)) }", self.id
        )


class ComfyPage:
    """One open page. page: playwright's, for all that is not here. vue: whether nodes are elements (Nodes 2.0). draws_all: False for the
    Nodes 2.0 of 1.27, a first attempt that draws no texts and no pictures of any node, and little more than titles from afar.
    """

    def __init__(self, context: BrowserContext, host: Host, version: str, rendering: str):
        self.host = host
        self.version = version
        self.rendering = rendering
        self.vue = rendering != "classic"
        self.draws_all = not (self.vue and version.startswith("1.27."))
        self.url = f"http://{host.address}"
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_SECONDS * 1000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._complaint(str(error.stack or error)))
        self._set_rendering()
        self.reload()

    def _set_rendering(self) -> None:
        """As the user's saved setting, so that the page begins with it."""
        name = "Comfy.VueNodes.Enabled"
        answer = self.page.request.post(f"{self.url}/api/settings/{name}", data=json.dumps(self.vue), headers=_JSON)
        assert answer.ok

    def close(self) -> None:
        """Close it, and leave nothing that it kept to the next one."""
        self.js("() => localStorage.clear()")
        self.page.close()

    def reload(self) -> None:
        """Load the page anew and wait until it can be used."""
        self.page.goto(self.url, wait_until="domcontentloaded", timeout=READY_MILLISECONDS)
        self.page.wait_for_function(_READY, timeout=READY_MILLISECONDS)
        self.page.evaluate((Path(__file__).with_name("page.js")).read_text(encoding="utf-8"))

    # -- what the console says

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaint(f"{message.text} @ {message.location.get('url', '')}")

    def _complaint(self, text: str) -> None:
        if not any(re.fullmatch(pattern, text, re.DOTALL) for pattern in NOT_OURS):
            self.complaints.append(text[:1000])

    # -- the page

    def js(self, function: str, argument: Any = None) -> Any:
        """Evaluate a JavaScript function in the page; `drawThingsTest` (page.js) has what is needed."""
        return self.page.evaluate(function, argument)

    def until(self, function: str, argument: Any = None, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a JavaScript function gives something true."""
        self.page.wait_for_function(function, arg=argument, timeout=seconds * 1000)

    def command(self, name: str) -> None:
        """Run one of the page's commands."""
        self.js("name => drawThingsTest.app.extensionManager.command.execute(name)", name)

    def undo(self) -> None:
        """Take back what was done last."""
        self.command("Comfy.Undo")

    def setting(self, name: str, value: Any) -> None:
        """Change a setting."""
        self.js("([name, value]) => drawThingsTest.app.extensionManager.setting.set(name, value)", [name, value])

    @property
    def toasts(self) -> list[str]:
        """The texts of the messages that are shown."""
        return self.js("() => drawThingsTest.toasts()")

    @property
    def dialogs(self) -> list[str]:
        """The texts of the dialogs that are open."""
        return self.js("() => drawThingsTest.dialogs()")

    def shot(self, name: str) -> Path:
        """Keep a screenshot as out/browser/<frontend>_<rendering>_<name>.png."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{self.version}_{self.rendering}_{name}.png"
        self.page.screenshot(path=path)
        return path

    # -- workflows

    def clear(self) -> None:
        """Stop what runs and leave an empty graph, as a new test finds it."""
        self.js(
            """async () => {
              const { api, app, events } = drawThingsTest
              await api.fetchApi("/queue", { method: "POST", body: JSON.stringify({ clear: true }) })
              if ((await (await api.fetchApi("/queue")).json()).queue_running.length) await api.interrupt(null)
              for (let left = 100; left && (await (await api.fetchApi("/queue")).json()).queue_running.length; left--)
                await new Promise((done) => setTimeout(done, 50))
              app.lastNodeErrors = null
              events.length = 0
            }"""
        )
        for _ in range(len(self.dialogs)):
            self.page.keyboard.press("Escape")
        self.open(EMPTY, "empty")
        # Every workflow that was opened stays as a tab: with a hundred of them opening the next one takes twice as long.
        self.js(
            """async () => {
              const { workflow } = drawThingsTest.app.extensionManager
              for (const one of [...workflow.openWorkflows]) if (one !== workflow.activeWorkflow) await workflow.closeWorkflow(one)
            }"""
        )

    def open(self, workflow: Mapping[str, Any], name: str = "test") -> None:
        """Open a workflow, in ComfyUI's own format or as an API prompt, and wait until its nodes are there."""
        self.js(
            """async ([workflow, name]) => {
              const { app } = drawThingsTest
              if (Array.isArray(workflow.nodes)) await app.loadGraphData(workflow, true, true, name)
              else await app.loadApiJson(workflow, name)
            }""",
            [workflow, name],
        )
        self.settle()

    def settle(self) -> None:
        """Wait until what was opened or added is drawn."""
        self.until(
            """() => !drawThingsTest.vue() || drawThingsTest.graph().nodes.every((one) => drawThingsTest.element(one.id))""",
            seconds=READY_MILLISECONDS / 1000,  # all examples at once are some 250 elements with all their widgets
        )
        self.js("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def fit(self) -> None:
        """Show the whole graph."""
        self.command("Comfy.Canvas.FitView")
        # It glides there, and takes its time on a busy machine.
        self.js(
            """() => new Promise((done) => {
              let last, same = 0
              const look = () => {
                const { scale, offset } = drawThingsTest.app.canvas.ds, now = `${scale} ${offset}`
                same = now === last ? same + 1 : 0
                last = now
                same < 5 ? requestAnimationFrame(look) : done()
              }
              requestAnimationFrame(look)
            })"""
        )

    def nodes(self, kind: str | None = None) -> list[Node]:
        """The nodes of the open workflow, or those of one type."""
        rows = self.js("() => drawThingsTest.nodes()")
        return [Node(self, row["id"]) for row in rows if kind in (None, row["type"])]

    def node(self, kind: str) -> Node:
        """The one node of this type."""
        (found,) = self.nodes(kind)
        return found

    def saved(self) -> dict[str, Any]:
        """The open workflow as it would be saved."""
        return self.js("() => JSON.parse(JSON.stringify(drawThingsTest.graph().serialize()))")

    def prompt(self) -> dict[str, Any]:
        """The open workflow as it would be sent."""
        return self.js("async () => (await drawThingsTest.app.graphToPrompt()).output")

    # -- runs

    @property
    def heard(self) -> int:
        """How many events were heard so far: a mark for `events`."""
        return self.js("() => drawThingsTest.events.length")

    def events(self, mark: int = 0) -> list[dict[str, Any]]:
        """The host's events since a mark, {"type", "data"}."""
        return self.js("mark => drawThingsTest.events.slice(mark)", mark)

    def queue(self) -> int:
        """Press Run, and give the mark from which its events count."""
        mark = self.heard
        self.js("async () => { await drawThingsTest.app.queuePrompt(0, 1) }")
        return mark

    def wait_for(self, kinds: str | Iterable[str], mark: int = 0, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The first event of these kinds since a mark; its data."""
        wanted = [kinds] if isinstance(kinds, str) else list(kinds)
        self.until("([mark, kinds]) => drawThingsTest.events.slice(mark).some((one) => kinds.includes(one.type))", [mark, wanted], seconds)
        return next(event["data"] for event in self.events(mark) if event["type"] in wanted)

    def finish(self, mark: int, seconds: float = WAIT_SECONDS) -> Run:
        """Wait until what was queued at the mark has ended."""
        end = time.monotonic() + seconds
        while True:
            events = self.events(mark)
            ended = [event for event in events if event["type"] in ENDS]
            if ended:
                self.page.wait_for_timeout(100)  # what the page does on hearing it
                return Run(ended[0]["type"].removeprefix("execution_"), self.events(mark), ended[0]["data"])
            errors = self.js("() => drawThingsTest.app.lastNodeErrors ?? {}")
            if errors:
                return Run("rejected", events, errors)
            assert time.monotonic() < end, f"the run did not end; heard {[event['type'] for event in events][-10:]}"
            self.page.wait_for_timeout(50)

    def run(self, seconds: float = WAIT_SECONDS) -> Run:
        """Press Run and wait for the end."""
        return self.finish(self.queue(), seconds)

    def cancel(self) -> None:
        """Press Cancel."""
        self.command("Comfy.Interrupt")


BAND = 1500
"""Pixels that the last row of nodes of a workflow may take."""
EMPTY = {"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "config": {}, "extra": {}, "version": 0.4}
_JSON = {"Content-Type": "application/json"}


def example(name: str, simulator: SimulatorProcess | None = None, **changes: Any) -> dict[str, Any]:
    """An example workflow that leads to this server. changes: widget values of the nodes that have them, by input name."""
    from comfyui_drawthings.nodes import NODE_CLASS_MAPPINGS
    from comfyui_drawthings.runner.inputs import input_specs

    document = json.loads((ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))
    for node in document["nodes"]:
        if node["type"] not in NODE_CLASS_MAPPINGS:
            continue
        new = dict(changes)
        if node["type"] == "DrawThingsLoadServer" and simulator is not None:
            new |= {"host": simulator.host, "port": simulator.port, "secret": SECRET_NAME if simulator.tls else ""}
        position = 0
        for spec in input_specs(NODE_CLASS_MAPPINGS[node["type"]]).values():
            if not spec.widget:
                continue
            if spec.name in new and position < len(node["widgets_values"]):
                node["widgets_values"][position] = new[spec.name]
            position += 1 + spec.extra_values
    return document


def beside(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Workflows as one, each below the one before."""
    joined = {**EMPTY, "nodes": [], "links": [], "groups": []}
    top = 0.0
    for document in documents:
        nodes, links = joined["last_node_id"], joined["last_link_id"]
        heights = [node["pos"][1] for node in document["nodes"]]
        down = top - min(heights)
        for node in document["nodes"]:
            moved = json.loads(json.dumps(node))
            moved["id"] += nodes
            moved["pos"] = [moved["pos"][0], moved["pos"][1] + down]
            for given in moved.get("inputs", ()):
                given["link"] = given.get("link") and given["link"] + links
            for output in moved.get("outputs", ()):
                output["links"] = output.get("links") and [link + links for link in output["links"]]
            joined["nodes"].append(moved)
        joined["links"] += [
            [link + links, source + nodes, slot, target + nodes, *rest] for link, source, slot, target, *rest in document["links"]
        ]
        top += max(heights) - min(heights) + BAND
        joined["last_node_id"] += document["last_node_id"]
        joined["last_link_id"] += document["last_link_id"]
    return joined
