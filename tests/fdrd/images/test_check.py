"""Checking an image, also one inside of a table, gives its size and digest, or the reason for its rejection."""

import hashlib
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from PIL import features as pillow

from fdrd.files.paths import cache_folder
from fdrd.images.check import (
    FORMATS,
    MAX_BYTES,
    check_image,
    check_image_bytes,
    check_images,
    read_image,
)
from fdrd.images.containers import remove_unpacked, row_member
from fdrd.record import ImageRef

LIMIT = 10_000


def test_a_good_image_has_its_digest_and_is_measured_upright(draw):
    exif = Image.Exif()
    exif[0x0112] = 6
    for data, size in (
        (draw(3), (24, 16)),
        (draw(1, form="JPEG", exif=exif.tobytes()), (16, 24)),
    ):
        found = check_image_bytes(data, LIMIT)
        assert (found.width, found.height, found.reason) == (*size, "")
        assert found.sha256 == hashlib.sha256(data).hexdigest()


def test_images_checked_together_have_the_checks_that_each_has_alone(draw, tmp_path):
    (tmp_path / "1.png").write_bytes(draw(1))
    (tmp_path / "2.png").write_text("not an image")
    (tmp_path / "3.png").write_bytes(draw(3))
    images = [ImageRef(f"{number}.png") for number in range(5)]
    found = check_images(str(tmp_path), images, LIMIT)
    assert found == [check_image(str(tmp_path), image, LIMIT) for image in images]
    assert [bool(check.features) for check in found] == [False, True, False, True, False]
    assert found[1].features != found[3].features


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"<svg xmlns=", "SVG"),
    ],
)
def test_a_format_that_is_not_read_is_named(start, name):
    found = check_image_bytes(start + bytes(99), LIMIT)
    assert found.reason == "not_an_image"
    assert found.detail.startswith(f"{name} is not read; accepted are JPEG, PNG")


def test_avif_is_read_where_pillow_reads_it_and_otherwise_named(monkeypatch):
    avif = b"\0\0\0\x20ftypavif" + bytes(99)
    assert ("AVIF" in FORMATS) == pillow.check("avif")
    monkeypatch.setattr("fdrd.images.check.FORMATS", FORMATS[:6])
    found = check_image_bytes(avif, LIMIT)
    assert found.detail.startswith("AVIF is not read by this version of Pillow; accepted are")


@pytest.mark.parametrize("form", FORMATS)
def test_each_accepted_format_is_decoded_and_a_truncated_image_is_broken(draw, form):
    data = draw(1, size=(90, 90), form=form)
    assert check_image_bytes(data, LIMIT).reason == ""
    if form not in ("PNG", "JPEG", "WEBP"):
        return
    assert check_image_bytes(data[: len(data) * 2 // 3], LIMIT).reason == "image_broken"


def test_the_pixel_limit_is_inclusive(draw):
    assert check_image_bytes(draw(1, size=(101, 100)), LIMIT).reason == "image_too_large"
    assert check_image_bytes(draw(1, size=(100, 100)), LIMIT).reason == ""


def test_a_link_out_of_the_source_is_not_followed(tmp_path, draw):
    (tmp_path / "secret.png").write_bytes(draw(1))
    root = tmp_path / "raw"
    root.mkdir()
    (root / "in.png").symlink_to("../secret.png")
    (root / "good.png").write_bytes(draw(2))
    (root / "also.png").symlink_to("good.png")
    assert check_image(str(root), ImageRef("in.png"), LIMIT).reason == "path_outside"
    assert read_image(str(root), ImageRef("also.png")) == draw(2)


def test_a_file_that_cannot_be_read_has_its_reason(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    reasons = dict.fromkeys(("folder.png", "gone.png", "pipe.png"), "read_error")
    for name, reason in {**reasons, "huge.png": "image_too_large"}.items():
        assert check_image(str(tmp_path), ImageRef(name), LIMIT).reason == reason


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
