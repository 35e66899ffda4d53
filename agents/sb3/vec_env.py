"""SB3VecEnv: a Gymnasium vector environment, as Stable-Baselines3 wants to see it."""

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from wmrl.envs.tasks.task import completed_slots

Indices = int | Sequence[int] | None
_NEVER = np.iinfo(np.int64).max


class SB3VecEnv(VecEnv):  # type: ignore[misc]  # SB3 is not type-checked here
    """Adapts a batched environment without looping over its slots.

    As in Stable-Baselines3, ``infos`` of a slot that ended has ``terminal_observation``,
    ``TimeLimit.truncated`` and the environment's own final info; it also has ``episode`` (return
    ``r``, length ``l`` in steps, seconds since the start ``t``), so that no ``VecMonitor`` is
    needed. Infos of other slots are empty dictionaries.

    An episode that ends because its goal was reached counts as truncated here: nothing in what
    the agent sees tells that the lap is nearly over, so a value of zero after it would teach the
    agent that finishing is like dying.

    Args:
        env: the environment, which resets a slot in the step that ends it.
        completed_key: key of the final info that is true where the goal was reached; that of the
            environment's task if None.

    Attributes:
        env: the environment.
        terminated, truncated: ``(N,) bool`` of the last step, ``terminated`` where both.
        final_observations: ``(K, O)``, the last observations of the K slots that ended in the
            last step that ended any, in order of their slots.
        episodes: the K ``episode`` entries of the last step, in order of their slots.
        whole_episodes: those of them that were not cut by :meth:`cut_first_episodes`.

    Raises:
        ValueError: the environment's autoreset mode is not ``SAME_STEP``.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], *, completed_key: str | None = None) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"env: expected autoreset mode {AutoresetMode.SAME_STEP}, got {mode}; make it with "
                "autoreset_mode=AutoresetMode.SAME_STEP"
            )
        if not isinstance(env.single_observation_space, spaces.Box):
            raise ValueError(
                f"env: expected a Box of observations, got {env.single_observation_space}"
            )
        self.env = env
        eye = getattr(env, "eye", None)
        self._completed_key = completed_key or (eye.task.completed_key if eye else None)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.terminated = np.zeros(self.num_envs, bool)
        self.truncated = np.zeros(self.num_envs, bool)
        self.final_observations = np.zeros((0, *self.observation_space.shape), np.float32)
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
        """Sets the seed of the next :meth:`reset`; without one, the generators go on."""
        self._next_seed = seed
        return [None if seed is None else seed + slot for slot in range(self.num_envs)]

    def reset(self) -> np.ndarray:
        """Resets all slots; returns observations ``(N, O)``."""
        options = self._options[0] or None
        observations, _ = self.env.reset(seed=self._next_seed, options=options)
        self._next_seed = None
        self._reset_options()
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._cuts, self._pending_cuts = self._pending_cuts, np.full(self.num_envs, _NEVER)
        return np.array(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions ``(N, A)`` for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Steps all slots; returns observations, rewards, dones and infos."""
        observations, rewards, dones = self.step_arrays(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row, slot in enumerate(np.flatnonzero(dones)):
            infos[slot] = {
                key: values[slot]
                for key, values in self._final_info.items()
                if not key.startswith("_")
            } | {
                "terminal_observation": self.final_observations[row],
                "TimeLimit.truncated": bool(self.truncated[slot] and not self.terminated[slot]),
                "episode": self.episodes[row],
            }
        return observations, rewards, dones, infos

    def step_arrays(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """:meth:`step` without dictionaries: what is known of ended slots is in the attributes.

        Returns:
            Observations ``(N, O)``, rewards ``(N,) float32`` and dones ``(N,) bool``.
        """
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        final_info = info.get("final_info", {})
        completed = terminated & completed_slots(final_info, self._completed_key, self.num_envs)
        self.terminated, self.truncated = terminated & ~completed, truncated | completed
        dones = self.terminated | self.truncated
        observations = np.array(observations)  # an environment may reuse its own
        self._returns += rewards
        self._lengths += 1
        self.episodes, self.whole_episodes = [], []
        cut = (self._lengths >= self._cuts) & ~dones
        if dones.any() or cut.any():
            final = np.full((self.num_envs, *self.observation_space.shape), np.nan, np.float32)
            if dones.any():
                final[dones] = np.stack(list(np.asarray(info["final_obs"])[dones]))
            if cut.any():
                final[cut] = observations[cut]
                observations[cut] = self._cut(cut)
                dones = dones | cut
            self.final_observations = final[dones]
            self._final_info = final_info
            self._cuts[dones] = _NEVER
            seconds = time.perf_counter() - self._started
            self.episodes = [
                {"r": float(total), "l": int(length), "t": seconds}
                for total, length in zip(self._returns[dones], self._lengths[dones], strict=True)
            ]
            whole = ~cut[dones]
            self.whole_episodes = [e for e, kept in zip(self.episodes, whole, strict=True) if kept]
            self._returns[dones] = 0.0
            self._lengths[dones] = 0
        return observations, np.array(rewards, np.float32), dones

    def cut_first_episodes(self, lengths: np.ndarray) -> None:
        """Truncates each slot's next episode after so many steps, once.

        Without it, slots that are reset together come to their time limits together, and a
        rollout sees all of them at the same stage of an episode.

        Args:
            lengths: ``(N,) int``, at least 1.
        """
        self._pending_cuts = np.array(lengths, np.int64)

    def _cut(self, slots: np.ndarray) -> np.ndarray:
        """Ends the slots' episodes; returns the first observations ``(K, O)`` of the next ones."""
        self.truncated = self.truncated | slots
        fresh, _ = self.env.reset(options={"reset_mask": slots})
        first: np.ndarray = fresh[slots]
        return first

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of the batched environment, once for each slot asked for."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Sets an attribute of the batched environment (slots have none of their own)."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Not there: slots of a batched environment have no methods of their own."""
        raise AttributeError(
            f"env_method({method_name!r}): the slots of {type(self.env).__name__} have no methods "
            "of their own; call the batched environment's (.env)"
        )

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Never: slots of a batched environment are not wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Pictures of the slots, where the environment renders any."""
        frames: Any = self.env.render()
        return list(frames) if frames is not None else [None] * self.num_envs


def dream_vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any] = "vsg/CarRacingDream-v0",
    num_envs: int = 64,
    **kwargs: Any,
) -> SB3VecEnv:
    """Dreams as a ``VecEnv`` of Stable-Baselines3.

    Args:
        id_or_env: an environment's id, or a batched environment that resets in the same step.
        num_envs: how many dreams are stepped as one batch (with an id).
        kwargs: keyword arguments of the environment (with an id), such as ``temperature``.

    Raises:
        ValueError: an environment was given along with keyword arguments, or its autoreset mode
            is another.
    """
    return _vec_env(id_or_env, num_envs, kwargs)


def latent_vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any] = "vsg/CarRacingLatent-v0",
    num_envs: int = 16,
    **kwargs: Any,
) -> SB3VecEnv:
    """The real game, seen through an eye, as a ``VecEnv``; as :func:`dream_vec_env`."""
    return _vec_env(id_or_env, num_envs, kwargs)


def _vec_env(
    id_or_env: str | VectorEnv[Any, Any, Any], num_envs: int, kwargs: dict[str, Any]
) -> SB3VecEnv:
    if not isinstance(id_or_env, str):
        if kwargs:
            raise ValueError(
                f"kwargs: {sorted(kwargs)} have no effect on an environment that is already made; "
                "make it with them"
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
