"""Images of a dataset for the browser: read from the shards, checked against their digest, and re-encoded."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image
from starlette.responses import Response

from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.files.paths import cache_folder, digest_name
from fdrd.images.check import opened_image
from fdrd.images.pixels import upright_rgb
from fdrd.storage.shard_file import PARQUET
from fdrd.viewer.pages import templates

SIDE = 320  # greatest width and height of a thumbnail, in pixels
_LARGE = 2**24  # pixels above which images are decoded one at a time: a page asks for many at once
_one_large = threading.Lock()


def image_bytes(shard: Path, place: int, digest: str) -> bytes:
    """Return the bytes of the image in a row of a shard.

    Raises:
        FdrdError: the shard cannot be read, or the bytes are not those of the digest.
    """
    try:
        data = _read(shard, place)
    except Exception as error:  # a damaged shard may fail in any way
        raise FdrdError(f"{shard.name} cannot be read: {error or type(error).__name__}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise FdrdError(f"{shard.name}: the image is damaged, its digest has changed")
    return data


def thumbnail(folder: Path, shard: str, record: Mapping[str, Any]) -> bytes:
    """Return a small WebP of a record's image; it is kept in the cache."""
    digest = digest_name(record["image"])
    kept = cache_folder() / "viewer" / "thumbnails" / digest[:2] / f"{digest}.webp"
    if kept.is_file():
        return kept.read_bytes()
    small = encode(image_bytes(folder / shard, record["place"], digest), SIDE)
    with suppress(OSError), atomic_write(kept) as file:  # e.g. a home that cannot be written
        file.write(small)
    return small


def encode(data: bytes, side: int = 0) -> bytes:
    """Return an image as WebP, upright and in RGB, at most `side` pixels wide and high (0: as it is)."""
    file = io.BytesIO()
    with opened_image(data, "the viewer") as image:
        is_large = image.width * image.height > _LARGE
        if side:
            image.draft("RGB", (side * 2, side * 2))
        with _one_large if is_large else nullcontext():
            shown = upright_rgb(image)
        longest = side or 16383  # the most that WebP holds
        shown.thumbnail((longest, longest))
        shown.save(file, "WEBP", quality=80 if side else 92, method=2)
    return file.getvalue()


def decoded(shard: Path, record: Mapping[str, Any]) -> Image.Image:
    """Return the image of a record, upright and in RGB."""
    data = image_bytes(shard, record["place"], record["image"])
    with opened_image(data, record["id"]) as image:
        return upright_rgb(image)


def image_response(data: bytes) -> Response:
    """Return a WebP as an answer that the browser may keep."""
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(data, media_type="image/webp", headers=headers)


def placeholder(text: str, status: int = 200) -> Response:
    """Return a drawing that stands for an image that cannot be shown."""
    drawing = templates().get_template("placeholder.svg").render(text=text)
    return Response(drawing, status, media_type="image/svg+xml")


def _read(shard: Path, place: int) -> bytes:
    if place < 0:
        raise IndexError(place)
    if shard.suffix == PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(shard, memory_map=True) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if place < rows:
                    column = file.read_row_group(group, columns=["image"])["image"]
                    return bytes(column[place]["bytes"].as_py())
                place -= rows
    else:
        with pa.memory_map(str(shard)) as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                if place < batch.num_rows:
                    return bytes(batch["image"][place]["bytes"].as_py())
                place -= batch.num_rows
    raise IndexError("the shard has fewer rows than its index")
