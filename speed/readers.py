"""Processor time of each reader against the size of a hostile input, and the slope in a log-log plot.

    python speed/readers.py [--largest BYTES] [--seconds LIMIT] [--only NAME]

An input grows tenfold until the largest size or the limit is reached. A slope of 1 is linear. It is fitted to the
sizes that take over 20 ms, where the start of a reader no longer counts.
"""

from __future__ import annotations

import argparse
import json
import math
import tarfile
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fdrd.sources import READERS
from fdrd.sources.reading.lines import MAX_KEYS
from fdrd.sources.reading.source_folder import SourceFolder

LARGEST = 10**8
SECONDS = 60.0
CAPTION = "A brown wren on a mossy branch."


def wide_header(root: Path, size: int) -> None:
    """Write a CSV file of 32 rows whose header is nearly all of it, and names two columns alike."""
    names = [f"c{number}" for number in range(size // 8)]
    header = ",".join(["image", "caption", *names, names[-1] if names else "image"])
    rows = "\n".join(f"{number}.png,{CAPTION}" for number in range(32))
    (root / "pairs.csv").write_text(f"{header}\n{rows}\n")


def wide_rows(root: Path, size: int) -> None:
    """Write a CSV file with as many columns as rows."""
    side = int((size / 2) ** 0.5)
    rows = [",".join([f"{number}.png", CAPTION, *["x"] * side]) for number in range(side)]
    header = ",".join(["image", "caption", *(f"c{number}" for number in range(side))])
    (root / "pairs.csv").write_text("\n".join([header, *rows]))


def sparse_rows(root: Path, size: int) -> None:
    """Write JSON lines with different keys on each line."""
    lines = [
        json.dumps({"image": f"{number}.png", "caption": CAPTION, f"key{number}": 1})
        for number in range(size // 90)
    ]
    (root / "pairs.jsonl").write_text("\n".join(lines))


def keys_of_a_row(root: Path, size: int) -> None:
    """Write rows with as many keys as a row may have, the last of them twice."""
    keys = [f'"k{number}": 1' for number in range(min(size // 12, MAX_KEYS - 4))]
    row = ", ".join(['"image": "a.png"', '"caption": "A wren."', *keys, '"last": 1, "last": 2'])
    with (root / "pairs.jsonl").open("w") as file:
        for _ in range(max(1, size // len(row))):
            file.write("{" + row + "}\n")


def captions_of_a_row(root: Path, size: int) -> None:
    """Write one row with as many captions as negatives."""
    many = [f"{CAPTION} {number}" for number in range(size // 80)]
    row = {"image": "a.png", "caption": many, "negatives": many[:1000], "attributes": []}
    (root / "pairs.jsonl").write_text(json.dumps(row))


def marks(root: Path, size: int) -> None:
    """Write captions of combining marks only, in the order that takes longest to sort."""
    text = "a" + "\u0301\u0316" * 499
    lines = [json.dumps({"image": f"{n}.png", "caption": text}) for n in range(size // 6000 + 1)]
    (root / "pairs.jsonl").write_text("\n".join(lines))


def long_spans(root: Path, size: int) -> None:
    """Write long captions that change at every character when normalized, with an attribute to follow."""
    red = {"type": "colour", "value": "red", "start": 0, "end": 3}
    text = "red " + "a\u200b" * 990
    row = {"image": "a.png", "caption": text, "attributes": [red]}
    lines = [json.dumps({**row, "image": f"{n}.png"}) for n in range(size // 8000 + 1)]
    (root / "pairs.jsonl").write_text("\n".join(lines))


def same_names(root: Path, size: int) -> None:
    """Write a table of images that many folders hold under one name. Its folders count as bytes, too."""
    amount = min(size // 100, 20_000)
    for number in range(amount):
        (root / f"f{number}").mkdir()
        (root / f"f{number}" / "a.png").touch()
    rows = [f"else{number}/a.png,{CAPTION}" for number in range(amount)]
    (root / "pairs.csv").write_text("\n".join(["image,caption", *rows]))


def json_keys(root: Path, size: int) -> None:
    """Write an object that maps very many images to captions."""
    pairs = {f"{number}.png": CAPTION for number in range(size // 50)}
    (root / "captions.json").write_text(json.dumps(pairs))


def deep(root: Path, size: int) -> None:
    """Write a list in a list in a list."""
    (root / "captions.json").write_text('[{"image": "a.png", "caption": ' + "[" * size)


def authors(root: Path, size: int) -> None:
    """Write the authors' layout with one image name in all records, and a key twice in the last."""
    records = [
        f'"wren_{number:05d}.jpg": {{"positive": "{CAPTION}", "file_name": "a.jpg"}}'
        for number in range(size // 80)
    ]
    last = ", ".join(f'"k{number}": 1' for number in range(size // 50))
    (root / "train.json").write_text(
        "{" + ", ".join([*records, f'"x_1.jpg": {{{last}, "k0": 2}}']) + "}"
    )


def coco(root: Path, size: int) -> None:
    """Write captions, and instances with a category for each."""
    amount = range(size // 300 + 1)
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in amount]
    captions = [{"id": n, "image_id": n, "caption": CAPTION} for n in amount]
    boxes = [{"id": n, "image_id": 0, "category_id": n, "area": 1.0} for n in amount]
    names = [{"id": n, "name": f"name {n}"} for n in amount]
    (root / "annotations").mkdir()
    for name, content in (
        ("captions", {"images": images, "annotations": captions}),
        ("instances", {"categories": names, "annotations": boxes}),
    ):
        path = root / "annotations" / f"{name}_train.json"
        path.write_text(json.dumps(content))


def karpathy(root: Path, size: int) -> None:
    """Write one image with very many sentences."""
    sentences = [{"raw": CAPTION} for _ in range(size // 45)]
    image = {"filename": "a.jpg", "split": "train", "sentences": sentences}
    (root / "dataset_x.json").write_text(json.dumps({"images": [image]}))


def tokens(root: Path, size: int) -> None:
    """Write very many captions of one image."""
    lines = [f"a.jpg#{number}\t{CAPTION}" for number in range(size // 45)]
    (root / "x.token").write_text("\n".join(lines))


def tar(root: Path, size: int) -> None:
    """Write a tar archive of small samples."""
    with tarfile.open(root / "train.tar", "w") as archive:
        for number in range(size // 2048):
            for ending, data in (("jpg", b"x"), ("txt", CAPTION.encode())):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = len(data)
                archive.addfile(member, BytesIO(data))


def class_labels(root: Path, size: int) -> None:
    """Write a Parquet file with a class for each row."""
    amount = size // 40 + 1
    feature = {"_type": "ClassLabel", "names": [f"class {n}" for n in range(amount)]}
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    columns = {
        "image": [f"{n}.png" for n in range(amount)],
        "caption": [CAPTION] * amount,
        "label": list(range(amount)),
    }
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, root / "train.parquet")


def columns(root: Path, size: int) -> None:
    """Write a Parquet file of very many columns."""
    names = {f"c{number}": ["x"] for number in range(min(size // 200, 100_000))}
    pq.write_table(
        pa.table({"image": ["a.png"], "caption": [CAPTION], **names}), root / "a.parquet"
    )


INPUTS: dict[Callable[[Path, int], None], str] = {
    **dict.fromkeys(
        (wide_header, wide_rows, sparse_rows, keys_of_a_row, captions_of_a_row, marks, long_spans),
        "table",
    ),
    **dict.fromkeys((same_names, class_labels, columns), "table"),
    **dict.fromkeys((json_keys, deep), "json_captions"),
    authors: "released",
    coco: "coco_captions",
    karpathy: "karpathy",
    tokens: "flickr_tokens",
    tar: "webdataset",
}
"""The reader of each input."""


def measure(write: Callable[[Path, int], None], layout: str, size: int) -> tuple[int, float]:
    """Return the bytes of an input and the processor seconds that its reader takes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), size)
        given = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        started = time.process_time()
        reader, source = READERS[layout], SourceFolder(Path(folder))
        reader.detect(source)
        for _ in reader.read(source, require_images=write is same_names):
            pass
        return given, time.process_time() - started


def slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of a line through the points in a log-log plot; nan for fewer than two."""
    logs = [(math.log(size), math.log(seconds)) for size, seconds in points if seconds > 0.02]
    if len(logs) < 2:
        return math.nan
    x, y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    return sum((a - x) * (b - y) for a, b in logs) / sum((a - x) ** 2 for a, _ in logs)


def main() -> None:
    """Measure all inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=float, default=LARGEST)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    for write, layout in INPUTS.items():
        if given.only not in write.__name__:
            continue
        measure(write, layout, 1000)  # imports what the reader needs
        points: list[tuple[int, float]] = []
        for power in count(3):
            if 10**power > given.largest or (points and 12 * points[-1][1] > given.seconds):
                break
            points.append(measure(write, layout, 10**power))
        shown = "  ".join(f"{size / 1e6:.3g} MB {seconds:.3g} s" for size, seconds in points)
        print(f"{layout:14} {write.__name__:18} slope {slope(points):.2f}   {shown}", flush=True)


if __name__ == "__main__":
    main()
