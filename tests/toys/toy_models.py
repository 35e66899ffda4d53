"""A vision, a memory, their ensemble and an agent that the library knows nothing of."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
import toy_game
from gymnasium import spaces
from torch import Tensor, nn

from wmrl.agents import Agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.core import seeded_weights
from wmrl.memory import (
    MemoryEnsemble,
    MemoryEnsembleConfig,
    MemoryState,
    TrainableMemory,
    TrainableMemoryConfig,
    Transition,
)
from wmrl.storage import Artifact
from wmrl.vision import Vision


@dataclass(frozen=True, kw_only=True)
class LinearVisionConfig:
    """Size of a :class:`LinearVision`: Z."""

    latents: int = 4


class LinearVision(Vision):
    """A linear map of 4 × 4 averages, and back."""

    config_class: ClassVar[type] = LinearVisionConfig
    frame_shape = (64, 64, 3)

    def __init__(
        self, config: LinearVisionConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        with seeded_weights(generator):
            self.encoder = nn.Linear(4 * 4 * 3, config.latents)
            self.decoder = nn.Linear(config.latents, 4 * 4 * 3)

    @property
    def latent_dim(self) -> int:
        return self.config.latents

    def encode(self, frames: Tensor) -> Tensor:
        return self.encoder(F.avg_pool2d(self._preprocess(frames), 16).flatten(1))

    def posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.encode(frames)
        return mean, torch.full_like(mean, 0.01)

    def decode(self, latents: Tensor) -> Tensor:
        return self._to_frames(self._pixels(latents).clamp(0, 1).permute(0, 2, 3, 1))

    def loss(self, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = F.mse_loss(self._pixels(self.encode(frames)), self._preprocess(frames))
        return loss, {"error": loss.detach()}

    def metrics(self, batches: Iterable[Tensor]) -> dict[str, float]:
        return {"std": float(torch.cat([self.encode(batch) for batch in batches]).std())}

    def _pixels(self, latents: Tensor) -> Tensor:
        return F.interpolate(self.decoder(latents).view(-1, 3, 4, 4), scale_factor=16)


class GRUPrediction(NamedTuple):
    mean: Tensor
    reward: Tensor
    termination: Tensor


@dataclass(frozen=True, kw_only=True)
class GRUMemoryConfig(TrainableMemoryConfig):
    """Sizes and loss of a :class:`GRUMemory`."""

    latent_dim: int = 8
    hidden_dim: int = 6


class GRUMemory(TrainableMemory[GRUPrediction]):
    """A GRU that predicts Gaussians of unit variance."""

    config_class: ClassVar[type] = GRUMemoryConfig
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 7}

    def __init__(
        self, config: GRUMemoryConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config = config
        with seeded_weights(generator):
            self.cell = nn.GRUCell(config.latent_dim + config.action_dim, config.hidden_dim)
            self.heads = nn.Linear(config.hidden_dim, config.latent_dim + 2)
        none = torch.zeros(0, 1, config.latent_dim)
        self.set_start_states(none, none, torch.zeros(0, 0, config.action_dim))

    @property
    def feature_dim(self) -> int:
        return self.config.hidden_dim

    def initial_state(self, batch_size: int) -> MemoryState:
        return (torch.zeros(batch_size, self.config.hidden_dim, device=self.device),)

    def features(self, state: MemoryState) -> Tensor:
        return state[0]

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[GRUPrediction, MemoryState]:
        self.check_sequence(latents, actions)
        (hidden,) = self.initial_state(len(latents)) if state is None else state
        outputs = []
        for time in range(latents.shape[1]):
            if first is not None:
                hidden = hidden * ~first[:, time, None]
            hidden = self.cell(torch.cat((latents[:, time], actions[:, time]), 1), hidden)
            outputs.append(hidden)
        return self._predict(torch.stack(outputs, 1)), (hidden,)

    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[GRUPrediction, MemoryState]:
        hidden = self.cell(torch.cat((latent, action), 1), state[0])
        return self._predict(hidden), (hidden,)

    def sample(
        self,
        prediction: GRUPrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        shape, device = prediction.mean.shape, prediction.mean.device
        noise = torch.randn(shape, generator=generator, device=device)
        chance = torch.rand(shape[:-1], generator=generator, device=device)
        return Transition(
            prediction.mean + math.sqrt(temperature) * noise,
            prediction.reward,
            chance < prediction.termination.sigmoid(),
        )

    def log_likelihood(self, prediction: GRUPrediction, latents: Tensor) -> Tensor:
        return -0.5 * ((latents - prediction.mean).square() + math.log(2 * math.pi))

    def _predict(self, hidden: Tensor) -> GRUPrediction:
        mean, ends = self.heads(hidden).split((self.config.latent_dim, 2), -1)
        return GRUPrediction(mean, ends[..., 0] / self.config.reward_factor, ends[..., 1])


@dataclass(frozen=True, kw_only=True)
class GRUEnsembleConfig(MemoryEnsembleConfig):
    """Size and pessimism of a :class:`GRUEnsemble`."""

    member_config_class: ClassVar[type] = GRUMemoryConfig


class GRUEnsemble(MemoryEnsemble):
    """Several :class:`GRUMemory` that dream as one."""

    config_class: ClassVar[type] = GRUEnsembleConfig
    member_class: ClassVar[type] = GRUMemory


class ConstantAgent(Agent):
    """Always takes the same action."""

    def __init__(self, action: np.ndarray, observation_dim: int) -> None:
        self.action = np.asarray(action, np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (observation_dim,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, self.action.shape, np.float32)
        self.world_model = None

    def predict(self, observation, state=None, episode_start=None, deterministic=False):  # type: ignore[no-untyped-def]
        count = len(self.batch_observations(observation))
        return np.broadcast_to(self.action, (count, *self.action.shape)), None

    def artifact_config(self) -> dict[str, Any]:
        return {"observation_dim": self.observation_space.shape[0]}

    def artifact_tensors(self) -> dict[str, Tensor]:
        return {"action": torch.from_numpy(self.action)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Self:
        return cls(artifact.tensors["action"].numpy(), artifact.config["observation_dim"])


def toy_agent(make_tiny: Callable[..., Any], folder: Path) -> Path:
    """Saves a controller whose world model is of the unregistered task ``toy_game.STEERED``."""
    tiny, task = make_tiny(toy_game.STEERED), toy_game.STEERED
    config = ControllerConfig(observation_dim=24, action_space=task.actions)
    weights = np.random.default_rng(0).normal(size=config.parameter_count)
    ref = replace(tiny.ref(task.frame_skip), task=task.name)
    ControllerAgent(config, weights, world_model=ref).save(folder / "toy-agent")
    return folder / "toy-agent"
