"""Models and agents that live outside the library, and packages that bring them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_models import (
    ConstantAgent,
    GRUEnsemble,
    GRUMemory,
    GRUMemoryConfig,
    LinearVision,
    LinearVisionConfig,
)

from wmrl.agents import evaluate_dream, load_agent, register_agent
from wmrl.agents.agent import AGENTS
from wmrl.data.store import RolloutStore
from wmrl.encodings import register_encoding
from wmrl.encodings.base import ENCODINGS
from wmrl.envs import DreamVectorEnv, WorldModel
from wmrl.memory import (
    MemoryTrainingConfig,
    StartStatesConfig,
    load_memory,
    register_memory,
    train_ensemble,
    train_memory,
)
from wmrl.memory.base import MEMORIES
from wmrl.scripts.cli import run
from wmrl.storage import ArtifactError, Registry, load_plugins
from wmrl.training import TrainingConfig
from wmrl.vision import load_vision, register_vision, train_vision
from wmrl.vision.base import VISIONS

SHORT = {"steps": 4, "batch_size": 8, "log_every": 2, "checkpoint_every": 4}


@pytest.fixture(autouse=True)
def _fresh_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (VISIONS, MEMORIES, ENCODINGS, AGENTS):
        monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def store(make_rollouts: Callable[..., RolloutStore]) -> RolloutStore:
    return make_rollouts(task="car-racing")


def train(store: RolloutStore, path: Path) -> tuple[LinearVision, GRUMemory]:
    """Trains and saves both below a folder."""
    vision = train_vision(
        [store],
        path / "vision",
        config=LinearVisionConfig(latents=3),
        training=TrainingConfig(**SHORT),
        device="cpu",
        progress=False,
    )
    memory = train_memory(
        [store],
        path / "memory",
        vision=vision,
        config=GRUMemoryConfig(),
        training=memory_training(),
        device="cpu",
        progress=False,
    )
    assert isinstance(vision, LinearVision)
    assert isinstance(memory, GRUMemory)
    return vision, memory


def memory_training() -> MemoryTrainingConfig:
    starts = StartStatesConfig(burn_in=3)
    return MemoryTrainingConfig(**SHORT, sequence_length=5, start_states=starts)


def test_foreign_models_are_trained_saved_loaded_and_dreamed_in(
    store: RolloutStore, tmp_path: Path
) -> None:
    assert register_vision(LinearVision) is LinearVision
    register_memory(GRUMemory)
    vision, memory = train(store, tmp_path)
    assert memory.config.latent_dim == 3
    assert memory.config.task == "car-racing"
    again, _ = train(store, tmp_path)  # the runs are finished: they are loaded
    assert again.digest == vision.digest

    vision_path, memory_path = tmp_path / "vision/artifact", tmp_path / "memory/artifact"
    loaded = load_vision(vision_path, device="cpu")
    frames = store.frames(0)
    np.testing.assert_array_equal(loaded.encode_numpy(frames), vision.encode_numpy(frames))
    assert isinstance(load_memory(memory_path, device="cpu"), GRUMemory)

    env = DreamVectorEnv(5, vision=vision_path, memory=memory_path, device="cpu")
    observations, _ = env.reset(seed=0)
    assert observations.shape == (5, 3 + 6)
    observations, rewards, *_ = env.step(np.zeros((5, 2), np.float32))
    assert np.isfinite(observations).all()
    assert np.isfinite(rewards).all()

    register_agent(ConstantAgent)
    ConstantAgent(np.array([0.1, 0.2]), 9).save(tmp_path / "agent")
    agent = load_agent(tmp_path / "agent")
    assert isinstance(agent, ConstantAgent)
    world_model = WorldModel.open("car-racing", vision_path, memory_path, device="cpu")
    result = evaluate_dream(agent, episodes=4, agent_steps=6, world_model=world_model)
    assert len(result.returns) == 4


def test_a_foreign_memory_gets_defaults_and_ensembles_of_its_own(
    store: RolloutStore, tmp_path: Path
) -> None:
    register_vision(LinearVision)
    register_memory(GRUMemory)
    assert MemoryTrainingConfig.default_for(GRUMemoryConfig()).batch_size == 7
    vision, _ = train(store, tmp_path)

    def ensemble() -> GRUEnsemble:
        found = train_ensemble(
            [store],
            tmp_path / "ensemble",
            vision=vision,
            config=GRUMemoryConfig(),
            training=memory_training(),
            device="cpu",
            progress=False,
        )
        assert isinstance(found, GRUEnsemble)
        return found

    with pytest.raises(
        ValueError, match="derive a class from MemoryEnsemble, set its member_class to GRUMemory"
    ):
        ensemble()
    register_memory(GRUEnsemble)
    members = ensemble()
    env = DreamVectorEnv(5, vision=vision, memory=members, device="cpu")
    env.reset(seed=0)
    observations, *_ = env.step(np.zeros((5, 2), np.float32))
    assert observations.shape == (5, 3 + 6)
    assert isinstance(load_memory(tmp_path / "ensemble/artifact", device="cpu"), GRUEnsemble)
    with pytest.raises(ValueError, match="expected the configuration of a TrainableMemory"):
        train_memory([store], tmp_path / "other", vision=vision, config=members.config)


def test_unregistered_classes_are_refused_with_a_hint(store: RolloutStore, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"known vision class, got a LinearVisionConfig; .*register"
    ):
        train_vision([store], tmp_path / "run", config=LinearVisionConfig())
    LinearVision(LinearVisionConfig()).save(tmp_path / "vision")
    with pytest.raises(
        ArtifactError,
        match=r"unknown vision class 'LinearVision': expected one of 'VAE', 'VQVAE'; import the "
        r"package that registers the class with wmrl\.vision\.register_vision, or pass the "
        r"package's name to wmrl --plugins",
    ):
        load_vision(tmp_path / "vision")


def test_names_are_unique() -> None:
    class Linear(nn.Linear):
        pass

    class Other:
        Linear = type("Linear", (nn.Linear,), {"__qualname__": "Other.Linear"})

    layers = Registry(nn.Module, "layer", ["torch.nn:Conv2d"], register="add_layer")
    layers.register(Linear)
    layers.register(Linear)
    with pytest.raises(
        ValueError, match=r"Linear: expected an unused name for a layer class, got the name"
    ):
        layers.register(Other.Linear)
    assert layers.find("Linear") is Linear

    again = type("Linear", (nn.Linear,), {"__qualname__": Linear.__qualname__})
    layers.register(again)  # defined again, as in a notebook
    assert layers.find("Linear") is again

    with pytest.raises(ValueError, match=r"Conv2d: .* got the name of torch\.nn:Conv2d"):
        layers.register(type("Conv2d", (nn.Conv2d,), {}))
    assert layers.find("Conv2d") is nn.Conv2d
    with pytest.raises(TypeError, match="expected a subclass of Module, got <class 'int'>"):
        layers.register(int)


def test_only_classes_of_the_kind_are_registered() -> None:
    for register in (register_vision, register_encoding, register_memory):
        with pytest.raises(TypeError, match="expected a subclass of"):
            register(ConstantAgent)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="expected a subclass of Agent"):
        register_agent(LinearVision)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="VAE: expected an unused name for a vision class"):
        register_vision(type("VAE", (LinearVision,), {}))


PLUGIN = """
from toy_models import ConstantAgent, GRUMemory, LinearVision
from wmrl.agents import register_agent
from wmrl.memory import register_memory
from wmrl.vision import register_vision

register_agent(ConstantAgent)
register_memory(GRUMemory)
register_vision(LinearVision)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed package ``Toy.Plugin``, and another one that must not be imported."""
    folder = tmp_path / "site-packages"
    for name, text in (("toy_plugin", PLUGIN), ("evil_plugin", "raise SystemExit('imported')")):
        about = folder / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (folder / f"{name}.py").write_text(text)
        (about / "METADATA").write_text(f"Name: {name.title().replace('_', '.')}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[wmrl.plugins]\nmodels = {name}\n")
    monkeypatch.syspath_prepend(folder)
    yield "toy-plugin"
    for name in ("toy_plugin", "evil_plugin"):
        sys.modules.pop(name, None)


def test_plugins_of_a_named_package_are_imported(
    package: str, store: RolloutStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_vision(LinearVision)
    register_memory(GRUMemory)
    train(store, tmp_path)
    VISIONS._registered.clear()
    MEMORIES._registered.clear()
    words = ["train-memory", str(store.path), "--vision", str(tmp_path / "vision/artifact")]
    words += ["--out", str(tmp_path / "run"), "--steps", "500", "--minutes", "0.0001"]
    words += ["--device", "cpu", "--hidden-dim", "4", "--burn-in", "3"]
    assert run(words) == 2
    assert "unknown vision class 'LinearVision'" in capsys.readouterr().err
    assert run(["--plugins", package, *words]) == 0
    assert load_memory(tmp_path / "run/artifact").latent_dim == 3
    assert "evil_plugin" not in sys.modules


def test_names_of_packages_are_normalized_and_options_may_come_anywhere(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wmrl.scripts.cli as cli

    seen = []
    monkeypatch.setattr(cli, "_run_command", lambda name, rest, _: seen.append((name, rest)) or 0)
    assert run(["demo", "--plugins=Toy_Plugin", "--seed", "3", "--plugins", "toy.plugin"]) == 0
    assert seen == [("demo", ["--seed", "3"])]
    assert VISIONS.find("LinearVision") is LinearVision


def test_unknown_packages_are_refused(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--plugins", "toys", "demo"]) == 2
    assert "'evil-plugin', 'toy-plugin'), got 'toys'" in capsys.readouterr().err
    assert run(["demo", "--plugins"]) == 2
    with pytest.raises(
        ValueError, match="plugins: expected one of the installed packages with entry points"
    ):
        load_plugins(["numpy"])
    assert "toy_plugin" not in sys.modules


def test_nothing_that_a_file_names_is_imported(tmp_path: Path) -> None:
    LinearVision(LinearVisionConfig()).save(tmp_path / "vision")
    (tmp_path / "LinearVision.py").write_text("raise SystemExit('imported')")
    with pytest.raises(ArtifactError, match="unknown vision class"):
        load_vision(tmp_path / "vision")
    assert torch.is_tensor(LinearVision(LinearVisionConfig()).encoder.weight)
