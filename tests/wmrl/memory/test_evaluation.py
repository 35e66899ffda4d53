from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from wmrl.data.store import RolloutStore
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig, Decoding
from wmrl.memory.dataset import LatentDataset, LatentEpisode
from wmrl.memory.ensemble import CodeMemoryEnsemble, MemoryEnsemble
from wmrl.memory.evaluation import (
    code_report,
    explained_variance,
    memory_warnings,
    prediction_report,
    ranking_quality,
)
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.nn.losses import mixture_log_likelihood

MakeRollouts = Callable[..., RolloutStore]


def test_explained_variance_has_known_values() -> None:
    target = torch.tensor([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == 1.0
    assert explained_variance(torch.full((3,), 2.0), target) == 0.0
    assert explained_variance(torch.tensor([1.0, 2.0, 2.0]), target) == 0.5
    assert explained_variance(target, torch.ones(3)) is None


def test_ranking_quality_equals_counting_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randint(8, (60,), generator=generator).float()  # with ties
    positive = torch.rand(60, generator=generator) < 0.3
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in score[positive].tolist()
        for b in score[~positive].tolist()
    ]
    assert ranking_quality(score, positive) == pytest.approx(np.mean(pairs))
    assert ranking_quality(score, torch.ones(60, dtype=torch.bool)) is None
    assert ranking_quality(score, torch.zeros(60, dtype=torch.bool)) is None


def _episode(length: int) -> LatentEpisode:
    generator = torch.Generator().manual_seed(length)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    mean = noise(length + 1, 6).half()
    return LatentEpisode(mean, torch.zeros_like(mean), noise(length, 2), noise(length), True)


def test_predictions_are_judged_on_real_steps_only() -> None:
    memory = MDNRNN(MDNRNNConfig(latent_dim=6, hidden_dim=8, num_mixtures=2))
    episode = _episode(5)
    data = LatentDataset([episode], length=9, batch_size=2, seed=0)  # padded by four
    report = prediction_report(memory, data, num_batches=3)
    windows = [
        (batch.latents[row, : real + 1], batch.actions[row, :real], batch.rewards[row, :real])
        for batch in map(data.batch, range(3))
        for row, real in enumerate(batch.mask.sum(1).tolist())
    ]
    likelihoods, expected_rewards, log_losses = [], [], []
    for latents, actions, _ in windows:  # each ends with the episode, which terminates
        with torch.no_grad():
            predicted, _ = memory(latents[None, :-1], actions[None])
        likelihoods.append(mixture_log_likelihood(*predicted[:3], latents[None, 1:])[0])
        expected_rewards.append(predicted.reward[0])
        p = torch.sigmoid(predicted.termination[0])
        log_losses.append(-torch.cat((torch.log(1 - p[:-1]), torch.log(p[-1:]))))
    likelihood = torch.cat(likelihoods).mean().item()
    assert report["log_likelihood_per_dimension"] == pytest.approx(likelihood, rel=1e-5)
    after = torch.cat([latents[1:] for latents, *_ in windows]).numpy()
    before = torch.cat([latents[:-1] for latents, *_ in windows]).numpy()
    trivial = [norm(0, e.std(0)).logpdf(e - e.mean(0)).mean() for e in (after, after - before)]
    assert report["trivial_log_likelihood_per_dimension"] == pytest.approx(max(trivial), rel=1e-4)
    rewards = torch.cat([rewards for *_, rewards in windows])
    expected = explained_variance(torch.cat(expected_rewards), rewards)
    assert report["reward_r2"] == pytest.approx(expected, rel=1e-4)
    assert (report["terminations"], report["steps"]) == (6, len(after))
    assert len(after) < 30  # at least one window starts within the episode
    assert report["termination_log_loss"] == pytest.approx(
        torch.cat(log_losses).mean().item(), rel=1e-4
    )


def _assert_close(got: dict[str, Any], expected: dict[str, Any]) -> None:
    known = {name: value for name, value in expected.items() if value is not None}
    assert {name: value for name, value in got.items() if value is not None} == pytest.approx(
        known, rel=1e-4
    )
    assert got.keys() == expected.keys()


def test_an_ensemble_of_equal_members_is_judged_as_its_members() -> None:
    member = MDNRNN(MDNRNNConfig(latent_dim=6, hidden_dim=8, num_mixtures=2))
    data = LatentDataset([_episode(5)], length=9, batch_size=2, seed=0)
    alone = prediction_report(member, data, num_batches=2)
    together = prediction_report(MemoryEnsemble.of([member, member]), data, num_batches=2)
    _assert_close(together, alone)


def test_an_ensemble_with_discrete_latents_is_compared_to_the_same_baselines() -> None:
    member = _code_memory("parallel")
    episodes = _code_episodes(member)
    ensemble = CodeMemoryEnsemble.of([member, member])
    data = LatentDataset(episodes, length=5, batch_size=2, seed=0)
    alone = prediction_report(member, data, num_batches=2)
    together = prediction_report(ensemble, data, num_batches=2)
    _assert_close(together, alone)
    with pytest.raises(ValueError, match=r"metrics: expected .* and code_report .* latents, got"):
        memory_warnings(together)
    codes = code_report(ensemble, episodes, episodes)
    for name, values in code_report(member, episodes, episodes).items():
        _assert_close(codes[name], values)
    (warning,) = memory_warnings(together | codes)
    assert "nats per frame" in warning


@pytest.mark.parametrize(
    ("metrics", "warned"),
    [
        (
            {
                "log_likelihood_per_dimension": -1.5,
                "trivial_log_likelihood_per_dimension": -1.4,
            },
            True,
        ),
        (
            {
                "log_likelihood_per_dimension": -1.3,
                "trivial_log_likelihood_per_dimension": -1.4,
            },
            False,
        ),
        ({"nats_per_frame": {"memory": 50.0, "copy_last": 40.0, "bigram": 30.0}}, True),
        ({"nats_per_frame": {"memory": 35.0, "copy_last": 40.0, "bigram": 30.0}}, False),
    ],
)
def test_a_memory_that_is_no_better_than_trivial_predictions(
    metrics: dict[str, Any], warned: bool
) -> None:
    found = memory_warnings(metrics)
    assert len(found) == int(warned)
    assert all("learned nothing" in text for text in found)


def _code_memory(decoding: Decoding) -> CodeMemory:
    sizes: dict[str, Any] = {"codebook_size": 5, "code_dim": 2, "hidden_dim": 8, "token_dim": 8}
    memory = CodeMemory(CodeMemoryConfig(grid=(1, 2), decoding=decoding, **sizes)).eval()
    memory.set_codebook(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    return memory


def _code_episodes(memory: CodeMemory) -> list[LatentEpisode]:
    generator = torch.Generator().manual_seed(1)
    episodes = []
    for length in (4, 7):
        codes = torch.randint(5, (length + 1, 2), generator=generator)
        episodes.append(
            LatentEpisode(
                memory.latents_of(codes).half(),
                torch.zeros(length + 1, 4),
                torch.randn(length, 2, generator=generator),
                torch.zeros(length),
                False,
            )
        )
    return episodes


@pytest.mark.parametrize("decoding", ["parallel", "sequential"])
@torch.no_grad()
def test_codes_are_judged_whole_episodes_long(decoding: Any) -> None:
    memory = _code_memory(decoding)
    episodes = _code_episodes(memory)
    report = code_report(memory, episodes, episodes)
    every = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    nats, right, kept = 0.0, 0, 0
    for episode in episodes:  # step by step, and by trying all frames
        state = memory.initial_state(1)
        latents = episode.mean.float()
        for t in range(len(episode)):
            now = memory.codes_of(latents[t][None])
            latent = memory.latents_of(now)
            predicted, state = memory.step(latent, episode.actions[t][None], state)
            many = predicted._replace(places=predicted.places.expand(25, -1, -1))
            likelihood = memory.log_likelihood(many, memory.latents_of(every))
            truth = memory.codes_of(latents[t + 1][None])[0]
            nats -= float(likelihood.sum(1)[5 * truth[0] + truth[1]])
            first = likelihood[::5, 0].argmax()  # the likeliest first code, then the next
            second = likelihood[5 * first : 5 * first + 5, 1].argmax()
            right += int(first == truth[0]) + int(second == truth[1])
            kept += int((now[0] == truth).sum())
    assert report["nats_per_frame"]["memory"] == pytest.approx(nats / 11, rel=1e-3)
    assert report["accuracy"]["memory"] == pytest.approx(right / 22)
    assert report["accuracy"]["copy_last"] == pytest.approx(kept / 22)
    assert report["nats_per_frame"]["bigram"] < report["nats_per_frame"]["copy_last"]
