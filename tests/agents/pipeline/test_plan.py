import json
from dataclasses import asdict, replace

import pytest

from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.registry import find_task
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig


def limits(plan: TrainingPlan) -> float:
    """Sum of the time limits of all stages, in seconds."""
    anew = min(plan.rounds, plan.vision_rounds)
    memory = plan.num_members * (plan.memory_training.max_seconds or 0)
    again = plan.num_members * (plan.memory_retraining.max_seconds or 0)
    seconds = [plan.vision_training.max_seconds, plan.real_seconds]
    seconds += (anew - 1) * [plan.vision_retraining.max_seconds]
    seconds += anew * [memory, plan.dream_seconds]
    seconds += (plan.rounds - anew) * [again, plan.dream_again_seconds]
    return sum(each or 0 for each in seconds)


@pytest.mark.parametrize("task", ["car-racing", "take-cover", "CartPole-v1"])
@pytest.mark.parametrize("minutes", [10, 60, 90, 480])
@pytest.mark.parametrize("rounds", [1, 2, 5, 8])
@pytest.mark.parametrize("fine_tuning", [True, False])
def test_a_plan_takes_its_time(task: str, minutes: float, rounds: int, fine_tuning: bool) -> None:
    game = find_task(task)
    plan = TrainingPlan.for_minutes(minutes, task=game, rounds=rounds, fine_tuning=fine_tuning)
    collecting = 2 * min(minutes, 240)  # two seconds per minute
    # The warm-up of a VQ-VAE is part of its limited time, unless the limit is shorter.
    other = plan.least_seconds - (200 if isinstance(plan.vision, VQVAEConfig) else 0)
    assert limits(plan) + other + collecting == pytest.approx(60 * minutes)
    assert bool(plan.real_envs) == bool(plan.real_seconds) == fine_tuning


def test_a_plan_of_five_rounds_is_the_one_that_was_tuned() -> None:
    plan = TrainingPlan.for_minutes(60)
    assert (plan.vision_training.max_seconds, plan.vision_retraining.max_seconds) == (150, 90)
    assert (plan.memory_training.max_seconds, plan.memory_retraining.max_seconds) == (75, 60)
    assert (plan.dream_seconds, plan.dream_again_seconds, plan.real_seconds) == (150, 150, 1700)
    plan = TrainingPlan.for_minutes(60, latents="discrete")
    assert (plan.memory_training.max_seconds, plan.memory_retraining.max_seconds) == (150, 120)
    assert (plan.dream_seconds, plan.dream_again_seconds, plan.real_seconds) == (150, 150, 1040)


def test_a_short_fine_tuning_leaves_its_time_to_the_other_stages() -> None:
    task = replace(CAR_RACING, name="x", frame_skip=1)
    plan = TrainingPlan.for_minutes(60, task=task, real_frames=122_880)
    assert plan.real_seconds == plan.fine_tuning_steps(frame_skip=1) / 200 == 24_576 / 200
    assert limits(plan) == pytest.approx(3350)


def test_a_very_short_plan_trains_for_a_third_of_its_time() -> None:
    plan = TrainingPlan.for_minutes(1.2)
    assert limits(plan) == pytest.approx(0.3 * 72)


def test_plans_scale_and_are_json() -> None:
    half, whole = TrainingPlan.for_minutes(30), TrainingPlan.for_minutes(60)
    assert half.first_frames == whole.first_frames // 2
    json.dumps(asdict(whole))
    assert (half.score_agent_steps, whole.score_agent_steps) == (25 * 300, 50 * 300)
    assert [TrainingPlan.for_minutes(each).score_episodes for each in (1.2, 30, 60, 480)] == [
        5,
        25,
        50,
        50,
    ]


@pytest.mark.parametrize(
    ("length", "episodes"), [(1, 50), (300, 50), (301, 49), (500, 30), (3000, 5), (27000, 5)]
)
def test_scores_of_long_episodes_are_of_fewer(length: float, episodes: int) -> None:
    plan = TrainingPlan.for_minutes(60)
    assert plan.scored_episodes(length) == episodes
    assert replace(plan, score_agent_steps=None).scored_episodes(length) == 50
    assert replace(plan, score_episodes=2).scored_episodes(length) == 2


def test_the_least_time_and_the_stages_depend_on_the_rounds() -> None:
    plan = TrainingPlan.for_minutes(1.2)
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
        ({"ppo_reward_scale": 0.0}, "ppo_reward_scale: expected above 0, got 0.0"),
        ({"score_agent_steps": 0}, "score_agent_steps: expected at least 1, got 0"),
        ({"real_frames": 0}, "real_frames: expected at least 1, got 0"),
        ({"real_frames": 849_999}, "real_frames: expected at least 850000 .the frames that 4"),
    ],
)
def test_bad_plans(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TrainingPlan(), **options)  # type: ignore[arg-type]


def test_settings_that_were_tuned_for_a_game_are_for_this_game() -> None:
    racing = TrainingPlan.for_minutes(60)
    assert isinstance(racing.vision, VAEConfig)
    assert (racing.vision.pixel_variance, racing.memory.reward_scale) == (0.5, 0.1)
    assert racing.ppo_reward_scale == racing.dream.reward_scale == racing.real.reward_scale == 0.05
    gray = CAR_RACING.with_frames(grayscale=True)
    assert TrainingPlan.for_minutes(60, task=gray) == racing
    other = TrainingPlan.for_minutes(60, task=replace(CAR_RACING, name="other"))
    assert isinstance(other.vision, VAEConfig)
    assert other.vision.pixel_variance is None
    assert (other.memory.reward_scale, other.ppo_reward_scale) == (None, None)


@pytest.mark.parametrize("frame_skip", [1, 4, 8])
def test_dreams_of_take_cover_last_as_long_as_the_game(frame_skip: int) -> None:
    task = replace(find_task("take-cover"), frame_skip=frame_skip)
    plan = TrainingPlan.for_minutes(60, task=task, rounds=4, fine_tuning=False)
    assert plan.dream_agent_steps == -(-task.max_frames // frame_skip)
    assert isinstance(plan.vision, VQVAEConfig)
    assert isinstance(plan.memory, CodeMemoryConfig)
    assert (plan.vision.codebook_size, plan.memory.kernel_size) == (64, (3, 11))
    assert (plan.num_members, plan.vision_rounds, plan.noise_floor) == (1, 1, 0.0)
    plan = TrainingPlan.for_minutes(9, task=task, latents="continuous")
    assert isinstance(plan.vision, VAEConfig)
    assert isinstance(plan.memory, MDNRNNConfig)
    assert (plan.vision.latent_dim, plan.memory.features) == (64, "cell_and_hidden")


def test_no_time_at_all() -> None:
    with pytest.raises(ValueError, match="minutes: expected above 0, got 0"):
        TrainingPlan.for_minutes(0)


def test_amounts_are_agent_steps_of_the_task() -> None:
    plans = {
        skip: TrainingPlan.for_minutes(60, task=replace(CAR_RACING, name="x", frame_skip=skip))
        for skip in (1, 4)
    }
    assert plans[4] == TrainingPlan.for_minutes(60, task=replace(CAR_RACING, name="y"))
    assert (plans[4].first_frames, plans[4].round_frames) == (250_000, 200_000)
    assert (plans[1].first_frames, plans[1].round_frames) == (62_500, 50_000)
    assert plans[1].real == plans[4].real


@pytest.mark.parametrize("real_frames", [2_000, 100_000, 600_000, 3_000_000, 20_000_000])
@pytest.mark.parametrize("frame_skip", [1, 4])
def test_plans_keep_within_a_limit(real_frames: int, frame_skip: int) -> None:
    task = replace(CAR_RACING, name="x", frame_skip=frame_skip)
    plan = TrainingPlan.for_minutes(60, task=task, real_frames=real_frames)
    steps = plan.fine_tuning_steps(frame_skip)
    assert plan.collected_frames + steps * frame_skip <= real_frames
    assert plan.collected_frames > 0.7 * min(real_frames, 250_000 * frame_skip)
    assert (steps > 0) == bool(plan.real_envs) == (real_frames >= 122_880 * frame_skip)
    assert steps % (plan.real.rollout_steps * max(plan.real_envs, 1)) == 0
    assert TrainingPlan.for_minutes(60, task=task, fine_tuning=False).real_envs == 0


def test_a_limit_that_is_too_low() -> None:
    with pytest.raises(ValueError, match="real_frames: expected at least 2000, got 1999"):
        TrainingPlan.for_minutes(60, real_frames=1_999)
