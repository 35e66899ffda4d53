"""Runs the benchmarks that are named as arguments, or all benchmarks, each in its own process.

The machine should be idle.
"""

import os
import subprocess
import sys

NAMES = (
    "startup",
    "car_racing_step",
    "latent_env",
    "dream",
    "cma_generation",
    "collecting",
    "training",
    "ppo",
    "planar_arm",
    "elites",
)

if __name__ == "__main__":
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: load average: expected at most 0.5, got {load:.1f}; stop other processes")
    for name in sys.argv[1:] or NAMES:
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
