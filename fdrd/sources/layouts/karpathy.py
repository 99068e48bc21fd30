"""Karpathy's splits: `dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`.

Each image has its split and its sentences. `restval` is part of the training split.
"""

from __future__ import annotations

from collections.abc import Iterator

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.image_pairs import ImagePairs
from fdrd.sources.reading.json_stream import element_line, stream_elements
from fdrd.sources.reading.lines import Line
from fdrd.sources.reading.pairs import exported_fields, pairs, unknown_fields
from fdrd.sources.reading.source_folder import SourceFolder

_EXTRA = ("category", "meta_category", "group", "license")  # `fdrd export` writes them

_IMAGE = (*_EXTRA, "filepath", "filename", "imgid", "sentids", "split", "sentences")
_SENTENCE = ("raw", "tokens", "imgid", "sentid")


def detect(folder: SourceFolder) -> str | None:
    """Return why the folder holds Karpathy's splits, or None."""
    for file in used_files(folder):
        return f'{file} has "images" with "sentences"'
    return None


def near_miss(folder: SourceFolder) -> str | None:
    """Return None: other layouts tell what a JSON file lacks."""
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the files with splits and sentences."""
    return folder.json_with((b'"images"', b'"sentences"', b'"filename"'))


def read(folder: SourceFolder, require_images: bool = True) -> Iterator[Record | Rejection]:
    """Yield the pairs of every image."""
    images = ImagePairs(folder, require_images, public=True)
    for file in used_files(folder):
        for element in stream_elements(folder, file, ("images",)):
            if isinstance(element, Rejection):
                yield element
            elif element.array == "images":
                line = element_line(file, element)
                yield from [line] if isinstance(line, Rejection) else _read(folder, line, images)


def _read(folder: SourceFolder, line: Line, images: ImagePairs) -> Iterator[Record | Rejection]:
    name, parent = line.fields.get("filename"), line.fields.get("filepath")
    names = (f"{parent}/{name}", name) if isinstance(parent, str) and parent else (name,)
    path = images.find(line, *names)
    if isinstance(path, Rejection):
        yield path
        return
    split = line.fields.get("split")
    sentences = line.fields.get("sentences")
    fields = {name: line.fields.get(name) for name in _EXTRA}
    of_image = unknown_fields(line.fields, _IMAGE)
    fields["split"] = "train" if split == "restval" else split
    shown = path if folder.options.category_from else ""  # its folders are not categories
    if not isinstance(sentences, list) or not any(map(_has_fields, sentences)):
        sentences = [sentences]
    for number, caption in enumerate(sentences, 1):
        fields["extra"] = of_image
        if isinstance(caption, dict):
            fields["extra"] = {**of_image, **unknown_fields(caption, _SENTENCE)}
        own = Line(line.file, line.key, {**fields, **exported_fields(caption), "caption": caption})
        name = path if number == 1 else f"{path}#{number}"
        yield from pairs(folder.options, own, folder.image(path), shown, name=name)


def _has_fields(sentence: object) -> bool:
    """Return whether a sentence has fields of its own, so that it is a line of its own."""
    return isinstance(sentence, dict) and bool(
        exported_fields(sentence) or unknown_fields(sentence, _SENTENCE)
    )
