"""SugarCrepe and SugarCrepe++: files of captions with a wrong caption each, next to the images of COCO.

A row has `filename`, `caption`, `negative_caption`, and in SugarCrepe++ a second true caption, `caption2`. The name of
a file says what its negatives change, e.g. `swap_att`, and becomes their attribute type. Rows that share an image and
a caption become one record with all their negatives. All records belong to the test split.
"""

from pathlib import PurePosixPath

from fdrd.sources.reading.image_search import ImageIndex
from fdrd.sources.reading.lines import Element, Line, each_line, stream_elements
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder


def detect(folder: SourceFolder) -> str | None:
    for file in used_files(folder):
        return f'{file} has rows with "filename", "caption" and "negative_caption"'
    return None


def used_files(folder: SourceFolder) -> list[str]:
    return folder.json_with((b'"filename"', b'"caption"', b'"negative_caption"'))


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = ImageIndex(folder, require_images, public=True)
    lines: dict[tuple[str, str], Line] = {}  # by image and caption, over all files

    def collect(element: Element) -> tuple[()]:
        row = element.object()
        path = images.find(row.fields.get("filename"), row.file)
        negative = {"kind": "attribute", "caption": row.fields.get("negative_caption")}
        negative["attribute_type"] = PurePosixPath(row.file).stem
        for caption in _captions(row):
            line = Line(row.file, row.key, {"caption": caption, "negatives": []})
            lines.setdefault((path, caption), line).fields["negatives"].append(negative)
        return ()

    for file in used_files(folder):
        yield from each_line(stream_elements(folder, file, ()), collect)
    for (path, _), line in lines.items():
        yield from images.pairs_at(line, path, "test")


def _captions(row: Line) -> list[str]:
    captions: list[str] = []
    for caption in (row.fields.get("caption"), row.fields.get("caption2") or ""):
        if not isinstance(caption, str):
            raise RejectedError("bad_field", f'"caption" is a {type(caption).__name__}')
        captions.append(caption)
    return captions if captions[1] else captions[:1]  # SugarCrepe has no second caption
