from typing import Any

import pytest
import torch

from wmrl.dream import DreamState, dream_observation, dream_reset, dream_step
from wmrl.memory.base import Memory
from wmrl.memory.ensemble import MemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig


def _member(seed: int) -> MDNRNN:
    config = MDNRNNConfig(latent_dim=4, action_dim=2, hidden_dim=12, num_mixtures=3, dropout=0.5)
    memory = MDNRNN(config, generator=torch.Generator().manual_seed(seed)).eval()
    generator = torch.Generator().manual_seed(9)
    memory.set_start_states(
        torch.randn(5, 4, 4, generator=generator),
        torch.rand(5, 4, 4, generator=generator),
        torch.randn(5, 3, 2, generator=generator),
    )
    return memory


@pytest.fixture(params=["one", "ensemble"])
def memory(request: pytest.FixtureRequest) -> Memory[Any]:
    members = [_member(seed) for seed in (0, 1)]
    return members[0] if request.param == "one" else MemoryEnsemble.of(members)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _run(memory: Memory[Any], seed: int, **options: Any) -> list[torch.Tensor]:
    generator = _generator(seed)
    state = dream_reset(memory, batch_size=3, generator=generator)
    seen = [dream_observation(memory, state)]
    for _ in range(4):
        action = torch.tanh(seen[-1][:, :2])
        state, reward, terminated = dream_step(
            memory, state, action, generator=generator, **options
        )
        seen.append(torch.cat((dream_observation(memory, state), reward[:, None]), 1))
        assert terminated.shape == (3,)
        assert terminated.dtype == torch.bool
    return seen


def _equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_dream_is_a_function_of_its_generator(memory: Memory[Any]) -> None:
    before = torch.get_rng_state()
    assert _equal(_run(memory, 0), _run(memory, 0))
    assert not _equal(_run(memory, 0), _run(memory, 1))
    assert _equal(_run(memory, 0, dropout=True), _run(memory, 0, dropout=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_and_temperature_change_the_dream(memory: Memory[Any]) -> None:
    plain = _run(memory, 0)
    assert not _equal(plain, _run(memory, 0, dropout=True))
    assert not _equal(plain, _run(memory, 0, temperature=1.3))


def test_observations_are_latents_and_features(memory: Memory[Any]) -> None:
    state = dream_reset(memory, batch_size=3, generator=_generator())
    observation = dream_observation(memory, state)
    assert observation.shape == (3, 4 + 12)
    assert torch.equal(observation[:, :4], state.latent)
    assert torch.equal(observation[:, 4:], memory.features(state.memory))


def test_a_start_state_is_a_burnt_in_recording(memory: Memory[Any]) -> None:
    indices = torch.tensor([4, 0])
    state = dream_reset(memory, indices=indices, generator=_generator())
    noise = torch.randn(2, 4, 4, generator=_generator())
    latents = memory.start_mean[indices] + memory.start_std[indices] * noise
    _, expected = memory(latents[:, :-1], memory.start_actions[indices])
    torch.testing.assert_close(state.latent, latents[:, -1])
    torch.testing.assert_close(state.memory, expected)


def test_start_states_are_drawn_from_all(memory: Memory[Any]) -> None:
    memory.set_start_states(
        torch.arange(5.0).view(5, 1, 1).expand(5, 1, 4), torch.zeros(5, 1, 4), torch.zeros(5, 0, 2)
    )
    state = dream_reset(memory, batch_size=200, generator=_generator())
    assert set(state.latent[:, 0].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert all(bool((part == 0).all()) for part in state.memory)  # nothing to burn in


def test_a_step_is_the_memorys_step_and_draw(memory: Memory[Any]) -> None:
    state = dream_reset(memory, batch_size=6, generator=_generator())
    action = torch.zeros(6, 2)
    after, reward, terminated = dream_step(
        memory, state, action, temperature=0.7, generator=_generator(3)
    )
    with torch.inference_mode():
        prediction, kept = memory.step(state.latent, action, state.memory)
        drawn = memory.sample(prediction, temperature=0.7, generator=_generator(3))
    assert torch.equal(after.latent, drawn.latent)
    assert all(torch.equal(a, b) for a, b in zip(after.memory, kept, strict=True))
    assert torch.equal(reward, drawn.reward)
    assert torch.equal(terminated, drawn.terminated)


def test_a_step_changes_nothing_in_place(memory: Memory[Any]) -> None:
    state = dream_reset(memory, batch_size=2, generator=_generator())
    copy = DreamState(state.latent.clone(), tuple(part.clone() for part in state.memory))
    dream_step(memory, state, torch.zeros(2, 2), generator=_generator())
    assert torch.equal(state.latent, copy.latent)
    assert all(torch.equal(a, b) for a, b in zip(state.memory, copy.memory, strict=True))


def test_wrong_starts_are_named(memory: Memory[Any]) -> None:
    with pytest.raises(ValueError, match="either batch_size or indices"):
        dream_reset(memory, generator=_generator())
    with pytest.raises(ValueError, match="either batch_size or indices"):
        dream_reset(memory, batch_size=1, indices=torch.tensor([0]), generator=_generator())
    with pytest.raises(ValueError, match=r"expected start states, got none.*set_start_states"):
        dream_reset(MDNRNN(MDNRNNConfig()), batch_size=1, generator=_generator())
