"""Tasks for Label Studio: correct the caption, its attribute spans and its category.

<out>/<domain>/tasks.json, labeling.xml
<out>/<domain>/images/<digest>.<extension>

Set LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to `<out>`, paste
`labeling.xml` into the labeling interface of a project, and import `tasks.json`. What the dataset says of a
pair is its prediction.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from fdrd.columns import extra_of
from fdrd.exports.writing import DomainExport, Row, list_text, plain_category, write_text
from fdrd.text.markup import visible

NOT_CARRIED = (
    "File names are replaced by digests. Hard negatives are data of a task, which cannot be "
    "edited, and natural pairs are left out."
)


def write_domain(export: DomainExport) -> None:
    """Write the tasks and the labeling interface of a domain."""
    types: dict[str, None] = {}
    write_text(export.folder / "tasks.json", chain(list_text(_tasks(export, types)), ["\n"]))
    categories = {
        plain_category(view.categories[category], export.domain)
        for view in export.views
        for category in set(view.row_category.tolist())
        if category >= 0
    }
    interface = _interface(sorted(types), sorted(categories))
    write_text(export.folder / "labeling.xml", [interface])


def _tasks(export: DomainExport, types: dict[str, None]) -> Iterator[Row]:
    """Yield a task for each pair, and collect the types of its attributes."""
    for sample in export.samples():
        name = sample.save(export.folder / "images")
        for row in sample.rows:
            types.update(dict.fromkeys(span["type"] for span in row["attributes"]))
            yield {
                "data": {
                    **extra_of(row),
                    "image": f"/data/local-files/?d={quote(f'{export.domain}/images/{name}')}",
                    "caption": row["caption"],
                    "id": row["id"],
                    "split": sample.split,
                    "category": row["category"],
                    "meta_category": row["meta_category"],
                    "group": row["group"],
                    "license": row["source"]["license"],
                    "negatives": "\n".join(each["caption"] for each in row["negatives"]),
                },
                "predictions": [{"model_version": "fdrd", "result": _prediction(row)}],
            }


def _prediction(row: Row) -> list[Row]:
    """Return what the dataset says of a pair, as results of the tags in the interface."""
    results: list[Row] = [
        {
            "from_name": "attributes",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": span["start"],
                "end": span["end"],
                "text": span["value"],
                "labels": [span["type"]],
            },
        }
        for span in row["attributes"]
    ]
    texts = {"corrected": ("textarea", {"text": [row["caption"]]})}
    if row["category"]:
        texts["category"] = ("taxonomy", {"taxonomy": [[visible(row["category"])]]})
    results += [
        {"from_name": name, "to_name": "image", "type": kind, "value": value}
        for name, (kind, value) in texts.items()
    ]
    return [{"id": f"{index}", **result} for index, result in enumerate(results)]


def _interface(types: Sequence[str], categories: Sequence[str]) -> str:
    labels = "".join(f"\n    <Label value={quoteattr(each)}/>" for each in types)
    choices = "".join(f"\n    <Choice value={quoteattr(visible(each))}/>" for each in categories)
    parts = [
        '  <Image name="image" value="$image"/>',
        '  <Text name="text" value="$caption"/>',
        f'  <Labels name="attributes" toName="text">{labels}\n  </Labels>' if types else "",
        '  <TextArea name="corrected" toName="image" value="$caption" maxSubmissions="1" editable="true"/>',
        f'  <Taxonomy name="category" toName="image">{choices}\n  </Taxonomy>' if choices else "",
        '  <Header value="Hard negatives"/>',
        '  <Text name="negatives" value="$negatives"/>',
    ]
    return "\n".join(["<View>", *filter(None, parts), "</View>", ""])
