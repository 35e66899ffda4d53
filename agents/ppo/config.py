"""PPOConfig: how PPO learns, and the recipes for CarRacing."""

from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}
"""Activations by name."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """How PPO learns; :meth:`dream` and :meth:`real` are the recipes for CarRacing.

    Attributes:
        steps: decisions to learn from in all, over all environments.
        rollout_steps: T, decisions of every environment between updates.
        chunk_rollouts: rollouts between checkpoints; environments are reset after each chunk.
        epochs: passes over a rollout.
        minibatch: decisions in a gradient step.
        learning_rate: Adam's at the start.
        learning_rate_final: and at the end, linear in between.
        log_std: logarithm of the action noise's standard deviation at the start; None to keep a
            warm start's own (0 without one).
        log_std_final: and after the share ``log_std_share`` of the run, linear in between; None
            to learn it by gradient.
        log_std_share: see there.
        anneal_by: what counts as the end: ``"steps"``, or ``"time"`` for whichever of steps and
            time limit is nearer its end. By time, no two runs are alike.
        gamma: discount γ of a decision.
        gae_lambda: λ of generalised advantage estimation.
        clip_range: ε of the clipped objective.
        entropy: weight of the entropy bonus.
        value: weight of the value loss.
        max_grad_norm: gradients are clipped to it.
        target_kl: stop the passes over a rollout beyond this divergence; None not to.
        reward_scale: what rewards are multiplied by.
        critic_rollouts: first rollouts from which only the value network learns. A value learned
            in a dream is off in the real game, and would lead a good policy astray until it fits.
        stagger: in a chunk, cut each environment's first episode at a random one of so many
            decisions, so that episodes do not all start at once; 0 not to.
        hidden_sizes: widths of the policy's and of the value's network.
        activation: ``"tanh"``, ``"relu"`` or ``"elu"``.
    """

    steps: int = 1_000_000
    rollout_steps: int = 32
    chunk_rollouts: int = 16
    epochs: int = 4
    minibatch: int = 1024
    learning_rate: float = 3e-4
    learning_rate_final: float = 3e-4
    log_std: float | None = None
    log_std_final: float | None = None
    log_std_share: float = 1.0
    anneal_by: Literal["steps", "time"] = "steps"
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy: float = 0.0
    value: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    reward_scale: float = 0.05
    critic_rollouts: int = 0
    stagger: int = 0
    hidden_sizes: tuple[int, ...] = (64, 64)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))  # JSON gives lists
        for name in ("steps", "rollout_steps", "chunk_rollouts", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.minibatch < 2:
            raise ValueError(f"minibatch: expected at least 2, got {self.minibatch}")
        for name in ("learning_rate", "reward_scale", "clip_range", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if not 0 < self.log_std_share <= 1:
            raise ValueError(f"log_std_share: expected above 0 to 1, got {self.log_std_share}")
        for name in ("learning_rate_final", "entropy", "value", "stagger", "critic_rollouts"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")
        if self.anneal_by not in ("steps", "time"):
            raise ValueError(f"anneal_by: expected 'steps' or 'time', got {self.anneal_by!r}")
        if self.log_std is None and self.log_std_final is not None:
            raise ValueError("log_std: expected a number where log_std_final is one, got None")
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: expected one of {sorted(ACTIVATIONS)}, got {self.activation!r}"
            )

    @classmethod
    def dream(cls, **options: Any) -> Self:
        """For 256 dreams of 60 decisions each."""
        recipe: dict[str, Any] = {"steps": 2_000_000, "entropy": 0.003, "log_std": -0.5}
        return cls(**recipe | options)

    @classmethod
    def real(cls, **options: Any) -> Self:
        """For 32 real games, from a policy that was trained in a dream."""
        recipe: dict[str, Any] = {
            "steps": 350_000,
            "rollout_steps": 64,
            "chunk_rollouts": 40,
            "epochs": 8,
            "minibatch": 256,
            "learning_rate": 2e-4,
            "learning_rate_final": 2e-5,
            "log_std": -1.6,
            "log_std_final": -2.3,
            "log_std_share": 0.6,
            "critic_rollouts": 6,
            "stagger": 250,
        }
        return cls(**recipe | options)
