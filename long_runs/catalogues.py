"""Echo replies whose lists of files are damaged: read, and then used by everything that looks a file up."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ..drawthings_core import clip, prompts, report, rules, upscaling
from ..drawthings_core.advice import advise
from ..drawthings_core.catalog import SECTIONS, Catalog
from ..drawthings_core.configuration import LORA, Control, ControlInputType, LoRA
from ..drawthings_core.errors import DrawThingsError
from ..drawthings_core.hint_inputs import HintInput
from ..drawthings_core.job import Job, plan
from ..drawthings_core.report import ServerReport
from ..drawthings_core.request import build
from ..drawthings_core.servers import Server
from ..drawthings_core.simulator.catalog import Catalog as Simulated
from ..drawthings_core.simulator.catalog import ModelsDirectory, fill
from ..drawthings_core.tls import TLSMode
from ..nodes.page.lists import files_of
from ..proto import messages
from . import damage
from .damage import Dice, damaged, damaged_json
from .page import Section

COUNT = 20_000
LARGE = 100 << 20
"""Bytes of a reply that is large on purpose."""
LARGE_EVERY = 1000
_SERVER = Server("127.0.0.1", 1)
ENTRIES = 3
"""Of each kind, that are used."""
PICTURE = np.zeros((1, 64, 64, 3), np.float32)

_SECTION_OF = {
    "model": "models",
    "LoRA": "loras",
    "control": "control_nets",
    "textual inversion": "textual_inversions",
    "upscaler": "upscalers",
}


@functools.cache
def _lists() -> dict[str, list[dict[str, Any]]]:
    """What a server describes, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        known = Simulated(ModelsDirectory(Path(folder)))
        return {kind: known.installed(_SECTION_OF[kind]) for kind in SECTIONS}


def sample(dice: Dice) -> dict[str, list[dict[str, Any]]]:
    """Lists of a few files each, which are right."""
    return {kind: dice.sample(entries, min(len(entries), dice.choice([1, 3, 6]))) for kind, entries in _lists().items()}


def wrong(lists: dict[str, Any], dice: Dice) -> messages.EchoReply:
    """The reply, damaged as objects or as text; now and then as a message."""
    if dice.often(0.8):
        changed = damaged_json(lists, dice)
        lists = changed if isinstance(changed, dict) else {}
    files = [entry["file"] for entries in lists.values() if isinstance(entries, list) for entry in entries if _has_file(entry)]
    reply = messages.EchoReply(message="HELLO", serverIdentifier=1, files=dice.choice([files, files, [], ["", "\0", "x" * 5000]]))
    for kind, name in SECTIONS.items():
        if kind not in lists:
            continue
        text = json.dumps(lists[kind]).encode()
        setattr(reply.override, name, damaged(text, dice) if dice.often(0.1) else text)
    if dice.often(0.05):
        with contextlib.suppress(DecodeError):  # gRPC would not deliver it
            return messages.EchoReply.FromString(damaged(reply.SerializeToString(), dice))
    return reply


def _has_file(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        return False
    return entry["file"].isprintable()


def large(dice: Dice) -> messages.EchoReply:
    """A hundred megabytes of something."""
    unit = dice.choice([b"[],", b"{},", b"0,", b'"",', b'{"file":"%d","name":"n","version":"v1"},', b"[[", b'{"a":', b" ", b"\xff"])
    numbered = b"%d" in unit
    text = b"".join(unit % number for number in range(LARGE // 45)) if numbered else unit * (LARGE // len(unit))
    reply = messages.EchoReply(message="HELLO")
    if dice.often(0.2):
        reply.files.extend(str(number) for number in range(LARGE // 20))
    else:
        setattr(reply.override, dice.choice(list(SECTIONS.values())), b"[" + text.rstrip(b",") + b"]")
    return reply


def read_and_use(number: int) -> str:
    dice = Dice(number)
    return use(Catalog.from_echo(wrong(sample(dice), dice)), dice)


def read_large(number: int) -> str:
    """A large one now and then; one of ordinary size in between."""
    dice = Dice(number)
    if number // len(ATTEMPTS) % (LARGE_EVERY // len(ATTEMPTS)):
        return use(Catalog.from_echo(wrong(sample(dice), dice)), dice)
    return "large: " + use(Catalog.from_echo(large(dice)), dice)


def use(catalog: Catalog, dice: Dice) -> str:
    """What nodes, lists and reports do with it; a request that is refused for it is no failure."""
    refused = 0
    for sentence in catalog.skipped:
        if not sentence.endswith(".") or len(sentence) > damage.LONGEST_SENTENCE:
            raise AssertionError(f"{sentence[:200]!r} is no sentence")
    several = Catalog.united([catalog, catalog])
    json.dumps(files_of(several))
    told = ServerReport("127.0.0.1:1", TLSMode.plain, None, 0.001, report.Secret.not_asked, catalog, {}, ())
    report.text_of_several({_SERVER: told})
    report.json_of_several({_SERVER: told})
    for kind in SECTIONS:
        catalog.suggestions(kind, dice.choice(["sd_v1.5_f16.ckpt", "x" * 300, ""]))
    chosen = {kind: dice.sample(list(entries), min(len(entries), ENTRIES)) for kind, entries in catalog.entries.items()}
    for model in chosen["model"] or ["sd_v1.5_f16.ckpt"]:
        for step in (_generate, _ask):
            try:
                step(model, chosen, catalog, dice)
            except DrawThingsError:
                refused += 1
    return "used" if not refused else "used, some refused"


def _generate(model: str, chosen: dict[str, list[str]], catalog: Catalog, dice: Dice) -> None:
    loras = tuple(LoRA(file=file, weight=LORA["weight"].default) for file in chosen["LoRA"][: dice.randrange(3)])
    hints = tuple(
        HintInput(dice.choice(list(ControlInputType)), PICTURE, Control(file=file)) for file in chosen["control"][: dice.randrange(2)]
    )
    upscalers = chosen["upscaler"][: dice.randrange(2)]
    settings: dict[str, Any] = {"start_width": 128, "start_height": 128, "steps": 2, "seed": 1}
    if upscalers:
        settings["upscaler"] = upscalers[0]
    inversions = [prompts.keyword_text(entry) for entry in catalog.entries["textual inversion"].values()][:2]
    job = Job(
        model,
        " ".join(["a cat", *inversions]),
        settings=settings,
        images=PICTURE if dice.often(0.7) else None,
        loras=loras,
        hints=hints,
        references=dice.choice([None, None, (PICTURE,)]),
        one_video=dice.often(0.2),
        scale=2 if upscalers and dice.often(0.3) else None,
    )
    planned = plan(job, catalog)
    for run in planned.runs():
        if run.request is not None:
            rules.check(run.request, catalog)
            build(run.request, catalog)


def _ask(model: str, chosen: dict[str, list[str]], catalog: Catalog, dice: Dice) -> None:
    entry = catalog.find("model", model)
    clip.frame_rate(entry, entry.version if entry else None)
    loras = [LoRA(file=file) for file in chosen["LoRA"]]
    prompts.trigger_words(catalog, model, loras)
    advise(model, catalog, loras)
    for file in chosen["textual inversion"]:
        inversion = prompts.textual_inversion(catalog, file, "127.0.0.1:1")
        prompts.with_keyword("a cat", inversion, 1.1, at_start=dice.often(0.5))
    for file in chosen["upscaler"]:
        upscaling.enlarging(0, (64, 64), {"upscaler": file}, {}, entry.version if entry else None, catalog)


ATTEMPTS: dict[str, damage.Attempt] = {"catalogue": read_and_use, "catalogue, now and then of 100 MB": read_large}


def run(count: int, seed: int) -> Section:
    return damage.run(
        __name__,
        "Damaged catalogues",
        f"Echo replies whose lists of files were changed as JSON, as text and as messages, one in {LARGE_EVERY:,} of {LARGE >> 20} MB: read, listed, "
        "reported, and used to plan and build requests.",
        count,
        seed,
    )
