"""One JSON file in the format of Karpathy's splits, with the images in `images/`.

<out>/<domain>/annotations/dataset_<domain>.json
<out>/<domain>/images/<digest>.<extension>

An image also has `category`, `meta_category`, `group` and `license`, and a sentence `attributes`,
`negatives` and `record`. Readers of the format ignore keys that they do not know.
"""

from collections.abc import Iterator
from itertools import count

from fdrd.exports.writing import COCO_SPLITS, DomainExport, Row, caption_extras, write_json

NOT_CARRIED = (
    "File names are replaced by digests. Categories, attributes, hard negatives and record ids are extra "
    "keys, which other readers ignore."
)


def write_domain(export: DomainExport) -> None:
    """Write the images and the JSON file of a domain."""
    path = export.folder / "annotations" / f"dataset_{export.domain}.json"
    write_json(path, images=_images(export), dataset=export.domain)


def _images(export: DomainExport) -> Iterator[Row]:
    sentence_ids = count()
    for image, sample in enumerate(export.samples()):
        sentences = [
            {
                "raw": caption,
                "tokens": caption.lower().split(),
                "imgid": image,
                "sentid": next(sentence_ids),
                **caption_extras(row),
            }
            for caption, row in zip(sample.captions, sample.rows, strict=True)
        ]
        first = sample.rows[0]
        yield {
            "filepath": "images",
            "filename": sample.save(export.folder / "images"),
            "imgid": image,
            "split": COCO_SPLITS[sample.split],
            "sentids": [sentence["sentid"] for sentence in sentences],
            "category": first["category"],
            "meta_category": first["meta_category"],
            "group": first["group"],
            "license": first["source"]["license"],
            "sentences": sentences,
        }
