"""Training data: rollout stores, splits, samplers of batches, image sets.

- :mod:`~wmrl.data.store`: episodes on disk (``RolloutStore``, ``StoreError``).
- :mod:`~wmrl.data.episode`: episodes, and the metadata of a store (``Episode``,
  ``EpisodeSummary``, ``StoreMetadata``).
- :mod:`~wmrl.data.split`: training and held-out episodes (``DataSplit``, ``StoredEpisode``,
  ``split_episodes``).
- :mod:`~wmrl.data.reward_scale`: magnitudes of recorded rewards and returns (``largest_reward``,
  ``return_std``).
- :mod:`~wmrl.data.statistics`: statistics of a store (``StoreReport``, ``report_store``).
- :mod:`~wmrl.data.frame_sampler`: batches of frames from rollout stores (``FrameSampler``).
- :mod:`~wmrl.data.array_sampler`: batches of images in memory (``ArraySampler``).
- :mod:`~wmrl.data.images`: image data sets (``ImageSet``, ``ImageSetError``,
  ``load_image_folder``, ``mnist_5000``, ``read_idx``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.data._store_files import StoreError
    from wmrl.data.array_sampler import ArraySampler
    from wmrl.data.episode import Episode, EpisodeSummary, StoreMetadata
    from wmrl.data.frame_sampler import FrameSampler
    from wmrl.data.images import ImageSet, ImageSetError, load_image_folder, mnist_5000, read_idx
    from wmrl.data.reward_scale import largest_reward, return_std
    from wmrl.data.split import DataSplit, StoredEpisode, split_episodes
    from wmrl.data.statistics import StoreReport, report_store
    from wmrl.data.store import RolloutStore
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "ArraySampler",
    "DataSplit",
    "Episode",
    "EpisodeSummary",
    "FrameSampler",
    "ImageSet",
    "ImageSetError",
    "RolloutStore",
    "StoreError",
    "StoreMetadata",
    "StoreReport",
    "StoredEpisode",
    "largest_reward",
    "load_image_folder",
    "mnist_5000",
    "read_idx",
    "report_store",
    "return_std",
    "split_episodes",
]
