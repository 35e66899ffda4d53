"""Fitness: what evolution maximises, as pure functions of parameters and a seed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from wmrl.agents.controller import (
    ControllerConfig,
    batched_actions,
    batched_outputs,
    scale_outputs,
)
from wmrl.agents.rollouts.episodes import run_episodes
from wmrl.agents.seeds import training_seed
from wmrl.core.seeding import torch_generator
from wmrl.dream import DreamState, dream_observation, dream_start, dream_step
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.world_model import Eye

_SATURATED = 0.95
_LOOK_EVERY = 50  # decisions between looks whether any dream still runs: each look waits for a GPU


class Rollouts(NamedTuple):
    """What P controllers did in R rollouts each, A numbers an action.

    Attributes:
        scores: ``(P, R) float64``.
        actions: ``(P, R, A) float64``, means of the actions taken.
        magnitudes: ``(P, R, A) float64``, means of their absolute values.
    """

    scores: np.ndarray
    actions: np.ndarray
    magnitudes: np.ndarray


class Fitness(Protocol):
    """Scores controllers; the same parameters and seed always give the same scores.

    Attributes:
        controller: sizes of the controllers that it scores.
    """

    controller: ControllerConfig

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Scores parameters ``(P, N) float32`` over R rollouts: ``(P, R) float64``."""

    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """The same scores, and what was done for them."""

    def describe(self) -> dict[str, Any]:
        """What it is, JSON-able: all that scores depend on besides parameters and seed."""


@dataclass(frozen=True, kw_only=True)
class DreamFitnessConfig:
    """How controllers are tried in dreams.

    Attributes:
        rollouts: R, dreams for each controller.
        decisions: most decisions of a dream.
        temperature: τ of the dream.
        dropout: keep the memory's dropout on.
        action_noise: standard deviation of Gaussian noise on the outputs in [−1, 1]. Without it
            a deterministic controller finds and exploits what the dream gets wrong.
        saturation_penalty: what a decision costs if all its outputs are beyond ±0.95 (and in
            proportion if some are).
        reward_limit: rewards of a decision beyond it count as it; None for no limit. Where the
            dream promises more than the game can give, it is wrong.
        max_batch: dreams that run at once, which bounds the memory that is used.
    """

    rollouts: int = 16
    decisions: int = 60
    temperature: float = 1.0
    dropout: bool = False
    action_noise: float = 0.0
    saturation_penalty: float = 0.0
    reward_limit: float | None = None
    max_batch: int = 1024

    def __post_init__(self) -> None:
        for name in ("rollouts", "decisions", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature: expected more than 0, got {self.temperature}")
        for name in ("action_noise", "saturation_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")


class DreamFitness:
    """Returns in dreams, a whole population's rollouts as one batch.

    Rollout r of every controller starts in the same state, so that controllers are compared by
    what they do rather than by where they woke up.

    Args:
        eye: vision and memory; the dreams run where they are.
        config: how controllers are tried.
        hidden_sizes: of the controllers' hidden layers.

    Raises:
        ValueError: the eye has no memory, or a batch is too small for one controller's rollouts.
    """

    def __init__(
        self,
        eye: Eye,
        config: DreamFitnessConfig | None = None,
        *,
        hidden_sizes: tuple[int, ...] = (),
    ) -> None:
        if eye.memory is None:
            raise ValueError("eye: expected one with a memory to dream with, got one without")
        self.eye, self.config = eye, config or DreamFitnessConfig()
        if self.config.rollouts > self.config.max_batch:
            raise ValueError(
                f"max_batch: expected at least rollouts ({self.config.rollouts}), "
                f"got {self.config.max_batch}"
            )
        self.memory = eye.memory
        self.controller = _controller(eye, hidden_sizes)

    def describe(self) -> dict[str, Any]:
        """See :class:`Fitness`."""
        return {
            "class": "DreamFitness",
            "config": asdict(self.config),
            "controller": asdict(self.controller),
            "memory": self.memory.digest,
        }

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """See :class:`Fitness`; scores are the dreams' returns less the penalty."""
        return self.rollouts(parameters, seed).scores

    @torch.inference_mode()
    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """See :class:`Fitness`."""
        weights = torch.from_numpy(np.asarray(parameters, np.float32)).to(self.memory.device)
        at_once = self.config.max_batch // self.config.rollouts
        chunks = [
            self._rollouts(chunk, seed, index)
            for index, chunk in enumerate(torch.split(weights, at_once))
        ]
        parts = (torch.cat(part).double().cpu().numpy() for part in zip(*chunks, strict=True))
        return Rollouts(*parts)

    def _rollouts(self, weights: Tensor, seed: int, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores ``(C, R)`` of C controllers, and means ``(C, R, A)`` as in :class:`Rollouts`."""
        config, memory, count = self.config, self.memory, len(weights)
        device = memory.device
        generator = torch_generator(seed, "dream", chunk, device=device)
        state = self._starts(count, seed)
        score = torch.zeros(count, config.rollouts, device=device)
        alive = torch.ones(count * config.rollouts, device=device)
        lived = torch.zeros_like(alive)
        actions = torch.zeros(len(alive), memory.action_size, device=device)
        magnitudes = torch.zeros_like(actions)
        for step in range(config.decisions):
            seen = dream_observation(memory, state).view(count, config.rollouts, -1)
            outputs = batched_outputs(weights, seen, config=self.controller)  # (C, R, A)
            cost = self._cost(outputs)
            if config.action_noise > 0:
                noise = torch.randn(outputs.shape, generator=generator, device=device)
                outputs = (outputs + config.action_noise * noise).clamp(-1.0, 1.0)
            action = scale_outputs(outputs, config=self.controller).flatten(0, 1)
            state, reward, terminated = dream_step(
                memory,
                state,
                action,
                temperature=config.temperature,
                dropout=config.dropout,
                generator=generator,
            )
            if config.reward_limit is not None:
                reward = reward.clamp(max=config.reward_limit)
            score += (reward * alive).view_as(score) - cost * alive.view_as(score)
            lived += alive
            actions += action * alive[:, None]
            magnitudes += action.abs() * alive[:, None]
            alive = alive * (~terminated)
            if step % _LOOK_EVERY == _LOOK_EVERY - 1 and not bool(alive.any()):
                break
        sums = (actions, magnitudes)
        actions, magnitudes = ((each / lived[:, None]).view(*score.shape, -1) for each in sums)
        return score, actions, magnitudes

    def _starts(self, count: int, seed: int) -> DreamState:
        """R starts, repeated for each of ``count`` controllers: rows in the controllers' order."""
        generator = torch_generator(seed, "starts", device=self.memory.device)
        state = dream_start(self.memory, count=self.config.rollouts, generator=generator)
        return DreamState(
            state.latent.repeat(count, 1),
            tuple(part.repeat(count, *[1] * (part.ndim - 1)) for part in state.memory),
        )

    def _cost(self, outputs: Tensor) -> Tensor | float:
        if self.config.saturation_penalty == 0:
            return 0.0
        saturated = (outputs.abs() > _SATURATED).float().mean(-1)  # (C, R)
        return self.config.saturation_penalty * saturated


@dataclass(frozen=True, kw_only=True)
class RealFitnessConfig:
    """How controllers are tried in the real game.

    Attributes:
        rollouts: R, episodes for each controller, on the same seeds for all of them.
        decisions: most decisions of an episode; the task's limit if None.
        num_envs: games at once. It is part of the result, workers are not.
    """

    rollouts: int = 4
    decisions: int | None = None
    num_envs: int = 16

    def __post_init__(self) -> None:
        for name in ("rollouts", "num_envs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")


class RealFitness:
    """Returns in the real game, over worker processes; close it when done.

    Args:
        eye: what the controllers look through.
        config: how they are tried.
        hidden_sizes: of the controllers' hidden layers.
        base: id of the environment; the task's own if None.
        workers: processes that play; one a core if None. Scores are the same for any number.
    """

    def __init__(
        self,
        eye: Eye,
        config: RealFitnessConfig | None = None,
        *,
        hidden_sizes: tuple[int, ...] = (),
        base: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.eye, self.config, self._base = eye, config or RealFitnessConfig(), base
        self.controller = _controller(eye, hidden_sizes)
        self._env = LatentVectorEnv(
            self.config.num_envs,
            task=eye.task,
            vision=eye.vision,
            memory=eye.memory,
            base=base,
            frame_skip=eye.frame_skip,
            max_episode_steps=self.config.decisions,
            workers=workers,
            autoreset_mode=AutoresetMode.DISABLED,
        )

    def describe(self) -> dict[str, Any]:
        """See :class:`Fitness`."""
        return {
            "class": "RealFitness",
            "config": asdict(self.config),
            "controller": asdict(self.controller),
            "base": self._base or self.eye.task.env_id,
            "frame_skip": self.eye.frame_skip,
            "vision": self.eye.vision.digest,
            "memory": self.eye.memory.digest if self.eye.memory is not None else None,
        }

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """See :class:`Fitness`; scores are the episodes' returns."""
        return self.rollouts(parameters, seed).scores

    @torch.inference_mode()
    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """See :class:`Fitness`."""
        rollouts = self.config.rollouts
        weights = torch.from_numpy(np.asarray(parameters, np.float32))
        seeds = [training_seed(seed, "real", rollout) for rollout in range(rollouts)]

        def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
            chosen = weights[torch.from_numpy(episodes // rollouts)]  # (slots, N)
            seen = torch.from_numpy(observations)[:, None]
            return batched_actions(chosen, seen, config=self.controller)[:, 0].numpy()

        found = run_episodes(self._env, act, seeds * len(weights))
        shape = (len(weights), rollouts)
        return Rollouts(
            found.returns.reshape(shape),
            found.actions.reshape(*shape, -1),
            found.magnitudes.reshape(*shape, -1),
        )

    def close(self) -> None:
        """Ends the workers."""
        self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _controller(eye: Eye, hidden_sizes: tuple[int, ...]) -> ControllerConfig:
    options: Mapping[str, Any] = {"hidden_sizes": hidden_sizes}
    return ControllerConfig.for_spaces(eye.observation_space, eye.action_space, **options)
