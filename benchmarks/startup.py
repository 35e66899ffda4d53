"""Times of ``import wmrl`` and of making the latent environment, each in a fresh process."""

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
    """Median of what fresh processes print, after one that warms the disk's cache."""
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
