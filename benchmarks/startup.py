"""Measures the time of ``import wmrl`` and of creating the latent environment."""

import statistics
import subprocess
import sys

from benchmarks.report import write_report

_IMPORT = "import time; t = time.perf_counter(); import wmrl; print(time.perf_counter() - t)"
_MAKE = (
    "import time; t = time.perf_counter(); import gymnasium as gym, wmrl;"
    "gym.make('vsg/CarRacingLatent-v0'); print(time.perf_counter() - t)"
)


def median_seconds(code: str, runs: int = 5) -> float:
    """Runs ``code`` in fresh processes, and returns the median of the seconds that it prints.

    The first process fills the disk cache and is not counted.
    """
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(runs + 1)
    ]
    return statistics.median(times[1:])


if __name__ == "__main__":
    write_report(
        "startup",
        {"import_wmrl_s": median_seconds(_IMPORT), "make_latent_env_s": median_seconds(_MAKE)},
    )
