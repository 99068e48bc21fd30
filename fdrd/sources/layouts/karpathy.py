"""Karpathy's splits: `dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`.

Each image has its split and its sentences. `restval` is part of the training split.
"""

from collections.abc import Iterator

from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Element, Line, each_line, stream_elements
from fdrd.sources.reading.pairs import Pairs, exported_fields, unknown_fields
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder

_EXTRA = ("category", "meta_category", "group", "license")  # `fdrd export` writes them
_IMAGE = (*_EXTRA, "filepath", "filename", "imgid", "sentids", "split", "sentences")
_SENTENCE = ("raw", "tokens", "imgid", "sentid")


def detect(folder: SourceFolder) -> str | None:
    return next((f'{file} has "images" with "sentences"' for file in used_files(folder)), None)


def used_files(folder: SourceFolder) -> list[str]:
    return folder.json_with((b'"images"', b'"sentences"', b'"filename"'))


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = ImageIndex(folder, require_images, public=True)

    def pairs(element: Element) -> Pairs:
        if element.array == "images":
            line = element.object()
            path = _path(images, line)
            for fields in _sentences(line):
                yield from images.pairs_at(Line(line.file, line.key, fields), path)

    for file in used_files(folder):
        yield from each_line(stream_elements(folder, file, ("images",)), pairs)


def _path(images: ImageIndex, line: Line) -> str:
    name, parent = line.fields.get("filename"), line.fields.get("filepath")
    path = f"{parent}/{name}" if isinstance(parent, str) and parent else name
    try:
        return images.find(path, line.file)
    except RejectedError as error:
        if error.args[0] != "image_missing" or not parent:
            raise
        return images.find(name, line.file)


def _sentences(line: Line) -> Iterator[dict[str, object]]:
    """Yield the fields of each sentence of an image, or of all that have no fields of their own."""
    sentences, split = line.fields.get("sentences"), line.fields.get("split")
    shared = {name: line.fields.get(name) for name in _EXTRA}
    shared |= {"split": "train" if split == "restval" else split}
    extra = unknown_fields(line.fields, _IMAGE)
    if not isinstance(sentences, list) or not any(map(_has_fields, sentences)):
        sentences = [sentences]
    for sentence in sentences:
        unknown = unknown_fields(sentence, _SENTENCE) if isinstance(sentence, dict) else {}
        fields = {**shared, **exported_fields(sentence), "caption": sentence}
        yield {**fields, "extra": {**extra, **unknown}}


def _has_fields(sentence: object) -> bool:
    if not isinstance(sentence, dict):
        return False
    return bool(exported_fields(sentence) or unknown_fields(sentence, _SENTENCE))
