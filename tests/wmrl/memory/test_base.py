"""Tests that every memory has to pass; add yours to MEMORIES."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.dream import dream_observation, dream_reset, dream_step
from wmrl.memory.base import Memory, load_memory, matching_memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble, MemoryEnsembleConfig
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.storage.artifact import ArtifactError, load_artifact, save_artifact

SIZES = MDNRNNConfig(latent_dim=4, hidden_dim=6, num_mixtures=2, vision_digest="5" * 64)
MEMORIES: dict[str, Callable[[], Memory[Any]]] = {
    "MDNRNN": lambda: MDNRNN(SIZES),
    "MDNRNN, cell and hidden": lambda: MDNRNN(replace(SIZES, features="cell_and_hidden")),
    "MemoryEnsemble": lambda: MemoryEnsemble(MemoryEnsembleConfig(member=asdict(SIZES))),
    "CodeMemory, LSTM": lambda: _discrete(sequence_model="lstm"),
    "CodeMemory, Transformer": lambda: _discrete(sequence_model="transformer"),
    "CodeMemory, in order": lambda: _discrete(decoding="sequential"),
    "CodeMemory, of moving objects": lambda: _discrete(
        kernel_size=(1, 5), history=3, modulation=True, decoding="sequential"
    ),
    "CodeMemoryEnsemble": lambda: CodeMemoryEnsemble.of([_discrete(), _discrete(seed=1)]),
}


def _discrete(*, seed: int = 0, **options: Any) -> CodeMemory:
    sizes = {"codebook_size": 9, "code_dim": 2, "hidden_dim": 8, "context": 5, "token_dim": 6}
    config = CodeMemoryConfig(grid=(1, 2), vision_digest="5" * 64, dropout=0.4, **sizes, **options)
    memory = CodeMemory(config, generator=torch.Generator().manual_seed(seed))
    memory.set_codebook(torch.randn(9, 2, generator=torch.Generator().manual_seed(2)))
    for layer in (memory.places, memory.classify[-1]):
        layer.weight.data *= 8  # certain enough for temperature and dropout to matter
    return memory


@pytest.fixture(params=MEMORIES)
def memory(request: pytest.FixtureRequest) -> Memory[Any]:
    made = MEMORIES[request.param]().eval()
    generator = torch.Generator().manual_seed(0)
    made.set_start_states(
        torch.randn(5, 3, 4, generator=generator),
        torch.rand(5, 3, 4, generator=generator),
        torch.randn(5, 2, 2, generator=generator),
    )
    return made


@pytest.fixture
def sequence() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 7, 4, generator=generator), torch.randn(3, 7, 2, generator=generator)


@torch.inference_mode()
def test_steps_are_the_sequence(memory: Memory[Any], sequence: tuple[torch.Tensor, ...]) -> None:
    latents, actions = sequence
    _, whole = memory(latents, actions)
    state = memory.initial_state(3)
    for latent, action in zip(latents.unbind(1), actions.unbind(1), strict=True):
        _, state = memory.step(latent, action, state)
    for one, other in zip(whole, state, strict=True):
        torch.testing.assert_close(one, other)
    assert memory.features(state).shape == (3, memory.feature_dim)


@torch.inference_mode()
def test_a_first_step_resets_the_state(
    memory: Memory[Any], sequence: tuple[torch.Tensor, ...]
) -> None:
    latents, actions = sequence
    first = torch.zeros(3, 7, dtype=torch.bool)
    first[1, 4] = True
    _, state = memory(latents, actions, first=first)
    _, fresh = memory(latents[1:2, 4:], actions[1:2, 4:])
    _, old = memory(latents, actions)
    for got, expected, forgetful in zip(state, fresh, old, strict=True):
        torch.testing.assert_close(got[1:2], expected)
        torch.testing.assert_close(got[[0, 2]], forgetful[[0, 2]])
    assert not torch.allclose(memory.features(state)[1], memory.features(old)[1])


def dream(memory: Memory[Any], seed: int, **options: Any) -> torch.Tensor:
    """Observations of ten steps, ``(10, 8, Z + H)``."""
    generator = torch.Generator().manual_seed(seed)
    state = dream_reset(memory, batch_size=8, generator=generator)
    seen = []
    for _ in range(10):
        action = torch.full((8, 2), 0.5)
        state, reward, terminated = dream_step(
            memory, state, action, generator=generator, **options
        )
        assert reward.shape == terminated.shape == (8,)
        assert terminated.dtype == torch.bool
        seen.append(dream_observation(memory, state))
    return torch.stack(seen)


def test_dreams_are_functions_of_their_seed(memory: Memory[Any]) -> None:
    before = torch.get_rng_state()
    assert torch.equal(dream(memory, 0), dream(memory, 0))
    assert not torch.equal(dream(memory, 0), dream(memory, 1))
    assert torch.equal(before, torch.get_rng_state())


def test_temperature_spreads(memory: Memory[Any]) -> None:
    def spread(temperature: float) -> float:
        """Standard deviation of one step from one state, over 200 draws."""
        generator = torch.Generator().manual_seed(0)
        state = dream_reset(memory, indices=torch.zeros(200).long(), generator=generator)
        state = state._replace(latent=state.latent[:1].expand(200, -1))
        action = torch.full((200, 2), 0.5)
        after, _, _ = dream_step(
            memory, state, action, temperature=temperature, generator=generator
        )
        return float(after.latent.std(0).mean())

    assert spread(0.02) < spread(4.0)


def test_dropout_in_the_dream(memory: Memory[Any]) -> None:
    assert not torch.equal(dream(memory, 0, dropout=True), dream(memory, 0))


def test_saved_and_loaded(memory: Memory[Any], tmp_path: Path) -> None:
    digest = memory.save(tmp_path / "memory", provenance={"seed": 0})
    loaded = load_memory(tmp_path / "memory", device="cpu")
    assert loaded.digest == memory.digest == digest
    assert loaded.config == memory.config
    assert loaded.num_start_states == memory.num_start_states == 5
    assert torch.equal(loaded.start_actions, memory.start_actions)
    assert torch.equal(dream(loaded, 0), dream(memory, 0))


def test_only_its_own_vision(memory: Memory[Any]) -> None:
    memory.check_vision("5" * 64)
    with pytest.raises(ArtifactError, match=r"got one .* digest 555555555555…; train"):
        memory.check_vision("6" * 64)
    with pytest.raises(ArtifactError, match="on a vision model without a digest, which was never"):
        memory.check_vision(None)


def test_starts_of_another_shape(memory: Memory[Any]) -> None:
    with pytest.raises(ValueError, match=r"actions: expected shape \(5, 2, 2\), got \(5, 3, 2\)"):
        memory.set_start_states(torch.zeros(5, 3, 4), torch.zeros(5, 3, 4), torch.zeros(5, 3, 2))


def test_unknown_class(tmp_path: Path) -> None:
    save_artifact(tmp_path / "a", kind="memory", class_name="Oracle", config={}, tensors={})
    with pytest.raises(ArtifactError, match="unknown memory class 'Oracle': expected one of"):
        load_memory(tmp_path / "a")


def test_the_shipped_memory_of_a_vision_is_found() -> None:
    assert matching_memory(load_artifact("car-racing-vae").digest) == "car-racing-mdnrnn"
    with pytest.raises(ArtifactError, match=r"no shipped memory was trained on .* digest 555"):
        matching_memory("5" * 64)
    with pytest.raises(ArtifactError, match="was trained on a vision model without a digest, whi"):
        matching_memory(None)
