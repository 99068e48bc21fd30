"""The same eight pairs in every layout that people have: `LAYOUTS` writes them, the tests read them back.

Each writer gets an empty folder and the pairs. `option` is what `fdrd build` needs to read the layout, and
its error message names; `has` says which of category, split and a column that fdrd does not know (`photographer`)
the layout can hold.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from archives import tar
from scenes import image_bytes


@dataclass(frozen=True)
class Pair:
    """An image with its captions."""

    name: str
    captions: tuple[str, ...]
    category: str
    split: str

    @property
    def photographer(self):
        """A column that fdrd does not know; layouts that `has` it keep it."""
        return f"Ann {self.name[-2:]}"

    @property
    def data(self):
        """The bytes of the image, unlike those of all others."""
        return image_bytes(int(self.name[-2:]))


PAIRS = [
    Pair(
        f"bird_{number:02d}",
        (f"A small red bird on branch {number}.", f"Bird number {number}, seen from the left."),
        ("wren", "robin")[number % 2],
        ("train", "val", "test")[number % 3],
    )
    for number in range(8)
]


@dataclass(frozen=True)
class Layout:
    """A layout: its writer, what it can hold, and the options that its error names."""

    write: Callable[[Path, Sequence[Pair]], None]
    reader: str
    has: frozenset[str] = frozenset()
    captions: int = 2
    options: dict[str, object] = field(default_factory=dict)


LAYOUTS = {}


def layout(reader, *has, captions=2, **options):
    """Register a writer."""

    def register(write):
        LAYOUTS[write.__name__] = Layout(write, reader, frozenset(has), captions, options)
        return write

    return register


def put(root, path, data):
    """Write a file: bytes, text, or anything else as JSON."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    file.write_bytes(data)


def put_images(root, pairs, folder):
    """Write all images into a folder, whose name may depend on the category."""
    for pair in pairs:
        put(root, f"{folder.format(pair.category)}/{pair.name}.png", pair.data)


def put_texts(root, pairs, folder):
    """Write the captions of each image into a text file."""
    for pair in pairs:
        path = f"{folder.format(pair.category)}/{pair.name}.txt"
        put(root, path, "\n".join(pair.captions))


def table(rows, separator=","):
    """Return separated values."""
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)
    return file.getvalue()


def csv_layout(name, header, folder, prefix, file="pairs.csv", form=(",", "utf-8"), **options):
    """Register a table with a row of each caption; `header` has the field of each column."""
    names, fields = zip(*(each.split("=") for each in header.split()), strict=True)

    def write(root, pairs):
        put_images(root, pairs, folder)
        rows = [names]
        for pair in pairs:
            image = prefix.format(pair.category, root=root) + f"{pair.name}.png"
            values = {**vars(pair), "photographer": pair.photographer, "image": image}
            for caption in pair.captions:
                rows.append([{**values, "caption": caption}[each] for each in fields])
        put(root, file, table(rows, form[0]).encode(form[1]))

    write.__name__ = name
    has = {"category", "split", "photographer"} & set(fields)
    layout("table", *has, *(["category"] if "{}" in prefix else []), **options)(write)


PLAIN = "image=image caption=caption"
FULL = f"{PLAIN} label=category split=split photographer=photographer"
SPECIES = "path=image text=caption species=category"
OPEN_CLIP = "filepath=image title=caption"
CAPITALS = "Image=image Caption=caption"
GERMAN = "Bild=image Beschreibung=caption Art=category"
TABS, SEMICOLONS, SPREADSHEET = ("\t", "utf-8"), (";", "utf-8"), ("\t", "utf-16")
MAPPED = ["image=Bild", "caption=Beschreibung", "category=Art"]

csv_layout("csv_relative_paths", FULL, "img", "img/")
csv_layout("csv_absolute_paths", SPECIES, "img", "{root}/img/")
csv_layout("csv_of_open_clip", OPEN_CLIP, "images", "images/", "cc.csv", TABS)
# Absolute paths, as a script of another machine found the images, and paths from the folder above.
AWAY, ABOVE = "/home/ann/data/cc/{}/", "{root.name}/{}/"
csv_layout("csv_of_open_clip_from_another_machine", OPEN_CLIP, "cc/{}", AWAY, "cc.csv", TABS)
csv_layout("csv_with_paths_from_the_folder_above", OPEN_CLIP, "{}", ABOVE, "cc.csv", TABS)
csv_layout("csv_own_names", GERMAN, "img", "img/", "liste.csv", SEMICOLONS, columns=MAPPED)
csv_layout("csv_of_a_spreadsheet", CAPITALS, "img", "", "list.csv", SPREADSHEET)
csv_layout("flickr8k_captions_txt", PLAIN, "Images", "", "captions.txt")


@layout("table")
def csv_numbered_captions(root, pairs):
    put_images(root, pairs, "img")
    rows = [[f"img/{p.name}.png", *p.captions] for p in pairs]
    put(root, "pairs.csv", table([["filename", "caption_1", "caption_2"], *rows]))


@layout("table", "category", "photographer", captions=1)
def parquet_bytes_and_label(root, pairs):
    rows = {
        "photographer": [p.photographer for p in pairs],
        "image": [p.data for p in pairs],
        "caption": [p.captions[0] for p in pairs],
        "label": [p.category for p in pairs],
    }
    pq.write_table(pa.table(rows), root / "birds.parquet")


@layout("table", "split")
def parquet_of_the_hub_flickr30k(root, pairs):
    rows = {
        "image": [{"bytes": p.data, "path": f"{p.name}.png"} for p in pairs],
        "caption": [list(p.captions) for p in pairs],
        "sentids": [["0", "1"] for _ in pairs],
        "split": [p.split for p in pairs],
        "filename": [f"{p.name}.png" for p in pairs],
    }
    (root / "data").mkdir()
    pq.write_table(pa.table(rows), root / "data/test-00000-of-00001.parquet")


@layout("table", captions=1)
def parquet_conversations(root, pairs):
    rows = {
        "image": [{"bytes": p.data, "path": None} for p in pairs],
        "conversations": [conversation(p) for p in pairs],
    }
    pq.write_table(pa.table(rows), root / "0.parquet")


@layout("saved_dataset", "category", "split", "photographer")
def save_to_disk_sentences_and_classes(root, pairs):
    from datasets import ClassLabel, Dataset, DatasetDict

    splits = {}
    for split in ("train", "val", "test"):
        some = [p for p in pairs if p.split == split]
        rows = {
            "image": [{"bytes": p.data, "path": None} for p in some],
            "photographer": [p.photographer for p in some],
            "sentences": [[{"raw": c, "sentid": 0} for c in p.captions] for p in some],
            "label": [p.category for p in some],
        }
        classes = ClassLabel(names=["robin", "wren"])
        splits[split] = Dataset.from_dict(rows).cast_column("label", classes)
    DatasetDict(splits).save_to_disk(root, num_shards={"train": 2, "val": 1, "test": 1})


@layout("image_folder", "category")
def text_files_in_class_folders(root, pairs):
    put_images(root, pairs, "{}")
    put_texts(root, pairs, "{}")


@layout("image_folder")
def text_files_in_a_flat_folder(root, pairs):
    put_images(root, pairs, ".")
    put_texts(root, pairs, ".")


@layout("nested_folders", "category")
def text_files_in_nested_class_folders(root, pairs):
    put_images(root, pairs, "animals/birds/{}")
    put_texts(root, pairs, "animals/birds/{}")


@layout("image_folder", "split", "photographer")
def imagefolder_metadata(root, pairs):
    for split in ("train", "val", "test"):
        some = [p for p in pairs if p.split == split]
        put_images(root, some, split)
        rows = [
            {"file_name": f"{p.name}.png", "text": c, "photographer": p.photographer}
            for p in some
            for c in p.captions
        ]
        put(root, f"{split}/metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@layout("image_folder", "category", "photographer", captions=1)
def img2dataset_files(root, pairs):
    """With `--save_additional_columns '["label", "photographer"]'`. The names end in jpg whatever the bytes are."""
    for number, p in enumerate(pairs):
        put(root, f"00000/{number:09d}.jpg", p.data)
        put(root, f"00000/{number:09d}.txt", p.captions[0])
        put(root, f"00000/{number:09d}.json", img2dataset_json(p, number))
    img2dataset_reports(root, pairs)


@layout("webdataset", "category", "photographer", captions=1)
def img2dataset_webdataset(root, pairs):
    members = {}
    for number, p in enumerate(pairs):
        members[f"{number:09d}.jpg"] = p.data
        members[f"{number:09d}.txt"] = p.captions[0].encode()
        text = json.dumps(img2dataset_json(p, number), indent=4)
        members[f"{number:09d}.json"] = text.encode()
    put(root, "00000.tar", tar(members))
    img2dataset_reports(root, pairs)


@layout("table", "category", "photographer", captions=1)
def img2dataset_parquet(root, pairs):
    rows = [{**img2dataset_json(p, n), "jpg": p.data} for n, p in enumerate(pairs)]
    pq.write_table(pa.Table.from_pylist(rows), root / "00000.parquet")
    put(root, "00000_stats.json", {"count": len(pairs), "successes": len(pairs)})


@layout("image_folder", "category", "photographer")
def json_files_beside_images(root, pairs):
    for p in pairs:
        put(root, f"{p.name}.png", p.data)
        fields = {"captions": list(p.captions), "class": p.category, "photographer": p.photographer}
        put(root, f"{p.name}.json", fields)


@layout("image_folder", "category")
def numbered_class_folders(root, pairs):
    """As Caltech-256 numbers its folders."""
    for number, category in enumerate(("robin", "wren"), 1):
        some = [p for p in pairs if p.category == category]
        put_images(root, some, f"{number:03d}.{category}")
        put_texts(root, some, f"{number:03d}.{category}")


@layout("webdataset", "photographer")
def webdataset_of_lines(root, pairs):
    members = {}
    for p in pairs:
        members[f"{p.name}.png"] = p.data
        fields = {"captions": list(p.captions), "photographer": p.photographer}
        members[f"{p.name}.json"] = json.dumps(fields).encode()
    put(root, "0.tar", tar(members))


@layout("coco_captions", "split", "photographer")
def coco(root, pairs):
    for split in ("train", "val", "test"):
        some = [(n, p) for n, p in enumerate(pairs) if p.split == split]
        put_images(root, [p for _, p in some], f"{split}2017")
        texts = [(n, c) for n, p in some for c in p.captions]
        images = [
            {"id": n, "file_name": f"{p.name}.png", "photographer": p.photographer} for n, p in some
        ]
        annotations = [{"id": i, "image_id": n, "caption": c} for i, (n, c) in enumerate(texts)]
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
        put(root, f"annotations/captions_{split}2017.json", content)


@layout("coco_captions", "category", "split", "photographer")
def coco_with_instances(root, pairs):
    coco(root, pairs)
    names = ["wren", "robin"]
    for split in ("train", "val", "test"):
        boxes = [
            {"image_id": n, "category_id": category, "area": area}
            for n, p in enumerate(pairs)
            if p.split == split
            for category, area in ((names.index(p.category), 9.5), (1 - names.index(p.category), 2))
        ]
        categories = [{"id": i, "name": c} for i, c in enumerate(names)]
        content = {"images": [], "categories": categories, "annotations": boxes}
        put(root, f"annotations/instances_{split}2017.json", content)


@layout("karpathy", "split", "photographer")
def karpathy(root, pairs):
    put_images(root, pairs, "val2014")
    images = [
        {
            **{"filepath": "val2014", "filename": f"{p.name}.png", "imgid": n},
            **{"photographer": p.photographer, "split": p.split.replace("train", "restval")},
            "sentences": [{"raw": c, "tokens": c.split()} for c in p.captions],
        }
        for n, p in enumerate(pairs)
    ]
    put(root, "dataset_coco.json", {"images": images, "dataset": "coco"})


@layout("table")
def flickr30k_results_csv(root, pairs):
    put_images(root, pairs, "flickr30k_images")
    rows = [f"{p.name}.png| {n}| {c}" for p in pairs for n, c in enumerate(p.captions)]
    put(root, "results.csv", "\n".join(["image_name| comment_number| comment", *rows]) + "\n")


@layout("flickr_tokens")
def flickr30k_token(root, pairs):
    put_images(root, pairs, "flickr30k-images")
    rows = [f"{p.name}.png#{n}\t{c}" for p in pairs for n, c in enumerate(p.captions)]
    put(root, "results_20130124.token", "\n".join(rows) + "\n")


@layout("flickr_tokens", "split")
def flickr8k(root, pairs):
    put_images(root, pairs, "Flicker8k_Dataset")
    rows = [f"{p.name}.png#{n}\t{c}" for p in pairs for n, c in enumerate(p.captions)]
    put(root, "Flickr8k.token.txt", "\n".join(rows) + "\n")
    for word, split in (("train", "train"), ("dev", "val"), ("test", "test")):
        names = [f"{p.name}.png\n" for p in pairs if p.split == split]
        put(root, f"Flickr_8k.{word}Images.txt", "".join(names))


@layout("json_captions", "split", "photographer")
def blip_json_lists(root, pairs):
    put_images(root, pairs, "val2014")
    for split in ("train", "val", "test"):
        some = [p for p in pairs if p.split == split]
        rows = [
            {
                "image": f"val2014/{p.name}.png",
                "caption": p.captions,
                "photographer": p.photographer,
            }
            for p in some
        ]
        put(root, f"annotations/coco_karpathy_{split}.json", rows)


@layout("json_captions")
def json_file_to_captions(root, pairs):
    put_images(root, pairs, "images")
    put(root, "captions.json", {f"{p.name}.png": list(p.captions) for p in pairs})


@layout("json_captions", "photographer", captions=1)
def llava_conversations(root, pairs):
    put_images(root, pairs, "images")
    rows = [
        {"id": p.name, "image": f"images/{p.name}.png", "photographer": p.photographer}
        | {"conversations": conversation(p)}
        for p in pairs
    ]
    put(root, "blip_laion_cc_sbu.json", rows)


@layout("cub", "category")
def cub(root, pairs):
    folders = {"robin": "001.robin", "wren": "002.wren"}
    paths = [f"{folders[p.category]}/{p.name}" for p in pairs]
    for p, path in zip(pairs, paths, strict=True):
        put(root, f"images/{path}.png", p.data)
        put(root, f"text_c10/{path}.txt", "\n".join(p.captions) + "\n")
    put(root, "images.txt", "".join(f"{n} {path}.png\n" for n, path in enumerate(paths, 1)))
    put(root, "classes.txt", "1 001.robin\n2 002.wren\n")
    numbers = [1 if p.category == "robin" else 2 for p in pairs]
    put(root, "image_class_labels.txt", "".join(f"{n} {c}\n" for n, c in enumerate(numbers, 1)))
    put(root, "attributes/attributes.txt", "1 has_wing_color::red\n2 has_size::small_(5_-_9_in)\n")
    rows = "".join(f"{n} 1 1 4 2.5\n{n} 2 0 4 1\n" for n in range(1, len(pairs) + 1))
    put(root, "attributes/image_attribute_labels.txt", rows)


@layout("cub", "category")
def text_c10_without_lists(root, pairs):
    cub(root, pairs)
    for path in root.glob("*.txt"):
        path.unlink()


@layout("coco_captions", "split", "photographer")
def zips_of_coco(root, pairs):
    with tempfile.TemporaryDirectory() as folder:
        coco(Path(folder), pairs)
        files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        for name, method in (("images", zipfile.ZIP_STORED), ("annotations", zipfile.ZIP_DEFLATED)):
            with zipfile.ZipFile(root / f"{name}.zip", "w", method) as archive:
                for path in files:
                    if (path.suffix == ".json") == (name == "annotations"):
                        archive.write(path, path.relative_to(folder))


@layout("image_folder", "category")
def zip_of_a_deflated_folder(root, pairs):
    with zipfile.ZipFile(root / "birds.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for p in pairs:
            archive.writestr(f"birds/{p.category}/{p.name}.png", p.data)
            archive.writestr(f"birds/{p.category}/{p.name}.txt", "\n".join(p.captions))


@layout("karpathy", "split", "photographer")
def tar_of_karpathy(root, pairs):
    with tempfile.TemporaryDirectory() as folder, tarfile.open(root / "flickr.tar", "w") as archive:
        karpathy(Path(folder), pairs)
        for path in sorted(Path(folder).rglob("*.*")):
            archive.add(path, path.relative_to(folder).as_posix())


@layout("released", "category", "split", "photographer", captions=1)
def authors_json(root, pairs):
    put_images(root, pairs, "images")
    for split in ("train", "val", "test"):
        rows = {}
        for p in pairs:
            if p.split == split:
                about = {"class_name": p.category, "photographer": p.photographer}
                about |= {"positive": p.captions[0], "negative": []}
                rows[f"{p.name}.png"] = {"file_name": f"{p.name}.png", **about}
        put(root, f"birds_{split}.json", rows)


def conversation(pair):
    """Return a conversation of LLaVA whose answer is the first caption."""
    return [
        {"from": "human", "value": "Describe the image.\n<image>"},
        {"from": "gpt", "value": pair.captions[0]},
    ]


def img2dataset_json(pair, number):
    """Return the fields that img2dataset writes about an image."""
    fields = {"label": pair.category, "photographer": pair.photographer, "key": f"{number:09d}"}
    fields |= {"url": f"https://example.org/{pair.name}.png", "caption": pair.captions[0]}
    fields |= {"status": "success", "error_message": None, "exif": "{}", "width": 24, "height": 16}
    fields |= {"original_width": 24, "original_height": 16}
    return fields | {"sha256": hashlib.sha256(pair.data).hexdigest()}


def img2dataset_reports(root, pairs):
    """Write what img2dataset reports beside a shard: all rows, also those without an image, and counts."""
    rows = [img2dataset_json(p, number) for number, p in enumerate(pairs)]
    failed = dict.fromkeys(rows[0]) | {
        "url": "https://example.org/gone.png",
        "caption": "A lost bird.",
    }
    failed |= {"key": f"{len(pairs):09d}", "status": "failed_to_download"}
    failed["error_message"] = "HTTP Error 404: Not Found"
    pq.write_table(pa.Table.from_pylist([*rows, failed]), root / "00000.parquet")
    put(root, "00000_stats.json", {"count": len(rows) + 1, "successes": len(rows)})
