"""Measures the speed of dreams, and compares it with the speed of their matrix products alone.

Dreams with discrete latents are also measured, with as many codes as the shipped VQ-VAE and with
parallel decoding. Finally the shipped ensembles are measured in ``DreamVectorEnv``, whose actions
and observations are NumPy arrays.
"""

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch

import wmrl  # noqa: F401 - registers the environment
from benchmarks.report import write_report
from wmrl.core.device import resolve_device
from wmrl.dream import dream_observation, dream_reset, dream_step
from wmrl.memory.base import Memory
from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
from wmrl.memory.ensemble import CodeMemoryEnsemble
from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
from wmrl.nn.linear import linear

Z, A, H, BATCHES = 32, 2, 256, (1, 64, 256, 1024)


def rate(step: Callable[[], Any], batch: int, device: torch.device, seconds: float = 3.0) -> float:
    """Measures dream steps per second of ``step``, which advances ``batch`` dreams."""

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
    """Returns a function that advances ``batch`` dreams by one step, with a linear controller."""
    generator = torch.Generator(memory.device).manual_seed(0)
    observation_dim = memory.latent_dim + memory.feature_dim
    weight = 0.1 * torch.randn(observation_dim, A, generator=generator, device=memory.device)
    bias = torch.zeros(A, device=memory.device)
    state = dream_reset(memory, batch_size=batch, generator=generator)

    def step() -> None:
        nonlocal state
        action = torch.addmm(bias, dream_observation(memory, state), weight).tanh()
        state, _, _ = dream_step(memory, state, action, generator=generator)

    return step


def multiplying(memory: MDNRNN, batch: int, *, by_linear: bool) -> Callable[[], Any]:
    """Returns a function that computes only the matrix products of a dream step.

    Args:
        memory: memory model whose products are computed.
        batch: number of dreams.
        by_linear: True to use :func:`wmrl.nn.linear.linear` instead of ``torch.mm``.
    """
    heads = memory.heads.out_features
    shapes = ((Z + A + 1, 4 * H), (H, 4 * H), (H, heads), (Z + H, A))
    device = memory.device
    pairs = [
        (torch.randn(batch, n, device=device), torch.randn(n, m, device=device)) for n, m in shapes
    ]
    transposed = [
        (left, right.t().contiguous(), right.new_zeros(right.shape[1])) for left, right in pairs
    ]

    def multiply() -> None:
        for left, right in pairs:
            torch.mm(left, right)

    def multiply_by_linear() -> None:
        for left, right, bias in transposed:
            linear(left, right, bias)

    return multiply_by_linear if by_linear else multiply


@torch.inference_mode()
def main() -> None:
    """Measures all rates and writes the report."""
    device = resolve_device("auto")
    memory = MDNRNN(MDNRNNConfig(latent_dim=Z, action_dim=A, hidden_dim=H)).eval()
    generator = torch.Generator().manual_seed(0)
    memory.set_start_states(
        torch.randn(64, 6, Z, generator=generator),
        torch.full((64, 6, Z), 0.1),
        torch.zeros(64, 5, A),
    )
    memory.to(device)
    results: dict[str, Any] = {"device": str(device)}
    for batch in BATCHES:
        dream = rate(dreaming(memory, batch), batch, device)
        products = max(
            rate(multiplying(memory, batch, by_linear=choice), batch, device)
            for choice in (False, True)
        )
        results[f"steps_per_s_batch_{batch}"] = dream
        results[f"share_of_matrix_rate_batch_{batch}"] = dream / products
    discrete = {
        "discrete": discrete_memory(),
        "discrete_ensemble": CodeMemoryEnsemble.of([discrete_memory(), discrete_memory()]),
    }
    for name, other in discrete.items():
        other.eval().to(device)
        for batch in BATCHES:
            results[f"{name}_steps_per_s_batch_{batch}"] = rate(
                dreaming(other, batch), batch, device
            )
    for name, vision in {
        "shipped": "car-racing-vae",
        "shipped_discrete": "car-racing-vqvae",
    }.items():
        for batch in (64, 1024):
            results[f"{name}_env_steps_per_s_batch_{batch}"] = environment_rate(vision, batch)
    write_report("dream", results)


def environment_rate(vision: str, batch: int) -> float:
    """Measures dream steps per second of ``DreamVectorEnv`` with a shipped world model."""
    env = gym.make_vec(
        "vsg/CarRacingDream-v0", num_envs=batch, vision=vision, autoreset_mode="SameStep"
    )
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = env.action_space.sample()
    steps = rate(lambda: env.step(actions), batch, torch.device("cpu"))
    env.close()
    return steps


def discrete_memory() -> CodeMemory:
    """Creates a memory model with discrete latents, random weights and random start states."""
    memory = CodeMemory(CodeMemoryConfig(action_dim=A, hidden_dim=H))
    generator = torch.Generator().manual_seed(0)
    memory.set_codebook(torch.randn(memory.codebook.shape, generator=generator))
    latents = torch.randn(64, 6, memory.latent_dim, generator=generator)
    memory.set_start_states(latents, torch.zeros_like(latents), torch.zeros(64, 5, A))
    return memory


if __name__ == "__main__":
    main()
