"""Configuration of PPO."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import nn

from wmrl.core.validation import check_choice, check_float, check_int

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}
"""Activation functions, by name."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Configuration of PPO, with the parameter names of Stable-Baselines3 where they exist.

    :meth:`dream` and :meth:`real` are presets for CarRacing.

    Attributes:
        steps: total number of agent steps, over all environments.
        rollout_steps: number T of agent steps of each environment between updates.
        chunk_rollouts: number of rollouts in a chunk. Before each chunk the environments are reset,
            and after it a checkpoint is saved.
        n_epochs: number of passes over a rollout in an update.
        batch_size: number of agent steps per gradient step.
        learning_rate: learning rate of Adam at the start.
        learning_rate_final: learning rate at the end; between start and end it is interpolated
            linearly.
        log_std: logarithm of the action noise's standard deviation at the start; None to keep that
            of the initial agent (0 without one).
        log_std_final: final value of ``log_std``, which is interpolated linearly until then; None
            to learn it by gradient descent.
        log_std_share: fraction of the run after which ``log_std_final`` is reached.
        anneal_by: measure of progress in interpolations: ``"steps"`` for the fraction of steps, or
            ``"time"`` for the fraction of the time limit if that is larger. With ``"time"``, no two
            runs are identical.
        gamma: discount factor γ per agent step.
        gae_lambda: λ of generalized advantage estimation.
        clip_range: ε of the clipped objective.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: bound to which the gradient's norm is clipped.
        target_kl: target KL divergence of an update, which stops when an estimate exceeds 1.5 times
            this value; None for no limit.
        reward_scale: factor by which rewards are multiplied.
        critic_rollouts: number of initial rollouts that train only the value network. Values that
            were learned in a dream are wrong in the real game, and updates based on them would harm
            a good policy.
        stagger: maximal number of agent steps after which each environment's first episode of a
            chunk is truncated. The number is random, so that later episodes do not all start at the
            same time; 0 for no truncation.
        hidden_dims: widths of the hidden layers of the policy and of the value network.
        activation: ``"tanh"``, ``"relu"`` or ``"elu"``.

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
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))  # JSON gives lists
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
        check_choice("anneal_by", self.anneal_by, ("steps", "time"))
        if self.log_std is None and self.log_std_final is not None:
            raise ValueError(
                "log_std: expected a number, got None; give the value from which to interpolate to "
                "log_std_final"
            )
        check_choice("activation", self.activation, ACTIVATIONS)

    @classmethod
    def dream(cls, **options: Any) -> Self:
        """Creates the preset for 256 dreams of 60 agent steps each.

        Args:
            options: values of attributes that replace those of the preset.
        """
        preset: dict[str, Any] = {"steps": 2_000_000, "ent_coef": 0.003, "log_std": -0.5}
        return cls(**preset | options)

    @classmethod
    def real(cls, **options: Any) -> Self:
        """Creates the preset for 32 real games, starting from a policy trained in a dream.

        Args:
            options: values of attributes that replace those of the preset.
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
