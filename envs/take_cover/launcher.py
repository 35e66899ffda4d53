"""Program that becomes another program, which is killed when the process that started it ends.

``python launcher.py PARENT FOLDER PROGRAM [ARGUMENT …]`` replaces itself by PROGRAM, which runs in
FOLDER. PARENT is the id of the process that starts it. On Linux, the program is killed as soon as
that process ends in any way. It also has a session of its own: Ctrl-C in a terminal reaches only
the parent, which decides when the program ends. The launcher imports only what it needs from the
standard library, so that it starts quickly.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def launch(parent: int, folder: str, command: list[str]) -> None:
    """Replaces this process by a program, which is killed when its parent ends.

    Args:
        parent: id of the parent.
        folder: folder in which the program runs.
        command: path of the program and its arguments.
    """
    if sys.platform == "linux":
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was asked
            sys.exit(1)
    os.chdir(folder)
    os.execv(command[0], command)


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
