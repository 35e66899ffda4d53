"""Scores drivers by the full protocol and writes the table of results.

Not a subcommand: ``python -m wmrl.scripts.release.score_table name=path … --how name="by …"``
evaluates each driver (or ``random``) and keeps its per-episode returns as ``results/<name>.json``;
scores that are there already are kept. How a driver learned is kept in ``results/about.json``. The
table of all that is there goes to ``results/README.md``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

_ABOUT = "about.json"


@dataclass(frozen=True)
class Args:
    """Options."""

    drivers: tyro.conf.Positional[tuple[str, ...]] = ()
    """Each as name=path, a shipped driver's name, or ``random``."""
    how: tuple[str, ...] = ()
    """How drivers learned, each as name=text."""
    episodes: int = 100
    """Episodes each; a score of fewer is none."""
    dream_decisions: int = 250
    """Decisions of the dreams whose promise stands beside the real score."""
    out: Path = Path("results")
    """Where the scores and the table go."""


def main(args: Args) -> None:
    """Evaluates, and writes the table."""
    for driver in args.drivers:
        name, _, path = driver.partition("=")
        if f"{name}.json" == _ABOUT:
            raise ValueError(f"drivers: {name!r} is taken for what describes them; choose another")
        score(name, path or name, args)
    for text in args.how:
        name, _, how = text.partition("=")
        describe(name, how, args.out)
    table = write_table(args.out)
    print(table)


def score(name: str, path: str, args: Args) -> None:
    """Evaluates one driver in the game and, where it has a memory, in its dream."""
    from wmrl.agents.evaluation import RANDOM, evaluate, evaluate_dream
    from wmrl.agents.world_model_ref import open_driver

    if not (args.out / f"{name}.json").exists():
        result = evaluate(path, episodes=args.episodes, name=name, progress=True)
        result.save(args.out / f"{name}.json")
    promise = args.out / "dreams" / f"{name}.json"
    if path == RANDOM or promise.exists():
        return
    agent, eye = open_driver(path)
    if eye.memory is not None:
        evaluate_dream(
            agent, episodes=args.episodes, decisions=args.dream_decisions, eye=eye, name=name
        ).save(promise)


def describe(name: str, how: str, folder: Path) -> None:
    """Keeps how a driver learned."""
    about = _about(folder) | {name: how}
    (folder / _ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")


def _about(folder: Path) -> dict[str, str]:
    path = folder / _ABOUT
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write_table(folder: Path) -> str:
    """Writes ``README.md`` in the folder of results, and returns it."""
    lines = [
        "# Results",
        "",
        "Each row: mean ± standard deviation over episodes of Gymnasium's own `CarRacing-v3`, on",
        "seeds that took no part in training or selection; per-episode returns are in the JSON",
        "files beside this table, which `python -m wmrl.scripts.release.score_table` writes. The "
        "commands",
        "are in [commands.sh](commands.sh), the score over the minutes of the main run in",
        "[curve.csv](curve.csv).",
        "",
        "| driver | how it learned | real score | best | worst | episodes | a decision "
        "| promised by its dream |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    about = _about(folder)
    scores = sorted(
        (
            json.loads(path.read_text()) | {"file": path}
            for path in folder.glob("*.json")
            if path.name != _ABOUT
        ),
        key=lambda score: score["mean"],
    )
    for row in scores:
        promise = folder / "dreams" / row["file"].name
        cells = (
            f"[{row['agent']}]({row['file'].name})",
            about.get(row["agent"], "–").replace("|", "\\|"),
            f"{row['mean']:.1f} ± {row['std']:.1f}",
            f"{max(row['returns']):.0f}",
            f"{min(row['returns']):.0f}",
            str(row["episodes"]),
            f"{per_decision(row):.2f}",
            f"{per_decision(json.loads(promise.read_text())):.2f}" if promise.exists() else "–",
        )
        lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (folder / "README.md").write_text(text)
    return text


def per_decision(score: dict[str, list[float]]) -> float:
    """Reward of a decision, by which dream and game can be compared."""
    return sum(score["returns"]) / sum(score["lengths"])


if __name__ == "__main__":
    main(tyro.cli(Args))
