import numpy as np
import pytest
import torch

from wmrl.envs.latent.tracker import LatentTracker
from wmrl.envs.world_model import WorldModel


@pytest.fixture(scope="module")
def world_model(tiny):
    return WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")


@pytest.fixture
def video():
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (6, 3, 64, 64, 3), dtype=np.uint8)  # (T, N, ...)
    return frames, generator.uniform(-1, 1, (6, 3, 2)).astype(np.float32)


def watch(tracker, frames, actions):
    seen = [tracker.observe(frames[0])]
    for t in range(1, len(frames)):
        tracker.advance(actions[t - 1])
        seen.append(tracker.observe(frames[t]))
    return np.stack(seen)


@torch.inference_mode()
def oracle(world_model, frames, actions):
    """One game through the memory's sequence form: h_t knows what came before t."""
    z = world_model.vision.encode(torch.from_numpy(frames))
    h = [torch.zeros(1, 16)]
    for t in range(1, len(frames)):
        _, state = world_model.memory(z[None, :t], torch.from_numpy(actions)[None, :t])
        h.append(world_model.memory.features(state))
    return torch.cat((z, torch.cat(h)), 1).numpy()


def test_observations_equal_the_sequence_form(world_model, video):
    frames, actions = video
    seen = watch(LatentTracker(world_model, 3), frames, actions)
    for row in range(3):
        expected = oracle(world_model, frames[:, row], actions[:, row])
        np.testing.assert_allclose(seen[:, row], expected, atol=1e-5)
    assert not seen[0, :, 8:].any()
    assert seen[1, :, 8:].any()


def test_without_a_memory_observations_are_latents(tiny, video):
    frames, actions = video
    world_model = WorldModel.open("car-racing", tiny.vision, None)
    seen = watch(LatentTracker(world_model, 3), frames, actions)
    np.testing.assert_allclose(seen[3], world_model.vision.encode_numpy(frames[3]), atol=1e-6)
    assert seen.shape == (6, 3, 8)


def test_a_reset_game_starts_anew_and_others_go_on(world_model, video):
    frames, actions = video
    tracker = LatentTracker(world_model, 3)
    watch(tracker, frames[:3], actions[:3])
    tracker.advance(actions[2])
    tracker.reset(np.array([False, True, False]))
    anew = watch(tracker, frames[3:], actions[3:])
    expected = oracle(world_model, frames[3:, 1], actions[3:, 1])
    np.testing.assert_allclose(anew[:, 1], expected, atol=1e-5)
    whole = oracle(world_model, frames[:, 0], actions[:, 0])
    np.testing.assert_allclose(anew[:, 0], whole[3:], atol=1e-5)


def test_idle_games_keep_their_state(world_model, video):
    frames, actions = video
    tracker = LatentTracker(world_model, 3)
    before = watch(tracker, frames[:3], actions[:3])[-1]
    tracker.advance(actions[2], idle=np.array([True, False, False]))
    after = tracker.observe(frames[2])
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.array_equal(after[1], before[1])


def test_a_peek_changes_nothing(world_model, video):
    frames, actions = video
    tracker = LatentTracker(world_model, 3)
    watch(tracker, frames[:3], actions[:3])
    tracker.advance(actions[2])
    rows = np.array([0, 2])
    peeked = tracker.peek(frames[3][rows], rows)
    np.testing.assert_allclose(tracker.observe(frames[3])[rows], peeked, atol=1e-6)
    assert tracker.state.latent.shape == (3, 8)
    assert {len(tensor) for tensor in tracker.state.memory} == {3}
