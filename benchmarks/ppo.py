"""Measures agent steps per second of PPO in the shipped dreams, including its updates."""

import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report
from wmrl.agents import PPOConfig, PPOLearner

ROLLOUT, ROUNDS = 32, 16


def steps_per_second(num_envs: int, **world: Any) -> float:
    """Measures agent steps per second of PPO in ``num_envs`` dreams, after a warm-up.

    Args:
        num_envs: number of parallel dreams.
        world: keyword arguments that select the world model, such as ``vision``.
    """
    dreams = gym.make_vec(
        "vsg/CarRacingDream-v0",
        num_envs=num_envs,
        autoreset_mode="SameStep",
        max_episode_steps=50,
        **world,
    )
    steps = ROLLOUT * ROUNDS * num_envs
    config = PPOConfig(steps=2 * steps, rollout_steps=ROLLOUT, chunk_rollouts=ROUNDS)
    with (
        tempfile.TemporaryDirectory() as folder,
        PPOLearner(dreams, config, path=Path(folder) / "run") as learner,
    ):
        learner.learn(
            max_seconds=1e-9, progress=False
        )  # the time limit ends this warm-up after one rollout
        done, seconds = learner.steps, learner.seconds
        learner.learn(progress=False)
        rate = (learner.steps - done) / (learner.seconds - seconds)
    dreams.close()
    return rate


if __name__ == "__main__":
    write_report(
        "ppo",
        {
            "steps_per_s_64_dreams": steps_per_second(64),
            "steps_per_s_256_dreams": steps_per_second(256),
            "steps_per_s_1024_dreams": steps_per_second(1024),
            "discrete_steps_per_s_256_dreams": steps_per_second(256, vision="car-racing-vqvae"),
        },
    )
