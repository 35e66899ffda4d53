"""Stable-Baselines3's PPO with faster collection of rollouts."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from torch import Tensor

from wmrl.agents.sb3.global_rng import global_state, set_global_state
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.core.action_spec import ActionSpec

_ROLLOUT = "rollout."
# Other metrics of SB3 are NaN where there is nothing to average.
_TERMS = (
    "train/loss",
    "train/value_loss",
    "train/policy_gradient_loss",
    "train/entropy_loss",
    "train/approx_kl",
)


class _Capture(KVWriter):  # type: ignore[misc]
    """Log writer that stores SB3's metrics in ``values`` instead of printing them."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        own = ("time/", "train/n_updates")  # these depend on time and interruptions
        names = [name for name in key_values if not name.startswith(own)]
        self.values |= {name: float(key_values[name]) for name in names}

    def close(self) -> None:
        """Does nothing, because this writer has no file to close."""


class BatchedPPO(PPO):  # type: ignore[misc]  # SB3 is not type-checked here
    """SB3's PPO (https://arxiv.org/abs/1707.06347) with faster collection of rollouts.

    With hundreds of environments, SB3 spends most of the collection time on info dictionaries, and
    on a separate value prediction for each truncated episode. This class creates no info
    dictionaries. If several episodes are truncated in one step, this class predicts their values in
    one batch. Losses, returns and updates are those of SB3.

    Args:
        args: positional arguments of SB3's ``PPO``; the environment must be an
            :class:`~wmrl.agents.sb3.vec_env.SB3VecEnv`.
        reward_scale: factor by which rewards are multiplied.
        kwargs: keyword arguments of SB3's ``PPO``.
    """

    # Attributes of SB3, which are set when learning begins.
    _last_obs: Any
    _last_episode_starts: Any
    ep_info_buffer: Any
    ep_success_buffer: Any

    def __init__(self, *args: Any, reward_scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reward_scale = reward_scale
        self._capture = _Capture()
        self.set_logger(Logger(folder=None, output_formats=[self._capture]))

    def learn_rollout(self, *, critic_only: bool = False) -> dict[str, float]:
        """Collects one rollout and learns from it.

        Args:
            critic_only: True to train only the value network, not the policy.

        Returns:
            The metrics that SB3 logs, by name.

        Raises:
            FloatingPointError: a term of the loss, or a weight, is not finite.
        """
        self._capture.values = {}
        with self._frozen_actor() if critic_only else nullcontext():
            try:
                self.learn(self.n_steps * self.n_envs, reset_num_timesteps=False)
            except ValueError as error:
                # torch's distributions raise it for actions that are not finite.
                if bad := self._nonfinite_weight():
                    raise FloatingPointError(
                        self._divergence(f"NaN or infinity in the weights {bad!r}")
                    ) from error
                raise
        self.logger.dump(self.num_timesteps)  # SB3 dumps before the update
        logged = self._capture.values
        for name in _TERMS:
            if name in logged and not math.isfinite(logged[name]):
                raise FloatingPointError(self._divergence(f"{name} {logged[name]}"))
        return logged

    def _nonfinite_weight(self) -> str:
        """Returns the name of the first weight that is not finite, or an empty string."""
        weights: dict[str, Tensor] = self.policy.state_dict()
        bad = (name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all()))
        return next(bad, "")

    def _divergence(self, what: str) -> str:
        rate = self.lr_schedule(self._current_progress_remaining)
        return (
            f"ppo: expected finite numbers, got {what} in the update after step "
            f"{self.num_timesteps}; the last checkpoint is kept, but the same settings would fail "
            f"again: start again in another folder with a learning_rate below {rate:g}, a lower "
            "reward_scale, or rewards without outliers"
        )

    def training_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of the policy and its optimizer, for a checkpoint."""
        tensors = {f"policy.{name}": t for name, t in self.policy.state_dict().items()}
        for index, values in self.policy.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        return tensors

    def load_training_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copies the result of :meth:`training_tensors` into the policy and its optimizer."""
        self.policy.load_state_dict(_below("policy.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer.", tensors).items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = tensor.clone()  # Adam updates it in place
        groups = self.policy.optimizer.state_dict()["param_groups"]
        self.policy.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def rollout_tensors(self) -> dict[str, Tensor]:
        """Returns what the next rollout depends on, besides the :meth:`training_tensors`.

        This includes the states of the environment, which must be one that can be cloned, and of
        the global random generators. All names start with ``"rollout."``.
        """
        episodes = [[entry["r"], entry["l"], entry["t"]] for entry in self.ep_info_buffer]
        tensors = {
            "observations": torch.tensor(self._last_obs),
            "starts": torch.tensor(self._last_episode_starts),
            "episodes": torch.tensor(episodes, dtype=torch.float64).view(-1, 3),
            **{f"env.{name}": tensor for name, tensor in self.env.clone_state().items()},
            **{f"generators.{name}": tensor for name, tensor in global_state().items()},
        }
        return {f"{_ROLLOUT}{name}": tensor for name, tensor in tensors.items()}

    def load_rollout_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Continues from a result of :meth:`rollout_tensors`.

        This also sets the global random generators.
        """
        rollout = _below(_ROLLOUT, tensors)
        self.restore_env(tensors)
        self._last_obs = rollout["observations"].numpy(force=True).copy()
        self._last_episode_starts = rollout["starts"].numpy(force=True).copy()
        self.ep_info_buffer = deque(
            ({"r": r, "l": int(length), "t": t} for r, length, t in rollout["episodes"].tolist()),
            maxlen=self._stats_window_size,
        )
        self.ep_success_buffer = deque(maxlen=self._stats_window_size)
        set_global_state(_below("generators.", rollout))

    def restore_env(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores the environment's part of a result of :meth:`rollout_tensors`.

        Raises:
            KeyError, ValueError: the tensors are not those of an environment of this kind.
        """
        self.env.restore_state(_below("env.", _below(_ROLLOUT, tensors)))

    @staticmethod
    def only_rollout_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns those of the tensors of a checkpoint that :meth:`rollout_tensors` returned."""
        return {name: tensor for name, tensor in tensors.items() if name.startswith(_ROLLOUT)}

    def restart(self) -> None:
        """Clears the episode statistics, and makes the next rollout reset the environments."""
        self._last_obs = None
        self.ep_info_buffer = None

    def collect_rollouts(
        self,
        env: SB3VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Fills the buffer with ``n_rollout_steps`` steps of each environment.

        This replaces the method of SB3, and has the same arguments.

        Returns:
            False if the callback stopped the collection, otherwise True.
        """
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        spec = ActionSpec.of(self.action_space)
        low, high = spec.bounds
        # SB3's buffer stores a single choice as an array of one number.
        shape = (env.num_envs, *(spec.shape or (1,)))
        observations, starts = self._last_obs, self._last_episode_starts
        with torch.no_grad():
            for _ in range(n_rollout_steps):
                o = torch.as_tensor(observations, device=self.device)
                sampled, values, log_probs = self.policy(o)
                actions = sampled.cpu().numpy()
                # SB3 draws bits as numbers.
                taken = (
                    np.clip(actions, low, high)
                    if spec.is_continuous
                    else actions.astype(spec.dtype)
                )
                next_observations, rewards, dones = env.step_arrays(taken)
                rewards *= self.reward_scale
                self._bootstrap(env, rewards, dones)
                rollout_buffer.add(
                    observations, actions.reshape(shape), rewards, starts, values, log_probs
                )
                self.ep_info_buffer.extend(env.whole_episodes)
                self.num_timesteps += env.num_envs
                observations, starts = next_observations, dones
                if not callback.on_step():
                    return False
            last = self.policy.predict_values(torch.as_tensor(observations, device=self.device))
        self._last_obs, self._last_episode_starts = observations, starts
        rollout_buffer.compute_returns_and_advantage(last_values=last, dones=starts)
        callback.on_rollout_end()
        return True

    @contextmanager
    def _frozen_actor(self) -> Iterator[None]:
        policy = self.policy
        actor = [*policy.mlp_extractor.policy_net.parameters(), *policy.action_net.parameters()]
        noise = [policy.log_std] if hasattr(policy, "log_std") else []  # of continuous actions
        learned = [p for p in (*actor, *noise) if p.requires_grad]
        for parameter in learned:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in learned:
                parameter.requires_grad_(True)

    def _bootstrap(self, env: SB3VecEnv, rewards: np.ndarray, dones: np.ndarray) -> None:
        """Adds γ V(s') to the last reward of each truncated episode, in place.

        Here γ is the discount factor, V is the value network, and s' is the final observation of
        the episode.

        Args:
            env: the N environments, after the step.
            rewards: ``(N,) float32``, rewards of the step.
            dones: ``(N,) bool``, True where an episode ended in the step.
        """
        timeouts = env.truncated & ~env.terminated
        if timeouts.any():
            final = env.final_observations[timeouts[dones]]
            values = self.policy.predict_values(torch.as_tensor(final, device=self.device))
            rewards[timeouts] += self.gamma * values.cpu().numpy()[:, 0]


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
