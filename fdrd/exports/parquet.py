"""One Parquet file for each split, for polars, DuckDB, pandas, pyarrow and `load_dataset("parquet")`.

<out>/<domain>/<split>.parquet      a row per pair, with the bytes of its image and the name of its category
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fdrd.columns import features, schema_of
from fdrd.dataset import RetrievalDataset
from fdrd.exports.writing import LEFT_OUT, DomainExport, Row, Sample, as_line, samples

NOT_CARRIED = "File names are replaced by digests; the annotation file of each caption is left out."

_BYTES, _ROWS = 32 * 2**20, 1000  # of images and of rows in a row group
_TEXT = {"dtype": "string", "_type": "Value"}


def write_domain(export: DomainExport) -> None:
    """Write a Parquet file for each split of a domain."""
    for view in export.views:
        schema = _schema(view)
        images = samples(view, export.domain, export.progress)
        with pq.ParquetWriter(
            export.folder / f"{view.split}.parquet", schema, compression="zstd"
        ) as writer:
            for rows in _groups(images):
                writer.write_table(pa.Table.from_pylist(rows, schema))


def _schema(view: RetrievalDataset) -> pa.Schema:
    """Return the columns: those of `metadata.jsonl`, with the image instead of its name."""
    known = features([], view.extra_types)
    columns: dict[str, Any] = {name: known[name] for name in known if name not in LEFT_OUT}
    return schema_of(columns | dict.fromkeys(("category", "split", "license"), _TEXT))


def _groups(images: Iterator[Sample]) -> Iterator[list[Row]]:
    """Yield the rows of each row group; a reader needs the memory of one."""
    group: list[Row] = []
    size = 0
    for sample in images:
        image = {"bytes": sample.file, "path": sample.file_name}
        for row in sample.rows:
            if group and (size + len(sample.file) > _BYTES or len(group) >= _ROWS):
                yield group
                group, size = [], 0
            group.append({**as_line(row, "", sample.split), "image": image})
            size += len(sample.file)
    if group:
        yield group
