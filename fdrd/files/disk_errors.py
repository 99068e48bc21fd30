"""What a user can do about an error of the disk."""

from __future__ import annotations

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remedy_of(error: OSError, target: str = "folder") -> str:
    """Return what to do about an error of a disk or of permissions, empty if that is unknown.

    >>> remedy_of(OSError(errno.ENOSPC, "No space left on device"), "--out")
    'free some space or choose another --out'
    """
    if error.errno in DISK_FULL:
        return f"free some space or choose another {target}"
    if error.errno in (errno.EROFS, errno.EACCES):
        return "change the permissions, or choose another folder"
    return "check the disk" if error.errno == errno.EIO else ""
