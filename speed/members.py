"""What it costs to read images in shuffled order from a folder, a tar, an Arrow and a Parquet file of one row group.

    python speed/members.py

Rows of a shard are in the order of a hash, so a build reads its images in no order of the source. The peak of memory is
that of a process of its own for each layout; the images are random bytes, so nothing is compressed.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IMAGES = 6000
BYTES = 60_000
LAYOUTS = ("folder", "tar", "arrow", "parquet")


def image(number: int) -> bytes:
    """The bytes of one image."""
    return random.Random(number).randbytes(BYTES)


def write_folder(root: Path) -> None:
    """A file for each image."""
    for number in range(IMAGES):
        (root / f"{number}.jpg").write_bytes(image(number))


def write_tar(root: Path) -> None:
    """One archive."""
    with tarfile.open(root / "0.tar", "w") as archive:
        for number in range(IMAGES):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = BYTES
            archive.addfile(info, io.BytesIO(image(number)))


def write_arrow(root: Path) -> None:
    """One stream, as `datasets` writes it."""
    import pyarrow as pa

    schema = pa.schema({"image": pa.binary()})
    with pa.ipc.new_stream(str(root / "0.arrow"), schema) as stream:
        for start in range(0, IMAGES, 100):
            rows = [image(number) for number in range(start, min(start + 100, IMAGES))]
            stream.write_batch(pa.record_batch({"image": rows}, schema=schema))


def write_parquet(root: Path) -> None:
    """One file of one row group, as pandas writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [image(number) for number in range(IMAGES)]
    pq.write_table(pa.table({"image": rows}), root / "0.parquet", row_group_size=IMAGES)


def peak_mb() -> float:
    """The peak of this process: `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def read(layout: str, root: Path) -> None:
    """Prints the seconds that a shuffled reading takes, and the peak of memory beyond that of the start."""
    from fdrd.images.check import read_image
    from fdrd.images.containers import row_member, tar_member
    from fdrd.record import ImageRef

    member: Callable[[int], str] = lambda number: row_member(number, "image")  # noqa: E731
    if layout == "tar":
        with tarfile.open(root / "0.tar") as archive:
            places = [tar_member(info.offset_data, info.size, info.name) for info in archive]
        member = places.__getitem__
    images = [
        ImageRef(f"{number}.jpg") if layout == "folder" else ImageRef(f"0.{layout}", member(number))
        for number in range(IMAGES)
    ]
    before = peak_mb()
    start = time.process_time()
    read_image(str(root), images[0])  # unpacks a Parquet file
    first = time.process_time() - start
    random.Random(0).shuffle(images)
    for each in images:
        assert len(read_image(str(root), each)) == BYTES
    seconds = time.process_time() - start
    print(f"{first:.3f} {seconds:.3f} {peak_mb() - before:.0f}")


def main() -> None:
    """Writes and reads each layout, and prints how they compare with plain files."""
    if len(sys.argv) > 1:
        read(sys.argv[1], Path(sys.argv[2]))
        return
    print(f"{IMAGES} images of {BYTES / 1000:.0f} kB; the peak includes pages of mapped files")
    plain = 0.0
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "raw"
            root.mkdir()
            globals()[f"write_{layout}"](root)
            done = subprocess.run(
                [sys.executable, __file__, layout, str(root)],
                env={**os.environ, "FDRD_CACHE": str(Path(folder) / "cache")},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        first, seconds, peak = map(float, done.stdout.split())
        plain = plain or seconds
        print(
            f"{layout:8} {IMAGES / seconds:8,.0f} images/s of processor time   {seconds / plain:4.1f} times "
            f"plain files   first image {first:5.2f} s   peak +{peak:4.0f} MB"
        )


if __name__ == "__main__":
    main()
