"""CLIP's tokenizer, from where the user has it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, CLIPTokenizer

from fdrd.errors import FdrdError

CLIP_TOKENIZER = "openai/clip-vit-base-patch32@d15b5f29721ca72dac15f8526b284be910de18be"
"""What open_clip's models read with unless they say otherwise."""

FILES = ("tokenizer.json", "vocab.json")
"""One of these is in every folder of a fast tokenizer."""

_MERGES = 49152 - 256 - 2  # of the published list, those that CLIP uses


def tokenizer_of(source: str | None, revision: str = "main", *, context: int = 77) -> Any:
    """A fast tokenizer that cuts captions at `context` tokens.

    Args:
        source: folder, Hub id (with @REVISION), or the list of byte pairs that CLIP and open_clip
            are shipped with, `bpe_simple_vocab_16e6.txt.gz`; else CLIP's own, from the Hub.
        revision: of a Hub id that names none.
        context: how many tokens the model reads.

    Raises:
        FdrdError: it cannot be had.
    """
    if source is not None and source.endswith((".txt.gz", ".txt")):
        return _of_byte_pairs(Path(source), context)
    name, _, at = (source or CLIP_TOKENIZER).partition("@")
    try:
        return AutoTokenizer.from_pretrained(
            name, revision=at or revision, model_max_length=context
        )
    except (OSError, ValueError) as error:
        raise FdrdError(
            f"the tokenizer {source or CLIP_TOKENIZER} cannot be had "
            f"({str(error).strip().splitlines()[0]}); put its files beside the model, or run "
            f"`fdrd convert` with --tokenizer: a folder, a Hub id, or the file "
            f"bpe_simple_vocab_16e6.txt.gz that open_clip and CLIP are shipped with"
        ) from error


def has_tokenizer(folder: Path) -> bool:
    """Whether the files of a tokenizer lie in a folder."""
    return any((folder / file).is_file() for file in FILES)


def _of_byte_pairs(path: Path, context: int) -> Any:
    """CLIP's tokenizer from its list of byte pairs (arXiv 2103.00020, section 2.4)."""
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")
    except (OSError, ValueError, EOFError) as error:
        raise FdrdError(f"{path} is no list of byte pairs ({error})") from error
    merges = lines[1 : 1 + _MERGES]  # the first line is a comment
    if len(merges) < _MERGES or any(len(merge.split(" ")) != 2 for merge in merges):
        raise FdrdError(f"{path} is not CLIP's list of {_MERGES:,} byte pairs")
    letters = _byte_letters()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    pieces += [merge.replace(" ", "") for merge in merges]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[tuple(merge.split(" ")) for merge in merges],
        model_max_length=context,
    )


def _byte_letters() -> list[str]:
    """A printable letter for each byte, printable bytes first, as byte-level BPE writes them.

    >>> letters = _byte_letters()
    >>> len(set(letters)), letters[0], letters[-1]
    (256, '!', 'Ń')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
