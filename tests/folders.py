"""Compare folders by the digests of their files."""

import hashlib
from pathlib import Path


def digests(folder):
    """Return the SHA-256 of each file by its path in the folder."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
