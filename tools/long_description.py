"""Set the long description for package indexes: README.md without relative links, which lead nowhere there.

GitHub's release workflow sets the variables of the repository and the tag. Then links lead to the files of the tag.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


class LongDescription(MetadataHookInterface):
    """The hook that hatchling calls, see `tool.hatch.metadata.hooks.custom` in pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the long description to the metadata of the project."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": _LINK.sub(_absolute, readme)}


def _absolute(link: re.Match[str]) -> str:
    image, text, target = link.groups()
    if not (repository := os.environ.get("GITHUB_REPOSITORY")):
        return "" if image else text
    kind, tag = "raw" if image else "blob", os.environ.get("GITHUB_REF_NAME", "main")
    return f"{image}[{text}](https://github.com/{repository}/{kind}/{tag}/{target})"
