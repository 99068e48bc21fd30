"""Load the tokenizer of a backbone, or only count with it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any

from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError, first_line
from fdrd.text.tokens import CLIP_LIMIT, TokenCounter, counter_of

CLIP_TOKENIZER = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""default tokenizer of open_clip's models"""

_MERGES = 49152 - 256 - 2
"""merges of the published vocabulary file that CLIP uses"""
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"

FILES = ("tokenizer.json", "vocab.json")
"""a folder with a fast tokenizer has one of these"""


def tokenizer_of(source: str | None, revision: str = "main", *, context: int = CLIP_LIMIT) -> Any:
    """Load a fast tokenizer that truncates captions to `context` tokens.

    Args:
        source: a folder, a Hub id (with an optional @REVISION), or the BPE file that CLIP and open_clip ship,
            `bpe_simple_vocab_16e6.txt.gz`. CLIP's own tokenizer from the Hub by default.
        revision: used if the Hub id names none.
        context: number of tokens that the model reads.

    Raises:
        FdrdError: the tokenizer is not available.
    """
    from transformers import AutoTokenizer, CLIPTokenizer

    if source is not None and source.endswith((".txt.gz", ".txt")):
        vocab, merges = _clip_vocabulary(Path(source))
        if len(merges) < _MERGES:
            raise FdrdError(f"{source} is not CLIP's list of {_MERGES:,} byte pairs")
        return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=context)
    name, _, at = (source or CLIP_TOKENIZER).partition("@")
    try:
        with nullcontext() if Path(name).is_dir() else hub_or_cache():
            return AutoTokenizer.from_pretrained(
                name, revision=at or revision, model_max_length=context
            )
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"the tokenizer {source or CLIP_TOKENIZER} is not available "
            f"({first_line(error)}); put its files next to the model, or run "
            f"`fdrd export --to transformers` with --tokenizer: a folder, a Hub id, or the file "
            f"bpe_simple_vocab_16e6.txt.gz that open_clip and CLIP ship"
        ) from error


def _clip_vocabulary(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Read CLIP's BPE file and return token ids and merges (arXiv 2103.00020, section 2.4)."""
    from tokenizers import pre_tokenizers

    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        lines = text.split("\n")[1 : 1 + _MERGES]  # the first line is a comment
        merges = [(first, second) for first, second in (line.split(" ") for line in lines if line)]
    except (OSError, ValueError, EOFError) as error:
        raise FdrdError(f"{path} is not a list of byte pairs ({error})") from error
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # one printable letter for each byte
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    return {token: id for id, token in enumerate([*tokens, _BEGIN, _END])}, merges


def token_counts(tokenizer: Any, captions: Sequence[str]) -> list[int]:
    """Return the tokens of each caption, including special ones, without truncation."""
    return [len(ids) for ids in tokenizer(list(captions), verbose=False)["input_ids"]]


def has_tokenizer(folder: Path) -> bool:
    """Check for the files of a tokenizer."""
    return any((folder / file).is_file() for file in FILES)


def token_counter(backbone: str) -> TokenCounter:
    """Return the counter of a backbone that `--backbone` names, without loading the model.

    Raises:
        FdrdError: the tokenizer is not available or not readable, or the name is not that of a folder or a
            Hub id.
    """
    from huggingface_hub import hf_hub_download
    from tokenizers import Tokenizer

    name, _, revision = backbone.partition("#")[0].removeprefix("hf:").partition("@")
    embedded = str(files("benchmark.models") / "embedded")
    folder = Path(embedded if backbone == "embedded" else backbone).expanduser()
    try:
        with nullcontext() if folder.is_dir() else hub_or_cache():
            tokenizer, config = (
                str(folder / file)
                if folder.is_dir()
                else hf_hub_download(name, file, revision=revision or None)
                for file in ("tokenizer.json", "config.json")
            )
        text = json.loads(Path(config).read_text(encoding="utf-8")).get("text_config", {})
        limit = int(text.get("max_position_embeddings", CLIP_LIMIT))
        return counter_of(Tokenizer.from_file(tokenizer), backbone, limit)
    except Exception as error:  # tokenizers raises a bare Exception for a bad file
        raise FdrdError(
            f"the tokenizer of {backbone} is not available ({first_line(error)})"
        ) from error
