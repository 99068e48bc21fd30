"""Measure time and memory of matching natural pairs in one domain and split; or how fast negatives are drawn.

    python speed/natural_pairs.py [RECORDS ...]
    python speed/natural_pairs.py --draw [CAPTIONS]

The captions are synthetic: 30 words, two colors of two nouns, 1,000 categories of unequal size. `--draw` prints
captions per second and core by CPU time, for attributes and hard negatives of captions with 30 words, four attributes,
two mentions, and 100 categories.
"""

import random
import sys
import time
from collections.abc import Callable

import numpy as np
from harness import own_bytes
from msgspec.structs import replace

from fdrd.negatives import Catalog, make_catalog
from fdrd.negatives.draw import draw_batch
from fdrd.negatives.given import plain
from fdrd.negatives.natural_pairs import Captioned, Statement, natural_pairs, state
from fdrd.pipeline.stage import ROWS
from fdrd.record import ImageRef, Record, Source, TaggedCaption
from fdrd.text.attributes import find_attributes
from fdrd.text.normalize import text_key

TARGET = 10_000  # captions per second and core
FIRST = "red hill sea star bay king moon wood gold fen".split()
SECOND = "coast marsh stone river field cloud frost ember dusk dawn".split()
NOUNS = "finch otter lily terrier moth heron viper maple trout lynx".split()
NAMES = [f"{first} {second} {noun}" for first in FIRST for second in SECOND for noun in NOUNS]
WORDS = [f"w{index}" for index in range(8000)]
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
    statements: list[Statement], captions: list[TaggedCaption], catalog: Catalog
) -> Captioned:
    """Return the captions as records of as many images."""
    rows = np.arange(len(captions))
    return Captioned(
        key=np.array([text_key(str(row)) for row in rows.tolist()], np.uint64),
        image=rows,
        group=rows,
        text=np.array([text_key(each.caption) for each in captions], np.uint64),
        category=np.array([catalog.index_of[each.category] for each in captions]),
        statements=statements,
    )


def match(sizes: list[int]) -> None:
    """Print one line for each number of records."""
    print("records   read captions   match   pairs: category, attribute   memory for matching")
    for size in sizes:
        captions = make_captions(size)
        catalog = make_catalog([], names=NAMES)
        start = time.process_time()
        names = catalog.categories, catalog.index, catalog.index_of
        statements = [state(each, *names) for each in captions]
        read = time.process_time() - start
        records = captioned(statements, captions, catalog)
        before, start = own_bytes("VmRSS"), time.process_time()
        found = natural_pairs(records, [each.same for each in catalog.categories])
        seconds, used = time.process_time() - start, own_bytes("VmHWM") - before
        counts = ", ".join(f"{np.count_nonzero(each >= 0) // 2:,}" for each in found.values())
        times = f"{read:11.1f} s {seconds:7.1f} s"
        print(f"{size:7,}   {times}   {counts:>26}   {used / 2**20:6,.0f} MB")


def make_records(size: int) -> list[Record]:
    """Return synthetic records with attributes."""
    draw = random.Random(0)
    names = [f"{first} {noun}" for first in FIRST for noun in NOUNS]
    records = []
    for index in range(size):
        name = draw.choice(names)
        color, other = draw.sample(COLORS[:-1], 2)
        pose = draw.choice("sitting standing lying running sleeping".split())
        ground = draw.choice("grass snow floor couch bed sand".split())
        filler = draw.choices("view with its fine shape in warm tones that seem near".split(), k=12)
        caption = f"A {color} and {other} {name} is {pose} on the {ground}. "
        caption += f"The {name} {' '.join(filler)}."
        record = Record(str(index), ImageRef("1.jpg"), caption, name, Source("1.jpg"))
        records.append(replace(record, attributes=find_attributes(caption, name)))
    return records


def draw(size: int = 4000) -> None:
    """Print records per second of CPU time for each task, the best of three rounds, in batches as in a build."""
    records = make_records(size)
    start = time.process_time()
    catalog = make_catalog(records)
    print(f"catalog of {len(records):,} captions: {time.process_time() - start:.2f} s")

    def drawn(batch: list[Record], n_attribute: int) -> object:
        captions = [{plain(record.caption)} for record in batch]
        return draw_batch(batch, captions, catalog, k=[4] * len(batch), n_attribute=n_attribute)

    tasks: dict[str, Callable[[list[Record]], object]] = {
        "4 category swaps": lambda batch: drawn(batch, 0),
        "2 category and 2 attribute swaps": lambda batch: drawn(batch, 2),
        "find_attributes": lambda batch: [find_attributes(r.caption, r.category) for r in batch],
    }
    print(f"{'':36} captions/s and core   of {TARGET:,}")
    for name, work in tasks.items():
        best = 0.0
        for _ in range(3):
            start = time.process_time()
            for first in range(0, len(records), ROWS):
                work(records[first : first + ROWS])
            best = max(best, len(records) / (time.process_time() - start))
        print(f"{name:36} {best:19,.0f}   {best / TARGET:6.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(*map(int, sys.argv[2:]))
    else:
        match([*map(int, sys.argv[1:])] or [25_000, 100_000, 230_000])
