import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from wmrl.data.split import StoredEpisode, split_episodes
from wmrl.data.store import RolloutStore, StoreError
from wmrl.memory.dataset import LatentDataset, LatentEpisode, encode_store, load_latents
from wmrl.storage.locks import file_lock
from wmrl.vision.vae import VAE, VAEConfig

MakeRollouts = Callable[..., RolloutStore]


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> VAE:
    vision = VAE(VAEConfig(base_channels=4, latent_dim=6)).eval()
    vision.save(tmp_path_factory.mktemp("vision") / "vision")
    return vision


def _episodes(store: RolloutStore) -> list[StoredEpisode]:
    return split_episodes([store], held_out=0.0).train


def _numbered(number: int, length: int, *, terminated: bool = False) -> LatentEpisode:
    """Latents (number, t) without noise, actions and rewards numbered alike."""
    t = torch.arange(length + 1.0)
    mean = torch.stack((torch.full_like(t, number), t), 1)
    return LatentEpisode(
        mean=mean.half(),
        std=torch.zeros_like(mean).half(),
        actions=mean[:-1] + 0.5,
        rewards=100 * number + t[:-1],
        terminated=terminated,
    )


def test_encodings_are_the_visions_posteriors(make_rollouts: MakeRollouts, vision: VAE) -> None:
    store = make_rollouts((9, 4))
    assert vision.digest is not None
    folder = encode_store(store, vision, batch_size=4)
    assert folder == store.path / "latents" / vision.digest[:16]
    for latents, episode in zip(
        load_latents(_episodes(store), vision), _episodes(store), strict=True
    ):
        index = episode.summary.index
        with torch.inference_mode():
            mean, std = vision.posterior(torch.from_numpy(store.frames(index)))
        torch.testing.assert_close(latents.mean.float(), mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(latents.std.float(), std, rtol=1e-3, atol=1e-3)
        assert np.array_equal(latents.actions.numpy(), store.actions(index))
        assert np.array_equal(latents.rewards.numpy(), store.rewards(index))
        assert latents.terminated == episode.summary.terminated
        assert len(latents) == episode.summary.length


def test_stacks_are_encoded_across_batches(make_rollouts: MakeRollouts, tmp_path: Path) -> None:
    store = make_rollouts((9, 2), frame_stack=4)
    vision = VAE(VAEConfig(base_channels=4, latent_dim=6, frame_stack=4)).eval()
    vision.save(tmp_path / "vision")
    encode_store(store, vision, batch_size=3)
    for latents, (_, summary) in zip(
        load_latents(_episodes(store), vision), _episodes(store), strict=True
    ):
        frames = list(store.frames(summary.index))
        padded = [frames[0]] * 3 + frames
        stacks = [np.concatenate(padded[t : t + 4], axis=-1) for t in range(len(frames))]
        with torch.inference_mode():
            mean, std = vision.posterior(torch.from_numpy(np.stack(stacks)))
        torch.testing.assert_close(latents.mean.float(), mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(latents.std.float(), std, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("encode", [encode_store, lambda s, v: load_latents(_episodes(s), v)])
def test_stacks_of_another_number_are_refused(
    make_rollouts: MakeRollouts, vision: VAE, encode: Callable[..., Any]
) -> None:
    store = make_rollouts((4,), frame_stack=2)
    with pytest.raises(ValueError, match="expected a frame_stack of 1, as the VAE requires, got 2"):
        encode(store, vision)


def test_only_what_is_missing_is_encoded(
    make_rollouts: MakeRollouts, vision: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_rollouts((9, 4, 5))
    folder = encode_store(store, vision)
    files = sorted(folder.iterdir())
    before = [file.read_bytes() for file in files]
    files[1].unlink()
    read = []
    frames = store.frames
    monkeypatch.setattr(
        store, "frames", lambda index, *part: (read.append(index), frames(index, *part))[1]
    )
    encode_store(store, vision)
    assert set(read) == {1}
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == before


def test_another_vision_has_encodings_of_its_own(
    make_rollouts: MakeRollouts, vision: VAE, tmp_path: Path
) -> None:
    store = make_rollouts((4,))
    other = VAE(
        VAEConfig(base_channels=4, latent_dim=6), generator=torch.Generator().manual_seed(1)
    )
    other.save(tmp_path / "vision")
    assert encode_store(store, vision) != encode_store(store, other)


def test_a_vision_without_a_name_is_refused(make_rollouts: MakeRollouts) -> None:
    with pytest.raises(
        ValueError, match="vision: expected a saved vision model, got one that was never saved"
    ):
        encode_store(make_rollouts((4,)), VAE(VAEConfig(base_channels=4)))


def _faults(data: bytes, flips: int) -> Iterator[bytes | None]:
    """Yields damaged versions of a file; None is a file that is gone."""
    generator = random.Random(flips)
    yield None
    yield b""
    yield data[: len(data) // 2]
    yield data[:-10]
    yield data + b"more"
    for _ in range(flips):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        yield bytes(damaged)


@pytest.mark.parametrize("flips", [40, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("encoded_by", ["encode_store", "load_latents"])
def test_missing_and_damaged_encodings_are_made_again(
    make_rollouts: MakeRollouts, vision: VAE, encoded_by: str, flips: int
) -> None:
    store = make_rollouts((4,))
    [file] = encode_store(store, vision).iterdir()
    data = file.read_bytes()
    for damaged in _faults(data, flips):
        file.unlink()
        if damaged is not None:
            file.write_bytes(damaged)
        if encoded_by == "encode_store":
            encode_store(store, vision)
        else:
            load_latents(_episodes(store), vision)
        assert file.read_bytes() == data
    assert len(list(file.parent.iterdir())) == 1


def test_encodings_without_a_checksum_or_of_another_episode_are_made_again(
    make_rollouts: MakeRollouts, vision: VAE
) -> None:
    store = make_rollouts((4, 4))
    one, two = sorted(encode_store(store, vision).iterdir())
    data = one.read_bytes()
    for wrong in (save(load(data)), two.read_bytes()):
        one.write_bytes(wrong)
        [latents, _] = load_latents(_episodes(store), vision)
        assert np.array_equal(latents.rewards.numpy(), store.rewards(0))
        assert one.read_bytes() == data


def test_what_killed_encoders_left_is_removed(make_rollouts: MakeRollouts, vision: VAE) -> None:
    store = make_rollouts((4, 5))
    folder = encode_store(store, vision)
    files = sorted(folder.iterdir())
    files[1].rename(folder / f".{files[1].stem}.01234567.new.safetensors")
    encode_store(store, vision)
    assert sorted(folder.iterdir()) == files


def test_encoding_waits_for_another_process(make_rollouts: MakeRollouts, vision: VAE) -> None:
    store = make_rollouts((4,))
    folder = store.path / "latents" / str(vision.digest)[:16]
    folder.mkdir(parents=True)
    with ThreadPoolExecutor(1) as thread:
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            encoding = thread.submit(encode_store, store, vision)
            time.sleep(0.1)
            assert list(folder.iterdir()) == []
        assert encoding.result(60) == folder
    assert len(list(folder.iterdir())) == 1


def test_damaged_episodes_are_not_encoded(make_rollouts: MakeRollouts, vision: VAE) -> None:
    store = make_rollouts((4,))
    [frames] = (path for path in (store.path / "episodes/00000000/frames/c").rglob("*/*/*/0"))
    frames.write_bytes(b"")
    with pytest.raises(StoreError, match="missing or damaged"):
        load_latents(_episodes(store), vision)


def test_windows_are_cut_out_of_episodes() -> None:
    episodes = [
        _numbered(1, 3, terminated=True),
        _numbered(2, 40),
        _numbered(3, 8, terminated=True),
    ]
    data = LatentDataset(episodes, length=8, batch_size=64, seed=0)
    assert len(data) == 51
    for step in range(5):
        batch = data.batch(step)
        assert batch.latents.shape == (64, 9, 2)
        for row in range(64):
            number, start = batch.latents[row, 0].tolist()
            length = {1: 3, 2: 40, 3: 8}[int(number)]
            real = min(8, length - int(start))
            assert batch.mask[row].tolist() == [t < real for t in range(8)]
            t = start + torch.arange(real + 1.0)
            assert batch.latents[row, : real + 1, 0].tolist() == [number] * (real + 1)
            assert batch.latents[row, : real + 1, 1].tolist() == t.tolist()
            assert batch.actions[row, :real, 1].tolist() == (t[:-1] + 0.5).tolist()
            assert batch.rewards[row, :real].tolist() == (100 * number + t[:-1]).tolist()
            ends = number != 2 and start + real == length
            assert batch.terminated[row, :real].tolist() == [
                ends and i == real - 1 for i in range(real)
            ]


def test_no_transition_is_neglected() -> None:
    """Of an episode shorter than a window, as long, and longer: each is drawn as often, or more."""
    data = LatentDataset(
        [_numbered(0, 5), _numbered(1, 10), _numbered(2, 60)], length=10, batch_size=4000, seed=0
    )
    batch = data.batch(0)
    number, t = batch.latents[:, :-1][batch.mask].long().unbind(-1)
    counts = torch.zeros(3, 60).index_put_((number, t), torch.ones(len(t)), accumulate=True)
    drawn = torch.cat([counts[0, :5], counts[1, :10], counts[2]])
    expected = 4000 * 10 / (14 + 19 + 69)  # of one in the middle of a long episode
    assert drawn.min().item() > 0.8 * expected
    assert drawn.max().item() < 2.2 * expected


def test_a_long_episode_ends_at_any_step_of_a_window() -> None:
    """Otherwise, a memory learns to predict the end by counting the steps of a window."""
    episodes = [_numbered(0, 60, terminated=True)]
    batch = LatentDataset(episodes, length=10, batch_size=6000, seed=0).batch(0)
    ends = (batch.terminated & batch.mask).sum(0)
    torch.testing.assert_close(ends / ends.sum(), torch.full((10,), 0.1), atol=0.03, rtol=0)


def test_latents_are_drawn_anew_from_their_posteriors() -> None:
    episode = _numbered(1, 200)
    mean = torch.zeros_like(episode.mean)
    noisy = LatentEpisode(
        mean, torch.full_like(episode.std, 2.0), episode.actions, episode.rewards, False
    )
    data = LatentDataset([noisy], length=200, batch_size=8, seed=0)
    noise, other = data.batch(0).latents, data.batch(1).latents
    assert noise.mean().item() == pytest.approx(0.0, abs=0.15)
    assert noise.std().item() == pytest.approx(2.0, rel=0.05)
    assert not torch.equal(noise, other)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    def latents(seed: int, step: int) -> torch.Tensor:
        data = LatentDataset([_numbered(1, 90)], length=4, batch_size=16, seed=seed)
        return data.batch(step).latents

    assert torch.equal(latents(0, 7), latents(0, 7))
    assert not torch.equal(latents(0, 7), latents(0, 8))
    assert not torch.equal(latents(0, 7), latents(1, 7))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="episodes: expected at least one"):
        LatentDataset([], length=4, batch_size=2, seed=0)
    with pytest.raises(ValueError, match="length: expected at least 1, got 0"):
        LatentDataset([_numbered(1, 3)], length=0, batch_size=2, seed=0)
