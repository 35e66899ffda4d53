"""Adapter from Gymnasium's vector environments to the ``VecEnv`` of Stable-Baselines3."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from wmrl.core.action_spec import ActionSpec
from wmrl.core.validation import check_seed
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.tasks.task import completed_slots

Indices = int | Sequence[int] | None
Observations = Any
"""Observations of N sub-environments: an array ``(N, …)``, or a dictionary of such arrays."""

_OBSERVATIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_NEVER = np.iinfo(np.int64).max


class SB3VecEnv(VecEnv):  # type: ignore[misc]  # SB3 is not type-checked here
    """Adapter from a Gymnasium vector environment to the ``VecEnv`` of Stable-Baselines3.

    When the episode of a sub-environment ends, the info of the sub-environment contains
    ``terminal_observation``, ``TimeLimit.truncated`` and the entries of Gymnasium's final info.
    This info also contains ``episode``, as with a ``VecMonitor``: the return ``r``, the length
    ``l`` in steps, and the seconds ``t`` since the adapter was created. The infos of all other
    sub-environments are empty.

    An episode that reached its goal counts as truncated, so that the value of its last observation
    is bootstrapped. Observations do not show that the goal is near. If such an episode counted as
    terminated, the states before the goal would get the low values of states before a failure.

    Wrappers of Stable-Baselines3 can be put around the adapter. Even inside a ``VecNormalize``, the
    ``episode`` entries contain the return of the rewards before normalization, as with a
    ``Monitor``. ``env_is_wrapped(Monitor)`` therefore returns True for all sub-environments, and
    ``evaluate_policy`` reports the returns before normalization.

    Args:
        env: vector environment with autoreset mode ``SAME_STEP``.
        completed_key: key of the flag in the final info that is True if the goal was reached. If
            None, the ``completed_key`` of the environment's task is used, if there is one.

    Attributes:
        env: the vector environment, with N sub-environments.
        terminated: ``(N,) bool``, True where an episode was terminated in the last step.
        truncated: ``(N,) bool``, True where an episode was truncated in the last step.
        final_observations: final observations of the K episodes that ended in the last step, in
            the order of their sub-environments: an array ``(K, …)``, or a dictionary of such
            arrays. If no episode ended in the last step, the value of an earlier step remains.
        episodes: ``episode`` entries of the episodes that ended in the last step, in the order of
            their sub-environments.
        whole_episodes: entries of ``episodes``, without the episodes that were truncated because of
            :meth:`cut_first_episodes`.

    Raises:
        ValueError: the environment's autoreset mode is not ``SAME_STEP``, or Stable-Baselines3 does
            not support the environment's observation space.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, completed_key: str | None = None) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"env: expected autoreset mode {AutoresetMode.SAME_STEP}, got {mode}; create the "
                "environment with autoreset_mode=AutoresetMode.SAME_STEP"
            )
        space = env.single_observation_space
        parts = list(space.values()) if isinstance(space, spaces.Dict) else [space]
        if not all(isinstance(part, _OBSERVATIONS) for part in parts):
            raise ValueError(
                "env: expected an observation space that is a Box, a MultiDiscrete, a Discrete, a "
                f"MultiBinary or a Dict of them, got {space}"
            )
        self.env = env
        world_model = getattr(env, "world_model", None)
        self._completed_key = completed_key or (
            world_model.task.completed_key if world_model else None
        )
        self._actions_of_env = _action_spec(env.single_action_space)
        offered = env.single_action_space
        if self._actions_of_env is not None and any(self._actions_of_env.start):
            offered = self._actions_of_env.from_zero.space
        super().__init__(env.num_envs, space, offered)
        self.terminated = np.zeros(self.num_envs, bool)
        self.truncated = np.zeros(self.num_envs, bool)
        self.final_observations = _stacked(space, [])
        self.episodes: list[dict[str, float]] = []
        self.whole_episodes: list[dict[str, float]] = []
        self._final_info: dict[str, Any] = {}
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._cuts = np.full(self.num_envs, _NEVER)
        self._pending_cuts = self._cuts.copy()
        self._next_seed: int | None = None
        self._actions: np.ndarray | None = None
        self._started = time.perf_counter()

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Sets the seed of the next :meth:`reset`, and returns the seed of each sub-environment.

        Args:
            seed: seed of the first sub-environment. Each further sub-environment has the next
                integer as its seed. With None, the next reset does not seed the random generators
                again, and the returned seeds are None.
        """
        self._next_seed = seed = None if seed is None else check_seed("seed", seed)
        return [None if seed is None else seed + slot for slot in range(self.num_envs)]

    def reset(self) -> Observations:
        """Resets all sub-environments, each with its own options, and returns their observations.

        Returns:
            An array ``(N, …)``, or a dictionary of such arrays.

        Raises:
            ValueError: ``set_options`` was called with a list that does not have length N.
        """
        observations = self._reset_all()
        self._next_seed = None
        self._reset_options()
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._cuts, self._pending_cuts = self._pending_cuts, np.full(self.num_envs, _NEVER)
        return _copied(observations)

    def _reset_all(self) -> Observations:
        options = self._options
        if len(options) != self.num_envs:
            raise ValueError(
                f"options: expected {self.num_envs} dictionaries, one for each sub-environment, "
                f"got {len(options)}"
            )
        # set_options copies a single dictionary for all as N references to one copy.
        if not any(options) or all(one is options[0] for one in options):
            observations, _ = self.env.reset(seed=self._next_seed, options=options[0] or None)
            return observations
        if getattr(self.env, "options_per_env", False):
            observations, _ = self.env.reset(seed=self._next_seed, options=options)
            return observations
        # Gymnasium's vector environments share their options among all that they reset.
        observations, _ = self.env.reset(seed=self._next_seed)
        seeds: Any = self.seed(self._next_seed)
        for slot, one in enumerate(options):
            if one:
                mask = np.arange(self.num_envs) == slot
                observations, _ = self.env.reset(seed=seeds, options={**one, "reset_mask": mask})
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Stores the actions, one per sub-environment, until :meth:`step_wait` takes the step."""
        self._actions = actions

    def step_wait(self) -> tuple[Observations, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Steps all sub-environments and returns observations, rewards, dones and infos."""
        observations, rewards, dones = self.step_arrays(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row, slot in enumerate(np.flatnonzero(dones)):
            infos[slot] = {
                key: values[slot]
                for key, values in self._final_info.items()
                if not key.startswith("_")
            } | {
                "terminal_observation": _row(self.final_observations, row),
                "TimeLimit.truncated": bool(self.truncated[slot] and not self.terminated[slot]),
                "episode": self.episodes[row],
            }
        return observations, rewards, dones, infos

    def step_arrays(self, actions: Any) -> tuple[Observations, np.ndarray, np.ndarray]:
        """Steps all sub-environments without creating info dictionaries.

        The attributes of this adapter describe the episodes that ended in this step.

        Args:
            actions: batch of N actions, one per sub-environment.

        Returns:
            Observations ``(N, …)``, rewards ``(N,) float32`` and dones ``(N,) bool``.

        Raises:
            FloatingPointError: an observation or a reward of the environment is not finite.
        """
        if self._actions_of_env is not None:
            actions = self._actions_of_env.shift(actions)
            if self._actions_of_env.kind == "multi_binary":  # SB3 has bits of float32
                actions = np.asarray(actions).astype(self._actions_of_env.dtype, copy=False)
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        _check_finite("rewards", rewards)
        for part in observations.values() if isinstance(observations, dict) else [observations]:
            _check_finite("observations", part)
        final_info = info.get("final_info", {})
        completed = terminated & completed_slots(final_info, self._completed_key, self.num_envs)
        self.terminated, self.truncated = terminated & ~completed, truncated | completed
        dones = self.terminated | self.truncated
        observations = _copied(observations)  # the environment may reuse its array
        self._returns += rewards
        self._lengths += 1
        self.episodes, self.whole_episodes = [], []
        cut = (self._lengths >= self._cuts) & ~dones
        if dones.any() or cut.any():
            final = [
                info["final_obs"][slot] if dones[slot] else _row(observations, slot)
                for slot in np.flatnonzero(dones | cut).tolist()
            ]
            self.final_observations = _stacked(self.observation_space, final)
            if cut.any():
                observations = self._cut(cut, observations)
                dones = dones | cut
            self._final_info = final_info
            self._cuts[dones] = _NEVER
            seconds = time.perf_counter() - self._started
            self.episodes = [
                {"r": float(total), "l": int(length), "t": seconds}
                for total, length in zip(self._returns[dones], self._lengths[dones], strict=True)
            ]
            whole = ~cut[dones]
            self.whole_episodes = [e for e, keep in zip(self.episodes, whole, strict=True) if keep]
            self._returns[dones] = 0.0
            self._lengths[dones] = 0
        return observations, np.array(rewards, np.float32), dones

    def cut_first_episodes(self, lengths: np.ndarray) -> None:
        """Limits the length of the first episodes after the next :meth:`reset`.

        If the limits differ between sub-environments, the episodes do not all end in the same step.
        A rollout then contains both early and late steps of episodes.

        Args:
            lengths: ``(N,) int``, maximum number of steps of each sub-environment's first episode,
                at least 1.
        """
        self._pending_cuts = np.array(lengths, np.int64)

    def _cut(self, slots: np.ndarray, observations: Observations) -> Observations:
        """Truncates the episodes of some sub-environments, and begins their next episodes.

        Args:
            slots: ``(N,) bool``, True for the sub-environments whose episode is truncated.
            observations: observations ``(N, …)`` of all sub-environments, changed in place.

        Returns:
            The changed observations. Where ``slots`` is True, they are the first observations of
            the next episodes.
        """
        self.truncated = self.truncated | slots
        fresh, _ = self.env.reset(options={"reset_mask": slots})
        if isinstance(observations, dict):
            for name, value in observations.items():
                value[slots] = fresh[name][slots]
        else:
            observations[slots] = fresh[slots]
        return observations

    @property
    def can_be_cloned(self) -> bool:
        """True if the environment is a :class:`~wmrl.envs.DreamVectorEnv`.

        An instance of a subclass counts only if the class that defines ``reset`` and ``step`` also
        defines ``clone_state`` and ``restore_state``. Otherwise the subclass may have a state of
        its own that the inherited methods do not know.
        """
        if not isinstance(self.env, DreamVectorEnv):
            return False
        classes = type(self.env).__mro__
        names = ("reset", "step", "clone_state", "restore_state")
        owners = {next(each for each in classes if name in vars(each)) for name in names}
        return len(owners) == 1

    def clone_state(self) -> dict[str, torch.Tensor]:
        """Returns copies of all that the coming steps depend on, except for the actions.

        Possible if :attr:`can_be_cloned` is True.
        """
        env: Any = self.env
        own = {"returns": self._returns, "lengths": self._lengths, "cuts": self._cuts}
        return {f"env.{name}": tensor for name, tensor in env.clone_state().items()} | {
            name: torch.tensor(values) for name, values in own.items()
        }

    def restore_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continues from a result of :meth:`clone_state`.

        Raises:
            KeyError, ValueError: the tensors are not those of an environment of this kind.
        """
        env: Any = self.env
        env.restore_state(
            {
                name.removeprefix("env."): tensor
                for name, tensor in state.items()
                if name.startswith("env.")
            }
        )
        self._returns, self._lengths, self._cuts = (
            state[name].numpy(force=True).copy() for name in ("returns", "lengths", "cuts")
        )

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Returns an attribute of the vector environment, in a list.

        All sub-environments share the attribute. The list repeats the attribute once for each
        requested sub-environment.
        """
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets an attribute of the vector environment, which all sub-environments share."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Raises an error, because the sub-environments have no methods of their own.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"env_method({method_name!r}): the sub-environments of {type(self.env).__name__} have "
            "no methods of their own; call a method of the whole vector environment, which is the "
            "attribute env of this adapter"
        )

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Returns a list of True for ``Monitor``, or a list of False for any other wrapper class.

        The list has one entry for each requested sub-environment. The adapter counts as a
        ``Monitor`` because the adapter adds the same ``episode`` entries to the infos.
        """
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Returns a list with one image per sub-environment.

        If the environment does not render, the list contains None in place of each image.
        """
        frames: Any = self.env.render()
        return list(frames) if frames is not None else [None] * self.num_envs


def _action_spec(space: spaces.Space[Any]) -> ActionSpec | None:
    """Returns the ``ActionSpec`` of an action space, or None if the space is not supported."""
    try:
        return ActionSpec.of(space)
    except ValueError:
        return None


def _check_finite(name: str, values: Any) -> None:
    """Checks that the numbers that an environment returned are finite.

    If the sum of the numbers is finite, all numbers are finite. The numbers are checked one by one
    only if the sum is not finite. The sum is much faster to compute than ``np.isfinite`` of all
    numbers, because the sum needs no array of flags.

    Raises:
        FloatingPointError: a number is not finite.
    """
    values = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        index = tuple(map(int, bad[0]))
        raise FloatingPointError(
            f"{name}: expected finite numbers from the environment, got {values[index]} in "
            f"sub-environment {index[0]}; check the game or the memory model"
        )


def _copied(observations: Observations) -> Observations:
    if isinstance(observations, dict):
        return {name: np.array(value) for name, value in observations.items()}
    return np.array(observations)


def _row(observations: Observations, index: int) -> Any:
    """Returns a copy of the observation at ``index`` in a batch of observations."""
    if isinstance(observations, dict):
        return {name: np.array(value[index]) for name, value in observations.items()}
    return np.array(observations[index])


def _stacked(space: spaces.Space[Any], observations: Sequence[Any]) -> Any:
    """Stacks K observations into an array ``(K, …)``, or into a dictionary of such arrays."""
    if isinstance(space, spaces.Dict):
        return {
            name: _stacked(part, [observation[name] for observation in observations])
            for name, part in space.items()
        }
    batch = np.zeros((len(observations), *(space.shape or ())), space.dtype)
    for row, observation in enumerate(observations):
        batch[row] = observation
    return batch


def dream_vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any] = "vsg/CarRacingDream-v0",
    num_envs: int = 64,
    **kwargs: Any,
) -> SB3VecEnv:
    """Creates a ``VecEnv`` of dreams for Stable-Baselines3.

    Args:
        id_or_env: id of an environment, or a vector environment with autoreset mode
            ``SAME_STEP``.
        num_envs: number of dreams, which are stepped as one batch; ignored if an environment is
            given.
        kwargs: keyword arguments to create the environment, such as ``temperature``; allowed only
            with an id. With ``observation="codes"``, the observations are dictionaries, for
            policies such as ``"MultiInputPolicy"``.

    Raises:
        ValueError: keyword arguments are given together with an environment, or the autoreset mode
            of the environment is not ``SAME_STEP``.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from wmrl.agents import dream_vec_env
        >>> dreams = dream_vec_env("vsg/CarRacingDream-v0", num_envs=4, device="cpu")
        >>> model = PPO("MlpPolicy", dreams, n_steps=8, batch_size=32, n_epochs=1)
        >>> model.learn(total_timesteps=32).num_timesteps
        32
    """
    return _vec_env(id_or_env, num_envs, kwargs)


def latent_vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any] = "vsg/CarRacingLatent-v0",
    num_envs: int = 16,
    **kwargs: Any,
) -> SB3VecEnv:
    """Creates a ``VecEnv`` of real games that are observed through a world model.

    Args:
        id_or_env: id of an environment, or a vector environment with autoreset mode
            ``SAME_STEP``.
        num_envs: number of games; ignored if an environment is given.
        kwargs: keyword arguments to create the environment; allowed only with an id.

    Raises:
        ValueError: keyword arguments are given together with an environment, or the autoreset mode
            of the environment is not ``SAME_STEP``.
    """
    return _vec_env(id_or_env, num_envs, kwargs)


def _vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any], num_envs: int, kwargs: dict[str, Any]
) -> SB3VecEnv:
    if not isinstance(id_or_env, str):
        if kwargs:
            raise ValueError(
                f"kwargs: expected none for an existing environment, got {sorted(kwargs)}; pass "
                "them when the environment is created"
            )
        return SB3VecEnv(id_or_env)
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    return SB3VecEnv(
        gym.make_vec(
            id_or_env,
            num_envs=num_envs,
            vectorization_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
            **mode | kwargs,
        )
    )
