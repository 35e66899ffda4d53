"""Exports a rollout store as a Minari dataset, without loss.

The dataset is written below Minari's data folder: that of the environment variable
MINARI_DATASETS_PATH, or else ~/.minari/datasets. The command wmrl import minari restores an equal
store from the dataset.

The command needs Minari, which is not installed by default: pip install "wmrl[minari]".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Options of ``wmrl export minari``."""

    store: Annotated[Path, tyro.conf.Positional]
    """Rollout store (written by wmrl collect)."""
    dataset_id: Annotated[str, tyro.conf.Positional]
    """Id of the new dataset, with a version, such as car-racing/random-v0."""


def main(args: Args) -> None:
    """Writes the dataset and prints its size and place."""
    from wmrl.export.minari_export import to_minari

    dataset = to_minari(args.store, args.dataset_id)
    print(
        f"{dataset.id}: {dataset.total_episodes} episodes, {dataset.total_steps:,} steps, in "
        f"{dataset.storage.data_path.parent}"
    )
