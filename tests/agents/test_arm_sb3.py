"""Training with Stable-Baselines3 on the planar arm: on angles, on latents and on codes."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import wmrl  # noqa: F401 - registers the environments
from wmrl.encodings.trainer import EncodingTrainer, EncodingTrainingConfig
from wmrl.encodings.vector_vae import VectorVAE, VectorVAEConfig
from wmrl.encodings.vector_vqvae import VectorVQVAE, VectorVQVAEConfig

NUM_JOINTS = 6


@pytest.fixture(scope="module")
def encoding_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trains an encoding, when a test asks for it, of arms with even angles, each by another."""
    rng = np.random.default_rng(0)
    poses = rng.uniform(-0.6, 0.6, (512, 1)) + rng.normal(0, 0.02, (512, NUM_JOINTS))
    sizes: dict[str, Any] = {"input_dim": NUM_JOINTS, "hidden_dims": (32,)}
    configs = {
        "vae": VectorVAEConfig(latent_dim=2, kl_weight=1e-3, **sizes),
        "vqvae": VectorVQVAEConfig(
            num_tokens=2, codebook_size=16, code_dim=4, warmup_steps=50, **sizes
        ),
    }
    folder = tmp_path_factory.mktemp("encodings")
    training = EncodingTrainingConfig(epochs=60, learning_rate=3e-3, weight_penalty=0.0)

    @cache
    def make(kind: str) -> Path:
        encoding = {"vae": VectorVAE, "vqvae": VectorVQVAE}[kind](configs[kind])
        EncodingTrainer(encoding, training).fit(torch.from_numpy(poses).float())
        encoding.save(folder / kind)
        return folder / kind

    return make


def score(
    env_id: str, steps: int, *, policy: dict[str, Any], **options: Any
) -> tuple[float, float]:
    """Mean reward of random actions, and of PPO after training."""
    envs = make_vec_env(env_id, n_envs=16, seed=0, env_kwargs=options)
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=16,
        batch_size=64,
        learning_rate=3e-3,
        gamma=0.0,  # an episode is one step
        policy_kwargs={"net_arch": [32], **policy},
        device="cpu",
        seed=0,
    )
    envs.action_space.seed(0)
    envs.reset()
    random = [
        envs.step(np.stack([envs.action_space.sample() for _ in range(16)]))[1] for _ in range(20)
    ]
    model.learn(steps)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=100)
    envs.close()
    return float(np.mean(random)), float(np.mean(after))


def scores(
    kind: str,
    steps: int,
    encoding_of: Callable[[str], Path],
    target: tuple[float, float] | str,
) -> tuple[float, float]:
    """Scores on angles, or on the latents of an encoding."""
    policy = {} if kind == "vqvae" else {"log_std_init": -1.0}
    if kind == "angles":
        return score("vsg/PlanarArm-v0", steps, policy=policy, num_joints=NUM_JOINTS, target=target)
    path = str(encoding_of(kind))
    return score("vsg/PlanarArmLatent-v0", steps, policy=policy, encoding=path, target=target)


@pytest.mark.parametrize(
    "kind",
    ["vae", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("angles", "vqvae"))],
)
def test_ppo_reaches_a_target(kind: str, encoding_of: Callable[[str], Path]) -> None:
    random, after = scores(kind, 3000, encoding_of, (0.3, 0.5))
    assert after > 0.4 * random


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["angles", "vae", "vqvae"])
def test_ppo_reaches_random_targets(kind: str, encoding_of: Callable[[str], Path]) -> None:
    random, after = scores(kind, 60_000, encoding_of, "random")
    assert after > 0.5 * random
