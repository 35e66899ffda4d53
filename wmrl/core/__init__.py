"""Foundations: seeds, devices, configurations, argument checks, digests.

- :mod:`~wmrl.core.seeding`: random generators, each derived from a root seed and a path of keys
  (``integer_seed``, ``numpy_generator``, ``seed_sequence``, ``seeded_weights``,
  ``torch_generator``).
- :mod:`~wmrl.core.device`: selection of the device and of the number of torch's CPU threads
  (``resolve_device``, ``torch_threads``).
- :mod:`~wmrl.core.display`: check for a display on which windows are visible (``check_display``,
  ``DisplayError``).
- :mod:`~wmrl.core.frames`: conversion of gray images to color, and stacks of successive frames
  (``FrameStacker``, ``as_rgb``, ``newest_frames``, ``stack_frames``).
- :mod:`~wmrl.core.config`: configurations built from JSON and checked against their dataclasses
  (``build_config``, ``check_fields``).
- :mod:`~wmrl.core.hashing`: SHA-256 digests of arrays and tensors (``array_digest``,
  ``tensors_digest``).
- :mod:`~wmrl.core.strict_json`: strict JSON (``json_text``, ``jsonable``).
- :mod:`~wmrl.core.validation`: argument checks (``check_actions``, ``check_choice``,
  ``check_finite``, ``check_flag``, ``check_float``, ``check_frame``, ``check_int``,
  ``check_lengths``, ``check_name``, ``check_number``, ``check_reals``, ``check_seed``,
  ``check_shape``).
- :mod:`~wmrl.core.action_spec`: descriptions of action spaces, and the encoding of actions as
  vectors (``ActionSpec``).
- :mod:`~wmrl.core.warning`: base class of this package's warnings (``WMRLWarning``).
- :mod:`~wmrl.core.processes`: child processes that neither hang nor outlive their parent
  (``WorkerError``).
- :mod:`~wmrl.core.interrupts`: Ctrl-C that waits until the state of a job can be saved
  (``deferred_interrupts``).
- :mod:`~wmrl.core.lazy`: lazy imports of the public names of each package (``lazy_exports``).
"""

from typing import TYPE_CHECKING

from wmrl.core.lazy import lazy_exports

if TYPE_CHECKING:
    from wmrl.core.action_spec import ActionSpec
    from wmrl.core.config import build_config, check_fields
    from wmrl.core.device import resolve_device, torch_threads
    from wmrl.core.display import DisplayError, check_display
    from wmrl.core.frames import FrameStacker, as_rgb, newest_frames, stack_frames
    from wmrl.core.hashing import array_digest, tensors_digest
    from wmrl.core.interrupts import deferred_interrupts
    from wmrl.core.processes import WorkerError
    from wmrl.core.seeding import (
        integer_seed,
        numpy_generator,
        seed_sequence,
        seeded_weights,
        torch_generator,
    )
    from wmrl.core.strict_json import json_text, jsonable
    from wmrl.core.validation import (
        check_actions,
        check_choice,
        check_finite,
        check_flag,
        check_float,
        check_frame,
        check_int,
        check_lengths,
        check_name,
        check_number,
        check_reals,
        check_seed,
        check_shape,
    )
    from wmrl.core.warning import WMRLWarning
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "ActionSpec",
    "DisplayError",
    "FrameStacker",
    "WMRLWarning",
    "WorkerError",
    "array_digest",
    "as_rgb",
    "build_config",
    "check_actions",
    "check_choice",
    "check_display",
    "check_fields",
    "check_finite",
    "check_flag",
    "check_float",
    "check_frame",
    "check_int",
    "check_lengths",
    "check_name",
    "check_number",
    "check_reals",
    "check_seed",
    "check_shape",
    "deferred_interrupts",
    "integer_seed",
    "json_text",
    "jsonable",
    "newest_frames",
    "numpy_generator",
    "resolve_device",
    "seed_sequence",
    "seeded_weights",
    "stack_frames",
    "tensors_digest",
    "torch_generator",
    "torch_threads",
]
