"""Functions of vision models and memories that become ONNX graphs, with names for all tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from wmrl.memory.base import Memory
from wmrl.memory.code_memory import CodeMemory
from wmrl.memory.discrete import DiscreteMemory
from wmrl.memory.ensemble import MemoryEnsemble
from wmrl.nn.vq_autoencoder import QuantizedAutoencoder
from wmrl.vision.base import Vision

Draw = Callable[[int, torch.Generator], dict[str, Tensor]]
"""Function that draws random inputs for a batch of a given size, by name."""


@dataclass(frozen=True)
class Graph:
    """Function of a model that becomes an ONNX graph.

    The first axis of all inputs and outputs is the batch.

    Attributes:
        name: name of the graph.
        function: function of the model and of the inputs, in the order of ``draw`` and then of
            ``initial_state``. It returns the outputs by name. The output ``next_X`` is the input
            ``X`` of the next step.
        draw: function that draws random inputs, without the state.
        initial_state: recurrent state before the first step, by name, each with a batch axis of
            length 1; empty if there is no state.
        initial_outputs: values of outputs before the first step, by name, likewise.
    """

    name: str
    function: Callable[..., Mapping[str, Tensor]]
    draw: Draw
    initial_state: Mapping[str, Tensor] = field(default_factory=dict)
    initial_outputs: Mapping[str, Tensor] = field(default_factory=dict)

    def inputs(self, batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws random inputs for a first step, by name."""
        state = {
            name: part.expand(batch_size, *part.shape[1:]).contiguous()
            for name, part in self.initial_state.items()
        }
        return {**self.draw(batch_size, generator), **state}


def model_graphs(model: Vision | Memory[Any]) -> list[Graph]:
    """Returns the graphs of a vision model or a memory.

    Raises:
        ValueError: a part of the model can't be a graph.
    """
    return _vision_graphs(model) if isinstance(model, Vision) else _memory_graphs(model)


def _vision_graphs(vision: Vision) -> list[Graph]:
    def frames(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        shape = (batch_size, *vision.input_shape)
        return {"frames": torch.randint(256, shape, generator=generator).to(torch.uint8)}

    def gaussian(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"latents": torch.randn(batch_size, vision.latent_dim, generator=generator)}

    if not isinstance(vision, QuantizedAutoencoder):
        return [
            Graph("encode", lambda model, frames: {"latents": model.encode(frames)}, frames),
            Graph("decode", lambda model, latents: {"frames": model.decode(latents)}, gaussian),
        ]
    codes = _codes(vision.num_tokens, vision.codebook_size)

    def look_up(model: QuantizedAutoencoder, codes: Tensor) -> dict[str, Tensor]:
        return {"latents": model.quantizer.lookup(codes).flatten(1)}

    def known_latents(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        return look_up(vision, **codes(batch_size, generator))

    return [
        Graph("encode", lambda model, frames: {"codes": model.codes(frames)}, frames),
        Graph("lookup", look_up, codes),
        Graph("decode", lambda model, latents: {"frames": model.decode(latents)}, known_latents),
    ]


def _memory_graphs(memory: Memory[Any]) -> list[Graph]:
    state = {f"state_{i}": part for i, part in enumerate(memory.initial_state(1))}

    def draw(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        action = 2 * torch.rand(batch_size, memory.action_dim, generator=generator) - 1
        if isinstance(memory, DiscreteMemory):
            tokens = memory.start_codes.shape[2]
            drawn = _codes(tokens, memory.codebook_size)(batch_size, generator)
            return {"latents": memory.latents_of(drawn["codes"]), "action": action}
        latents = torch.randn(batch_size, memory.latent_dim, generator=generator)
        return {"latents": latents, "action": action}

    def step(
        model: Memory[Any], latents: Tensor, action: Tensor, *state: Tensor
    ) -> dict[str, Tensor]:
        prediction, after = model.step(latents, action, state)
        return {
            **_parameters(model, prediction),
            "features": model.features(after),
            **{f"next_state_{i}": part for i, part in enumerate(after)},
        }

    before = {"features": memory.features(memory.initial_state(1))}
    graphs = [Graph("step", step, draw, initial_state=state, initial_outputs=before)]
    if isinstance(memory, DiscreteMemory):
        tokens = memory.start_codes.shape[2]
        graphs.append(
            Graph(
                "lookup",
                lambda model, codes: {"latents": model.latents_of(codes)},
                _codes(tokens, memory.codebook_size),
            )
        )
    return graphs


def _codes(num_tokens: int, codebook_size: int) -> Draw:
    """Returns a function that draws ``"codes"``, ``(B, num_tokens) int64``."""

    def draw(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        shape = (batch_size, num_tokens)
        return {"codes": torch.randint(codebook_size, shape, generator=generator)}

    return draw


def _parameters(memory: nn.Module, prediction: Any) -> dict[str, Tensor]:
    """Returns the parameters of a memory's prediction by name.

    Parameters of the members of an ensemble are stacked along a new second axis.
    """
    if isinstance(memory, MemoryEnsemble):
        members = [
            _parameters(member, each)
            for member, each in zip(memory.members, prediction.members, strict=True)
        ]
        merged = {"reward": prediction.reward, "termination": prediction.termination}
        stacked = {
            name: torch.stack([member[name] for member in members], 1)
            for name in members[0]
            if name not in merged
        }
        return {**stacked, **merged}
    if isinstance(memory, CodeMemory):
        if memory.config.decoding != "parallel":
            raise ValueError(
                "model: expected a memory with decoding 'parallel', got 'sequential', which "
                "predicts the codes of a frame one after another, in no single graph; train a "
                "memory with --decoding parallel"
            )
        logits = memory.classify(memory.refine(prediction.places))
        return {
            "logits": logits,
            "reward": prediction.reward,
            "termination": prediction.termination,
        }
    parameters: dict[str, Tensor] = prediction._asdict()
    return parameters
