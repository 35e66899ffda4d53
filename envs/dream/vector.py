"""Vector environment of dreams, which a memory model simulates as one batch."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from wmrl.core.processes import follow_parent
from wmrl.core.seeding import torch_generator
from wmrl.core.validation import check_flag, check_float, check_int, check_shape
from wmrl.dream import DreamState, dream_observation, dream_step
from wmrl.envs.autoreset import (
    ResetOptions,
    final_observations,
    joint_seed,
    options_of_each,
    reset_mask,
    step_limit,
)
from wmrl.envs.dream.starts import StartSelector
from wmrl.envs.observations import ObservationFormat, ObservationName
from wmrl.envs.rendering.window import check_render_mode, enlarge
from wmrl.envs.specs import SpecNamesModels
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import Memory
from wmrl.storage.artifact import ArtifactError
from wmrl.vision.base import Vision


class DreamVectorEnv(SpecNamesModels, VectorEnv[Any, np.ndarray, np.ndarray]):
    """Vector environment of N dreams, which are stepped as one batch.

    ## Description
    The vector version of :class:`~wmrl.envs.dream.env.DreamEnv`. One call of the memory model
    predicts the next step of all dreams.

    ## Action Space
    The task's action space, batched: ``Box(N, A)`` float32 for continuous actions.

    ## Observation Space
    ``Box(N, Z + H)`` float32: for each dream, the latent and the memory's hidden state. The
    argument ``observation`` selects another format.

    ## Rewards
    ``(N,) float64``: for each dream, the memory's prediction of the task's reward for one agent
    step.

    ## Starting State
    As in :class:`~wmrl.envs.dream.env.DreamEnv`. All dreams share one random stream, so
    ``reset(seed=...)`` takes a single seed; a sequence of N seeds is hashed to one. Options of
    ``reset``:

    - ``"reset_mask"``: ``(N,) bool``, True for the dreams to reset; all dreams by default.
    - ``"start"``: index of a start state for all dreams that are reset, or one index for each.
    - ``"state"``: a :class:`~wmrl.dream.DreamState` with one entry for each dream that is reset;
      each of these dreams continues from its entry.
    - ``"frames"`` and ``"actions"``: ``(K, T + 1, H, W, C) uint8`` and ``(K, T, …)``, recorded
      frames, and the actions between them, for each of the K dreams that are reset.

    A sequence of N dictionaries gives each dream its own options. In each of these dictionaries,
    ``"start"`` is one index, ``"state"`` is a state of batch size 1, and ``"frames"`` and
    ``"actions"`` have no axis for dreams; T may differ.

    Options hold for one reset. A dream that restarts by itself (see ``autoreset_mode``) starts from
    one of the memory's start states, drawn at random.

    ## Episode End
    As in :class:`~wmrl.envs.dream.env.DreamEnv`. With ``AutoresetMode.DISABLED``, a dream that has
    ended keeps its observation and its flags (terminated, truncated), with reward 0, until it is
    reset.

    ## Arguments
    - ``num_envs``: number N of dreams.
    - ``autoreset_mode``: a member of ``gymnasium.vector.AutoresetMode``, or its value.
    - ``render_mode``: ``"rgb_array"`` or None.
    - All other arguments: as in :class:`~wmrl.envs.dream.env.DreamEnv`.

    ## Version History
    - v0: first version.

    Raises:
        ArtifactError: an artifact is missing or damaged, the models and the task do not fit
            together, or the memory has no start states.
        ValueError: an argument is invalid.

    Example:
        >>> from wmrl.envs import DreamVectorEnv
        >>> env = DreamVectorEnv(4, temperature=1.15, max_episode_steps=250, device="cpu")
        >>> observations, info = env.reset(seed=0)
        >>> observations.shape
        (4, 288)
        >>> observations, rewards, *_ = env.step(env.action_space.sample())
        >>> rewards.shape
        (4,)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- Gymnasium's own attribute
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    options_per_env = True  # ``reset`` takes a sequence of options

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
        observation: ObservationName = "embeddings",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        follow_parent()
        self.render_mode = check_render_mode(render_mode, self.metadata)
        self.num_envs = num_envs = check_int("num_envs", num_envs, at_least=1)
        self._temperature = check_float("temperature", temperature, above=0)
        self.world_model = WorldModel.open(task, vision, memory, device=device)
        self._memory = _dreaming_memory(self.world_model)
        self._starts = StartSelector(self.world_model, self._memory)
        self._dropout = check_flag("dropout", dropout)
        self._limit = step_limit(max_episode_steps)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self._mode,
            "render_fps": self.world_model.fps,
        }
        self._format = ObservationFormat(self.world_model, observation)
        self.single_observation_space = self._format.space
        self.single_action_space = self.world_model.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._state: DreamState | None = None
        self._generator: torch.Generator | None = None

    @classmethod
    def from_world_model(cls, world_model: WorldModel, num_envs: int = 1, **options: Any) -> Self:
        """Creates an environment from a world model that is already open.

        Args:
            world_model: task, vision model and memory model.
            num_envs: number N of dreams.
            **options: other arguments of the constructor.

        Raises:
            ValueError: the world model has no memory, or an argument is invalid.
            ArtifactError: the memory has no start states.
        """
        return cls(
            num_envs,
            task=world_model.task,
            vision=world_model.vision,
            memory=_dreaming_memory(world_model),
            **options,
        )

    @property
    def state(self) -> DreamState:
        """Current states of the N dreams.

        Raises:
            ResetNeeded: the environment has not been reset.
        """
        if self._state is None:
            raise ResetNeeded("state: no dream is running; call reset() first")
        return self._state

    @torch.inference_mode()
    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: ResetOptions = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Starts all dreams, or only the dreams that ``options["reset_mask"]`` selects."""
        mask = reset_mask(options, self.num_envs)
        each = options_of_each(options, self.num_envs)
        self._reseed(seed)
        if each is not None:
            self._state = self._starts.select_each(each, self._random)
            self._steps[:] = 0
        else:
            assert options is None or isinstance(options, dict)
            if mask.all():
                self._state = self._starts.select(self.num_envs, options or {}, self._random)
                self._steps[:] = 0
            else:
                self._restart(mask, options or {})
        self._terminated[mask] = self._truncated[mask] = False
        observations = dream_observation(self._memory, self.state).cpu().numpy()
        return self._format.format_batch(observations), {}

    @torch.inference_mode()
    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advances every dream by one agent step."""
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
            infos["final_obs"] = final_observations(
                self._format.format_each(observations[ended]), ended
            )
            infos["final_info"] = {}
            infos["_final_obs"] = infos["_final_info"] = ended
            observations[ended] = self._restart(ended, {})
        else:
            self._terminated, self._truncated = terminated.copy(), truncated.copy()
        return self._format.format_batch(observations), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns an enlarged image of each dream's decoded latent; None without a render mode."""
        if self.render_mode is None:
            return None
        frames = self.world_model.vision.decode_numpy(self.state.latent.cpu().numpy())
        return tuple(enlarge(frame) for frame in frames)

    def clone_state(self) -> dict[str, torch.Tensor]:
        """Returns copies of all that the coming steps depend on, except for the actions.

        This includes the state of the random generator, so that an environment with the same
        arguments that takes the result in :meth:`restore_state` goes on with the same bits.

        Raises:
            ResetNeeded: the environment has not been reset.
        """
        state = self.state
        memory = {f"memory.{index}": tensor.clone() for index, tensor in enumerate(state.memory)}
        return {
            "latent": state.latent.clone(),
            **memory,
            "steps": torch.tensor(self._steps),
            "terminated": torch.tensor(self._terminated),
            "truncated": torch.tensor(self._truncated),
            "generator": self._random.get_state(),
        }

    def restore_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continues from a result of :meth:`clone_state`.

        On the same kind of device, the environment goes on with the same bits. On another kind of
        device, the random generator is seeded from its state in ``state``, because generators of
        different devices draw different numbers.

        Args:
            state: result of :meth:`clone_state` of an environment with the same arguments. The
                tensors may be on any device.

        Raises:
            ValueError: a tensor is missing, has another shape or dtype, or contains a number that
                is not finite.
        """
        device, count = self.world_model.device, self.num_envs
        blank = {
            "latent": torch.zeros(count, self._memory.latent_dim),
            **{f"memory.{i}": each for i, each in enumerate(self._memory.initial_state(count))},
            "steps": torch.tensor(self._steps),
            "terminated": torch.tensor(self._terminated),
            "truncated": torch.tensor(self._truncated),
        }
        if missing := sorted(({*blank, "generator"}) - state.keys()):
            raise ValueError(
                f"state: expected tensors with the names that clone_state returns, got none named "
                f"{', '.join(missing)}; give a result of clone_state"
            )
        for name, tensor in blank.items():
            check_shape(f"state[{name!r}]", state[name], tuple(tensor.shape))
            if state[name].dtype != tensor.dtype or not bool(torch.isfinite(state[name]).all()):
                raise ValueError(
                    f"state[{name!r}]: expected finite numbers of {tensor.dtype}, got "
                    f"{state[name].dtype}, or NaN or infinity; give a result of clone_state"
                )
        generator = torch.Generator(device=device)
        _restore_generator(generator, state["generator"])
        memory = tuple(
            state[name].to(device, copy=True) for name in blank if name.startswith("memory.")
        )
        self._state = DreamState(state["latent"].to(device, copy=True), memory)
        self._steps = state["steps"].numpy(force=True).copy()
        self._terminated = state["terminated"].numpy(force=True).copy()
        self._truncated = state["truncated"].numpy(force=True).copy()
        self._generator = generator

    def _reseed(self, seed: int | Sequence[int | None] | None) -> None:
        seed = joint_seed(seed, self.num_envs)
        super().reset(seed=seed)
        if seed is not None or self._generator is None:
            root = int(self.np_random.integers(2**62))
            self._generator = torch_generator(root, "dream", device=self.world_model.device)

    @property
    def _random(self) -> torch.Generator:
        """Source of all randomness, which the first reset creates."""
        assert self._generator is not None
        return self._generator

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Advances all dreams by one step; returns observations, rewards and terminations.

        All results are copied to the CPU in a single transfer, so that the CPU waits only once for
        the GPU.
        """
        checked = self.world_model.check_actions(actions, (self.num_envs,))
        encoded = self.world_model.task.actions.encode(checked)
        a = torch.from_numpy(encoded).to(self.world_model.device)
        self._state, reward, terminated = dream_step(
            self._memory,
            self.state,
            a,
            temperature=self._temperature,
            dropout=self._dropout,
            generator=self._random,
        )
        seen = dream_observation(self._memory, self._state)
        flat = torch.cat((seen.flatten(), reward, terminated)).cpu().numpy()
        n, size = seen.shape
        observations = flat[: n * size].reshape(n, size)
        return observations, flat[n * size : -n].astype(np.float64), flat[-n:] > 0

    def _restart(self, mask: np.ndarray, options: dict[str, Any]) -> np.ndarray:
        """Restarts the K dreams that ``mask`` selects, according to the options of ``reset``.

        Returns:
            The first observations ``(K, O) float32`` of the K dreams, where O is the length of an
            observation.
        """
        index = torch.from_numpy(np.flatnonzero(mask)).to(self.world_model.device)
        start = self._starts.select(len(index), options, self._random)
        observations = self._replace(index, start)
        self._steps[mask] = 0
        return observations

    def _hold(self, mask: np.ndarray, before: DreamState) -> np.ndarray:
        """Restores earlier states of the K dreams that ``mask`` selects.

        Args:
            mask: ``(N,) bool``, True for the dreams to restore.
            before: earlier states of all N dreams.

        Returns:
            The observations ``(K, O) float32`` of the K dreams, where O is the length of an
            observation.
        """
        index = torch.from_numpy(np.flatnonzero(mask)).to(self.world_model.device)
        memory = tuple(tensor[index] for tensor in before.memory)
        return self._replace(index, DreamState(before.latent[index], memory))

    def _replace(self, index: torch.Tensor, states: DreamState) -> np.ndarray:
        """Replaces the states of K of the N dreams, and returns the observations of the K dreams.

        Args:
            index: ``(K,) int64``, indices of the K dreams.
            states: new states of the K dreams, in the order of ``index``.
        """
        now = self.state
        self._state = DreamState(
            now.latent.index_copy(0, index, states.latent),
            tuple(
                old.index_copy(0, index, new)
                for old, new in zip(now.memory, states.memory, strict=True)
            ),
        )
        return dream_observation(self._memory, states).cpu().numpy()


def _restore_generator(generator: torch.Generator, state: torch.Tensor) -> None:
    """Sets the state of a generator.

    If the state is that of a generator on another kind of device, the generator is seeded with a
    hash of the state.

    Raises:
        ValueError: the state is damaged.
    """
    if state.dtype != torch.uint8 or state.ndim != 1:
        raise ValueError(
            f"state['generator']: expected a vector of torch.uint8, got shape "
            f"{tuple(state.shape)} and {state.dtype}; give a result of clone_state"
        )
    if len(state) != len(generator.get_state()):
        digest = hashlib.sha256(state.numpy(force=True).tobytes()).digest()
        generator.manual_seed(int.from_bytes(digest[:7], "little"))
        return
    try:
        generator.set_state(state.cpu())
    except RuntimeError as error:
        raise ValueError(f"state['generator']: {error}; give a result of clone_state") from error


def _dreaming_memory(world_model: WorldModel) -> Memory[Any]:
    """Checks that a world model has a memory with start states, and returns this memory."""
    if world_model.memory is None:
        raise ValueError(
            "memory: expected a memory to dream with, got None; give 'auto', or the name or path "
            "of a memory model"
        )
    if world_model.memory.num_start_states == 0:
        raise ArtifactError(
            "memory: expected a memory with start states, got one without them; "
            "train the memory with 'wmrl train-memory', or call its method set_start_states"
        )
    return world_model.memory
