"""Tiny artifacts and a second game that every test can use."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wmrl.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.envs.tasks import CAR_RACING, Task, rendered_frame
from wmrl.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.vae import VAE, VAEConfig
from wmrl.vqvae import VQVAE, VQVAEConfig

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame windows without a screen
# The models are tiny, and pytest has as many processes as there are cores.
torch.set_num_threads(1)


@dataclass(frozen=True)
class TinyArtifacts:
    """An untrained vision (Z = 8) and memory (H = 16, six dream starts of 5 actions) on disk."""

    vision: Path
    memory: Path
    vision_digest: str
    memory_digest: str

    @property
    def kwargs(self) -> dict[str, str]:
        """As keyword arguments of an environment, JSON-able."""
        return {"vision": str(self.vision), "memory": str(self.memory), "device": "cpu"}


@pytest.fixture(scope="session")
def make_tiny(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., TinyArtifacts]:
    """Writes tiny artifacts for a task: ``make_tiny(task, seed=0, starts=6, symbols=False)``."""

    def make(
        task: Task = CAR_RACING, *, seed: int = 0, starts: int = 6, symbols: bool = False
    ) -> TinyArtifacts:
        folder = tmp_path_factory.mktemp("tiny")
        generator = torch.Generator().manual_seed(seed)
        vision = (_symbol_vision if symbols else _vision)(generator)
        vision_digest = vision.save(folder / "vision")
        shared = {
            "action_size": task.action_size,
            "hidden_size": 16,
            "task": task.name,
            "frame_skip": task.frame_skip,
            "vision_digest": vision_digest,
        }
        memory: Any
        if isinstance(vision, VQVAE):
            config = CodeMemoryConfig(grid=(2, 2), codes=6, code_size=2, token_size=4, **shared)
            memory = CodeMemory(config, generator=generator)
            memory.set_codebook(vision.quantiser.codebook())
        else:
            memory = MDNRNN(MDNRNNConfig(latent_size=8, mixtures=2, **shared), generator=generator)
        with torch.no_grad():
            memory.heads.bias[-1] = -4.0  # an ending in about fifty steps
        memory.set_starts(
            mean=torch.randn(starts, 6, 8, generator=generator),
            std=0.1 * torch.rand(starts, 6, 8, generator=generator),
            actions=2 * torch.rand(starts, 5, task.action_size, generator=generator) - 1,
        )
        return TinyArtifacts(
            folder / "vision", folder / "memory", vision_digest, memory.save(folder / "memory")
        )

    return make


def _vision(generator: torch.Generator) -> VAE:
    return VAE(VAEConfig(width=4, latent_size=8), generator=generator)


def _symbol_vision(generator: torch.Generator) -> VQVAE:
    config = VQVAEConfig(width=4, residual_width=2, codes=6, code_size=2, downsamplings=5)
    vision = VQVAE(config, generator=generator)
    vectors = 0.05 * torch.randn(60, 2, generator=generator)
    vision.quantiser.start(vectors, generator=generator)
    return vision


@pytest.fixture(scope="session", params=["gaussian", "symbols"])
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[..., TinyArtifacts]) -> TinyArtifacts:
    """Tiny artifacts for CarRacing: VAE and MDN-RNN, or VQ-VAE and memory in symbols.

    Whatever takes an eye by name or path is so tested with either kind.
    """
    return make_tiny(symbols=request.param == "symbols")


@pytest.fixture(scope="session")
def pixel_task() -> Task:
    """A game that wmrl knows nothing of, whose frames come from ``render()``."""
    return Task(
        name="mountain-car",
        env_id="MountainCarContinuous-v0",
        env_kwargs={"render_mode": "rgb_array"},
        action_space=spaces.Box(-1.0, 1.0, (1,), np.float32),
        to_env_action=np.copy,
        frame=rendered_frame,
        frame_skip=2,
        max_frames=12,
    )


@pytest.fixture(scope="session")
def pixel_tiny(make_tiny: Callable[..., TinyArtifacts], pixel_task: Task) -> TinyArtifacts:
    """Tiny artifacts for ``pixel_task``."""
    return make_tiny(pixel_task)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Whatever a test sets, the next one runs on one thread again."""
    yield
    torch.set_num_threads(1)
