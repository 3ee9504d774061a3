"""
Start a command and tell what the system accounted for it.

    python -I -S launch.py COMMAND...

Prints its process id, and when it has ended a line of JSON: `code`, `cpu_s`, `peak_mib`. What it
prints itself goes to standard error; SIGTERM is passed on. A process of its own, and a small one:
to Linux the most memory that a process ever had includes that of the one that started it.
"""

import os
import signal
import sys


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(2, 1)
        try:
            os.execvp(sys.argv[1], sys.argv[1:])
        finally:
            os._exit(127)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    print(child, flush=True)
    _, status, usage = os.wait4(child, 0)
    told = {
        "code": os.waitstatus_to_exitcode(status),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    print(str(told).replace("'", '"'), flush=True)


main()
