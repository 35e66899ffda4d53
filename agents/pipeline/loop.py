"""Training loop: each round trains a world model, and an agent in its dream.

This is the iterative procedure of World Models (https://arxiv.org/abs/1803.10122, section 5). Each
round collects rollouts, trains the world model on them, and trains an agent in the dream. The next
round collects rollouts with that agent. Finally the agent is fine-tuned in the real game.
"""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv

from wmrl.agents.agent import Agent
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.pipeline.layout import RunLayout
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.pipeline.stage_log import StageLog, store_frames
from wmrl.agents.policy_search.cma_es import CMAES
from wmrl.agents.policy_search.fitness import DreamFitness
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyAgent
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.seeds import EVALUATION_SEEDS
from wmrl.core.seeding import integer_seed
from wmrl.core.strict_json import jsonable
from wmrl.core.validation import check_int, check_seed
from wmrl.core.warning import WMRLWarning
from wmrl.data.reward_scale import return_std
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import WorldModel
from wmrl.memory.ensemble_training import train_ensemble
from wmrl.storage.run import Run
from wmrl.training.progress import announce, stage
from wmrl.vision.base import VISIONS, load_vision
from wmrl.vision.training import train_vision

# The curve has its own evaluation seeds, since reported scores use the first ones.
_CURVE_SEED = EVALUATION_SEEDS.start + 500_000
# Games that collect in parallel, and the agent steps of each that a limited collection aims at.
_GAMES, _STEPS_PER_GAME = 16, 500


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Paths of the results of a training run.

    Attributes:
        vision: folder of the artifact of the vision model.
        memory: folder of the artifact of the memory model.
        dream: folder of the artifact of the agent that was trained in dreams only.
        real: folder of the artifact of the agent that was fine-tuned in the real game; None if the
            plan has no fine-tuning.
        curve: CSV file with the score in the real game over the training time in minutes.
    """

    vision: Path
    memory: Path
    dream: Path
    real: Path | None
    curve: Path


def train(
    task: Task | str,
    path: str | Path,
    *,
    plan: TrainingPlan,
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> TrainResult:
    """Runs the training loop in a folder, or resumes it after an interruption.

    Each stage has its own folder below ``path``, and a stage that is complete is skipped. After an
    interruption at any time, the same call resumes the run. If the plan has no time limits, the
    results are bit-identical to those of an uninterrupted run.

    Args:
        task: task, or its name.
        path: folder of the run.
        plan: configuration of the run. The plan's vision model is adapted to the shape of the
            task's frames (:meth:`~wmrl.vision.base.Vision.fit_config`).
        seed: root seed.
        workers: number of worker processes for the games; 0 to run the games in this process, None
            for one worker per core. The number affects only the time that the run takes.
        device: device of the vision and memory models.
        progress: True to show progress bars.

    Raises:
        RunError: the folder is in use, or belongs to a run with another plan, task or seed.
        ValueError: no task has the given name, ``seed`` or ``workers`` is out of range, the vision
            model of the plan does not support frames of the task's shape, or ``real_frames`` of
            the plan leaves too few frames for the fine-tuning.
    """
    task = find_task(task)
    seed = check_seed("seed", seed)
    if workers is not None:
        check_int("workers", workers, at_least=0)
    vision_class = VISIONS.for_config(plan.vision)
    vision = vision_class.fit_config(plan.vision, task.frame_shape, task.frame_stack)
    plan = replace(plan, vision=vision)
    if plan.real_envs and plan.fine_tuning_steps(task.frame_skip) == 0:
        least = plan.real.rollout_steps * plan.real_envs * task.frame_skip
        raise ValueError(
            f"real_frames: expected at least {plan.collected_frames + least} (for the data "
            f"collection and one rollout of the fine-tuning), got {plan.real_frames}; set "
            "real_envs=0 to leave out the fine-tuning, or raise real_frames"
        )
    config = {
        "command": "train",
        "task": task.name,
        "frame_skip": task.frame_skip,
        "plan": asdict(plan),
        "seed": seed,
    }
    with Run(path, config=jsonable(config)) as run:
        loop = _Loop(run, task, plan, seed, workers, device, progress)
        for number in range(plan.rounds):
            loop.round(number)
        if plan.real_envs:
            loop.real()
        return loop.result()


class _Loop:
    """Stages of the training loop.

    If a stage was interrupted, it continues from its files. If a stage is complete, its result is
    loaded.
    """

    def __init__(
        self,
        run: Run,
        task: Task,
        plan: TrainingPlan,
        seed: int,
        workers: int | None,
        device: str,
        progress: bool,
    ) -> None:
        self._task, self._plan, self._seed = task, plan, seed
        self._layout = RunLayout(run.path, plan.vision_rounds)
        self._workers, self._device, self._progress = workers, device, progress
        self._stage_log = StageLog(run)
        self._stores: list[RolloutStore] = []
        self._world_model: WorldModel | None = None
        self._agent: Agent | None = None
        self._fine_tuning_frames = 0

    def round(self, number: int) -> None:
        """Runs a round: collects data, trains the world model, then trains and scores an agent."""
        stages = [
            ("collect", self._collect),
            ("memory", self._train_memory),
            ("dream", self._train_in_dream),
        ]
        if number < self._plan.vision_rounds:
            stages.insert(1, ("vision", self._train_vision))
        for name, work in stages:
            self._stage(f"round {number}: {name}", partial(work, number))
        self._score(f"round {number}", self._layout.round(number))

    def real(self) -> None:
        """Fine-tunes the agent of the last round in the real game, and scores the agent."""
        self._stage("real game", self._train_in_game)
        self._score("real game", self._layout.real)

    def result(self) -> TrainResult:
        """Writes the score curve, and returns the paths of the run's results."""
        last, layout = self._plan.rounds - 1, self._layout
        return TrainResult(
            vision=layout.vision(last),
            memory=layout.memory(last),
            dream=layout.agent(layout.round(last)),
            real=layout.agent(layout.real) if self._plan.real_envs else None,
            curve=self._stage_log.write_curve(),
        )

    def _collect(self, number: int) -> None:
        plan = self._plan
        frames = plan.first_frames if self._agent is None else plan.round_frames
        limited = plan.real_frames is not None
        agent_steps = frames // self._task.frame_skip
        store = collect(
            self._task,
            self._layout.round(number) / "data",
            policy=self._agent,  # at first None, which stands for random actions
            frames=frames,
            frame_limit=frames if limited else None,
            # With fewer games, more of each is seen before its last episode is cut off.
            num_envs=max(1, min(_GAMES, agent_steps // _STEPS_PER_GAME)) if limited else _GAMES,
            seed=self._seed_of("collect", number),
            noise=None if self._agent is None else NoisyAgent(max_scale=plan.noise),
            world_model=self._world_model,
            workers=self._workers,
            device=self._device,
            progress=self._progress,
        )
        self._stores.append(store)

    def _train_vision(self, number: int) -> None:
        plan = self._plan
        training = plan.vision_training if number == 0 else plan.vision_retraining
        train_vision(
            self._stores,
            self._layout.round(number) / "vision",
            config=plan.vision,
            training=replace(training, seed=self._seed_of("vision", number)),
            init=None if number == 0 else self._layout.vision(number - 1),
            device=self._device,
            progress=self._progress,
        )

    def _train_memory(self, number: int) -> None:
        plan, anew = self._plan, self._anew(number)
        vision = load_vision(self._layout.vision(number), device=self._device)
        training = plan.memory_training if anew else plan.memory_retraining
        members = range(plan.num_members)
        memory = train_ensemble(
            self._stores,
            self._layout.round(number) / "memory",
            vision=vision,
            num_members=plan.num_members,
            pessimism=plan.pessimism,
            noise_floor=plan.noise_floor,
            config=plan.memory,
            training=replace(training, seed=self._seed_of("memory", number)),
            init=None if anew else [self._layout.memory_member(number - 1, i) for i in members],
            device=self._device,
            progress=self._progress,
        )
        self._world_model = WorldModel.open(self._task, vision, memory)

    def _train_in_dream(self, number: int) -> None:
        ppo = self._plan.algorithm == "ppo"
        self._agent = (self._dream_by_ppo if ppo else self._dream_by_evolution)(number)

    def _dream_by_evolution(self, number: int) -> Agent:
        plan, world_model = self._plan, self._opened_world_model()
        stage = self._layout.round(number)
        trials = replace(
            plan.trials,
            agent_steps=plan.dream_agent_steps,
            temperature=plan.temperature,
            dropout=plan.dropout,
        )
        init = None if self._anew(number) else self._agent
        with CMAES(
            DreamFitness(world_model, trials),
            plan.evolution,
            path=stage / "learner",
            seed=self._seed_of("dream", number),
            init=init if isinstance(init, ControllerAgent) else None,
            world_model=self._layout.world_model_ref(world_model, number, stage),
        ) as learner:
            learner.learn(max_seconds=plan.dream_seconds, progress=self._progress)
            learner.save(self._layout.agent(stage), provenance=self._provenance())
            return learner.agent

    def _dream_by_ppo(self, number: int) -> Agent:
        plan, anew = self._plan, self._anew(number)
        env = DreamVectorEnv.from_world_model(
            self._opened_world_model(),
            plan.dreams,
            temperature=plan.temperature,
            dropout=plan.dropout,
            max_episode_steps=plan.dream_agent_steps,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        return self._learn_by_ppo(
            env,
            plan.dream if anew else plan.dream_again,
            self._layout.round(number),
            seed=self._seed_of("dream", number),
            init=None if anew else self._agent,
            max_seconds=plan.dream_seconds if anew else plan.dream_again_seconds,
        )

    def _train_in_game(self) -> None:
        plan = self._plan
        env = LatentVectorEnv.from_world_model(
            self._opened_world_model(),
            plan.real_envs,
            workers=self._workers,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self._agent = self._learn_by_ppo(
            env,
            replace(plan.real, steps=plan.fine_tuning_steps(self._task.frame_skip)),
            self._layout.real,
            seed=self._seed_of("real"),
            init=self._agent,
            max_seconds=plan.real_seconds,
            curve=True,
        )

    def _learn_by_ppo(
        self,
        env: VectorEnv[Any, Any, Any],
        config: PPOConfig,
        stage: Path,
        *,
        seed: int,
        init: Agent | None,
        max_seconds: float | None,
        curve: bool = False,
    ) -> Agent:
        """Trains an agent by PPO.

        Args:
            env: dreams or real games in which the agent is trained; closed after the training.
            config: configuration of PPO.
            stage: folder in which the agent is trained.
            seed: root seed of the training.
            init: agent whose training is continued; None to train an agent from scratch.
            max_seconds: time limit of the training in seconds; None for no limit.
            curve: True to add points to the score curve during the training. ``env`` must then be
                the real game.

        Returns:
            The trained agent.
        """
        config = replace(config, reward_scale=self._reward_scale(config.gamma))
        number = self._plan.rounds - 1 if curve else len(self._stores) - 1
        world_model = self._opened_world_model()
        with (
            closing(env),
            PPOLearner(
                env,
                config,
                path=stage / "learner",
                seed=seed,
                world_model=self._layout.world_model_ref(world_model, number, stage),
                init=init if isinstance(init, SB3Agent) else None,
                threads=1 if curve else None,  # the worker processes need the other cores
            ) as learner,
        ):

            def add_point(agent: Agent) -> dict[str, float]:
                self._fine_tuning_frames = learner.steps * world_model.frame_skip
                score = self._evaluate(agent)
                self._stage_log.add_point(
                    f"real game, {self._fine_tuning_frames} frames",
                    score,
                    frames=self._real_frames(),
                    frame_skip=world_model.frame_skip,
                )
                return {"score": score.mean}

            learner.learn(
                max_seconds=max_seconds,
                evaluator=add_point if curve else None,
                evaluate_every=self._plan.score_every,
                progress=self._progress,
            )
            if curve:
                self._fine_tuning_frames = learner.steps * world_model.frame_skip
            learner.save(self._layout.agent(stage), provenance=self._provenance())
            return learner.agent

    def _reward_scale(self, gamma: float) -> float:
        """Returns the factor by which PPO multiplies rewards.

        The factor depends only on the data of the rounds that train from scratch. Later rounds keep
        this factor, because they continue to train a value network that fits rewards at this scale.
        """
        if self._plan.ppo_reward_scale is not None:
            return self._plan.ppo_reward_scale
        spread = return_std(self._stores[: self._plan.vision_rounds], gamma=gamma)
        return 1.0 / spread if spread > 0 else 1.0

    def _real_frames(self) -> int:
        """Counts the frames of the real game that the training has used so far.

        An agent step counts as ``frame_skip`` frames. Frames that were played for scores are not
        counted.
        """
        return sum(store_frames(store) for store in self._stores) + self._fine_tuning_frames

    def _score(self, label: str, folder: Path) -> None:
        """Scores the agent of a stage, and adds a point to the score curve.

        The agent is scored in the real game and in the dream. If ``folder`` holds the scores
        already, this method does nothing.

        Args:
            label: name of the point.
            folder: folder of the stage that trained the agent. The scores are saved there.
        """
        if self._agent is None or _scored(folder):
            return
        with self._named(f"{label}: score", show=self._progress):
            self._add_score(self._agent, label, folder)

    def _add_score(self, agent: Agent, label: str, folder: Path) -> None:
        promise = evaluate_dream(
            agent,
            episodes=100,
            agent_steps=self._plan.dream_agent_steps,
            temperature=self._plan.temperature,
            dropout=self._plan.dropout,
            seed=_CURVE_SEED,
            world_model=self._world_model,
        )
        score = self._evaluate(agent)
        self._stage_log.add_point(
            label,
            score,
            promise=promise,
            frames=self._real_frames(),
            frame_skip=self._task.frame_skip,
        )
        promise.save(folder / "promise.json")
        score.save(folder / "score.json")
        announce(
            f"{label}: {score}; in the game {score.per_agent_step:.2f} per agent step for "
            f"{fmean(score.lengths):.0f} steps, in the dream {promise.per_agent_step:.2f} for "
            f"{fmean(promise.lengths):.0f} of at most {self._plan.dream_agent_steps}",
            show=self._progress,
        )

    def _evaluate(self, agent: Agent) -> EvaluationResult:
        """Scores an agent in the real game, in the base environment of the task.

        The base environment may be a faster reimplementation of the original game.
        """
        lengths = [summary.length for summary in self._stores[-1].summaries]
        with self._stage_log.paused():
            return evaluate(
                agent,
                episodes=self._plan.scored_episodes(sum(lengths) / len(lengths)),
                base=self._task.env_id,
                seed=_CURVE_SEED,
                world_model=self._world_model,
                workers=self._workers,
                progress=self._progress,
            )

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        new = self._stage_log.seconds(name) is None
        with self._named(name, show=self._progress and new), self._stage_log.timed(name):
            work()

    def _named(self, name: str, *, show: bool) -> AbstractContextManager[None]:
        """Returns a context in which progress bars show the name of a stage.

        Args:
            name: name of the stage.
            show: True to print a line that names this stage and the next stage.
        """
        names = self._plan.stages
        after = names.index(name) + 1
        following = names[after] if after < len(names) else ""
        return stage(name, following=following, show=show)

    def _anew(self, number: int) -> bool:
        """Returns True if a round trains its memory model and its agent from scratch.

        The result is True for exactly the rounds that train the vision model.
        """
        return number < self._plan.vision_rounds

    def _opened_world_model(self) -> WorldModel:
        assert self._world_model is not None, "each round opens it before it is used"
        return self._world_model

    def _seed_of(self, *path: int | str) -> int:
        return integer_seed(self._seed, "train", *path)

    def _provenance(self) -> dict[str, Any]:
        return {
            "command": "train",
            "root_seed": self._seed,
            "data": [store.content_hash() for store in self._stores],
        }


def _scored(stage: Path) -> bool:
    """Returns True if the agent of a stage has been scored, in the game and in the dream.

    If a file with a score is damaged, a warning is shown and the result is False, so that the agent
    is scored again.

    Args:
        stage: folder of the stage, which contains the files with the scores.
    """
    paths = [stage / "promise.json", stage / "score.json"]
    if not all(os.path.lexists(path) for path in paths):
        return False
    try:
        for path in paths:
            EvaluationResult.load(path)
    except ValueError as error:
        warnings.warn(
            f"{error} (no action is needed: the agent is evaluated again)",
            WMRLWarning,
            stacklevel=2,
        )
        return False
    return True
