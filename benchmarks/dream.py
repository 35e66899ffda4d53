"""Dream steps a second, and their share of the rate at which the same matrix products alone run.

Dreams in symbols stand beside them: as many codes as the shipped VQ-VAE's, decoded all at once. So
do the shipped ensembles, as users step them: ``DreamVectorEnv``, NumPy arrays in and out.
"""

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report
from wmrl.core.device import resolve_device
from wmrl.dream import dream_observation, dream_start, dream_step
from wmrl.memory.base import Memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.nn.linear import row_linear

Z, A, H, BATCHES = 32, 2, 256, (1, 64, 256, 1024)


def rate(step: Callable[[], Any], batch: int, device: torch.device, seconds: float = 3.0) -> float:
    """Rows a second."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(20):
        step()
    wait()
    started, steps = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(10):
            step()
        wait()
        steps += 10
    return batch * steps / (time.perf_counter() - started)


def dreaming(memory: Memory[Any], batch: int) -> Callable[[], Any]:
    """A dream step with reward, termination and a linear controller."""
    generator = torch.Generator(memory.device).manual_seed(0)
    size = memory.latent_size + memory.feature_size
    weight = 0.1 * torch.randn(size, A, generator=generator, device=memory.device)
    bias = torch.zeros(A, device=memory.device)
    state = dream_start(memory, count=batch, generator=generator)

    def step() -> None:
        nonlocal state
        action = torch.addmm(bias, dream_observation(memory, state), weight).tanh()
        state, _, _ = dream_step(memory, state, action, generator=generator)

    return step


def multiplying(memory: MDNRNN, batch: int, *, rows: bool) -> Callable[[], Any]:
    """The matrix products of a dream step and nothing else, by either of torch's libraries."""
    heads = memory.heads.out_features
    shapes = ((Z + A + 1, 4 * H), (H, 4 * H), (H, heads), (Z + H, A))
    device = memory.device
    pairs = [
        (torch.randn(batch, n, device=device), torch.randn(n, m, device=device)) for n, m in shapes
    ]
    turned = [
        (left, right.t().contiguous(), right.new_zeros(right.shape[1])) for left, right in pairs
    ]

    def multiply() -> None:
        for left, right in pairs:
            torch.mm(left, right)

    def multiply_rows() -> None:
        for left, right, bias in turned:
            row_linear(left, right, bias)

    return multiply_rows if rows else multiply


@torch.inference_mode()
def main() -> None:
    """Measures and writes."""
    device = resolve_device("auto")
    memory = MDNRNN(MDNRNNConfig(latent_size=Z, action_size=A, hidden_size=H)).eval()
    generator = torch.Generator().manual_seed(0)
    memory.set_starts(
        torch.randn(64, 6, Z, generator=generator),
        torch.full((64, 6, Z), 0.1),
        torch.zeros(64, 5, A),
    )
    memory.to(device)
    results: dict[str, Any] = {"device": str(device)}
    for batch in BATCHES:
        dream = rate(dreaming(memory, batch), batch, device)
        products = max(
            rate(multiplying(memory, batch, rows=rows), batch, device) for rows in (False, True)
        )
        results[f"steps_per_s_batch_{batch}"] = dream
        results[f"share_of_matrix_rate_batch_{batch}"] = dream / products
    symbols = {
        "symbols": symbolic_memory(),
        "symbols_ensemble": CodeMemoryEnsemble.of([symbolic_memory(), symbolic_memory()]),
    }
    for name, other in symbols.items():
        other.eval().to(device)
        for batch in BATCHES:
            results[f"{name}_steps_per_s_batch_{batch}"] = rate(
                dreaming(other, batch), batch, device
            )
    for name, vision in {
        "shipped": "car-racing-vae",
        "shipped_symbols": "car-racing-vqvae",
    }.items():
        for batch in (64, 1024):
            results[f"{name}_env_steps_per_s_batch_{batch}"] = environment_rate(vision, batch)
    write_report("dream", results)


def environment_rate(vision: str, batch: int) -> float:
    """Steps a second of the vector environment over a shipped world model."""
    env = gym.make_vec(
        "vsg/CarRacingDream-v0", num_envs=batch, vision=vision, autoreset_mode="SameStep"
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    steps = rate(lambda: env.step(actions), batch, torch.device("cpu"))
    env.close()
    return steps


def symbolic_memory() -> CodeMemory:
    """A memory in symbols with random weights and starts."""
    memory = CodeMemory(CodeMemoryConfig(action_size=A, hidden_size=H))
    generator = torch.Generator().manual_seed(0)
    memory.set_codebook(torch.randn(memory.codebook.shape, generator=generator))
    latents = torch.randn(64, 6, memory.latent_size, generator=generator)
    memory.set_starts(latents, torch.zeros_like(latents), torch.zeros(64, 5, A))
    return memory


if __name__ == "__main__":
    main()
