"""Images with one line per pair in `metadata.jsonl`: the layout `image_folder` of `fdrd build`.

<out>/<domain>/metadata.jsonl
<out>/<domain>/images/<digest>.<extension>
"""

from collections.abc import Iterator

from fdrd.exports.writing import DomainExport, Row, as_line, write_lines

NOT_CARRIED = "File names are replaced by digests; the annotation file of each caption is left out."


def write_domain(export: DomainExport) -> None:
    """Write the images and `metadata.jsonl` of a domain."""
    write_lines(export.folder / "metadata.jsonl", _lines(export))


def _lines(export: DomainExport) -> Iterator[Row]:
    for sample in export.samples():
        name = sample.save(export.folder / "images")
        for row in sample.rows:
            yield as_line(row, f"images/{name}", sample.split)
