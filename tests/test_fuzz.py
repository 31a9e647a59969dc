"""Damaged tensors, answers, catalogues, workflow files and pictures: a result, or a sentence of ours, in little time and memory.

`python3 long_runs/run.py tensors` and so on try many more; each number is an input that can be tried again by its own.
"""

from __future__ import annotations

import pytest
from comfyui_drawthings.long_runs import catalogues, damage, pictures, streams, tensors, workflows

FIRST = 2
"""Number 1 is a catalogue of 100 MB."""


@pytest.mark.parametrize(
    ("topic", "count"),
    [(tensors, 800), (streams, 200), (catalogues, 100), (workflows, 60), (pictures, 300)],
    ids=["tensors", "streams", "catalogues", "workflows", "pictures"],
)
def test_damage_is_a_result_or_a_sentence(topic, count):
    tally = damage.try_all(topic.ATTEMPTS, range(FIRST, FIRST + count))
    assert tally.failures == []
    assert tally.tried == count
    assert max(tally.outcomes.values()) < 0.95 * count  # neither too tame nor too wild


def test_the_same_number_is_the_same_input():
    for number in range(FIRST, FIRST + 20):
        one, other = (damage.Dice(number) for _ in range(2))
        assert tensors.wrong(tensors.sample(one), one) == tensors.wrong(tensors.sample(other), other)
    assert pictures.picture(damage.Dice(5)) == pictures.picture(damage.Dice(5))


def test_what_is_wrong_is_told_by_its_number():
    """Otherwise the tests above would show nothing."""
    section = damage.run("fuzz_topics", "Everything fails", "", count=7, seed=0)
    found = sorted(failure.partition(", number ")[2] for failure in section.failures)
    assert len(found) == 4
    assert found[0].startswith("1: ended its process (3)")
    assert found[1].startswith("2: KeyError")
    assert "fuzz_topics.py" in found[1]
    assert found[2].startswith("3: no sentence")
    assert found[3].startswith("4: a sentence of 24000 characters")
    assert section.rows[0][:3] == [7, 4, 3]


def test_taking_long_is_a_failure(monkeypatch):
    monkeypatch.setitem(damage.LIMITS, "seconds", -1.0)
    assert "took" in damage.attempt(lambda number: "result", "anything", 0).failures[0]
