import json
from dataclasses import asdict, replace
from typing import Literal

import pytest

from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.vision.vqvae import VQVAEConfig


@pytest.mark.parametrize("latents", ["continuous", "discrete"])
def test_an_hour_is_an_hour(latents: Literal["continuous", "discrete"]) -> None:
    plan = TrainingPlan.for_hours(1.0, latents=latents)
    limits = [
        plan.vision_training.max_seconds,
        plan.num_members * (plan.memory_training.max_seconds or 0),
        plan.dream_seconds,
        plan.vision_retraining.max_seconds,
        plan.num_members * (plan.memory_training.max_seconds or 0),
        plan.dream_seconds,
        plan.real_seconds,
    ]
    again = plan.num_members * (plan.memory_retraining.max_seconds or 0)
    limits += (plan.rounds - 2) * [again, plan.dream_again_seconds]
    # The rest is collecting and scoring.
    assert 0.8 * 3600 < sum(limit or 0 for limit in limits) < 0.95 * 3600


def test_plans_scale_and_are_json() -> None:
    half, whole = TrainingPlan.for_hours(0.5), TrainingPlan.for_hours(1.0)
    assert half.real_seconds == 0.5 * (whole.real_seconds or 0)
    assert half.first_frames == whole.first_frames // 2
    json.dumps(asdict(whole))
    assert [TrainingPlan.for_hours(h).score_episodes for h in (0.02, 0.5, 1.0, 8.0)] == [
        5,
        25,
        50,
        50,
    ]


def test_the_least_time_and_the_stages_depend_on_the_rounds() -> None:
    plan = TrainingPlan.for_hours(0.02)
    assert 72 < plan.least_seconds < 180
    short = replace(plan, rounds=1, real_envs=0)
    assert short.least_seconds < 30
    assert short.stages == tuple(
        f"round 0: {name}" for name in ("collect", "vision", "memory", "dream", "score")
    )
    assert plan.stages[-2:] == ("real game", "real game: score")
    assert len(plan.stages) == len(set(plan.stages)) == 5 * 4 + 2 + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds: expected at least 1, got 0"),
        ({"real_envs": -1}, "real_envs: expected at least 0, got -1"),
        ({"algorithm": "sarsa"}, "algorithm: expected one of 'ppo', 'cma-es', got 'sarsa'"),
        (
            {"memory": CodeMemoryConfig()},
            "vision: expected a VQVAEConfig for a memory model with discrete latents",
        ),
        (
            {"vision": VQVAEConfig(), "memory": CodeMemoryConfig(), "noise_floor": 0.2},
            "noise_floor: expected 0 for a memory with discrete latents, got 0.2",
        ),
        ({"algorithm": "cma-es"}, "real_envs: expected 0 with CMA-ES"),
    ],
)
def test_bad_plans(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TrainingPlan(), **options)  # type: ignore[arg-type]


def test_no_time_at_all() -> None:
    with pytest.raises(ValueError, match="hours: expected above 0, got 0"):
        TrainingPlan.for_hours(0)
