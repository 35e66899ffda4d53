"""Base class of this package's warnings."""


class WMRLWarning(UserWarning):
    """Base class of all warnings that this package issues.

    Example:
        Turn the package's warnings into errors, and leave those of other packages as they are:

        >>> import warnings
        >>> from wmrl.core import WMRLWarning
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", WMRLWarning)
    """
