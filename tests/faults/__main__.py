"""Injects faults into small runs and files, prints a table, and writes it to a folder.

``python tests/faults --out results/faults`` runs the long suites; each suite uses all cores.
"""

import argparse
import collections
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import suites

from wmrl.storage.files import write_json, write_text

PACKAGES = ("wmrl", "gymnasium", "numpy", "safetensors", "stable-baselines3", "torch", "zarr")


def main() -> None:
    """Runs the suites that were asked for, and writes their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="folder to write")
    parser.add_argument("--only", nargs="+", choices=suites.SUITES, default=list(suites.SUITES))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the number of cases")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    for name in options.only:
        suite = suites.SUITES[name]
        count = max(1, round(suite.cases * options.scale))
        started = time.monotonic()
        outcomes = run(suite, count, options.seed)
        failed |= report(name, suite, outcomes, time.monotonic() - started, options)
    write_table(options.out)
    raise SystemExit(failed)


def run(suite: suites.Suite, count: int, seed: int) -> list[suites.Outcome]:
    """Runs a suite in parallel processes, each with its share of the cases."""
    workers = os.cpu_count() or 1
    shares = [
        (suite.name, count // workers + (i < count % workers), seed, i) for i in range(workers)
    ]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return [outcome for part in pool.map(suites.run_share, shares) for outcome in part]


def report(
    name: str, suite: suites.Suite, outcomes: list[suites.Outcome], seconds: float, options: Any
) -> bool:
    """Prints and writes the outcomes of a suite; returns True if a case failed."""
    counts = collections.Counter(outcome.result for outcome in outcomes)
    failures = [outcome for outcome in outcomes if not outcome.passed]
    print(f"{name}: {len(outcomes)} cases, {len(failures)} failed, {seconds:.0f} s")
    for result, count in counts.most_common(12):
        print(f"  {count:6} {result[:100]}")
    for outcome in failures[:10]:
        print(f"  FAILED {outcome.case}: {outcome.result[:300]}", flush=True)
    write_json(
        options.out / f"{name}.json",
        {
            "title": suite.title,
            "command": f"python tests/faults --only {name} --scale {options.scale:g} "
            f"--seed {options.seed}",
            "cases": len(outcomes),
            "outcomes": {k: v for k, v in counts.items() if len(k) < 60},
            "failures": [{"case": f.case, "result": f.result[:500]} for f in failures],
            "seconds": round(seconds),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
        },
    )
    return bool(failures)


def write_table(out: Path) -> None:
    """Writes the table of all suites whose results are in a folder."""
    from wmrl.storage.reading import read_json

    lines = [
        "# Injected faults",
        "",
        "Made by `make test-faults`; each row names the command that repeats it.",
        "",
        "| Suite | Cases | Failed | Outcomes | Command |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for name in suites.SUITES:
        path = out / f"{name}.json"
        if path.exists():
            found = read_json(path)
            outcomes = ", ".join(f"{count} {result}" for result, count in found["outcomes"].items())
            lines.append(
                f"| {found['title']} | {found['cases']} | {len(found['failures'])} | {outcomes} | "
                f"`{found['command']}` |"
            )
    write_text(out / "table.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
