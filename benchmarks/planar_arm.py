"""Measures how many planar arms ``Arm.evaluate`` and the vector environment process per second."""

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report
from wmrl.envs.planar_arm.arm import Arm

NUMBERS = 4_000_000  # total angles in a large batch, for any number of joints
SMALL = 100  # arms in a small batch, as in a generation of the paper


def rate(work: Callable[[], Any], arms: int, seconds: float = 2.0) -> float:
    """Measures arms per second of ``work``, which processes ``arms`` arms in each call."""
    work()
    started, rounds = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        work()
        rounds += 1
    return arms * rounds / (time.perf_counter() - started)


def evaluating(arm: Arm, count: int, dtype: type[np.floating[Any]]) -> float:
    """Measures arms per second of ``Arm.evaluate``, in batches of ``count``."""
    poses = np.random.default_rng(0).uniform(-1, 1, (count, arm.num_joints)).astype(dtype)
    return rate(lambda: arm.evaluate(poses), count)


def stepping(count: int) -> float:
    """Measures arms per second of a vector environment of ``count`` arms with random targets."""
    env = gym.make_vec(
        "vsg/PlanarArm-v0", num_envs=count, target="random", autoreset_mode="SameStep"
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    return rate(lambda: env.step(actions), count)


def main() -> None:
    """Runs the benchmark and writes the report."""
    results: dict[str, Any] = {}
    for num_joints in (20, 200, 1000):
        arm, count = Arm(num_joints=num_joints), NUMBERS // num_joints
        results[f"arms_per_s_{num_joints}_joints"] = evaluating(arm, count, np.float32)
        results[f"arms_per_s_{num_joints}_joints_float64"] = evaluating(arm, count, np.float64)
    arm = Arm(num_joints=20)
    results[f"arms_per_s_20_joints_batch_{SMALL}"] = evaluating(arm, SMALL, np.float32)
    blocked = Arm(num_joints=20, obstacles=[(0.3, 0.3, 0.1), (-0.4, 0.1, 0.2)])
    results["arms_per_s_20_joints_2_obstacles"] = evaluating(blocked, NUMBERS // 20, np.float32)
    results["steps_per_s_1024_envs"] = stepping(1024)
    write_report("planar_arm", results)


if __name__ == "__main__":
    main()
