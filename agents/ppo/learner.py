"""PPOLearner: proximal policy optimisation in a dream or in the real game, killed and resumed."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from safetensors.torch import save as save_safetensors
from torch import nn

from wmrl.agents.agent import Agent, Evaluator, State
from wmrl.agents.ppo.batched import BatchedPPO
from wmrl.agents.ppo.config import ACTIVATIONS, PPOConfig
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.sb3.global_rng import isolated_randomness
from wmrl.agents.sb3.vec_env import SB3VecEnv
from wmrl.agents.seeds import training_seed
from wmrl.core.device import torch_threads
from wmrl.core.seeding import integer_seed
from wmrl.storage.run import Run
from wmrl.training.metrics import MetricsLogger
from wmrl.training.progress import learning_progress

__all__ = ["PPOConfig", "PPOLearner"]

_CHECKPOINT = "ppo"


class PPOLearner:
    """Trains a policy with PPO (https://arxiv.org/abs/1707.06347), a chunk at a time.

    A chunk of rollouts is a pure function of the checkpoint before it (policy, optimiser,
    position) and of the chunk's own seed: environments are reset, and every generator is seeded
    from it. So a run that was killed goes on from its last checkpoint to the same bits as one
    that was not.

    Args:
        env: batched environments that reset in the same step, the same way for the same seed.
        config: how to learn.
        path: the run's folder, which this object owns until :meth:`close`.
        seed: root of all that is random.
        eye: kept with the agent (see :class:`~wmrl.agents.agent.Agent`).
        init: an agent to start from, of the same architecture.
        device: where the policy learns; small ones are fastest on the CPU.
        threads: of torch while learning, as they are if None. One is fastest where worker
            processes need the cores. It may change the last bits.

    Attributes:
        agent: the policy as an agent; it goes on learning with this object.
        steps: decisions learned from so far.
        seconds: time spent learning so far, over all sessions.

    Raises:
        RunError: the folder is in use, or belongs to a run of another configuration.
        ValueError: ``init`` does not fit.
    """

    def __init__(
        self,
        env: SB3VecEnv | VectorEnv[Any, Any, Any],
        config: PPOConfig,
        *,
        path: str | Path,
        seed: int = 0,
        eye: Mapping[str, Any] | None = None,
        init: Agent | None = None,
        device: str | torch.device = "cpu",
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self.env = env if isinstance(env, SB3VecEnv) else SB3VecEnv(env)
        self.config = config
        self.steps, self.seconds = 0, 0.0
        self._chunk, self._fraction = 0, 0.0
        self._seed = seed
        self._model = self._build(device)
        self.agent = SB3Agent.from_model(self._model, eye=eye)
        start = None if init is None else _warm_start(self._model.policy, init)
        if config.log_std is not None:
            self._model.policy.log_std.data.fill_(config.log_std)
        self._run = Run(
            path,
            config={
                "learner": "PPOLearner",
                "config": asdict(config),
                "seed": seed,
                "num_envs": self.env.num_envs,
                "eye": dict(eye or {}),
                "init": start,
            },
        )
        try:
            self._restore()
        except BaseException:
            self._run.close()
            raise

    @property
    def done(self) -> bool:
        """Whether all steps are learned."""
        return self.steps >= self.config.steps

    def learn(
        self,
        *,
        max_seconds: float | None = None,
        evaluator: Evaluator | None = None,
        evaluate_every: int = 1,
        progress: bool = True,
    ) -> Self:
        """Learns until ``config.steps``, from where the run's last checkpoint is.

        Args:
            max_seconds: stop after so many seconds of learning, counted over all sessions of this
                run. A run that this stops is not repeatable to the bit.
            evaluator: measures the agent for curves; its time does not count.
            evaluate_every: chunks between measurements.
            progress: show a progress bar.

        Returns:
            Itself.
        """
        limit = np.inf if max_seconds is None else max_seconds
        with (
            torch_threads(self.threads),
            MetricsLogger(self._run.path, resume_step=self.steps or None) as logger,
            learning_progress("PPO", total=self.config.steps, show=progress) as advance,
        ):
            advance(self.steps, "")  # an earlier session's are done
            while not self.done and self.seconds < limit:
                rows = self._learn_chunk(limit, advance)
                if evaluator is not None and self._chunk % evaluate_every == 0:
                    rows[self.steps] |= evaluator(self.agent)
                for step, values in rows.items():
                    logger.log(step, values)
                self._checkpoint()
        return self

    def predict(
        self,
        observation: np.ndarray,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """The agent's :meth:`~wmrl.agents.agent.Agent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    def save(self, path: str | Path, *, provenance: Mapping[str, Any] | None = None) -> str:
        """Writes the agent as an artifact and returns its digest."""
        own = {
            "algorithm": "ppo",
            "config": asdict(self.config),
            "seed": self._seed,
            "steps": self.steps,
        }
        return self.agent.save(path, provenance=own | dict(provenance or {}))

    def close(self) -> None:
        """Gives the run's folder free. The environments are the caller's to close."""
        self._run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _build(self, device: str | torch.device) -> BatchedPPO:
        config = self.config
        with isolated_randomness(integer_seed(self._seed, "ppo", "policy")):
            model = BatchedPPO(
                "MlpPolicy",
                self.env,
                learning_rate=lambda _: _blend(
                    config.learning_rate, config.learning_rate_final, self._fraction
                ),
                n_steps=config.rollout_steps,
                batch_size=min(config.minibatch, config.rollout_steps * self.env.num_envs),
                n_epochs=config.epochs,
                gamma=config.gamma,
                gae_lambda=config.gae_lambda,
                clip_range=config.clip_range,
                ent_coef=config.entropy,
                vf_coef=config.value,
                max_grad_norm=config.max_grad_norm,
                target_kl=config.target_kl,
                reward_scale=config.reward_scale,
                policy_kwargs={
                    "net_arch": list(config.hidden_sizes),
                    "activation_fn": ACTIVATIONS[config.activation],
                    "optimizer_kwargs": {"eps": 1e-5, "fused": True},
                },
                device=device,
            )
        model.policy.log_std.requires_grad_(config.log_std_final is None)
        return model

    def _set_noise(self) -> None:
        config = self.config
        if config.log_std is not None and config.log_std_final is not None:
            fraction = self._fraction / config.log_std_share
            noise = _blend(config.log_std, config.log_std_final, fraction)
            self._model.policy.log_std.data.fill_(noise)

    def _learn_chunk(
        self, limit: float, advance: Callable[[int, str], None]
    ) -> dict[int, dict[str, float]]:
        """One chunk; returns metrics by step."""
        config, model = self.config, self._model
        rows: dict[int, dict[str, float]] = {}
        with isolated_randomness(integer_seed(self._seed, "ppo", self._chunk)):
            self._reset_env()
            for _ in range(config.chunk_rollouts):
                started = time.perf_counter()
                self._fraction = self._progress(limit)
                self._set_noise()
                rollout = self.steps // (config.rollout_steps * self.env.num_envs)
                logged = model.learn_rollout(critic_only=rollout < config.critic_rollouts)
                self.steps = model.num_timesteps
                self.seconds += time.perf_counter() - started
                rows[self.steps] = logged | {"seconds": self.seconds}
                advance(self.steps, f"return {logged.get('rollout/ep_rew_mean', 0.0):.1f}")
                if self.done or self.seconds >= limit:
                    break
        self._chunk += 1
        return rows

    def _reset_env(self) -> None:
        """Makes the model begin with a reset of the environments from the chunk's seed."""
        count = self.env.num_envs
        self.env.seed(training_seed(self._seed, "ppo", self._chunk, "env", span=count))
        if self.config.stagger:
            generator = np.random.default_rng(integer_seed(self._seed, "ppo", self._chunk, "cut"))
            lengths = generator.integers(1, self.config.stagger + 1, (count,))
            self.env.cut_first_episodes(lengths)
        self._model.start_anew()

    def _progress(self, limit: float) -> float:
        fraction = self.steps / self.config.steps
        if self.config.anneal_by == "time":
            fraction = max(fraction, self.seconds / limit)
        return fraction

    def _checkpoint(self) -> None:
        state = {"steps": self.steps, "chunk": self._chunk, "seconds": self.seconds}
        self._run.save_checkpoint(_CHECKPOINT, self._model.training_tensors(), state)

    def _restore(self) -> None:
        checkpoint = self._run.load_checkpoint(_CHECKPOINT, device=self._model.device)
        if checkpoint is None:
            return
        self._model.load_training_tensors(checkpoint.tensors)
        state = checkpoint.state
        self.steps, self._chunk, self.seconds = state["steps"], state["chunk"], state["seconds"]
        self._model.num_timesteps = self.steps


def _blend(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * min(fraction, 1.0)


def _warm_start(policy: nn.Module, init: Agent) -> str:
    """Copies an agent's weights into the policy; returns their SHA-256."""
    if not isinstance(init, SB3Agent):
        raise ValueError(f"init: expected a SB3Agent, got a {type(init).__name__}")
    weights = init.policy.state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in policy.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != got:
        name = min(set(expected.items()) ^ set(got.items()))[0]
        raise ValueError(
            f"init: expected an agent of the same observations, actions and hidden sizes; "
            f"{name!r} expected shape {expected.get(name)}, got {got.get(name)}"
        )
    policy.load_state_dict(weights)
    data = save_safetensors({name: tensor.cpu().contiguous() for name, tensor in weights.items()})
    return hashlib.sha256(data).hexdigest()
