"""Script that runs a program until the program ends or the parent process exits.

``python launcher.py PARENT FOLDER PROGRAM [ARGUMENT …]`` runs PROGRAM in FOLDER. The program
replaces the Python process of the script (``exec``). PARENT is the id of the parent process, which
starts the script.

On Linux, the program is killed as soon as the parent process exits for any reason. Also on Linux,
the program runs in a session of its own. Therefore, Ctrl-C in a terminal reaches only the parent
process, which decides when the program ends.

The script imports only a few modules of the standard library, so that it starts quickly.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def launch(parent: int, folder: str, command: list[str]) -> None:
    """Replaces this Python process by a program.

    On Linux, the program is killed when the parent process exits.

    Args:
        parent: id of the parent process, which started this Python process.
        folder: folder in which the program runs.
        command: path of the program, followed by its arguments.
    """
    if sys.platform == "linux":
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent exited before prctl was called
            sys.exit(1)
    os.chdir(folder)
    os.execv(command[0], command)


if __name__ == "__main__":
    launch(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
