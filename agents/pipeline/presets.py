"""Settings of the training loop that were tuned for single games."""

from dataclasses import dataclass

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float, check_int
from wmrl.envs.tasks.task import Task, split_variant


@dataclass(frozen=True, kw_only=True)
class TaskPreset:
    """Settings of the training loop that depend on the game.

    The default values suit games for which nothing was tuned.

    Attributes:
        pixel_variance: attribute of the VAE; see :class:`~wmrl.vision.vae.VAEConfig`.
        latent_dim: number of latent dimensions of the VAE.
        reward_scale: attribute of the memory; see
            :class:`~wmrl.memory.trainable.TrainableMemoryConfig`.
        ppo_reward_scale: attribute of the plan; see
            :class:`~wmrl.agents.pipeline.plan.TrainingPlan`.
        dream_agent_steps: maximum number of agent steps of a dream.

    Raises:
        ValueError: an attribute is out of range.
    """

    pixel_variance: float | None = None
    latent_dim: int = 32
    reward_scale: float | None = None
    ppo_reward_scale: float | None = None
    dream_agent_steps: int = 50

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("pixel_variance", "reward_scale", "ppo_reward_scale"):
            if getattr(self, name) is not None:
                check_float(name, getattr(self, name), above=0)
        for name in ("latent_dim", "dream_agent_steps"):
            check_int(name, getattr(self, name), at_least=1)


PRESETS = {
    "car-racing": TaskPreset(pixel_variance=0.5, reward_scale=0.1, ppo_reward_scale=0.05),
}
"""Presets by name of the task, without a shape of frames."""


def preset_of(task: Task) -> TaskPreset:
    """Returns the preset of a task and its variants; the default values if there is none.

    Example:
        >>> from wmrl.envs import CAR_RACING
        >>> preset_of(CAR_RACING).reward_scale
        0.1
    """
    return PRESETS.get(split_variant(task.name)[0], TaskPreset())
