"""Settings that mean nothing are refused by every configuration, with the name of the setting."""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from gymnasium import spaces

from wmrl.agents.quality_diversity.problems import ArmProblem
from wmrl.core.strict_json import json_text
from wmrl.scripts.cli import COMMANDS
from wmrl.scripts.options import check_options

ROOT = Path(__file__).parents[1]

CONFIGS = (
    "agents.controller:ControllerConfig",
    "agents.pipeline.plan:TrainingPlan",
    "agents.pipeline.presets:TaskPreset",
    "agents.policy_search.cma_es:CMAESConfig",
    "agents.policy_search.fitness:DreamFitnessConfig",
    "agents.policy_search.fitness:RealFitnessConfig",
    "agents.policy_search.variational:VariationalSearchConfig",
    "agents.ppo.config:PPOConfig",
    "agents.quality_diversity.archive:ArchiveConfig",
    "agents.quality_diversity.dde_config:DDEConfig",
    "agents.quality_diversity.presets:SearchPreset",
    "agents.quality_diversity.problems:ControllerProblemConfig",
    "agents.quality_diversity.search:EliteSearchConfig",
    "agents.video.config:DreamVideoConfig",
    "agents.video.config:VideoConfig",
    "encodings.trainer:EncodingTrainingConfig",
    "encodings.vector_vae:VectorVAEConfig",
    "encodings.vector_vqvae:VectorVQVAEConfig",
    "envs.planar_arm.oracle:ArmOracleConfig",
    "inference.elbo_gradient:GradientConfig",
    "inference.fit:FitConfig",
    "memory.code_memory:CodeMemoryConfig",
    "memory.ensemble:CodeMemoryEnsembleConfig",
    "memory.ensemble:MemoryEnsembleConfig",
    "memory.mdn_rnn:MDNRNNConfig",
    "memory.start_states:StartStatesConfig",
    "memory.trainable:TrainableMemoryConfig",
    "memory.training:MemoryTrainingConfig",
    "nn.quantizers:EMAConfig",
    "nn.vq_autoencoder:QuantizerConfig",
    "priors.code_prior:CodePriorConfig",
    "priors.training:PriorTrainingConfig",
    "scripts.reproduce.binary_vae.model:BinaryTrainingConfig",
    "scripts.reproduce.binary_vae.model:BinaryVAEConfig",
    "scripts.reproduce.driver_videos:DriverVideoConfig",
    "scripts.reproduce.drivers.experiment:DriverSearchConfig",
    "scripts.reproduce.drivers.vision_trial:VisionTrialConfig",
    "scripts.reproduce.policies.experiment:PolicyTrialConfig",
    "scripts.reproduce.policies.experiment:SpreadConfig",
    "scripts.reproduce.reuse.code_search:CodeSearchConfig",
    "scripts.reproduce.take_cover.experiment:AgentTrialConfig",
    "scripts.reproduce.take_cover.experiment:WorldModelConfig",
    "scripts.reproduce.vqvae.experiment:ExperimentConfig",
    "training.trainer:TrainingConfig",
    "vision.vae:VAEConfig",
    "vision.vqvae:VQVAEConfig",
)

REQUIRED: dict[str, dict[str, Any]] = {
    "ControllerConfig": {"observation_dim": 3, "action_space": spaces.Box(-1, 1, (2,))},
    "SearchPreset": {"problem": ArmProblem()},
    "Task": {"name": "x", "env_id": "x", "action_space": spaces.Discrete(2)},
}
SETTINGS = (*CONFIGS, "envs.tasks.task:Task")

NO_NUMBERS = (math.nan, math.inf, -math.inf, "1", None, True)
BAD: dict[Any, tuple[Any, ...]] = {
    int: (-1, 1.5, *NO_NUMBERS),
    float: NO_NUMBERS,
    bool: (1, "yes", None),
    str: ("", " ", 1),
}


def loaded(config: str) -> Any:
    module, _, name = config.partition(":")
    return getattr(import_module(f"wmrl.{module}"), name)


def default(config: str) -> Any:
    cls = loaded(config)
    return cls(**REQUIRED.get(cls.__name__, {}))


def refusal(act: Callable[[], Any]) -> str:
    """Message of the error that an action raises; empty if it succeeds."""
    try:
        act()
    except (ValueError, TypeError) as error:
        return str(error)
    return ""


def bad_values(hint: Any) -> tuple[Any, ...]:
    """Values that a field of this type must refuse, whatever it means."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        known = [option for option in args if bad_values(option)]
        if types.NoneType not in args or len(known) != 1:
            return ()
        return tuple(value for value in bad_values(known[0]) if value is not None)
    if typing.get_origin(hint) is Literal:
        return ("nonsense", 1, True)
    if typing.get_origin(hint) is tuple:
        items = BAD.get(args[0], ()) if args[1:] == (...,) else ()
        return (3, "ab", np.array(3), *((value,) for value in items))
    if typing.get_origin(hint) in (dict, Mapping, Callable):
        return (3, "ab")
    return BAD.get(hint, ())


def test_the_list_of_configurations_is_complete() -> None:
    found = set()
    for folder in ("wmrl", "envs", "agents", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts[1:] if folder == "wmrl" else parts)
            for name in re.findall(r"^class (\w+(?:Config|Plan|Preset))\b", path.read_text(), re.M):
                found.add(f"{module}:{name}")
    assert found == set(CONFIGS)


@pytest.mark.parametrize("config", SETTINGS)
def test_no_field_takes_what_means_nothing(config: str) -> None:
    good = default(config)
    hints = typing.get_type_hints(type(good))
    tried = 0
    for field in dataclasses.fields(good):
        for value in bad_values(hints[field.name]):
            if value is None and getattr(good, field.name) is None:
                continue
            if field.name == "initial_coverage" and value is None:
                continue  # None stands for the default
            change = {field.name: value}
            assert field.name in refusal(partial(dataclasses.replace, good, **change)), change
            tried += 1
    assert tried


@pytest.mark.parametrize("config", CONFIGS)
def test_numbers_of_numpy_are_numbers(config: str) -> None:
    good = default(config)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(good):
        value = getattr(good, field.name)
        if isinstance(value, bool):
            given[field.name] = np.bool_(value)
        elif isinstance(value, int):
            given[field.name] = np.int64(value)
        elif isinstance(value, float):
            given[field.name] = np.float64(value)
    same = dataclasses.replace(good, **given)
    assert same == good
    for name in given:
        assert type(getattr(same, name)) is type(getattr(good, name)), name
        json_text(getattr(same, name))


OPTIONS = [
    ("train-vision", {"minutes": 0.0}, "minutes: expected above 0, got 0.0"),
    ("train-vision", {"minutes": -5.0}, "minutes: expected above 0, got -5.0"),
    ("train-vision", {"levels": (8, 0)}, "levels: expected at least 1, got 0"),
    ("train-vision", {"warmup_steps": -1}, "warmup_steps: expected at least 0, got -1"),
    ("collect", {"workers": -1}, "workers: expected at least 0, got -1"),
    ("train-vision", {"learning_rate": math.nan}, "learning_rate: expected a finite number"),
    ("train-memory", {"num_members": 0}, "num_members: expected at least 1, got 0"),
    ("train-memory", {"minutes": math.inf}, "minutes: expected a finite number, got inf"),
    ("train-controller", {"hidden_dims": (0,)}, "hidden_dims: expected at least 1, got 0"),
    ("train-controller", {"num_envs": 0}, "num_envs: expected at least 1, got 0"),
    ("train-controller", {"temperature": math.inf}, "temperature: expected a finite number"),
    ("train-controller", {"vision": ""}, "vision: expected a non-empty name, got ''"),
    ("train-controller", {"score_episodes": -1}, "score_episodes: expected at least 1, got -1"),
    ("train", {"minutes": 0.0}, "minutes: expected above 0, got 0.0"),
    ("train", {"seed": 2**63}, "seed: expected at most 9223372036854775807"),
    ("collect", {"workers": -1}, "workers: expected at least 0, got -1"),
    ("collect", {"task": " "}, "task: expected a non-empty name, got ' '"),
    ("collect", {"seed": -1}, "seed: expected at least 0, got -1"),
    ("inspect", {"fps": 0.0}, "fps: expected above 0, got 0.0"),
    ("inspect", {"columns": 0}, "columns: expected at least 1, got 0"),
    ("evaluate", {"temperature": 0.0}, "temperature: expected above 0, got 0.0"),
    ("play", {"width": 0}, "width: expected at least 1, got 0"),
    ("demo", {"seconds": -1.0}, "seconds: expected above 0, got -1.0"),
    ("reproduce codebook", {"seeds": (0, -1)}, "seeds: expected at least 0, got -1"),
    ("reproduce policies", {"video_agent_steps": -1}, "video_agent_steps: expected at least 0"),
]

GIVEN: dict[str, Any] = {
    "out": Path("out"),
    "stores": (),
    "store": Path("store"),
    "vision": "x",
    "agent": "x",
    "artifact": "x",
    "artifacts": ("x",),
    "repository": "user/name",
    "runs": (),
    "dataset": "x",
    "dataset_id": "x",
    "model": "x",
}


def options(command: str, **given: Any) -> Any:
    args = import_module(f"wmrl.scripts.{COMMANDS[command].module}").Args
    needed = {
        field.name: GIVEN[field.name]
        for field in dataclasses.fields(args)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return args(**needed | given)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_of_every_command_pass(command: str) -> None:
    check_options(options(command))


@pytest.mark.parametrize(("command", "given", "message"), OPTIONS)
def test_options_that_mean_nothing_are_refused(
    command: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        check_options(options(command, **given))


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_nan_or_an_empty_name(command: str) -> None:
    good = options(command)
    hints = typing.get_type_hints(type(good))
    for field in dataclasses.fields(good):
        for value in bad_values(hints[field.name]):
            if value is None:
                continue
            change = {field.name: value}
            message = refusal(partial(check_options, options(command, **change)))
            assert message.startswith(f"{field.name}: expected "), change
