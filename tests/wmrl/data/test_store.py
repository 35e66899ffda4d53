"""The rollout store: whole episodes, whatever happens to writers and bytes."""

import hashlib
import itertools
import json
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from gymnasium.spaces import Box

import wmrl.data._episode_files
import wmrl.data._store_files
from wmrl.core.action_spec import ActionSpec
from wmrl.data.store import Episode, RolloutStore, StoreError, StoreMetadata
from wmrl.storage.locks import file_lock

METADATA = StoreMetadata(
    task="toy",
    frame_shape=(4, 6, 3),
    action_space=Box(-1, 1, (2,)),
    frame_skip=3,
    policy={"seed": 1},
)


def make_episode(index: int = 0, length: int | None = None) -> Episode:
    generator = np.random.default_rng(index)
    length = 3 + index if length is None else length
    return Episode(
        frames=generator.integers(0, 256, (length + 1, 4, 6, 3), dtype=np.uint8),
        actions=generator.normal(size=(length, 2)).astype(np.float32),
        rewards=generator.normal(size=length).astype(np.float32),
        terminated=index % 2 == 0,
        truncated=index % 2 == 1,
        info={"seed": index, "name": "é"},
    )


def make_store(path: Path, count: int = 4) -> RolloutStore:
    store = RolloutStore(path, "a", metadata=METADATA)
    for index in range(count):
        store.write(index, make_episode(index))
    return store


def assert_equal(left: Episode, right: Episode) -> None:
    for name in ("frames", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.terminated, left.truncated) == (right.terminated, right.truncated)
    assert left.info == right.info
    assert left.digest() == right.digest()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = make_store(tmp_path / "store")
    read = RolloutStore(tmp_path / "store")
    assert read.metadata == METADATA
    assert len(read) == 4
    assert read.indices == [0, 1, 2, 3]
    assert 3 in read
    assert 4 not in read
    assert read.summaries == written.summaries
    for index in read.indices:
        assert_equal(read.episode(index), make_episode(index))
        summary = read.summary(index)
        assert (summary.index, summary.length) == (index, 3 + index)
        assert summary.reward == pytest.approx(float(make_episode(index).rewards.sum()), abs=1e-5)
    read.verify()


def test_parts_are_read_lazily(tmp_path: Path) -> None:
    store = make_store(tmp_path, 1)
    episode = make_episode(0)
    np.testing.assert_array_equal(store.frames(0, 1, 3), episode.frames[1:3])
    np.testing.assert_array_equal(store.actions(0, 2), episode.actions[2:])
    np.testing.assert_array_equal(store.rewards(0, 0, 1), episode.rewards[:1])
    assert store.frames(0, 2, 2).shape == (0, 4, 6, 3)
    with pytest.raises(ValueError, match="0 ≤ start ≤ stop ≤ 4 for frames of episode 0, got 0 and"):
        store.frames(0, 0, 5)


def test_append_goes_behind_the_last(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path, "a", metadata=METADATA)
    store.write(7, make_episode(7))
    assert store.append(make_episode(8)).index == 8
    assert store.indices == [7, 8]


def test_digest_is_pinned() -> None:
    # A change here makes every hash that was ever published another one.
    episode = Episode(
        frames=np.arange(2 * 1 * 1 * 3, dtype=np.uint8).reshape(2, 1, 1, 3),
        actions=np.array([[0.5, -1.0]], np.float32),
        rewards=np.array([1.0], np.float32),
        terminated=True,
        truncated=False,
        info={"seed": 1},
    )
    header = (
        '{"info": {"seed": 1}, "shapes": [[2, 1, 1, 3], [1, 2]], "terminated": true, '
        '"truncated": false}'
    )
    data = bytes(range(6)) + struct.pack("<ff", 0.5, -1.0) + struct.pack("<f", 1.0)
    assert episode.digest() == hashlib.sha256(header.encode() + data).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"frames": np.zeros((4, 4, 6, 3), np.uint8)},
        {"actions": np.zeros((3, 2), np.float32)},
        {"rewards": np.zeros(3, np.float32)},
        {"terminated": False},
        {"truncated": True},
        {"info": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_counts_in_the_digest(change: dict[str, Any]) -> None:
    assert replace(make_episode(), **change).digest() != make_episode().digest()


def test_hash_depends_on_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_store(tmp_path / "one").content_hash()
    monkeypatch.setattr(wmrl.data._episode_files, "_CHUNK_BYTES", 100)
    other = RolloutStore(tmp_path / "other", "a", metadata=replace(METADATA, policy={}))
    for index in (2, 0, 3, 1):
        other.write(index, make_episode(index))
    assert other.content_hash() == expected
    assert RolloutStore(tmp_path / "other").content_hash() == expected
    other.write(4, make_episode(4))
    assert other.content_hash() != expected
    moved = RolloutStore(tmp_path / "moved", "a", metadata=METADATA)
    for index in range(4):
        moved.write(index + 1, make_episode(index))
    assert moved.content_hash() != expected


def test_is_plain_zarr_with_checksums(tmp_path: Path) -> None:
    make_store(tmp_path, 1)
    frames: Any = zarr.open_group(tmp_path, mode="r")["episodes/00000000/frames"]
    np.testing.assert_array_equal(frames[:], make_episode(0).frames)
    assert "crc32c" in (tmp_path / "episodes/00000000/frames/zarr.json").read_text()


def test_index_is_only_a_copy(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    expected = store.content_hash()
    index = tmp_path / "index.jsonl"
    lines = index.read_text()
    index.unlink()
    assert RolloutStore(tmp_path).content_hash() == expected
    assert not index.exists()  # a reader writes nothing
    assert RolloutStore(tmp_path, "a").content_hash() == expected
    index.write_text(lines[: len(lines) // 2])  # torn by a kill
    torn = RolloutStore(tmp_path, "a")
    assert torn.content_hash() == expected
    torn.write(4, make_episode(4))
    assert len(RolloutStore(tmp_path)) == 5
    assert len(wmrl.data._store_files.read_index(index)) == 5


def test_opening_reads_no_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(tmp_path)
    monkeypatch.setattr(RolloutStore, "_read_attributes", lambda *_: pytest.fail("was read"))
    assert len(RolloutStore(tmp_path)) == 4


def test_refresh_sees_what_others_wrote_or_removed(tmp_path: Path) -> None:
    reader = RolloutStore(make_store(tmp_path, 1).path)
    RolloutStore(tmp_path, "a").write(5, make_episode(5))
    assert len(reader) == 1
    reader.refresh()
    assert reader.indices == [0, 5]
    (tmp_path / "episodes/00000000").rename(tmp_path / "gone")
    with pytest.warns(match=r"episodes: 1 of 2 episodes .* missing, \[0\] .* wmrl collect command"):
        reader.refresh()
    assert reader.indices == [5]
    RolloutStore(tmp_path, "a")  # repairs the index
    assert RolloutStore(tmp_path).indices == [5]


def test_writing_again_changes_nothing_and_another_one_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    before = store.content_hash()
    assert store.write(1, make_episode(1)) == store.summary(1)
    with pytest.raises(StoreError, match="expected an unused index, got 1, the index of a diff"):
        store.write(1, make_episode(2))
    assert RolloutStore(tmp_path).content_hash() == before


def test_threads_and_stores_write_at_once(tmp_path: Path) -> None:
    stores = [RolloutStore(tmp_path, "a", metadata=METADATA) for _ in range(3)]
    with ThreadPoolExecutor(6) as threads:
        # Every episode by two writers: one of them comes second and must agree.
        jobs = [(stores[job % 3], job // 2) for job in range(40)]
        list(threads.map(lambda job: job[0].write(job[1], make_episode(job[1])), jobs))
    store = RolloutStore(tmp_path)
    assert store.indices == list(range(20))
    store.verify()
    assert [path.name for path in (tmp_path / "episodes").glob(".*")] == []


WRITER = """
import sys
sys.path.insert(0, {folder!r})
from test_store import METADATA, make_episode
from wmrl.data.store import RolloutStore
store = RolloutStore({path!r}, "a", metadata=METADATA)
print("ready", flush=True)
index = max(store.indices, default=-1) + 1
while True:
    store.write(index, make_episode(index))
    index += 1
"""


def test_killed_writers_leave_whole_episodes(tmp_path: Path) -> None:
    code = WRITER.format(folder=str(Path(__file__).parent), path=str(tmp_path / "store"))
    generator = np.random.default_rng(0)
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.1 + generator.uniform(0, 0.2))
            writer.kill()
        store = RolloutStore(tmp_path / "store")
        store.verify()
        assert store.indices == list(range(len(store)))
        for index in store.indices:
            assert_equal(store.episode(index), make_episode(index))
    assert len(store) > 0
    # What the last one left is cleared away when the store is opened to write.
    RolloutStore(tmp_path / "store", "a")
    assert [path.name for path in (tmp_path / "store/episodes").glob(".*")] == []


def test_what_killed_writers_left_is_cleared_on_opening(tmp_path: Path) -> None:
    store = make_store(tmp_path, 2)
    folder = tmp_path / "episodes"
    for name in (".00000001.0123abcd.new", ".00000009.89abcdef.new"):
        (folder / name / "frames").mkdir(parents=True)
    RolloutStore(tmp_path)
    assert len(list(folder.glob(".*"))) == 2  # a reader removes nothing
    with file_lock(tmp_path / "lock", shared=True):
        RolloutStore(tmp_path, "a")
        assert len(list(folder.glob(".*"))) == 2  # someone may be writing them
    RolloutStore(tmp_path, "a")
    assert list(folder.glob(".*")) == []
    assert store.indices == [0, 1]


def damage(path: Path, kind: str) -> None:
    data = bytearray(path.read_bytes())
    if kind == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["flipped", "truncated"])
@pytest.mark.parametrize("name", ["frames", "actions", "rewards"])
def test_damaged_bytes_are_noticed(tmp_path: Path, name: str, kind: str) -> None:
    store = make_store(tmp_path)
    [file] = [path for path in (store._folder(2) / name / "c").rglob("*") if path.is_file()]
    damage(file, kind)
    with pytest.raises(StoreError, match=r"00000002.*damaged"):
        store.verify()
    store.verify([0, 1, 3])


def test_exchanged_content_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    array: Any = zarr.open_array(store._folder(1) / "rewards", mode="r+")
    array[0] = 5.0  # with a fitting checksum
    with pytest.raises(StoreError, match="its SHA-256 differs from the recorded one"):
        store.verify()


def test_damaged_attributes_are_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    damage(store._folder(0) / "zarr.json", "truncated")
    with pytest.raises(StoreError, match=r"missing or damaged \(Unterminated.*; delete"):
        store.episode(0)
    (tmp_path / "index.jsonl").unlink()
    with pytest.raises(StoreError, match=r"missing or damaged \(Unterminated.*; delete"):
        RolloutStore(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "other"),
        ("frame_shape", (8, 8, 3)),
        ("action_space", ActionSpec.of(Box(-1, 1, (1,)))),
        ("policy", {"seed": 2}),
    ],
)
def test_a_store_of_something_else_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    make_store(tmp_path, 1)
    with pytest.raises(StoreError, match=rf"expected a store with {field} .*got .*another store"):
        RolloutStore(tmp_path, "a", metadata=replace(METADATA, **{field: value}))
    with pytest.raises(StoreError, match=field):
        RolloutStore(tmp_path).check(**{field: value})
    assert RolloutStore(tmp_path).check(task="toy").metadata == METADATA


def test_missing_foreign_and_newer_stores(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no rollout store there; record one"):
        RolloutStore(tmp_path / "none")
    with pytest.raises(StoreError, match="no rollout store there"):
        RolloutStore(tmp_path / "none", "a")
    zarr.create_group(tmp_path / "foreign")
    with pytest.raises(
        StoreError, match="expected a rollout store, got a Zarr dataset that is not"
    ):
        RolloutStore(tmp_path / "foreign")
    make_store(tmp_path / "newer", 0)
    path = tmp_path / "newer/zarr.json"
    header = json.loads(path.read_text())
    for version, reader in ((99, "a newer wmrl"), (1, "wmrl 0.1")):
        header["attributes"] = {"wmrl_store": version}
        path.write_text(json.dumps(header))
        with pytest.raises(StoreError, match=f"expected format version 5, got {version}.*{reader}"):
            RolloutStore(tmp_path / "newer")


def test_episodes_that_dont_fit_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path, 1)
    wide = replace(make_episode(), frames=np.zeros((4, 4, 7, 3), np.uint8))
    with pytest.raises(StoreError, match=r"frames: expected shape \(T, 4, 6, 3\).*got \(T, 4, 7"):
        store.write(1, wide)
    one = replace(make_episode(), actions=np.zeros((3, 1), np.float32))
    with pytest.raises(StoreError, match=r"actions: expected shape \(T, 2\).*got \(T, 1\)"):
        store.write(1, one)
    with pytest.raises(StoreError, match="index: expected at least 0, got -1"):
        store.write(-1, make_episode())
    with pytest.raises(StoreError, match="open for reading only; open it with mode='a'"):
        RolloutStore(tmp_path).write(1, make_episode(1))
    with pytest.raises(StoreError, match=r"no episode with index 9; the store has 1 .* 0 to 0"):
        store.episode(9)
    with pytest.raises(ValueError, match="mode: expected one of 'r', 'a', got 'w'"):
        RolloutStore(tmp_path, "w")  # type: ignore[arg-type]
    assert len(store) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((3, 4, 6, 3), np.uint8)}, "frames: expected length 4"),
        (
            {"actions": np.zeros((3, 2))},
            "actions: expected dtype float32 or int64 or int8, got",
        ),
        ({"rewards": np.zeros((3, 1), np.float32)}, "rewards: expected a 1-dimensional array"),
    ],
)
def test_lopsided_episodes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_episode(), **change)
    for shape in ((4, 6), (4, 6, 2), (3, 4, 6)):
        with pytest.raises(
            ValueError, match=r"frame_shape: expected \(H, W, 3\) or \(H, W, 1\), got"
        ):
            replace(METADATA, frame_shape=shape)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "place", "index"), [("actions", (2, 1), r"\(2, 1\)"), ("rewards", 2, "2")]
)
def test_episodes_have_finite_actions_and_rewards(
    name: str, place: Any, index: str, bad: float
) -> None:
    good = make_episode(1)
    array = getattr(good, name).copy()
    array[place] = bad
    message = f"^{name}: expected finite numbers, got {bad} at index {index}; the first index is"
    with pytest.raises(ValueError, match=message):
        replace(good, **{name: array})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "frames: expected an array, got a NoneType"),
        ({"rewards": [0.0] * 4}, "rewards: expected an array, got a list"),
        ({"rewards": np.float32(0)}, "rewards: expected an array, got a float32"),
        ({"frames": np.zeros((5, 4, 6, 3))}, "frames: expected dtype uint8, got float64"),
        ({"rewards": np.zeros(4)}, "rewards: expected dtype float32, got float64"),
        ({"terminated": 1}, "terminated: expected True or False, got 1"),
        ({"truncated": None}, "truncated: expected True or False, got None"),
        ({"info": {"score": np.nan}}, r"info\.score: expected a finite number"),
    ],
)
def test_what_is_no_episode_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(make_episode(1), **change)


def test_infos_and_policies_take_numbers_of_numpy(tmp_path: Path) -> None:
    episode = replace(make_episode(1), info={"seed": np.int64(4), "x": np.float32([0.5])})
    plain = replace(make_episode(1), info={"seed": 4, "x": [0.5]})
    assert episode.digest() == plain.digest()
    store = make_store(tmp_path / "store", 0)
    store.append(episode)
    assert RolloutStore(store.path).info(0) == {"seed": 4, "x": [0.5]}
    assert replace(METADATA, policy={"seed": np.int64(1)}, frame_skip=np.int64(3)) == METADATA
    with pytest.raises(TypeError, match=r"^info\.path: expected a value that JSON can store"):
        replace(episode, info={"path": Path("x")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": ""}, "task: expected a non-empty name"),
        ({"frame_shape": (4, 0, 3)}, r"frame_shape\[1\]: expected at least 1, got 0"),
        ({"frame_skip": True}, "frame_skip: expected an integer, got True"),
        ({"warmup_frames": -1}, "warmup_frames: expected at least 0, got -1"),
        ({"frame_stack": 0}, "frame_stack: expected at least 1, got 0"),
        ({"policy": {"noise": np.inf}}, "noise: expected a finite number"),
    ],
)
def test_metadata_that_means_nothing_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(METADATA, **change)


def test_stored_numbers_that_are_not_finite_are_not_trained_on(tmp_path: Path) -> None:
    episode = make_episode(0)
    episode.actions.flat[-1] = np.nan  # as another program might write it
    store = RolloutStore(tmp_path / "store", "a", metadata=METADATA)
    store.write(0, episode)
    with pytest.raises(StoreError, match="actions: expected finite numbers, got NaN or infinity"):
        store.actions(0)


def test_gray_frames_are_stored(tmp_path: Path) -> None:
    gray = replace(METADATA, frame_shape=(4, 6, 1))
    store, episode = RolloutStore(tmp_path, "a", metadata=gray), make_episode()
    with pytest.raises(
        StoreError, match=r"frames: expected shape .* 4, 6, 1\) .* got .* 4, 6, 3\)"
    ):
        store.append(episode)
    store.append(replace(episode, frames=episode.frames[..., :1]))
    again = RolloutStore(tmp_path)
    assert again.metadata == gray
    np.testing.assert_array_equal(again.frames(0), episode.frames[..., :1])


@pytest.mark.parametrize("frame_stack", [1, 2, 4])
def test_frames_are_stacked_as_they_are_read(tmp_path: Path, frame_stack: int) -> None:
    metadata = replace(METADATA, frame_stack=frame_stack)
    store, episode = RolloutStore(tmp_path, "a", metadata=metadata), make_episode(length=6)
    store.append(episode)
    again = RolloutStore(tmp_path)
    assert again.metadata == metadata
    np.testing.assert_array_equal(again.frames(0), episode.frames)  # single frames
    frames = list(episode.frames)
    padded = [frames[0]] * (frame_stack - 1) + frames
    every = np.stack([np.concatenate(padded[t : t + frame_stack], -1) for t in range(7)])
    np.testing.assert_array_equal(again.stacks(0), every)
    for start, stop in itertools.combinations_with_replacement(range(8), 2):
        np.testing.assert_array_equal(again.stacks(0, start, stop), every[start:stop])
    for start, stop in ((-1, 3), (9, None), (3, 2), (0, 8)):
        with pytest.raises(
            ValueError, match=rf"stop ≤ 7 for frames .* got {start} and {stop or 7}"
        ):
            again.stacks(0, start, stop)
