import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig
from wmrl.envs.planar_arm.latent_actions import ArmLatents
from wmrl.storage.artifact import ArtifactError


@pytest.fixture
def vae():
    return VectorVAE(VectorVAEConfig(input_dim=5, latent_dim=3))


@pytest.fixture
def vqvae():
    config = VectorVQVAEConfig(
        input_dim=5, num_tokens=4, codebook_size=7, code_dim=2, hidden_dims=(8,)
    )
    encoding = VectorVQVAE(config)
    generator = torch.Generator().manual_seed(0)
    encoding.quantizer.init_codebook(torch.randn(60, 2, generator=generator), generator=generator)
    return encoding


def test_latents_are_scaled_and_decoded(vae):
    latents = ArmLatents(vae, latent_limit=2.0, device="cpu")
    assert latents.space == spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert (latents.num_joints, latents.discrete) == (5, False)
    actions = np.float32([[0.5, -1.0, 0.0], [1.0, 0.25, -0.5]])
    with torch.no_grad():
        expected = vae.decode(torch.tensor([[1.0, -2.0, 0.0], [2.0, 0.5, -1.0]]))
    np.testing.assert_array_equal(latents.poses(actions), expected.numpy())


def test_codes_are_looked_up_and_decoded(vqvae):
    latents = ArmLatents(vqvae, device="cpu")
    assert latents.space == spaces.MultiDiscrete([7] * 4)
    assert (latents.num_joints, latents.discrete) == (5, True)
    codes = np.array([[0, 6, 2, 2], [1, 0, 5, 3]])
    book = vqvae.quantizer.codebook().numpy()
    with torch.no_grad():
        expected = vqvae.decoder(torch.from_numpy(book[codes].reshape(2, 8)))
    np.testing.assert_array_equal(latents.poses(codes), expected.numpy())


def test_poses_stay_in_the_joints_range(vqvae):
    with torch.no_grad():
        vqvae.decoder[-1].bias[:] = torch.tensor([9.0, -9.0, 9.0, -9.0, 9.0])
    poses = ArmLatents(vqvae, device="cpu").poses(np.zeros((1, 4), np.int64))
    assert poses.tolist() == [[1, -1, 1, -1, 1]]


def test_actions_are_clipped_and_taken_as_the_networks_want_them(vae, vqvae):
    given = [[1e300, -0.5, -math.pi]]  # one is beyond float32
    clipped = ArmLatents(vae, device="cpu").check_actions(given, (1, 3))
    assert clipped.tolist() == [[1, -0.5, -1]]
    assert clipped.dtype == np.float32
    codes = ArmLatents(vqvae, device="cpu").check_actions(np.uint8([0, 1, 2, 6]), (4,))
    assert codes.dtype == np.int64


def test_what_is_no_action_is_refused(vae, vqvae):
    of_vae, of_vqvae = ArmLatents(vae, device="cpu"), ArmLatents(vqvae, device="cpu")
    for latents, action, message in (
        (
            of_vae,
            np.zeros(4),
            r"expected shape \(3,\) with one number per latent dimension, got \(4,\)",
        ),
        (of_vae, np.array([0, math.nan, 0]), "expected finite numbers, got nan"),
        (of_vae, np.array([math.inf, 0, 0]), "expected finite numbers, got inf"),
        (of_vae, ["a", "b", "c"], "action: expected one number per latent dimension, got"),
        (of_vqvae, np.zeros(3, int), r"expected shape \(4,\) of integer codes, got shape \(3,\)"),
        (of_vqvae, np.array([0, 1, 7, 0]), "expected codes from 0 to 6, got 7"),
        (of_vqvae, np.array([0, -1, 3, 0]), "expected codes from 0 to 6, got -1"),
        (of_vqvae, np.zeros(4), "expected integer codes, got float64"),
        (of_vqvae, np.full(4, math.nan), "expected integer codes, got float64"),
    ):
        with pytest.raises(ValueError, match=message):
            latents.check_actions(action, latents.space.shape)


def test_what_is_no_encoding_is_refused(vae):
    with pytest.raises(ArtifactError, match="no artifact 'planar-leg'"):
        ArmLatents("planar-leg")
    with pytest.raises(
        ArtifactError, match="expected an artifact of kind 'encoding', got 'vision'"
    ):
        ArmLatents("car-racing-vae")
    with pytest.raises(
        TypeError, match=r"encoding: expected the name of a shipped artifact, .* got Linear"
    ):
        ArmLatents(torch.nn.Linear(3, 5))
    for limit in (0.0, -1.0, math.nan, math.inf, 1e300):
        with pytest.raises(ValueError, match=r"latent_limit: expected (above 0|at most 1e\+16)"):
            ArmLatents(vae, latent_limit=limit)
