"""Compares speed and pixels of vsg/CarRacing-v3 with those of Gymnasium's CarRacing-v3.

Both environments run in one process. The results are printed, and written to
``benchmarks/car_racing.json`` with a description of the machine.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
import tyro

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report
from wmrl.envs.car_racing.lazy_rendering import LazyRendering

SCENE_ROWS = 84
AGENT_STEP = 4  # frames per agent step, of which one is observed
BLOCK = 100  # steps before the environments take turns, so that both run under the same load


@dataclass
class Args:
    """Options of the benchmark."""

    tracks: int = 20
    """Number of episodes, each on a different track."""
    steps: int = 250
    """Maximum steps per episode. The first 50 are slower, because the camera zooms in."""


def _actions(env: Any, steps: int, seed: int) -> list[np.ndarray]:
    """Returns up to ``steps`` actions that follow the road of a track with a random drift."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    actions = []
    for step in range(steps):
        if step % 25 == 0:
            drift = rng.uniform(-0.3, 0.3)
        hull = env.car.hull
        centers = np.array([(x, y) for _, _, x, y in env.track])
        nearest = int(np.square(centers - hull.position).sum(axis=1).argmin())
        dx, dy = centers[(nearest + 4) % len(centers)] - hull.position
        sideways = dx * np.cos(hull.angle) + dy * np.sin(hull.angle)
        ahead = dy * np.cos(hull.angle) - dx * np.sin(hull.angle)
        steer = np.clip(1.5 * np.arctan2(sideways, ahead) + drift, -1, 1)
        gas = 0.6 * (np.hypot(*hull.linearVelocity) < 45)
        actions.append(np.array([steer, gas, 0], np.float32))
        if env.advance(actions[-1])[1]:
            break
    return actions


def _drive(env: Any, actions: list[np.ndarray]) -> tuple[float, list[np.ndarray], list[float]]:
    """Takes one step per action; returns the total seconds, the observations and the rewards."""
    results = []
    start = perf_counter()
    for action in actions:
        results.append(env.step(action))
    seconds = perf_counter() - start
    return seconds, [result[0] for result in results], [result[1] for result in results]


def measure(args: Args) -> dict[str, Any]:
    """Compares vsg/CarRacing-v3 and CarRacing-v3 on the same tracks, with the same actions."""
    original, fast = (gym.make(name).unwrapped for name in ("CarRacing-v3", "vsg/CarRacing-v3"))
    scout: Any = gym.make("vsg/CarRacing-v3").unwrapped
    start = perf_counter()
    fast.reset(seed=0)
    first_reset = perf_counter() - start
    seconds = np.zeros(2)
    physics_seconds, lazy_seconds, steps, lazy_frames = 0.0, 0.0, 0, 0
    lazy = LazyRendering(original)
    differences = []
    for seed in range(args.tracks):
        actions = _actions(scout, args.steps, seed)
        states = np.array([original.reset(seed=seed)[0], fast.reset(seed=seed)[0]], np.int16)
        differences.append(abs(states[0] - states[1])[None])
        for first in range(0, len(actions), BLOCK):
            block = actions[first : first + BLOCK]
            (slow_s, slow_states, slow_rewards), (fast_s, fast_states, fast_rewards) = (
                _drive(env, block) for env in (original, fast)
            )
            if slow_rewards != fast_rewards:
                raise RuntimeError(
                    "rewards: expected the same in both environments, got different ones on track "
                    f"{seed} after step {first}"
                )
            seconds += slow_s, fast_s
            steps += len(block)
            differences.append(abs(np.array(slow_states, np.int16) - np.array(fast_states)))
        scout.reset(seed=seed)
        start = perf_counter()
        for action in actions:
            scout.advance(action)
        physics_seconds += perf_counter() - start
        original.reset(seed=seed)
        start = perf_counter()
        for action in actions[::AGENT_STEP]:
            lazy.advance(action, AGENT_STEP)
            lazy.observe()
            lazy_frames += AGENT_STEP
        lazy_seconds += perf_counter() - start
    scene, bar = np.split(np.concatenate(differences), [SCENE_ROWS], axis=1)
    return {
        "steps": steps,
        "gymnasium_steps_per_s": steps / seconds[0],
        "vsg_steps_per_s": steps / seconds[1],
        "ratio": seconds[0] / seconds[1],
        "undrawn_steps_per_s": steps / physics_seconds,
        "gymnasium_lazy_frames_per_s": lazy_frames / lazy_seconds,
        "lazy_ratio": (lazy_frames / lazy_seconds) / (steps / seconds[0]),
        "first_reset_s": first_reset,
        "scene_mean_difference": float(scene.mean()),
        "scene_within_4": float((scene <= 4).mean()),
        "scene_within_24": float((scene <= 24).mean()),
        "scene_largest_difference": int(scene.max()),
        "bar_mean_difference": float(bar.mean()),
        "bar_largest_difference": int(bar.max()),
    }


def main(args: Args) -> None:
    """Runs the benchmark, and prints and writes the results."""
    write_report("car_racing", measure(args))


if __name__ == "__main__":
    main(tyro.cli(Args))
