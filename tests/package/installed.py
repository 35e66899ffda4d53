"""Uses wmrl as it is installed: all public names, the shipped artifacts, and an environment."""

import pkgutil
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym

import wmrl
from wmrl.agents import load_agent


def main() -> None:
    """Prints what works; ends with an error at what does not."""
    assert Path(wmrl.__file__).is_relative_to(sys.prefix), f"{wmrl.__file__} is not installed"
    packages = [each.name for each in pkgutil.walk_packages(wmrl.__path__, "wmrl.") if each.ispkg]
    doors = [door for door in map(import_module, packages) if hasattr(door, "__all__")]
    names = [getattr(door, name) for door in doors for name in door.__all__]
    assert len(doors) > 20, doors
    agent = load_agent("car-racing-dream")
    env = gym.make("vsg/CarRacingLatent-v0", device="cpu")
    observation, _ = env.reset(seed=1)
    total = 0.0
    for _ in range(20):
        action, _ = agent.predict(observation, deterministic=True)
        observation, reward, *_ = env.step(action)
        total += float(reward)
    env.close()
    assert total > 0, f"expected a reward within 20 steps of car-racing-dream, got {total}"
    print(f"  {len(packages)} packages, {len(names)} public names; a return of {total:.1f}")


if __name__ == "__main__":
    main()
