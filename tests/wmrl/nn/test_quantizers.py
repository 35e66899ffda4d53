"""Quantisers, against brute force and against vector-quantize-pytorch."""

from itertools import product

import pytest
import torch
from vector_quantize_pytorch import FSQ, VectorQuantize

from wmrl.nn.quantizers import (
    EMAConfig,
    EMAQuantiser,
    FSQuantiser,
    GradientQuantiser,
    Quantiser,
    nearest,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def started(count: int = 8, size: int = 3, **options: object) -> EMAQuantiser:
    quantiser = EMAQuantiser(count, size, EMAConfig(**options))  # type: ignore[arg-type]
    quantiser.start(random(200, size, seed=9), generator=torch.Generator().manual_seed(1))
    return quantiser


@pytest.fixture(params=["ema", "gradient", "fsq"])
def quantiser(request: pytest.FixtureRequest) -> Quantiser:
    if request.param == "fsq":
        return FSQuantiser((4, 3, 5))
    return started() if request.param == "ema" else GradientQuantiser(8, 3, spread=2.0)


def test_nearest_is_the_brute_force_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wmrl.nn.quantizers._PAIRS", 50)  # several parts
    vectors, codebook = random(40, 5), random(12, 5, seed=1)
    brute = [min(range(12), key=lambda k: float((v - codebook[k]).square().sum())) for v in vectors]
    assert nearest(vectors, codebook).tolist() == brute


def test_codes_and_vectors_agree(quantiser: Quantiser) -> None:
    vectors = random(100, quantiser.size)
    quantiser.eval()
    quantised = quantiser(vectors)
    assert torch.equal(quantised.codes, quantiser.encode(vectors))
    torch.testing.assert_close(quantised.vectors, quantiser.decode(quantised.codes))
    book = quantiser.codebook()
    assert book.shape == (quantiser.count, quantiser.size)
    assert torch.equal(book[quantised.codes], quantiser.decode(quantised.codes))
    square = quantised.codes[:96].view(8, 12)
    assert quantiser.decode(square).shape == (8, 12, quantiser.size)


def test_codes_out_of_range_are_named(quantiser: Quantiser) -> None:
    for code in (-1, quantiser.count):
        with pytest.raises(ValueError, match=f"codes: expected 0 to {quantiser.count - 1}, got"):
            quantiser.decode(torch.tensor([0, code]))


def test_ema_is_the_reference_s() -> None:
    ours = started(count=16, size=4, decay=0.8)
    theirs = VectorQuantize(dim=4, codebook_size=16, decay=0.8, kmeans_init=False)
    book = theirs._codebook
    book.embed.data.copy_(ours.vectors[None])
    book.embed_avg.data.copy_(ours.sums[None])
    book.cluster_size.data.copy_(ours.sizes[None])
    for step in range(5):
        vectors = random(64, 4, seed=step)
        mine = ours(vectors)
        chosen, codes, _ = theirs(vectors[None])
        assert torch.equal(mine.codes, codes[0])
        torch.testing.assert_close(mine.vectors, chosen[0])
        torch.testing.assert_close(ours.vectors, book.embed[0])


def test_ema_by_hand() -> None:
    quantiser = EMAQuantiser(2, 1, EMAConfig(decay=0.5, epsilon=0.0))
    quantiser.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    quantiser.sizes.copy_(torch.tensor([2.0, 4.0]))
    quantiser.sums.copy_(torch.tensor([[0.0], [40.0]]))
    quantised = quantiser(torch.tensor([[1.0], [3.0], [9.0]]))
    assert quantised.codes.tolist() == [0, 0, 1]
    assert quantised.commitment.tolist() == [1.0, 9.0, 1.0]
    assert quantised.codebook.tolist() == [0.0, 0.0, 0.0]
    # N = (2 + 2) / 2, (4 + 1) / 2; m = (0 + 4) / 2, (40 + 9) / 2
    assert quantiser.vectors.flatten().tolist() == pytest.approx([2 / 2, 24.5 / 2.5])
    quantiser.eval()
    before = quantiser.vectors.clone()
    quantiser(torch.tensor([[5.0]]))
    assert torch.equal(quantiser.vectors, before)


@pytest.mark.parametrize("gradient", ["straight-through", "rotation"])
def test_gradients(gradient: str) -> None:
    quantiser = started(gradient=gradient).eval()
    vectors = random(20, 3).requires_grad_()
    quantised = quantiser(vectors)
    toward = random(20, 3, seed=5)
    (quantised.vectors * toward).sum().backward()
    assert vectors.grad is not None
    if gradient == "straight-through":
        torch.testing.assert_close(vectors.grad, toward)
    else:  # what rotates and scales the vector into its code also turns the gradient back
        theirs = VectorQuantize(dim=3, codebook_size=8, rotation_trick=True).eval()
        theirs._codebook.embed.data.copy_(quantiser.vectors[None])
        theirs._codebook.initted.data.fill_(True)
        other = vectors.detach().clone().requires_grad_()
        theirs.train()
        theirs.freeze_codebook = True
        chosen, _, _ = theirs(other[None])
        (chosen[0] * toward).sum().backward()
        torch.testing.assert_close(vectors.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_commitment_moves_the_inputs_alone() -> None:
    quantiser = started()
    vectors = random(20, 3).requires_grad_()
    quantised = quantiser(vectors)
    quantised.commitment.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0
    assert not quantiser.vectors.requires_grad


def test_the_two_losses_of_a_learned_codebook() -> None:
    quantiser = GradientQuantiser(8, 3, spread=2.0)
    assert quantiser.vectors.abs().max() <= 2.0
    vectors = random(20, 3).requires_grad_()
    chosen = quantiser.decode(quantiser.encode(vectors))
    quantised = quantiser(vectors)
    (quantised.vectors.sum() + quantised.commitment.sum()).backward(retain_graph=True)
    assert quantiser.vectors.grad is None
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, 1 + 2 * (vectors.detach() - chosen))
    vectors.grad = None
    quantised.codebook.sum().backward()
    assert vectors.grad is None
    assert quantiser.vectors.grad is not None
    assert quantiser.vectors.grad.abs().sum() > 0
    assert GradientQuantiser(10, 2).vectors.abs().max() <= 0.1


def test_kmeans_finds_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    vectors = centres.repeat_interleave(50, 0) + 0.1 * random(200, 2)
    quantiser = EMAQuantiser(4, 2, EMAConfig(kmeans_steps=20))
    distances = []
    for seed in range(5):
        quantiser.start(vectors, generator=torch.Generator().manual_seed(seed))
        distances.append(torch.cdist(centres, quantiser.vectors).amin(1).max().item())
    assert min(distances) < 0.1
    assert quantiser.sizes.sum() >= 200


def test_too_little_data_is_named() -> None:
    with pytest.raises(ValueError, match="expected at least as many as the 8 codes, got 5"):
        EMAQuantiser(8, 2).start(random(5, 2), generator=torch.Generator())


def test_dead_codes_move_to_the_data() -> None:
    vectors = random(256, 3)
    used = []
    for expiry in (0.0, 1.0):
        quantiser = EMAQuantiser(64, 3, EMAConfig(decay=0.5, expiry=expiry))
        quantiser.vectors.copy_(100 + random(64, 3, seed=3))
        quantiser.vectors[0] = 0.0
        quantiser.sizes.fill_(100.0)
        quantiser.sums.copy_(100.0 * quantiser.vectors)
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            quantiser(vectors, generator=generator)
        used.append(len(quantiser.encode(vectors).unique()))
    assert used[0] == 1
    assert used[1] > 40


def test_learning_is_a_function_of_the_seed() -> None:
    books = []
    for _ in range(2):
        torch.rand(3)
        quantiser = started(expiry=2.0)
        quantiser(random(50, 3), generator=torch.Generator().manual_seed(4))
        books.append(quantiser.vectors.clone())
    assert torch.equal(*books)


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (4, 3), (7,)])
def test_fsq_is_the_reference_s(levels: tuple[int, ...]) -> None:
    ours, theirs = FSQuantiser(levels), FSQ(list(levels))
    vectors = 3 * random(300, len(levels))
    mine = ours(vectors)
    chosen, codes = theirs(vectors[None])
    assert torch.equal(mine.codes, codes[0].long())
    torch.testing.assert_close(mine.vectors, chosen[0])


def test_fsq_reaches_every_code() -> None:
    quantiser = FSQuantiser((4, 3))
    grid = torch.tensor(list(product(torch.linspace(-4, 4, 40).tolist(), repeat=2)))
    assert quantiser.encode(grid).unique().tolist() == list(range(12))


def test_fsq_gradient_is_that_of_the_bound() -> None:
    quantiser = FSQuantiser((5,))
    vectors = torch.tensor([[0.3], [-1.0]]).requires_grad_()
    quantiser(vectors).vectors.sum().backward()
    assert vectors.grad is not None
    expected = (1 - torch.tanh(vectors.detach()).square()) * 2.002 / 2
    torch.testing.assert_close(vectors.grad, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMAQuantiser(0, 2), "count: expected at least 1, got 0"),
        (lambda: FSQuantiser((2, 3)), "levels: expected numbers of at least 3"),
        (lambda: FSQuantiser(()), "levels: expected numbers of at least 3"),
        (lambda: EMAConfig(decay=1.0), "decay: expected in"),
        (lambda: EMAConfig(expiry=-1.0), "expiry: expected at least 0"),
        (lambda: EMAConfig(gradient="none"), "gradient: expected 'straight-through'"),
    ],
)
def test_wrong_options_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


def test_gradients_are_the_same_bits_on_several_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4000, 32, generator=generator)
    quantiser = GradientQuantiser(8, 32, spread=1.0)
    torch.set_num_threads(2)  # the fixture of all tests puts it back
    gradients = []
    for _ in range(5):
        quantiser.zero_grad()
        quantiser(vectors).codebook.mean().backward()
        assert quantiser.vectors.grad is not None
        gradients.append(quantiser.vectors.grad.clone())
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
