"""Write the field guide as an `image_folder` source: images by split and category, one `metadata.jsonl`.

Files go into a hidden folder next to the target, which is renamed when it is complete. An
interrupted run leaves only that folder, and the same call resumes from it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from fdrd.engines import LocalEngine, available_cores
from fdrd.errors import FdrdError
from fdrd.field_guide.flaws import Pair, planted
from fdrd.field_guide.plate import Plate, draw
from fdrd.field_guide.taxonomy import IMAGES_OF_ONE, Pool, categories
from fdrd.files.atomic import name_in_errors, sole_writer
from fdrd.progress import Progress, silent
from fdrd.record import Split

EDITION = 2  # increase with every change after which the same call draws something else

LICENSE = "CC0-1.0"
ORDER = ".field_guide.json"
"""File with the arguments, inside the folder; hidden, so that source readers skip it."""

MIN_SIZE, MAX_SIZE = 32, 1024


@dataclass(frozen=True, slots=True)
class Order:
    """The arguments that determine what is drawn."""

    categories: int
    pairs: int
    seed: int
    size: int
    pool: Pool
    first: int
    flawed: bool
    edition: int = EDITION

    def images_of(self, position: int) -> int:
        """Return the number of images of a category: an even share, one more for the first ones."""
        return self.pairs // self.categories + (position < self.pairs % self.categories)

    def check(self) -> None:
        """Raise `FdrdError` if nothing can be drawn from the arguments."""
        if not MIN_SIZE <= self.size <= MAX_SIZE:
            raise FdrdError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {self.size}")
        categories(self.categories, self.pool, self.first)
        if self.pairs < 4 * self.categories:
            raise FdrdError(
                f"{self.categories} categories need at least {4 * self.categories} pairs, so that each "
                f"has training and test images; got {self.pairs}"
            )


def sample(
    out: str | Path,
    categories: int = 120,
    pairs: int = 2400,
    seed: int = 0,
    size: int = 128,
    *,
    pool: Pool = "demo",
    first: int = 0,
    flawed: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> bool:
    """Draw a source into the new folder `out`; the same arguments write the same bytes.

    The layout is `<split>/<category>/<number>.jpg` with one `metadata.jsonl`, see `metadata`.

    Args:
        out: folder to create. A folder that the same call created before is left unchanged.
        categories: number of fine categories, alternating between meta-categories.
        pairs: number of images with one caption each, spread evenly over the categories.
        seed: draws other images of the same categories.
        size: width and height of the images in pixels.
        pool: `demo`, or `base` for categories that no demo uses, to train a backbone.
        first: index of the first category within the pool.
        flawed: plant the flaws of `fdrd.field_guide.flaws` in training images, for a demo of a build.
        workers: number of processes, by default one per core; 1 stays in this process.
        progress: called after each category.

    Returns:
        True if anything was drawn.

    Raises:
        FdrdError: the arguments are invalid, `out` holds something else, or another process is writing it.
    """
    order = Order(categories, pairs, seed, size, pool, first, flawed)
    order.check()
    if _holds(Path(out), order):  # before the lock, which is written next to the folder
        return False
    with sole_writer(Path(out)) as real, name_in_errors(Path(out)):
        if _holds(real, order):
            return False
        _draw(real, order, workers, progress)
    return True


def _draw(out: Path, order: Order, workers: int | None, progress: Progress) -> None:
    """Draw into a draft of the folder, after what an earlier call left there, and rename it."""
    draft = out.with_name(f".{out.name}.unfinished")
    done_before = _prepare(draft, order)

    todo = [position for position in range(order.categories) if position not in done_before]
    done = sum(order.images_of(position) for position in done_before)
    progress("drawing", done, order.pairs)
    with LocalEngine(min(workers or available_cores(), len(todo))) as engine:
        for position in engine.run(_write_category, todo, draft, order):
            done += order.images_of(position)
            progress("drawing", done, order.pairs)

    with (draft / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as whole:
        for position in range(order.categories):
            whole.write(_part(draft, position).read_text(encoding="utf-8"))
    shutil.rmtree(_part(draft, 0).parent)
    if out.exists():
        out.rmdir()  # `_holds` found it empty
    draft.rename(out)


def splits(images: int) -> list[Split]:
    """Return the split of each image of a category, by index.

    All images of an individual share a split. A fifth of the individuals go to test, or as many as
    make ten images if that is at most half. A tenth, at least one, go to validation, the rest to
    training.

    >>> [splits(images).count("test") for images in (4, 20, 60, 153)]
    [2, 10, 12, 30]
    >>> [splits(images).count("validation") for images in (4, 20, 60, 153)]
    [0, 2, 6, 14]
    """
    individuals = -(-images // IMAGES_OF_ONE)
    test = max(individuals // 5, min(10 // IMAGES_OF_ONE, individuals // 2))
    validation = max(individuals // 10, 1) if individuals > 2 else 0
    names: list[Split] = ["test"] * test
    names += ["validation"] * validation
    names += ["train"] * (individuals - len(names))
    return [names[image // IMAGES_OF_ONE] for image in range(images)]


def metadata(plate: Plate, split: Split) -> dict[str, Any]:
    """Return the line of `metadata.jsonl` for a plate."""
    category = plate.sighting.category
    return {
        "file_name": f"{split}/{category.name}/{plate.sighting.image + 1:04d}.jpg",
        "caption": plate.caption,
        "category": category.name,
        "meta_category": category.kind.name,
        "group": plate.sighting.group,
        "split": split,
        "attributes": to_builtins(plate.attributes),
        "license": LICENSE,
    }


def _holds(out: Path, order: Order) -> bool:
    """Return whether the folder already holds what the order asks for."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if _drawn_from(out, order):
        return True
    raise FdrdError(f"{out} exists and holds something else; remove it or choose another folder")


def _drawn_from(folder: Path, order: Order) -> bool:
    try:
        return bool(json.loads((folder / ORDER).read_text(encoding="utf-8")) == asdict(order))
    except (OSError, ValueError):
        return False


def _prepare(draft: Path, order: Order) -> set[int]:
    """Create the draft folder, and return the category positions that an earlier run finished."""
    parts = _part(draft, 0).parent
    if not _drawn_from(draft, order) or not parts.is_dir():
        shutil.rmtree(draft, ignore_errors=True)
        parts.mkdir(parents=True)
        (draft / ORDER).write_text(json.dumps(asdict(order)) + "\n", encoding="utf-8")
    return {int(part.stem) for part in parts.glob("*.jsonl")}


def _part(draft: Path, position: int) -> Path:
    """Return the metadata file of one category, which is written after its last image."""
    return draft / ".parts" / f"{position:05d}.jsonl"


def _write_category(position: int, draft: Path, order: Order) -> int:
    """Draw the category at this position and write its files; return the position."""
    (category,) = categories(1, order.pool, order.first + position)
    pairs = []
    for image, split in enumerate(splits(order.images_of(position))):
        plate = draw(category, image, seed=order.seed, size=order.size)
        described = metadata(plate, split)
        pairs.append(Pair(described, described["file_name"], plate.encoded()))
    if order.flawed:
        everything = categories(order.categories, order.pool, order.first)
        pairs = list(planted(pairs, position, [category.name for category in everything]))
    for pair in pairs:
        path = draft / pair.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if pair.image:
            path.write_bytes(pair.image)
    part = _part(draft, position)
    half = part.with_suffix(".half")
    half.write_text("".join(pair.text() for pair in pairs), encoding="utf-8", newline="\n")
    half.replace(part)
    return position
