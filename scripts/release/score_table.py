"""Scores agents by the full evaluation protocol and writes the table of results.

This is not a subcommand of ``wmrl``. Run it as
``python -m wmrl.scripts.release.score_table name=path … --how name="by …"``. Each agent is
evaluated, and its per-episode returns are written to ``results/<name>.json``. An agent whose file
already exists is not evaluated again. The descriptions after ``--how`` are stored in
``results/about.json``. The table of all scores is written to ``results/README.md``.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from wmrl.storage.files import write_json
from wmrl.storage.reading import read_json

_ABOUT = "about.json"


@dataclass(frozen=True)
class Args:
    """Command-line options."""

    agents: tyro.conf.Positional[tuple[str, ...]] = ()
    """Agents to score, each as name=path, a shipped name, or ``random``."""
    how: tuple[str, ...] = ()
    """Descriptions of how agents were trained, each as name=text."""
    episodes: int = 100
    """Episodes per agent; the protocol requires at least 100."""
    dream_agent_steps: int = 250
    """Maximum length of a dream in agent steps. Agents with a memory model are also scored in
    dreams."""
    out: Path = Path("results")
    """Folder of the scores and the table."""


def main(args: Args) -> None:
    """Evaluates the agents and writes the table."""
    for agent in args.agents:
        name, _, path = agent.partition("=")
        if f"{name}.json" == _ABOUT:
            raise ValueError(
                f"agents: expected a name other than {name!r}, got {agent!r}; rename the agent, "
                "because about.json contains the descriptions of the agents"
            )
        score(name, path or name, args)
    for text in args.how:
        name, _, how = text.partition("=")
        describe(name, how, args.out)
    table = write_table(args.out)
    print(table)


def score(name: str, path: str, args: Args) -> None:
    """Evaluates an agent in the real game, and also in its dream if it has a memory model.

    An evaluation is not repeated if the file with its result already exists.

    Args:
        name: name of the agent in the results and in file names.
        path: path or shipped name of the agent, or ``"random"``.
        args: command-line options.
    """
    from wmrl.agents.agent import load_agent
    from wmrl.agents.evaluation.scoring import RANDOM, evaluate, evaluate_dream

    if not (args.out / f"{name}.json").exists():
        result = evaluate(path, episodes=args.episodes, name=name, progress=True)
        result.save(args.out / f"{name}.json")
    dream_score = args.out / "dreams" / f"{name}.json"
    if path == RANDOM or dream_score.exists():
        return
    agent = load_agent(path)
    world_model = agent.open_world_model()
    if world_model.memory is not None:
        evaluate_dream(
            agent,
            episodes=args.episodes,
            agent_steps=args.dream_agent_steps,
            world_model=world_model,
            name=name,
        ).save(dream_score)


def describe(name: str, how: str, folder: Path) -> None:
    """Stores a description of an agent's training in the file ``about.json``.

    Args:
        name: name of the agent.
        how: description of the agent's training.
        folder: folder of the file.
    """
    about = _about(folder) | {name: how}
    write_json(folder / _ABOUT, about)


def _about(folder: Path) -> dict[str, str]:
    path = folder / _ABOUT
    return read_json(path) if path.exists() else {}


def write_table(folder: Path) -> str:
    """Writes the table of all scores to ``README.md`` in the folder, and returns its text."""
    lines = [
        "# Results",
        "",
        "Each row: mean ± standard deviation over episodes of Gymnasium's own `CarRacing-v3`, on",
        "seeds that were not used for training or selection. Per-episode returns are in the JSON",
        "files beside this table, which `python -m wmrl.scripts.release.score_table` writes. The",
        "commands are in [commands.sh](commands.sh), the score over the minutes of the main run in",
        "[curve.csv](curve.csv). The last two columns compare the mean reward per agent step (four",
        "game frames) in the game and in the agent's dream.",
        "",
        "| agent | training | real score | best | worst | episodes | reward per step "
        "| in its dream |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    about = _about(folder)
    scores = sorted(
        (read_json(path) | {"file": path} for path in folder.glob("*.json") if path.name != _ABOUT),
        key=lambda score: score["mean"],
    )
    for row in scores:
        dreamed = folder / "dreams" / row["file"].name
        cells = (
            f"[{row['agent']}]({row['file'].name})",
            about.get(row["agent"], "–").replace("|", "\\|"),
            f"{row['mean']:.1f} ± {row['std']:.1f}",
            f"{max(row['returns']):.0f}",
            f"{min(row['returns']):.0f}",
            str(row["episodes"]),
            f"{per_agent_step(row):.2f}",
            f"{per_agent_step(read_json(dreamed)):.2f}" if dreamed.exists() else "–",
        )
        lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (folder / "README.md").write_text(text)
    return text


def per_agent_step(score: dict[str, list[float]]) -> float:
    """Returns the mean reward per agent step, which is comparable between a dream and the game.

    Args:
        score: dictionary with the ``returns`` and the ``lengths`` of the episodes; lengths are in
            agent steps.
    """
    return sum(score["returns"]) / sum(score["lengths"])


if __name__ == "__main__":
    main(tyro.cli(Args))
