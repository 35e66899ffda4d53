from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from wmrl.data.split import split_episodes
from wmrl.data.store import RolloutStore
from wmrl.memory.dataset import LatentEpisode, encode_store, load_latents
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.memory.open_loop import hazard_report, hazard_warnings, open_loop_report
from wmrl.vision.vae import VAE, VAEConfig

MakeRollouts = Callable[..., RolloutStore]


class _Clairvoyant(MDNRNN):
    """Predicts z + a for two latents; actions below are the differences of the recording."""

    def sample(self, prediction, *, temperature=1.0, generator=None):  # type: ignore[no-untyped-def]
        drawn = super().sample(prediction, temperature=temperature, generator=generator)
        drawn.latent.copy_(self.guess)
        return drawn

    def step(self, latent, action, state, *, dropout=None):  # type: ignore[no-untyped-def]
        self.guess = latent + action
        return super().step(latent, action, state, dropout=dropout)


def test_a_perfect_dream_is_as_good_as_the_reconstruction(make_rollouts: MakeRollouts) -> None:
    """And a standing frame is as far off as the recording moved."""
    store = make_rollouts((30, 4, 22))
    vision = VAE(VAEConfig(base_channels=4, latent_dim=2)).eval()
    with torch.no_grad():
        vision.posterior_head.weight *= 50  # so that frames differ in their latents
    vision.digest = "0" * 64
    encode_store(store, vision)
    episodes = split_episodes([store], held_out=0.0).train
    latents = [
        LatentEpisode(each.mean, each.std, each.mean.float().diff(dim=0), each.rewards, False)
        for each in load_latents(episodes, vision)
    ]
    memory = _Clairvoyant(MDNRNNConfig(latent_dim=2, hidden_dim=8, num_mixtures=2))
    report = open_loop_report(memory, vision, episodes, latents, burn_in=5, num_dreams=1000)
    # 30 − 5 and 22 − 5 states have a next one; an episode of four has none after the burn-in.
    assert {horizon: row["dreams"] for horizon, row in report.items()} == {
        "1": 25 + 17,
        "5": 21 + 13,
        "10": 16 + 8,
        "15": 11 + 3,
    }
    for horizon, row in report.items():
        for name in ("dream", "likeliest"):
            assert row[name] == pytest.approx(row["reconstruction"], rel=0.02)
        moved = []
        for index in (0, 2):
            frames = store.frames(index).astype(np.float64) / 255
            first, last = frames[5 : len(frames) - int(horizon)], frames[5 + int(horizon) :]
            moved += list(((first - last) ** 2).sum((1, 2, 3)))
        assert row["copy_last"] == pytest.approx(np.mean(moved), rel=1e-4)


def test_dreams_of_stacks_are_judged_by_the_newest_frame(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((9,), frame_stack=3)
    vision = VAE(VAEConfig(base_channels=4, latent_dim=2, frame_stack=3)).eval()
    vision.digest = "0" * 64
    episodes = split_episodes([store], held_out=0.0).train
    latents = load_latents(episodes, vision)
    memory = MDNRNN(MDNRNNConfig(latent_dim=2, hidden_dim=8, num_mixtures=2))
    report = open_loop_report(memory, vision, episodes, latents, burn_in=1)
    assert set(report) == {"1", "5"}
    frames = store.frames(0).astype(np.float64) / 255
    decoded = vision.decode_numpy(vision.encode_numpy(store.stacks(0))) / 255
    for horizon, row in report.items():
        last = slice(1 + int(horizon), 10)
        for name, guess in (
            ("copy_last", frames[1 : 10 - int(horizon)]),
            ("reconstruction", decoded[last]),
        ):
            error = np.square(guess - frames[last]).sum((1, 2, 3)).mean()
            assert row[name] == pytest.approx(error, rel=1e-4)


def test_episodes_too_short_to_dream_give_an_empty_table(make_rollouts: MakeRollouts) -> None:
    store = make_rollouts((4, 3))
    vision = VAE(VAEConfig(base_channels=4, latent_dim=2)).eval()
    vision.digest = "0" * 64
    encode_store(store, vision)
    episodes = split_episodes([store], held_out=0.0).train
    memory = MDNRNN(MDNRNNConfig(latent_dim=2, hidden_dim=8, num_mixtures=2))
    assert open_loop_report(memory, vision, episodes, load_latents(episodes, vision)) == {}


class _Clock(MDNRNN):
    """Its latent counts steps, and the probability of termination is a function of the count."""

    def step(self, latent, action, state, *, dropout=None):  # type: ignore[no-untyped-def]
        prediction, state = super().step(latent, action, state, dropout=dropout)
        self.count = latent[:, :1] + 1
        hazard = self.hazards[latent[:, 0].long().clamp(max=9)]
        return prediction._replace(termination=torch.logit(hazard)), state

    def sample(self, prediction, *, temperature=1.0, generator=None):  # type: ignore[no-untyped-def]
        drawn = super().sample(prediction, temperature=temperature, generator=generator)
        return replace(drawn, latent=self.count.expand(-1, 2))


def _counted(length: int, *, terminated: bool) -> LatentEpisode:
    mean = torch.arange(length + 1.0)[:, None].expand(-1, 2).half()
    zeros = torch.zeros(length)
    return LatentEpisode(mean, torch.zeros_like(mean), torch.zeros(length, 2), zeros, terminated)


def test_hazards_equal_counting_by_hand() -> None:
    memory = _Clock(MDNRNNConfig(latent_dim=2, hidden_dim=4, num_mixtures=2))
    memory.hazards = torch.tensor([0.5, 0.25, 0.1, 0.2, 0.4, 0.3, 0.6, 0.1, 0.1, 0.1])
    episodes = [_counted(4, terminated=True), _counted(7, terminated=False)]
    report = hazard_report(memory, episodes, burn_in=1, num_dreams=100)
    # Dreams start at times 1, 2, 3 of the first episode and at times 1 to 6 of the second.
    starts = [(4, True, t) for t in (1, 2, 3)] + [(7, False, t) for t in range(1, 7)]
    expected: dict[str, list[float]] = {
        "1": [0, 0, 0, 0],
        "2-5": [0, 0, 0, 0],
        "6-10": [0, 0, 0, 0],
    }
    for length, terminated, start in starts:
        lasting = 1.0
        for step in range(length - start):
            row = expected["1" if step == 0 else "2-5" if step < 5 else "6-10"]
            hazard = float(memory.hazards[start + step])
            row[0] += terminated and start + step == length - 1
            row[1] += 1
            row[2] += lasting * hazard
            row[3] += lasting
            lasting *= 1 - hazard
    assert set(report) == set(expected)
    for name, (ended, steps, hazards, weight) in expected.items():
        assert report[name]["recorded"] == pytest.approx(ended / steps)
        assert report[name]["dream"] == pytest.approx(hazards / weight, rel=1e-6)
        assert report[name]["steps"] == steps


def test_episodes_too_short_to_dream_have_no_hazards() -> None:
    memory = MDNRNN(MDNRNNConfig(latent_dim=2, hidden_dim=4, num_mixtures=2))
    assert hazard_report(memory, [_counted(3, terminated=True)], burn_in=5) == {}


def _hazards(recorded: float, dream: float, steps: int = 10_000) -> dict[str, Any]:
    first = {"recorded": 0.5, "dream": 0.001, "steps": 10_000}
    later = {"recorded": recorded, "dream": dream, "steps": steps}
    return {"1": first, "2-5": later, "6-10": later}


@pytest.mark.parametrize(
    ("hazards", "warned"),
    [
        (_hazards(0.02, 0.011), False),
        (_hazards(0.02, 0.009), True),
        (_hazards(0.02, 0.039), False),
        (_hazards(0.02, 0.041), True),
        (_hazards(0.02, 0.0), True),
        (_hazards(0.02, 0.0, steps=700), False),  # 28 terminations, which may be chance
        (_hazards(0.0, 0.0), False),
        ({}, False),
    ],
)
def test_hazards_that_agents_exploit_are_warned_of(hazards: dict[str, Any], warned: bool) -> None:
    found = hazard_warnings(hazards)
    assert len(found) == int(warned)
    assert all("as many terminations" in text for text in found)
