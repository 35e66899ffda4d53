"""PPO in dreams and real games, with training that can be interrupted and resumed."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from torch import nn

from wmrl.agents.agent import Agent, Evaluator
from wmrl.agents.learner import AgentLearner, check_limits
from wmrl.agents.ppo.batched import BatchedPPO
from wmrl.agents.ppo.config import ACTIVATIONS, PPOConfig
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.agents.seeds import training_seed
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.core.action_spec import ActionSpec
from wmrl.core.device import torch_threads
from wmrl.core.hashing import tensors_digest
from wmrl.core.seeding import integer_seed
from wmrl.core.validation import check_seed
from wmrl.storage.run import RunError
from wmrl.training.callbacks import Callback
from wmrl.training.progress import Advance, progress_bar

_CHECKPOINT = "ppo"
# Seconds after which a chunk in dreams gets a checkpoint before its end.
_CHECKPOINT_SECONDS = 5.0


class PPOLearner(AgentLearner):
    """Learner that trains a policy with PPO (https://arxiv.org/abs/1707.06347).

    Training is divided into chunks of rollouts, with a checkpoint after each chunk. Before a chunk,
    the environments and all random generators are seeded with a seed for this chunk. The results of
    the chunk depend only on this seed and on the last checkpoint, which contains the policy, the
    optimizer and the counters. A run that is resumed from its last checkpoint therefore has the
    same results, bit for bit, as an uninterrupted run.

    In dreams, there is also a checkpoint every five seconds within a chunk, because the state of a
    dream can be saved (:meth:`DreamVectorEnv.clone_state
    <wmrl.envs.DreamVectorEnv.clone_state>`). The state of a game cannot be saved in general, so
    that an interruption loses the rollouts of the current chunk.

    Args:
        env: vector environment with autoreset mode ``SAME_STEP``. After a reset, its episodes must
            depend only on the seed of the reset and on the actions.
        config: configuration of PPO.
        path: folder of the run. It stays locked until :meth:`close` is called.
        seed: root seed.
        world_model: reference to the agent's world model, which is saved with the agent; None for
            no reference.
        init: agent whose weights are the initial weights of the policy. It must be an
            :class:`~wmrl.agents.SB3Agent` with the same architecture. None for random initial
            weights.
        device: device of the policy; small policies are fastest on the CPU.
        threads: number of PyTorch threads during training; None to leave the number unchanged. One
            thread is fastest if worker processes need the cores. The number may affect the last
            bits of the results.

    Attributes:
        env: the vector environment, adapted to Stable-Baselines3.
        config: configuration of PPO.
        threads: number of PyTorch threads during training; None if it is left unchanged.
        steps: number of agent steps so far.
        seconds: training time so far in seconds, including the time before interruptions.

    Raises:
        RunError: the folder is in use, or belongs to a run with another configuration.
        ValueError: ``init`` is not an SB3Agent with the same architecture, the autoreset mode of
            ``env`` is not ``SAME_STEP``, or the observation space of ``env`` is not a ``Box``.

    Example:
        >>> from wmrl.agents import PPOConfig, PPOLearner
        >>> from wmrl.envs import DreamVectorEnv
        >>> env = DreamVectorEnv(
        ...     4, max_episode_steps=10, autoreset_mode="SameStep", device="cpu"
        ... )
        >>> config = PPOConfig(steps=64, rollout_steps=8, chunk_rollouts=1, batch_size=16)
        >>> with PPOLearner(env, config, path="runs/ppo") as learner:
        ...     digest = learner.learn(progress=False).save("runs/agent")
        >>> learner.steps, learner.done
        (64, True)
    """

    _limit: ClassVar[str] = "steps"

    def __init__(
        self,
        env: SB3VecEnv | VectorEnv[Any, Any, Any],
        config: PPOConfig,
        *,
        path: str | Path,
        seed: int = 0,
        world_model: WorldModelRef | None = None,
        init: Agent | None = None,
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self.env = env if isinstance(env, SB3VecEnv) else SB3VecEnv(env)
        if not isinstance(self.env.observation_space, spaces.Box):
            raise ValueError(
                f"env: expected a Box observation space, got {self.env.observation_space}; use "
                "observation='embeddings', or a learner of Stable-Baselines3"
            )
        self.config = config
        self._is_continuous = ActionSpec.of(self.env.action_space).is_continuous
        self.steps, self.seconds = 0, 0.0
        self._chunk, self._fraction = 0, 0.0
        self._rollout = 0  # number of rollouts of the current chunk that are done
        # What the next rollout of the chunk depends on, at a checkpoint within the chunk.
        self._pause: dict[str, torch.Tensor] = {}
        self._stopping = False  # True if a callback has ended the training within the chunk
        self._cut = False  # True if the last chunk had fewer rollouts than the others
        self._scheduled = (
            config.learning_rate != config.learning_rate_final
            or config.log_std_final not in (None, config.log_std)
        )
        self._seed = seed = check_seed("seed", seed)
        self._model = self._build(device)
        self._agent = SB3Agent.from_model(self._model, world_model=world_model)
        start = None if init is None else _warm_start(self._model.policy, init)
        if config.log_std is not None and self._is_continuous:
            self._model.policy.log_std.data.fill_(config.log_std)
        self._open_run(
            path,
            {
                "config": asdict(config),
                "seed": seed,
                "num_envs": self.env.num_envs,
                "world_model": None if world_model is None else asdict(world_model),
                "init": start,
            },
        )

    @property
    def agent(self) -> SB3Agent:
        """Agent that shares the learner's policy, and changes as training continues."""
        return self._agent

    @property
    def done(self) -> bool:
        """True if all ``config.steps`` agent steps are done."""
        return bool(self.steps >= self.config.steps)

    def learn(
        self,
        *,
        max_seconds: float | None = None,
        evaluator: Evaluator | None = None,
        evaluate_every: int = 1,
        callbacks: Iterable[Callback] = (),
        progress: bool = True,
    ) -> Self:
        """Trains until ``config.steps`` agent steps are done, continuing from the last checkpoint.

        Args:
            max_seconds: limit on the training time in seconds, including the time before
                interruptions; None for no limit. A run that is stopped by the limit is not
                reproducible bit for bit.
            evaluator: function that computes metrics of the agent for learning curves. Its run time
                does not count as training time.
            evaluate_every: number of chunks between evaluations.
            callbacks: callbacks, as in :meth:`Learner.learn <wmrl.agents.Learner.learn>`. At
                each checkpoint, a row is logged for each rollout since the last checkpoint. The
                callbacks are told of checkpoints at the ends of chunks only.
            progress: True to show a progress bar.

        Returns:
            The learner itself.

        Raises:
            FloatingPointError: an observation, a reward, a term of the loss or a weight is not
                finite. The last checkpoint is kept.
            CallbackError: a callback failed. The last checkpoint is kept.
            ValueError: ``max_seconds`` or ``evaluate_every`` is out of range.
        """
        limit = check_limits(max_seconds, evaluate_every)
        if not self._pause:  # at the start of a chunk, or interrupted since the last checkpoint
            self._rollout, self._stopping = 0, False
        with (
            torch_threads(self.threads),
            self._callback_list(
                callbacks,
                name="PPO",
                step=self.steps,
                planned=self._rollout == 0,
                progress=progress,
            ) as running,
            progress_bar(
                "PPO",
                total=self.config.steps,
                done=self.steps,  # before an interruption
                show=progress,
                unit="agent steps",
                max_seconds=max_seconds,
                seconds=self.seconds,
            ) as advance,
        ):
            while not self.done and self.seconds < limit:
                if self._rollout == 0 and (running.stopped or self._stopping):
                    break
                rows = self._learn_rollouts(limit, advance)
                complete = self._rollout == 0
                if complete and evaluator is not None and self._chunk % evaluate_every == 0:
                    rows[self.steps] |= evaluator(self.agent)
                for step, values in rows.items():
                    running.log(step, values)
                self._stopping |= running.stopped
                running.sync()
                path = self._checkpoint()
                if complete:
                    running.checkpoint(self.steps, path)
        self._stopping = False
        return self

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Saves the agent.

        Args:
            path: folder to write.
            provenance: JSON-serializable description of how the agent was made. It is added to the
                learner's own description.

        Returns:
            The artifact's digest.
        """
        own = {
            "algorithm": "ppo",
            "config": asdict(self.config),
            "seed": self._seed,
            "steps": self.steps,
        }
        return self.agent.save(path, provenance=own | dict(provenance or {}))

    def _build(self, device: str | torch.device) -> BatchedPPO:
        config = self.config
        with isolated_randomness(integer_seed(self._seed, "ppo", "policy")):
            model = BatchedPPO(
                "MlpPolicy",
                self.env,
                learning_rate=lambda _: _interpolate(
                    config.learning_rate, config.learning_rate_final, self._fraction
                ),
                n_steps=config.rollout_steps,
                batch_size=min(config.batch_size, config.rollout_steps * self.env.num_envs),
                n_epochs=config.n_epochs,
                gamma=config.gamma,
                gae_lambda=config.gae_lambda,
                clip_range=config.clip_range,
                ent_coef=config.ent_coef,
                vf_coef=config.vf_coef,
                max_grad_norm=config.max_grad_norm,
                target_kl=config.target_kl,
                reward_scale=config.reward_scale,
                policy_kwargs={
                    "net_arch": list(config.hidden_dims),
                    "activation_fn": ACTIVATIONS[config.activation],
                    "optimizer_kwargs": {"eps": 1e-5, "fused": True},
                },
                device=device,
            )
        if self._is_continuous:
            model.policy.log_std.requires_grad_(config.log_std_final is None)
        return model

    def _set_noise(self) -> None:
        config = self.config
        if not self._is_continuous:
            return
        if config.log_std is not None and config.log_std_final is not None:
            fraction = self._fraction / config.log_std_share
            noise = _interpolate(config.log_std, config.log_std_final, fraction)
            self._model.policy.log_std.data.fill_(noise)

    def _learn_rollouts(self, limit: float, advance: Advance) -> dict[int, dict[str, float]]:
        """Trains to the end of the chunk, or to the next checkpoint within it.

        Args:
            limit: training time of the run, in seconds, at which the chunk ends early.
            advance: function that updates the progress bar.

        Returns:
            Metrics of each rollout. The keys are the values of :attr:`steps` at the ends of the
            rollouts.
        """
        config, model = self.config, self._model
        rows: dict[int, dict[str, float]] = {}
        last_checkpoint = self.seconds
        with isolated_randomness(integer_seed(self._seed, "ppo", self._chunk)):
            if self._rollout:
                pause, self._pause = self._pause, {}
                model.load_rollout_tensors(pause)
            else:
                self._reset_env()
            while self._rollout < config.chunk_rollouts:
                if (
                    rows
                    and self.env.can_be_cloned
                    and self.seconds - last_checkpoint >= _CHECKPOINT_SECONDS
                ):
                    self._pause = model.rollout_tensors()
                    return rows
                started = time.perf_counter()
                self._fraction = self._progress(limit)
                self._set_noise()
                rollout = self.steps // (config.rollout_steps * self.env.num_envs)
                logged = model.learn_rollout(critic_only=rollout < config.critic_rollouts)
                self.steps = model.num_timesteps
                self.seconds += time.perf_counter() - started
                self._rollout += 1
                rows[self.steps] = logged | {"seconds": self.seconds}
                self._cut = self.done and self._rollout < config.chunk_rollouts
                advance(self.steps, _note(logged), seconds=self.seconds)
                if self.done or self.seconds >= limit:
                    break
        self._chunk += 1
        self._rollout = 0
        return rows

    def _reset_env(self) -> None:
        """Seeds the environment for the next chunk, and makes the chunk begin with a reset."""
        count = self.env.num_envs
        self.env.seed(training_seed(self._seed, "ppo", self._chunk, "env", span=count))
        if self.config.stagger:
            generator = np.random.default_rng(integer_seed(self._seed, "ppo", self._chunk, "cut"))
            lengths = generator.integers(1, self.config.stagger + 1, (count,))
            self.env.cut_first_episodes(lengths)
        self._model.restart()

    def _progress(self, limit: float) -> float:
        fraction: float = self.steps / self.config.steps
        if self.config.anneal_by == "time":
            fraction = max(fraction, self.seconds / limit)
        return fraction

    def _checkpoint(self) -> Path:
        state = {
            "steps": self.steps,
            "chunk": self._chunk,
            "rollout": self._rollout,
            "seconds": self.seconds,
            "stopping": self._rollout > 0 and self._stopping,
        }
        tensors = self._model.training_tensors() | self._pause
        return self._save_checkpoint(_CHECKPOINT, tensors, state, cut=self._cut)

    def _restore(self) -> None:
        checkpoint = self._load_checkpoint(_CHECKPOINT, at="steps", limit=self.config.steps)
        if checkpoint is None:
            return
        tensors, state = checkpoint.tensors, checkpoint.state
        self._model.load_training_tensors(tensors)
        self.steps, self._chunk, self.seconds = state["steps"], state["chunk"], state["seconds"]
        self._rollout = state.get("rollout", 0)
        self._stopping = state.get("stopping", False)
        if self._rollout:
            self._pause = self._model.only_rollout_tensors(tensors)
            self._restore_env(checkpoint.path)
        self._model.num_timesteps = self.steps

    def _restore_env(self, path: Path) -> None:
        """Restores the dreams from a checkpoint within a chunk.

        Raises:
            RunError: the environment does not consist of dreams with the same world model.
        """
        problem = f"got a {type(self.env.env).__name__}, whose state cannot be restored"
        if self.env.can_be_cloned:
            try:
                self._model.restore_env(self._pause)
                return
            except (KeyError, ValueError) as error:
                problem = f"got others ({error})"
        raise RunError(
            f"{path}: expected the dreams in which the training began, {problem}; give the same "
            "environment, or choose another folder to start again"
        )


def _note(logged: Mapping[str, float]) -> str:
    """Returns a text with the most important metrics of a rollout, for the progress bar.

    These are the mean return of episodes and the explained variance. The mean return is left out
    until the first episode has ended.
    """
    shown = {"return": "rollout/ep_rew_mean", "explained variance": "train/explained_variance"}
    return ", ".join(f"{name} {logged[key]:.2f}" for name, key in shown.items() if key in logged)


def _interpolate(start: float, end: float, fraction: float) -> float:
    """Interpolates linearly from ``start`` to ``end``; a fraction above 1 counts as 1."""
    return start + (end - start) * min(fraction, 1.0)


def _warm_start(policy: nn.Module, init: Agent) -> str:
    """Copies an agent's weights to a policy, and returns the SHA-256 digest of the weights.

    Raises:
        ValueError: the agent is not an SB3Agent, or its weights have other names or shapes than
            those of the policy.
    """
    if not isinstance(init, SB3Agent):
        raise ValueError(
            f"init: expected an SB3Agent, got a {type(init).__name__}; pass an agent that PPO has "
            "trained, or None"
        )
    weights = init.policy.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in policy.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != got:
        name = min(set(expected.items()) ^ set(got.items()))[0]
        raise ValueError(
            f"init: expected an agent with the same observations, actions and hidden layers as the "
            f"learner, got one with another network: the weights {name!r} have shape "
            f"{got.get(name)} in the agent and shape {expected.get(name)} in the learner (None: no "
            "such weights); pass an agent that was trained with the same task and hidden_dims"
        )
    policy.load_state_dict(weights)
    return tensors_digest(weights)
