import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wmrl.data.reward_scale import largest_reward
from wmrl.data.store import RolloutStore
from wmrl.dream import dream_reset, dream_step
from wmrl.memory.base import load_memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.trainable import TrainableMemory
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.run import RunError
from wmrl.vision.base import Vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE

MakeRollouts = Callable[..., RolloutStore]

_SMALL = MDNRNNConfig(hidden_dim=12, num_mixtures=2)
_SHORT = MemoryTrainingConfig(
    steps=12,
    batch_size=4,
    sequence_length=8,
    log_every=2,
    checkpoint_every=4,
    start_states=StartStatesConfig(burn_in=3, max_states=10),
)


def _train(
    store: RolloutStore,
    path: Path,
    vision: Vision,
    training: MemoryTrainingConfig = _SHORT,
    init: Path | None = None,
    config: MDNRNNConfig | CodeMemoryConfig = _SMALL,
) -> Any:
    return train_memory(
        [store],
        path,
        vision=vision,
        config=config,
        training=training,
        init=init,
        device="cpu",
        progress=False,
    )


def test_a_run_leaves_an_artifact_and_a_report(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    memory = _train(store, tmp_path, vision)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["digest"] == memory.digest
    assert report["episodes"] == {"train": 3, "held_out": 1}
    assert report["start_states"] == {"count": 10, "rule": "any"}
    held_out = report["held_out"]
    assert {"log_likelihood_per_dimension", "reward_r2", "termination_log_loss"} <= set(held_out)
    errors = {"dream", "likeliest", "copy_last", "reconstruction"}
    assert set(held_out["open_loop"]["1"]) == {*errors, "dreams"}
    assert (tmp_path / "metrics.csv").read_text().startswith("step,loss,nll,reward_error,term")


def test_the_stores_task_says_where_dreams_start(
    make_rollouts: MakeRollouts, vision: VAE, tmp_path: Path
) -> None:
    store = make_rollouts((12, 12, 12), warmup_frames=36)
    short = replace(_SHORT, start_states=StartStatesConfig(burn_in=3, max_states=100, window=99))
    memory = _train(store, tmp_path / "store", vision, training=short)
    # The last 3 of the 12 states of two episodes, where they had scored; the third is held out.
    assert 0 < len(memory.start_mean) <= 6
    anywhere = replace(short, start_states=replace(short.start_states, warmup_frames=0))
    memory = _train(store, tmp_path / "anywhere", vision, training=anywhere)
    assert len(memory.start_mean) > 6


def test_the_window_of_start_states_is_the_stores(
    make_rollouts: MakeRollouts, vision: VAE, tmp_path: Path
) -> None:
    store = make_rollouts(start_window=2)
    training = replace(_SHORT, start_states=StartStatesConfig(burn_in=3, max_states=200))
    _train(store, tmp_path / "store", vision, training=training)
    report = json.loads((tmp_path / "store/report.json").read_text())
    assert report["start_states"]["rule"] == "scored"
    everywhere = replace(training, start_states=replace(training.start_states, window=0))
    _train(store, tmp_path / "any", vision, training=everywhere)
    other = json.loads((tmp_path / "any/report.json").read_text())
    assert other["start_states"]["rule"] == "any"
    assert other["start_states"]["count"] > report["start_states"]["count"]


def test_rewards_are_scaled_by_the_largest_unless_given(
    make_rollouts: MakeRollouts, vision: VAE, tmp_path: Path
) -> None:
    store = make_rollouts()
    first = _train(store, tmp_path / "first", vision)
    assert first.config.reward_scale == pytest.approx(1 / largest_reward([store]))
    # Further training keeps the scale of the initial weights, whatever is recorded later.
    larger = RolloutStore(tmp_path / "larger", "a", metadata=store.metadata)
    for index in store.indices:
        episode = store.episode(index)
        larger.append(replace(episode, rewards=np.float32(5) * episode.rewards))
    again = _train(larger, tmp_path / "again", vision, init=tmp_path / "first/artifact")
    assert again.config.reward_scale == first.config.reward_scale
    given = replace(_SMALL, reward_scale=0.3)
    assert _train(store, tmp_path / "given", vision, config=given).config.reward_scale == 0.3


def test_the_artifact_knows_its_origin_and_can_dream(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    _train(store, tmp_path, vision)
    memory = load_memory(tmp_path / "artifact", device="cpu")
    memory.check_vision(vision.digest)
    config = memory.config
    assert (config.latent_dim, config.action_dim) == (6, 2)
    assert (config.task, config.frame_skip) == ("bar", 4)
    assert memory.start_mean.shape == (10, 4, 6)
    assert memory.start_actions.shape == (10, 3, 2)
    generator = torch.Generator().manual_seed(0)
    state = dream_reset(memory, batch_size=5, generator=generator)
    state, reward, _ = dream_step(memory, state, torch.zeros(5, 2), generator=generator)
    assert bool(torch.isfinite(state.latent).all() & torch.isfinite(reward).all())


def test_a_run_is_repeatable_and_interruptible(
    store: RolloutStore, vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    whole = _train(store, tmp_path / "whole", vision)
    torch.manual_seed(2)
    step, loss = [0], MDNRNN.loss

    def dying_loss(self, batch, generator):  # type: ignore[no-untyped-def]
        step[0] += 1
        if step[0] == 11:
            raise KeyboardInterrupt
        return loss(self, batch, generator)

    monkeypatch.setattr(MDNRNN, "loss", dying_loss)
    with pytest.raises(KeyboardInterrupt):
        _train(store, tmp_path / "parts", vision)
    monkeypatch.undo()
    assert _train(store, tmp_path / "parts", vision).digest == whole.digest
    files = [tmp_path / name / "report.json" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_finished_run_is_opened(
    store: RolloutStore, vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _train(store, tmp_path, vision)
    monkeypatch.delattr(TrainableMemory, "loss")
    again = _train(store, tmp_path, vision)
    assert again.digest == first.digest
    assert torch.equal(again.start_mean, first.start_mean)


def test_another_configuration_does_not_mix(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    _train(store, tmp_path, vision)
    with pytest.raises(RunError, match=r"memory\.num_mixtures: expected 3, got 2"):
        _train(store, tmp_path, vision, config=replace(_SMALL, num_mixtures=3))


def test_a_warm_start_begins_where_the_other_ended(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    first = _train(store, tmp_path / "first", vision)
    still = replace(_SHORT, steps=2, learning_rate=1e-9, final_learning_rate=1e-9)
    artifact = tmp_path / "first" / "artifact"
    second = _train(store, tmp_path / "second", vision, still, init=artifact)
    for (name, one), (_, other) in zip(
        first.named_parameters(), second.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6, msg=name)
    with pytest.raises(ArtifactError, match=r"weights 'lstm\.weight_ih_l0' do not fit"):
        _train(
            store, tmp_path / "third", vision, init=artifact, config=replace(_SMALL, hidden_dim=9)
        )
    assert load_artifact(tmp_path / "second" / "artifact").provenance["init"] == first.digest


def test_a_vision_without_a_name_is_refused(store: RolloutStore, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="vision: expected a saved vision model, got one that was never saved"
    ):
        _train(store, tmp_path, VAE(VAEConfig(base_channels=4)))
    with pytest.raises(ValueError, match="sequence_length: expected at least 1, got 0"):
        MemoryTrainingConfig(sequence_length=0)


def test_it_learns_rewards_and_motion(make_rollouts: MakeRollouts, tmp_path: Path) -> None:
    """Latents are the bar's place and an idle number, as a perfect vision would encode them."""
    from wmrl.memory.dataset import LatentDataset, LatentEpisode
    from wmrl.memory.evaluation import prediction_report

    store = make_rollouts((40,) * 12)
    episodes = []
    for index in store.indices:
        actions, rewards = store.actions(index), store.rewards(index)
        place = torch.from_numpy(store.frames(index)[:, 0, :, 0]).gt(100).int().argmax(1)
        mean = torch.stack((place / 28.0 - 1.0, torch.zeros(41)), 1).half()
        tensors = torch.from_numpy(actions), torch.from_numpy(rewards)
        episodes.append(LatentEpisode(mean, torch.full_like(mean, 0.05), *tensors, False))
    memory = MDNRNN(MDNRNNConfig(latent_dim=2, hidden_dim=24, num_mixtures=2, dropout=0.0))
    data = LatentDataset(episodes[:10], length=20, batch_size=16, seed=0)
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    for step in range(300):
        optimizer.zero_grad()
        loss, _ = memory.loss(data.batch(step), torch.Generator())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    report = prediction_report(
        memory, LatentDataset(episodes[10:], length=20, batch_size=16, seed=1), num_batches=5
    )
    assert report["reward_r2"] > 0.4  # it has to infer a threshold from noisy places
    assert report["log_likelihood_per_dimension"] > 1.2  # of the 1.58 that the noise allows


@pytest.mark.parametrize("sequence_model", ["lstm", "transformer"])
def test_a_memory_in_discrete_latents(
    store: RolloutStore, discrete: VQVAE, tmp_path: Path, sequence_model: Any
) -> None:
    config = CodeMemoryConfig(hidden_dim=8, token_dim=4, context=6, sequence_model=sequence_model)
    memory = _train(store, tmp_path, discrete, config=config)
    assert isinstance(memory, CodeMemory)
    assert (memory.config.grid, memory.config.codebook_size, memory.config.code_dim) == (
        (2, 2),
        6,
        3,
    )
    assert torch.equal(memory.codebook, discrete.quantizer.codebook())
    assert memory.start_codes.shape == (10, 4, 4)
    report = json.loads((tmp_path / "report.json").read_text())["held_out"]
    assert set(report["nats_per_frame"]) == {"memory", "copy_last", "bigram"}
    assert report["open_loop"]["1"]["dreams"] > 0
    loaded = load_memory(tmp_path / "artifact", device="cpu")
    generator = torch.Generator().manual_seed(0)
    state = dream_reset(loaded, batch_size=5, generator=generator)
    state, _, _ = dream_step(loaded, state, torch.zeros(5, 2), generator=generator)
    assert torch.equal(discrete.latents_of(discrete.codes_of(state.latent)), state.latent)
    assert _train(store, tmp_path, discrete, config=config).digest == memory.digest


def test_discrete_latents_need_a_vqvae(store: RolloutStore, vision: VAE, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="vision: expected a VQ-VAE for a memory with discrete latents, got a VAE"
    ):
        _train(store, tmp_path, vision, config=CodeMemoryConfig())
