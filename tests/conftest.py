"""Tiny artifacts, rollouts, agents and games that every test can use."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from toy_hub import TOKEN, ToyHub

from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.world_model_ref import WorldModelRef
from wmrl.data.store import Episode, RolloutStore, StoreMetadata
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.envs.tasks.task import Task, rendered_frame
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.vision.vae import VAE, VAEConfig
from wmrl.vision.vqvae import VQVAE, VQVAEConfig

# A shell that starts the tests in the background makes them, and their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame windows without a screen
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # no test reaches the Hugging Face hub
# Nothing that tests write has to survive a power failure: the descriptor is checked, and no disk
# is waited for. Tests of what is synced, and when, put a function of their own here.
os.fsync = os.fstat
# The models are tiny, and pytest has as many processes as there are cores.
torch.set_num_threads(1)


@dataclass(frozen=True)
class TinyArtifacts:
    """An untrained vision (Z = 8) and memory (H = 16, six start states of 5 actions) on disk."""

    vision: Path
    memory: Path
    vision_digest: str
    memory_digest: str

    @property
    def kwargs(self) -> dict[str, str]:
        """As keyword arguments of an environment, JSON-able."""
        return {"vision": str(self.vision), "memory": str(self.memory), "device": "cpu"}

    def ref(self, frame_skip: int = 4) -> WorldModelRef:
        """As the reference of an agent for CarRacing."""
        return WorldModelRef(
            task="car-racing",
            vision=str(self.vision),
            memory=str(self.memory),
            vision_digest=self.vision_digest,
            memory_digest=self.memory_digest,
            frame_skip=frame_skip,
        )


@pytest.fixture(scope="session")
def make_tiny(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., TinyArtifacts]:
    """Writes tiny artifacts for a task: ``make_tiny(task, seed=0, starts=6, discrete=False)``."""

    def make(
        task: Task = CAR_RACING, *, seed: int = 0, starts: int = 6, discrete: bool = False
    ) -> TinyArtifacts:
        folder = tmp_path_factory.mktemp("tiny")
        generator = torch.Generator().manual_seed(seed)
        vision = (_discrete_vision if discrete else _vision)(task, generator)
        vision_digest = vision.save(folder / "vision")
        shared = {
            "action_dim": task.action_dim,
            "num_options": task.actions.num_options,
            "hidden_dim": 16,
            "task": task.name,
            "frame_skip": task.frame_skip,
            "vision_digest": vision_digest,
        }
        memory: Any
        if isinstance(vision, VQVAE):
            config = CodeMemoryConfig(
                grid=(2, 2), codebook_size=6, code_dim=2, token_dim=4, **shared
            )
            memory = CodeMemory(config, generator=generator)
            memory.set_codebook(vision.quantizer.codebook())
        else:
            memory = MDNRNN(
                MDNRNNConfig(latent_dim=8, num_mixtures=2, **shared), generator=generator
            )
        with torch.no_grad():
            memory.heads.bias[-1] = -4.0  # an ending in about fifty steps
        memory.set_start_states(
            mean=torch.randn(starts, 6, 8, generator=generator),
            std=0.1 * torch.rand(starts, 6, 8, generator=generator),
            actions=_start_actions(task, starts, generator),
        )
        return TinyArtifacts(
            folder / "vision", folder / "memory", vision_digest, memory.save(folder / "memory")
        )

    return make


def _start_actions(task: Task, starts: int, generator: torch.Generator) -> torch.Tensor:
    if task.actions.is_continuous:
        return 2 * torch.rand(starts, 5, task.action_dim, generator=generator) - 1
    source = np.random.default_rng(0)
    chosen = np.stack([task.actions.sample(source) for _ in range(5 * starts)])
    return torch.from_numpy(task.actions.encode(chosen)).view(starts, 5, -1)


def _vision(task: Task, generator: torch.Generator) -> VAE:
    config = VAEConfig(base_channels=4, latent_dim=8)
    fitted = VAE.fit_config(config, task.frame_shape, task.frame_stack)
    return VAE(fitted, generator=generator)


def _discrete_vision(task: Task, generator: torch.Generator) -> VQVAE:
    config = VQVAEConfig(
        base_channels=4, residual_channels=2, codebook_size=6, code_dim=2, num_downsamplings=5
    )
    fitted = VQVAE.fit_config(config, task.frame_shape, task.frame_stack)
    vision = VQVAE(fitted, generator=generator)
    vectors = 0.05 * torch.randn(60, 2, generator=generator)
    vision.quantizer.init_codebook(vectors, generator=generator)
    return vision


@pytest.fixture(scope="session", params=["gaussian", "discrete"])
def tiny(request: pytest.FixtureRequest, make_tiny: Callable[..., TinyArtifacts]) -> TinyArtifacts:
    """Tiny artifacts for CarRacing: VAE and MDN-RNN, or VQ-VAE and memory with discrete latents.

    What takes a world model by name or path is thus tested with both kinds.
    """
    return make_tiny(discrete=request.param == "discrete")


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


@pytest.fixture(scope="session")
def interpreted_ribs() -> Iterator[None]:
    """CMA-ES of ribs in plain Python: numba compiles it anew in each process, for seconds."""
    from ribs.emitters.opt import CMAEvolutionStrategy

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_transform_and_check_sol", "_calc_cov_update"):
            compiled = getattr(CMAEvolutionStrategy, name)
            patch.setattr(CMAEvolutionStrategy, name, staticmethod(compiled.py_func))
        yield


@pytest.fixture(scope="session")
def one_registry() -> Iterator[None]:
    """The ONNX exporter's table of operators is made once, not for each graph, for seconds."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        made = cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(made))
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Whatever a test sets, the next one runs on one thread again."""
    yield
    torch.set_num_threads(1)


class MatchVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Game of repeating the observation: reward 1 − |a − o|², where o is drawn anew each step.

    An episode is truncated after ``horizon`` steps, so the best return is ``horizon``. Where
    ``o[0] > deadly`` the next step also terminates. Every slot has a stream of its own.
    """

    def __init__(
        self,
        num_envs: int = 8,
        *,
        horizon: int = 10,
        deadly: float = 2.0,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> None:
        self.num_envs = num_envs
        self.render_mode = None
        self.metadata = {"autoreset_mode": autoreset_mode}
        self.single_observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gym.vector.utils.batch_space(
            self.single_observation_space, num_envs
        )
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, num_envs)
        self.horizon, self.deadly = horizon, deadly
        self.streams = [np.random.default_rng(slot) for slot in range(num_envs)]
        self.time = np.zeros(num_envs, np.int64)
        self.seen = np.zeros((num_envs, 2), np.float32)
        self.idle = np.ones(num_envs, np.bool_)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + slot for slot in range(self.num_envs)]
        for slot in np.flatnonzero(mask):
            if seed[slot] is not None:
                self.streams[slot] = np.random.default_rng(seed[slot])
            self._look(slot)
        self.time[mask] = 0
        self.idle[mask] = False
        return self.seen, {}

    def step(self, actions: np.ndarray) -> Any:
        assert actions.shape == (self.num_envs, 2)
        assert np.abs(actions).max() <= 1
        rewards = 1.0 - ((actions - self.seen) ** 2).sum(1)
        rewards[self.idle] = 0.0
        terminated = (self.seen[:, 0] > self.deadly) & ~self.idle
        self.time += 1
        for slot in range(self.num_envs):
            self._look(slot)
        truncated = (self.time >= self.horizon) & ~self.idle
        ended = terminated | truncated
        info: dict[str, Any] = {}
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for slot in np.flatnonzero(ended):
                final[slot] = self.seen[slot].copy()
            info = {
                "final_obs": final,
                "_final_obs": ended,
                "final_info": {"time": self.time.copy(), "_time": ended},
            }
            self.reset(options={"reset_mask": ended})
        else:
            self.idle = self.idle | ended
        return self.seen, rewards, terminated, truncated, info

    def _look(self, slot: int) -> None:
        self.seen[slot] = self.streams[slot].uniform(-1.0, 1.0, 2)


@pytest.fixture
def match_env() -> type[MatchVectorEnv]:
    """The class of the toy game."""
    return MatchVectorEnv


MakeRollouts = Callable[..., RolloutStore]


def bar_episode(length: int, seed: int) -> Episode:
    """A bright bar on a dark ground, moved by the action; the right half of the screen pays."""
    generator = np.random.default_rng(seed)
    actions = generator.uniform(-1, 1, (length, 2)).astype(np.float32)
    place = np.clip(30 + np.concatenate(([0], np.cumsum(8 * actions[:, 0]))), 0, 56).astype(int)
    frames = np.full((length + 1, 64, 64, 3), 40, np.uint8)
    for frame, x in zip(frames, place, strict=True):
        frame[:, x : x + 8] = (220, 120, 60)
    return Episode(
        frames=frames,
        actions=actions,
        rewards=np.where(place[1:] > 28, 3.0, -0.1).astype(np.float32),
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
        info={"seed": seed},
    )


@pytest.fixture(scope="session")
def make_rollouts(tmp_path_factory: pytest.TempPathFactory) -> MakeRollouts:
    """Writes a store: ``make_rollouts(lengths=(20, 9), task="bar", seed=0)``."""

    def make(
        lengths: tuple[int, ...] = (24, 9, 17, 30),
        *,
        task: str = "bar",
        warmup_frames: int = 0,
        start_window: int = 0,
        frame_stack: int = 1,
        seed: int = 0,
    ) -> RolloutStore:
        path: Path = tmp_path_factory.mktemp("rollouts") / "store"
        metadata = StoreMetadata(
            task=task,
            frame_shape=(64, 64, 3),
            action_space=Box(-1, 1, (2,)),
            frame_skip=4,
            warmup_frames=warmup_frames,
            start_window=start_window,
            frame_stack=frame_stack,
            policy={"name": "test"},
        )
        store = RolloutStore(path, "a", metadata=metadata)
        for index, length in enumerate(lengths):
            store.write(index, bar_episode(length, 100 * seed + index))
        return store

    return make


@pytest.fixture
def ref() -> WorldModelRef:
    """A reference to a world model that does not exist."""
    return WorldModelRef(
        task="car-racing",
        vision="v",
        memory=None,
        vision_digest=None,
        memory_digest=None,
        frame_skip=4,
    )


@pytest.fixture
def make_agent(tmp_path: Path) -> Callable[..., Path]:
    """Saves a controller with random weights that refers to a tiny world model."""

    def make(tiny: Any) -> Path:
        config = ControllerConfig(observation_dim=24, action_space=Box(-1, 1, (2,)))
        weights = np.random.default_rng(0).normal(size=config.parameter_count)
        ControllerAgent(config, weights, world_model=tiny.ref()).save(tmp_path / "agent")
        return tmp_path / "agent"

    return make


@pytest.fixture
def agent_path(make_agent: Callable[..., Path], tiny: Any) -> Path:
    """A saved controller that refers to the tiny world model."""
    return make_agent(tiny)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyHub]:
    """A stand-in for the Hugging Face hub, with an account ``ada`` and an empty cache."""
    from huggingface_hub import close_session, constants

    toy = ToyHub()
    with toy.serve():
        template = f"{toy.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in (
            ("ENDPOINT", toy.url),
            ("HUGGINGFACE_CO_URL_TEMPLATE", template),
            ("HF_HUB_CACHE", str(tmp_path / "hub-cache")),
            ("HF_HUB_DISABLE_XET", True),  # uploads by plain HTTP
            ("HF_HUB_OFFLINE", False),
            ("HF_TOKEN_PATH", str(tmp_path / "no-token")),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield toy
        close_session()
