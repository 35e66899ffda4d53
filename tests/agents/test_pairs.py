"""Every pair of an action space, a vision and memory model, and a learner, from dream to game."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from choice_game import CHOICES, SPACES
from gymnasium.vector import AutoresetMode

from wmrl.agents.agent import Agent, load_agent
from wmrl.agents.evaluation.scoring import evaluate, evaluate_dream
from wmrl.agents.policy_search.cma_es import CMAES, CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitness, DreamFitnessConfig
from wmrl.agents.policy_search.variational import VariationalSearch, VariationalSearchConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import load_memory
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble

LEARNERS = ("ppo", "cma-es", "variational")
MODELS = [(latents, members) for latents in ("gaussian", "codes") for members in (1, 2)]
# Each space meets each model once, and each of both meets each learner.
PAIRS = [
    pytest.param(kind, *model, LEARNERS[(i + j) % 3], id=f"{kind}-{model[0]}-{model[1]}")
    for i, kind in enumerate(SPACES)
    for j, model in enumerate(MODELS)
]


def _learn(learner: str, world_model: WorldModel, ref: WorldModelRef, path: Path) -> Agent:
    """Trains an agent for a moment, saves it, and loads it."""
    if learner == "ppo":
        dreams = DreamVectorEnv.from_world_model(
            world_model, 4, max_episode_steps=6, autoreset_mode=AutoresetMode.SAME_STEP
        )
        config = PPOConfig(steps=64, rollout_steps=8, chunk_rollouts=1, batch_size=16)
        made: Any = PPOLearner(dreams, config, path=path / "run", world_model=ref)
    else:
        fitness = DreamFitness(world_model, DreamFitnessConfig(num_rollouts=2, agent_steps=4))
        if learner == "cma-es":
            config = CMAESConfig(generations=2, population_size=4)
            made = CMAES(fitness, config, path=path / "run", world_model=ref)
        else:
            config = VariationalSearchConfig(generations=2, population_size=4)
            made = VariationalSearch(fitness, config, path=path / "run", world_model=ref)
    with made:
        made.learn(progress=False)
        made.save(path / "agent")
    return load_agent(path / "agent")


def test_the_pairs_are_all_pairs() -> None:
    values = [each.values for each in PAIRS]
    assert {(v[0], v[3]) for v in values} == {(kind, name) for kind in SPACES for name in LEARNERS}
    assert {(v[1:3], v[3]) for v in values} == {(m, name) for m in MODELS for name in LEARNERS}
    assert {(v[0], v[1:3]) for v in values} == {
        (kind, model) for kind in SPACES for model in MODELS
    }


@pytest.mark.parametrize(("kind", "latents", "members", "learner"), PAIRS)
def test_an_agent_learns_in_the_dream_and_plays_the_game(
    kind: str,
    latents: str,
    members: int,
    learner: str,
    make_tiny: Callable[..., Any],
    tmp_path: Path,
) -> None:
    task = CHOICES[kind]
    tiny = make_tiny(task, discrete=latents == "codes")
    memory_path = Path(tiny.kwargs["memory"])
    if members > 1:
        ensemble = CodeMemoryEnsemble if latents == "codes" else MemoryEnsemble
        one = load_memory(memory_path, device="cpu")
        memory_path = tmp_path / "memory"
        ensemble.of([one] * members, pessimism=1.0).save(memory_path)
    world_model = WorldModel.open(task, tiny.kwargs["vision"], memory_path, device="cpu")
    ref = WorldModelRef.of(world_model, vision=tiny.kwargs["vision"], memory=memory_path)
    agent = _learn(learner, world_model, ref, tmp_path)
    assert agent.action_space == SPACES[kind]
    dreamed = evaluate_dream(agent, episodes=2, agent_steps=5, world_model=world_model)
    assert np.isfinite(dreamed.returns).all()
    played = evaluate(agent, episodes=2, world_model=world_model, workers=0)
    assert played.lengths == (12, 12)
