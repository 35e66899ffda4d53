"""Configuration of the training loop: amounts of data and training."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self

from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.ensemble import ensemble_class
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

# Base frames of the real game, including collection, in a plan of one hour or more.
_REAL_FRAMES = 9_500_000
_LEAST_EPISODES = 5  # of a point of the score curve
# Rough estimates of the seconds that rounds take beside the training, on two cores.
_ROUND_SECONDS, _REAL_SECONDS = 20.0, 30.0
_WARM_UP_SECONDS = 200.0  # of a VQ-VAE, which no time limit shortens


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Configuration of a training run: amounts of data and training, and settings of all stages.

    Attributes:
        rounds: number of rounds of data collection and training.
        first_frames: number of base frames that are collected with random actions in the first
            round.
        round_frames: number of base frames that are collected with the agent in each later round.
        noise: upper bound of the scale of the agent's exploration noise, passed as ``max_scale`` to
            :class:`~wmrl.agents.rollouts.exploration.NoisyAgent`.
        vision_rounds: number of initial rounds that train the vision model. In these rounds the
            memory model and the agent are trained from scratch. Later rounds keep the vision model,
            and continue the training of the memory model and the agent.
        vision: configuration of the vision model, a VAE or a VQ-VAE.
        vision_training: configuration of the vision model's training in the first round.
        vision_retraining: configuration of the vision model's further training, after the first
            round.
        memory: configuration of the memory model. A memory model with discrete latents needs a
            VQ-VAE as the vision model.
        memory_training: configuration of the memory model's training from scratch.
        memory_retraining: configuration of the memory model's further training with more data.
        num_members: number of memory models in the ensemble.
        pessimism: weight of the members' disagreement. The predicted reward is the mean of the
            members' rewards minus ``pessimism`` times their standard deviation.
        noise_floor: lower bound of the standard deviation σ of each Gaussian in the dream.
        temperature: temperature τ of the dream.
        dropout: True if the dropout of the memory models is active in the dream.
        algorithm: algorithm of the training in the dream, ``"ppo"`` or ``"cma-es"``.
        evolution: configuration of CMA-ES.
        trials: configuration of the dreams in which CMA-ES scores controllers. The plan's
            ``dream_agent_steps``, ``temperature`` and ``dropout`` take precedence over the values
            in ``trials``.
        dreams: number of dreams that PPO runs in parallel, as one batch.
        dream_agent_steps: maximal number of agent steps of a dream.
        dream: configuration of PPO in the dream if the agent is trained from scratch.
        dream_seconds: time limit in seconds for PPO from scratch, and for CMA-ES in every round;
            None for no limit.
        dream_again: configuration of PPO in the dream if the agent of the previous round is trained
            further.
        dream_again_seconds: time limit in seconds for further training by PPO; None for no limit.
        real_envs: number of parallel games in which the agent is fine-tuned; 0 for no fine-tuning.
            With CMA-ES it must be 0.
        real: configuration of PPO in the real game.
        real_seconds: time limit in seconds for the fine-tuning; None for no limit.
        score_episodes: number of episodes that are played for each point of the score curve.
        score_every: number of chunks of PPO (see
            :attr:`~wmrl.agents.ppo.config.PPOConfig.chunk_rollouts`) between points of the score
            curve during fine-tuning.

    Raises:
        ValueError: an attribute is out of range, or two attributes cannot be combined.

    Example:
        >>> from wmrl.agents import TrainingPlan
        >>> plan = TrainingPlan.for_hours(1.0)
        >>> plan.rounds, plan.first_frames, plan.real_seconds
        (5, 250000, 1700.0)
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
    num_members: int = 2
    pessimism: float = 1.0
    noise_floor: float = 0.0
    temperature: float = 1.0
    dropout: bool = True
    algorithm: Literal["ppo", "cma-es"] = "ppo"
    evolution: CMAESConfig = field(default_factory=CMAESConfig)
    trials: DreamFitnessConfig = field(default_factory=DreamFitnessConfig)
    dreams: int = 256
    dream_agent_steps: int = 50
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
        check_fields(self)
        for name in ("rounds", "first_frames", "round_frames", "vision_rounds"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("dreams", "dream_agent_steps", "score_episodes", "score_every"):
            check_int(name, getattr(self, name), at_least=1)
        for name in ("dream_seconds", "dream_again_seconds", "real_seconds"):
            if getattr(self, name) is not None:
                check_float(name, getattr(self, name), above=0)
        check_float("noise", self.noise, at_least=0)
        check_float("temperature", self.temperature, above=0)
        discrete = isinstance(self.memory, CodeMemoryConfig)
        if discrete and not isinstance(self.vision, VQVAEConfig):
            raise ValueError(
                "vision: expected a VQVAEConfig for a memory model with discrete latents, got "
                "a VAEConfig; set vision=VQVAEConfig(), or memory=MDNRNNConfig()"
            )
        ensemble_class(self.memory).config_class(  # checks the values
            num_members=self.num_members, pessimism=self.pessimism, noise_floor=self.noise_floor
        )
        check_int("real_envs", self.real_envs, at_least=0)
        check_choice("algorithm", self.algorithm, ("ppo", "cma-es"))
        if self.algorithm == "cma-es" and self.real_envs:
            raise ValueError(
                f"real_envs: expected 0 with CMA-ES, got {self.real_envs}; set real_envs=0, "
                "or algorithm='ppo', because fine-tuning in the real game uses PPO"
            )

    @property
    def least_seconds(self) -> float:
        """Estimated minimum time of a run on two cores, in seconds.

        This is the time of the work that has no time limit: starting games, encoding frames,
        evaluating models and agents, and warming up a VQ-VAE.
        """
        least = _ROUND_SECONDS * self.rounds + (_REAL_SECONDS if self.real_envs else 0.0)
        warm_ups = self.vision_rounds if isinstance(self.vision, VQVAEConfig) else 0
        return least + _WARM_UP_SECONDS * min(warm_ups, 1)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of all stages of the run, in order."""
        names = []
        for number in range(self.rounds):
            vision = ("vision",) if number < self.vision_rounds else ()
            each = ("collect", *vision, "memory", "dream", "score")
            names += [f"round {number}: {name}" for name in each]
        return (*names, *(("real game", "real game: score") if self.real_envs else ()))

    @classmethod
    def for_hours(
        cls, hours: float, *, latents: Literal["continuous", "discrete"] = "continuous"
    ) -> Self:
        """Creates a plan for a run of about ``hours`` hours on two cores.

        About half of the time is for fine-tuning in the real game. Each training stage has a time
        limit, so that a slower machine finishes in time with less training. Because of these
        limits, two runs with the same seed are not identical. If ``hours`` is less than 1, each
        score is averaged over fewer episodes as well. A run takes at least :attr:`least_seconds`.

        Args:
            hours: total time in hours.
            latents: ``"continuous"`` for a VAE and an MDN-RNN, or ``"discrete"`` for a VQ-VAE and a
                memory model with discrete latents. A memory model with discrete latents learns more
                slowly, so it gets twice the training time, and the fine-tuning gets less.

        Raises:
            ValueError: ``hours`` is not above 0.
        """
        check_float("hours", hours, above=0)
        check_choice("latents", latents, ("continuous", "discrete"))
        discrete = latents == "discrete"
        frames = min(hours, 4.0)  # more than a million frames per round do not help
        collected = int((250_000 + 4 * 200_000) * frames)
        starts = StartStatesConfig(max_states=1024)
        share = 2 if discrete else 1
        make = MemoryTrainingConfig.discrete if discrete else MemoryTrainingConfig
        memory = make(steps=100_000, max_seconds=share * 75 * hours, start_states=starts)
        vision = TrainingConfig(steps=1_000_000, max_seconds=150 * hours)
        dream = PPOConfig.dream(steps=1_000_000_000, anneal_by="time")
        return cls(
            rounds=5,
            vision=VQVAEConfig() if discrete else VAEConfig(),
            memory=CodeMemoryConfig() if discrete else MDNRNNConfig(),
            noise_floor=0.0 if discrete else 0.2,
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
            real_seconds=(1040 if discrete else 1700) * hours,
            score_episodes=max(_LEAST_EPISODES, round(50 * min(hours, 1.0))),
        )
