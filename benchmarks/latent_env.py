"""Measures agent steps per second of 16 latent environments with the shipped models."""

import time

import gymnasium as gym
import numpy as np

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report

ENVS, STEPS = 16, 300


def steps_per_second(frame_skip: int) -> float:
    """Measures agent steps per second of all environments together, including resets."""
    env = gym.make_vec("vsg/CarRacingLatent-v0", num_envs=ENVS, frame_skip=frame_skip)
    generator = np.random.default_rng(0)
    env.reset(seed=0)
    actions = generator.uniform(-1, 1, (STEPS + 20, ENVS, 2)).astype(np.float32)
    actions[..., 1] = abs(actions[..., 1]) / 2  # no braking
    for action in actions[:20]:
        env.step(action)
    started = time.perf_counter()
    for action in actions[20:]:
        env.step(action)
    seconds = time.perf_counter() - started
    env.close()
    return ENVS * STEPS / seconds


if __name__ == "__main__":
    skipping, every = steps_per_second(4), steps_per_second(1)
    write_report(
        "latent_env",
        {
            "envs": ENVS,
            "steps_per_s_frame_skip_4": skipping,
            "frames_per_s_frame_skip_4": 4 * skipping,
            "steps_per_s_frame_skip_1": every,
        },
    )
