"""Settings of the training loop that were tuned for single games."""

from dataclasses import dataclass, field
from typing import Any, Literal

from wmrl.agents.ppo.config import PPOConfig
from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.envs.tasks.task import split_variant
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.mdn_rnn import LSTMFeatures
from wmrl.vision.vqvae import VQVAEConfig


@dataclass(frozen=True, kw_only=True)
class TaskPreset:
    """Settings of the training loop that depend on the game.

    The default values are for games without tuned settings.

    Attributes:
        latents: kind of latents by default. ``"continuous"``: a VAE and an MDN-RNN. ``"discrete"``:
            a VQ-VAE and a memory model over its codes.
        vqvae: configuration of the vision model with discrete latents.
        code_memory: configuration of the memory model with discrete latents. Its ``reward_scale``
            is replaced.
        pixel_variance: value of ``pixel_variance`` in :class:`~wmrl.vision.vae.VAEConfig`.
        latent_dim: value of ``latent_dim`` in the same configuration.
        mean_frame: value of ``mean_frame`` in the same configuration.
        reward_scale: value of ``reward_scale`` in
            :class:`~wmrl.memory.trainable.TrainableMemoryConfig`.
        features: value of ``features`` in :class:`~wmrl.memory.mdn_rnn.MDNRNNConfig`.
        sequence_length: number of agent steps of each sequence on which a memory model is trained.
        num_members: value of ``num_members`` in :class:`~wmrl.agents.pipeline.plan.TrainingPlan`,
            as all following values.
        noise_floor: value of ``noise_floor``, for continuous latents.
        vision_rounds: value of ``vision_rounds``.
        noise: value of ``noise``.
        temperature: value of ``temperature``.
        dropout: value of ``dropout``.
        dream_frames: maximum length of a dream in frames of the game; None for the default number
            of agent steps, whatever the frame skip is.
        dream: value of ``dream``. Its ``steps`` and ``anneal_by`` are replaced, because a time
            limit ends the training.
        dream_again: value of ``dream_again``, with the same replacements.
        ppo_reward_scale: value of ``ppo_reward_scale``.

    Raises:
        ValueError: an attribute is out of range.
    """

    latents: Literal["continuous", "discrete"] = "continuous"
    vqvae: VQVAEConfig = field(default_factory=VQVAEConfig)
    code_memory: CodeMemoryConfig = field(default_factory=CodeMemoryConfig)
    pixel_variance: float | None = None
    latent_dim: int = 32
    mean_frame: bool = True
    reward_scale: float | None = None
    features: LSTMFeatures = "hidden"
    sequence_length: int = 48
    num_members: int = 2
    noise_floor: float = 0.2
    vision_rounds: int = 2
    noise: float = 0.6
    temperature: float = 1.0
    dropout: bool = True
    dream_frames: int | None = None
    dream: PPOConfig = field(default_factory=PPOConfig.dream)
    dream_again: PPOConfig = field(
        default_factory=lambda: PPOConfig.dream(
            log_std=-1.0, learning_rate=2e-4, learning_rate_final=5e-5
        )
    )
    ppo_reward_scale: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_choice("latents", self.latents, ("continuous", "discrete"))
        for name in ("latent_dim", "sequence_length", "num_members", "vision_rounds"):
            check_int(name, getattr(self, name), at_least=1)
        if self.dream_frames is not None:
            check_int("dream_frames", self.dream_frames, at_least=1)
        check_float("temperature", self.temperature, above=0)
        for name in ("noise_floor", "noise"):
            check_float(name, getattr(self, name), at_least=0)
        for name in ("pixel_variance", "reward_scale", "ppo_reward_scale"):
            if getattr(self, name) is not None:
                check_float(name, getattr(self, name), above=0)


# Of Take Cover: a fireball flies for some 20 agent steps. The policy is linear, as in World Models.
_SHORTSIGHTED: dict[str, Any] = {"gamma": 0.97, "hidden_dims": (), "chunk_rollouts": 32}

PRESETS = {
    "car-racing": TaskPreset(
        pixel_variance=0.5, mean_frame=False, reward_scale=0.1, ppo_reward_scale=0.05
    ),
    "take-cover": TaskPreset(
        # Codes of 8×8 pixels show distant fireballs. Near ones cross up to five codes in an agent
        # step, which the memory model must see.
        latents="discrete",
        vqvae=VQVAEConfig(num_downsamplings=3, codebook_size=64, code_dim=8),
        code_memory=CodeMemoryConfig(
            token_dim=64, kernel_size=(3, 11), history=2, modulation=True, decoding="sequential"
        ),
        pixel_variance=0.05,
        mean_frame=False,
        latent_dim=64,
        features="cell_and_hidden",
        sequence_length=64,
        num_members=1,
        noise_floor=0.0,
        vision_rounds=1,
        noise=0.3,
        dropout=False,
        dream_frames=2100,  # as long as the game
        dream=PPOConfig.dream(learning_rate=1e-3, learning_rate_final=1e-4, **_SHORTSIGHTED),
        dream_again=PPOConfig.dream(learning_rate=5e-4, learning_rate_final=5e-5, **_SHORTSIGHTED),
        ppo_reward_scale=0.02,
    ),
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
