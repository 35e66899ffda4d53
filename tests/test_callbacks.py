"""Callbacks of every trainer and learner: the same calls, the same end, the same resumption."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch.distributions import Gamma, Poisson

from wmrl.agents.controller import ControllerConfig
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.quality_diversity.archive import ArchiveConfig
from wmrl.agents.quality_diversity.dde import DDE
from wmrl.agents.quality_diversity.dde_config import DDEConfig
from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.agents.quality_diversity.search import EliteSearchConfig, search_elites
from wmrl.data.images import ImageSet
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.envs.planar_arm.arm import Arm
from wmrl.inference.family import VariationalFamily
from wmrl.inference.fit import FitConfig, Posterior, fit_posterior
from wmrl.inference.gamma_factors import GammaFactor
from wmrl.inference.log_joint import LogJoint, Term
from wmrl.memory.ensemble_training import train_ensemble
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.training import MemoryTrainingConfig, train_memory
from wmrl.priors.code_prior import CodePriorConfig
from wmrl.priors.training import PriorTrainingConfig, train_prior
from wmrl.storage.artifact import load_artifact
from wmrl.training.callbacks import Callback, CallbackError, RunContext, StopTraining
from wmrl.training.keep_best import KeepBest
from wmrl.training.metrics import read_metrics
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.image_training import train_on_images
from wmrl.vision.training import train_vision
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

STEPS = {"steps": 10, "batch_size": 4, "checkpoint_every": 4, "log_every": 2}
SHARED: dict[str, Any] = {"device": "cpu", "progress": False}
ARM = ArmProblem(arm=Arm(num_joints=4), archive=ArchiveConfig(cells=50, qd_score_offset=-np.pi / 2))


class Sphere:
    """Objective with its optimum at 0.5 and noise that depends on the seed."""

    controller = ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (2,)))

    def describe(self) -> dict[str, Any]:
        return {}

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=len(parameters))
        scores: np.ndarray = noise - ((parameters - 0.5) ** 2).sum(1)
        return scores


class Training(NamedTuple):
    """A function that trains in a folder and saves the artifact, and a measure that it logs."""

    train: Callable[[Path, list[Callback]], Any]
    measure: str
    goes_on: bool = False  # True if it goes on after a callback has ended it


def learn(make: Callable[[Path], Any]) -> Callable[[Path, list[Callback]], None]:
    def train(path: Path, callbacks: list[Callback]) -> None:
        with make(path) as learner:
            learner.learn(callbacks=callbacks, progress=False)
            learner.save(path / "artifact")

    return train


TRAININGS = ("vision", "images", "memory", "prior", "cma-es", "variational", "ppo", "dde")


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> VAE:
    vision = VAE(VAEConfig(base_channels=2, latent_dim=4)).eval()
    vision.save(tmp_path_factory.mktemp("vision") / "vision")
    return vision


@pytest.fixture
def training(
    request: pytest.FixtureRequest, make_rollouts: Any, match_env: Any, vision: VAE
) -> Training:
    def images(count: int) -> ImageSet:
        drawn = np.random.default_rng(0).integers(0, 255, (count, 16, 16, 1), np.uint8)
        return ImageSet(images=drawn, labels=np.zeros(count, np.int64))

    def train_frames(path: Path, callbacks: list[Callback]) -> None:
        config, steps = VAEConfig(base_channels=2, latent_dim=4), TrainingConfig(**STEPS)
        stores = [make_rollouts((9, 12))]
        train_vision(stores, path, config=config, training=steps, callbacks=callbacks, **SHARED)

    def train_images(path: Path, callbacks: list[Callback]) -> None:
        shape = {"frame_size": (16, 16), "channels": 1, "num_downsamplings": 2}
        codes = {"base_channels": 2, "codebook_size": 4, "code_dim": 2, "warmup_steps": 4}
        train_on_images(
            images(16),
            images(8),
            path,
            config=VQVAEConfig(**shape, **codes),
            training=TrainingConfig(**STEPS),
            callbacks=callbacks,
            **SHARED,
        )

    def train_latents(path: Path, callbacks: list[Callback]) -> None:
        train_memory(
            [make_rollouts((20, 24))],
            path,
            vision=vision,
            config=MDNRNNConfig(hidden_dim=4, num_mixtures=2),
            training=MemoryTrainingConfig(**STEPS, sequence_length=8),
            callbacks=callbacks,
            **SHARED,
        )

    def train_codes(path: Path, callbacks: list[Callback]) -> None:
        codes = torch.randint(4, (16, 4), generator=torch.Generator().manual_seed(0))
        config = CodePriorConfig(num_tokens=4, codebook_size=4, hidden_dim=4, num_layers=1)
        steps = PriorTrainingConfig(**STEPS)
        train_prior(codes, path, config=config, training=steps, callbacks=callbacks, **SHARED)

    evolution = CMAESConfig(generations=5, population_size=4, checkpoint_every=2)
    posterior = VariationalSearchConfig(generations=5, population_size=4, checkpoint_every=2)
    ppo = PPOConfig(steps=96, rollout_steps=4, chunk_rollouts=2, batch_size=8, hidden_dims=(4,))
    dde = DDEConfig(
        generations=25, log_every=5, checkpoint_every=10, encoding=None, crossovers=(0.0,)
    )
    return {
        "vision": Training(train_frames, "loss"),
        "images": Training(train_images, "squared_error"),
        "memory": Training(train_latents, "nll"),
        "prior": Training(train_codes, "loss"),
        "cma-es": Training(
            learn(lambda path: CMAES(Sphere(), evolution, path=path)), "fitness/mean", goes_on=True
        ),
        "variational": Training(
            learn(lambda path: VariationalSearch(Sphere(), posterior, path=path)),
            "fitness/mean",
            goes_on=True,
        ),
        "ppo": Training(
            learn(lambda path: PPOLearner(match_env(4), ppo, path=path)),
            "train/loss",
            goes_on=True,
        ),
        "dde": Training(
            learn(lambda path: DDE(ARM, dde, path=path)), "archive/mean_fitness", goes_on=True
        ),
    }[request.param]


each = pytest.mark.parametrize("training", TRAININGS, indirect=True)


class Recorder(Callback):
    """Writes down its calls."""

    def start(self, context: RunContext) -> None:
        self.context, self.names, self.rows = context, ["start"], []
        self.checkpoints: list[int] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.names.append("log")
        self.rows.append({"step": step, **metrics})

    def sync(self) -> None:
        self.names.append("sync")

    def checkpoint(self, step: int, path: Path) -> None:
        assert path.is_file()
        self.names.append("checkpoint")
        self.checkpoints.append(step)

    def end(self, error: BaseException | None) -> None:
        self.names.append("end")
        self.error = error


class Killed(BaseException):
    """Ends a training as a kill does: nothing that handles errors sees it."""


class Raising(Callback):
    """Raises an error at a log line or at a checkpoint."""

    def __init__(self, error: BaseException, *, log: int = 0, checkpoint: int = 0) -> None:
        self._error, self._log, self._checkpoint = error, log, checkpoint

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._log -= 1
        if self._log == 0:
            raise self._error

    def checkpoint(self, step: int, path: Path) -> None:
        self._checkpoint -= 1
        if self._checkpoint == 0:
            raise self._error


def results(path: Path) -> tuple[str, list[dict[str, float]]]:
    """The digest of the artifact, and the metrics without durations."""
    rows = read_metrics(path / "metrics.csv")
    kept = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return load_artifact(path / "artifact").digest, kept


@each
def test_the_methods_are_called_in_order(training: Training, tmp_path: Path) -> None:
    recorder = Recorder()
    training.train(tmp_path, [recorder])
    assert recorder.context.path == tmp_path
    assert recorder.context.step == 0
    assert recorder.context.config
    assert recorder.rows == read_metrics(tmp_path / "metrics.csv")
    assert training.measure in recorder.rows[-1]
    names = recorder.names
    assert (names[0], names[-1], recorder.error) == ("start", "end", None)
    places = [place for place, name in enumerate(names) if name == "checkpoint"]
    assert len(places) == 3
    assert all(names[place - 1] == "sync" for place in places)
    assert names.count("sync") == 3
    assert recorder.checkpoints == sorted(set(recorder.checkpoints))
    assert recorder.checkpoints[-1] >= recorder.rows[-1]["step"]


@each
def test_callbacks_change_no_bit(training: Training, tmp_path: Path) -> None:
    training.train(tmp_path / "with", [Recorder(), KeepBest(training.measure, mode="min")])
    training.train(tmp_path / "without", [])
    assert results(tmp_path / "with") == results(tmp_path / "without")


@each
def test_a_callback_ends_a_training(training: Training, tmp_path: Path) -> None:
    training.train(tmp_path / "whole", [])
    stopped = Recorder()
    training.train(tmp_path / "parts", [Raising(StopTraining(), log=1), stopped])
    assert stopped.names[-3:] == ["sync", "checkpoint", "end"]
    assert len(stopped.checkpoints) == 1
    first = results(tmp_path / "parts")
    assert len(first[1]) < len(results(tmp_path / "whole")[1])
    training.train(tmp_path / "parts", [])
    assert results(tmp_path / "parts") == (
        results(tmp_path / "whole") if training.goes_on else first
    )


@each
def test_a_training_whose_callback_failed_is_resumed(training: Training, tmp_path: Path) -> None:
    training.train(tmp_path / "whole", [])
    recorder = Recorder()
    with pytest.raises(CallbackError, match=r"^Raising\.log: ValueError: no; the run can be") as e:
        training.train(tmp_path / "parts", [recorder, Raising(ValueError("no"), log=3)])
    assert recorder.error is e.value
    training.train(tmp_path / "parts", [recorder])
    assert recorder.context.step > 0
    assert recorder.rows[0]["step"] > recorder.context.step
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


@each
def test_the_best_of_a_killed_training_is_the_same(training: Training, tmp_path: Path) -> None:
    best = [KeepBest(training.measure, mode=mode, folder=mode) for mode in ("min", "max")]
    training.train(tmp_path / "whole", best)
    for number in (1, 2, 2):  # a checkpoint was written, but KeepBest was not told
        with pytest.raises(Killed):
            training.train(tmp_path / "parts", [Raising(Killed(), checkpoint=number), *best])
    training.train(tmp_path / "parts", best)
    rows = {row["step"]: row for row in read_metrics(tmp_path / "whole" / "metrics.csv")}
    for mode in ("min", "max"):
        whole, parts = (load_artifact(tmp_path / name / mode) for name in ("whole", "parts"))
        assert (parts.digest, parts.provenance) == (whole.digest, whole.provenance)
        kept = whole.provenance["best"]
        assert rows[kept["step"]][training.measure] == kept["value"]


@pytest.mark.parametrize("training", ["images"], indirect=True)
def test_the_warm_up_of_a_codebook_is_never_the_best(training: Training, tmp_path: Path) -> None:
    training.train(tmp_path, [KeepBest("squared_error", mode="min")])
    rows = {row["step"]: row["squared_error"] for row in read_metrics(tmp_path / "metrics.csv")}
    assert rows[4] < rows[8]  # the warm-up ends at the first checkpoint, step 4
    assert load_artifact(tmp_path / "best").provenance["best"]["step"] > 4


def test_members_of_an_ensemble_share_callbacks(
    make_rollouts: Any, vision: VAE, tmp_path: Path
) -> None:
    seen: list[Path | None] = []

    class Paths(Recorder):
        def start(self, context: RunContext) -> None:
            super().start(context)
            seen.append(context.path)

    train_ensemble(
        [make_rollouts((20, 24))],
        tmp_path,
        vision=vision,
        config=MDNRNNConfig(hidden_dim=4, num_mixtures=2),
        training=MemoryTrainingConfig(**STEPS, sequence_length=8),
        callbacks=[Paths(), KeepBest("nll", mode="min")],
        **SHARED,
    )
    assert seen == [tmp_path / "member-0", tmp_path / "member-1"]
    assert all(load_artifact(path / "best").kind == "memory" for path in seen if path)


@pytest.mark.parametrize("algorithm", ["line", "dde"])
def test_searches_for_elites(algorithm: Any, tmp_path: Path) -> None:
    config = EliteSearchConfig(problem=ARM, algorithm=algorithm, encoding=None, evaluations=20_000)
    recorder = Recorder()
    found = search_elites(
        tmp_path, config, callbacks=[recorder, Raising(StopTraining(), log=2)], **SHARED
    )
    names = ("start", "log", "log", "end")
    assert tuple(name for name in recorder.names if name in names) == names
    assert found.metrics["evaluations"] == pytest.approx(10_000, rel=0.1)
    assert len(found.elites) > 20
    assert recorder.context.path == (None if algorithm == "line" else tmp_path / "run")


def test_epochs_of_an_encoding() -> None:
    def fit(callbacks: list[Callback]) -> tuple[EncodingTrainer, dict[str, float]]:
        generator = torch.Generator().manual_seed(1)
        encoding = VectorVAE(VectorVAEConfig(input_dim=4, latent_dim=2), generator=generator)
        trainer = EncodingTrainer(encoding, EncodingTrainingConfig(epochs=3, batch_size=10))
        vectors = torch.rand(25, 4, generator=torch.Generator().manual_seed(2))
        return trainer, trainer.fit(vectors, callbacks=callbacks)

    recorder = Recorder()
    (seen, metrics), (plain, same) = fit([recorder]), fit([])
    assert metrics == same
    assert [row["step"] for row in recorder.rows] == [3, 6, 9]
    assert recorder.rows[-1] == {"step": 9, **metrics}
    for one, other in zip(seen.encoding.parameters(), plain.encoding.parameters(), strict=True):
        assert torch.equal(one, other)
    stopped, metrics = fit([Raising(StopTraining(), log=2)])
    assert (stopped.steps, stopped.fits) == (6, 1)
    assert recorder.rows[1] == {"step": 6, **metrics}
    assert metrics["loss"] > 0


def test_windows_of_a_posterior(tmp_path: Path) -> None:
    log_joint = LogJoint(
        {
            "prior": lambda rate: Gamma(2.0, 1.0).log_prob(rate),
            "data": Term(
                lambda rate, c: Poisson(rate[:, None]).log_prob(c).sum(1),
                {"c": torch.tensor([3.0, 5.0, 2.0, 4.0])},
            ),
        }
    )

    def fit(path: Path | None, *callbacks: Callback) -> Posterior:
        family = VariationalFamily({"rate": GammaFactor()})
        config = FitConfig(steps=60, window=20)
        return fit_posterior(log_joint, family, config, path=path, callbacks=callbacks, **SHARED)

    recorder = Recorder()
    assert fit(tmp_path, recorder).trace == tuple(recorder.rows)
    assert recorder.rows == read_metrics(tmp_path / "metrics.csv")
    stopped = fit(None, Raising(StopTraining(), log=2))
    assert (stopped.steps, stopped.converged) == (40, False)
    assert stopped.trace == tuple(recorder.rows[:2])
