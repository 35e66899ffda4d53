"""``wmrl train-vision`` and ``wmrl train-memory``, one after the other."""

import json
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.memory.base import load_memory
from wmrl.scripts import cli, train_memory, train_vision
from wmrl.vision.base import load_vision
from wmrl.vision.vqvae import VQVAE

MakeStore = Callable[..., Path]


@pytest.fixture(scope="module")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    def make(task: str = "car-racing") -> Path:
        path: Path = tmp_path_factory.mktemp("rollouts") / "store"
        metadata = StoreMetadata(
            task=task, frame_shape=(64, 64, 3), action_size=2, frame_skip=4, warmup_frames=50
        )
        store = RolloutStore(path, "a", metadata=metadata)
        generator = np.random.default_rng(0)
        for index in range(3):
            store.write(
                index,
                Episode(
                    frames=generator.integers(0, 256, (21, 64, 64, 3), dtype=np.uint8),
                    actions=generator.uniform(-1, 1, (20, 2)).astype(np.float32),
                    rewards=np.ones(20, np.float32),
                    terminated=False,
                    truncated=True,
                ),
            )
        return path

    return make


@pytest.fixture(scope="module")
def eye(make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("eye")
    train_vision.main(
        train_vision.Args(
            stores=(make_store(),), out=out, width=4, latent_size=6, steps=3, batch_size=4
        )
    )
    return out


def _memory_args(store: Path, eye: Path, out: Path, **options: int) -> train_memory.Args:
    return train_memory.Args(
        stores=(store,),
        vision=str(eye / "artifact"),
        out=out,
        hidden_size=8,
        mixtures=2,
        steps=3,
        batch_size=2,
        sequence_length=5,
        **options,  # type: ignore[arg-type]
    )


def test_the_eye_is_as_ordered(eye: Path) -> None:
    vision = load_vision(eye / "artifact", device="cpu")
    assert (vision.config.width, vision.latent_size) == (4, 6)
    assert json.loads((eye / "report.json").read_text())["steps"] == 3


def test_the_memory_is_as_ordered(
    make_store: MakeStore, eye: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_memory.main(_memory_args(make_store(), eye, tmp_path))
    memory = load_memory(tmp_path / "artifact", device="cpu")
    memory.check_vision(load_vision(eye / "artifact", device="cpu").digest)
    assert memory.feature_size == 8
    # The store's warmup of 50 frames is 13 decisions: states 13 to 19 of two episodes.
    assert memory.start_mean.shape == (14, 13, 6)
    assert f"memory: {tmp_path / 'artifact'}" in capsys.readouterr().out


def test_the_store_knows_enough_of_its_task(
    make_store: MakeStore, eye: Path, tmp_path: Path
) -> None:
    train_memory.main(_memory_args(make_store("unheard"), eye, tmp_path))
    assert load_memory(tmp_path / "artifact", device="cpu").config.task == "unheard"


def test_members_above_one_make_an_ensemble(
    make_store: MakeStore, eye: Path, tmp_path: Path
) -> None:
    train_memory.main(_memory_args(make_store(), eye, tmp_path, members=2))
    memory = load_memory(tmp_path / "artifact", device="cpu")
    assert type(memory).__name__ == "MemoryEnsemble"
    assert memory.config.members == 2


def test_what_can_not_be_trained_says_so(eye: Path, tmp_path: Path) -> None:
    args = train_memory.Args(stores=(), vision=str(eye / "artifact"), out=tmp_path)
    with pytest.raises(ValueError, match="stores: expected at least one rollout store"):
        train_memory.main(args)


@pytest.fixture(scope="module")
def symbols(make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("symbols")
    words = ["train-vision", str(make_store()), "-o", str(out), "--kind", "vqvae", "--codes", "6"]
    words += ["--code-size", "2", "--downsamplings", "5", "--width", "2", "--warmup-steps", "1"]
    assert cli.run([*words, "--steps", "3", "--batch-size", "8"]) == 0
    return out


def test_the_eye_that_sees_in_symbols(symbols: Path) -> None:
    vision = load_vision(symbols / "artifact", device="cpu")
    assert isinstance(vision, VQVAE)
    assert (vision.code_count, vision.tokens) == (6, 4)
    assert iio.imread(symbols / "codebook.png").std() > 1


def test_the_memory_in_symbols(make_store: MakeStore, symbols: Path, tmp_path: Path) -> None:
    words = ["train-memory", str(make_store()), "-v", str(symbols / "artifact"), "-o"]
    words += [str(tmp_path), "--kind", "codes", "--hidden-size", "8", "--steps", "3"]
    words += ["--core", "transformer", "--decoding", "sequential", "--sequence-length", "5"]
    assert cli.run([*words, "--members", "2"]) == 0
    memory = load_memory(tmp_path / "artifact", device="cpu")
    assert type(memory).__name__ == "CodeMemoryEnsemble"
    assert memory.config.member["core"] == "transformer"
    assert memory.config.member["decoding"] == "sequential"


def test_memories_are_compared(
    make_store: MakeStore, eye: Path, symbols: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["compare-memories", str(make_store()), "--codes", str(symbols / "artifact")]
    words += ["--gaussian", str(eye / "artifact"), "--work", str(tmp_path / "work"), "--out"]
    words += [str(tmp_path / "out"), "--steps", "2", "--seeds", "0"]
    words += ["--sequence-length", "4"]
    assert cli.run(words) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    names = ["MDN-RNN", "lstm, parallel", "lstm, sequential"]
    names += ["transformer, parallel", "transformer, sequential"]
    assert [row["memory"] for row in rows] == names
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[-7:]] == [
        f"| {name}" for name in (*names, "a copy of the last frame", "bigram, by place")
    ]
    monkeypatch.setattr("wmrl.training.trainer.Trainer.train", None)  # would fail if it were called
    assert cli.run(words) == 0
