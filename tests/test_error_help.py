"""Every error has words on the help pages of the nodes that can show it, under the anchor that the page looks for."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import comfyui_drawthings
import pytest
from comfyui_drawthings.drawthings_core import error_help, errors
from comfyui_drawthings.drawthings_core.servers import Server
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes import possible_errors

NODES = comfyui_drawthings.NODE_CLASS_MAPPINGS
ROOT = Path(comfyui_drawthings.__file__).parent


def kinds(root: type) -> list[type]:
    return [root, *(deeper for child in root.__subclasses__() for deeper in kinds(child))]


NOT_OF_NODES = (errors.DrawThingsError, errors.GenerationCancelled, errors.DiscoveryUnavailable)
"""The last is told in the sidebar, and on the command line."""
ALL = [kind for kind in kinds(errors.DrawThingsError) if kind not in NOT_OF_NODES]


def test_every_error_has_help_and_a_node_that_shows_it():
    own = {kind for kind in ALL if kind in vars(errors).values()}
    assert own == error_help.HELP.keys()
    assert own == set().union(*(possible_errors.of(node_id, node) for node_id, node in NODES.items()))


def test_the_tree_names_every_error():
    own = [kind.__name__ for kind in kinds(errors.DrawThingsError) if kind in vars(errors).values()]
    assert own == re.findall(r"^[│├└─ ]*(\w+)", errors.__doc__ or "", re.M)[1:]


def test_anchors_differ():
    assert len({error_help.anchor(kind.__name__) for kind in error_help.HELP}) == len(error_help.HELP)
    assert len({told.title for told in error_help.HELP.values()}) == len(error_help.HELP)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_page_makes_the_same_anchors():
    names = [kind.__name__ for kind in error_help.HELP]
    script = (
        f"import {{ anchor }} from {json.dumps((ROOT / 'web/rules/errors.js').as_uri())}; console.log(JSON.stringify({names}.map(anchor)))"
    )
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [error_help.anchor(name) for name in names]


@pytest.mark.parametrize("node_id", NODES)
def test_a_help_page_has_the_sections_of_its_errors(node_id):
    text = (ROOT / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
    found = re.findall(r'^### <a id="([\w-]+)"></a>(.+)$', text, re.M)
    wanted = possible_errors.of(node_id, NODES[node_id])
    assert found == [(error_help.anchor(kind.__name__), told.title) for kind, told in error_help.HELP.items() if kind in wanted]


FAULTS = {
    errors.NoImage: ("empty_result", None),
    errors.ConnectionLost: ("drop_after", 3),
    errors.ServerFailed: ("error_status", "INTERNAL:no luck"),
    errors.AccessDenied: ("error_status", "PERMISSION_DENIED:no"),
    errors.QuotaExceeded: ("error_status", "PERMISSION_DENIED:throttlePolicy"),
    errors.MessageTooLarge: ("error_status", "RESOURCE_EXHAUSTED:too large"),
    errors.NotSupported: ("error_status", "UNIMPLEMENTED:what"),
    errors.NonFiniteImage: ("nan_image", 0),
    errors.TensorError: ("corrupt_header", 0),
    errors.BadResult: ("mixed_sizes", 1),
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_what_generate_raises_is_on_its_page(simulator, kind):
    simulator.set_fault(*FAULTS[kind])
    inputs = {
        "prompt": "",
        "negative_prompt": "",
        "seed": 1,
        "width": 128,
        "height": 128,
        "steps": 2,
        "guidance": -1,
        "sampler": "recommended",
    }
    more = {"strength": 1.0, "batch_count": 1, "batch_size": 2, "fit": "crop", "model": "sd_v1.5_f16.ckpt"}
    with pytest.raises(errors.DrawThingsError) as raised:
        asyncio.run(NODES["DrawThingsGenerate"]().generate(Server(simulator.host, simulator.port, TLSMode.plain), **inputs, **more))
    assert raised.type is kind
    assert kind in possible_errors.of("DrawThingsGenerate", NODES["DrawThingsGenerate"])
