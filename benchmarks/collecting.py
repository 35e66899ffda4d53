"""Measures the rate of collecting rollouts, with random actions and with an agent."""

import tempfile
import time
from pathlib import Path

from benchmarks.report import write_report
from wmrl.agents import collect

RANDOM_FRAMES, AGENT_FRAMES = 48_000, 24_000


def frames_per_second(policy: str, frames: int) -> float:
    """Measures base frames collected per second; starting and stopping the workers is included."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = collect(
            "car-racing", Path(folder) / "store", policy=policy, frames=frames, progress=False
        )
        seconds = time.perf_counter() - started
        steps = sum(summary.length for summary in store.summaries)
        return steps * store.metadata.frame_skip / seconds


if __name__ == "__main__":
    frames_per_second("autoregressive", 4_000)  # fills the compilation cache
    write_report(
        "collecting",
        {
            "frames_per_s_random": frames_per_second("autoregressive", RANDOM_FRAMES),
            "frames_per_s_agent": frames_per_second("car-racing-dream", AGENT_FRAMES),
        },
    )
