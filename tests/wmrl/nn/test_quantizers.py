"""Quantizers, against brute force and against vector-quantize-pytorch."""

from itertools import product

import pytest
import torch

from wmrl.nn.fsq import FSQuantizer
from wmrl.nn.quantizers import EMAConfig, EMAQuantizer, GradientQuantizer, Quantizer


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def initialized(codebook_size: int = 8, code_dim: int = 3, **options: object) -> EMAQuantizer:
    quantizer = EMAQuantizer(codebook_size, code_dim, EMAConfig(**options))  # type: ignore[arg-type]
    quantizer.init_codebook(
        random(200, code_dim, seed=9), generator=torch.Generator().manual_seed(1)
    )
    return quantizer


@pytest.fixture(params=["ema", "gradient", "fsq"])
def quantizer(request: pytest.FixtureRequest) -> Quantizer:
    if request.param == "fsq":
        return FSQuantizer((4, 3, 5))
    return initialized() if request.param == "ema" else GradientQuantizer(8, 3, spread=2.0)


def test_codes_and_vectors_agree(quantizer: Quantizer) -> None:
    vectors = random(100, quantizer.code_dim)
    quantizer.eval()
    quantized = quantizer(vectors)
    assert torch.equal(quantized.codes, quantizer.encode(vectors))
    torch.testing.assert_close(quantized.vectors, quantizer.decode(quantized.codes))
    book = quantizer.codebook()
    assert book.shape == (quantizer.codebook_size, quantizer.code_dim)
    assert torch.equal(book[quantized.codes], quantizer.decode(quantized.codes))
    square = quantized.codes[:96].view(8, 12)
    assert quantizer.decode(square).shape == (8, 12, quantizer.code_dim)


def test_codes_out_of_range_are_named(quantizer: Quantizer) -> None:
    for code in (-1, quantizer.codebook_size):
        with pytest.raises(
            ValueError, match=f"codes: expected values from 0 to {quantizer.codebook_size - 1},"
        ):
            quantizer.decode(torch.tensor([0, code]))


def test_ema_is_the_reference_s() -> None:
    from vector_quantize_pytorch import VectorQuantize  # here, because it takes seconds

    ours = initialized(codebook_size=16, code_dim=4, decay=0.8)
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
    quantizer = EMAQuantizer(2, 1, EMAConfig(decay=0.5, epsilon=0.0))
    quantizer.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    quantizer.sizes.copy_(torch.tensor([2.0, 4.0]))
    quantizer.sums.copy_(torch.tensor([[0.0], [40.0]]))
    quantized = quantizer(torch.tensor([[1.0], [3.0], [9.0]]))
    assert quantized.codes.tolist() == [0, 0, 1]
    assert quantized.commitment.tolist() == [1.0, 9.0, 1.0]
    assert quantized.codebook.tolist() == [0.0, 0.0, 0.0]
    # N = (2 + 2) / 2, (4 + 1) / 2; m = (0 + 4) / 2, (40 + 9) / 2
    assert quantizer.vectors.flatten().tolist() == pytest.approx([2 / 2, 24.5 / 2.5])
    quantizer.eval()
    before = quantizer.vectors.clone()
    quantizer(torch.tensor([[5.0]]))
    assert torch.equal(quantizer.vectors, before)


@pytest.mark.parametrize("gradient", ["straight-through", "rotation"])
def test_gradients(gradient: str) -> None:
    quantizer = initialized(gradient=gradient).eval()
    vectors = random(20, 3).requires_grad_()
    quantized = quantizer(vectors)
    toward = random(20, 3, seed=5)
    (quantized.vectors * toward).sum().backward()
    assert vectors.grad is not None
    if gradient == "straight-through":
        torch.testing.assert_close(vectors.grad, toward)
    else:  # what rotates and scales the vector into its code also turns the gradient back
        from vector_quantize_pytorch import VectorQuantize

        theirs = VectorQuantize(dim=3, codebook_size=8, rotation_trick=True).eval()
        theirs._codebook.embed.data.copy_(quantizer.vectors[None])
        theirs._codebook.initted.data.fill_(True)
        other = vectors.detach().clone().requires_grad_()
        theirs.train()
        theirs.freeze_codebook = True
        chosen, _, _ = theirs(other[None])
        (chosen[0] * toward).sum().backward()
        torch.testing.assert_close(vectors.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_commitment_moves_the_inputs_alone() -> None:
    quantizer = initialized()
    vectors = random(20, 3).requires_grad_()
    quantized = quantizer(vectors)
    quantized.commitment.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0
    assert not quantizer.vectors.requires_grad


def test_the_two_losses_of_a_learned_codebook() -> None:
    quantizer = GradientQuantizer(8, 3, spread=2.0)
    assert quantizer.vectors.abs().max() <= 2.0
    vectors = random(20, 3).requires_grad_()
    chosen = quantizer.decode(quantizer.encode(vectors))
    quantized = quantizer(vectors)
    (quantized.vectors.sum() + quantized.commitment.sum()).backward(retain_graph=True)
    assert quantizer.vectors.grad is None
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, 1 + 2 * (vectors.detach() - chosen))
    vectors.grad = None
    quantized.codebook.sum().backward()
    assert vectors.grad is None
    assert quantizer.vectors.grad is not None
    assert quantizer.vectors.grad.abs().sum() > 0
    assert GradientQuantizer(10, 2).vectors.abs().max() <= 0.1


def test_kmeans_finds_clusters() -> None:
    centers = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    vectors = centers.repeat_interleave(50, 0) + 0.1 * random(200, 2)
    quantizer = EMAQuantizer(4, 2, EMAConfig(kmeans_steps=20))
    distances = []
    for seed in range(5):
        quantizer.init_codebook(vectors, generator=torch.Generator().manual_seed(seed))
        distances.append(torch.cdist(centers, quantizer.vectors).amin(1).max().item())
    assert min(distances) < 0.1
    assert quantizer.sizes.sum() >= 200


def test_too_little_data_is_named() -> None:
    with pytest.raises(ValueError, match="expected at least 8, one per code, got 5"):
        EMAQuantizer(8, 2).init_codebook(random(5, 2), generator=torch.Generator())


def test_dead_codes_move_to_the_data() -> None:
    vectors = random(256, 3)
    used = []
    for expiry in (0.0, 1.0):
        quantizer = EMAQuantizer(64, 3, EMAConfig(decay=0.5, expiry=expiry))
        quantizer.vectors.copy_(100 + random(64, 3, seed=3))
        quantizer.vectors[0] = 0.0
        quantizer.sizes.fill_(100.0)
        quantizer.sums.copy_(100.0 * quantizer.vectors)
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            quantizer(vectors, generator=generator)
        used.append(len(quantizer.encode(vectors).unique()))
    assert used[0] == 1
    assert used[1] > 40


def test_learning_is_a_function_of_the_seed() -> None:
    books = []
    for _ in range(2):
        torch.rand(3)
        quantizer = initialized(expiry=2.0)
        quantizer(random(50, 3), generator=torch.Generator().manual_seed(4))
        books.append(quantizer.vectors.clone())
    assert torch.equal(*books)


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (4, 3), (7,)])
def test_fsq_is_the_reference_s(levels: tuple[int, ...]) -> None:
    from vector_quantize_pytorch import FSQ

    ours, theirs = FSQuantizer(levels), FSQ(list(levels))
    vectors = 3 * random(300, len(levels))
    mine = ours(vectors)
    chosen, codes = theirs(vectors[None])
    assert torch.equal(mine.codes, codes[0].long())
    torch.testing.assert_close(mine.vectors, chosen[0])


def test_fsq_reaches_every_code() -> None:
    quantizer = FSQuantizer((4, 3))
    grid = torch.tensor(list(product(torch.linspace(-4, 4, 40).tolist(), repeat=2)))
    assert quantizer.encode(grid).unique().tolist() == list(range(12))


def test_fsq_gradient_is_that_of_the_bound() -> None:
    quantizer = FSQuantizer((5,))
    vectors = torch.tensor([[0.3], [-1.0]]).requires_grad_()
    quantizer(vectors).vectors.sum().backward()
    assert vectors.grad is not None
    expected = (1 - torch.tanh(vectors.detach()).square()) * 2.002 / 2
    torch.testing.assert_close(vectors.grad, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMAQuantizer(0, 2), "codebook_size: expected at least 1, got 0"),
        (lambda: FSQuantizer((2, 3)), "levels: expected one or more numbers, each at least 3"),
        (lambda: FSQuantizer(()), "levels: expected one or more numbers, each at least 3"),
        (lambda: EMAConfig(decay=1.0), "decay: expected below 1"),
        (lambda: EMAConfig(expiry=-1.0), "expiry: expected at least 0"),
        (
            lambda: EMAConfig(gradient="none"),
            "gradient: expected one of 'straight-through', 'rotation'",
        ),
    ],
)
def test_wrong_options_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


def test_gradients_are_the_same_bits_on_several_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(4000, 32, generator=generator)
    quantizer = GradientQuantizer(8, 32, spread=1.0)
    torch.set_num_threads(2)  # the fixture of all tests puts it back
    gradients = []
    for _ in range(5):
        quantizer.zero_grad()
        quantizer(vectors).codebook.mean().backward()
        assert quantizer.vectors.grad is not None
        gradients.append(quantizer.vectors.grad.clone())
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
