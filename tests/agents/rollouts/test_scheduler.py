"""The schedule, against a plain simulation of slots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmrl.agents.rollouts.scheduler import Schedule


def simulate(
    lengths: list[int], slots: int, *, episodes: float = np.inf, agent_steps: float = np.inf
) -> dict[int, int]:
    """The slot of each episode, by playing all of them agent step by agent step."""
    rows: dict[int, int] = {}
    left = [0] * slots
    taken = 0
    while True:
        for slot in range(slots):
            if left[slot] == 0 and len(rows) < episodes and taken < agent_steps:
                left[slot] = lengths[len(rows)]
                rows[len(rows)] = slot
        if not any(left):
            return rows
        taken += sum(count > 0 for count in left)
        left = [max(0, count - 1) for count in left]


def play(schedule: Schedule, lengths: list[int]) -> dict[int, int]:
    """The slot of each episode that the schedule wanted played."""
    rows: dict[int, int] = {}
    age = np.zeros(len(schedule.live), np.int64)
    while True:
        fresh = schedule.begin()
        for slot in np.flatnonzero(fresh):
            rows[int(schedule.episodes[slot])] = int(slot)
            age[slot] = 0
        if not schedule.live.any():
            return rows
        age += 1
        schedule.tick(
            np.array(
                [
                    live and age[slot] == lengths[schedule.episodes[slot]]
                    for slot, live in enumerate(schedule.live)
                ]
            )
        )


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    slots=st.integers(1, 5),
    known=st.sets(st.integers(0, 19)),
)
def test_every_episode_gets_the_slot_that_it_has_in_one_go(
    lengths: list[int], slots: int, known: set[int]
) -> None:
    stored = {index: lengths[index] for index in known if index < len(lengths)}
    schedule = Schedule(slots, known=stored, episodes=len(lengths))
    rows = play(schedule, lengths)
    expected = simulate(lengths, slots, episodes=len(lengths))
    assert rows == {index: row for index, row in expected.items() if index not in stored}
    assert schedule.begun == schedule.over == len(lengths)
    assert schedule.taken == sum(lengths)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=60, max_size=60),
    slots=st.integers(1, 5),
    known=st.sets(st.integers(0, 19)),
    budget=st.integers(1, 50),
)
def test_budget_of_agent_steps_begins_the_same_episodes_whatever_is_known(
    lengths: list[int], slots: int, known: set[int], budget: int
) -> None:
    schedule = Schedule(slots, known={i: lengths[i] for i in known}, agent_steps=budget)
    rows = play(schedule, lengths)
    expected = simulate(lengths, slots, agent_steps=budget)
    assert rows == {index: row for index, row in expected.items() if index not in known}
    assert schedule.begun == len(expected)
    assert budget <= schedule.taken == sum(lengths[: len(expected)])


def test_nothing_to_do_where_all_is_known() -> None:
    schedule = Schedule(2, known={0: 5, 1: 3, 2: 4, 7: 1}, episodes=3)
    assert not schedule.begin().any()
    assert not schedule.live.any()
    assert schedule.over == 3


@pytest.mark.parametrize("over", [[True, True], [True, False]])
def test_only_live_slots_can_end(over: list[bool]) -> None:
    schedule = Schedule(2, known={1: 10}, episodes=2)
    schedule.begin()
    schedule.tick(np.array(over))
    np.testing.assert_array_equal(schedule.episodes, [-1, 1])
    assert schedule.over == 1
