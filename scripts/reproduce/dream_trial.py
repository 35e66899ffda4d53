"""Trial of an agent: training in a dream, and scores in the dream and in the game."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gymnasium.vector import AutoresetMode

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitness
from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.seeds import EVALUATION_SEEDS
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.world_model import WorldModel
from wmrl.scripts.tables import mean_and_spread

# Scores use other dreams than training and learning curves.
_DREAM_SEED = EVALUATION_SEEDS.start + 250_000


class Training(NamedTuple):
    """Result of the training of an agent.

    Attributes:
        agent: the trained agent, as loaded from its artifact.
        steps: number of agent steps of the training.
        seconds: wall time of the training.
    """

    agent: Agent
    steps: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DreamTrial:
    """Trial of an agent: training in the dream of a world model, then scores in dream and game.

    To resume an interrupted training, call the same method again.

    Attributes:
        path: folder of the trial. The training run is in its folder ``learner/``, and the trained
            agent in its folder ``agent/``.
        world_model: world model of the dream.
        ref: reference to the world model, which is saved with the agent; None to save the agent
            without a reference.
        temperature: temperature τ of the dream.
        dropout: True to apply the memory model's dropout in the dream.
        agent_steps: maximum length of a dream in agent steps.
        seed: seed of the training.
        provenance: JSON-serializable description of the agent's origin.
        progress: True to show progress bars.
    """

    path: Path
    world_model: WorldModel
    ref: WorldModelRef | None
    temperature: float
    dropout: bool = False
    agent_steps: int
    seed: int
    provenance: Mapping[str, Any]
    progress: bool = True

    def train_by_ppo(self, config: PPOConfig, *, num_envs: int) -> Training:
        """Trains an agent by PPO in ``num_envs`` parallel dreams, and saves it."""
        env = DreamVectorEnv.from_world_model(
            self.world_model,
            num_envs,
            temperature=self.temperature,
            dropout=self.dropout,
            max_episode_steps=self.agent_steps,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        with closing(env), PPOLearner(env, config, **self._run()) as learner:
            return Training(self._learned(learner), learner.steps, learner.seconds)

    def train_by_search(
        self, config: CMAESConfig | VariationalSearchConfig, fitness: DreamFitness
    ) -> Training:
        """Trains a controller by CMA-ES or by variational search, and saves it.

        Args:
            config: settings, whose class determines the method.
            fitness: evaluation of controllers in the dream. The temperature, the dropout and the
                length of dreams are those of ``fitness.config``, not those of the trial.
        """
        learner: CMAES | VariationalSearch
        if isinstance(config, CMAESConfig):
            learner = CMAES(fitness, config, **self._run())
        else:
            learner = VariationalSearch(fitness, config, **self._run())
        with learner:
            agent = self._learned(learner)
            rollouts = learner.generation * config.population_size * fitness.config.num_rollouts
            return Training(agent, rollouts * fitness.config.agent_steps, learner.seconds)

    def score(
        self, agent: Agent, *, dream_episodes: int, episodes: int, workers: int | None
    ) -> tuple[EvaluationResult, EvaluationResult]:
        """Scores an agent in the dream and in the game.

        Args:
            agent: agent to score.
            dream_episodes: number of episodes in the dream.
            episodes: number of episodes in the game.
            workers: number of worker processes that play the game; one per core if None.

        Returns:
            The score in the dream and the score in the game.
        """
        dream = evaluate_dream(
            agent,
            episodes=dream_episodes,
            agent_steps=self.agent_steps,
            temperature=self.temperature,
            dropout=self.dropout,
            seed=_DREAM_SEED,
            world_model=self.world_model,
        )
        game = evaluate(
            agent,
            episodes=episodes,
            world_model=self.world_model,
            workers=workers,
            progress=self.progress,
        )
        return dream, game

    def _run(self) -> dict[str, Any]:
        return {"path": self.path / "learner", "seed": self.seed, "world_model": self.ref}

    def _learned(self, learner: CMAES | VariationalSearch | PPOLearner) -> Agent:
        learner.learn(progress=self.progress)
        learner.save(self.path / "agent", provenance=self.provenance)
        return load_agent(self.path / "agent")


def trial_cells(rows: Sequence[Mapping[str, Any]], *, dream: str) -> tuple[str, str, str]:
    """Formats three table cells: score in the dream, score in the game, and training minutes.

    Each cell contains the mean and the standard deviation over seeds.

    Args:
        rows: a result for each seed, with ``dream``, ``mean`` and ``seconds``.
        dream: format specification of the score in the dream, such as ``".1f"``.
    """
    return (
        mean_and_spread([row["dream"] for row in rows], dream),
        mean_and_spread([row["mean"] for row in rows], ".0f"),
        mean_and_spread([row["seconds"] / 60 for row in rows], ".1f"),
    )
