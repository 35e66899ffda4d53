import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wmrl.data.store import RolloutStore
from wmrl.dream import dream_start, dream_step
from wmrl.memory.base import LearningMemory, load_memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.memory.start_states import DreamStartsConfig
from wmrl.memory.training import MemoryTrainingConfig, train_ensemble, train_memory
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.run import RunError
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import Vision
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

MakeRollouts = Callable[..., RolloutStore]

_SMALL = MDNRNNConfig(hidden_size=12, mixtures=2)
_SHORT = MemoryTrainingConfig(
    steps=12,
    batch_size=4,
    sequence_length=8,
    log_every=2,
    checkpoint_every=4,
    starts=DreamStartsConfig(burn_in=3, count=10),
)


@pytest.fixture(scope="module")
def store(make_rollouts: MakeRollouts) -> RolloutStore:
    return make_rollouts((24, 9, 17, 30))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> VAE:
    vision = VAE(VAEConfig(width=4, latent_size=6)).eval()
    vision.save(tmp_path_factory.mktemp("eye") / "eye")
    return vision


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
    assert report["starts"] == {"count": 10, "rule": "scored"}
    held_out = report["held_out"]
    assert {"log_likelihood_per_dimension", "reward_r2", "termination_log_loss"} <= set(held_out)
    errors = {"dream", "likeliest", "copy_last", "reconstruction"}
    assert set(held_out["open_loop"]["1"]) == {*errors, "dreams"}
    assert (tmp_path / "metrics.csv").read_text().startswith("step,loss,nll,reward_error,term")


def test_the_stores_task_says_where_dreams_start(
    make_rollouts: MakeRollouts, vision: VAE, tmp_path: Path
) -> None:
    store = make_rollouts((12, 12, 12), warmup_frames=36)
    short = replace(_SHORT, starts=DreamStartsConfig(burn_in=3, count=100, window=99))
    memory = _train(store, tmp_path / "store", vision, training=short)
    # The last 3 of the 12 states of two episodes, where they had scored; the third is held out.
    assert 0 < len(memory.start_mean) <= 6
    anywhere = replace(short, starts=replace(short.starts, warmup_frames=0))
    memory = _train(store, tmp_path / "anywhere", vision, training=anywhere)
    assert len(memory.start_mean) > 6


def test_the_artifact_knows_its_origin_and_can_dream(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    _train(store, tmp_path, vision)
    memory = load_memory(tmp_path / "artifact", device="cpu")
    memory.check_vision(vision.digest)
    config = memory.config
    assert (config.latent_size, config.action_size) == (6, 2)
    assert (config.task, config.frame_skip) == ("bar", 4)
    assert memory.start_mean.shape == (10, 4, 6)
    assert memory.start_actions.shape == (10, 3, 2)
    generator = torch.Generator().manual_seed(0)
    state = dream_start(memory, count=5, generator=generator)
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
    monkeypatch.delattr(LearningMemory, "loss")
    again = _train(store, tmp_path, vision)
    assert again.digest == first.digest
    assert torch.equal(again.start_mean, first.start_mean)


def test_another_configuration_does_not_mix(
    store: RolloutStore, vision: VAE, tmp_path: Path
) -> None:
    _train(store, tmp_path, vision)
    with pytest.raises(RunError, match=r"memory\.mixtures: expected 3, found 2"):
        _train(store, tmp_path, vision, config=replace(_SMALL, mixtures=3))


def test_too_long_a_burn_in_is_noticed_at_once(
    store: RolloutStore, vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(LearningMemory, "loss")  # nothing is trained
    long = replace(_SHORT, starts=DreamStartsConfig(burn_in=50))
    with pytest.raises(ValueError, match="burn_in: no episode is longer than 50 decisions"):
        _train(store, tmp_path, vision, training=long)


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
    with pytest.raises(ArtifactError, match=r"weights do not fit: 'lstm\.weight_ih_l0'"):
        _train(
            store, tmp_path / "third", vision, init=artifact, config=replace(_SMALL, hidden_size=9)
        )
    assert load_artifact(tmp_path / "second" / "artifact").provenance["init"] == first.digest


def test_a_vision_without_a_name_is_refused(store: RolloutStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vision: it has no digest; save it first"):
        _train(store, tmp_path, VAE(VAEConfig(width=4)))
    with pytest.raises(ValueError, match="sequence_length: expected at least 1, got 0"):
        MemoryTrainingConfig(sequence_length=0)


def test_an_ensemble_is_made_of_members_that_differ(
    store: RolloutStore, vision: VAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> MemoryEnsemble:
        return train_ensemble(
            [store],
            tmp_path / "ensemble",
            vision=vision,
            members=2,
            pessimism=0.5,
            config=_SMALL,
            training=_SHORT,
            device="cpu",
            progress=False,
        )

    ensemble = train()
    members = [
        load_memory(tmp_path / "ensemble" / f"member-{number}" / "artifact", device="cpu")
        for number in range(2)
    ]
    for number, member in enumerate(members):
        for name, value in member.named_parameters():
            assert torch.equal(value, ensemble.state_dict()[f"members.{number}.{name}"])
    assert members[0].digest != members[1].digest
    assert torch.equal(ensemble.start_mean, members[0].start_mean)
    loaded = load_memory(tmp_path / "ensemble" / "artifact", device="cpu")
    assert loaded.digest == ensemble.digest
    assert loaded.config.pessimism == 0.5
    monkeypatch.delattr(LearningMemory, "loss")
    assert train().digest == ensemble.digest  # opened


def test_wrong_ensembles_are_named(store: RolloutStore, vision: VAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="members: expected 1 to 100, got 0"):
        train_ensemble([store], tmp_path, vision=vision, members=0)
    with pytest.raises(ValueError, match="init: expected 2 artifacts, one a member, got 1"):
        train_ensemble([store], tmp_path, vision=vision, members=2, init=["one"])


def test_it_learns_rewards_and_motion(make_rollouts: MakeRollouts, tmp_path: Path) -> None:
    """Latents are the bar's place and an idle number, as a perfect eye would give them."""
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
    memory = MDNRNN(MDNRNNConfig(latent_size=2, hidden_size=24, mixtures=2, dropout=0.0))
    data = LatentDataset(episodes[:10], length=20, batch_size=16, seed=0)
    optimizer = torch.optim.Adam(memory.parameters(), lr=1e-2)
    for step in range(300):
        optimizer.zero_grad()
        loss, _ = memory.loss(data.batch(step), torch.Generator())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    report = prediction_report(
        memory, LatentDataset(episodes[10:], length=20, batch_size=16, seed=1), batches=5
    )
    assert report["reward_r2"] > 0.4  # it has to infer a threshold from noisy places
    assert report["log_likelihood_per_dimension"] > 1.2  # of the 1.58 that the noise allows


@pytest.fixture(scope="module")
def symbols(store: RolloutStore, tmp_path_factory: pytest.TempPathFactory) -> VQVAE:
    path = tmp_path_factory.mktemp("symbols")
    config = VQVAEConfig(
        width=4, residual_width=2, codes=6, code_size=3, warmup_steps=4, downsamplings=5
    )
    training = TrainingConfig(steps=12, batch_size=8, log_every=2, checkpoint_every=4)
    vision = train_vision(
        [store], path, config=config, training=training, device="cpu", progress=False
    )
    assert isinstance(vision, VQVAE)
    return vision


@pytest.mark.parametrize("core", ["lstm", "transformer"])
def test_a_memory_in_symbols(
    store: RolloutStore, symbols: VQVAE, tmp_path: Path, core: Any
) -> None:
    config = CodeMemoryConfig(hidden_size=8, token_size=4, context=6, core=core)
    memory = _train(store, tmp_path, symbols, config=config)
    assert isinstance(memory, CodeMemory)
    assert (memory.config.grid, memory.config.codes, memory.config.code_size) == ((2, 2), 6, 3)
    assert torch.equal(memory.codebook, symbols.quantiser.codebook())
    assert memory.start_codes.shape == (10, 4, 4)
    report = json.loads((tmp_path / "report.json").read_text())["held_out"]
    assert set(report["nats_per_frame"]) == {"memory", "copy_last", "bigram"}
    assert report["open_loop"]["1"]["dreams"] > 0
    loaded = load_memory(tmp_path / "artifact", device="cpu")
    generator = torch.Generator().manual_seed(0)
    state = dream_start(loaded, count=5, generator=generator)
    state, _, _ = dream_step(loaded, state, torch.zeros(5, 2), generator=generator)
    assert torch.equal(symbols.latents_of(symbols.codes_of(state.latent)), state.latent)
    assert _train(store, tmp_path, symbols, config=config).digest == memory.digest


def test_symbols_need_an_eye_for_them(store: RolloutStore, vision: VAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vision: a memory in symbols needs a VQ-VAE, got a VAE"):
        _train(store, tmp_path, vision, config=CodeMemoryConfig())


def test_an_ensemble_in_symbols(store: RolloutStore, symbols: VQVAE, tmp_path: Path) -> None:
    config = CodeMemoryConfig(hidden_size=8, token_size=4)
    options: dict[str, Any] = {"vision": symbols, "config": config, "training": _SHORT}
    ensemble = train_ensemble([store], tmp_path, **options, device="cpu", progress=False)
    assert isinstance(ensemble, CodeMemoryEnsemble)
    loaded = load_memory(tmp_path / "artifact", device="cpu")
    assert (loaded.start_count, loaded.config.members) == (10, 2)
    first, second = (member.state_dict()["heads.weight"] for member in loaded.members)
    assert not torch.equal(first, second)
    assert torch.equal(loaded.members[1].codebook, symbols.quantiser.codebook())
    with pytest.raises(ValueError, match="noise_floor: expected 0 with memories in symbols"):
        train_ensemble([store], tmp_path / "other", **options, noise_floor=0.1)
