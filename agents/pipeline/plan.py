"""TrainingPlan: how much of everything the whole loop does, from nothing to a driver."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.learner import PPOConfig
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsembleConfig, MemoryEnsembleConfig
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import DreamStartsConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

_REAL_FRAMES = 9_500_000  # of an hour's plan or a longer one, in all


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The loop's amounts; everything that a run's result depends on besides its seed.

    Attributes:
        rounds: R, how many times to collect, learn the world, and learn to act in the dream.
        first_frames: base frames of random driving in the first round.
        round_frames: base frames that the dream-trained driver collects in each later round.
        noise: exploration noise of that driver, as in
            :class:`~wmrl.agents.rollouts.exploration.NoisyBehaviour`.
        vision_rounds: rounds that (re)train the vision; later ones keep it, and the driver with it.
        vision: sizes and loss of the vision, a VAE or a VQ-VAE.
        vision_training: how it learns in the first round.
        vision_retraining: how it goes on in the later of its rounds.
        memory: sizes and loss of a memory, an MDN-RNN or one in symbols, which needs a VQ-VAE.
        memory_training: how each memory learns when it starts anew.
        memory_retraining: how it goes on with more data under the same vision.
        members: memories that dream as one.
        pessimism: standard deviations between them that are taken off the reward.
        noise_floor: floor under their Gaussians' σ in the dream.
        temperature: τ of the dream.
        dropout: whether the memories' dropout stays on in the dream.
        algorithm: how the driver learns in the dream, ``"ppo"`` or ``"cma-es"``.
        evolution: CMA-ES: how it searches, each time from where it was.
        trials: CMA-ES: how a controller is tried; the dream's own settings are this plan's.
        dreams: PPO: dreams that are stepped as one batch.
        dream_decisions: decisions that a dream lasts.
        dream: PPO: how the driver learns when it starts anew.
        dream_seconds: for how long at most; None for no limit (the same for the next two).
        dream_again: how it goes on under the same vision.
        dream_again_seconds: for how long at most.
        real_envs: real games at once; 0 to end with the dream-trained driver, as CMA-ES does.
        real: how the dream-trained driver goes on in the real game.
        real_seconds: for how long at most.
        score_episodes: episodes of each point of the curve.
        score_every: chunks of real training between points.
    """

    rounds: int = 4
    first_frames: int = 250_000
    round_frames: int = 200_000
    noise: float = 0.6
    vision_rounds: int = 2
    vision: VAEConfig | VQVAEConfig = field(default_factory=VAEConfig)
    vision_training: TrainingConfig = field(default_factory=TrainingConfig)
    vision_retraining: TrainingConfig = field(default_factory=TrainingConfig)
    memory: MDNRNNConfig | CodeMemoryConfig = field(default_factory=MDNRNNConfig)
    memory_training: MemoryTrainingConfig = field(default_factory=MemoryTrainingConfig)
    memory_retraining: MemoryTrainingConfig = field(default_factory=MemoryTrainingConfig)
    members: int = 2
    pessimism: float = 1.0
    noise_floor: float = 0.0
    temperature: float = 1.0
    dropout: bool = True
    algorithm: Literal["ppo", "cma-es"] = "ppo"
    evolution: CMAESConfig = field(default_factory=CMAESConfig)
    trials: DreamFitnessConfig = field(default_factory=DreamFitnessConfig)
    dreams: int = 256
    dream_decisions: int = 50
    dream: PPOConfig = field(default_factory=PPOConfig.dream)
    dream_seconds: float | None = None
    dream_again: PPOConfig = field(default_factory=PPOConfig.dream)
    dream_again_seconds: float | None = None
    real_envs: int = 32
    real: PPOConfig = field(default_factory=PPOConfig.real)
    real_seconds: float | None = None
    score_episodes: int = 50
    score_every: int = 2

    def __post_init__(self) -> None:
        for name in ("rounds", "first_frames", "round_frames", "vision_rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        symbols = isinstance(self.memory, CodeMemoryConfig)
        if symbols and not isinstance(self.vision, VQVAEConfig):
            raise ValueError("vision: expected a VQVAEConfig with a memory in symbols, got a VAE's")
        ensemble = CodeMemoryEnsembleConfig if symbols else MemoryEnsembleConfig
        ensemble(  # complains of what is wrong with them
            members=self.members, pessimism=self.pessimism, noise_floor=self.noise_floor
        )
        if self.real_envs < 0:
            raise ValueError(f"real_envs: expected at least 0, got {self.real_envs}")
        if self.algorithm not in ("ppo", "cma-es"):
            raise ValueError(f"algorithm: expected 'ppo' or 'cma-es', got {self.algorithm!r}")
        if self.algorithm == "cma-es" and self.real_envs:
            raise ValueError(
                f"real_envs: expected 0 with CMA-ES, got {self.real_envs}; real fine-tuning is "
                "PPO's, or a train-controller of its own"
            )

    @classmethod
    def for_hours(cls, hours: float, *, symbols: bool = False) -> Self:
        """A plan that takes about ``hours`` on two cores, half of it in the real game.

        Every stage has its share of the time as a limit, and learns as much as fits into it; a
        slower machine so ends in time with less learned. By that, two runs of the same seed are
        alike only in kind; a plan without time limits repeats to the bit.

        Args:
            hours: time for everything.
            symbols: see by a VQ-VAE and dream in its codes. Such a memory learns more slowly, and
                has twice the time, which the real game has to give.

        Raises:
            ValueError: ``hours`` is not above 0.
        """
        if not hours > 0:
            raise ValueError(f"hours: expected above 0, got {hours}")
        frames = min(hours, 4.0)  # more than a million a round is of no use
        collected = int((250_000 + 4 * 200_000) * frames)
        starts = DreamStartsConfig(count=1024)
        share = 2 if symbols else 1
        make = MemoryTrainingConfig.symbols if symbols else MemoryTrainingConfig
        memory = make(steps=100_000, max_seconds=share * 75 * hours, starts=starts)
        vision = TrainingConfig(steps=1_000_000, max_seconds=150 * hours)
        dream = PPOConfig.dream(steps=1_000_000_000, anneal_by="time")
        return cls(
            rounds=5,
            vision=VQVAEConfig() if symbols else VAEConfig(),
            memory=CodeMemoryConfig() if symbols else MDNRNNConfig(),
            noise_floor=0.0 if symbols else 0.2,
            first_frames=int(250_000 * frames),
            round_frames=int(200_000 * frames),
            vision_training=vision,
            vision_retraining=replace(vision, max_seconds=90 * hours, learning_rate=3e-4),
            memory_training=memory,
            memory_retraining=replace(
                memory,
                max_seconds=share * 60 * hours,
                learning_rate=0.5 * memory.learning_rate,
            ),
            dream=dream,
            dream_again=replace(dream, log_std=-1.0, learning_rate=2e-4, learning_rate_final=5e-5),
            real=PPOConfig.real(steps=(_REAL_FRAMES - collected) // 4, anneal_by="time"),
            dream_seconds=150 * hours,
            dream_again_seconds=150 * hours,
            real_seconds=(1040 if symbols else 1700) * hours,
        )
