"""Configuration of PPO."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import nn

from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int, check_lengths

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}
"""Activation functions, by name."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Configuration of PPO, with the parameter names of Stable-Baselines3 where they exist.

    :meth:`dream` and :meth:`real` are presets for CarRacing.

    Attributes:
        steps: total number of agent steps, over all environments.
        rollout_steps: number of agent steps per rollout in each environment. An update follows each
            rollout.
        chunk_rollouts: number of rollouts in a chunk. A chunk begins with a reset of all
            environments and ends with a checkpoint.
        n_epochs: number of passes over a rollout in an update.
        batch_size: number of agent steps in a minibatch.
        learning_rate: learning rate of Adam at the start.
        learning_rate_final: learning rate of Adam at the end, reached by linear interpolation.
        log_std: logarithm of the initial standard deviation of the noise on continuous actions. If
            None, the value of the initial agent is used; without an initial agent, the value is 0.
            ``log_std`` has no effect on discrete actions, which are drawn from their probabilities.
        log_std_final: final value of ``log_std``, reached by linear interpolation. If None,
            ``log_std`` is not interpolated but learned by gradient descent.
        log_std_share: fraction of the run after which ``log_std_final`` is reached, above 0 and at
            most 1.
        anneal_by: measure of progress for interpolation. ``"steps"``: fraction of ``steps`` that
            are done. ``"time"``: the larger of two numbers, the fraction of ``steps`` that are done
            and the fraction of the time limit that has passed. Runs with ``"time"`` are not
            reproducible.
        gamma: discount factor γ per agent step.
        gae_lambda: λ of generalized advantage estimation.
        clip_range: ε of the clipped objective.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: maximum norm of the gradient. A gradient with a larger norm is scaled down to
            this norm.
        target_kl: target KL divergence of an update. The update stops early if the estimated KL
            divergence exceeds 1.5 times this value. None for no early stop.
        reward_scale: factor by which rewards are multiplied.
        critic_rollouts: number of initial rollouts that train only the value network, not the
            policy. A value network from a dream predicts wrong values in the real game, and updates
            with these values would harm a good policy.
        stagger: maximum number of agent steps of the first episodes in a chunk; 0 for no such
            maximum. In each chunk, the first episode of each environment is truncated after a
            random number of steps, from 1 to this maximum. Later episodes therefore do not all
            start at the same time.
        hidden_dims: widths of the hidden layers of the policy and of the value network.
        activation: activation function of the hidden layers, ``"tanh"``, ``"relu"`` or ``"elu"``.

    Raises:
        ValueError: an attribute is out of range.
    """

    steps: int = 1_000_000
    rollout_steps: int = 32
    chunk_rollouts: int = 16
    n_epochs: int = 4
    batch_size: int = 1024
    learning_rate: float = 3e-4
    learning_rate_final: float = 3e-4
    log_std: float | None = None
    log_std_final: float | None = None
    log_std_share: float = 1.0
    anneal_by: Literal["steps", "time"] = "steps"
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    reward_scale: float = 0.05
    critic_rollouts: int = 0
    stagger: int = 0
    hidden_dims: tuple[int, ...] = (64, 64)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_fields(self)
        check_lengths("hidden_dims", self.hidden_dims)
        for name in ("steps", "rollout_steps", "chunk_rollouts", "n_epochs"):
            check_int(name, getattr(self, name), at_least=1)
        check_int("batch_size", self.batch_size, at_least=2)
        for name in ("critic_rollouts", "stagger"):
            check_int(name, getattr(self, name), at_least=0)
        for name in ("learning_rate", "reward_scale", "clip_range", "max_grad_norm"):
            check_float(name, getattr(self, name), above=0)
        check_float("log_std_share", self.log_std_share, above=0, at_most=1)
        for name in ("learning_rate_final", "ent_coef", "vf_coef"):
            check_float(name, getattr(self, name), at_least=0)
        for name in ("gamma", "gae_lambda"):
            check_float(name, getattr(self, name), at_least=0, at_most=1)
        if self.target_kl is not None:
            check_float("target_kl", self.target_kl, above=0)
        check_choice("anneal_by", self.anneal_by, ("steps", "time"))
        if self.log_std is None and self.log_std_final is not None:
            raise ValueError(
                "log_std: expected a number because log_std_final is set, got None; set log_std to "
                "the value at which the interpolation to log_std_final starts"
            )
        check_choice("activation", self.activation, ACTIVATIONS)

    @classmethod
    def dream(cls, **options: Any) -> Self:
        """Creates the preset for training in 256 parallel dreams of 60 agent steps each.

        Args:
            options: values, by name of the attribute, that replace values of the preset.
        """
        preset: dict[str, Any] = {"steps": 2_000_000, "ent_coef": 0.003, "log_std": -0.5}
        return cls(**preset | options)

    @classmethod
    def real(cls, **options: Any) -> Self:
        """Creates the preset for fine-tuning a dream-trained policy in 32 parallel real games.

        Args:
            options: values, by name of the attribute, that replace values of the preset.
        """
        preset: dict[str, Any] = {
            "steps": 350_000,
            "rollout_steps": 64,
            "chunk_rollouts": 40,
            "n_epochs": 8,
            "batch_size": 256,
            "learning_rate": 2e-4,
            "learning_rate_final": 2e-5,
            "log_std": -1.6,
            "log_std_final": -2.3,
            "log_std_share": 0.6,
            "critic_rollouts": 6,
            "stagger": 250,
        }
        return cls(**preset | options)
