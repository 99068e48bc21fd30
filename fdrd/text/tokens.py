"""How long captions are in tokens of a text tower, which cuts off what it cannot read.

CLIP reads 77 tokens with its begin and end. The builder imports no model: what counts is passed in
(`benchmark.models.token_counter` has the one of a backbone), or made here from the vocabulary of CLIP's
byte-pair encoding (BPE), where an installed package holds it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fdrd.errors import FdrdError
from fdrd.policy import Policy, settle
from fdrd.progress import Progress, silent
from fdrd.record import Record

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from fdrd.reasons import Rejection

CLIP_BPE = "CLIP's BPE"
CLIP_LIMIT = 77
HOW_TO_GET = (
    "name a --backbone, or get CLIP's vocabulary with `pip install --no-deps open_clip_torch`"
)
_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 49152 - 256 - 2  # of the vocabulary's file, as CLIP uses it
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_BATCH = 4096


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens as a text tower does.

    Attributes:
        name: of the tokenizer, as the manifest shows it.
        limit: tokens that the tower reads, begin and end included.
        count: the tokens of each caption, begin and end included.
    """

    name: str
    limit: int
    count: Callable[[Sequence[str]], list[int]]


CounterOf = Callable[[str], TokenCounter | None]
"""From a backbone's name to its counter, or None where its tokenizer is out of reach."""


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of captions: `of` has each caption's."""

    name: str
    limit: int
    of: Mapping[str, int]


def counter_of(tokenizer: Tokenizer, name: str, limit: int) -> TokenCounter:
    """The counter of a tokenizer that puts begin and end around a text itself."""
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(captions: Sequence[str]) -> list[int]:
        return [len(found.ids) for found in tokenizer.encode_batch_fast(list(captions))]

    return TokenCounter(name, limit, count)


def counter_for(backbone: str | None, tokens: CounterOf | None) -> TokenCounter | None:
    """The counter of the backbone, where there is one, else of CLIP's BPE, where it is here."""
    named = tokens(backbone) if tokens and backbone else None
    return named or clip_bpe()


def clip_bpe() -> TokenCounter | None:
    """The counter of CLIP's own tokenizer, or None where no installed package holds its vocabulary."""
    for package in ("open_clip", "clip"):
        spec = find_spec(package)  # finds the folder, and imports nothing
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if Path(folder, _VOCABULARY).is_file():
                return counter_of(clip_tokenizer(Path(folder, _VOCABULARY)), CLIP_BPE, CLIP_LIMIT)
    return None


def clip_tokenizer(vocabulary: Path) -> Tokenizer:
    """CLIP's tokenizer from the file of merges that open_clip ships.

    Its tokens are those of CLIP, its ids are not: the letters of the alphabet stand in another order.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    with gzip.open(vocabulary, "rt", encoding="utf-8") as lines:
        merges = [tuple(line.split()) for line in lines.read().split("\n")[1 : 1 + _MERGES]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    begin, end = "<|startoftext|>", "<|endoftext|>"
    tokens = [
        *letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges), begin, end,
    ]  # fmt: skip
    ids = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(ids, merges, end_of_word_suffix="</w>", unk_token=end)  # type: ignore[arg-type]
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, ids[begin]), (end, ids[end])]
    )
    return tokenizer


def measure(
    items: Iterable[Record | Rejection], counter: TokenCounter | None, progress: Progress = silent
) -> TokenLengths | None:
    """The tokens of all captions among the items, each distinct one counted once; None without a counter."""
    if counter is None:
        return None
    captions = list(dict.fromkeys(item.caption for item in items if isinstance(item, Record)))
    lengths: dict[str, int] = {}
    for start in range(0, len(captions), _BATCH):
        batch = captions[start : start + _BATCH]
        lengths.update(zip(batch, counter.count(batch), strict=True))
        progress("counting tokens", len(lengths), len(captions))
    return TokenLengths(counter.name, counter.limit, lengths)


def within_tokens(
    found: Iterable[Record | Rejection], lengths: TokenLengths | None, policy: Policy
) -> Iterable[Record | Rejection]:
    """Settles records whose caption the text tower would cut off; without lengths there are none to be seen.

    Raises:
        FdrdError: nothing counts tokens, but the policy goes by them.
    """
    reason = "caption_over_tokens"
    if lengths is None:
        if policy[reason] != "keep":
            raise FdrdError(
                f"--policy {reason}={policy[reason]} needs a tokenizer: {HOW_TO_GET}; "
                f"or choose {reason}=keep"
            )
        yield from found
        return
    for item in found:
        tokens = lengths.of[item.caption] if isinstance(item, Record) else 0
        if isinstance(item, Record) and tokens > lengths.limit:
            detail = f"{tokens} tokens of {lengths.name}, the tower reads {lengths.limit}"
            yield settle(item, reason, detail, policy)
        else:
            yield item


def summary(kept: Iterable[Record], lengths: TokenLengths | None) -> dict[str, Any] | None:
    """What the manifest says: the tokenizer, its limit, and lengths by domain and split."""
    if lengths is None:
        return None
    counts: dict[str, dict[str, list[int]]] = {}
    for record in kept:
        found = counts.setdefault(record.domain, {}).setdefault(record.split, [])
        found.append(lengths.of[record.caption])
    return {
        "tokenizer": lengths.name,
        "limit": lengths.limit,
        "splits": {
            domain: {
                split: {
                    "median": median(found),
                    "max": max(found),
                    "over": sum(count > lengths.limit for count in found),
                }
                for split, found in sorted(splits.items())
            }
            for domain, splits in sorted(counts.items())
        },
    }
