"""The whole loop, tiny: what it leaves, and that a kill at any moment changes nothing."""

import csv
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toy_game
from toy_game import SCREEN, STEERED, TOY, Toy

from wmrl.agents.agent import load_agent
from wmrl.agents.evaluation.result import EvaluationResult
from wmrl.agents.pipeline import loop
from wmrl.agents.pipeline.loop import train
from wmrl.agents.pipeline.plan import TrainingPlan
from wmrl.agents.policy_search.cma_es import CMAESConfig
from wmrl.agents.policy_search.fitness import DreamFitnessConfig
from wmrl.agents.ppo.config import PPOConfig
from wmrl.data.reward_scale import return_std
from wmrl.data.store import RolloutStore
from wmrl.envs.tasks.car_racing import CAR_RACING
from wmrl.memory.code_memory import CodeMemoryConfig
from wmrl.memory.mdn_rnn import MDNRNNConfig
from wmrl.memory.training import MemoryTrainingConfig
from wmrl.storage.artifact import load_artifact
from wmrl.storage.run import RunError
from wmrl.training.trainer import TrainingConfig
from wmrl.vision.base import load_vision
from wmrl.vision.vae import VAEConfig
from wmrl.vision.vqvae import VQVAEConfig


def tiny_plan(**options: object) -> TrainingPlan:
    steps = {"steps": 6, "batch_size": 4, "checkpoint_every": 2, "log_every": 2}
    memory = MemoryTrainingConfig(**steps, sequence_length=8)
    ppo = {"rollout_steps": 8, "chunk_rollouts": 1, "batch_size": 16, "n_epochs": 1}
    dream = PPOConfig.dream(steps=4 * 8 * 2, **ppo)
    plan = {
        "rounds": 3,
        "first_frames": 300,
        "round_frames": 150,
        "vision": VAEConfig(base_channels=2, latent_dim=4),
        "vision_training": TrainingConfig(**steps),
        "vision_retraining": TrainingConfig(**steps),
        "memory": MDNRNNConfig(hidden_dim=8, num_mixtures=2),
        "memory_training": memory,
        "memory_retraining": memory,
        "dreams": 4,
        "dream_agent_steps": 10,
        "dream": dream,
        "dream_again": dream,
        "real_envs": 2,
        "real": PPOConfig.real(steps=2 * 8 * 4, **ppo),
        "score_episodes": 2,
        "score_every": 2,
    }
    return TrainingPlan(**plan | options)


EVOLUTION = {
    "algorithm": "cma-es",
    "rounds": 2,
    "vision_rounds": 1,
    "real_envs": 0,
    "evolution": CMAESConfig(generations=6, population_size=4, checkpoint_every=2),
    "trials": DreamFitnessConfig(num_rollouts=2),
}
DISCRETE = {
    "vision": VQVAEConfig(base_channels=2, codebook_size=8, code_dim=2, warmup_steps=2),
    "memory": CodeMemoryConfig(hidden_dim=8, token_dim=4),
}
PLANS = {
    "ppo": tiny_plan(),
    "cma-es": tiny_plan(**EVOLUTION),
    "discrete": tiny_plan(**DISCRETE, rounds=2, vision_rounds=1),
}
# The loop is the same for every game; one that is not a toy is CarRacing, ended early.
TASKS = {
    "ppo": STEERED,
    "cma-es": STEERED,
    "discrete": replace(CAR_RACING, max_frames=120, patience=60),
}


def bits(path: Path) -> dict[str, str]:
    """Digests of all that a run's result consists of: weights, learners' states, stores."""
    found = {
        str(store.relative_to(path)): RolloutStore(store).content_hash()
        for store in sorted(path.glob("round-*/data"))
    }
    for file in sorted(path.rglob("model.safetensors")):
        found[str(file.relative_to(path))] = load_artifact(file.parent).digest
    for file in sorted(path.rglob("cma-es.checkpoint")):
        found[str(file.relative_to(path))] = hashlib.sha256(state_bytes(file)).hexdigest()
    return found


def state_bytes(checkpoint: Path) -> bytes:
    """The tensors of a checkpoint; what is beside them holds times."""
    from safetensors import safe_open

    with safe_open(checkpoint, framework="np") as file:
        return b"".join(file.get_tensor(name).tobytes() for name in sorted(file.keys()))


@pytest.fixture(
    scope="module", params=["ppo", "cma-es", pytest.param("discrete", marks=pytest.mark.slow)]
)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / request.param
    log = io.StringIO()
    with redirect_stderr(log):
        train(TASKS[request.param], path, plan=PLANS[request.param], seed=3, workers=0)
    (path.parent / "log.txt").write_text(log.getvalue())
    return path


def test_its_log_tells_every_stage_and_the_next(finished: Path) -> None:
    plan = PLANS[finished.name]
    lines = [line[9:] for line in (finished.parent / "log.txt").read_text().splitlines()]
    following = [*plan.stages[1:], ""]
    starts = [
        f"{name} (next: {after})" if after else name
        for name, after in zip(plan.stages, following, strict=True)
    ]
    assert [line for line in lines if line in starts] == starts
    units = {"collect": "frames", "memory": "steps", "score: evaluation": "episodes"}
    for work, unit in units.items():
        begin = f"round 0: {work}: done after"
        done = [line for line in lines if line.startswith(begin)]
        assert done, lines
        assert all(f" {unit}; " in line for line in done)
    scores = [line for line in lines if "per agent step" in line]
    assert [line.partition(":")[0] for line in scores][: plan.rounds] == [
        f"round {number}" for number in range(plan.rounds)
    ]


def test_what_it_leaves(finished: Path) -> None:
    plan = PLANS[finished.name]
    task = TASKS[finished.name]
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    result = train(task, finished, plan=plan, seed=3, workers=0, progress=False)
    changed = [path for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns]
    assert not changed  # what is done is not done again
    assert load_artifact(result.vision, kind="vision").digest
    memory = load_artifact(result.memory, kind="memory")
    assert memory.config["member"]["vision_digest"] == load_artifact(result.vision).digest
    agents = [path for path in (result.dream, result.real) if path is not None]
    assert len(agents) == (2 if plan.real_envs else 1)
    assert all(load_agent(path).world_model.memory_digest == memory.digest for path in agents)
    with result.curve.open() as file:
        points = [row["point"] for row in csv.DictReader(file)]
    real = [f"real game, {steps * task.frame_skip} frames" for steps in (32, 64)] + ["real game"]
    assert points == [f"round {i}" for i in range(plan.rounds)] + real[: 3 * bool(plan.real_envs)]


@pytest.mark.parametrize("finished", ["ppo"], indirect=True)
def test_ppo_scales_rewards_by_the_recorded_returns(finished: Path) -> None:
    """Those of the rounds so far that trained the vision."""
    gamma = PLANS["ppo"].dream.gamma
    stores = [RolloutStore(finished / f"round-{number}/data") for number in range(2)]
    first, both = (1 / return_std(used, gamma=gamma) for used in (stores[:1], stores))
    assert first != pytest.approx(both)
    scales = {"round-0": first, "round-1": both, "round-2": both, "real": both}
    for stage, expected in scales.items():
        provenance = load_artifact(finished / stage / "agent").provenance
        assert float(provenance["config"]["reward_scale"]) == pytest.approx(expected)


def test_a_run_can_be_moved(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "moved")
    agent = load_agent(tmp_path / "moved" / "round-1" / "agent")
    assert agent.open_world_model(task=TASKS[finished.name]).memory is not None


def test_other_plans_are_refused(finished: Path) -> None:
    with pytest.raises(RunError, match="seed: expected 4, got 3"):
        train(TASKS[finished.name], finished, plan=PLANS[finished.name], seed=4, progress=False)


def killed_and_resumed(path: Path, name: str, *, kills: int, longest: float, seed: int) -> int:
    """Kills the run at random moments, then lets it end; returns how many kills struck."""
    code = (
        "import sys; from pathlib import Path; import torch; torch.set_num_threads(1);"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(toy_game.__file__).parent)!r}];"
        "from test_loop import PLANS, TASKS; from wmrl.agents.pipeline.loop import train;"
        "name, path = sys.argv[1:]; print('ready', flush=True);"
        "train(TASKS[name], path, plan=PLANS[name], seed=3, workers=0, progress=False)"
    )
    moments = random.Random(seed)
    struck = 0
    for attempt in range(kills + 1):
        process = subprocess.Popen(
            [sys.executable, "-c", code, name, str(path)],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if attempt < kills:
            time.sleep(moments.uniform(0.0, longest))
            if process.poll() is None:
                struck += 1
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            assert process.wait(timeout=300) == 0
        process.stdout.close()
    return struck


@pytest.mark.slow
def test_killed_and_resumed(finished: Path, tmp_path: Path) -> None:
    """In processes of their own; the short form is the suite of interruptions in tests/faults."""
    path = tmp_path / "killed"
    assert killed_and_resumed(path, finished.name, kills=1, longest=1.5, seed=0)
    assert bits(path) == bits(finished)


@pytest.mark.slow
def test_killed_a_dozen_times(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "killed"
    struck = killed_and_resumed(path, finished.name, kills=12, longest=0.6, seed=1)
    assert struck >= 10
    assert bits(path) == bits(finished)


@pytest.mark.parametrize("finished", ["cma-es"], indirect=True)
@pytest.mark.parametrize("name", ["score.json", "promise.json"])
def test_a_damaged_score_is_evaluated_again(finished: Path, tmp_path: Path, name: str) -> None:
    plan = PLANS[finished.name]
    moved = tmp_path / finished.name
    shutil.copytree(finished, moved)
    file = moved / "round-0" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    with pytest.warns(UserWarning, match=rf"{name}: damaged .*the agent is evaluated again"):
        train(TASKS[finished.name], moved, plan=plan, seed=3, workers=0, progress=False)
    assert file.read_bytes() == whole


@pytest.mark.parametrize(
    ("latents", "frame_stack"),
    [
        ("continuous", 1),
        ("discrete", 4),
        pytest.param("continuous", 4, marks=pytest.mark.slow),
        pytest.param("discrete", 1, marks=pytest.mark.slow),
    ],
)
def test_its_models_have_the_frames_of_the_task(
    latents: str, frame_stack: int, tmp_path: Path
) -> None:
    shown = replace(SCREEN, blank_final_frame=True)
    task = shown.with_frames(frame_size=(32, 48), grayscale=True, frame_stack=frame_stack)
    suffix = "@32x48x1" if frame_stack == 1 else "@32x48x1x4"
    options = {**EVOLUTION, "rounds": 1, "first_frames": 200, "score_episodes": 1}
    options |= DISCRETE if latents == "discrete" else {}
    result = train(task, tmp_path, plan=tiny_plan(**options), workers=0, progress=False)
    vision = load_vision(result.vision, device="cpu")
    assert (vision.frame_shape, vision.frame_stack) == ((32, 48, 1), frame_stack)
    assert RolloutStore(tmp_path / "round-0" / "data").metadata.frame_shape == (32, 48, 1)
    agent = load_agent(result.dream)
    assert agent.world_model is not None
    assert agent.world_model.task == f"screen-toy{suffix}"
    location = f"toy_game:SCREEN{suffix}"
    plan = load_artifact(result.vision).provenance["vision"]
    assert (plan["frame_size"], plan["channels"]) == ([32, 48], 1)
    assert plan["frame_stack"] == frame_stack
    assert agent.open_world_model(task=location, device="cpu").task.frame_shape == (32, 48, 1)


def test_a_score_of_long_episodes_is_of_fewer(tmp_path: Path) -> None:
    options = {**EVOLUTION, "rounds": 1, "first_frames": 200, "score_episodes": 7}
    plan = tiny_plan(**options, score_agent_steps=1)
    train(STEERED, tmp_path, plan=plan, workers=0, progress=False)
    assert len(EvaluationResult.load(tmp_path / "round-0" / "score.json").returns) == 5


def test_frames_that_no_model_can_have_are_refused_at_once(tmp_path: Path) -> None:
    plan = tiny_plan(**DISCRETE)
    with pytest.raises(ValueError, match=r"two multiples of 16 .* got \(84, 84\); resize"):
        train(CAR_RACING.with_frames(frame_size=(84, 84)), tmp_path / "run", plan=plan)
    assert not (tmp_path / "run").exists()


class CountedToy(Toy):
    """A toy that counts the frames of all games."""

    played = 0

    def step(self, action: np.ndarray) -> Any:
        CountedToy.played += 1
        return super().step(action)


gym.register("CountedToy-v0", entry_point=CountedToy)
COUNTED = replace(TOY, name="counted", env_id="CountedToy-v0", frame_size=(64, 64))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames of each evaluation, which do not count as played."""
    frames: list[int] = []
    evaluate = loop.evaluate

    def counting(*arguments: Any, **options: Any) -> Any:
        before = CountedToy.played
        result = evaluate(*arguments, **options)
        frames.append(CountedToy.played - before)
        CountedToy.played = before
        return result

    monkeypatch.setattr(CountedToy, "played", 0)
    monkeypatch.setattr(loop, "evaluate", counting)
    return frames


def points(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("fine_tuning", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_whole_run(tmp_path: Path, scored: list[int], fine_tuning: bool) -> None:
    options = {} if fine_tuning else {"real_envs": 0}
    plan = tiny_plan(rounds=2, vision_rounds=1, real_frames=650, **options)
    assert plan.collected_frames == 450
    result = train(COUNTED, tmp_path, plan=plan, seed=1, workers=0, progress=False)
    stores = [RolloutStore(path) for path in sorted(tmp_path.glob("round-*/data"))]
    collected = [3 * sum(summary.length for summary in store.summaries) for store in stores]
    assert collected == [300, 150]
    used = ["300", "450", *(["546", "642", "642"] if fine_tuning else [])]
    assert CountedToy.played <= int(used[-1]) <= 650
    curve = points(result.curve)
    assert [row["real_frames"] for row in curve] == used
    shown = [int(row["score_frames"]) for row in curve]
    assert all(0 <= more - frames < 3 * 2 for frames, more in zip(scored, shown, strict=True))


def test_too_few_frames_for_a_rollout_are_noticed_before_the_run(tmp_path: Path) -> None:
    plan = tiny_plan(rounds=2, real_frames=451)
    with pytest.raises(ValueError, match=r"real_frames: expected at least 498 .* got 451; set rea"):
        train(COUNTED, tmp_path / "run", plan=plan, progress=False)
    assert not (tmp_path / "run").exists()
