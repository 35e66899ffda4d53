"""``wmrl train-vision`` and ``wmrl train-memory``, one after the other."""

import json
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from gymnasium.spaces import Box

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
            task=task,
            frame_shape=(64, 64, 3),
            action_space=Box(-1, 1, (2,)),
            frame_skip=4,
            warmup_frames=50,
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
def vae_run(make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("vae")
    train_vision.main(
        train_vision.Args(
            stores=(make_store(),), out=out, base_channels=4, latent_dim=6, steps=3, batch_size=4
        )
    )
    return out


def _memory_args(store: Path, vae_run: Path, out: Path, **options: int) -> train_memory.Args:
    return train_memory.Args(
        stores=(store,),
        vision=str(vae_run / "artifact"),
        out=out,
        hidden_dim=8,
        num_mixtures=2,
        steps=3,
        batch_size=2,
        sequence_length=5,
        **options,  # type: ignore[arg-type]
    )


def test_options_reach_the_vision_model(vae_run: Path) -> None:
    vision = load_vision(vae_run / "artifact", device="cpu")
    assert (vision.config.base_channels, vision.latent_dim) == (4, 6)
    assert json.loads((vae_run / "report.json").read_text())["steps"] == 3


@pytest.mark.parametrize(
    ("task", "words", "variance"),
    [
        ("car-racing", ["--pixel-variance", "calibrated"], None),
        ("car-racing", ["--pixel-variance", "0.01"], 0.01),
        ("car-racing", [], 0.5),
        ("maze", [], None),
    ],
)
def test_the_variance_of_pixels_is_given_or_the_tasks(
    task: str, words: list[str], variance: float | None, make_store: MakeStore, tmp_path: Path
) -> None:
    size = ["--base-channels", "4", "--steps", "3", "--batch-size", "4"]
    given = ["-o", str(tmp_path), *words]
    assert cli.run(["train-vision", str(make_store(task)), *given, *size]) == 0
    vision = load_vision(tmp_path / "artifact", device="cpu")
    assert vision.config.pixel_variance == variance
    assert vision.config.mean_frame == (task == "maze")


def test_further_training_keeps_the_kind_of_decoder(make_store: MakeStore, tmp_path: Path) -> None:
    size = ["--base-channels", "4", "--steps", "3", "--batch-size", "4"]
    words = ["train-vision", str(make_store("maze")), *size, "-o"]
    assert cli.run([*words, str(tmp_path / "first"), "--mean-frame", "False"]) == 0
    first = str(tmp_path / "first" / "artifact")
    assert cli.run([*words, str(tmp_path / "more"), "--init", first]) == 0
    assert not load_vision(tmp_path / "more" / "artifact", device="cpu").config.mean_frame


@pytest.mark.parametrize(("task", "scale"), [("car-racing", 0.1), ("maze", 1.0)])
def test_rewards_are_scaled_as_in_the_training_loop(
    task: str, scale: float, make_store: MakeStore, vae_run: Path, tmp_path: Path
) -> None:
    """The recorded rewards are 1."""
    train_memory.main(_memory_args(make_store(task), vae_run, tmp_path))
    assert load_memory(tmp_path / "artifact", device="cpu").config.reward_scale == scale


def test_options_reach_the_memory_model(
    make_store: MakeStore, vae_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_memory.main(_memory_args(make_store(), vae_run, tmp_path))
    memory = load_memory(tmp_path / "artifact", device="cpu")
    memory.check_vision(load_vision(vae_run / "artifact", device="cpu").digest)
    assert memory.feature_dim == 8
    # The store's warmup of 50 frames lasts 13 agent steps: states 13 to 19 of two episodes.
    assert memory.start_mean.shape == (14, 13, 6)
    assert f"memory: {tmp_path / 'artifact'}" in capsys.readouterr().out


def test_the_store_knows_enough_of_its_task(
    make_store: MakeStore, vae_run: Path, tmp_path: Path
) -> None:
    train_memory.main(_memory_args(make_store("unknown"), vae_run, tmp_path))
    assert load_memory(tmp_path / "artifact", device="cpu").config.task == "unknown"


def test_members_above_one_make_an_ensemble(
    make_store: MakeStore, vae_run: Path, tmp_path: Path
) -> None:
    train_memory.main(_memory_args(make_store(), vae_run, tmp_path, num_members=2))
    memory = load_memory(tmp_path / "artifact", device="cpu")
    assert type(memory).__name__ == "MemoryEnsemble"
    assert memory.config.num_members == 2


def test_training_needs_stores(vae_run: Path, tmp_path: Path) -> None:
    args = train_memory.Args(stores=(), vision=str(vae_run / "artifact"), out=tmp_path)
    with pytest.raises(ValueError, match="stores: expected at least one rollout store"):
        train_memory.main(args)


@pytest.fixture(scope="module")
def vqvae_run(make_store: MakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("vqvae")
    words = [
        "train-vision",
        str(make_store()),
        "-o",
        str(out),
        "--kind",
        "vqvae",
        "--codebook-size",
    ]
    words += ["6", "--code-dim", "2", "--num-downsamplings", "5", "--base-channels", "2"]
    words += ["--warmup-steps", "1"]
    assert cli.run([*words, "--steps", "3", "--batch-size", "8"]) == 0
    return out


def test_a_vqvae_is_trained(vqvae_run: Path) -> None:
    vision = load_vision(vqvae_run / "artifact", device="cpu")
    assert isinstance(vision, VQVAE)
    assert (vision.codebook_size, vision.num_tokens) == (6, 4)
    assert iio.imread(vqvae_run / "codebook.png").std() > 1


def test_an_ensemble_over_codes_is_trained(
    make_store: MakeStore, vqvae_run: Path, tmp_path: Path
) -> None:
    words = ["train-memory", str(make_store()), "-v", str(vqvae_run / "artifact"), "-o"]
    words += [str(tmp_path), "--kind", "codes", "--hidden-dim", "8", "--steps", "3"]
    words += [
        "--sequence-model",
        "transformer",
        "--decoding",
        "sequential",
        *("--token-dim", "8", "--kernel-size", "1", "5", "--history", "2", "--modulation"),
        "--sequence-length",
        "5",
    ]
    assert cli.run([*words, "--num-members", "2"]) == 0
    memory = load_memory(tmp_path / "artifact", device="cpu")
    assert type(memory).__name__ == "CodeMemoryEnsemble"
    assert memory.config.member["sequence_model"] == "transformer"
    member = memory.config.member
    assert member["decoding"] == "sequential"
    assert (member["token_dim"], tuple(member["kernel_size"])) == (8, (1, 5))
    assert (member["history"], member["modulation"]) == (2, True)


@pytest.mark.slow
def test_memories_are_compared(
    make_store: MakeStore,
    vae_run: Path,
    vqvae_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["compare-memories", str(make_store()), "--vqvae", str(vqvae_run / "artifact")]
    words += ["--vae", str(vae_run / "artifact"), "--work", str(tmp_path / "work"), "--out"]
    words += [str(tmp_path / "out"), "--steps", "2", "--seeds", "0"]
    words += ["--sequence-length", "4"]
    assert cli.run(words) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    names = ["MDN-RNN", "lstm, parallel", "lstm, sequential"]
    names += ["transformer, parallel", "transformer, sequential"]
    assert [row["memory"] for row in rows] == names
    table = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[-7:]] == [
        f"| {name}" for name in (*names, "a copy of the last frame", "bigram, by position")
    ]
    monkeypatch.setattr("wmrl.training.trainer.Trainer.train", None)  # fails if it is called
    assert cli.run(words) == 0
