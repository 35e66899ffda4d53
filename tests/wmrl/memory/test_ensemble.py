from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.memory.base import load_memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import MemoryEnsemble, MemoryEnsembleConfig
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig

_MEMBER = MDNRNNConfig(
    latent_dim=4, action_dim=2, hidden_dim=12, num_mixtures=3, frame_skip=7, vision_digest="v"
)


@pytest.fixture
def members() -> list[MDNRNN]:
    return [MDNRNN(_MEMBER, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@pytest.fixture
def sequences() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, 4, generator=generator), torch.randn(5, 6, 2, generator=generator)


def test_rewards_and_terminations_are_pessimistic(
    members: list[MDNRNN], sequences: tuple[torch.Tensor, torch.Tensor]
) -> None:
    merged, _ = MemoryEnsemble.of(members, pessimism=1.5)(*sequences)
    alone = [member(*sequences)[0] for member in members]
    rewards = torch.stack([prediction.reward for prediction in alone])
    expected = rewards.mean(0) - 1.5 * rewards.var(0, correction=0).sqrt()
    torch.testing.assert_close(merged.reward, expected)
    odds = torch.stack([prediction.termination for prediction in alone])
    torch.testing.assert_close(merged.termination, odds.max(0).values)


def test_steps_equal_the_sequence(
    members: list[MDNRNN], sequences: tuple[torch.Tensor, torch.Tensor]
) -> None:
    ensemble = MemoryEnsemble.of(members)
    latents, actions = sequences
    whole, last = ensemble(latents, actions)
    state = ensemble.initial_state(5)
    for t in range(6):
        predicted, state = ensemble.step(latents[:, t], actions[:, t], state)
        torch.testing.assert_close(predicted.reward, whole.reward[:, t])
        for one, other in zip(predicted.members, whole.members, strict=True):
            torch.testing.assert_close(one.means, other.means[:, t])
    torch.testing.assert_close(state, last)
    assert torch.equal(ensemble.features(state), state[0])
    torch.testing.assert_close(members[0](latents, actions)[1][0], state[0])


def test_each_dream_is_drawn_from_a_random_member(members: list[MDNRNN]) -> None:
    with torch.no_grad():
        for number, member in enumerate(members):
            member.heads.weight.zero_()
            member.heads.bias.zero_()
            mixtures = member.heads.bias[:-2].view(3, 3, 4)
            mixtures[1] = 10.0 * number  # means
            mixtures[2] = -20.0  # as narrow as can be
    ensemble = MemoryEnsemble.of(members)
    prediction, _ = ensemble.step(
        torch.zeros(3000, 4), torch.zeros(3000, 2), ensemble.initial_state(3000)
    )
    drawn = ensemble.sample(prediction, generator=torch.Generator().manual_seed(0)).latent
    number = (drawn / 10).round()
    assert bool((number == number[:, :1]).all())  # one member for all dimensions of a dream
    for member in range(3):
        assert (number[:, 0] == member).float().mean().item() == pytest.approx(1 / 3, abs=0.03)


def test_the_noise_floor_is_under_every_scale(
    members: list[MDNRNN], sequences: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain, _ = MemoryEnsemble.of(members)(*sequences)
    floored, _ = MemoryEnsemble.of(members, noise_floor=1.1)(*sequences)
    for one, other in zip(plain.members, floored.members, strict=True):
        torch.testing.assert_close(one.log_stds.exp().clamp(min=1.1), other.log_stds.exp())


def test_it_is_one_artifact(
    members: list[MDNRNN], sequences: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    members[0].set_start_states(torch.ones(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(2, 2, 2))
    ensemble = MemoryEnsemble.of(members, pessimism=0.5)
    assert len(ensemble.start_mean) == 2
    ensemble.save(tmp_path / "ensemble")
    loaded = load_memory(tmp_path / "ensemble", device="cpu")
    assert isinstance(loaded, MemoryEnsemble)
    assert loaded.config == ensemble.config
    assert torch.equal(loaded.start_mean, ensemble.start_mean)
    assert torch.equal(loaded(*sequences)[0].reward, ensemble(*sequences)[0].reward)


def test_the_configuration_has_the_members_values(members: list[MDNRNN]) -> None:
    ensemble = MemoryEnsemble.of(members)
    config = ensemble.config
    assert (config.latent_dim, config.action_dim, config.frame_skip) == (4, 2, 7)
    assert (config.task, config.vision_digest) == ("car-racing", "v")
    assert (ensemble.latent_dim, ensemble.action_dim, ensemble.feature_dim) == (4, 2, 12)
    ensemble.check_vision("v")


def test_members_are_copies(members: list[MDNRNN]) -> None:
    ensemble = MemoryEnsemble.of(members)
    before = ensemble.state_dict()["members.0.heads.bias"].clone()
    with torch.no_grad():
        members[0].heads.bias.add_(1.0)
    assert torch.equal(ensemble.state_dict()["members.0.heads.bias"], before)


def test_wrong_members_are_named(members: list[MDNRNN]) -> None:
    with pytest.raises(ValueError, match="members: expected at least one memory"):
        MemoryEnsemble.of([])
    other = MDNRNN(replace(_MEMBER, vision_digest="w"))
    with pytest.raises(ValueError, match=r"expected memories of class MDNRNN, got \['Code"):
        MemoryEnsemble.of([CodeMemory(CodeMemoryConfig(hidden_dim=4))])
    message = r"^members: expected .*, got vision_digest \['v', 'w'\]; train all members"
    with pytest.raises(ValueError, match=message):
        MemoryEnsemble.of([members[0], other])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_members": 0}, "num_members: expected at least 1, got 0"),
        ({"pessimism": -1.0}, "pessimism: expected at least 0"),
        ({"noise_floor": -1.0}, "noise_floor: expected at least 0"),
        ({"member": {"num_mixtures": 0}}, "num_mixtures: expected at least 1"),
    ],
)
def test_wrong_configurations_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryEnsembleConfig(**wrong)
