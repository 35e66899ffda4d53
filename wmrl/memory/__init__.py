"""Memory models, which predict the next latent, reward and termination.

- :mod:`~wmrl.memory.base`: the interface of memories, loading, and registration of further classes
  (``Memory``, ``MemoryState``, ``Transition``, ``load_memory``, ``matching_memory``,
  ``register_memory``).
- :mod:`~wmrl.memory.trainable`: the base class of memories with a training loss
  (``TrainableMemory``, ``TrainableMemoryConfig``).
- :mod:`~wmrl.memory.mdn_rnn`: the MDN-RNN of World Models (``MDNRNN``, ``MDNRNNConfig``).
- :mod:`~wmrl.memory.discrete`: the interface of memories over discrete latents
  (``DiscreteMemory``).
- :mod:`~wmrl.memory.code_memory`: a memory that predicts the codes of the next frame
  (``CodeMemory``, ``CodeMemoryConfig``).
- :mod:`~wmrl.memory.ensemble`: ensembles, which predict a lower reward where their members disagree
  (``CodeMemoryEnsemble``, ``CodeMemoryEnsembleConfig``, ``MemoryEnsemble``,
  ``MemoryEnsembleConfig``).
- :mod:`~wmrl.memory.dataset`: encoding of rollout stores as sequences of latents
  (``LatentDataset``, ``LatentEpisode``, ``encode_store``, ``load_latents``).
- :mod:`~wmrl.memory.sequences`: batches of sequences (``SequenceBatch``).
- :mod:`~wmrl.memory.start_states`: recorded states in which dreams start (``StartStates``,
  ``StartStatesConfig``, ``choose_start_states``).
- :mod:`~wmrl.memory.training`: training of one memory (``MemoryTrainingConfig``,
  ``train_memory``).
- :mod:`~wmrl.memory.ensemble_training`: training of an ensemble (``train_ensemble``).
- :mod:`~wmrl.memory.evaluation`: held-out metrics of one-step predictions (``code_report``,
  ``prediction_report``).
- :mod:`~wmrl.memory.open_loop`: dreams with recorded actions, compared with the recordings
  (``hazard_report``, ``open_loop_report``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.memory.base import (
        Memory,
        MemoryState,
        Transition,
        load_memory,
        matching_memory,
        register_memory,
    )
    from wmrl.memory.code_memory import CodeMemory, CodeMemoryConfig
    from wmrl.memory.dataset import LatentDataset, LatentEpisode, encode_store, load_latents
    from wmrl.memory.discrete import DiscreteMemory
    from wmrl.memory.ensemble import (
        CodeMemoryEnsemble,
        CodeMemoryEnsembleConfig,
        MemoryEnsemble,
        MemoryEnsembleConfig,
    )
    from wmrl.memory.ensemble_training import train_ensemble
    from wmrl.memory.evaluation import code_report, prediction_report
    from wmrl.memory.mdn_rnn import MDNRNN, MDNRNNConfig
    from wmrl.memory.open_loop import hazard_report, open_loop_report
    from wmrl.memory.sequences import SequenceBatch
    from wmrl.memory.start_states import StartStates, StartStatesConfig, choose_start_states
    from wmrl.memory.trainable import TrainableMemory, TrainableMemoryConfig
    from wmrl.memory.training import MemoryTrainingConfig, train_memory
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "MDNRNN",
    "CodeMemory",
    "CodeMemoryConfig",
    "CodeMemoryEnsemble",
    "CodeMemoryEnsembleConfig",
    "DiscreteMemory",
    "LatentDataset",
    "LatentEpisode",
    "MDNRNNConfig",
    "Memory",
    "MemoryEnsemble",
    "MemoryEnsembleConfig",
    "MemoryState",
    "MemoryTrainingConfig",
    "SequenceBatch",
    "StartStates",
    "StartStatesConfig",
    "TrainableMemory",
    "TrainableMemoryConfig",
    "Transition",
    "choose_start_states",
    "code_report",
    "encode_store",
    "hazard_report",
    "load_latents",
    "load_memory",
    "matching_memory",
    "open_loop_report",
    "prediction_report",
    "register_memory",
    "train_ensemble",
    "train_memory",
]
