"""MDN-RNN of World Models, a recurrent mixture density network over continuous latents."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from wmrl.core.seeding import seeded_weights
from wmrl.core.validation import check_float, check_int
from wmrl.memory.base import MemoryState, Transition
from wmrl.memory.sequences import segments
from wmrl.memory.trainable import TrainableMemory, TrainableMemoryConfig
from wmrl.nn.linear import linear
from wmrl.nn.losses import mixture_log_likelihood
from wmrl.nn.sampling import draw_endings, sample_mixture
from wmrl.nn.sampling import dropout as drop

# From this batch size on, oneDNN's LSTM layer is faster on a CPU than two matrix products.
_LARGE_BATCH = 32

LSTMFeatures = Literal["hidden", "cell_and_hidden"]


@dataclass(frozen=True, kw_only=True)
class MDNRNNConfig(TrainableMemoryConfig):
    """Configuration of an :class:`MDNRNN`.

    Inherited attributes configure the loss, and identify the task and the vision model.

    Attributes:
        latent_dim: Z, the number of latent dimensions of the vision model.
        hidden_dim: H, the width of the LSTM.
        num_mixtures: K, the number of Gaussians for each latent dimension.
        min_std: lower bound on the σ of each Gaussian, which keeps the likelihood bounded.
        features: features for a controller: ``"hidden"`` for the LSTM's hidden state h, or
            ``"cell_and_hidden"`` for its cell state c followed by h. In World Models, controllers
            observe [z, h] in CarRacing and [z, c, h] in Take Cover. The features do not affect
            training.
    """

    latent_dim: int = 32
    hidden_dim: int = 256
    num_mixtures: int = 5
    min_std: float = 0.05
    features: LSTMFeatures = "hidden"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("latent_dim", "hidden_dim", "num_mixtures"):
            check_int(name, getattr(self, name), at_least=1)
        check_float("min_std", self.min_std, above=0)


class MixturePrediction(NamedTuple):
    """Predicted distributions of the next latent, reward and termination.

    The leading axes ``(...)`` are those of the memory's inputs.

    Attributes:
        logits: ``(..., K, Z) float32``, unnormalized log-weights of the mixture components.
        means: ``(..., K, Z) float32``, means of the components.
        log_stds: ``(..., K, Z) float32``, logarithms of the components' standard deviations.
        reward: ``(...) float32``, expected reward in the task's units.
        termination: ``(...) float32``, log-odds of termination.
    """

    logits: Tensor
    means: Tensor
    log_stds: Tensor
    reward: Tensor
    termination: Tensor

    def log_likelihood(self, latents: Tensor) -> Tensor:
        """Returns log-densities ``(..., Z)`` in nats, one for each dimension of the latents."""
        return mixture_log_likelihood(self.logits, self.means, self.log_stds, latents)


class MDNRNN(TrainableMemory[MixturePrediction]):
    """The MDN-RNN of World Models, with an additional reward head.

    An LSTM predicts the reward, the termination, and one mixture of Gaussians per latent dimension
    (Ha and Schmidhuber 2018, https://arxiv.org/abs/1803.10122, appendix A.2). As in the paper, each
    latent dimension has its own mixture weights.

    At step t, a controller observes the latent z_t and the LSTM's hidden state h_t *before* the
    step. The hidden state h_t depends only on the latents and actions before step t. If
    ``config.features`` is ``"cell_and_hidden"``, the controller observes the LSTM's cell state c_t
    as well: [z_t, c_t, h_t].

    As in the paper, the LSTM has one bias, while PyTorch's LSTM has two. The bias consists of the
    weights of an additional input that is always 1.

    Args:
        config: architecture and loss.
        generator: source of the initial weights; a generator with a fixed seed if None.

    Example:
        >>> import torch
        >>> from wmrl.memory import MDNRNN, MDNRNNConfig
        >>> memory = MDNRNN(MDNRNNConfig(latent_dim=4, hidden_dim=8, num_mixtures=3))
        >>> latents, actions = torch.zeros(2, 7, 4), torch.zeros(2, 7, 2)
        >>> prediction, state = memory(latents, actions)
        >>> prediction.means.shape, prediction.reward.shape
        (torch.Size([2, 7, 3, 4]), torch.Size([2, 7]))
        >>> prediction, state = memory.step(latents[:, 0], actions[:, 0], state)
        >>> memory.sample(prediction, temperature=1.15).latent.shape
        torch.Size([2, 4])
    """

    config: MDNRNNConfig
    config_class: ClassVar[type] = MDNRNNConfig

    def __init__(self, config: MDNRNNConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        inputs = config.latent_dim + config.action_dim + 1
        with seeded_weights(generator):
            self.lstm = nn.LSTM(inputs, config.hidden_dim, bias=False, batch_first=True)
            # Outputs are the (3, K, Z) parameters of the mixtures, reward, and termination.
            outputs = 3 * config.num_mixtures * config.latent_dim + 2
            self.heads = nn.Linear(config.hidden_dim, outputs)
        none = torch.zeros(0, 1, config.latent_dim)
        self._register_start_states(none, none.clone(), torch.zeros(0, 0, config.action_dim))

    @property
    def feature_dim(self) -> int:
        """Number of features for a controller: H, or 2H if they include the LSTM's cell state."""
        return self.config.hidden_dim * (2 if self.config.features == "cell_and_hidden" else 1)

    def initial_state(self, batch_size: int) -> MemoryState:
        """Returns the LSTM's initial state ``(h, c)``, two tensors of zeros ``(B, H) float32``."""
        h = torch.zeros(batch_size, self.config.hidden_dim, device=self.device)
        return h, torch.zeros_like(h)

    def features(self, state: MemoryState) -> Tensor:
        """Returns the features for a controller, as ``config.features`` selects them.

        Returns:
            ``(B, H) float32``, the hidden state h, for ``"hidden"``. ``(B, 2H) float32``, the cell
            state c followed by h, for ``"cell_and_hidden"``.
        """
        h, c = state
        return torch.cat((c, h), 1) if self.config.features == "cell_and_hidden" else h

    def forward(
        self,
        latents: Tensor,
        actions: Tensor,
        *,
        first: Tensor | None = None,
        state: MemoryState | None = None,
        dropout: torch.Generator | None = None,
    ) -> tuple[MixturePrediction, MemoryState]:
        """Predicts the next latent, reward and termination at each step of a batch of sequences.

        :meth:`wmrl.memory.base.Memory.forward` describes the arguments and the results.
        """
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
        """Predicts the next latent, reward and termination from the current latent and action.

        :meth:`wmrl.memory.base.Memory.step` describes the arguments and the results.
        """
        inputs = self._inputs(latent, action)
        if inputs.shape[0] >= _LARGE_BATCH and inputs.device.type == "cpu":
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
        """Draws the next latent and termination; the reward is the predicted mean."""
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
        """Returns log-densities ``(..., Z)`` in nats, one for each dimension of the latents."""
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
        rows = h.reshape(-1, config.hidden_dim)
        if dropout is None:
            out = linear(rows, weight, bias)
            mixtures, ends = out[:, :-2], out[:, -2:]
        else:
            dropped = drop(rows, rate=config.dropout, generator=dropout)
            mixtures = linear(dropped, weight[:-2], bias[:-2])
            ends = torch.addmm(bias[-2:], rows, weight[-2:].t())
        mixtures = mixtures.reshape(*leading, 3, config.num_mixtures, config.latent_dim)
        logits, means, log_stds = mixtures.unbind(-3)
        log_stds = log_stds.clamp(min=math.log(config.min_std))
        reward, termination = ends.view(*leading, 2).unbind(-1)
        return MixturePrediction(
            logits, means, log_stds, reward * (1.0 / config.reward_factor), termination
        )
