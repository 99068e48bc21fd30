"""Measure how long natural pairs take to match, and the memory, for one domain and split.

    python speed/natural_pairs.py [RECORDS ...]

The captions are synthetic: 30 words, two colors of two nouns, 1,000 categories of unequal size.
"""

import random
import sys
import time

import numpy as np
from harness import own_bytes

from fdrd.negatives import make_catalog
from fdrd.negatives.natural_pairs import Captioned, Names, Statement, natural_pairs, state
from fdrd.record import TaggedCaption
from fdrd.text.attributes import find_attributes
from fdrd.text.normalize import text_key

NAMES = [f"{first} {second} {third}" for first in "red hill sea star bay king moon wood gold fen".split()
         for second in "coast marsh stone river field cloud frost ember dusk dawn".split()
         for third in "finch otter lily terrier moth heron viper maple trout lynx".split()]  # fmt: skip
WORDS = [f"w{number}" for number in range(8000)]
COLORS = "black white brown gray yellow green blue red".split()


def make_captions(size: int) -> list[TaggedCaption]:
    """Return synthetic captions. Frequencies of words and categories fall as in real ones."""
    draw = random.Random(0)

    def skewed(items: list[str]) -> str:
        return items[int(len(items) * draw.random() ** 3)]

    captions = []
    for _ in range(size):
        name = skewed(NAMES)
        rest = " ".join(skewed(WORDS) for _ in range(18))
        text = f"A {name} with a {draw.choice(COLORS)} head and {draw.choice(COLORS)} feet. {rest}."
        captions.append(TaggedCaption(text, name, find_attributes(text, name)))
    return captions


def captioned(
    statements: list[Statement], captions: list[TaggedCaption], names: Names
) -> Captioned:
    """Return the captions as records of as many images."""
    rows = np.arange(len(captions))
    return Captioned(
        key=np.array([text_key(str(row)) for row in rows.tolist()], np.uint64),
        image=rows,
        group=rows,
        text=np.array([text_key(each.caption) for each in captions], np.uint64),
        category=np.array([names.index_of[each.category] for each in captions]),
        statements=statements,
    )


def main() -> None:
    """Print one line for each number of records."""
    print("records   read captions   match   pairs: category, attribute   memory for matching")
    for size in map(int, sys.argv[1:] or ["25000", "100000", "230000"]):
        captions = make_captions(size)
        catalog = make_catalog([], names=NAMES)
        names = Names(catalog.categories, catalog.index, catalog.index_of)
        start = time.process_time()
        statements = [state(each, names) for each in captions]
        read = time.process_time() - start
        records = captioned(statements, captions, names)
        before, start = own_bytes("VmRSS"), time.process_time()
        found = natural_pairs(records, [each.same for each in names.categories])
        seconds, used = time.process_time() - start, own_bytes("VmHWM") - before
        counts = ", ".join(f"{np.count_nonzero(each >= 0) // 2:,}" for each in found.values())
        print(
            f"{size:7,}   {read:11.1f} s {seconds:7.1f} s   {counts:>26}   {used / 2**20:6,.0f} MB"
        )


if __name__ == "__main__":
    main()
