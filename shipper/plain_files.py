"""
The opening of what should be a plain file. What else stands there, a named pipe for one, is not
waited for: whoever may write to a folder of logs may have put it there.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["open_plain"]


def open_plain(path: str, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """
    A descriptor, as an opener for `open`. Raises OSError, also for what is no plain file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", path)
    return descriptor
