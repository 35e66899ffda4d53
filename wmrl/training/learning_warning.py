"""Warning about models that learned nothing."""

import warnings
from collections.abc import Sequence

from wmrl.core.warning import WMRLWarning


class LearningWarning(WMRLWarning):
    """Warning that a trained model is no better than a trivial one."""


def warn_of_learning(messages: Sequence[str], *, stacklevel: int = 3) -> None:
    """Issues a :class:`LearningWarning` for each message.

    Args:
        messages: texts that say what the model failed to learn, and what to try.
        stacklevel: number of the stack frame whose line the warnings show; see
            :func:`warnings.warn`.
    """
    for message in messages:
        warnings.warn(message, LearningWarning, stacklevel=stacklevel)
