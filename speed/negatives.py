"""Measure how many captions per second and core get attributes and hard negatives, by CPU time.

    python speed/negatives.py [CAPTIONS]

The captions are synthetic: 30 words, four attributes, two mentions, 100 categories.
"""

import random
import sys
import time
from collections.abc import Callable

from msgspec.structs import replace

from fdrd.negatives import draw_batch, make_catalog
from fdrd.negatives.given import plain
from fdrd.pipeline.stage import ROWS
from fdrd.record import ImageRef, Record, Source
from fdrd.text.attributes import find_attributes

TARGET = 10_000  # captions per second and core
NOUNS = "finch otter lily terrier moth heron viper maple trout lynx".split()
NAMES = [
    f"{each} {noun}"
    for each in "red hill sea star bay king moon wood gold fen".split()
    for noun in NOUNS
]


def make_records(size: int) -> list[Record]:
    """Return synthetic records."""
    draw = random.Random(0)
    records = []
    for index in range(size):
        name = draw.choice(NAMES)
        color, other = draw.sample("black white brown gray yellow green blue".split(), 2)
        pose = draw.choice("sitting standing lying running sleeping".split())
        where = draw.choice("grass snow floor couch bed sand".split())
        filler = " ".join(
            draw.choices("view with its fine shape in warm tones that seem near".split(), k=12)
        )
        caption = f"A {color} and {other} {name} is {pose} on the {where}. The {name} {filler}."
        records.append(Record(str(index), ImageRef("1.jpg"), caption, name, Source("1.jpg")))
    return records


def rate(work: Callable[[list[Record]], object], records: list[Record]) -> float:
    """Return records per second of CPU time, the best of three rounds, in batches as in a build."""
    best = 0.0
    for _ in range(3):
        start = time.process_time()
        for first in range(0, len(records), ROWS):
            work(records[first : first + ROWS])
        best = max(best, len(records) / (time.process_time() - start))
    return best


def main() -> None:
    """Print one line for each task."""
    records = make_records(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
    tagged = [replace(r, attributes=find_attributes(r.caption, r.category)) for r in records]
    start = time.process_time()
    catalog = make_catalog(tagged)
    print(f"catalog of {len(records):,} captions: {time.process_time() - start:.2f} s")

    def draw(batch: list[Record], n_attribute: int) -> object:
        captions = [{plain(record.caption)} for record in batch]
        return draw_batch(batch, captions, catalog, k=[4] * len(batch), n_attribute=n_attribute)

    tasks: dict[str, Callable[[list[Record]], object]] = {
        "4 category swaps": lambda batch: draw(batch, 0),
        "2 category and 2 attribute swaps": lambda batch: draw(batch, 2),
        "find_attributes": lambda batch: [find_attributes(r.caption, r.category) for r in batch],
    }
    print(f"{'':36} captions/s and core   of {TARGET:,}")
    for name, work in tasks.items():
        speed = rate(work, tagged)
        print(f"{name:36} {speed:19,.0f}   {speed / TARGET:6.2f}")


if __name__ == "__main__":
    main()
