"""One connection: a second run to the same server opens none and greets nobody."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from comfyui_drawthings.drawthings_core.client import client_for
from comfyui_drawthings.drawthings_core.servers import Profiles
from conftest import SECRET
from links import Link
from test_nodes import NODES, call, checkerboard, small


@pytest.fixture(params=["plain", "TLS"])
def linked(request, simulator, guarded):
    """(simulator, link to it, inputs of Load Server)."""
    there = simulator if request.param == "plain" else guarded
    Profiles().save_secret("studio", SECRET)
    with Link(there.port) as link:
        yield there, link, {"host": link.host, "port": link.port, "secret": "" if request.param == "plain" else "studio"}


def generate(server, **more):
    return call("DrawThingsGenerate", server=server, **small(**more))


def counted(simulator, link, run):
    """Calls and connections of the simulator, and connections through the link, that `run` adds."""
    simulator.clear()
    before = link.opened
    run()
    state = simulator.state()
    return state["calls"], state["connections"], link.opened - before


ONE_RUN = {"FilesExist": 1, "GenerateImage": 1}
"""Files come and go on a server, which takes another model for one that is missing: they are asked for in every run."""


def test_a_second_run_opens_no_connection_and_sends_no_echo(linked):
    simulator, link, inputs = linked

    def graph(seed):
        (server,) = call("DrawThingsLoadServer", **inputs)
        generate(server, seed=seed)

    calls, connections, _ = counted(simulator, link, lambda: graph(1))
    assert calls == {"Echo": 1, **ONE_RUN}
    assert connections == 1
    for seed in (2, 3):
        assert counted(simulator, link, lambda seed=seed: graph(seed)) == (ONE_RUN, 1, 0)


def test_two_nodes_of_one_graph_share_the_connection(linked):
    simulator, link, inputs = linked
    (server,) = call("DrawThingsLoadServer", **inputs)

    def graph():
        async def both():
            node = NODES["DrawThingsGenerate"]
            values = {name: options[1].get("default") for name, options in node.INPUT_TYPES()["required"].items() if len(options) > 1}
            first, second = ({**values, **small(seed=seed), "server": server, "image": checkerboard()} for seed in (1, 2))
            await asyncio.gather(node().generate(**first), node().generate(**second))

        asyncio.run(both())

    for _ in range(2):
        assert counted(simulator, link, graph) == ({"FilesExist": 2, "GenerateImage": 2}, 1, 0)


def test_a_server_that_came_back_is_greeted_anew(linked):
    simulator, _, inputs = linked
    (server,) = call("DrawThingsLoadServer", **inputs)
    client = client_for(server)
    kept = client.catalog()
    client.close()
    generate(server)
    assert simulator.state()["connections"] == 2
    assert client.catalog() is not kept


@pytest.mark.skipif(not os.environ.get("DRAWTHINGS_SLOW_TESTS"), reason="takes minutes: set DRAWTHINGS_SLOW_TESTS")
@pytest.mark.parametrize("idle", [65, 450])  # longer than the keepalive's 400 s
def test_an_idle_connection_is_used_again(linked, idle):
    simulator, link, inputs = linked
    (server,) = call("DrawThingsLoadServer", **inputs)
    generate(server)
    time.sleep(idle)
    assert counted(simulator, link, lambda: generate(server, seed=2)) == (ONE_RUN, 1, 0)
