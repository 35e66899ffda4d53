import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

import wmrl  # noqa: F401 -- registers the environments
from wmrl.dream import dream_observation, dream_reset, dream_step
from wmrl.envs.dream.vector import DreamVectorEnv
from wmrl.envs.world_model import WorldModel
from wmrl.memory.base import load_memory
from wmrl.memory.ensemble import MemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN
from wmrl.storage.artifact import ArtifactError

N = 5


@pytest.fixture
def make(tiny):
    return lambda num_envs=N, **kwargs: DreamVectorEnv(num_envs, **(tiny.kwargs | kwargs))


@pytest.fixture
def endless(make, tiny):
    """Dreams that only a time limit ends."""
    memory = load_memory(tiny.memory, device="cpu")
    with torch.no_grad():
        memory.heads.bias[-1] = -50.0
    return lambda num_envs=N, **kwargs: make(num_envs, memory=memory, **kwargs)


@pytest.fixture
def actions():
    return np.random.default_rng(0).uniform(-1, 1, (60, N, 2)).astype(np.float32)


def rollout(env, actions, *, seed=0):
    """Everything that came back, as arrays with a leading time axis."""
    observation, _ = env.reset(seed=seed)
    seen = [(observation, np.zeros(N), np.zeros(N, bool), np.zeros(N, bool))]
    seen += [env.step(a)[:4] for a in actions]
    return [np.stack(values) for values in zip(*seen, strict=True)]


def test_make_vec_gives_batched_spaces_and_dtypes(tiny):
    env = gym.make_vec("vsg/CarRacingDream-v0", num_envs=N, **tiny.kwargs)
    assert isinstance(env, DreamVectorEnv)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info == {}
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert observation in env.observation_space
    assert (reward.shape, reward.dtype) == ((N,), np.float64)
    assert terminated.dtype == truncated.dtype == np.bool_
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.metadata["render_fps"] == 12.5
    env.close()


def test_make_vec_takes_modes_by_value_and_round_trips_its_spec(tiny):
    env = gym.make_vec(
        "vsg/CarRacingDream-v0", num_envs=2, autoreset_mode="SameStep", **tiny.kwargs
    )
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gym.make_vec(spec)
    assert again.num_envs == 2
    assert again.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    np.testing.assert_array_equal(env.reset(seed=3)[0], again.reset(seed=3)[0])


def test_an_open_world_model_dreams(make, tiny, actions):
    world_model = WorldModel.open("car-racing", tiny.vision, tiny.memory, device="cpu")
    options = {"temperature": 1.3, "max_episode_steps": 4, "autoreset_mode": "SameStep"}
    env = DreamVectorEnv.from_world_model(world_model, N, **options)
    assert env.world_model.memory is world_model.memory
    for a, b in zip(rollout(env, actions[:8]), rollout(make(**options), actions[:8]), strict=True):
        np.testing.assert_array_equal(a, b)
    without = WorldModel.open("car-racing", tiny.vision, None)
    with pytest.raises(ValueError, match="memory: expected a memory to dream with, got None"):
        DreamVectorEnv.from_world_model(without, N)


def test_steps_are_dream_steps(endless, actions):
    env = endless(temperature=1.3, dropout=True)
    env.reset(seed=7)
    memory = env.world_model.memory
    state, generator = env.state, torch.Generator()
    generator.set_state(env._generator.get_state())
    for a in actions[:3]:
        observation, reward, terminated, *_ = env.step(3 * a)
        clipped = torch.from_numpy(3 * a).clamp(-1, 1)
        state, r, done = dream_step(
            memory, state, clipped, temperature=1.3, dropout=True, generator=generator
        )
        np.testing.assert_array_equal(observation, dream_observation(memory, state).numpy())
        np.testing.assert_array_equal(reward, r.numpy().astype(np.float64))
        np.testing.assert_array_equal(terminated, done.numpy())


def test_the_same_seed_dreams_the_same_and_another_differs(make, actions):
    first, second, other = (
        rollout(make(max_episode_steps=20), actions, seed=seed) for seed in (1, 1, 2)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    env = make()
    seeds = list(range(N))
    observations = [env.reset(seed=each)[0] for each in (seeds, seeds, seeds[::-1])]
    np.testing.assert_array_equal(observations[0], observations[1])
    assert not np.array_equal(observations[1], observations[2])


def test_without_a_seed_a_reset_dreams_on(make):
    env, same = make(), make()
    first, second = env.reset(seed=1)[0], env.reset()[0]
    assert not np.array_equal(first, second)
    same.reset(seed=1)
    np.testing.assert_array_equal(second, same.reset(seed=[None] * N)[0])


def test_global_random_states_are_left_alone(make, actions):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    rollout(make(dropout=True), actions[:5])
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_next_step_resets_in_the_step_after_the_end(endless, actions):
    env = endless(max_episode_steps=3)
    observation, reward, terminated, truncated = rollout(env, actions[:8])
    assert truncated[:, 0].tolist() == [0, 0, 0, 1, 0, 0, 0, 1, 0]
    assert not terminated.any()
    assert not reward[4].any()
    assert reward[5].all()
    starts = {tuple(latent) for latent in observation[[0, 4, 8], :, :8].reshape(-1, 8).tolist()}
    assert len(starts) > N  # drawn anew each time


def test_same_step_hands_out_the_last_observation(endless, actions):
    env, held = endless(max_episode_steps=3, autoreset_mode="SameStep"), endless()
    env.reset(seed=0), held.reset(seed=0)
    for a in actions[:2]:
        assert env.step(a)[4] == {}
        held.step(a)
    observation, reward, _, truncated, infos = env.step(actions[2])
    final, final_reward, *_ = held.step(actions[2])
    assert truncated.all()
    np.testing.assert_array_equal(np.stack(infos["final_obs"]), final)
    np.testing.assert_array_equal(reward, final_reward)
    assert infos["_final_obs"].all()
    assert infos["_final_info"].all()
    assert not np.isclose(observation, final).all(1).any()
    assert not env.step(actions[3])[3].any()


def test_disabled_idles_until_a_mask_resets(endless, actions):
    env = endless(max_episode_steps=2, autoreset_mode="Disabled")
    observation, reward, _, truncated = rollout(env, actions[:4])
    assert truncated[:, 0].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(observation[2], observation[4])
    assert reward[2].all()
    assert not reward[3:].any()
    mask = np.array([True, False, True, False, False])
    anew, _ = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(anew[~mask], observation[4][~mask])
    assert not np.isclose(anew, observation[4]).all(1)[mask].any()
    _, reward, _, truncated, _ = env.step(actions[0])
    np.testing.assert_array_equal(truncated, ~mask)
    np.testing.assert_array_equal(reward != 0, mask)


def test_terminations_come_from_the_memory(make, actions):
    *_, terminated, truncated = rollout(make(max_episode_steps=1000), actions)
    assert 0 < terminated.sum() < 30  # one in about fifty, of 300
    assert not truncated.any()
    assert not (terminated[1:] & terminated[:-1]).any()  # the step after is the reset


def test_a_termination_is_no_truncation(make, tiny, actions):
    memory = load_memory(tiny.memory, device="cpu")
    with torch.no_grad():
        memory.heads.bias[-1] = 50.0
    env = make(memory=memory, max_episode_steps=1)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step(actions[0])
    assert terminated.all()
    assert not truncated.any()


def test_dreams_start_where_asked(make, tiny):
    env = make()
    memory = load_memory(tiny.memory, device="cpu")
    observation, _ = env.reset(seed=0, options={"start": [0, 1, 2, 3, 4]})
    draws = [memory.start_latents(torch.arange(5), _generator(seed))[:, -1] for seed in range(50)]
    error = np.abs(observation[:, :8] - torch.stack(draws).mean(0).numpy())
    assert (error < 6 * torch.stack(draws).std(0).numpy() + 1e-6).all()
    one, _ = env.reset(seed=0, options={"start": 2})
    assert one.std(0)[:8].max() < 0.2  # draws of one start
    assert observation[:, 8:].any()  # h remembers how it got there


def test_dreams_go_on_from_a_given_state(make, actions):
    env = make(autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(actions[0])
    state = env.state
    observation, _ = env.reset(seed=5, options={"state": state})
    again, _ = env.reset(seed=5, options={"state": state})
    np.testing.assert_array_equal(observation, again)
    np.testing.assert_array_equal(observation[:, :8], state.latent.numpy())
    np.testing.assert_array_equal(observation[:, 8:], state.memory[0].numpy())


def test_temperature_spreads_and_dropout_changes_the_dream(make, actions):
    def spread(**kwargs):
        env = make(50, **kwargs)
        state = dream_reset(
            env.world_model.memory, indices=torch.zeros(50).long(), generator=_generator()
        )
        state = state._replace(
            latent=state.latent[:1].expand(50, -1),
            memory=tuple(tensor[:1].expand(50, *tensor.shape[1:]) for tensor in state.memory),
        )
        env.reset(seed=0, options={"state": state})
        observation, *_ = env.step(np.zeros((50, 2), np.float32))
        return observation[:, :8].std(0).mean()

    assert spread(temperature=0.01) < 0.6 * spread(temperature=1.0)
    if isinstance(
        make().world_model.memory, MDNRNN
    ):  # codes of an untrained memory are as even as can be
        assert spread(temperature=1.0) < 0.9 * spread(temperature=2.0)
    with_dropout = rollout(make(dropout=True), actions[:3])
    assert not np.array_equal(with_dropout[1], rollout(make(), actions[:3])[1])


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_ensemble_dreams_too(make, make_tiny, actions):
    gaussian = make_tiny()
    member = load_memory(gaussian.memory, device="cpu")
    ensemble = MemoryEnsemble.of([member, member], pessimism=1.0)
    env = make(
        vision=gaussian.vision, memory=ensemble, max_episode_steps=10, autoreset_mode="SameStep"
    )
    observation, reward, *_, truncated = rollout(env, actions[:12])
    assert observation.shape == (13, N, 8 + 16)
    assert reward[1:].all()
    assert truncated.any()
    again = rollout(env, actions[:12])
    np.testing.assert_array_equal(observation, again[0])


def test_gymnasiums_vector_wrappers_and_modes_work(tiny):
    kwargs = {"num_envs": 2} | tiny.kwargs
    env = gym.make_vec("vsg/CarRacingDream-v0", max_episode_steps=2, **kwargs)
    env = gym.wrappers.vector.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    *_, infos = env.step(env.action_space.sample())
    assert infos["episode"]["l"].tolist() == [2, 2]
    singles = gym.make_vec("vsg/CarRacingDream-v0", vectorization_mode="sync", **kwargs)
    observation, _ = singles.reset(seed=0)
    assert observation.shape == (2, 24)


def test_returned_arrays_are_not_used_again(make, actions):
    env = make()
    results = [env.reset(seed=0)[0], env.step(actions[0])[0], env.step(actions[1])[0]]
    copies = [array.copy() for array in results]
    for array in results:
        array += 1  # a user's own arithmetic must not reach the dream
    env.reset(seed=0)
    np.testing.assert_array_equal(env.step(actions[0])[0], copies[1])
    np.testing.assert_array_equal(results[2], copies[2] + 1)


def test_render_decodes_each_dream(make):
    env = make(2, render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert [frame.shape for frame in frames] == [(384, 384, 3)] * 2
    assert frames[0].dtype == np.uint8
    assert not np.array_equal(*frames)
    assert make(2).render() is None


def test_bad_arguments_are_refused(make, make_tiny):
    for change, error, message in (
        ({"temperature": 0.0}, ValueError, "temperature: expected above 0, got 0.0"),
        ({"temperature": float("nan")}, ValueError, "temperature: expected above 0, got nan"),
        ({"num_envs": 0}, ValueError, "num_envs: expected at least 1, got 0"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps: expected at least 1, got 0"),
        ({"autoreset_mode": "Never"}, ValueError, "Never"),
        ({"memory": None}, ValueError, "memory: expected a memory to dream with, got None"),
    ):
        with pytest.raises(error, match=message):
            make(**change)
    without = make_tiny(starts=0)
    with pytest.raises(ArtifactError, match=r"expected a memory with start states, .* without"):
        make(**without.kwargs)


def test_bad_calls_are_refused(make):
    env = make()
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.step(np.zeros((N, 2)))
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        env.reset(options={"reset_mask": np.arange(N) == 0})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action: expected shape \(5, 2\), got \(2,\)"):
        env.step(np.zeros(2))
    for options, error, message in (
        ({"start": 6}, ValueError, r"options\['start'\]: expected indices from 0 to 5, got"),
        ({"reset_mask": [True] * N}, TypeError, "expected an array of bool"),
        ({"reset_mask": np.ones(3, bool)}, ValueError, r"expected shape \(5,\)"),
        ({"reset_mask": np.zeros(N, bool)}, ValueError, "at least one True"),
    ):
        with pytest.raises(error, match=message):
            env.reset(options=options)
    pair = make(2)
    pair.reset(seed=0)
    with pytest.raises(ValueError, match=r"options\['state'\]: expected latents of shape \(5, 8\)"):
        env.reset(options={"state": pair.state})


@pytest.mark.parametrize("tiny", ["gaussian", "discrete"], indirect=True)
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_a_restored_state_goes_on_with_the_same_bits(make, actions, mode):
    options = {"max_episode_steps": 7, "autoreset_mode": mode, "dropout": True}
    env, other = make(**options), make(**options)
    env.reset(seed=1)
    other.reset(seed=2)
    for a in actions[:9]:
        env.step(a)
    state = env.clone_state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    whole = [env.step(a)[:4] for a in actions[9:30]]
    other.restore_state(state)
    parts = [other.step(a)[:4] for a in actions[9:30]]
    for expected, got in zip(whole, parts, strict=True):
        for one, two in zip(expected, got, strict=True):
            np.testing.assert_array_equal(one, two)
    assert all(torch.equal(kept[name], state[name]) for name in kept)  # it is a copy
    env.restore_state(state)
    again = [env.step(a)[0] for a in actions[9:30]]
    np.testing.assert_array_equal(np.stack(again), np.stack([step[0] for step in whole]))


def test_a_state_of_other_dreams_is_refused(make):
    env = make()
    with pytest.raises(ResetNeeded):
        env.clone_state()
    env.reset(seed=0)
    state = env.clone_state()
    with pytest.raises(ValueError, match=r"state: expected tensors .* got none named latent"):
        env.restore_state({name: state[name] for name in state if name != "latent"})
    with pytest.raises(ValueError, match=r"state\['latent'\]: expected shape"):
        make(num_envs=2).restore_state(state)
    for name, wrong, message in (
        ("latent", torch.full_like(state["latent"], float("nan")), "expected finite numbers"),
        ("memory.0", state["memory.0"].double(), "expected finite numbers of torch.float32"),
        ("terminated", state["terminated"].long(), "expected finite numbers of torch.bool"),
        ("generator", state["generator"][None], "expected a vector of torch.uint8"),
        ("generator", torch.zeros_like(state["generator"]), "give a result of clone_state"),
    ):
        with pytest.raises(ValueError, match=rf"state\['{name}'\]: .*{message}"):
            env.restore_state(state | {name: wrong})
    after = env.clone_state()
    assert all(torch.equal(state[name], after[name]) for name in state)  # nothing was restored


def test_a_state_from_another_kind_of_device_seeds_the_generator(make, actions):
    """The state of a generator on a GPU has 16 bytes."""
    env = make()
    env.reset(seed=0)
    foreign = env.clone_state() | {"generator": torch.arange(16, dtype=torch.uint8)}
    runs = []
    for _ in range(2):
        env.restore_state(foreign)
        runs.append(np.stack([env.step(a)[0] for a in actions[:5]]))
    np.testing.assert_array_equal(*runs)
    env.restore_state(foreign | {"generator": torch.zeros(16, dtype=torch.uint8)})
    assert not np.allclose(runs[0], np.stack([env.step(a)[0] for a in actions[:5]]))
