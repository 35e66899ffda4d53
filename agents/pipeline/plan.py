"""Configuration of the training loop: amounts of data and training."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from wmrl.agents.pipeline.presets import preset_of
from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.core.config import check_fields
from wmrl.core.validation import check_choice, check_float, check_int
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.ensemble import ensemble_class
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.start_states import StartStatesConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig

# Base frames of the real game, including collection, in a plan of one hour or more, for a task with
# four of them per agent step.
_REAL_FRAMES = 9_500_000
_REAL_ENVS = 32
_DREAM_AGENT_STEPS = 50
_FINE_TUNING_SHARE = 0.2  # of the frames in a plan with a limit
_LEAST_EPISODES = 5  # of a point of the score curve
_STEPS_PER_EPISODE = 300  # agent steps up to which all planned episodes are scored
# Rough estimates of the seconds that rounds take beside the training, on two cores.
_ROUND_SECONDS, _REAL_SECONDS = 20.0, 30.0
_WARM_UP_SECONDS = 200.0  # of a VQ-VAE, which no time limit shortens
_COLLECTING_SHARE = 1 / 30  # of the time, up to four hours, in which more frames are collected
_LEAST_TRAINING_SHARE = 0.3  # of the time in very short plans, which then take longer than planned
# Agent steps per second of the fine-tuning on a slow machine, for plans with few of them.
_LEAST_REAL_RATE = 200


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Configuration of a training run: amounts of data and training, and settings of all stages.

    Base frames are the frames of the game before frame skip. The frame skip of the task is the
    number of base frames per agent step.

    Attributes:
        rounds: number of rounds of data collection and training.
        first_frames: number of base frames that are collected with random actions in the first
            round.
        round_frames: number of base frames that are collected with the agent in each later round.
        real_frames: limit on the number of base frames of the real game, for the collection and the
            fine-tuning together; None for no limit. Episodes that are in progress when the limit is
            reached are cut off. Frames that are played for scores do not count. Frames that are
            played again after an interruption count once.
        noise: upper bound of the scale of the agent's exploration noise, passed as ``max_scale`` to
            :class:`~wmrl.agents.rollouts.exploration.NoisyAgent`.
        vision_rounds: number of initial rounds that train the vision model. In these rounds the
            memory model and the agent are trained from scratch. Later rounds keep the vision model,
            and continue the training of the memory model and the agent.
        vision: configuration of the vision model, a VAE or a VQ-VAE.
        vision_training: configuration of the vision model's training in the first round.
        vision_retraining: configuration of the vision model's further training, in the rounds
            after the first one.
        memory: configuration of the memory model. A memory model with discrete latents needs a
            VQ-VAE as the vision model.
        memory_training: configuration of the memory model's training from scratch.
        memory_retraining: configuration of the memory model's further training with more data.
        num_members: number of memory models in the ensemble.
        pessimism: weight of the disagreement between the memory models of the ensemble. The reward
            in the dream is the mean of their predictions minus ``pessimism`` times the standard
            deviation of their predictions.
        noise_floor: lower bound of the standard deviation σ of each Gaussian that a memory model
            predicts in the dream; 0 for no additional bound. With discrete latents it must be 0.
        temperature: temperature τ of the dream.
        dropout: True to keep the dropout of the memory models active in the dream.
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
        ppo_reward_scale: factor by which PPO multiplies rewards. It replaces the attribute
            ``reward_scale`` of ``dream``, ``dream_again`` and ``real``, because the value network
            learns in all three. If None, the factor is 1 / s, where s is the standard deviation of
            the discounted returns in the data of the first ``vision_rounds`` rounds.
        real_envs: number of parallel games in which the agent is fine-tuned; 0 for no fine-tuning.
            With CMA-ES it must be 0.
        real: configuration of PPO in the real game.
        real_seconds: time limit in seconds for the fine-tuning; None for no limit.
        score_episodes: number of episodes that are played for each point of the score curve.
        score_agent_steps: number of agent steps of the game that the episodes of a point should not
            exceed. If the recorded episodes are so long that ``score_episodes`` of them would have
            more steps, fewer episodes are played, but at least 5. None for no such limit.
        score_every: number of chunks of PPO (see
            :attr:`~wmrl.agents.ppo.config.PPOConfig.chunk_rollouts`) between two points of the
            score curve during the fine-tuning.

    Raises:
        ValueError: an attribute is out of range, or two attributes cannot be combined.

    Example:
        >>> from wmrl.agents import TrainingPlan
        >>> plan = TrainingPlan.for_minutes(60)
        >>> plan.rounds, plan.first_frames, plan.real_seconds
        (5, 250000, 1700.0)
        >>> plan = TrainingPlan.for_minutes(60, real_frames=400_000)
        >>> plan.collected_frames, plan.fine_tuning_steps(frame_skip=4)
        (399998, 0)
    """

    rounds: int = 4
    first_frames: int = 250_000
    round_frames: int = 200_000
    real_frames: int | None = None
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
    dream_agent_steps: int = _DREAM_AGENT_STEPS
    dream: PPOConfig = field(default_factory=PPOConfig.dream)
    dream_seconds: float | None = None
    dream_again: PPOConfig = field(default_factory=PPOConfig.dream)
    dream_again_seconds: float | None = None
    ppo_reward_scale: float | None = None
    real_envs: int = _REAL_ENVS
    real: PPOConfig = field(default_factory=PPOConfig.real)
    real_seconds: float | None = None
    score_episodes: int = 50
    score_agent_steps: int | None = None
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
        if self.score_agent_steps is not None:
            check_int("score_agent_steps", self.score_agent_steps, at_least=1)
        if self.ppo_reward_scale is not None:
            check_float("ppo_reward_scale", self.ppo_reward_scale, above=0)
        check_float("noise", self.noise, at_least=0)
        check_float("temperature", self.temperature, above=0)
        if self.real_frames is not None:
            check_int("real_frames", self.real_frames, at_least=1)
            if self.real_frames < self.collected_frames:
                raise ValueError(
                    f"real_frames: expected at least {self.collected_frames} (the frames that "
                    f"{self.rounds} rounds collect), got {self.real_frames}; raise real_frames, or "
                    "lower first_frames and round_frames"
                )
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
        warm_up = _WARM_UP_SECONDS if isinstance(self.vision, VQVAEConfig) else 0.0
        return self._untimed_seconds + warm_up

    @property
    def _untimed_seconds(self) -> float:
        """Estimated seconds of starting games, encoding and scoring on two cores."""
        return _ROUND_SECONDS * self.rounds + (_REAL_SECONDS if self.real_envs else 0.0)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of all stages of the run, in order."""
        names = []
        for number in range(self.rounds):
            vision = ("vision",) if number < self.vision_rounds else ()
            each = ("collect", *vision, "memory", "dream", "score")
            names += [f"round {number}: {name}" for name in each]
        return (*names, *(("real game", "real game: score") if self.real_envs else ()))

    def fine_tuning_steps(self, frame_skip: int) -> int:
        """Returns the number of agent steps of the fine-tuning in the real game.

        If ``real_frames`` is None, the number is ``real.steps``. Otherwise the fine-tuning may use
        only the frames that remain after the data collection, and the number may be lower than
        ``real.steps``. The number is then rounded down to whole rollouts, because PPO always
        completes a rollout. Without fine-tuning, the number is 0.

        Args:
            frame_skip: number of frames of the game per agent step.
        """
        if not self.real_envs:
            return 0
        if self.real_frames is None:
            return self.real.steps
        rollout = self.real.rollout_steps * self.real_envs
        left = (self.real_frames - self.collected_frames) // frame_skip
        return min(self.real.steps, left) // rollout * rollout

    def scored_episodes(self, length: float) -> int:
        """Returns the number of episodes that are played for a point of the score curve.

        Args:
            length: mean length of the recorded episodes of the latest round, in agent steps.
        """
        if self.score_agent_steps is None:
            return self.score_episodes
        affordable = int(self.score_agent_steps / length)
        return min(self.score_episodes, max(_LEAST_EPISODES, affordable))

    @property
    def collected_frames(self) -> int:
        """Number of frames of the real game that all rounds together collect."""
        return self.first_frames + (self.rounds - 1) * self.round_frames

    @classmethod
    def for_minutes(
        cls,
        minutes: float,
        *,
        task: Task = CAR_RACING,
        latents: Literal["continuous", "discrete"] | None = None,
        rounds: int = 5,
        fine_tuning: bool = True,
        real_frames: int | None = None,
    ) -> Self:
        """Creates a plan for a run of about ``minutes`` minutes on two cores.

        About half of the time is for fine-tuning in the real game. If there is none, or only a
        short one, the other stages get this time. Each training stage has a time limit, so that a
        slower machine finishes in time with less training. Because of these limits, two runs with
        the same seed are not identical. If ``minutes`` is less than 60 or episodes are long, each
        score is averaged over fewer episodes. A run takes at least :attr:`least_seconds`.

        If ``real_frames`` is too low for the usual amount of data, a fifth of the frames is
        reserved for the fine-tuning, and four fifths are for data collection. If a fifth is too
        little for fine-tuning to improve an agent, the data collection may use all frames, and the
        plan has no fine-tuning.

        Args:
            minutes: total time in minutes.
            task: task that is played. The number of agent steps to collect is the same for all
                tasks, so more frames are collected if the frame skip is larger. Some tasks have
                tuned settings (:data:`~wmrl.agents.pipeline.presets.PRESETS`).
            latents: ``"continuous"`` for a VAE and an MDN-RNN, or ``"discrete"`` for a VQ-VAE and a
                memory model with discrete latents. A memory model with discrete latents learns more
                slowly, so it gets twice the training time, and the fine-tuning gets less. None for
                the kind that the task's tuned settings name, or continuous latents without such
                settings.
            rounds: number of rounds of data collection and training.
            fine_tuning: False for a plan without fine-tuning in the real game.
            real_frames: limit on the number of frames of the real game, for the data collection and
                the fine-tuning together. At least ``100 * rounds * task.frame_skip``, which allows
                100 agent steps per round. None for no limit.

        Raises:
            ValueError: ``minutes`` is not above 0, or another argument is out of range.
        """
        hours = check_float("minutes", minutes, above=0) / 60
        check_int("rounds", rounds, at_least=1)
        if real_frames is not None:
            check_int("real_frames", real_frames, at_least=100 * rounds * task.frame_skip)
        preset = preset_of(task.name)
        latents = preset.latents if latents is None else latents
        check_choice("latents", latents, ("continuous", "discrete"))
        discrete = latents == "discrete"
        # More than a million agent steps of four frames per round do not help.
        frames = min(hours, 4.0) * task.frame_skip / 4
        first, later = int(250_000 * frames), int(200_000 * frames)
        real_steps = (_REAL_FRAMES - int((250_000 + 4 * 200_000) * min(hours, 4.0))) // 4
        fine_tuning = fine_tuning and _fits_fine_tuning(real_frames, task.frame_skip)
        if real_frames is not None:
            share = (1 - _FINE_TUNING_SHARE) if fine_tuning else 1.0
            scale = min(1.0, share * real_frames / (first + (rounds - 1) * later))
            first, later = max(1, int(first * scale)), max(1, int(later * scale))
        starts = StartStatesConfig(max_states=1024)
        training: dict[str, Any] = {
            "steps": 100_000,
            "sequence_length": preset.sequence_length,
            "start_states": starts,
        }
        memory = (
            MemoryTrainingConfig.discrete(**training)
            if discrete
            else MemoryTrainingConfig(**training)
        )
        vision = TrainingConfig(steps=1_000_000)
        score_episodes = max(_LEAST_EPISODES, round(50 * min(hours, 1.0)))
        by_time: dict[str, Any] = {"steps": 1_000_000_000, "anneal_by": "time"}
        plan = cls(
            rounds=rounds,
            vision=preset.vqvae
            if discrete
            else VAEConfig(
                latent_dim=preset.latent_dim,
                pixel_variance=preset.pixel_variance,
                mean_frame=preset.mean_frame,
            ),
            memory=replace(preset.code_memory, reward_scale=preset.reward_scale)
            if discrete
            else MDNRNNConfig(reward_scale=preset.reward_scale, features=preset.features),
            num_members=preset.num_members,
            noise_floor=0.0 if discrete else preset.noise_floor,
            noise=preset.noise,
            temperature=preset.temperature,
            dropout=preset.dropout,
            dream_agent_steps=_DREAM_AGENT_STEPS
            if preset.dream_frames is None
            else -(-preset.dream_frames // task.frame_skip),
            ppo_reward_scale=preset.ppo_reward_scale,
            first_frames=first,
            round_frames=later,
            real_frames=real_frames,
            vision_rounds=preset.vision_rounds,
            vision_training=vision,
            vision_retraining=replace(vision, learning_rate=3e-4),
            memory_training=memory,
            memory_retraining=replace(memory, learning_rate=0.5 * memory.learning_rate),
            dream=replace(preset.dream, **by_time),
            dream_again=replace(preset.dream_again, **by_time),
            real_envs=_REAL_ENVS if fine_tuning else 0,
            real=PPOConfig.real(steps=real_steps, anneal_by="time"),
            score_episodes=score_episodes,
            score_agent_steps=_STEPS_PER_EPISODE * score_episodes,
        )
        return plan._within(60 * minutes, frame_skip=task.frame_skip)

    def _within(self, seconds: float, *, frame_skip: int) -> Self:
        """Returns this plan with time limits of all stages.

        Args:
            seconds: time of the whole run on two cores.
            frame_skip: number of frames of the game per agent step.
        """
        other = self._untimed_seconds + _COLLECTING_SHARE * min(seconds, 4 * 3600)
        training = max(seconds - other, _LEAST_TRAINING_SHARE * seconds)
        discrete = isinstance(self.memory, CodeMemoryConfig)
        memory_share = 2 if discrete else 1
        real = training * (1040 if discrete else 1700) / 3350
        real = min(real, self.fine_tuning_steps(frame_skip) / _LEAST_REAL_RATE)
        # Shares of the stages, in seconds of a run of an hour and five rounds with fine-tuning.
        anew = min(self.rounds, self.vision_rounds)
        vision = 150 + 90 * (anew - 1)
        memory = 2 * memory_share * (75 * anew + 60 * (self.rounds - anew))
        unit = (training - real) / (vision + memory + 150 * self.rounds)
        member = 2 * memory_share * unit / self.num_members
        return replace(
            self,
            vision_training=replace(self.vision_training, max_seconds=150 * unit),
            vision_retraining=replace(self.vision_retraining, max_seconds=90 * unit),
            memory_training=replace(self.memory_training, max_seconds=75 * member),
            memory_retraining=replace(self.memory_retraining, max_seconds=60 * member),
            dream_seconds=150 * unit,
            dream_again_seconds=150 * unit,
            real_seconds=real if self.real_envs else None,
        )


def _fits_fine_tuning(real_frames: int | None, frame_skip: int) -> bool:
    """Returns True if fine-tuning can improve an agent with a fifth of ``real_frames``.

    Args:
        real_frames: limit on the number of frames of the real game. If None, there is no limit, and
            the result is True.
        frame_skip: number of frames of the game per agent step.
    """
    if real_frames is None:
        return True
    preset = PPOConfig.real()
    rollout = preset.rollout_steps * _REAL_ENVS * frame_skip
    return _FINE_TUNING_SHARE * real_frames >= 2 * preset.critic_rollouts * rollout
