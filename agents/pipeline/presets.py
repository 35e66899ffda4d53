"""Settings of the training loop that were tuned for single games."""

from dataclasses import dataclass

from wmrl.core.config import check_fields
from wmrl.core.validation import check_float
from wmrl.envs.tasks.task import split_variant


@dataclass(frozen=True, kw_only=True)
class TaskPreset:
    """Settings of the training loop that depend on the game.

    The default values are for games without tuned settings.

    Attributes:
        pixel_variance: value of ``pixel_variance`` in :class:`~wmrl.vision.vae.VAEConfig`.
        reward_scale: value of ``reward_scale`` in
            :class:`~wmrl.memory.trainable.TrainableMemoryConfig`.
        ppo_reward_scale: value of ``ppo_reward_scale`` in
            :class:`~wmrl.agents.pipeline.plan.TrainingPlan`.

    Raises:
        ValueError: an attribute is out of range.
    """

    pixel_variance: float | None = None
    reward_scale: float | None = None
    ppo_reward_scale: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("pixel_variance", "reward_scale", "ppo_reward_scale"):
            if getattr(self, name) is not None:
                check_float(name, getattr(self, name), above=0)


PRESETS = {
    "car-racing": TaskPreset(pixel_variance=0.5, reward_scale=0.1, ppo_reward_scale=0.05),
}
"""Presets by name of the task, without a shape of frames."""


def preset_of(task: str) -> TaskPreset:
    """Returns the preset of a task, or the default values if the task has no preset.

    Args:
        task: name of the task. It may end in the shape of the frames.

    Example:
        >>> preset_of("car-racing@84x84x1").reward_scale
        0.1
        >>> preset_of("CartPole-v1").reward_scale is None
        True
    """
    return PRESETS.get(split_variant(task)[0], TaskPreset())
