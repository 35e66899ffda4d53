"""Imports a Minari dataset as a rollout store.

A dataset that wmrl export minari wrote becomes an equal store; only the options dataset and --out
are needed. Any other dataset needs observations that are images. Warnings say what a store can't
hold, such as the infos of single steps.

The command needs Minari, which is not installed by default: pip install "wmrl[minari]".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl import minari``."""

    dataset: Annotated[str, tyro.conf.Positional]
    """Id of the dataset in Minari's data folder, or the path of its folder."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the new store."""
    task: str | None = None
    """Task whose game was played: a registered name, the id of an environment, or module:ATTRIBUTE
    for a task of your own. Frames are cropped and resized as in the task. If not given, frames stay
    as they are, and the store names the environment of the dataset."""
    frame_skip: int = 1
    """Number of base frames per step of the dataset."""
    observation_key: str | None = None
    """Key of the image, for observations that are dictionaries."""


def main(args: Args) -> None:
    """Writes the store and prints a summary of it."""
    from wmrl.export.minari_import import from_minari
    from wmrl.scripts.options import find_task_aloud

    store = from_minari(
        args.dataset,
        args.out,
        task=None if args.task is None else find_task_aloud(args.task),
        frame_skip=args.frame_skip,
        observation_key=args.observation_key,
    )
    agent_steps = sum(summary.length for summary in store.summaries)
    print(
        f"{store.path}: {len(store)} episodes, {agent_steps:,} agent steps, {store.content_hash()}"
    )
