"""The loop: from nothing to a driver that learned in its own dream, and then in the real game.

World Models' iterative procedure (https://arxiv.org/abs/1803.10122, section 5): drive, learn what
the world looks like and does, learn to drive in the dream of it, drive with that, and again.
"""

import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode, VectorEnv
from rich.console import Console

from wmrl.agents.agent import Agent
from wmrl.agents.controller import ControllerAgent
from wmrl.agents.evaluation import EvaluationResult, evaluate, evaluate_dream
from wmrl.agents.pipeline.journal import Journal, store_frames
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.policy_search.cma_es import CMAES
from wmrl.agents.policy_search.fitness import DreamFitness
from wmrl.agents.ppo.learner import PPOConfig, PPOLearner
from wmrl.agents.rollouts.collection import collect
from wmrl.agents.rollouts.exploration import NoisyBehaviour, SmoothedBehaviour
from wmrl.agents.sb3.agent import SB3Agent
from wmrl.agents.seeds import EVALUATION_SEEDS
from wmrl.agents.world_model_ref import eye_entry
from wmrl.core.seeding import integer_seed
from wmrl.data.store import RolloutStore
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.latent.vector import LatentVectorEnv
from wmrl.envs.tasks.registry import find_task
from wmrl.envs.tasks.task import Task
from wmrl.envs.world_model import Eye
from wmrl.memory.training import train_ensemble
from wmrl.storage.run import Run
from wmrl.vision.base import load_vision
from wmrl.vision.training import train_vision

# The curve is measured on seeds of its own: scores that are reported use the first ones.
_CURVE_SEED = EVALUATION_SEEDS.start + 500_000


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What the loop made.

    Attributes:
        vision: folder of the vision's artifact.
        memory: folder of the memory's artifact.
        dream: folder of the driver that saw only dreams.
        real: folder of the driver that went on in the real game; None where the plan has none.
        curve: file with the real score over minutes, CSV.
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
    """Runs the whole loop in a folder, from wherever an earlier call in it was stopped.

    Every stage is a run of its own below ``path`` and is skipped where it is done; killed at any
    moment, the same call goes on, and (with a plan without time limits) ends with the same bits.

    Args:
        task: the game, or its name.
        path: folder of the run.
        plan: how much of everything.
        seed: root of all randomness.
        workers: processes that play; their number changes nothing but the time.
        device: where models are trained and run.
        progress: show progress bars.

    Raises:
        RunError: the folder is in use, or belongs to another plan, task or seed.
    """
    task = find_task(task)
    config = {"command": "train", "task": task.name, "plan": asdict(plan), "seed": seed}
    with Run(path, config=json.loads(json.dumps(config))) as run:
        loop = _Loop(run, task, plan, seed, workers, device, progress)
        for number in range(plan.rounds):
            loop.round(number)
        if plan.real_envs:
            loop.real()
        return loop.result()


class _Loop:
    """The stages, each of which is idempotent; the files that they leave are all the state."""

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
        self._path, self._task, self._plan, self._seed = run.path, task, plan, seed
        self._workers, self._device, self._progress = workers, device, progress
        self._journal = Journal(run)
        self._console = Console(quiet=not progress)
        self._stores: list[RolloutStore] = []
        self._eye: Eye | None = None
        self._driver: Agent | None = None
        self._fine_tuning_frames = 0

    def round(self, number: int) -> None:
        """Collects, learns the world, learns to act in the dream of it, and takes the score."""
        stages = [("collect", self._collect), ("memory", self._remember), ("dream", self._dream)]
        if number < self._plan.vision_rounds:
            stages.insert(1, ("vision", self._see))
        for name, stage in stages:
            self._stage(f"round {number}: {name}", partial(stage, number))
        self._score(f"round {number}", self._folder(number))

    def real(self) -> None:
        """Goes on in the real game from the driver that the last dream made."""
        self._stage("real game", self._drive)
        self._score("real game", self._path / "real")

    def result(self) -> TrainResult:
        """Where things are."""
        last = self._plan.rounds - 1
        return TrainResult(
            vision=self._vision_path(last),
            memory=self._folder(last) / "memory" / "artifact",
            dream=self._folder(last) / "driver",
            real=self._path / "real" / "driver" if self._plan.real_envs else None,
            curve=self._journal.write_curve(),
        )

    def _collect(self, number: int) -> None:
        plan = self._plan
        store = collect(
            self._task,
            self._folder(number) / "data",
            policy=SmoothedBehaviour() if self._driver is None else self._driver,
            frames=plan.first_frames if self._driver is None else plan.round_frames,
            seed=self._seed_of("collect", number),
            noise=None if self._driver is None else NoisyBehaviour(largest=plan.noise),
            eye=self._eye,
            workers=self._workers,
            device=self._device,
            progress=self._progress,
        )
        self._stores.append(store)

    def _see(self, number: int) -> None:
        plan = self._plan
        training = plan.vision_training if number == 0 else plan.vision_retraining
        train_vision(
            self._stores,
            self._folder(number) / "vision",
            config=plan.vision,
            training=replace(training, seed=self._seed_of("vision", number)),
            init=None if number == 0 else self._vision_path(number - 1),
            device=self._device,
            progress=self._progress,
        )

    def _remember(self, number: int) -> None:
        plan, anew = self._plan, self._anew(number)
        vision = load_vision(self._vision_path(number), device=self._device)
        before = self._folder(number - 1) / "memory"
        training = plan.memory_training if anew else plan.memory_retraining
        memory = train_ensemble(
            self._stores,
            self._folder(number) / "memory",
            vision=vision,
            members=plan.members,
            pessimism=plan.pessimism,
            noise_floor=plan.noise_floor,
            config=plan.memory,
            training=replace(training, seed=self._seed_of("memory", number)),
            init=None if anew else [before / f"member-{i}/artifact" for i in range(plan.members)],
            device=self._device,
            progress=self._progress,
        )
        self._eye = Eye.open(self._task, vision, memory)

    def _dream(self, number: int) -> None:
        learn = self._dream_by_ppo if self._plan.algorithm == "ppo" else self._dream_by_evolution
        self._driver = learn(number)

    def _dream_by_evolution(self, number: int) -> Agent:
        plan, folder = self._plan, self._folder(number)
        trials = replace(
            plan.trials,
            decisions=plan.dream_decisions,
            temperature=plan.temperature,
            dropout=plan.dropout,
        )
        before = None if self._anew(number) else self._driver
        with CMAES(
            DreamFitness(self._opened_eye(), trials),
            plan.evolution,
            path=folder / "learner",
            seed=self._seed_of("dream", number),
            init=before if isinstance(before, ControllerAgent) else None,
            eye=self._eye_entry(number, folder),
        ) as learner:
            learner.learn(max_seconds=plan.dream_seconds, progress=self._progress)
            learner.save(folder / "driver", provenance=self._provenance())
            return learner.agent

    def _dream_by_ppo(self, number: int) -> Agent:
        plan, eye, anew = self._plan, self._opened_eye(), self._anew(number)
        env = DreamVectorEnv(
            plan.dreams,
            task=self._task,
            vision=eye.vision,
            memory=eye.memory,  # type: ignore[arg-type]  # there is one
            temperature=plan.temperature,
            dropout=plan.dropout,
            max_episode_steps=plan.dream_decisions,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        return self._learn(
            env,
            plan.dream if anew else plan.dream_again,
            self._folder(number),
            seed=self._seed_of("dream", number),
            init=None if anew else self._driver,
            max_seconds=plan.dream_seconds if anew else plan.dream_again_seconds,
        )

    def _drive(self) -> None:
        plan, eye = self._plan, self._opened_eye()
        env = LatentVectorEnv(
            plan.real_envs,
            task=self._task,
            vision=eye.vision,
            memory=eye.memory,
            workers=self._workers,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self._driver = self._learn(
            env,
            plan.real,
            self._path / "real",
            seed=self._seed_of("real"),
            init=self._driver,
            max_seconds=plan.real_seconds,
            curve=True,
        )

    def _learn(
        self,
        env: VectorEnv[Any, Any, Any],
        config: PPOConfig,
        folder: Path,
        *,
        seed: int,
        init: Agent | None,
        max_seconds: float | None,
        curve: bool = False,
    ) -> Agent:
        eye = self._eye_entry(self._plan.rounds - 1 if curve else len(self._stores) - 1, folder)
        with (
            closing(env),
            PPOLearner(
                env,
                config,
                path=folder / "learner",
                seed=seed,
                eye=eye,
                init=init if isinstance(init, SB3Agent) else None,
                threads=1 if curve else None,  # of a small policy, beside worker processes
            ) as learner,
        ):

            def point(agent: Agent) -> dict[str, float]:
                self._fine_tuning_frames = learner.steps * self._opened_eye().frame_skip
                score = self._evaluate(agent)
                self._journal.add_point(
                    f"real game, {self._fine_tuning_frames} frames",
                    score,
                    frames=self._real_frames(),
                )
                return {"score": score.mean}

            learner.learn(
                max_seconds=max_seconds,
                evaluator=point if curve else None,
                evaluate_every=self._plan.score_every,
                progress=self._progress,
            )
            if curve:
                self._fine_tuning_frames = learner.steps * self._opened_eye().frame_skip
            learner.save(folder / "driver", provenance=self._provenance())
            return learner.agent

    def _real_frames(self) -> int:
        """Base frames of the real game that the driver and its eye have learned from."""
        return sum(store_frames(store) for store in self._stores) + self._fine_tuning_frames

    def _score(self, label: str, folder: Path) -> None:
        """What the driver gets in the game, and what its dream promised it."""
        if (folder / "score.json").exists() or self._driver is None:
            return
        promise = evaluate_dream(
            self._driver,
            episodes=100,
            decisions=self._plan.dream_decisions,
            temperature=self._plan.temperature,
            dropout=self._plan.dropout,
            seed=_CURVE_SEED,
            eye=self._eye,
        )
        score = self._evaluate(self._driver)
        self._journal.add_point(label, score, promise=promise, frames=self._real_frames())
        promise.save(folder / "promise.json")
        score.save(folder / "score.json")
        self._console.print(
            f"[bold]{label}[/]: {score}; a decision brings {score.per_decision:.2f} in the game "
            f"where the dream promised {promise.per_decision:.2f}"
        )

    def _evaluate(self, driver: Agent) -> EvaluationResult:
        """A point of the curve, in the redrawn game, which is as good and much faster."""
        with self._journal.paused():
            return evaluate(
                driver,
                episodes=self._plan.score_episodes,
                base=self._task.env_id,
                seed=_CURVE_SEED,
                eye=self._eye,
                workers=self._workers,
            )

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        if self._journal.seconds(name) is None:
            self._console.print(f"[bold]{name}[/]")
        with self._journal.timed(name):
            work()

    def _anew(self, number: int) -> bool:
        """Whether memory and driver of a round start anew, since the eye is another one."""
        return number < self._plan.vision_rounds

    def _folder(self, number: int) -> Path:
        return self._path / f"round-{number}"

    def _vision_path(self, number: int) -> Path:
        return self._folder(min(number, self._plan.vision_rounds - 1)) / "vision" / "artifact"

    def _eye_entry(self, number: int, folder: Path) -> dict[str, Any]:
        """Relative to the driver's folder, so that the run can be moved as a whole."""
        parts = self._vision_path(number), self._folder(number) / "memory" / "artifact"
        vision, memory = (os.path.relpath(part, folder / "driver") for part in parts)
        return eye_entry(self._opened_eye(), vision=vision, memory=memory)

    def _opened_eye(self) -> Eye:
        assert self._eye is not None, "a round begins with a memory"
        return self._eye

    def _seed_of(self, *path: int | str) -> int:
        return integer_seed(self._seed, "train", *path)

    def _provenance(self) -> dict[str, Any]:
        return {
            "command": "train",
            "root_seed": self._seed,
            "data": [store.content_hash() for store in self._stores],
        }
