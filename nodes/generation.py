"""One generating node's work: plan the job, run its requests, gather torch tensors and the info text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage

from ..drawthings_core import preview
from ..drawthings_core.album import Album
from ..drawthings_core.client import Cancellation, Client, GenerationResult, client_for
from ..drawthings_core.configuration import app_json
from ..drawthings_core.errors import (
    BadResult,
    ConnectionFailed,
    DrawThingsError,
    FileNotOnServer,
    FileNotUsable,
    SecretRejected,
    ServerFailed,
)
from ..drawthings_core.families import family
from ..drawthings_core.job import Job, Plan, Run, plan
from ..drawthings_core.response import Event, Preview, Step
from ..drawthings_core.servers import CompressUploads, Server
from ..drawthings_core.spread import Done, Team
from ..drawthings_core.stages import Doing, Follower, SharedFollower
from . import host, known_files, unfinished
from .load_server import checked_servers
from .pictures import tensor_out

_BREAKS_OFF = (ConnectionFailed, ServerFailed, BadResult, SecretRejected, FileNotOnServer, FileNotUsable)
"""What may befall a later request after the first one went well: a server that changes, rather than the request."""

PREVIEW_PICTURES = 4
"""Most members of a batch, or frames of a video, that one preview shows."""


def generate(server: Any, job: Job, node_id: str | None, cancellation: Cancellation, gather: Callable[[Plan], Generated]) -> Generated:
    """Run all requests of a job: one after the other, or by all servers of a pool. Blocking. server: a DT_SERVER. gather: makes what the
    results go into.
    """
    first, *others = checked_servers(server).servers
    started = time.perf_counter()
    shown = host.Progress(node_id)
    try:
        shown.say(Doing("asking"))
        if others:
            gathered = _share((first, *others), job, shown, cancellation, gather)
        else:
            client = client_for(first)
            planned = _plan(client, job, cancellation)
            gathered = gather(planned)
            _run(client, planned, gathered, _Progress(shown, planned), first.compress_uploads, cancellation)
    finally:
        shown.silence()
    if not gathered.whole:
        unfinished.remember(node_id)
    gathered.seconds = time.perf_counter() - started
    return gathered


def _run(
    client: Client, planned: Plan, gathered: Generated, progress: _Progress, compress: CompressUploads, cancellation: Cancellation
) -> None:
    for number, run in enumerate(planned.runs()):
        cancellation.check()
        if run.request is None:
            gathered.add_unchanged(run)
            continue
        progress.begin(number)
        try:
            result = client.generate(
                run.request,
                on_event=progress.event,
                cancellation=cancellation,
                album=gathered.album,
                compress=compress,
                previews=progress.previews,
            )
        except _BREAKS_OFF as error:
            if number == 0:
                raise
            gathered.break_off(number, error)
            break
        gathered.add(run, result)
    progress.end()


def _plan(client: Client, job: Job, cancellation: Cancellation) -> Plan:
    catalog = client.catalog_with(job.chosen_model, cancellation)
    known_files.remember(client.server.address, catalog)
    return plan(job, catalog)


def _share(
    servers: Sequence[Server], job: Job, shown: host.Progress, cancellation: Cancellation, gather: Callable[[Plan], Generated]
) -> Generated:
    with Team(servers, job.chosen_model, cancellation) as team:
        planned = plan(job, team.catalog())
        gathered = gather(planned)
        progress = _SharedProgress(shown, planned, team)
        for done in team.done(planned, progress):
            gathered.add_shared(done)
        known_files.remember_all(team.catalogs)
        gathered.share(team)
        progress.end()
    return gathered


class _SharedProgress:
    """All runs of a node as one bar, and what each of several servers does in words. The servers' threads take turns here."""

    def __init__(self, shown: host.Progress, planned: Plan, team: Team):
        self.previews = shown.previews
        self._shown = shown
        self._planned = planned
        self._team = team
        self._follower = SharedFollower(team.names, planned.count, team.seconds_left, lambda: team.aside)
        self._steps = planned.configuration["steps"]
        self._total = planned.count * (self._steps + 1)  # for each run one more, for bringing the pictures
        self._done = 0
        self._parts: dict[int, float] = {}  # of each run that is being made
        self._value = 0

    def began(self, name: str, number: int) -> None:
        self._parts[number] = 0.0
        self._shown.say(self._follower.began(name))

    def event(self, name: str, number: int, event: Event) -> None:
        doing = self._follower.event(name, event)
        if doing is not None:
            self._shown.say(doing)
        if isinstance(event, Step):
            self._parts[number] = max(self._parts[number], min(1.0, event.done / max(1, event.planned)))
            self._show()
        elif isinstance(event, Preview):
            picture = preview_picture(event.latent, self._planned.version)
            if picture is not None:
                self._show(picture)

    def ended(self, name: str, number: int, done: bool) -> None:
        self._parts.pop(number, None)
        self._done += done
        self._shown.say(self._follower.ended(name, done))
        self._show()

    def end(self) -> None:
        self._shown.update(self._total, self._total)

    def _show(self, picture: PILImage.Image | None = None) -> None:
        begun = sum(round(part * self._steps) for part in self._parts.values())
        done = self._done + self._team.aside
        self._value = max(self._value, done * (self._steps + 1) + begun)  # what is given back was shown already
        self._shown.update(self._value, self._total, picture)


class _Progress:
    """All runs of a node as one bar, each with its sampling steps and one more for bringing the pictures, and what it does in words."""

    def __init__(self, shown: host.Progress, planned: Plan):
        self.previews = shown.previews
        self._shown = shown
        self._follower = Follower()
        self._planned = planned
        self._run = 0
        self._steps = planned.configuration["steps"]
        self._done = 0

    def begin(self, run: int) -> None:
        self._run = run
        self._done = 0
        self._shown.say(self._follower.begin(run + 1, self._planned.count))
        self._show()

    def event(self, event: Event) -> None:
        """Called by the client, in its thread."""
        doing = self._follower.event(event)
        if doing is not None:
            self._shown.say(doing)
        if isinstance(event, Step):
            self._steps = max(1, event.planned)
            self._done = max(self._done, event.done)  # the last count of Stable Cascade's second stage may be lower
            self._show()
        elif isinstance(event, Preview):
            picture = preview_picture(event.latent, self._planned.version)
            if picture is not None:
                self._show(picture)

    def end(self) -> None:
        total = self._planned.count * (self._steps + 1)
        self._shown.update(total, total)

    def _show(self, picture: PILImage.Image | None = None) -> None:
        each = self._steps + 1
        self._shown.update(self._run * each + min(self._done, self._steps), self._planned.count * each, picture)


def preview_picture(latent: np.ndarray, version: str | None) -> PILImage.Image | None:
    """The members of a batch side by side; of a video, frames from its beginning to its end in two rows."""
    known = family(version)
    spread = known is not None and known.video and len(latent) > PREVIEW_PICTURES
    shown = np.linspace(0, len(latent) - 1, PREVIEW_PICTURES).astype(int) if spread else slice(PREVIEW_PICTURES)
    latent = latent[shown]
    each = PREVIEW_PICTURES // 2 if spread else len(latent)
    pictures = preview.rgb(latent, version, host.PREVIEW_SIZE // max(1, each))
    if pictures is None:
        return None
    rows = [np.concatenate(list(pictures[start : start + each]), axis=1) for start in range(0, len(pictures), each)]
    return PILImage.fromarray(np.concatenate(rows))


class Generated:
    """Results of all runs, in order, in one album. seconds: what they took together. whole: no run failed or broke off."""

    def __init__(self, planned: Plan):
        self.seconds = 0.0
        self.whole = True
        self._plan = planned
        self.album = Album(planned.count * planned.pictures_a_run)
        self._rows: list[dict[str, Any]] = []  # of all its pictures but those of a run that failed
        self._notes = list(planned.notes)
        self._servers: Mapping[str, int] = {}  # runs by address, of a pool

    def add_shared(self, done: Done) -> None:
        """What one server of a pool made."""
        if done.result is None or done.album is None:
            self.add_unchanged(done.run)
            return
        self.album.absorb(done.album)
        self.add(done.run, done.result)

    def share(self, team: Team) -> None:
        """Tell of the servers of a pool, and what is missing."""
        self._servers = dict(team.made)
        for note in team.notes:
            self._note(note)
        if team.missing:
            self.whole = False
            self._note(
                f"{team.missing} of {self._plan.count} runs are missing: no server could make them. Queue it again to make all of them."
            )

    def add(self, run: Run, result: GenerationResult) -> None:
        expected = self._plan.pictures_of(run)
        picture_seeds = self._plan.seeds_of(run, expected)
        picture_seeds += [None] * (len(result.pictures) - expected)  # of more than were asked for, nobody knows
        for member, seed in enumerate(picture_seeds[: len(result.pictures)]):
            row = _row(run, seed, member)
            self._rows.append({**row, "layer": member + 1} if self._plan.layered and not run.only_restores else row)
        if len(result.pictures) != expected:
            self._note(f"The server sent {len(result.pictures)} images where {expected} were asked for (seed {run.seed}).")
        if not run.repaints:
            self._note(
                "An empty mask leaves nothing to repaint: the image is fitted to the canvas, and enlarged and restored like the others."
            )
        self.whole = self.whole and result.whole
        for note in result.notes:
            self._note(note)
        if result.audio is not None:
            self._hear(result.audio)

    def add_unchanged(self, run: Run) -> None:
        assert run.unchanged is not None
        self.album.add(run.unchanged[0] if run.unchanged.shape[3] == 3 else np.repeat(run.unchanged[0], 3, axis=2))
        self._rows.append(_row(run, None, 0))
        self._note("An empty mask leaves nothing to repaint: the image is returned as it is, fitted to the canvas.")

    def break_off(self, runs: int, error: DrawThingsError) -> None:
        """The run after so many failed: what they gave is kept, and what it gave is not."""
        self.whole = False
        self.album.discard(len(self._rows))
        self._note(f"Run {runs + 1} of {self._plan.count} failed, so that the rest is missing: {error} Queue it again to make all of them.")

    def _hear(self, sound: np.ndarray) -> None:
        """Take the sound [channels, N] of a run."""
        self._note("The server sent sound, which this node has no output for: Generate Video has one.")

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def images(self) -> torch.Tensor:
        """IMAGE float32 [N, H, W, 3]. Raises BadResult for pictures of several sizes."""
        sizes = {picture.rgb.shape for picture in self.album.pictures}
        if len(sizes) > 1:
            found = " and ".join(f"{shape[1]}x{shape[0]}" for shape in sorted(sizes))
            raise BadResult(f"The server sent images of different sizes ({found}), which cannot become one batch: try again.")
        return tensor_out(self.album.images())

    def masks(self) -> torch.Tensor:
        """MASK float32 [N, H, W], as ComfyUI's own loaders give alpha: 1 where transparent, all 0 for an opaque picture."""
        return tensor_out(self.album.transparencies())

    def info(self) -> str:
        """What was sent and what became of it, as JSON."""
        job = self._plan.job
        info = {
            "prompt": job.prompt,
            "negative_prompt": job.negative_prompt,
            "family": self._plan.version,
            "configuration": app_json.write(self._plan.configuration),
            **self._made(),
            **({"servers": self._servers} if self._servers else {}),
            "notes": self._notes,
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(info, indent=2, ensure_ascii=False)

    def _made(self) -> dict[str, Any]:
        """The part of the info that tells of the results."""
        return {"seeds": [row["seed"] for row in self._rows], "images": self._rows}


def _row(run: Run, seed: int | None, member: int) -> dict[str, Any]:
    row: dict[str, Any] = {"seed": seed, "request_seed": run.seed, "member": member}
    if run.image_number is not None:
        row["input_image"] = run.image_number
    if not run.repaints:
        row["unchanged"] = True
    return row
