"""Images inside of tar, Arrow and Parquet files are read in any order."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdrd.files.paths import cache_folder
from fdrd.images.check import check_image, read_image
from fdrd.images.containers import remove_unpacked, row_member
from fdrd.record import ImageRef

IMAGES = [bytes([number]) * (number + 1) for number in range(100)]
ORDER = random.Random(0).sample(range(100), 100)


@pytest.mark.parametrize("kind", ["bytes", "struct"])
@pytest.mark.parametrize("form", ["stream.arrow", "file.arrow", "packed.arrow", "rows.parquet"])
def test_rows_are_read_in_any_order(tmp_path, kind, form):
    values = IMAGES if kind == "bytes" else [{"bytes": p, "path": "x.png"} for p in IMAGES]
    table = pa.table({"caption": ["A."] * 100, "image": values})
    if form == "rows.parquet":
        pq.write_table(table, tmp_path / form, row_group_size=7)
    else:
        new = pa.ipc.new_file if form == "file.arrow" else pa.ipc.new_stream
        options = pa.ipc.IpcWriteOptions(compression="zstd" if form == "packed.arrow" else None)
        with new(str(tmp_path / form), table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=9)
    for row in ORDER:
        found = read_image(str(tmp_path), ImageRef(form, row_member(row, "image")))
        assert found == IMAGES[row]


def test_empty_rows_and_damaged_tables_have_reasons(tmp_path):
    pq.write_table(pa.table({"image": pa.array([b"x", None])}), tmp_path / "0.parquet")
    (tmp_path / "1.parquet").write_bytes(b"PAR1 damaged PAR1")
    (tmp_path / "2.arrow").write_bytes(b"ARROW1 damaged")
    reasons = [
        check_image(str(tmp_path), ImageRef(file, row_member(row, column)), 100).reason
        for file, row, column in [
            ("0.parquet", 1, "image"),
            ("0.parquet", 0, "other"),
            ("1.parquet", 0, "image"),
            ("2.arrow", 0, "image"),
        ]
    ]
    assert reasons == ["image_missing", "read_error", "read_error", "read_error"]


def test_a_changed_file_is_unpacked_again_and_can_be_removed(tmp_path):
    for data in (b"old", b"newer"):
        pq.write_table(pa.table({"image": [data]}), tmp_path / "0.parquet")
        image = ImageRef("0.parquet", row_member(0, "image"))
        assert read_image(str(tmp_path), image) == data
    kept = [path.suffix for path in (cache_folder() / "rows").iterdir()]
    assert kept.count(".arrow") == 2
    remove_unpacked([tmp_path / "0.parquet"])
    kept = [path.suffix for path in (cache_folder() / "rows").iterdir()]
    assert kept.count(".arrow") == 1
