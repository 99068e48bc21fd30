"""Counts the tokens of captions as a backbone's text tower does, without loading the tower."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from fdrd.errors import FdrdError
from fdrd.text.tokens import CLIP_LIMIT, TokenCounter, counter_of


def token_counter(backbone: str) -> TokenCounter:
    """The counter of a backbone that a manifest may name: `embedded`, or `ORG/NAME[@REVISION]` of the Hub.

    Raises:
        FdrdError: its tokenizer cannot be had, or cannot be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer, config = _files(backbone)
        limit = json.loads(config.read_text(encoding="utf-8")).get("text_config", {})
        return counter_of(
            Tokenizer.from_file(str(tokenizer)),
            backbone,
            int(limit.get("max_position_embeddings", CLIP_LIMIT)),
        )
    except Exception as error:  # what tokenizers raises for a bad file is a bare Exception
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FdrdError(f"the tokenizer of {backbone} cannot be had ({said})") from error


def _files(backbone: str) -> tuple[Path, Path]:
    """The tokenizer's file and the configuration of a backbone."""
    if backbone == "embedded":
        folder = Path(str(files("benchmark.models") / "embedded"))
        return folder / "tokenizer.json", folder / "config.json"
    from huggingface_hub import hf_hub_download

    name, _, revision = backbone.partition("@")
    tokenizer, config = (
        Path(hf_hub_download(name, file, revision=revision or None))
        for file in ("tokenizer.json", "config.json")
    )
    return tokenizer, config
