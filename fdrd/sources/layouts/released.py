"""The authors' layout: JSON files that map a key to {file_name, file_path, class_name?, positive, negative}.

`fdrd caption` writes it too, with `meta_category`, `group` and `license` where the source has them.
The published files contain paths of another machine, differ in their fields, and join folder and file into
one name. Each fix is counted under a rule of `fdrd.reasons.RULES`. No file outside the source is opened.
"""

import json
import re
from pathlib import PurePosixPath
from typing import Any

from fdrd.record import Negative, Record, Source, Split
from fdrd.sources.reading.columns import LEFT_OUT, extra_columns
from fdrd.sources.reading.image_search import ImagesByName, find_image, index_images, stem
from fdrd.sources.reading.lines import Line, each_file, each_line
from fdrd.sources.reading.names import MAX_CAPTION, MAX_NAME, clip_group, split_in_name
from fdrd.sources.reading.pairs import Pairs, text_flaw, unknown_fields
from fdrd.sources.reading.source_folder import RejectedError, SourceFolder
from fdrd.text.normalize import normalize_caption, normalize_category, normalize_described

_KNOWN = "file_name file_path class_name positive negative meta_category group license captioning".split()
_KEY = re.compile(r"^(?P<category>.+?)_(?:image_)?\d+$")  # "Sphynx_43", "monkshood_image_06422"


def detect(folder: SourceFolder) -> str | None:
    for name in used_files(folder):
        if b'"positive"' in folder.start(name):
            return f'{name} maps keys to objects with "positive" captions'
    return None


def near_miss(folder: SourceFolder) -> str | None:
    for name in used_files(folder):
        return f'{name} has no "positive" captions in its first 64 KiB'
    return None


def used_files(folder: SourceFolder) -> list[str]:
    """Return the JSON files in the folder, except the flower names that come with Flowers102."""
    return [name for name in folder.top if name.endswith(".json") and name != "cat_to_name.json"]


def read(folder: SourceFolder, require_images: bool = True) -> Pairs:
    images = index_images(folder)

    def read_file(file: str) -> Pairs:
        split = split_in_name(PurePosixPath(file).stem)
        lines = (Line(file, key, {"value": value}) for key, value in _records(folder, file))
        return each_line(lines, lambda line: [_record(folder, line, split, images, require_images)])

    return each_file(used_files(folder), read_file)


def _records(folder: SourceFolder, file: str) -> "_Object":
    """Return the keys of a file with their records."""
    try:
        pairs = json.loads(folder.read(file), object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise RejectedError("unreadable_annotations", f"not JSON: {error}") from error
    if not isinstance(pairs, _Object):
        detail = f"a {type(pairs).__name__} where an object of key: record was expected"
        raise RejectedError("unreadable_annotations", detail)
    # CoOp's split file next to the captions has no pairs.
    return _Object() if {key for key, _ in pairs} <= {"train", "val", "test"} else pairs


class _Object(list[tuple[str, Any]]):
    """A JSON object that keeps repeated keys, which a dict would silently drop."""


def _checked(value: object) -> dict[str, Any]:
    """Return the fields of a record, with its extra columns as an object, too."""
    if not isinstance(value, _Object):
        raise RejectedError("bad_field", f"the record is a {type(value).__name__}")
    fields = dict(value)
    if len(fields) < len(value):
        raise RejectedError("bad_field", "one of its keys occurs twice")
    if isinstance(columns := fields.get("columns"), _Object):
        fields["columns"] = dict(columns)
    return fields


def _record(
    folder: SourceFolder, line: Line, split: Split, images: ImagesByName, require_images: bool
) -> Record:
    fields = _checked(line.fields["value"])
    caption, negatives = fields.get("positive") or "", fields.get("negative") or []
    name, class_name = fields.get("file_name") or line.key, fields.get("class_name") or ""
    extra = {field: fields.get(field) or "" for field in ("meta_category", "group", "license")}
    texts = {"positive": caption, "file_name": name, "class_name": class_name, **extra}
    for field, text in texts.items():
        if flaw := text_flaw(field, text, MAX_CAPTION if field == "positive" else MAX_NAME):
            raise RejectedError("bad_field", flaw)
    is_list = isinstance(negatives, list)
    if not is_list or any(text_flaw("negative", text, MAX_CAPTION) for text in negatives):
        detail = f'"negative" is not a list of strings of at most {MAX_CAPTION} characters'
        raise RejectedError("bad_field", detail)
    normal = [normalize_caption(text)[0] for text in negatives]
    if not all(normal):
        raise RejectedError("bad_field", '"negative" has an empty text')

    from_key = _KEY.match(stem(line.key))
    raw_category = class_name or (from_key["category"] if from_key else "")
    category, category_rules = normalize_category(raw_category)
    folders = PurePosixPath(name).parts[:-1] if "/" in name else ()
    chosen = folder.options.category_of(category, folders, caption)
    if (not category and not folder.options.category_from) or chosen is None:
        detail = 'no "class_name", and the key ends in no number'
        raise RejectedError("category_missing", detail)
    if chosen != category:
        category, category_rules = normalize_category(chosen)
    try:
        path, path_rules = find_image(name, fields.get("file_path"), raw_category, images, split)
    except RejectedError as error:
        if require_images or error.args[0] != "image_missing":
            raise
        path, path_rules = name, ()
    caption, caption_rules = normalize_described(caption, category)
    columns, left_out = extra_columns(unknown_fields(fields, _KNOWN))
    rules = [*path_rules, *category_rules, *caption_rules]
    folder_category, _ = normalize_category(PurePosixPath(path).parent.name)
    if not class_name:
        rules.append("category_from_key")
    elif "folder_joined_to_name" in path_rules and category != folder_category:
        rules.append("category_differs_from_folder")
    license, origin = extra["license"] or "unknown", f"{line.file}: {line.key}"
    return Record(
        id=line.key,
        image=folder.image(path),
        caption=caption,
        category=category,
        source=Source(path, license=license, origin=origin),
        meta_category=extra["meta_category"],
        group=extra["group"] or clip_group(path),
        split=split,
        negatives=tuple(Negative(text, "", "category") for text in normal),
        rules=(*rules, LEFT_OUT) if left_out else tuple(rules),
        extra=columns,
    )
