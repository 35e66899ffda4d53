import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from wmrl.core.strict_json import jsonable
from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.storage.artifact import ArtifactError, load_artifact
from wmrl.storage.run import RunError
from wmrl.training.learning_warning import LearningWarning
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

MakeRollouts = Callable[..., RolloutStore]

_SMALL = VAEConfig(base_channels=4, latent_dim=6)
_SHORT = TrainingConfig(steps=12, batch_size=8, log_every=2, checkpoint_every=4)


def _train(
    stores: list[RolloutStore],
    path: Path,
    training: TrainingConfig = _SHORT,
    init: Path | None = None,
    config: VAEConfig | VQVAEConfig = _SMALL,
) -> Any:
    return train_vision(
        stores, path, config=config, training=training, init=init, device="cpu", progress=False
    )


@pytest.fixture(scope="module")
def store(make_rollouts: MakeRollouts) -> RolloutStore:
    return make_rollouts((24, 9, 17, 30))


def test_a_run_leaves_an_artifact_a_report_and_an_image(
    store: RolloutStore, tmp_path: Path
) -> None:
    with pytest.warns(LearningWarning, match="better than the mean image"):
        vision = _train([store], tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    (warning,) = report["warnings"]
    assert "learned nothing" in warning
    artifact = load_artifact(tmp_path / "artifact", kind="vision")
    assert report["digest"] == artifact.digest == vision.digest
    assert report["episodes"] == {"train": 3, "held_out": 1}
    assert report["steps"] == 12
    assert report["held_out"]["latent_dim"] == 6
    assert report["held_out"]["squared_error"] > 0
    assert artifact.provenance["data"] == [store.content_hash()]
    assert iio.imread(tmp_path / "reconstructions.png").shape[0] == 256
    assert (tmp_path / "metrics.csv").read_text().startswith("step,loss,squared_error,kl\n")
    assert not vision.training


def test_a_run_is_repeatable_and_interruptible(
    store: RolloutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    whole = _train([store], tmp_path / "whole")
    torch.manual_seed(2)  # the global state has no part in it
    step, loss = [0], VAE.loss

    def dying_loss(self: VAE, frames: torch.Tensor, generator: torch.Generator):  # type: ignore[no-untyped-def]
        step[0] += 1
        if step[0] == 8:
            raise KeyboardInterrupt
        return loss(self, frames, generator)

    monkeypatch.setattr(VAE, "loss", dying_loss)
    with pytest.raises(KeyboardInterrupt):
        _train([store], tmp_path / "parts")
    monkeypatch.undo()
    assert _train([store], tmp_path / "parts").digest == whole.digest
    files = [tmp_path / name / "report.json" for name in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_finished_run_is_opened(
    store: RolloutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _train([store], tmp_path)
    monkeypatch.setattr(VAE, "loss", None)  # nothing is trained
    assert _train([store], tmp_path).digest == first.digest


def test_seeds_and_data_matter(store: RolloutStore, tmp_path: Path) -> None:
    one = _train([store], tmp_path / "a")
    other = _train([store], tmp_path / "b", replace(_SHORT, seed=1))
    assert one.digest != other.digest


def test_another_configuration_or_data_do_not_mix(
    store: RolloutStore, make_rollouts: MakeRollouts, tmp_path: Path
) -> None:
    _train([store], tmp_path)
    with pytest.raises(RunError, match=r"training\.seed: expected 1, got 0"):
        _train([store], tmp_path, replace(_SHORT, seed=1))
    with pytest.raises(RunError, match="data"):
        _train([store, make_rollouts((5,), seed=3)], tmp_path)


def test_a_warm_start_begins_where_the_other_ended(store: RolloutStore, tmp_path: Path) -> None:
    first = _train([store], tmp_path / "first")
    still = replace(_SHORT, steps=2, learning_rate=1e-9, final_learning_rate=1e-9)
    second = _train([store], tmp_path / "second", still, init=tmp_path / "first" / "artifact")
    for name, value in second.state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[name], rtol=1e-3, atol=1e-6)
    provenance = load_artifact(tmp_path / "second" / "artifact").provenance
    assert provenance["init"] == first.digest
    with pytest.raises(ArtifactError, match="weights do not fit VAE"):
        _train(
            [store],
            tmp_path / "third",
            init=tmp_path / "first" / "artifact",
            config=VAEConfig(base_channels=4, latent_dim=7),
        )


def test_a_warm_start_keeps_the_codebook(store: RolloutStore, tmp_path: Path) -> None:
    config = VQVAEConfig(base_channels=2, codebook_size=8, code_dim=2, warmup_steps=2)
    first = _train([store], tmp_path / "first", config=config)
    still = replace(_SHORT, steps=2, learning_rate=1e-9, final_learning_rate=1e-9)
    init = tmp_path / "first" / "artifact"
    second = _train([store], tmp_path / "second", still, init=init, config=config)
    frames = torch.from_numpy(store.frames(0))
    agreement = (first.codes(frames) == second.codes(frames)).float().mean()
    assert agreement > 0.9  # its averages move on by two steps; k-means would number codes anew


def test_a_codebook_larger_than_the_data_is_refused(store: RolloutStore, tmp_path: Path) -> None:
    config = VQVAEConfig(base_channels=2, codebook_size=5000, code_dim=2, warmup_steps=2)
    with pytest.raises(
        ValueError, match=r"codebook_size: expected at most \d+, .* give more data or lower"
    ):
        _train([store], tmp_path / "large", config=config)
    assert not (tmp_path / "large").exists()


def test_held_out_episodes_are_never_trained_on(
    store: RolloutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wmrl.data.split import split_episodes

    held_out = split_episodes([store], held_out=_SHORT.held_out).held_out
    forbidden = {episode.summary.index for episode in held_out}
    read: set[int] = set()
    frames = RolloutStore.frames

    def watched(self: RolloutStore, index: int, *part: int):  # type: ignore[no-untyped-def]
        read.add(index)
        return frames(self, index, *part)

    monkeypatch.setattr(RolloutStore, "frames", watched)
    monkeypatch.setattr("wmrl.vision.training._finish", lambda vision, *_: vision)
    _train([store], tmp_path)
    assert read == set(store.indices) - forbidden


def test_it_learns(make_rollouts: MakeRollouts, tmp_path: Path) -> None:
    store = make_rollouts((30, 30, 30, 30))
    training = TrainingConfig(steps=200, batch_size=16, learning_rate=3e-3)
    config = VAEConfig(base_channels=4, latent_dim=6, pixel_variance=None)
    _train([store], tmp_path, training, config=config)
    metrics = json.loads((tmp_path / "report.json").read_text())["held_out"]
    assert metrics["squared_error"] < 100  # the mean frame has 231
    assert metrics["active_dimensions"] >= 1


@pytest.mark.parametrize(
    "config", [_SMALL, VQVAEConfig(base_channels=2, codebook_size=4, code_dim=2, warmup_steps=2)]
)
def test_the_model_has_the_shape_of_the_frames(config: Any, tmp_path: Path) -> None:
    store = _gray_store(tmp_path / "store")
    vision = _train([store], tmp_path / "run", config=config)
    assert vision.frame_shape == (48, 32, 1)
    artifact = load_artifact(tmp_path / "run" / "artifact", kind="vision")
    assert artifact.provenance["vision"] == jsonable(asdict(vision.config))
    image = iio.imread(tmp_path / "run" / "reconstructions.png")
    assert image.shape == (2 * 2 * 48, 2 * 12 * 32, 3)
    again = _train([store], tmp_path / "run", config=config)
    assert again.digest == vision.digest


def test_frames_of_another_shape_than_the_configured_are_refused(
    store: RolloutStore, tmp_path: Path
) -> None:
    gray = _gray_store(tmp_path / "store")
    with pytest.raises(ValueError, match=r"frame_size \(48, 32\) .* \(48, 32, 1\), got \(96, 96\)"):
        _train([gray], tmp_path / "run", config=replace(_SMALL, frame_size=(96, 96)))
    with pytest.raises(ValueError, match=r"expected channels 3 .* \(64, 64, 3\), got 1; leave"):
        _train([store], tmp_path / "run", config=replace(_SMALL, channels=1))
    with pytest.raises(ValueError, match=r"expected frame_stack 1 .* \(64, 64, 3\), got 2; leave"):
        _train([store], tmp_path / "run", config=replace(_SMALL, frame_stack=2))
    with pytest.raises(ValueError, match=r"frame_shape \(64, 64, 3\), got \(48, 32, 1\)"):
        _train([store, gray], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _gray_store(path: Path) -> RolloutStore:
    metadata = StoreMetadata(
        task="bar",
        frame_shape=(48, 32, 1),
        action_space=Box(-1, 1, (2,)),
        frame_skip=4,
        policy={"name": "test"},
    )
    store, generator = RolloutStore(path, "a", metadata=metadata), np.random.default_rng(0)
    for _ in range(2):
        episode = Episode(
            frames=generator.integers(0, 256, (13, 48, 32, 1), dtype=np.uint8),
            actions=np.zeros((12, 2), np.float32),
            rewards=np.zeros(12, np.float32),
            terminated=False,
            truncated=True,
        )
        store.append(episode)
    return store
