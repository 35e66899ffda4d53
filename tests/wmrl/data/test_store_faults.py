"""Damage to a rollout store: noticed when it is read, or without effect; and the mend works."""

import json
import multiprocessing
import os
import random
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from children import in_child
from gymnasium.spaces import Box

import wmrl.data._episode_files
from wmrl.data._checksums import record_files
from wmrl.data.frame_sampler import FrameSampler
from wmrl.data.split import split_episodes
from wmrl.data.statistics import report_store
from wmrl.data.store import Episode, RolloutStore, StoreError, StoreMetadata
from wmrl.storage import locks
from wmrl.storage.reading import with_checksum, without_checksum

METADATA = StoreMetadata(
    task="toy",
    frame_shape=(4, 6, 3),
    action_space=Box(-1, 1, (2,)),
    frame_skip=3,
    policy={"seed": 1},
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the frames of an episode several chunks."""
    monkeypatch.setattr(wmrl.data._episode_files, "_CHUNK_BYTES", 150)


def make_episode(index: int, *, black: bool = False) -> Episode:
    generator = np.random.default_rng(index)
    frames = generator.integers(1, 256, (5, 4, 6, 3), dtype=np.uint8)
    frames[2:4] = 0  # a whole chunk of black frames
    return Episode(
        frames=np.zeros_like(frames) if black else frames,
        actions=generator.normal(size=(4, 2)).astype(np.float32),
        rewards=generator.normal(size=4).astype(np.float32),
        terminated=index == 0,
        truncated=index != 0,
        info={"seed": index},
    )


def fill(store: RolloutStore, count: int = 2) -> RolloutStore:
    for index in range(count):
        if index not in store:
            store.write(index, make_episode(index))
    return store


def make_store(path: Path, count: int = 2) -> RolloutStore:
    return fill(RolloutStore(path, "a", metadata=METADATA), count)


def read_all(path: Path) -> list[Any]:
    """Reads whatever can be read from a store, in all the ways in which it can be read."""
    store = RolloutStore(path)
    found: list[Any] = [store.metadata, store.summaries, store.content_hash()]
    for index in store.indices:
        episode = store.episode(index)
        found += [episode.info, episode.terminated, episode.truncated]
        found += [part.tobytes() for part in (episode.frames, episode.actions, episode.rewards)]
        found += [store.frames(index, start, start + 1).tobytes() for start in (0, 3)]
    report = report_store(store)
    found += [report.lengths.tolist(), report.returns.tolist(), report.action_mean.tolist()]
    store.verify()
    return found


def mend(path: Path, message: str) -> None:
    """Does what an error says."""
    if match := re.search(r"delete (\S+?),? (and|which)", message):
        victim = Path(match[1])
        shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    else:
        assert "repeat the same wmrl collect command" in message
    fill(RolloutStore(path, "a", metadata=METADATA))


def faults(data: bytes, flips: int, generator: random.Random) -> Iterator[bytes | None]:
    """Yields damaged versions of a file; None is a file that is gone."""
    yield None
    yield b""
    if data:
        yield data[: generator.randrange(len(data))]
    for _ in range(flips if data else 0):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        yield bytes(damaged)


@pytest.mark.parametrize(
    ("flips", "at_least", "mended"),
    [(2, 80, 5), pytest.param(32, 500, 1, marks=pytest.mark.slow)],
)
def test_each_fault_of_each_file_is_noticed_and_mended(
    tmp_path: Path, flips: int, at_least: int, mended: int
) -> None:
    """Each fault is noticed or without effect, and each one of ``mended`` is mended."""
    whole = make_store(tmp_path / "whole").path
    expected = read_all(whole)
    generator = random.Random(flips)
    cases = noticed = 0
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        name = file.relative_to(whole)
        for data in faults(file.read_bytes(), flips, generator):
            path = tmp_path / f"{cases}"
            shutil.copytree(whole, path)
            (path / name).unlink()
            if data is not None:
                (path / name).write_bytes(data)
            cases += 1
            message = ""
            try:
                assert read_all(path) == expected, f"{name}: other data, without an error"
            except StoreError as error:
                message = str(error)
            if message:
                noticed += 1
            if message and noticed % mended == 0:
                mend(path, message)
                assert read_all(path) == expected, f"{name}: {message}"
            shutil.rmtree(path)
    assert cases >= at_least
    assert noticed > 0.8 * cases  # not the lock, the index, and names that nobody reads


@pytest.mark.parametrize("black", [False, True])
def test_black_frames_are_written(tmp_path: Path, black: bool) -> None:
    store = RolloutStore(tmp_path, "a", metadata=METADATA)
    store.write(0, make_episode(0, black=black))
    files = list((tmp_path / "episodes/00000000/frames/c").rglob("*"))
    assert len([path for path in files if path.is_file()]) == 1
    assert store.frames(0, 2, 4).tobytes() == bytes(2 * 4 * 6 * 3)
    for path in files:
        if path.is_file():
            path.unlink()
    for reader in (store, RolloutStore(tmp_path)):  # also one that has read the file before
        with pytest.raises(StoreError, match=r"frames: missing or damaged .*wmrl collect command"):
            reader.frames(0, 2, 4)


@pytest.mark.parametrize("kind", ["removed", "emptied", "exchanged", "flipped"])
def test_training_meets_no_wrong_frames(tmp_path: Path, kind: str) -> None:
    store = make_store(tmp_path)
    sampler = FrameSampler(split_episodes([store], held_out=0).train, batch_size=4, seed=0)
    one, two = (
        next(path for path in (store.path / f"episodes/{index:08d}/frames").rglob("c/*/*/*/*"))
        for index in range(2)
    )
    data = bytearray(one.read_bytes())
    if kind == "removed":
        one.unlink()
    elif kind == "emptied":
        one.write_bytes(b"")
    elif kind == "exchanged":
        one.write_bytes(two.read_bytes())
    else:
        data[10] ^= 4
        one.write_bytes(data)
    with pytest.raises(StoreError, match="missing or damaged"):
        sampler.batch(0)
    sampler.close()


def test_changed_metadata_are_noticed_on_opening(tmp_path: Path) -> None:
    make_store(tmp_path)
    path = tmp_path / "zarr.json"
    header = json.loads(path.read_text())
    header["attributes"]["frame_skip"] = 4
    path.write_text(json.dumps(header))
    with pytest.raises(
        StoreError, match=r"its content does not match its checksum 'sha256'.*wmrl collect command"
    ):
        RolloutStore(tmp_path)
    # The arguments of another collection don't mend it; those of the same one do.
    with pytest.raises(StoreError, match="differ from those of the recorded episodes"):
        RolloutStore(tmp_path, "a", metadata=replace(METADATA, frame_skip=4))
    assert RolloutStore(tmp_path, "a", metadata=METADATA).metadata == METADATA
    RolloutStore(tmp_path).verify()


def test_metadata_of_another_store_are_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "one")
    other = replace(METADATA, frame_skip=4)
    RolloutStore(tmp_path / "two", "a", metadata=other)
    shutil.copy(tmp_path / "two/zarr.json", tmp_path / "one/zarr.json")
    with pytest.raises(StoreError, match="belongs to a store with other metadata"):
        RolloutStore(tmp_path / "one").frames(0)
    with pytest.raises(StoreError, match="metadata have changed since the store was opened"):
        store.verify()
    with pytest.raises(StoreError, match="metadata have changed since the store was opened"):
        store.write(2, make_episode(2))


def test_episodes_under_another_index_or_from_elsewhere_are_noticed(tmp_path: Path) -> None:
    make_store(tmp_path)
    folder = tmp_path / "episodes"
    shutil.copytree(folder / "00000000", folder / "00000002")
    with pytest.raises(StoreError, match=r"00000002: belongs to .* or was renamed; delete this"):
        RolloutStore(tmp_path)
    shutil.rmtree(folder / "00000002")
    shutil.rmtree(folder / "00000001")
    other = RolloutStore(tmp_path / "other", "a", metadata=METADATA)
    other.write(1, make_episode(7))
    (tmp_path / "other/episodes/00000001").rename(folder / "00000001")
    with pytest.raises(
        StoreError, match=r"differs from its line in the index.*delete .*index.json"
    ):
        RolloutStore(tmp_path).frames(1)
    (tmp_path / "index.jsonl").unlink()
    assert RolloutStore(tmp_path).summary(1).digest == make_episode(7).digest()


def test_a_damaged_index_is_not_trusted_at_all(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    index = tmp_path / "index.jsonl"
    stale, *_ = index.read_bytes().split()
    shutil.rmtree(tmp_path / "episodes/00000000")
    lasting = RolloutStore(tmp_path, "a", metadata=METADATA)
    assert b'"index": 0' not in index.read_bytes()
    lasting.write(0, make_episode(5))
    fresh = index.read_bytes()
    index.write_bytes(stale + b"\n" + fresh[:-20])  # the line of the new episode is cut
    assert RolloutStore(tmp_path).summaries == lasting.summaries != store.summaries
    RolloutStore(tmp_path, "a")
    RolloutStore(tmp_path).verify()


def forge(path: Path, changes: dict[str, Any], *, length: int) -> None:
    """Changes the description of the frames of episode 0, and makes all checksums right again."""
    folder = path / "episodes/00000000"
    frames = folder / "frames/zarr.json"
    frames.write_text(json.dumps(json.loads(frames.read_text()) | changes))
    (path / "index.jsonl").unlink()
    group = json.loads((folder / "zarr.json").read_text())
    content = without_checksum(group["attributes"])
    content["summary"]["length"] = length
    files = record_files(folder)
    content["files"] = {name: files[name] for name in content["files"]}
    group["attributes"] = with_checksum(content)
    (folder / "zarr.json").write_text(json.dumps(group))


def test_a_forged_length_takes_no_memory(tmp_path: Path) -> None:
    """A stranger's store of a few kilobytes cannot claim gigabytes of frames."""
    resource = pytest.importorskip("resource")
    length = 10**9
    make_store(tmp_path)
    chunks = {"chunk_shape": [2 * (length // 2 + 1), 4, 6, 3]}
    forge(
        tmp_path,
        {
            "shape": [length + 1, 4, 6, 3],
            "chunk_grid": {"name": "regular", "configuration": chunks},
        },
        length=length,
    )
    store = RolloutStore(tmp_path)
    assert store.summary(0).length == length
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match=r"expected at most 65536 times the .* got an array of"):
        store.frames(0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    ("changes", "length", "message"),
    [
        ({"data_type": "float64"}, 4, "expected an array of shape .* got .* dtype float64"),
        ({"shape": [5, 4, 6, 3]}, 9, r"expected an array of shape \(10, 4, 6, 3\) .* got shape"),
        ({"shape": [5, 400, 6, 3]}, 4, "expected an array of shape .* got shape"),
    ],
)
def test_another_array_than_the_metadata_describe_is_refused(
    tmp_path: Path, changes: dict[str, Any], length: int, message: str
) -> None:
    make_store(tmp_path)
    forge(tmp_path, changes, length=length)
    with pytest.raises(StoreError, match=message):
        RolloutStore(tmp_path).frames(0)


def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    make_store(tmp_path)
    for name in ("zarr.json", "episodes/00000000/zarr.json", "episodes/00000001/frames/zarr.json"):
        path = tmp_path / name
        data = path.read_bytes()
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises(StoreError, match="missing or damaged"):
            RolloutStore(tmp_path).verify()
        path.unlink()
        path.write_bytes(data)
    RolloutStore(tmp_path).verify()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # about Zarr's thread
def test_processes_append_in_turn(tmp_path: Path) -> None:
    """Three processes append six episodes each: none is refused, none is lost."""

    def append(first: int) -> None:
        store = RolloutStore(tmp_path / "store", "a", metadata=METADATA)
        for number in range(6):
            store.append(make_episode(first + number))

    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=append, args=(first,)) for first in (100, 200, 300)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    store = RolloutStore(tmp_path / "store")
    store.verify()
    assert store.indices == list(range(18))
    seeds = sorted(store.info(index)["seed"] for index in store.indices)
    assert seeds == [first + number for first in (100, 200, 300) for number in range(6)]


def test_appending_waits_no_longer_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    with (
        locks.file_lock(tmp_path / "lock"),
        pytest.raises(
            StoreError, match=r"lock: still in use after 0.02 s by process \d+; wait for that"
        ),
    ):
        store.append(make_episode(2), timeout=0.02)
    assert store.append(make_episode(2)).index == 2

    def refuse(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"No locks available.*write\(index, episode\)"):
        store.append(make_episode(3))
    assert store.write(3, make_episode(3)).index == 3
    assert RolloutStore(tmp_path, "a", metadata=METADATA).indices == [0, 1, 2, 3]


def put_artifact(path: Path) -> None:
    path.mkdir()
    for name in ("config.json", "SHA256SUMS", "model.safetensors"):
        (path / name).write_text("{}")


def put_run(path: Path) -> None:
    path.mkdir()
    for name in ("config.json", "lock", "last.checkpoint"):
        (path / name).write_text("{}")


def put_files(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("put", "name"),
    [
        (put_artifact, "an artifact of kind"),
        (put_run, "the folder of a run"),
        (put_files, "a folder of other files .*notes.txt"),
        (lambda path: path.write_text("mine"), "a file"),
        (
            lambda path: zarr.create_array(path, shape=(2,), dtype="u1"),
            "a Zarr dataset that is not",
        ),
        (
            lambda path: zarr.create_group(path).create_group("episodes"),
            "a Zarr dataset that is not",
        ),
    ],
    ids=["artifact", "run", "files", "file", "zarr", "zarr-episodes"],
)
def test_other_folders_are_left_alone(tmp_path: Path, put: Any, name: str) -> None:
    path = tmp_path / "there"
    put(path)
    before = sorted(path.rglob("*"))
    with pytest.raises(StoreError, match=f"expected a rollout store.*got {name}.*another path"):
        RolloutStore(path, "a", metadata=METADATA)
    with pytest.raises(StoreError, match=f"expected a rollout store, got {name}.*another path"):
        RolloutStore(path)
    assert sorted(path.rglob("*")) == before


def test_a_store_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"cannot be created.*use another path"):
        RolloutStore(tmp_path / "file/store", "a", metadata=METADATA)


def test_empty_stores_stand_in_no_ones_way(tmp_path: Path) -> None:
    path = tmp_path / "new/store"
    store = RolloutStore(path, "a", metadata=METADATA)
    other = replace(METADATA, frame_skip=5)
    assert RolloutStore(path, "a", metadata=other).metadata == other
    with pytest.raises(StoreError, match="metadata have changed since the store was opened"):
        store.write(0, make_episode(0))
    store.discard_unused()
    assert list(tmp_path.iterdir()) == []
    used = make_store(path)
    used.discard_unused()
    assert len(RolloutStore(path)) == 2
    with pytest.raises(StoreError, match="frame_skip"):
        RolloutStore(path, "a", metadata=other)


def test_killed_creations_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "episodes").mkdir()
    (tmp_path / "lock").touch()
    (tmp_path / ".zarr.0123abcd.new.json").write_text("{")
    with pytest.raises(StoreError, match="repeat the same wmrl collect command"):
        RolloutStore(tmp_path)
    make_store(tmp_path)
    assert list(tmp_path.glob(".*")) == []


def test_a_removed_folder_of_episodes_is_noticed(tmp_path: Path) -> None:
    make_store(tmp_path)
    shutil.rmtree(tmp_path / "episodes")
    with pytest.raises(
        StoreError, match=r"episodes: missing .*repeat the same wmrl collect command"
    ):
        RolloutStore(tmp_path)
    make_store(tmp_path).verify()


def dies_at(event: int, path: Path) -> bool:
    """Makes a store in a child that dies at a file event; False if there are fewer events."""

    def work() -> None:
        left = event

        def count(name: str, _: Any) -> None:
            nonlocal left
            if name in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"):
                left -= 1
                if left == 0:
                    os._exit(9)

        sys.addaudithook(count)
        make_store(path)

    status, result = in_child(work)
    assert status in (0, 9), result
    return status == 9


@pytest.mark.parametrize("stride", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_file_event_loses_no_whole_episode(tmp_path: Path, stride: int) -> None:
    event = stride
    while dies_at(event, tmp_path / str(event)):
        event += stride
    assert event > 40
    expected = make_store(tmp_path / "whole")
    had = set()
    for path in sorted(tmp_path.iterdir(), key=lambda path: (len(path.name), path.name)):
        if (path / "zarr.json").exists():
            store = RolloutStore(path)
            store.verify()
            had.add(len(store))
        assert make_store(path).content_hash() == expected.content_hash()
        RolloutStore(path).verify()
        assert list(path.rglob(".*")) == []
    assert had == {0, 1, 2}


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_an_index_that_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    store = make_store(tmp_path, 2)
    index = tmp_path / "index.jsonl"
    index.unlink()
    if kind == "pipe":
        os.mkfifo(index)
    else:
        index.symlink_to("/dev/zero")
    assert RolloutStore(tmp_path).content_hash() == store.content_hash()
    RolloutStore(tmp_path, "a")
    assert index.is_file()
    assert not index.is_symlink()


def test_a_pipe_in_place_of_the_index_does_not_hold_up_a_writer(tmp_path: Path) -> None:
    store = make_store(tmp_path, 1)
    (tmp_path / "index.jsonl").unlink()
    os.mkfifo(tmp_path / "index.jsonl")
    with pytest.raises(OSError, match=r"index\.jsonl"):
        store.append(store.episode(0))
