"""COCO: a file of captions and a file of instances for each split.

<out>/<domain>/annotations/captions_{train,val,test}.json
<out>/<domain>/annotations/instances_{train,val,test}.json         if images have categories
<out>/<domain>/{train,val,test}/<digest>.<extension>

The instance of an image is its category with the whole image as box. An annotation of a caption also has
`attributes`, `negatives` and `record`, which `fdrd build` reads back.
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from fdrd.dataset import RetrievalDataset
from fdrd.exports.writing import (
    COCO_SPLITS,
    DomainExport,
    Row,
    caption_extras,
    plain_category,
    samples,
    write_json,
)
from fdrd.progress import Progress, silent

NOT_CARRIED = (
    "File names are replaced by digests, and a category has the whole image as box. Attributes, hard "
    "negatives, groups and record ids are extra keys, which other readers ignore."
)


def write_domain(export: DomainExport) -> None:
    """Write images, captions and instances of every split of a domain."""
    folder, domain = export.folder, export.domain
    annotations = folder / "annotations"
    for view in export.views:
        split, info = COCO_SPLITS[view.split], {"description": f"{domain} {view.split}"}
        names: list[str] = []
        licenses: dict[str, int] = {}
        write_json(
            annotations / f"captions_{split}.json",
            info=info,
            images=_images(folder / split, domain, view, licenses, names, export.progress),
            annotations=_captions(domain, view),
            licenses=_licenses(licenses),
        )
        if (view.image_category >= 0).any():
            write_json(
                annotations / f"instances_{split}.json",
                info=info,
                images=_images(None, domain, view, licenses, names, silent),
                annotations=_instances(domain, view),
                categories=_categories(domain, view),
            )


def _images(
    folder: Path | None,
    domain: str,
    view: RetrievalDataset,
    licenses: dict[str, int],
    names: list[str],
    progress: Progress,
) -> Iterator[Row]:
    """Yield the images and, given a folder, write them and collect names and licenses."""
    for sample in samples(view, domain, progress, files=folder is not None):
        first = sample.rows[0]
        if folder:
            names.append(sample.save(folder))
        yield {
            "id": sample.index + 1,
            "file_name": names[sample.index],
            "width": first["width"],
            "height": first["height"],
            "license": licenses.setdefault(first["source"]["license"], len(licenses) + 1),
        }


def _licenses(licenses: dict[str, int]) -> Iterator[Row]:
    """Yield the licenses that the images before them named."""
    yield from ({"id": id_, "name": name, "url": ""} for name, id_ in licenses.items())


def _captions(domain: str, view: RetrievalDataset) -> Iterator[Row]:
    ids = count(1)
    for sample in samples(view, domain, files=False):
        for row in sample.rows:
            yield {
                "id": next(ids),
                "image_id": sample.index + 1,
                "caption": row["caption"],
                **caption_extras(row),
            }


def _instances(domain: str, view: RetrievalDataset) -> Iterator[Row]:
    ids = count(1)
    for sample in samples(view, domain, files=False):
        width, height = sample.rows[0]["width"], sample.rows[0]["height"]
        category = int(view.image_category[sample.index])
        if category >= 0:
            yield {
                "id": next(ids),
                "image_id": sample.index + 1,
                "category_id": category + 1,
                "bbox": [0, 0, width, height],
                "area": width * height,
                "segmentation": [],
                "iscrowd": 0,
            }


def _categories(domain: str, view: RetrievalDataset) -> Iterator[Row]:
    metas: dict[int, str] = {}
    for row, category in enumerate(view.row_category.tolist()):
        metas.setdefault(category, view.meta_categories[row])
    for category in sorted(metas.keys() - {-1}):
        name = plain_category(view.categories[category], domain)
        yield {"id": category + 1, "name": name, "supercategory": metas[category]}
