"""Memory models: the next latent, reward and termination, given latents and actions.

- :mod:`~wmrl.memory.base`: the interface, and :func:`load_memory` (``Memory``, ``MemoryState``,
  ``Transition``, ``load_memory``, ``matching_memory``).
- :mod:`~wmrl.memory.mdn_rnn`: the MDN-RNN of World Models (``MDNRNN``, ``MDNRNNConfig``).
- :mod:`~wmrl.memory.code_memory`: an autoregressive prior over the next frame's discrete codes
  (``CodeMemory``, ``CodeMemoryConfig``).
- :mod:`~wmrl.memory.ensemble`: several memories that dream as one (``CodeMemoryEnsemble``,
  ``CodeMemoryEnsembleConfig``, ``MemoryEnsemble``, ``MemoryEnsembleConfig``).
- :mod:`~wmrl.memory.dataset`: rollout stores as sequences of latents (``LatentDataset``,
  ``LatentEpisode``, ``encode_store``, ``load_latents``).
- :mod:`~wmrl.memory.sequences`: batches of sequences (``SequenceBatch``).
- :mod:`~wmrl.memory.start_states`: recorded states in which dreams start (``DreamStarts``,
  ``DreamStartsConfig``, ``choose_starts``).
- :mod:`~wmrl.memory.training`: training of one memory or an ensemble (``MemoryTrainingConfig``,
  ``train_ensemble``, ``train_memory``).
- :mod:`~wmrl.memory.evaluation`: held-out figures, and dreams against recordings
  (``code_report``, ``open_loop_report``, ``prediction_report``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.memory.base import Memory, MemoryState, Transition, load_memory, matching_memory
    from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
    from wmrl.memory.dataset import LatentDataset, LatentEpisode, encode_store, load_latents
    from wmrl.memory.ensemble import (
        CodeMemoryEnsemble,
        CodeMemoryEnsembleConfig,
        MemoryEnsemble,
        MemoryEnsembleConfig,
    )
    from wmrl.memory.evaluation import code_report, open_loop_report, prediction_report
    from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
    from wmrl.memory.sequences import SequenceBatch
    from wmrl.memory.start_states import DreamStarts, DreamStartsConfig, choose_starts
    from wmrl.memory.training import MemoryTrainingConfig, train_ensemble, train_memory
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "MDNRNN",
    "CodeMemory",
    "CodeMemoryConfig",
    "CodeMemoryEnsemble",
    "CodeMemoryEnsembleConfig",
    "DreamStarts",
    "DreamStartsConfig",
    "LatentDataset",
    "LatentEpisode",
    "MDNRNNConfig",
    "Memory",
    "MemoryEnsemble",
    "MemoryEnsembleConfig",
    "MemoryState",
    "MemoryTrainingConfig",
    "SequenceBatch",
    "Transition",
    "choose_starts",
    "code_report",
    "encode_store",
    "load_latents",
    "load_memory",
    "matching_memory",
    "open_loop_report",
    "prediction_report",
    "train_ensemble",
    "train_memory",
]
