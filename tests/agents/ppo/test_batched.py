import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from wmrl.agents.ppo.batched import BatchedPPO
from wmrl.agents.sb3.vec_env import SB3VecEnv


def make(cls, match_env, **options):
    env = SB3VecEnv(match_env(6, horizon=5, deadly=0.6))
    return cls("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=2, seed=3, **options)


def test_learns_as_sb3_s_own(match_env):
    ours, theirs = (make(cls, match_env).learn(6 * 16 * 3) for cls in (BatchedPPO, PPO))
    for name in ("rewards", "values", "advantages", "episode_starts"):
        np.testing.assert_allclose(
            getattr(ours.rollout_buffer, name),
            getattr(theirs.rollout_buffer, name),
            atol=1e-5,
            err_msg=name,
        )
    # A batch of values rounds differently from values one by one, hence no equality of bits.
    for mine, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-3)


def test_rewards_are_scaled_before_bootstrapping(match_env):
    model = make(BatchedPPO, match_env, reward_scale=0.0, gamma=0.5)
    torch.nn.init.zeros_(model.policy.value_net.weight)
    torch.nn.init.constant_(model.policy.value_net.bias, 8.0)
    model.learn_rollout()
    rewards = model.rollout_buffer.rewards
    assert set(np.unique(rewards).tolist()) == {0.0, 4.0}  # γ V(s') where time ran out


@pytest.mark.parametrize("learned_noise", [True, False])
def test_the_critic_can_learn_alone(match_env, learned_noise):
    model = make(BatchedPPO, match_env)
    model.policy.log_std.requires_grad_(learned_noise)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}

    def changed():
        after = model.policy.state_dict()
        return {name for name in before if not torch.equal(before[name], after[name])}

    model.learn_rollout(critic_only=True)
    value = {name for name in before if "value" in name}
    assert changed() == value
    model.learn_rollout()
    assert changed() == set(before) - (set() if learned_noise else {"log_std"})


def test_cut_episodes_are_not_in_the_mean_return(match_env):
    env = SB3VecEnv(match_env(6, horizon=5))
    model = BatchedPPO("MlpPolicy", env, n_steps=16, batch_size=32, n_epochs=1)
    env.cut_first_episodes(np.array([1, 2, 3, 4, 2, 1]))
    model.learn_rollout()
    assert {episode["l"] for episode in model.ep_info_buffer} == {5}


def test_logs_of_rollout_and_update(match_env):
    logged = make(BatchedPPO, match_env).learn_rollout()
    assert {"rollout/ep_rew_mean", "train/loss", "train/std"} <= set(logged)
    assert not any(name.startswith("time/") for name in logged)


def test_training_goes_on_from_its_tensors(match_env):
    model, other = make(BatchedPPO, match_env), make(BatchedPPO, match_env)
    model.learn_rollout()
    tensors = {name: tensor.clone() for name, tensor in model.training_tensors().items()}
    assert len(tensors) == 13 + 3 * 13  # weights; step and two moments of each
    other.load_training_tensors(tensors)
    other.rollout_buffer = model.rollout_buffer
    for learner in (model, other):
        np.random.seed(0)  # noqa: NPY002 -- SB3 shuffles by it
        learner.train()
    for name, tensor in model.training_tensors().items():
        assert torch.equal(other.training_tensors()[name], tensor), name
        assert name.endswith("step") or not torch.equal(tensors[name], tensor), name
