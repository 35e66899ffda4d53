"""Stores as Minari datasets: nothing is lost on the way there and back."""

import json
import sys
import weakref
from pathlib import Path
from typing import Any

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.namespace import list_local_namespaces

import wmrl.export.minari_export
from wmrl.core.action_spec import ActionSpec
from wmrl.data.store import Episode, RolloutStore, StoreError, StoreMetadata
from wmrl.export import from_minari, to_minari
from wmrl.scripts.cli import run

ACTION_SPACES = {
    "box": spaces.Box(np.array([-1, -np.inf], np.float32), np.array([0.3, np.inf], np.float32)),
    "discrete": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 4], start=[0, 5]),
    "multi-binary": spaces.MultiBinary(3),
}

INFOS: list[dict[str, Any]] = [
    {"seed": 2**63 - 1, "frames": 12, "last": {"lap": True, "note": 'é "\n\0'}},
    {"seed": None},
    {},
    {"seed": "seven", "reset": {"a": [1, {"b": None}]}, "long": "x" * 100_000},
]
ENDS = [(True, False), (False, True), (True, True), (False, False)]
INDICES = [0, 1, 2, 7]


def make_store(path: Path, space: spaces.Space[Any]) -> RolloutStore:
    """A store with a gap, frames of noise, and every kind of end and info."""
    spec = ActionSpec.of(space)
    metadata = StoreMetadata(
        task="toy@40x36x1x2",
        frame_shape=(40, 36, 1 if spec.is_continuous else 3),
        action_space=spec,
        frame_skip=3,
        warmup_frames=5,
        start_window=2,
        frame_stack=2,
        policy={"name": "repeated", "seed": 1, "noise": {"scale": 0.5}},
    )
    store = RolloutStore(path, "a", metadata=metadata)
    generator = np.random.default_rng(0)
    for index, info, (terminated, truncated) in zip(INDICES, INFOS, ENDS, strict=True):
        count = 1 + index
        actions = generator.normal(size=(count, 2)).astype(np.float32)
        if not spec.is_continuous:
            actions = np.stack([spec.sample(generator) for _ in range(count)])
        shape = (count + 1, *metadata.frame_shape)
        episode = Episode(
            frames=generator.integers(0, 256, shape, dtype=np.uint8),
            actions=actions,
            rewards=generator.normal(size=count).astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            info=info,
        )
        store.write(index, episode)
    return store


@pytest.fixture
def store(tmp_path: Path) -> RolloutStore:
    return make_store(tmp_path / "store", ACTION_SPACES["box"])


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize("kind", ACTION_SPACES)
def test_a_store_returns_equal(kind: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ACTION_SPACES[kind])
    dataset = to_minari(store, "toy/random-v0", progress=False)
    restored = from_minari(dataset, tmp_path / "restored", progress=False)
    assert restored.metadata == store.metadata
    assert restored.summaries == store.summaries
    assert restored.content_hash() == store.content_hash()
    restored.verify()
    for index in INDICES:
        old, new = store.episode(index), restored.episode(index)
        for name in ("frames", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(old, name), getattr(new, name))
            assert getattr(old, name).dtype == getattr(new, name).dtype
        assert (old.terminated, old.truncated) == (new.terminated, new.truncated)
        assert old.info == new.info


@pytest.mark.parametrize("kind", ACTION_SPACES)
def test_minari_shows_all_arrays(kind: str, tmp_path: Path, datasets: Path) -> None:
    store = make_store(tmp_path / "store", ACTION_SPACES[kind])
    to_minari(store.path, "toy/random-v0", progress=False)
    assert list(minari.list_local_datasets()) == ["toy/random-v0"]  # without a warning
    assert list_local_namespaces() == ["toy"]
    dataset = minari.load_dataset("toy/random-v0")
    assert dataset.storage.data_path == datasets / "toy" / "random-v0" / "data"
    assert dataset.action_space == ACTION_SPACES[kind]
    assert dataset.observation_space == spaces.Box(0, 255, store.metadata.frame_shape, np.uint8)
    assert dataset.storage.metadata["algorithm_name"] == "repeated"
    assert (dataset.total_episodes, dataset.total_steps) == (4, 1 + 2 + 3 + 8)
    about = list(dataset.storage.get_episode_metadata(range(4)))
    assert [each.get("seed") for each in about] == [2**63 - 1, None, None, None]
    for index, found in zip(INDICES, dataset.iterate_episodes(), strict=True):
        episode = store.episode(index)
        np.testing.assert_array_equal(found.observations, episode.frames)
        np.testing.assert_array_equal(found.actions, episode.actions)
        np.testing.assert_array_equal(found.rewards, episode.rewards)
        assert found.actions[0] in dataset.action_space or kind == "box"
        assert found.rewards.dtype == np.float32
        for flags, last in (
            (found.terminations, episode.terminated),
            (found.truncations, episode.truncated),
        ):
            assert flags.tolist() == [False] * (len(episode) - 1) + [last]
        assert str(len(episode)) in repr(found)


def test_the_data_folder_may_be_relative(
    store: RolloutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "nearby")
    dataset = to_minari(store, "toy/random-v0", progress=False)
    assert dataset.storage.data_path == tmp_path / "nearby" / "toy" / "random-v0" / "data"
    restored = from_minari("nearby/toy/random-v0", "restored", progress=False)
    assert restored.content_hash() == store.content_hash()


@pytest.mark.usefixtures("datasets")
def test_frames_are_compressed(tmp_path: Path, store: RolloutStore) -> None:
    episode = store.episode(0)
    plain = Episode(
        frames=np.zeros((60, *episode.frames.shape[1:]), np.uint8),
        actions=np.zeros((59, 2), np.float32),
        rewards=np.zeros(59, np.float32),
        terminated=True,
        truncated=False,
    )
    store.append(plain)
    dataset = to_minari(store, "toy-v0", progress=False)
    with h5py.File(dataset.storage.data_path / "main_data.hdf5") as file:
        frames = file["episode_4/observations"]
        assert frames.compression == "gzip"
        assert frames.id.get_storage_size() < frames.nbytes / 20
    assert not dataset.storage.jpeg_encoding
    np.testing.assert_array_equal(dataset[4].observations, plain.frames)


def test_one_episode_is_in_memory(
    store: RolloutStore, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Episode] = weakref.WeakSet()
    most = 0
    read = RolloutStore.episode

    def counted(self: RolloutStore, index: int) -> Episode:
        nonlocal most
        episode = read(self, index)
        alive.add(episode)
        most = max(most, len(alive))
        return episode

    monkeypatch.setattr(RolloutStore, "episode", counted)
    monkeypatch.setattr(Episode, "__hash__", object.__hash__)
    to_minari(store, "toy-v0", progress=False)
    assert most == 1


def test_nothing_remains_of_a_failure(
    store: RolloutStore, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = wmrl.export.minari_export._write_episode

    def fail(storage: Any, number: int, *given: Any) -> None:
        write(storage, number, *given)
        if number == 2:
            raise OSError("disk full")

    monkeypatch.setattr(wmrl.export.minari_export, "_write_episode", fail)
    with pytest.raises(OSError, match="disk full"):
        to_minari(store, "toy/small/random-v0", progress=False)
    assert list(datasets.rglob("*")) == []


def test_what_is_there_stays(store: RolloutStore, datasets: Path) -> None:
    to_minari(store, "toy/random-v0", progress=False)
    before = {path: path.stat().st_mtime_ns for path in datasets.rglob("*")}
    with pytest.raises(ValueError, match="expected a new id, got 'toy/random-v0', which exists in"):
        to_minari(store, "toy/random-v0", progress=False)
    assert {path: path.stat().st_mtime_ns for path in datasets.rglob("*")} == before
    to_minari(store, "toy/random-v1", progress=False)
    assert list_local_namespaces() == ["toy"]


@pytest.mark.parametrize("name", ["random", "toy/random-v", "../random-v0", "a b-v0", ""])
def test_ids_are_checked(name: str, store: RolloutStore, datasets: Path) -> None:
    with pytest.raises(ValueError, match="dataset_id: expected an id of letters"):
        to_minari(store, name, progress=False)
    assert not datasets.exists()


@pytest.mark.usefixtures("datasets")
def test_stores_that_minari_cannot_hold(tmp_path: Path, store: RolloutStore) -> None:
    empty = RolloutStore(tmp_path / "empty", "a", metadata=store.metadata)
    with pytest.raises(StoreError, match=r"store: expected episodes in .*, got none"):
        to_minari(empty, "toy-v0", progress=False)
    nothing = Episode(
        frames=store.frames(0)[:1],
        actions=np.zeros((0, 2), np.float32),
        rewards=np.zeros(0, np.float32),
        terminated=False,
        truncated=False,
    )
    store.append(nothing)
    with pytest.raises(StoreError, match=r"at least one agent step in .*, got none in episode 8"):
        to_minari(store, "toy-v0", progress=False)


@pytest.mark.parametrize("package", ["minari", "h5py"])
def test_missing_packages_are_named(
    package: str, store: RolloutStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for convert in (
        lambda: to_minari(store, "toy-v0"),
        lambda: from_minari("toy-v0", tmp_path / "new"),
    ):
        with pytest.raises(ImportError, match=r'install it with pip install "wmrl\[minari\]"'):
            convert()


def damage_store_record(dataset: minari.MinariDataset, change: dict[str, Any]) -> None:
    path = dataset.storage.data_path / "metadata.json"
    content = json.loads(path.read_text())
    content["wmrl"] |= change
    path.write_text(json.dumps(content))


@pytest.mark.usefixtures("datasets")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected version 1, got 2"),
        ({"frame_shape": [40, 36, 3]}, r"expected observations in .*\(40, 36, 3\)"),
        ({"frame_skip": 0}, "frame_skip: expected at least 1, got 0"),
        ({"action_space": {"kind": "discrete", "num_options": [2]}}, "expected actions in"),
    ],
)
def test_damaged_records_are_refused(
    change: dict[str, Any], message: str, store: RolloutStore, tmp_path: Path
) -> None:
    damage_store_record(to_minari(store, "toy-v0", progress=False), change)
    with pytest.raises(ValueError, match=message):
        from_minari("toy-v0", tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("datasets")
def test_damaged_records_of_episodes_are_refused(store: RolloutStore, tmp_path: Path) -> None:
    dataset = to_minari(store, "toy-v0", progress=False)
    dataset.storage.update_episode_metadata([{"wmrl": '{"index": -1, "info": {}}'}], [2])
    with pytest.raises(ValueError, match="expected an index and an info under 'wmrl'"):
        from_minari("toy-v0", tmp_path / "new", progress=False)
    assert [each.name for each in tmp_path.iterdir() if "new" in each.name] == []


def test_commands(
    store: RolloutStore, datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "minari", str(store.path), "toy/random-v0"]) == 0
    assert capsys.readouterr().out == (
        f"toy/random-v0: 4 episodes, 14 steps, in {datasets / 'toy' / 'random-v0'}\n"
    )
    out = tmp_path / "restored"
    assert run(["import", "minari", "toy/random-v0", "-o", str(out)]) == 0
    assert capsys.readouterr().out == (
        f"{out}: 4 episodes, 14 agent steps, {store.content_hash()}\n"
        f"next: wmrl train-vision {out} -o runs/vision\n"
    )
    assert run(["export", "minari", str(store.path), "toy/random-v0"]) == 2
    assert "dataset_id: expected a new id" in capsys.readouterr().err
