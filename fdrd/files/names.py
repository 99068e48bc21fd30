"""Texts of a dataset that become names of files and folders: checked or replaced here, so that none leads elsewhere."""

from __future__ import annotations

import re

from fdrd.errors import FdrdError

DIGEST = "[0-9a-f]{64}"
"""Pattern of a SHA-256 digest."""

_REMEDY = "`fdrd validate` lists all problems of a dataset"


def is_digest(text: object) -> bool:
    r"""Return whether a value is a SHA-256 digest in hexadecimal digits.

    >>> is_digest("0a" * 32), is_digest("../" * 21 + "a"), is_digest("0a" * 32 + "\n"), is_digest(None)
    (True, False, False, False)
    """
    return isinstance(text, str) and re.fullmatch(DIGEST, text) is not None


def is_folder_name(text: object) -> bool:
    r"""Return whether a value is one part of a path, on any system.

    >>> [is_folder_name(text) for text in ("birds", "..", "a/b", "a\\b", "", "a\0")]
    [True, False, False, False, False, False]
    """
    return isinstance(text, str) and text not in ("", ".", "..") and not re.search(r"[/\\\0]", text)


def digest_name(text: object) -> str:
    """Return a digest of a dataset that becomes a file name; raise `FdrdError` if it is none."""
    if not is_digest(text):
        raise FdrdError(
            f"{text!r} is not a SHA-256 digest, so no file is named after it; {_REMEDY}"
        )
    return str(text)


def domain_folder(text: object) -> str:
    """Return the name of a domain that becomes a folder; raise `FdrdError` if it leads elsewhere."""
    if not is_folder_name(text):
        raise FdrdError(f"the domain name {text!r} cannot be used as a folder name; {_REMEDY}")
    return str(text)


def category_folder(category: str) -> str:
    """Return a name that is safe as a folder, empty for no category.

    >>> category_folder("House Wren"), category_folder("../a/b"), category_folder("")
    ('House Wren', '_a_b', '')
    """
    return re.sub(r"[^\w ()&'-]+", "_", category)[:100].strip()
