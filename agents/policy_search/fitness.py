"""Fitness of controllers in dreams and in the real game."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from wmrl.agents.controller import (
    ControllerConfig,
    Readout,
    batched_actions,
    batched_outputs,
    decode_outputs,
)
from wmrl.agents.rollouts.episodes import run_episodes
from wmrl.agents.seeds import training_seed
from wmrl.core.config import check_fields
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_float, check_int, check_reals
from wmrl.dream import DreamState, dream_observation, dream_reset, dream_step
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.world_model import WorldModel

_SATURATED = 0.95  # absolute value above which an output counts as saturated
_CHECK_EVERY = 50  # agent steps between checks if all dreams ended; each waits for the GPU


class Rollouts(NamedTuple):
    """Results of P controllers in R rollouts each.

    Attributes:
        scores: ``(P, R) float64``, score of each rollout.
        actions: ``(P, R, A) float64``, mean encoded action over the agent steps of each rollout; A
            is the number of dimensions of an encoded action (see
            :class:`~wmrl.core.action_spec.ActionSpec`).
        magnitudes: ``(P, R, A) float64``, mean absolute encoded action over the agent steps of each
            rollout.
    """

    scores: np.ndarray
    actions: np.ndarray
    magnitudes: np.ndarray


class Fitness(Protocol):
    """Interface of fitness functions, which compute the scores of controllers in rollouts.

    The scores are a pure function of the controllers' parameters and a seed.

    Attributes:
        controller: configuration of the controllers to evaluate.
    """

    controller: ControllerConfig

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Computes the scores of P controllers in R rollouts each.

        Args:
            parameters: ``(P, N) float32``, parameters of the controllers.
            seed: seed of the rollouts.

        Returns:
            Score of each controller in each rollout, ``(P, R) float64``.
        """

    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """Computes the scores and the mean actions of P controllers in R rollouts each.

        The arguments and the scores are those of :meth:`__call__`.
        """

    def describe(self) -> dict[str, Any]:
        """Returns a JSON-serializable description of everything that determines the scores.

        It contains the settings, and the digests of the models.
        """


@dataclass(frozen=True, kw_only=True)
class DreamFitnessConfig:
    """Settings of :class:`DreamFitness`.

    Attributes:
        num_rollouts: R, number of dreams per controller.
        agent_steps: maximum number of agent steps per dream.
        temperature: temperature τ of the dream.
        dropout: True to apply the memory model's dropout.
        action_noise: standard deviation of the normal noise that is added to the controller's
            outputs. Without noise, a deterministic controller can exploit errors of the dream.
        saturation_penalty: penalty that is subtracted from the score for each agent step in which
            all outputs of the controller are beyond ±0.95. If only a fraction of the outputs is
            beyond ±0.95, the same fraction of the penalty is subtracted.
        reward_limit: upper limit on the predicted reward of an agent step; None for no limit.
            Higher predictions are clipped to the limit. The limit is useful if the memory model
            predicts rewards that are impossible in the game.
        max_batch: maximum number of dreams that run in parallel; a lower number needs less memory.
    """

    num_rollouts: int = 16
    agent_steps: int = 60
    temperature: float = 1.0
    dropout: bool = False
    action_noise: float = 0.0
    saturation_penalty: float = 0.0
    reward_limit: float | None = None
    max_batch: int = 1024

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_rollouts", "agent_steps", "max_batch"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("temperature", self.temperature, above=0)
        for name in ("action_noise", "saturation_penalty"):
            check_float(name, getattr(self, name), at_least=0)


class DreamFitness:
    """Fitness of controllers in dreams, which run in large batches.

    All controllers dream from the same start states, one per rollout, so start states cause no
    differences between the scores of controllers.

    Args:
        world_model: world model with a memory model. The dreams run on the memory model's device.
        config: settings.
        hidden_dims: widths of the controllers' hidden layers.
        readout: see :attr:`~wmrl.agents.controller.ControllerConfig.readout`.

    Raises:
        ValueError: the world model has no memory model, or ``max_batch`` is less than
            ``num_rollouts``.

    Example:
        >>> import numpy as np
        >>> from wmrl.agents import DreamFitness, DreamFitnessConfig
        >>> from wmrl.envs import WorldModel
        >>> world_model = WorldModel.open(
        ...     "car-racing", "car-racing-vae", "car-racing-mdnrnn", device="cpu"
        ... )
        >>> fitness = DreamFitness(world_model, DreamFitnessConfig(num_rollouts=4, agent_steps=5))
        >>> population = np.zeros((3, fitness.controller.parameter_count), np.float32)
        >>> fitness(population, seed=0).shape
        (3, 4)
    """

    def __init__(
        self,
        world_model: WorldModel,
        config: DreamFitnessConfig | None = None,
        *,
        hidden_dims: tuple[int, ...] = (),
        readout: Readout = "argmax",
    ) -> None:
        if world_model.memory is None:
            raise ValueError(
                "world_model: expected a world model with a memory model, got one without; pass a "
                "memory model to WorldModel.open"
            )
        self.world_model, self.config = world_model, config or DreamFitnessConfig()
        if self.config.num_rollouts > self.config.max_batch:
            raise ValueError(
                f"max_batch: expected at least num_rollouts ({self.config.num_rollouts}), "
                f"got {self.config.max_batch}; raise max_batch or lower num_rollouts"
            )
        self.memory = world_model.memory
        self.controller = _controller(world_model, hidden_dims, readout)

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`Fitness.describe`."""
        return {
            "class": "DreamFitness",
            "config": asdict(self.config),
            "controller": asdict(self.controller),
            "memory": self.memory.digest,
        }

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Implements :meth:`Fitness.__call__`.

        Scores are the returns of the dreams minus the saturation penalties.
        """
        return self.rollouts(parameters, seed).scores

    @torch.inference_mode()
    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """Implements :meth:`Fitness.rollouts`."""
        weights = torch.from_numpy(check_reals("parameters", parameters)).to(self.memory.device)
        at_once = self.config.max_batch // self.config.num_rollouts
        chunks = [
            self._rollouts(chunk, seed, index)
            for index, chunk in enumerate(torch.split(weights, at_once))
        ]
        parts = (torch.cat(part).double().cpu().numpy() for part in zip(*chunks, strict=True))
        return Rollouts(*parts)

    def _rollouts(self, weights: Tensor, seed: int, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
        """Runs the dreams of C controllers as one batch.

        Args:
            weights: parameters of the controllers, ``(C, N)``.
            seed: seed of the rollouts.
            chunk: index of the batch. Each batch has its own stream of random numbers.

        Returns:
            Scores, mean actions and mean absolute actions, as in :class:`Rollouts`.
        """
        config, memory, count = self.config, self.memory, len(weights)
        device = memory.device
        generator = torch_generator(seed, "dream", chunk, device=device)
        state = self._start_states(count, seed)
        score = torch.zeros(count, config.num_rollouts, device=device)
        alive = torch.ones(count * config.num_rollouts, device=device)
        lengths = torch.zeros_like(alive)
        actions = torch.zeros(len(alive), memory.action_dim, device=device)
        magnitudes = torch.zeros_like(actions)
        for step in range(config.agent_steps):
            observations = dream_observation(memory, state).view(count, config.num_rollouts, -1)
            outputs = batched_outputs(weights, observations, config=self.controller)  # (C, R, A)
            penalty = self._penalty(outputs)
            if config.action_noise > 0:
                noise = torch.randn(outputs.shape, generator=generator, device=device)
                outputs = outputs + config.action_noise * noise
                if self.controller.is_squashed:
                    outputs = outputs.clamp(-1.0, 1.0)
            chosen = decode_outputs(outputs, config=self.controller).flatten(0, 1)
            action = self.controller.action_space.encode_tensor(chosen)
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
            score += (reward * alive).view_as(score) - penalty * alive.view_as(score)
            lengths += alive
            actions += action * alive[:, None]
            magnitudes += action.abs() * alive[:, None]
            alive = alive * (~terminated)
            if step % _CHECK_EVERY == _CHECK_EVERY - 1 and not bool(alive.any()):
                break
        sums = (actions, magnitudes)
        actions, magnitudes = ((each / lengths[:, None]).view(*score.shape, -1) for each in sums)
        return score, actions, magnitudes

    def _start_states(self, count: int, seed: int) -> DreamState:
        """Draws one start state per rollout, and repeats these states for each controller.

        Args:
            count: number of controllers.
            seed: seed of the rollouts.
        """
        generator = torch_generator(seed, "starts", device=self.memory.device)
        state = dream_reset(self.memory, batch_size=self.config.num_rollouts, generator=generator)
        return DreamState(
            state.latent.repeat(count, 1),
            tuple(part.repeat(count, *[1] * (part.ndim - 1)) for part in state.memory),
        )

    def _penalty(self, outputs: Tensor) -> Tensor | float:
        """Computes the saturation penalties of one agent step.

        Args:
            outputs: ``(C, R, A)``, the A outputs of each of C controllers in each of R rollouts.

        Returns:
            Penalties ``(C, R)``; 0.0 if the configuration has no saturation penalty.
        """
        if self.config.saturation_penalty == 0:
            return 0.0
        saturated = (outputs.abs() > _SATURATED).float().mean(-1)  # (C, R)
        return self.config.saturation_penalty * saturated


@dataclass(frozen=True, kw_only=True)
class RealFitnessConfig:
    """Settings of :class:`RealFitness`.

    Attributes:
        num_rollouts: R, number of episodes per controller. The episodes have the same seeds for all
            controllers.
        agent_steps: maximum number of agent steps of an episode; the task's limit if None.
        num_envs: number of environments that run in parallel. Scores depend on this number, because
            it is also the batch size of the models, which affects rounding. Scores do not depend on
            the number of worker processes.
    """

    num_rollouts: int = 4
    agent_steps: int | None = None
    num_envs: int = 16

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("num_rollouts", "num_envs"):
            check_int(name, getattr(self, name), at_least=1)
        if self.agent_steps is not None:
            check_int("agent_steps", self.agent_steps, at_least=1)


class RealFitness:
    """Fitness of controllers in the real game, which runs in worker processes.

    Call :meth:`close` to end the worker processes, or use the object as a context manager.

    Args:
        world_model: world model that computes the controllers' observations from frames.
        config: settings.
        hidden_dims: widths of the controllers' hidden layers.
        readout: see :attr:`~wmrl.agents.controller.ControllerConfig.readout`.
        base: Gymnasium id of the game; None for the game of the world model's task.
        workers: number of worker processes; 0 to run the games in this process, None for one worker
            per core. Scores do not depend on this number.
    """

    def __init__(
        self,
        world_model: WorldModel,
        config: RealFitnessConfig | None = None,
        *,
        hidden_dims: tuple[int, ...] = (),
        readout: Readout = "argmax",
        base: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.world_model, self.config, self._base = world_model, config or RealFitnessConfig(), base
        self.controller = _controller(world_model, hidden_dims, readout)
        self._env = LatentVectorEnv.from_world_model(
            world_model,
            self.config.num_envs,
            base=base,
            max_episode_steps=self.config.agent_steps,
            workers=workers,
            autoreset_mode=AutoresetMode.DISABLED,
        )

    def describe(self) -> dict[str, Any]:
        """Implements :meth:`Fitness.describe`."""
        return {
            "class": "RealFitness",
            "config": asdict(self.config),
            "controller": asdict(self.controller),
            "base": self._base or self.world_model.task.env_id,
            "frame_skip": self.world_model.frame_skip,
            "vision": self.world_model.vision.digest,
            "memory": self.world_model.memory.digest
            if self.world_model.memory is not None
            else None,
        }

    def __call__(self, parameters: np.ndarray, seed: int) -> np.ndarray:
        """Implements :meth:`Fitness.__call__`.

        The scores are the returns of the episodes.
        """
        return self.rollouts(parameters, seed).scores

    @torch.inference_mode()
    def rollouts(self, parameters: np.ndarray, seed: int) -> Rollouts:
        """Implements :meth:`Fitness.rollouts`."""
        rollouts = self.config.num_rollouts
        weights = torch.from_numpy(check_reals("parameters", parameters))
        seeds = [training_seed(seed, "real", rollout) for rollout in range(rollouts)]

        def act(observations: np.ndarray, episodes: np.ndarray, starts: np.ndarray) -> np.ndarray:
            chosen = weights[torch.from_numpy(episodes // rollouts)]  # (environments, N)
            inputs = torch.from_numpy(observations)[:, None]
            return batched_actions(chosen, inputs, config=self.controller)[:, 0].numpy()

        found = run_episodes(self._env, act, seeds * len(weights))
        shape = (len(weights), rollouts)
        return Rollouts(
            found.returns.reshape(shape),
            found.actions.reshape(*shape, -1),
            found.magnitudes.reshape(*shape, -1),
        )

    def close(self) -> None:
        """Ends the worker processes."""
        self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _controller(
    world_model: WorldModel, hidden_dims: tuple[int, ...], readout: Readout
) -> ControllerConfig:
    """Creates a controller configuration that matches the spaces of a world model."""
    return ControllerConfig.for_spaces(
        world_model.observation_space,
        world_model.action_space,
        hidden_dims=hidden_dims,
        readout=readout,
    )
