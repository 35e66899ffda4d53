"""The recurrent mixture density network of World Models: a memory over Gaussian latents."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.memory.base import LearningMemory, LearningMemoryConfig, MemoryState, Transition
from wmrl.memory.sequences import segments
from wmrl.nn.linear import row_linear
from wmrl.nn.losses import mixture_log_likelihood
from wmrl.nn.sampling import draw_endings, sample_mixture
from wmrl.nn.sampling import dropout as drop

# From this many rows on, a CPU runs oneDNN's whole LSTM layer faster than two matrix products.
_MANY_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig(LearningMemoryConfig):
    """Sizes, loss and origin of an :class:`MDNRNN`.

    Attributes:
        latent_size: Z of the vision that it was trained on.
        hidden_size: H.
        mixtures: K, Gaussians for each latent dimension.
        min_std: floor under every Gaussian's σ; without one the likelihood has no upper bound.
    """

    latent_size: int = 32
    hidden_size: int = 256
    mixtures: int = 5
    min_std: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent_size", "hidden_size", "mixtures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.min_std <= 0:
            raise ValueError(f"min_std: expected above 0, got {self.min_std}")


class MixturePrediction(NamedTuple):
    """What is expected of the next step; leading axes as in the call that made it.

    Attributes:
        logits: ``(..., K, Z)`` unnormalised log-weights of the mixtures.
        means: ``(..., K, Z)``.
        log_stds: ``(..., K, Z)``.
        reward: ``(...)`` in the task's units.
        termination: ``(...)`` log-odds of the episode's end.
    """

    logits: Tensor
    means: Tensor
    log_stds: Tensor
    reward: Tensor
    termination: Tensor

    def log_likelihood(self, latents: Tensor) -> Tensor:
        """Log-density of the next latents ``(..., Z)``, for each dimension ``(..., Z)``."""
        return mixture_log_likelihood(self.logits, self.means, self.log_stds, latents)


class MDNRNN(LearningMemory[MixturePrediction]):
    """An LSTM with a mixture of Gaussians for every latent dimension, a reward and an ending.

    World Models, Ha and Schmidhuber 2018 (https://arxiv.org/abs/1803.10122), appendix A.2, plus
    a reward head. Mixture weights are per dimension, as in the paper. The features are h *before*
    the step: at time t a controller sees [z_t, h_t], where h_t knows all (z_s, a_s) with s < t.

    The LSTM has one bias, as the paper's (torch's own has two): it is the weight of a third
    input that is always 1, which also puts each step into as few matrix products as can be.

    Args:
        config: sizes and loss.
        generator: source of the initial weights; a fixed seed's if None.
    """

    config: MDNRNNConfig
    config_class: ClassVar[type] = MDNRNNConfig

    def __init__(self, config: MDNRNNConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inputs = config.latent_size + config.action_size + 1
        with seeded_weights(generator):
            self.lstm = nn.LSTM(inputs, config.hidden_size, bias=False, batch_first=True)
            self.heads = nn.Linear(
                config.hidden_size, 3 * config.mixtures * config.latent_size + 2
            )  # mixtures (3, K, Z), then reward and termination
        none = torch.zeros(0, 1, config.latent_size)
        self._register_starts(none, none.clone(), torch.zeros(0, 0, config.action_size))

    @property
    def feature_size(self) -> int:
        """H."""
        return self.config.hidden_size

    def initial_state(self, batch_size: int) -> MemoryState:
        """``(h, c)``, zeros ``(B, H)``."""
        h = torch.zeros(batch_size, self.config.hidden_size, device=self.device)
        return h, torch.zeros_like(h)

    def features(self, state: MemoryState) -> Tensor:
        """h, ``(B, H)``."""
        return state[0]

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[MixturePrediction, MemoryState]:
        """Runs over a sequence; see :meth:`wmrl.memory.base.Memory.forward`."""
        self.check_sequence(latents, actions)
        inputs = self._inputs(latents, actions)
        if state is None:
            state = self.initial_state(len(inputs))
        hidden = []
        for start, stop in segments(first, inputs.shape[1]):
            if first is not None:
                keep = ~first[:, start : start + 1]
                state = tuple(part * keep for part in state)
            outputs, state = self._layer(inputs[:, start:stop], state)
            hidden.append(outputs)
        h = hidden[0] if len(hidden) == 1 else torch.cat(hidden, 1)  # (B, T, H)
        return self._predict(h, dropout), state

    def step(
        self,
        latent: Tensor,
        action: Tensor,
        state: MemoryState,
        *,
        dropout: torch.Generator | None = None,
    ) -> tuple[MixturePrediction, MemoryState]:
        """One step; see :meth:`wmrl.memory.base.Memory.step`."""
        inputs = self._inputs(latent, action)
        if len(inputs) >= _MANY_ROWS and inputs.device.type == "cpu":
            outputs, state = self._layer(inputs.unsqueeze(1), state)
            h = outputs.squeeze(1)
        else:
            weight_ih, weight_hh = self._weights()
            h, c = torch.lstm_cell(inputs, state, weight_ih, weight_hh)
            state = h, c
        return self._predict(h, dropout), state

    def sample(
        self,
        prediction: MixturePrediction,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Transition:
        """Draws the next latent and whether the episode ends; the reward is the expected one."""
        latent = sample_mixture(
            prediction.logits,
            prediction.means,
            prediction.log_stds,
            temperature=temperature,
            generator=generator,
        )
        ended = draw_endings(prediction.termination, generator=generator)
        return Transition(latent, prediction.reward, ended)

    def log_likelihood(self, prediction: MixturePrediction, latents: Tensor) -> Tensor:
        """Log-density of the next latents ``(..., Z)``, for each dimension ``(..., Z)``."""
        return prediction.log_likelihood(latents)

    def _inputs(self, latents: Tensor, actions: Tensor) -> Tensor:
        one = latents.new_ones(()).expand(*latents.shape[:-1], 1)
        return torch.cat((latents, actions, one), -1)

    def _weights(self) -> tuple[Tensor, Tensor]:
        return self.lstm.weight_ih_l0, self.lstm.weight_hh_l0  # type: ignore[return-value]

    def _layer(self, inputs: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        h, c = state
        outputs, (h, c) = self.lstm(inputs, (h.unsqueeze(0), c.unsqueeze(0)))
        return outputs, (h.squeeze(0), c.squeeze(0))

    def _predict(self, h: Tensor, dropout: torch.Generator | None) -> MixturePrediction:
        config = self.config
        leading, weight, bias = h.shape[:-1], self.heads.weight, self.heads.bias
        rows = h.reshape(-1, config.hidden_size)
        if dropout is None:
            out = row_linear(rows, weight, bias)
            mixtures, judged = out[:, :-2], out[:, -2:]
        else:
            dropped = drop(rows, rate=config.dropout, generator=dropout)
            mixtures = row_linear(dropped, weight[:-2], bias[:-2])
            judged = torch.addmm(bias[-2:], rows, weight[-2:].t())
        mixtures = mixtures.reshape(*leading, 3, config.mixtures, config.latent_size)
        logits, means, log_stds = mixtures.unbind(-3)
        log_stds = log_stds.clamp(min=math.log(config.min_std))
        reward, termination = judged.view(*leading, 2).unbind(-1)
        return MixturePrediction(
            logits, means, log_stds, reward * (1.0 / config.reward_scale), termination
        )
