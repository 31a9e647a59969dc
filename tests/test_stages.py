"""What a node says it is doing, and how long it will take, from the events of a run."""

from __future__ import annotations

import string

import pytest
from comfyui_drawthings.drawthings_core import stages
from comfyui_drawthings.drawthings_core.response import SECOND_PASS, Audio, Done, RemoteDownload, Stage, Step, Transfer, Waiting
from comfyui_drawthings.drawthings_core.stages import Doing, Follower
from comfyui_drawthings.drawthings_core.uploading import UploadProgress, UploadStage


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(*events, runs: int = 1) -> list[str]:
    follower = Follower(Clock())
    follower.begin(1, runs)
    return [doing.text for event in events if (doing := follower.event(event)) is not None]


def after(name: str, *announced: str) -> str:
    (line,) = lines(Stage(name, frozenset(announced)))
    return line


def test_a_plain_run():
    announced = frozenset({"text encoded", "image decoded"})
    told = lines(
        Waiting(False, 0),
        Stage("text encoded", announced),
        Stage("image encoded", announced),
        *(Step(step, 2, False, step, 2) for step in range(3)),
        Stage("image decoded", announced),
        Transfer(0, 12_000_000),
        Transfer(4_000_000, 12_000_000),
        Transfer(12_000_000, 12_000_000),
        Done(1),
    )
    assert told == [
        "Encoding text, or in the server's queue",
        "Preparing to sample",
        "Preparing to sample",
        "Step 1 of 2",
        "Step 2 of 2",
        "Decoding",
        "Waiting for the result",
        "Receiving 12.0 MB",
        "Receiving 12.0 MB: 4.0 MB so far",
        "Unpacking the result",
    ]


def test_a_second_pass():
    announced = frozenset({"text encoded", "image decoded", SECOND_PASS, "second pass image decoded", "image upscaled"})
    told = lines(
        Step(8, 8, False, 8, 12),
        Stage("image decoded", announced),
        Stage("second pass image encoded", announced),
        Stage("image encoded", announced),
        Step(0, 4, True, 8, 12),
        Step(4, 4, True, 12, 12),
        Stage("second pass image decoded", announced),
        Stage("image upscaled", announced),
    )
    assert told == [
        "Decoding",
        *["Second pass: preparing"] * 3,
        "Second pass, step 1 of 4",
        "Second pass: decoding",
        "Enlarging",
        "Waiting for the result",
    ]


def test_what_follows_a_stage_is_what_the_server_announced():
    assert after("text encoded", "image encoded") == "Encoding images"
    assert after("image decoded", "face restored", "image upscaled") == "Restoring faces"
    assert after("face restored", "face restored", "image upscaled") == "Enlarging"
    assert after("face restored", "face restored") == "Waiting for the result"
    assert after("image decoded") == "Waiting for the result"


def test_the_queue_and_downloads():
    assert lines(Waiting(True, 0), Waiting(True, 2), RemoteDownload(0, 0, 2, 3), RemoteDownload(5_000_000, 10_000_000, 2, 3)) == [
        "Waiting in the server's queue",
        "Waiting in the server's queue, 2 of this ComfyUI before it",
        "The server downloads model 2 of 3",
        "The server downloads model 2 of 3: 5.0 MB of 10.0 MB",
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_downloads_may_count_from_nought(first):
    told = lines(*(RemoteDownload(0, 0, first + number, 3) for number in range(3)))
    assert told == [f"The server downloads model {number} of 3" for number in (1, 2, 3)]


def test_steps_that_were_not_announced_and_sound():
    assert lines(Step(3, 0, False, 3, 3), Transfer(1500, 0), Audio(None)) == ["Step 4", "Receiving 1.5 kB"]


def test_one_of_several_requests_is_counted():
    assert lines(Step(3, 8, False, 3, 8), runs=3) == ["1 of 3: Step 4 of 8"]


def timed(
    follower: Follower, clock: Clock, steps: int, seconds: float, first: float, second: tuple[int, float] = (0, 0.0)
) -> list[float | None]:
    """Time left at each step event of a run with so many steps, of which the first takes longer; second: a second pass."""
    left = []
    for is_second, (count, each) in ((False, (steps, seconds)), (True, second)):
        for step in range(count + 1 if count else 0):
            done = step + (steps if is_second else 0)
            doing = follower.event(Step(step, count, is_second, done, steps + second[0]))
            assert doing is not None
            left.append(None if doing.left is None else round(doing.left, 6))
            clock.now += first if step == 0 else each
    return left


def test_time_left_comes_from_the_pace_without_the_first_step():
    clock = Clock()
    follower = Follower(clock)
    follower.begin(1, 1)
    assert timed(follower, clock, 5, 2.0, first=30.0) == [None, None, 6.0, 4.0, 2.0, 0.0]


def test_time_left_covers_all_requests_and_is_known_from_the_start_of_the_second():
    clock = Clock()
    follower = Follower(clock)
    follower.begin(1, 2)
    assert timed(follower, clock, 3, 2.0, first=9.0) == [None, None, 8.0, 6.0]
    follower.begin(2, 2)
    assert timed(follower, clock, 3, 2.0, first=2.0) == [6.0, 4.0, 2.0, 0.0]


def test_time_left_waits_for_the_pace_of_the_second_pass():
    clock = Clock()
    follower = Follower(clock)
    follower.begin(1, 2)
    assert timed(follower, clock, 3, 1.0, first=1.0, second=(3, 4.0)) == [None] * 6 + [4.0 + 3 + 12, 15.0]
    follower.begin(2, 2)
    assert timed(follower, clock, 3, 1.0, first=1.0, second=(3, 4.0))[0] == 3 + 12


@pytest.mark.parametrize("stage", list(UploadStage))
def test_uploads_say_what_the_command_line_says(stage):
    made = UploadProgress(stage, "x.ckpt", 10, 2000)
    assert stages.of_upload(made).text == str(made)


def test_every_stage_has_words_for_the_values_that_it_is_said_with():
    values = {name: "1" for text in stages.WORDS.values() for _, name, _, _ in string.Formatter().parse(text) if name}
    for stage in stages.WORDS:
        assert "{" not in Doing(stage, values).text


def test_several_servers_are_told_side_by_side_in_their_order():
    follower = stages.SharedFollower(["mac", "gpu"], 16, lambda: 90.0)
    follower.began("gpu")
    follower.event("gpu", Step(4, 20, False, 4, 20))
    told = follower.began("mac")
    assert told.text == "0 of 16 done; mac: Asking the server; gpu: Step 5 of 20"
    assert follower.event("mac", Done(1)) is None
    told = follower.ended("gpu", True)
    assert told.text == "1 of 16 done; mac: Asking the server"
    assert told.left == 90.0
    assert follower.ended("mac", False).text == "1 of 16 done"


def test_runs_that_no_server_makes_count_as_done():
    aside = []
    follower = stages.SharedFollower(["mac"], 3, lambda: None, lambda: len(aside))
    follower.began("mac")
    aside.append("unchanged")
    assert follower.ended("mac", True).text == "2 of 3 done"


def test_several_servers_have_a_line_each_in_a_terminal():
    follower = stages.SharedFollower(["mac", "gpu"], 16, lambda: None)
    assert follower.began("gpu").lines == ["0 of 16 done", "gpu: Asking the server"]
    assert follower.began("mac").lines == ["0 of 16 done", "mac: Asking the server", "gpu: Asking the server"]
    assert follower.ended("gpu", True).lines == ["1 of 16 done", "mac: Asking the server"]
    assert Doing("decoding", run=2, runs=3).lines == ["2 of 3: Decoding"]


def test_a_page_is_told_the_parts_to_say_them_in_its_language():
    follower = stages.SharedFollower(["mac"], 2, lambda: None)
    follower.began("mac")
    told = follower.event("mac", Step(4, 20, False, 4, 20))
    assert told is not None
    assert told.told() == {
        "stage": "shared",
        "values": {"done": 0, "runs": 2},
        "run": 1,
        "runs": 1,
        "left": None,
        "text": "0 of 2 done; mac: Step 5 of 20",
        "parts": [
            {
                "server": "mac",
                "stage": "sampling",
                "values": {"step": 5, "steps": 20},
                "run": 1,
                "runs": 1,
                "left": None,
                "text": "Step 5 of 20",
            }
        ],
    }
    assert "parts" not in Doing("decoding").told()
