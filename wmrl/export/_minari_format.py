"""Minari datasets that hold rollout stores: their paths, and what they record beside the arrays.

Minari has no place for all that a store records. The rest is kept under the key ``"wmrl"``, as
JSON: the metadata of the store in the metadata of the dataset, and the index and the ``info`` of an
episode in the metadata of the episode.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from wmrl.core.action_spec import ActionSpec
from wmrl.core.strict_json import json_text
from wmrl.core.validation import check_int
from wmrl.data.episode import StoreMetadata
from wmrl.export._packages import import_packages

if TYPE_CHECKING:
    from minari import MinariDataset

KEY = "wmrl"
"""Key of the metadata of datasets and episodes under which a store's records are kept."""

FORMAT_VERSION = 1

_EXAMPLE = "'car-racing/random-v0'"


def dataset_folder(dataset_id: str, *, name: str = "dataset_id") -> Path:
    """Returns the absolute path of a dataset's folder, which is below Minari's data folder.

    Minari's data folder is that of the environment variable ``MINARI_DATASETS_PATH``, or else
    ``~/.minari/datasets``.

    Args:
        dataset_id: id of the dataset, which need not exist.
        name: name of the argument, for the error message.

    Raises:
        ImportError: Minari is not installed.
        ValueError: the id is malformed.
    """
    import_packages("minari", "minari", "h5py")
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError) as error:  # a TypeError if there is no version
        raise ValueError(
            f"{name}: expected an id of letters, digits, - and _ that ends in a version, such as "
            f"{_EXAMPLE}, got {dataset_id!r}"
        ) from error
    return Path(get_dataset_path(dataset_id)).absolute()  # Minari fails with relative ones


def frame_space(shape: tuple[int, ...]) -> spaces.Box:
    """Returns the space of frames of a given shape, with pixel values from 0 to 255."""
    return spaces.Box(0, 255, shape, np.uint8)


def describe_store(metadata: StoreMetadata) -> dict[str, Any]:
    """Returns the record of a store, for the metadata of a dataset."""
    return {"version": FORMAT_VERSION, **asdict(metadata)}


def read_store_metadata(dataset: "MinariDataset") -> StoreMetadata | None:
    """Reads the metadata of the store that a dataset holds; None if it doesn't hold a store.

    Raises:
        ValueError: the record is damaged or of another version, or does not fit the spaces of the
            dataset.
    """
    record = dataset.storage.metadata.get(KEY)
    if record is None:
        return None
    try:
        version = record["version"]
        if version != FORMAT_VERSION:
            raise ValueError(f"expected version {FORMAT_VERSION}, got {version!r}")
        metadata = StoreMetadata(**{item.name: record[item.name] for item in fields(StoreMetadata)})
        for what, expected, got in (
            ("observations", frame_space(metadata.frame_shape), dataset.observation_space),
            ("actions", metadata.action_space, ActionSpec.of(dataset.action_space)),
        ):
            if got != expected:
                raise ValueError(f"expected {what} in {expected}, got {got}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"dataset: expected the metadata of a rollout store under {KEY!r} in the metadata of "
            f"{dataset.id}, got others ({error}); export the store again"
        ) from error
    return metadata


def describe_episode(index: int, info: Mapping[str, Any]) -> str:
    """Returns the record of an episode, for the episode's metadata.

    Args:
        index: index of the episode in its store.
        info: ``info`` of the episode.
    """
    return json_text({"index": index, "info": info})


def parse_episode(record: str) -> tuple[int, dict[str, Any]]:
    """Reads the index and the ``info`` of an episode from its record.

    Raises:
        ValueError: the record is damaged.
    """
    try:
        content = json.loads(record)
        return check_int("index", content["index"], at_least=0), dict(content["info"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"dataset: expected an index and an info under {KEY!r} in the metadata of each "
            f"episode, got {record!r:.100}; export the store again"
        ) from error
