"""No live field of config.fbs is out of a graph's reach: each is set by a node and seen in the buffer that a server got.

The fields come from the schema, not from a list here. What counts is what arrived: a field that no widget reaches, or whose
widget is lost on the way, stays at the schema's default and fails.
"""

from __future__ import annotations

import pytest
import torch
from comfyui_drawthings.drawthings_core.configuration import CONFIGURATION, CONTROL, LORA
from comfyui_drawthings.nodes import options as option_nodes
from test_configuration import schema_fields
from test_nodes import MODEL, call, server
from test_options import OPTION_NODES, another

__all__ = ["server"]  # a fixture

NOT_FOR_GENERATING = {"id", "name"}
"""Where the app keeps its presets: the only fields that the server never reads and a picture does not depend on."""


def live(table: str) -> set[str]:
    return {name for name, deprecated in schema_fields(table) if not deprecated}


@pytest.fixture
def arrived(server, simulator):
    """The configurations that the server got from graphs which set everything that their nodes have widgets for."""
    (loras,) = call("DrawThingsLoRAStack", lora_1="add_detail_v1.5_lora_f16.ckpt", weight_1=0.25, mode_1="Refiner")
    (hints,) = call(
        "DrawThingsControlNetHint",
        image=torch.zeros(1, 64, 64, 3),
        hint_type="Depth",
        control="controlnet_depth_1.x_v1.1_f16.ckpt",
        weight=0.5,
        start=0.25,
        end=0.75,
        mode="Control",
        no_prompt=True,
        global_average_pooling=False,
        down_sampling_rate=2.0,
        target_blocks="up",
    )
    widgets = {"seed": 5, "width": 320, "height": 192, "steps": 3, "guidance": 2.5, "sampler": "DDIM", "batch_count": 2, "batch_size": 2}
    call("DrawThingsGenerate", server=server, model=MODEL, prompt="a cat", loras=loras, hints=hints, **widgets)
    for topic, node_id in OPTION_NODES.items():
        inputs = {row.input_name: another(row)[0] for row in option_nodes.rows_of(topic)}
        (options,) = call(node_id, **inputs)
        call("DrawThingsGenerate", server=server, model=MODEL, prompt="a cat", width=256, height=192, options=options, steps=4)
    return [request["configuration"] for request in simulator.requests()]


def changed(rows, records):
    """Fields that some record has at another value than an empty buffer means."""
    plain = {name: getattr(row.wire_default, "wire_name", row.wire_default) for name, row in rows.items()}
    plain |= {name: list(value) for name, value in plain.items() if isinstance(value, tuple)}
    return {name for record in records for name, value in record.items() if value != plain[name]}


def test_every_live_field_arrives_from_a_graph(arrived):
    assert live("GenerationConfiguration") - changed(CONFIGURATION, arrived) == NOT_FOR_GENERATING
    assert live("Control") == changed(CONTROL, [control for one in arrived for control in one["controls"]])
    assert live("LoRA") == changed(LORA, [lora for one in arrived for lora in one["loras"]])


def test_what_is_left_out_is_never_read():
    assert {name for name in NOT_FOR_GENERATING if CONFIGURATION[name].server_reads} == set()
    assert {row.name for row in CONFIGURATION.values() if row.topic == "app"} == NOT_FOR_GENERATING
