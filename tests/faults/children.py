"""Work in forked children, which may be killed without harm."""

import json
import os
import traceback
import warnings
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Runs a function in a forked child.

    Returns:
        The child's exit status, negative for a signal, and the JSON-able result of the function or
        the end of its traceback.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Of threads, such as Zarr's, which starts its own anew in a child.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        os.close(reading)
        try:
            status, result = 0, work()
        except BaseException:
            status, result = 1, "traceback: " + traceback.format_exc()[-2000:]
        with open(writing, "w") as pipe:  # noqa: PTH123 - a descriptor
            json.dump(result, pipe)
        os._exit(status)
    os.close(writing)
    with open(reading) as pipe:  # noqa: PTH123 - a descriptor
        text = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code, json.loads(text) if text else None
