"""Memory with discrete latents."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble
from wmrl.memory.sequences import SequenceBatch

SIZES: dict[str, Any] = {
    "grid": (2, 3),
    "codebook_size": 7,
    "code_dim": 2,
    "hidden_dim": 12,
    "context": 4,
    "token_dim": 8,
}


FAST: dict[str, Any] = {"hidden_dim": 32, "dropout": 0.0, "token_dim": 16, "loss_share": 1.0}


def make(**options: Any) -> CodeMemory:
    memory = CodeMemory(CodeMemoryConfig(**SIZES | options))
    memory.set_codebook(torch.randn(7, 2, generator=torch.Generator().manual_seed(5)))
    return memory.eval()


def batch(memory: CodeMemory, steps: int = 5, size: int = 3) -> SequenceBatch:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(7, (size, steps + 1, 6), generator=generator)
    ones = torch.ones(size, steps, dtype=torch.bool)
    return SequenceBatch(
        latents=memory.latents_of(codes),
        actions=torch.randn(size, steps, 2, generator=generator),
        rewards=torch.randn(size, steps, generator=generator),
        terminated=~ones,
        mask=ones,
    )


def test_codes_and_latents_convert_into_each_other() -> None:
    memory = make()
    codes = torch.randint(7, (4, 5, 6), generator=torch.Generator().manual_seed(1))
    latents = memory.latents_of(codes)
    assert latents.shape == (4, 5, 12)
    assert torch.equal(memory.codes_of(latents), codes)
    assert torch.equal(latents[0, 0, 2:4], memory.codebook[codes[0, 0, 1]])


@pytest.mark.parametrize("decoding", ["parallel", "sequential"])
@torch.no_grad()
def test_probabilities_of_all_frames_sum_to_one(decoding: str) -> None:
    memory = make(decoding=decoding, grid=(1, 2))
    every = torch.cartesian_prod(torch.arange(7), torch.arange(7))  # 49 frames of two codes
    latents = memory.latents_of(every)
    state = memory.initial_state(1)
    start = memory.latents_of(torch.tensor([[3, 4]]))
    prediction, _ = memory.step(start, torch.ones(1, 2), state)
    many = prediction._replace(places=prediction.places.expand(49, -1, -1))
    total = memory.log_likelihood(many, latents).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("decoding", ["parallel", "sequential"])
@torch.no_grad()
def test_samples_follow_the_probabilities(decoding: str) -> None:
    memory = make(decoding=decoding, grid=(1, 2))
    for parameter in memory.classify.parameters():
        parameter *= 4
    start = memory.latents_of(torch.tensor([[3, 4]]))
    prediction, _ = memory.step(start, torch.ones(1, 2), memory.initial_state(1))
    count = 20_000
    many = prediction._replace(
        places=prediction.places.expand(count, -1, -1),
        reward=prediction.reward.expand(count),
        termination=prediction.termination.expand(count),
    )
    drawn = memory.sample(many, generator=torch.Generator().manual_seed(0))
    codes = memory.codes_of(drawn.latent)
    frequency = torch.bincount(7 * codes[:, 0] + codes[:, 1], minlength=49) / count
    every = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    few = prediction._replace(places=prediction.places.expand(49, -1, -1))
    expected = memory.log_likelihood(few, memory.latents_of(every)).sum(-1).exp()
    error = 5 * (expected * (1 - expected) / count).sqrt() + 1e-4
    assert bool(((frequency - expected).abs() < error).all())
    ended = torch.sigmoid(prediction.termination).item()
    assert drawn.terminated.float().mean().item() == pytest.approx(ended, abs=0.02)


@pytest.mark.parametrize("decoding", ["parallel", "sequential"])
@torch.no_grad()
def test_temperature_makes_codes_less_certain(decoding: str) -> None:
    memory = make(decoding=decoding)
    for parameter in memory.classify.parameters():
        parameter *= 4
    start = memory.latents_of(torch.tensor([[3, 4, 0, 1, 2, 6]]))
    prediction, _ = memory.step(start, torch.ones(1, 2), memory.initial_state(1))
    many = prediction._replace(
        places=4 * prediction.places.expand(500, -1, -1),
        reward=prediction.reward.expand(500),
        termination=prediction.termination.expand(500),
    )
    kinds = []
    for temperature in (0.05, 1.0, 20.0):
        generator = torch.Generator().manual_seed(0)
        drawn = memory.sample(many, temperature=temperature, generator=generator)
        kinds.append(len(memory.codes_of(drawn.latent).unique(dim=0)))
    assert kinds == sorted(kinds)
    assert kinds[0] < 0.5 * kinds[2]


@pytest.mark.parametrize(
    ("grid", "later"),
    [((3, 2), [4, 5]), ((2, 3), [1, 4, 2, 5])],  # row by row, and column by column
)
@torch.no_grad()
def test_sequential_codes_depend_on_those_before_them(
    grid: tuple[int, int], later: list[int]
) -> None:
    memory = make(decoding="sequential", grid=grid)
    places = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([[0, 1, 2, 3, 4, 5]])
    plain = memory._teacher_forced(places, codes)
    codes[0, 3] = 6
    changed = memory._teacher_forced(places, codes)
    earlier = sorted(set(range(6)) - set(later))
    assert torch.equal(plain[:, earlier], changed[:, earlier])
    assert not torch.isclose(plain[:, later], changed[:, later]).any()


@pytest.mark.parametrize("grid", [(3, 2), (2, 3)])
@torch.no_grad()
def test_sequential_codes_are_drawn_at_their_places(grid: tuple[int, int]) -> None:
    """At a low temperature, each drawn code is the likeliest, given the codes before it."""
    memory = make(decoding="sequential", grid=grid)
    places = 9 * torch.randn(20, 6, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    codes = memory._draw_sequentially(places, 1e-4, generator)
    logits = memory._teacher_forced(places, codes)
    assert torch.equal(logits.argmax(-1), codes)


MOVING: dict[str, Any] = {"kernel_size": (1, 5), "history": 3, "modulation": True}


@torch.no_grad()
def test_the_convolution_sees_as_far_as_its_kernel() -> None:
    memory = make(kernel_size=(1, 3), grid=(2, 4), num_refinements=0)
    for parameter in memory.sequence_model.parameters():
        parameter.zero_()  # the features depend on the convolution only
    codes = torch.zeros(1, 1, 8, dtype=torch.long)

    def places(codes: torch.Tensor) -> torch.Tensor:
        return memory(memory.latents_of(codes), torch.zeros(1, 1, 2))[0].places[0, 0]

    before = places(codes)
    codes[..., 2] = 5
    changed = (places(codes) != before).any(-1)
    assert changed.tolist() == [False, True, True, True, False, False, False, False]


@torch.no_grad()
def test_history_ends_where_an_episode_starts() -> None:
    """Frames before the start, and before the window, leave no trace; those after it do."""
    memory = make(**MOVING)
    sequences = batch(memory, steps=6)
    latents, actions = sequences.latents[:, :6], sequences.actions
    first = torch.zeros(3, 6, dtype=torch.bool)
    first[:, 3] = True
    whole = memory(latents, actions, first=first)[0].places
    alone = memory(latents[:, 3:], actions[:, 3:])[0].places
    torch.testing.assert_close(whole[:, 3:], alone)
    joined = memory(latents, actions)[0].places
    for step in (3, 4):  # two frames back, a history of three still sees the last episode
        assert not torch.isclose(joined[:, step], whole[:, step]).all()
    parts, state = memory(latents[:, :4], actions[:, :4])
    rest, _ = memory(latents[:, 4:], actions[:, 4:], state=state)
    torch.testing.assert_close(torch.cat((parts.places, rest.places), 1), joined)


def test_a_code_memory_learns_speeds_and_jumps() -> None:
    """A mark moves by twice the action, and goes on moving if the action is 0."""
    memory = make(
        kernel_size=(1, 5), history=2, modulation=True, grid=(1, 8), codebook_size=7, **FAST
    )
    optimizer = torch.optim.Adam(memory.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        place = torch.randint(8, (32,), generator=generator)
        speed = torch.zeros(32, dtype=torch.long)
        actions = torch.randint(-1, 2, (32, 6), generator=generator)
        places = [place]
        for t in range(6):
            speed = torch.where(actions[:, t] != 0, 2 * actions[:, t], speed)
            place = (place + speed) % 8
            places.append(place)
        codes = F.one_hot(torch.stack(places, 1), 8)
        ones = torch.ones(32, 6, dtype=torch.bool)
        sequences = SequenceBatch(
            latents=memory.latents_of(codes),
            actions=actions[..., None].float().expand(-1, -1, 2),
            rewards=torch.zeros(32, 6),
            terminated=~ones,
            mask=ones,
        )
        optimizer.zero_grad()
        loss, parts = memory.loss(sequences, generator)
        loss.backward()
        optimizer.step()
    assert parts["nll"] < 0.05  # the entropy of a mark anywhere is log(8) / 8 = 0.26 per code


def test_the_loss_is_made_of_its_parts() -> None:
    weights = {"reward_weight": 3.0, "termination_weight": 0.5, "reward_scale": 0.1}
    memory = make(dropout=0.0, loss_share=1.0, **weights)
    sequences = batch(memory)
    loss, parts = memory.loss(sequences, torch.Generator())
    with torch.no_grad():
        predicted, _ = memory(sequences.latents[:, :-1], sequences.actions)
        places = memory.refine(predicted.places.flatten(0, 1)).view(predicted.places.shape)
        logits = memory.classify(places).log_softmax(-1)
        codes = memory.codes_of(sequences.latents[:, 1:])
        nll = -logits.gather(-1, codes[..., None]).mean()
        reward = (0.1 * (predicted.reward - sequences.rewards)).square().mean()
        ending = torch.nn.functional.softplus(predicted.termination).mean()  # none ends
    torch.testing.assert_close(parts["nll"], nll)
    torch.testing.assert_close(parts["reward_error"], reward)
    torch.testing.assert_close(parts["termination_loss"], ending)
    torch.testing.assert_close(loss.detach(), nll + 3.0 * reward + 0.5 * ending)
    loss.backward()
    unused = {name for name, parameter in memory.named_parameters() if parameter.grad is None}
    assert not unused


@torch.no_grad()
def test_a_share_of_the_frames_stands_for_all_of_them() -> None:
    full = make(dropout=0.0, loss_share=1.0)
    some = make(dropout=0.0, loss_share=0.25)
    sequences = batch(full, steps=8)
    expected = full.loss(sequences, torch.Generator())[1]["nll"]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([some.loss(sequences, generator)[1]["nll"] for _ in range(300)])
    assert drawn.std() > 0
    assert (drawn.mean() - expected).abs() < 4 * drawn.std() / 300**0.5


@torch.no_grad()
def test_an_ensemble_uses_all_members_equally() -> None:
    members = []
    for code in (1, 4, 6):  # each is certain of a code of its own
        member = make(dropout=0.0)
        member.classify[-1].weight.zero_()
        member.classify[-1].bias.copy_(100.0 * torch.eye(7)[code])
        members.append(member)
    ensemble = CodeMemoryEnsemble.of(members).eval()
    for count in (1, 7):
        latents = ensemble.latents_of(torch.zeros(count, 6, dtype=torch.int64))
        state = ensemble.initial_state(count)
        prediction, _ = ensemble.step(latents, torch.zeros(count, 2), state)
        generator = torch.Generator().manual_seed(0)
        counts = torch.zeros(count, 7)
        for _ in range(300):
            codes = ensemble.codes_of(ensemble.sample(prediction, generator=generator).latent)
            assert bool((codes == codes[:, :1]).all())  # one member draws a whole frame
            counts += torch.nn.functional.one_hot(codes[:, 0], 7)
        assert counts[:, [0, 2, 3, 5]].sum() == 0
        assert counts[:, [1, 4, 6]].min() > 60  # of 100 that are expected
        assert counts[:, [1, 4, 6]].max() < 140


def test_dropout_leaves_reward_and_termination_alone() -> None:
    memory = make(dropout=0.5)
    sequences = batch(memory)
    masked, plain = (
        memory(sequences.latents[:, :-1], sequences.actions, dropout=masks)[0]
        for masks in (torch.Generator().manual_seed(1), None)
    )
    assert not torch.equal(masked.places, plain.places)
    assert torch.equal(masked.reward, plain.reward)
    assert torch.equal(masked.termination, plain.termination)


@pytest.mark.parametrize(
    ("sequence_model", "decoding"),
    [
        ("lstm", "sequential"),
        pytest.param("transformer", "parallel", marks=pytest.mark.slow),
        pytest.param("lstm", "parallel", marks=pytest.mark.slow),
        pytest.param("transformer", "sequential", marks=pytest.mark.slow),
    ],
)
def test_it_learns_a_known_process(sequence_model: str, decoding: str) -> None:
    """Each code moves on by the sign of the action, modulo 7; code 0 is rewarded."""
    memory = make(
        sequence_model=sequence_model,
        decoding=decoding,
        grid=(1, 2),
        hidden_dim=32,
        dropout=0.0,
        token_dim=16,
        reward_scale=0.1,
        loss_share=1.0,  # these batches are small
    )
    optimizer = torch.optim.Adam(memory.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200 if sequence_model == "lstm" else 300):
        codes = [torch.randint(7, (32, 2), generator=generator)]
        actions = torch.randn(32, 6, 2, generator=generator).sign()
        for t in range(6):
            codes.append((codes[-1] + actions[:, t].long()) % 7)
        seen = torch.stack(codes, 1)
        rewards = (seen[:, 1:, 0] == 0).float() * 10
        ones = torch.ones(32, 6, dtype=torch.bool)
        sequences = SequenceBatch(
            latents=memory.latents_of(seen),
            actions=actions,
            rewards=rewards,
            terminated=~ones,
            mask=ones,
        )
        optimizer.zero_grad()
        loss, parts = memory.loss(sequences, generator)
        loss.backward()
        optimizer.step()
    assert parts["nll"] < 0.1  # log 7 is 1.95
    assert parts["reward_error"] < 0.05  # the variance is 0.12


def test_start_states_are_kept_as_codes() -> None:
    memory = make()
    codes = torch.randint(7, (4, 3, 6), generator=torch.Generator().manual_seed(1))
    latents = memory.latents_of(codes)
    memory.set_start_states(latents, torch.zeros_like(latents), torch.zeros(4, 2, 2))
    assert memory.start_codes.dtype == torch.int16
    assert memory.num_start_states == 4
    indices = torch.tensor([2, 0])
    assert torch.equal(memory.start_latents(indices, torch.Generator()), latents[indices])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": (0, 2)}, "grid: expected at least 1, got 0"),
        ({"codebook_size": 0}, "codebook_size: expected at least 1"),
        ({"sequence_model": "gru"}, r"sequence_model: expected one of .*, got 'gru'"),
        ({"kernel_size": (3, 4)}, r"kernel_size: expected two odd numbers.* got \(3, 4\)"),
        ({"kernel_size": (1, 257)}, "kernel_size: expected at most 255, got 257"),
        ({"history": 65}, "history: expected at most 64, got 65"),
        ({"kernel_size": (3,)}, r"kernel_size: expected 2 items, got \(3,\)"),
        ({"history": 0}, "history: expected at least 1, got 0"),
        ({"decoding": "random"}, r"decoding: expected one of .*, got 'random'"),
        ({"dropout": 1.0}, "dropout: expected below 1, got 1.0"),
        ({"reward_scale": 0.0}, "reward_scale: expected above 0"),
    ],
)
def test_wrong_configurations_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeMemoryConfig(**options)


def test_wrong_shapes_are_named() -> None:
    memory = make()
    with pytest.raises(ValueError, match=r"latents: expected shape \(B, T, 12\)"):
        memory(torch.zeros(2, 3, 11), torch.zeros(2, 3, 2))
    with pytest.raises(ValueError, match=r"actions: expected shape \(2, 3, 2\)"):
        memory(torch.zeros(2, 3, 12), torch.zeros(2, 3, 1))
    with pytest.raises(ValueError, match=r"codebook: expected shape \(7, 2\), got \(8, 2\)"):
        memory.set_codebook(torch.zeros(8, 2))
