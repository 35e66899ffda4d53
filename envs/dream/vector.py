"""Dreams: games that a memory makes up, as one batched environment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.core.seeding import torch_generator
from wmrl.dream import DreamState, dream_observation, dream_start, dream_step
from wmrl.envs.autoreset import final_observations, joint_seed, reset_mask, step_limit
from wmrl.envs.observations import View, ViewName
from wmrl.envs.rendering.window import checked_render_mode, enlarge
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.base import Memory
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import Vision


class DreamVectorEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """N dreams, stepped as one batch.

    ## Description
    What :class:`~wmrl.envs.dream.env.DreamEnv` is, N times: all dreams go through the memory
    together, and NumPy arrays cross the boundary once a step.

    ## Action Space
    ``Box(N, A)`` float32, N actions of the task.

    ## Observation Space
    ``Box(N, Z + H)`` float32, the same as in the latent environment: latents and the memory's
    hidden state.

    ## Rewards
    What the memory predicts, in the task's own units, for one decision.

    ## Starting State
    A row of the real, encoded sequences that the memory's artifact keeps, drawn at random; h is
    filled by the sequence's recorded actions. ``reset(seed=...)`` takes one seed for the batch, or
    N seeds that are hashed together: the dreams share one stream of noise. Options: ``"start"``, an
    index or N indices of kept sequences; ``"state"``, a :class:`~wmrl.dream.DreamState` of N rows
    to go on from; ``"reset_mask"``, ``(N,) bool``, the rows to reset.

    ## Episode End
    Terminated when the memory says so, truncated after ``max_episode_steps`` decisions. With
    ``autoreset_mode`` DISABLED a dream that is over idles until a reset names it.

    ## Arguments
    - ``num_envs``: N.
    - ``autoreset_mode``: one of Gymnasium's three.
    - The others are those of :class:`~wmrl.envs.dream.env.DreamEnv`.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        task: Task | str = "car-racing",
        vision: Vision | str | Path = "car-racing-vae",
        memory: Memory[Any] | str | Path = "auto",
        temperature: float = 1.0,
        dropout: bool = False,
        max_episode_steps: int | None = None,
        observation: ViewName = "embeddings",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        self.render_mode = checked_render_mode(render_mode, self.metadata)
        if num_envs < 1:
            raise ValueError(f"num_envs: expected at least 1, got {num_envs}")
        if not temperature > 0:
            raise ValueError(f"temperature: expected more than 0, got {temperature}")
        self.num_envs = num_envs
        self.eye = Eye.open(task, vision, memory, device=device)
        self._memory = _with_starts(self.eye)
        self._temperature = temperature
        self._dropout = dropout
        self._limit = step_limit(max_episode_steps)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self._mode,
            "render_fps": self.eye.fps,
        }
        self._view = View(self.eye, observation)
        self.single_observation_space = self._view.space
        self.single_action_space = self.eye.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._state: DreamState | None = None
        self._generator: torch.Generator | None = None

    @property
    def state(self) -> DreamState:
        """The dreams' states, N rows.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self._state is None:
            raise ResetNeeded("the dream has not started; call reset() first")
        return self._state

    @torch.inference_mode()
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Starts all dreams, or those of ``options["reset_mask"]``."""
        options = options or {}
        mask = reset_mask(options, self.num_envs)
        self._reseed(seed)
        if mask.all():
            self._state = self._start(self.num_envs, options)
            self._steps[:] = 0
        else:
            self._restart(mask, options)
        self._terminated[mask] = self._truncated[mask] = False
        observations = dream_observation(self._memory, self.state).cpu().numpy()
        return self._view.many(observations), {}

    @torch.inference_mode()
    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One decision in every dream."""
        before = self.state
        observations, rewards, terminated = self._advance(actions)
        self._steps += 1
        truncated = (self._steps >= self._limit) & ~terminated
        over = self._terminated | self._truncated  # ended in an earlier step
        if over.any():
            rewards[over] = 0.0
            if self._mode is AutoresetMode.NEXT_STEP:
                observations[over] = self._restart(over, {})
                terminated[over] = truncated[over] = False
            else:
                observations[over] = self._hold(over, before)
                terminated[over], truncated[over] = self._terminated[over], self._truncated[over]
        infos: dict[str, Any] = {}
        ended = terminated | truncated
        if self._mode is AutoresetMode.SAME_STEP and ended.any():
            infos["final_obs"] = final_observations(self._view.rows(observations[ended]), ended)
            infos["final_info"] = {}
            infos["_final_obs"] = infos["_final_info"] = ended
            observations[ended] = self._restart(ended, {})
        else:
            self._terminated, self._truncated = terminated.copy(), truncated.copy()
        return self._view.many(observations), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The decoded latents, enlarged: N frames, or None without a render mode."""
        if self.render_mode is None:
            return None
        frames = self.eye.vision.decode_numpy(self.state.latent.cpu().numpy())
        return tuple(enlarge(frame) for frame in frames)

    def _reseed(self, seed: int | Sequence[int | None] | None) -> None:
        seed = joint_seed(seed)
        super().reset(seed=seed)
        if seed is not None or self._generator is None:
            root = int(self.np_random.integers(2**62))
            self._generator = torch_generator(root, "dream", device=self.eye.device)

    def _start(self, count: int, options: dict[str, Any]) -> DreamState:
        """States to start ``count`` dreams in, as the options of a reset say."""
        state = options.get("state")
        if state is not None:
            return self._given_state(count, state)
        assert self._generator is not None
        if options.get("start") is None:
            return dream_start(self._memory, count=count, generator=self._generator)
        rows = np.broadcast_to(np.asarray(options["start"], dtype=np.int64), (count,))
        available = self._memory.start_count
        if rows.min() < 0 or rows.max() >= available:
            raise ValueError(
                f"options['start']: expected 0 to {available - 1}, got {rows.tolist()}"
            )
        index = torch.from_numpy(rows.copy()).to(self.eye.device)
        return dream_start(self._memory, rows=index, generator=self._generator)

    def _given_state(self, count: int, state: DreamState) -> DreamState:
        expected = (count, self._memory.latent_size)
        if tuple(state.latent.shape) != expected:
            raise ValueError(
                f"options['state']: expected latents of shape {expected}, got "
                f"{tuple(state.latent.shape)}"
            )
        device = self.eye.device
        return DreamState(
            state.latent.to(device), tuple(tensor.to(device) for tensor in state.memory)
        )

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Dreams one step on; returns observations, rewards and terminations.

        They come to the host in one transfer, which is one wait on a GPU.
        """
        assert self._generator is not None
        a = torch.from_numpy(self.eye.clip(actions, (self.num_envs,))).to(self.eye.device)
        self._state, reward, terminated = dream_step(
            self._memory,
            self.state,
            a,
            temperature=self._temperature,
            dropout=self._dropout,
            generator=self._generator,
        )
        seen = dream_observation(self._memory, self._state)
        flat = torch.cat((seen.flatten(), reward, terminated)).cpu().numpy()
        n, size = seen.shape
        observations = flat[: n * size].reshape(n, size)
        return observations, flat[n * size : -n].astype(np.float64), flat[-n:] > 0

    def _restart(self, mask: np.ndarray, options: dict[str, Any]) -> np.ndarray:
        """Starts the dreams in the mask anew; returns their observations ``(K, O) float32``."""
        index = torch.from_numpy(np.flatnonzero(mask)).to(self.eye.device)
        observations = self._replace(index, self._start(len(index), options))
        self._steps[mask] = 0
        return observations

    def _hold(self, mask: np.ndarray, before: DreamState) -> np.ndarray:
        """Keeps the dreams in the mask where they were; returns their observations."""
        index = torch.from_numpy(np.flatnonzero(mask)).to(self.eye.device)
        memory = tuple(tensor[index] for tensor in before.memory)
        return self._replace(index, DreamState(before.latent[index], memory))

    def _replace(self, index: torch.Tensor, rows: DreamState) -> np.ndarray:
        now = self.state
        self._state = DreamState(
            now.latent.index_copy(0, index, rows.latent),
            tuple(
                old.index_copy(0, index, new)
                for old, new in zip(now.memory, rows.memory, strict=True)
            ),
        )
        return dream_observation(self._memory, rows).cpu().numpy()


def _with_starts(eye: Eye) -> Memory[Any]:
    """The eye's memory, which has places to start dreams from."""
    if eye.memory is None:
        raise ValueError("memory: expected a memory to dream with, got None")
    if eye.memory.start_count == 0:
        raise ArtifactError(
            "memory: it has no sequences for dreams to start in; train it with "
            "'wmrl train-memory', or give it some with Memory.set_starts"
        )
    return eye.memory
