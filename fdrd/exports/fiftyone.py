"""A dataset that FiftyOne loads with `Dataset.from_dir(dataset_type=fiftyone.types.FiftyOneDataset)`.

<out>/<domain>/metadata.json, samples.json
<out>/<domain>/data/<digest>.<extension>

Without a version in `metadata.json`, FiftyOne reads plain JSON samples (its `LegacyFiftyOneDatasetImporter`).
A sample is a distinct image: the tag is its split, `ground_truth` its category.
"""

from collections.abc import Iterator

from fdrd.exports.writing import DomainExport, Row, extra_columns, write_json

NOT_CARRIED = (
    "File names are replaced by digests. Attributes, hard negatives and natural pairs are fields of a sample, which "
    "FiftyOne shows as text."
)


def write_domain(export: DomainExport) -> None:
    """Write the samples of a domain."""
    write_json(export.folder / "samples.json", samples=_samples(export))
    write_json(export.folder / "metadata.json", name=export.domain, media_type="image", info={})


def _samples(export: DomainExport) -> Iterator[Row]:
    for sample in export.samples():
        first, category = sample.rows[0], sample.rows[0]["category"]
        extra = [extra_columns(row).get("columns", {}) for row in sample.rows]
        label = {"_cls": "Classification", "label": category, "tags": []} if category else None
        yield {
            "filepath": f"data/{sample.save(export.folder / 'data')}",
            "tags": [sample.split],
            "ground_truth": label,
            "captions": [row["caption"] for row in sample.rows],
            "record_ids": [row["id"] for row in sample.rows],
            "attributes": [row["attributes"] for row in sample.rows],
            "hard_negatives": [row["negatives"] for row in sample.rows],
            "natural_pairs": [row["natural_pairs"] for row in sample.rows],
            "meta_category": first["meta_category"],
            "group": first["group"],
            "license": first["source"]["license"],
            **({"columns": extra} if any(extra) else {}),
        }
