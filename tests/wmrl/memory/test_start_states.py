from typing import Any

import pytest
import torch

from wmrl.memory.dataset import LatentEpisode
from wmrl.memory.start_states import StartStates, StartStatesConfig, choose_start_states


def _episode(number: int, rewards: list[float]) -> LatentEpisode:
    t = torch.arange(len(rewards) + 1.0)
    mean = torch.stack((torch.full_like(t, number), t), 1)
    return LatentEpisode(mean.half(), (0 * mean).half(), mean[:-1], torch.tensor(rewards), True)


def _choose(episodes: list[LatentEpisode], **options: int) -> StartStates:
    return choose_start_states(episodes, StartStatesConfig(**options), frame_skip=4, seed=0)


def _ends(starts: StartStates) -> set[tuple[int, int]]:
    """Episode and time of the states in which dreams start."""
    return {(int(number), int(t)) for number, t in starts.mean[:, -1].tolist()}


_REWARDS = [3.0] + [-0.1] * 6 + [3.0] + [-0.1] * 6  # scored by agent steps 0 and 7, of 14


def test_states_that_scored_lately_qualify() -> None:
    starts = _choose([_episode(1, _REWARDS)], burn_in=2, window=3)
    assert starts.rule == "scored"
    # A reward for agent step t is known in the states t + 1 to t + 3; burn-in leaves out 0 and 1.
    assert _ends(starts) == {(1, 2), (1, 3), (1, 8), (1, 9), (1, 10)}


def test_sequences_are_whole_and_in_order() -> None:
    starts = _choose([_episode(1, _REWARDS)], burn_in=2, window=3)
    assert starts.mean.shape == (5, 3, 2)
    assert starts.std.shape == (5, 3, 2)
    assert starts.actions.shape == (5, 2, 2)
    for mean, actions in zip(starts.mean, starts.actions, strict=True):
        assert mean[:, 1].diff().tolist() == [1.0, 1.0]
        assert torch.equal(actions, mean[:-1])  # the action at each but the last latent


def test_the_warmup_is_left_out_in_base_frames() -> None:
    starts = _choose([_episode(1, _REWARDS)], burn_in=2, window=3, warmup_frames=33)
    assert _ends(starts) == {(1, 9), (1, 10)}  # 33 frames are nine agent steps of four


def test_the_final_state_starts_no_dream() -> None:
    starts = _choose([_episode(1, [3.0] * 4)], burn_in=1, window=9)
    assert _ends(starts) == {(1, 1), (1, 2), (1, 3)}


def test_weaker_rules_step_in() -> None:
    poor = [_episode(1, [-1.0] * 6)]
    starts = _choose(poor, burn_in=2, warmup_frames=16)
    assert (starts.rule, _ends(starts)) == ("any", {(1, 4), (1, 5)})
    starts = _choose(poor, burn_in=2, warmup_frames=400)
    assert (starts.rule, _ends(starts)) == ("early", {(1, t) for t in range(2, 6)})


def test_starts_are_drawn_over_all_episodes_without_repetition() -> None:
    episodes = [_episode(number, [1.0] * 30) for number in range(10)]
    starts = _choose(episodes, burn_in=0, max_states=50)
    assert starts.actions.shape == (50, 0, 2)
    assert len(_ends(starts)) == 50
    assert len({number for number, _ in _ends(starts)}) >= 8
    again = _choose(episodes, burn_in=0, max_states=50)
    assert torch.equal(starts.mean, again.mean)


def test_too_long_a_burn_in_is_half_the_longest_episode() -> None:
    starts = _choose([_episode(1, [1.0] * 5), _episode(2, [1.0] * 9)], burn_in=9)
    assert starts.mean.shape[1] == 5
    assert _ends(starts) == {(1, 4), *((2, t) for t in range(4, 9))}
    with pytest.raises(ValueError, match="episodes: expected at least one agent step, got none"):
        _choose([], burn_in=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_states": 0}, "max_states: expected at least 1, got 0"),
        ({"burn_in": -1}, "burn_in: expected at least 0"),
        ({"window": -1}, "window: expected at least 0"),
        ({"warmup_frames": -1}, "warmup_frames: expected at least 0"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StartStatesConfig(**wrong)
