import numpy as np
import pytest
import torch

from wmrl.envs.latent.tracker import Gaze
from wmrl.envs.world_model import Eye


@pytest.fixture(scope="module")
def eye(tiny):
    return Eye.open("car-racing", tiny.vision, tiny.memory, device="cpu")


@pytest.fixture
def film():
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (6, 3, 64, 64, 3), dtype=np.uint8)  # (T, N, ...)
    return frames, generator.uniform(-1, 1, (6, 3, 2)).astype(np.float32)


def watch(gaze, frames, actions):
    seen = [gaze.see(frames[0])]
    for t in range(1, len(frames)):
        gaze.act(actions[t - 1])
        seen.append(gaze.see(frames[t]))
    return np.stack(seen)


@torch.inference_mode()
def oracle(eye, frames, actions):
    """One game through the memory's sequence form: h_t knows what came before t."""
    z = eye.vision.encode(torch.from_numpy(frames))
    h = [torch.zeros(1, 16)]
    for t in range(1, len(frames)):
        _, state = eye.memory(z[None, :t], torch.from_numpy(actions)[None, :t])
        h.append(eye.memory.features(state))
    return torch.cat((z, torch.cat(h)), 1).numpy()


def test_observations_equal_the_sequence_form(eye, film):
    frames, actions = film
    seen = watch(Gaze(eye, 3), frames, actions)
    for row in range(3):
        expected = oracle(eye, frames[:, row], actions[:, row])
        np.testing.assert_allclose(seen[:, row], expected, atol=1e-5)
    assert not seen[0, :, 8:].any()
    assert seen[1, :, 8:].any()


def test_without_a_memory_observations_are_latents(tiny, film):
    frames, actions = film
    eye = Eye.open("car-racing", tiny.vision, None)
    seen = watch(Gaze(eye, 3), frames, actions)
    np.testing.assert_allclose(seen[3], eye.vision.encode_numpy(frames[3]), atol=1e-6)
    assert seen.shape == (6, 3, 8)


def test_a_forgotten_row_starts_anew_and_others_go_on(eye, film):
    frames, actions = film
    gaze = Gaze(eye, 3)
    watch(gaze, frames[:3], actions[:3])
    gaze.act(actions[2])
    gaze.forget(np.array([False, True, False]))
    anew = watch(gaze, frames[3:], actions[3:])
    expected = oracle(eye, frames[3:, 1], actions[3:, 1])
    np.testing.assert_allclose(anew[:, 1], expected, atol=1e-5)
    whole = oracle(eye, frames[:, 0], actions[:, 0])
    np.testing.assert_allclose(anew[:, 0], whole[3:], atol=1e-5)


def test_idle_rows_remember_nothing_new(eye, film):
    frames, actions = film
    gaze = Gaze(eye, 3)
    before = watch(gaze, frames[:3], actions[:3])[-1]
    gaze.act(actions[2], idle=np.array([True, False, False]))
    after = gaze.see(frames[2])
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.array_equal(after[1], before[1])


def test_a_glance_sees_and_changes_nothing(eye, film):
    frames, actions = film
    gaze = Gaze(eye, 3)
    watch(gaze, frames[:3], actions[:3])
    gaze.act(actions[2])
    rows = np.array([0, 2])
    glance = gaze.glance(frames[3][rows], rows)
    np.testing.assert_allclose(gaze.see(frames[3])[rows], glance, atol=1e-6)
    assert gaze.state.latent.shape == (3, 8)
    assert {len(tensor) for tensor in gaze.state.memory} == {3}
