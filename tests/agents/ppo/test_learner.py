import os
import signal
from dataclasses import replace
from itertools import count, pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from children import in_child
from gymnasium.spaces import Box

from wmrl.agents.agent import load_agent
from wmrl.agents.controller import ControllerAgent, ControllerConfig
from wmrl.agents.ppo import learner as ppo_module
from wmrl.agents.ppo.config import PPOConfig
from wmrl.agents.ppo.learner import PPOLearner
from wmrl.agents.sb3.vec_env import SB3VecEnv, dream_vec_env
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.storage.artifact import load_artifact
from wmrl.storage.run import RunError
from wmrl.training.callbacks import Callback, StopTraining
from wmrl.training.metrics import read_metrics

TINY = PPOConfig(
    steps=192, rollout_steps=8, chunk_rollouts=2, batch_size=16, n_epochs=2, hidden_dims=(4,)
)


def learner(match_env, path, config=TINY, **options) -> PPOLearner:
    return PPOLearner(match_env(4), config, path=path, **options)


def weights(trained: PPOLearner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trained.agent.policy.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


class Watch(Callback):
    """Remembers the checkpoints that it was told of, and ends the training after a log line."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.checkpoints: list[int] = []
        self._stop_at = stop_at

    def log(self, step, metrics):
        if step == self._stop_at:
            raise StopTraining("as asked")

    def checkpoint(self, step, path):
        self.checkpoints.append(step)


def without_time(rows):
    return [{name: row[name] for name in row if name != "seconds"} for row in rows]


def test_solves_the_toy_game(match_env, tmp_path):
    config = PPOConfig(
        steps=8_192,
        rollout_steps=16,
        batch_size=128,
        n_epochs=4,
        learning_rate=1e-2,
        learning_rate_final=0.0,
        log_std=-0.5,
        log_std_final=-2.0,
        reward_scale=1.0,
        gamma=0.0,
        hidden_dims=(16,),
    )
    with PPOLearner(match_env(16), config, path=tmp_path) as trained:
        untrained = trained.predict(np.float32([[0.8, -0.8]]), deterministic=True)[0]
        trained.learn(progress=False)
    assert trained.done
    seen = np.random.default_rng(0).uniform(-0.9, 0.9, (200, 2)).astype(np.float32)
    said, _ = trained.predict(seen, deterministic=True)
    assert np.abs(said - seen).mean() < 0.1 < np.abs(untrained - [[0.8, -0.8]]).mean()
    assert torch.exp(trained.agent.policy.log_std).mean() == pytest.approx(np.exp(-2), rel=0.1)


def test_same_seed_same_bits_whatever_the_global_state(match_env, tmp_path):
    torch.manual_seed(1)
    with learner(match_env, tmp_path / "a") as first:
        first.learn(progress=False)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    with learner(match_env, tmp_path / "b") as second:
        second.learn(progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(weights(first), weights(second))
    with learner(match_env, tmp_path / "c", seed=1) as other:
        other.learn(progress=False)
    assert not torch.equal(weights(other)["value_net.weight"], weights(first)["value_net.weight"])


def test_interrupted_equals_uninterrupted(match_env, tmp_path):
    """Stopped inside each chunk, by an error in the game, and gone on in a new object."""
    with learner(match_env, tmp_path / "whole") as whole:
        whole.learn(progress=False)
    calls = 0
    for stop_at in (9, 30, 45, None):

        class Failing(match_env):
            def step(self, actions, stop_at=stop_at):
                nonlocal calls
                calls += 1
                if calls == stop_at:
                    raise InterruptedError
                return super().step(actions)

        with learner(Failing, tmp_path / "parts") as parts:
            if stop_at is None:
                parts.learn(progress=False)
            else:
                with pytest.raises(InterruptedError):
                    parts.learn(progress=False)
    assert parts.steps == whole.steps == 192
    assert_same(weights(whole), weights(parts))
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert without_time(rows[0]) == without_time(rows[1])
    assert [row["step"] for row in rows[0]] == [32, 64, 96, 128, 160, 192]


def test_a_finished_run_can_be_extended(match_env, tmp_path):
    """Also if its end was in the middle of a chunk, which is then repeated."""
    with learner(match_env, tmp_path / "whole") as whole:
        whole.learn(progress=False)
    for steps in (32, 96, 128, 192):
        with learner(match_env, tmp_path / "parts", replace(TINY, steps=steps)) as parts:
            parts.learn(progress=False)
        assert parts.steps == steps
    assert_same(weights(whole), weights(parts))
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert without_time(rows[0]) == without_time(rows[1])
    with learner(match_env, tmp_path / "parts") as again:  # finished, also at its last chunk
        assert again.done
    with pytest.raises(RunError, match=r"config\.steps: expected at least 192, .*got 96"):
        learner(match_env, tmp_path / "parts", replace(TINY, steps=96))
    falling = replace(TINY, steps=64, learning_rate_final=0.0)
    with learner(match_env, tmp_path / "falling", falling) as first:
        first.learn(progress=False)
    longer = replace(falling, steps=96)
    with pytest.warns(UserWarning, match="so the result differs from that of a run"):
        learner(match_env, tmp_path / "falling", longer).close()


@pytest.mark.parametrize(
    "tiny", ["gaussian", pytest.param("discrete", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize(("checkpoint_seconds", "kept"), [(1e9, 64), (0.0, 96)])
def test_killed_process_resumes(tiny, tmp_path, monkeypatch, checkpoint_seconds, kept):
    """SIGKILL in a dream; another process goes on, from the chunk's start or from within it."""
    monkeypatch.setattr(ppo_module, "_CHECKPOINT_SECONDS", checkpoint_seconds)
    env = dream_vec_env(num_envs=4, max_episode_steps=6, **tiny.kwargs)
    config = PPOConfig(steps=160, rollout_steps=8, chunk_rollouts=2, batch_size=16, n_epochs=2)
    with PPOLearner(env, config, path=tmp_path / "whole") as whole:
        whole.learn(progress=False)

    def learn_and_die():
        env = dream_vec_env(num_envs=4, max_episode_steps=6, **tiny.kwargs)
        learner = PPOLearner(env, config, path=tmp_path / "parts")
        rollout = learner._model.learn_rollout

        def dying(**options):
            if learner._model.num_timesteps >= 96:
                os.kill(os.getpid(), signal.SIGKILL)
            return rollout(**options)

        learner._model.learn_rollout = dying
        learner.learn(progress=False)

    assert in_child(learn_and_die) == (-signal.SIGKILL, None)
    env = dream_vec_env(num_envs=4, max_episode_steps=6, **tiny.kwargs)
    watch = Watch()
    with PPOLearner(env, config, path=tmp_path / "parts") as parts:
        assert parts.steps == kept
        assert parts.learn(callbacks=[watch], progress=False).done
        assert_same(weights(whole), weights(parts))
    assert watch.checkpoints == [step for step in (64, 128, 160) if step >= kept]
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "parts")]
    assert without_time(rows[0]) == without_time(rows[1])


def test_checkpoints_within_a_chunk_change_nothing(tiny, tmp_path, monkeypatch):
    """Neither results nor what callbacks are told, wherever the checkpoints are."""
    config = PPOConfig(
        steps=208, rollout_steps=8, chunk_rollouts=3, batch_size=16, n_epochs=1, stagger=9
    )
    watches, seen = [Watch(stop_at=128), Watch(stop_at=128)], []
    for every, watch in zip((1e9, 0.0), watches, strict=True):
        monkeypatch.setattr(ppo_module, "_CHECKPOINT_SECONDS", every)
        env = dream_vec_env(num_envs=4, max_episode_steps=6, dropout=True, **tiny.kwargs)
        with PPOLearner(env, config, path=tmp_path / f"{every}") as trained:
            trained.learn(callbacks=[watch], progress=False)
            assert trained.steps == 192  # the end of the chunk
            trained.learn(progress=False)
        seen.append((weights(trained), without_time(read_metrics(trained.path / "metrics.csv"))))
    assert watches[0].checkpoints == watches[1].checkpoints == [96, 192]
    assert_same(seen[0][0], seen[1][0])
    assert seen[0][1] == seen[1][1]
    assert [row["step"] for row in seen[0][1]] == [32, 64, 96, 128, 160, 192, 224]


def test_checkpoints_within_a_chunk_need_a_plain_dream(match_env, tiny, tmp_path, monkeypatch):
    """Other environments may have a state that is not saved, as may wrapped and derived dreams."""
    monkeypatch.setattr(ppo_module, "_CHECKPOINT_SECONDS", 0.0)
    with learner(match_env, tmp_path / "game") as trained:
        trained.learn(max_seconds=1e-9, progress=False)
        assert trained.steps == 32
        assert not trained.env.can_be_cloned
    dream = dream_vec_env(num_envs=4, max_episode_steps=6, **tiny.kwargs)
    assert dream.can_be_cloned

    class Counting(DreamVectorEnv):
        def step(self, actions):
            return super().step(actions)

    options = {"autoreset_mode": "SameStep", "max_episode_steps": 6, **tiny.kwargs}
    assert not SB3VecEnv(Counting(4, **options)).can_be_cloned
    wrapped = SB3VecEnv(gym.wrappers.vector.ClipReward(DreamVectorEnv(4, **options), -1, 1))
    assert not wrapped.can_be_cloned


@pytest.fixture
def start(tiny, tmp_path, monkeypatch):
    """Creates a learner in dreams, with a checkpoint after each rollout."""
    monkeypatch.setattr(ppo_module, "_CHECKPOINT_SECONDS", 0.0)
    config = PPOConfig(steps=192, rollout_steps=8, chunk_rollouts=3, batch_size=16, n_epochs=1)

    def make(name="run", env=None, num_envs=4):
        env = env or dream_vec_env(num_envs=num_envs, max_episode_steps=6, **tiny.kwargs)
        return PPOLearner(env, config, path=tmp_path / name)

    return make


def test_a_chunk_that_was_interrupted_goes_on_in_the_same_object(match_env, start, tmp_path):
    """From a reset, since the last rollouts were not kept."""

    def interrupt_third_rollout(trained):
        rollout, done = trained._model.learn_rollout, []

        def interrupted(**options):
            done.append(None)
            if len(done) == 3:
                raise KeyboardInterrupt
            return rollout(**options)

        trained._model.learn_rollout = interrupted

    config = replace(TINY, chunk_rollouts=4, steps=128)
    for trained in (start(), learner(match_env, tmp_path / "game", config)):
        with trained:
            interrupt_third_rollout(trained)
            with pytest.raises(KeyboardInterrupt):
                trained.learn(progress=False)
            assert trained.learn(progress=False).done


def test_a_stop_within_a_chunk_outlives_the_process(start):
    """The run ends at the end of the chunk, also if it is resumed in between."""
    with start("whole") as whole:
        whole.learn(callbacks=[Watch(stop_at=32)], progress=False)
        assert whole.steps == 96
    with start("parts") as parts:
        checkpoint = parts._checkpoint

        def dying():
            checkpoint()
            raise InterruptedError

        parts._checkpoint = dying
        with pytest.raises(InterruptedError):
            parts.learn(callbacks=[Watch(stop_at=32)], progress=False)
    with start("parts") as parts:
        assert parts.steps == 32
        parts.learn(callbacks=[Watch()], progress=False)
        assert parts.steps == 96
        assert_same(weights(whole), weights(parts))
        assert parts.learn(progress=False).done  # the next call goes on


def test_callbacks_cannot_disturb_a_chunk(start):
    """A callback may use the environment of the training, as it may at the end of a chunk."""

    class Reset(Callback):
        def __init__(self, env):
            self._env = env

        def log(self, step, metrics):
            self._env.reset()
            np.random.rand()  # noqa: NPY002

    with start("plain") as plain:
        plain.learn(progress=False)
    with start("disturbed") as disturbed:
        disturbed.learn(callbacks=[Reset(disturbed.env)], progress=False)
    assert_same(weights(plain), weights(disturbed))


def test_other_dreams_cannot_go_on_within_a_chunk(tiny, start):
    with start() as trained:
        trained._checkpoint, whole = lambda: whole() and 1 / 0, trained._checkpoint
        with pytest.raises(ZeroDivisionError):
            trained.learn(progress=False)
        assert trained.steps == 32

    class Derived(DreamVectorEnv):
        def reset(self, **options):
            return super().reset(**options)

    options = {"autoreset_mode": "SameStep", "max_episode_steps": 6, **tiny.kwargs}
    with pytest.raises(RunError, match="expected the dreams in which the training began, got a D"):
        start(env=Derived(4, **options))
    dreams = start(name="other").env.env
    dreams._memory = type(dreams._memory)(replace(dreams._memory.config, hidden_dim=5))
    with pytest.raises(RunError, match=r"got others .*; give the same environment, or choose"):
        start(env=dreams)


def test_noise_and_learning_rate_are_annealed(match_env, tmp_path):
    config = PPOConfig(
        steps=128,
        rollout_steps=8,
        chunk_rollouts=1,
        batch_size=32,
        learning_rate=1e-3,
        learning_rate_final=0.0,
        log_std=0.0,
        log_std_final=-2.0,
    )
    with learner(match_env, tmp_path, config) as trained:
        trained.learn(progress=False)
    rows = read_metrics(tmp_path / "metrics.csv")
    np.testing.assert_allclose(
        [row["train/learning_rate"] for row in rows], [1e-3, 7.5e-4, 5e-4, 2.5e-4], rtol=1e-6
    )
    np.testing.assert_allclose(
        np.log([row["train/std"] for row in rows]), [0.0, -0.5, -1.0, -1.5], atol=1e-6
    )


def test_noise_can_reach_its_end_early_and_the_critic_can_begin_alone(match_env, tmp_path):
    config = PPOConfig(
        steps=128,
        rollout_steps=8,
        chunk_rollouts=1,
        batch_size=32,
        log_std=0.0,
        log_std_final=-2.0,
        log_std_share=0.5,
        critic_rollouts=2,
    )
    actor = []

    class Watched(SB3VecEnv):
        def reset(self):
            actor.append(trained.agent.policy.action_net.weight.clone())
            return super().reset()

    with PPOLearner(Watched(match_env(4)), config, path=tmp_path) as trained:
        trained.learn(progress=False)
    rows = read_metrics(tmp_path / "metrics.csv")
    np.testing.assert_allclose(
        np.log([row["train/std"] for row in rows]), [0.0, -1.0, -2.0, -2.0], atol=1e-6
    )
    same = [torch.equal(before, after) for before, after in pairwise(actor)]
    assert same == [True, True, False]


def test_stagger_ends_first_episodes_early(match_env, tmp_path):
    lengths = []

    class Watched(SB3VecEnv):
        def step_arrays(self, actions):
            stepped = super().step_arrays(actions)
            lengths.extend(episode["l"] for episode in self.episodes)
            return stepped

    config = PPOConfig(steps=160, rollout_steps=20, chunk_rollouts=2, batch_size=80, stagger=10)
    with PPOLearner(Watched(match_env(4)), config, path=tmp_path) as trained:
        trained.learn(progress=False)
    assert min(lengths[:4]) < 10
    assert lengths.count(10) >= len(lengths) - 4


def test_time_limit_counts_over_sessions(match_env, tmp_path):
    with learner(match_env, tmp_path) as first:
        first.learn(max_seconds=1e-9, progress=False)
        assert first.steps == 32  # one rollout
    with learner(match_env, tmp_path) as second:
        assert second.steps == 32
        assert second.seconds == first.seconds > 0
        second.learn(max_seconds=first.seconds / 2, progress=False)
        assert second.steps == 32
        second.learn(progress=False)
        assert second.done


def test_annealing_by_time(match_env, tmp_path, monkeypatch):
    clock = count(0.0, 0.02)  # seconds, at each look
    monkeypatch.setattr(ppo_module.time, "perf_counter", lambda: next(clock))
    config = PPOConfig(
        steps=10**9, rollout_steps=8, learning_rate_final=0.0, batch_size=32, anneal_by="time"
    )
    with learner(match_env, tmp_path, config) as trained:
        trained.learn(max_seconds=0.3, progress=False)
    rates = [row["train/learning_rate"] for row in read_metrics(tmp_path / "metrics.csv")]
    assert rates[0] == config.learning_rate
    assert rates[-1] < 0.5 * config.learning_rate
    assert rates == sorted(rates, reverse=True)


def test_evaluator_fills_the_curve(match_env, tmp_path):
    with learner(match_env, tmp_path) as trained:
        trained.learn(
            evaluator=lambda agent: {"real/mean": float(agent.predict(np.zeros(2))[0].size)},
            evaluate_every=2,
            progress=False,
        )
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows if "real/mean" in row] == [128]


def test_save_and_warm_start(match_env, tmp_path, ref):
    with learner(match_env, tmp_path / "a", world_model=ref) as first:
        first.learn(progress=False)
    first.save(tmp_path / "agent", provenance={"note": "x"})
    provenance = load_artifact(tmp_path / "agent").provenance
    assert provenance["algorithm"] == "ppo"
    assert provenance["steps"] == 192
    assert provenance["note"] == "x"
    init = load_agent(tmp_path / "agent")
    assert init.world_model == ref
    with learner(match_env, tmp_path / "b", init=init) as second:
        assert_same(weights(second), weights(first))
    louder = PPOConfig(**{**TINY.__dict__, "log_std": -3.0})
    with learner(match_env, tmp_path / "c", louder, init=init) as third:
        assert weights(third)["log_std"].tolist() == [-3.0, -3.0]
    with pytest.raises(ValueError, match="init: expected an agent with the same observations"):
        learner(match_env, tmp_path / "d", PPOConfig(), init=init)
    with pytest.raises(RunError, match="another configuration: init"):
        learner(match_env, tmp_path / "b")


def test_warm_start_takes_a_policy_only(match_env, tmp_path):
    agent = ControllerAgent(
        ControllerConfig(observation_dim=2, action_space=Box(-1, 1, (2,))), np.zeros(6)
    )
    with pytest.raises(ValueError, match="init: expected an SB3Agent, got a ControllerAgent"):
        learner(match_env, tmp_path, init=agent)


def test_a_run_is_for_one_configuration_and_one_owner(match_env, tmp_path):
    with learner(match_env, tmp_path), pytest.raises(RunError, match="in use by process"):
        learner(match_env, tmp_path)
    with pytest.raises(RunError, match=r"another configuration: seed: expected 5, got 0"):
        learner(match_env, tmp_path, seed=5)


def test_recipes():
    assert PPOConfig.dream(steps=5).steps == 5
    assert PPOConfig.dream().rollout_steps * 256 % PPOConfig.dream().batch_size == 0
    assert PPOConfig.real(n_epochs=2).n_epochs == 2
    assert PPOConfig.real().rollout_steps * 32 % PPOConfig.real().batch_size == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"batch_size": 1}, "batch_size: expected at least 2, got 1"),
        ({"learning_rate": 0.0}, "learning_rate: expected above 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a finite number, got nan"),
        ({"ent_coef": -0.1}, r"ent_coef: expected at least 0, got -0\.1"),
        ({"gamma": 1.1}, "gamma: expected at most 1"),
        ({"anneal_by": "moon"}, "anneal_by: expected one of 'steps', 'time', got 'moon'"),
        ({"activation": "sine"}, "activation: expected one of"),
        ({"log_std_final": -1.0}, "log_std: expected a number"),
    ],
)
def test_config_errors(options, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**options)


class Spoiled(gym.vector.VectorWrapper):
    """The toy game, with a value that is not finite in the first environment from a step on."""

    def __init__(self, env, *, after: int, reward: float = 0.0, observation: float = 0.0) -> None:
        super().__init__(env)
        self.left, self.add_reward, self.add_observation = after, reward, observation

    def step(self, actions):
        observations, rewards, *rest = self.env.step(actions)
        self.left -= 1
        if self.left < 0:
            observations, rewards = observations.copy(), rewards.copy()
            rewards[0] += self.add_reward
            observations[0] += self.add_observation
        return observations, rewards, *rest


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # in SB3's statistics
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            {"reward": float("nan")},
            "rewards: expected finite numbers from the environment",
        ),
        ({"reward": float("-inf")}, "rewards: expected finite .* got -inf in sub-environment 0"),
        ({"observation": float("nan")}, "observations: expected finite .* got nan in sub-env"),
        ({"reward": 1e38}, "ppo: expected finite numbers, got .* the last checkpoint is kept"),
    ],
)
def test_numbers_that_are_not_finite_stop_the_run_in_its_last_good_state(
    match_env, tmp_path, spoil, message
) -> None:
    whole = weights_after_a_chunk(match_env, tmp_path / "whole")
    env = Spoiled(match_env(4), after=17, **spoil)
    with (
        PPOLearner(env, TINY, path=tmp_path / "spoiled") as spoiled,
        pytest.raises(FloatingPointError, match=message),
    ):
        spoiled.learn(progress=False)
    assert "nan" not in (tmp_path / "spoiled" / "metrics.csv").read_text()
    with learner(match_env, tmp_path / "spoiled") as resumed:
        assert resumed.steps == 64  # the first chunk
        assert_same(weights(resumed), whole)
        assert resumed.learn(progress=False).done


def weights_after_a_chunk(match_env, path) -> dict[str, torch.Tensor]:
    class Stop(Exception):  # noqa: N818 -- it stands for a kill
        pass

    def stop(agent):
        if trained.steps > 64:
            raise Stop
        return {}

    with learner(match_env, path) as trained, pytest.raises(Stop):
        trained.learn(progress=False, evaluator=stop)
    with learner(match_env, path) as resumed:
        return weights(resumed)


@pytest.mark.parametrize("limit", [{"max_seconds": 0.0}, {"evaluate_every": 0}])
def test_limits_are_checked(match_env, tmp_path, limit) -> None:
    (name,) = limit
    with learner(match_env, tmp_path) as trained, pytest.raises(ValueError, match=f"^{name}: exp"):
        trained.learn(progress=False, **limit)
