"""Images inside of other files are read in any order, from tar, Arrow and Parquet alike."""

import io
import random
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fdrd.files.cache import cache_folder
from fdrd.images.check import check_image, read_image
from fdrd.images.containers import member_name, remove_unpacked, row_member, tar_member
from fdrd.record import ImageRef

PICTURES = [bytes([number]) * (number + 1) for number in range(100)]
ORDER = random.Random(0).sample(range(100), 100)


@pytest.mark.parametrize("kind", ["bytes", "struct"])
@pytest.mark.parametrize("form", ["stream.arrow", "file.arrow", "packed.arrow", "rows.parquet"])
def test_rows_are_read_in_any_order(tmp_path, kind, form):
    values = PICTURES if kind == "bytes" else [{"bytes": p, "path": "x.png"} for p in PICTURES]
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
        assert found == PICTURES[row]


def test_a_member_of_a_tar_is_read_at_its_place(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for number, data in enumerate(PICTURES):
            info = tarfile.TarInfo(f"a b/{number} x.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with tarfile.open(tmp_path / "0.tar") as archive:
        places = [tar_member(info.offset_data, info.size, info.name) for info in archive]
    assert member_name(places[7]) == "7 x.png"
    for row in ORDER:
        assert read_image(str(tmp_path), ImageRef("0.tar", places[row])) == PICTURES[row]
    beyond = ImageRef("0.tar", tar_member(10**6, 5, "x.png"))
    assert check_image(str(tmp_path), beyond, 100).reason == "read_error"


def test_a_row_without_bytes_and_a_table_that_is_none_say_so(tmp_path):
    pq.write_table(pa.table({"image": pa.array([b"x", None])}), tmp_path / "0.parquet")
    (tmp_path / "1.parquet").write_bytes(b"PAR1 this is none PAR1")
    (tmp_path / "2.arrow").write_bytes(b"ARROW1 this is none")
    reasons = [
        check_image(str(tmp_path), ImageRef(file, row_member(row, column)), 100).reason
        for file, row, column in [
            ("0.parquet", 1, "image"),
            ("0.parquet", 0, "picture"),
            ("1.parquet", 0, "image"),
            ("2.arrow", 0, "image"),
        ]
    ]
    assert reasons == ["image_missing", "read_error", "read_error", "read_error"]


def test_a_changed_file_is_read_anew_and_what_was_unpacked_can_be_forgotten(tmp_path):
    for data in (b"old", b"newer"):
        pq.write_table(pa.table({"image": [data]}), tmp_path / "0.parquet")
        image = ImageRef("0.parquet", row_member(0, "image"))
        assert read_image(str(tmp_path), image) == data
    kept = [path.suffix for path in (cache_folder() / "rows").iterdir()]
    assert kept.count(".arrow") == 2
    remove_unpacked([tmp_path / "0.parquet"])
    kept = [path.suffix for path in (cache_folder() / "rows").iterdir()]
    assert kept.count(".arrow") == 1
