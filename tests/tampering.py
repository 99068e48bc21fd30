"""A small dataset, ways to damage it, and every command that reads one, run in this process."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import convert

from fdrd.files.atomic import sha256_of
from fdrd.pipeline.builder import build
from fdrd.storage.manifest import Shard, digest_of_shards
from tests.command import run_fdrd
from tests.hostile import png
from tests.scenes import image_bytes


def build_small(folder):
    """Build a dataset of 24 pairs in three splits, with negatives and attributes; return its folder."""
    lines = []
    for number in range(24):
        split = ("train", "train", "validation", "test")[number % 4]
        category = ("wren", "robin")[number // 4 % 2]
        path = folder / "raw" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number))
        caption = f"A small brown {category} sits on branch {number}."
        line = {"file_name": path.name, "caption": caption, "category": category, "split": split}
        lines.append({**line, "license": "CC0-1.0"})
    (folder / "raw/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return build(folder / "raw", folder / "out", workers=1).out


def read_table(path):
    if path.suffix == ".parquet":
        return pq.read_table(path)
    return pa.ipc.open_stream(path.read_bytes()).read_all()


def write_table(path, table):
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def shard_of(folder, split="test"):
    """Return the path of the shard of a split."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return next(folder / each["path"] for each in manifest["shards"] if each["split"] == split)


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


def recompute(folder):
    """Make manifest and croissant.json fit to the shards, as somebody would who hides a change."""

    def update(manifest):
        for shard in manifest["shards"]:
            path = folder / shard["path"]
            shard.update(sha256=sha256_of(path), bytes=path.stat().st_size)
        manifest["digest"] = digest_of_shards(convert(manifest["shards"], list[Shard]))
        croissant = json.loads((folder / "croissant.json").read_bytes())
        digests = {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
        for each in croissant["distribution"]:
            if each.get("contentUrl") in digests:
                each["sha256"] = digests[each["contentUrl"]]
        (folder / "croissant.json").write_text(json.dumps(croissant))

    edit_manifest(folder, update)


def rewrite(folder, change, split="test"):
    """Change the rows of a shard, and recompute all digests."""
    path = shard_of(folder, split)
    table = read_table(path)
    rows = table.to_pylist()
    change(rows)
    write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
    recompute(folder)


def with_table(change):
    """Return a damage that replaces the table of the test shard."""

    def damage(folder):
        path = shard_of(folder)
        write_table(path, change(read_table(path)))
        recompute(folder)

    return damage


def with_row(change):
    """Return a damage that changes the first row of the test shard."""
    return lambda folder: rewrite(folder, lambda rows: change(rows[0]))


def with_image(data):
    """Return a damage that replaces an image; its digest fits."""

    def change(row):
        row["image"]["bytes"] = data
        row["source"]["sha256"] = hashlib.sha256(data).hexdigest()

    return with_row(change)


def bomb():
    """Return a PNG of a few bytes that claims 3,600 million pixels."""
    return png(60_000, 60_000, b"\0")


def replaced_by(make):
    def damage(folder):
        path = shard_of(folder)
        path.unlink()
        make(path)

    return damage


def bad_text(table):
    """Return a table whose first caption is not UTF-8."""
    captions = [each.encode() for each in table["caption"].to_pylist()]
    column = pa.array([b"\xff\xfe", *captions[1:]], pa.binary()).view(pa.string())
    return table.set_column(
        table.schema.get_field_index("caption"), table.schema.field("caption"), column
    )


def as_binary(table):
    column = table["caption"].cast(pa.binary())
    return table.set_column(table.schema.get_field_index("caption"), "caption", column)


def zeros(folder):
    path = shard_of(folder)
    path.write_bytes(bytes(path.stat().st_size))
    recompute(folder)


OF_FILES = {
    "missing": replaced_by(lambda path: None),
    "truncated": lambda folder: shard_of(folder).write_bytes(shard_of(folder).read_bytes()[:-50]),
    "empty": lambda folder: shard_of(folder).write_bytes(b""),
    "a folder": replaced_by(lambda path: path.mkdir()),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "zeros": zeros,
}
OF_ROWS = {
    "a column is missing": with_table(lambda table: table.drop_columns(["negatives"])),
    "a column of another type": with_table(as_binary),
    "a column of the manifest only": lambda folder: edit_manifest(
        folder, lambda found: found.setdefault("columns", {}).update(year="int64")
    ),
    "text that is not UTF-8": with_table(bad_text),
    "fewer rows": lambda folder: rewrite(folder, lambda rows: rows.pop()),
    "caption null": with_row(lambda row: row.update(caption=None)),
    "source null": with_row(lambda row: row.update(source=None)),
    "digest null": with_row(lambda row: row["source"].update(sha256=None)),
    "negatives null": with_row(lambda row: row.update(negatives=None)),
    "a negative null": with_row(lambda row: row["negatives"].append(None)),
    "image null": with_row(lambda row: row.update(image=None)),
    "image bytes null": with_row(lambda row: row["image"].update(bytes=None)),
    "label too high": with_row(lambda row: row.update(category=99)),
    "label just too high": with_row(lambda row: row.update(category=2)),
    "label negative": with_row(lambda row: row.update(category=-7)),
    "digest is a path": with_row(lambda row: row["source"].update(sha256="../../../../escaped")),
    "domain is a path": with_row(lambda row: row.update(domain="../../escaped")),
    "a natural pair null": with_row(lambda row: row.update(natural_pairs=[None])),
    "a natural pair of unknown kind": with_row(
        lambda row: row.update(natural_pairs=[{"kind": "x", "id": "y"}])
    ),
    "a negative of unknown kind": with_row(
        lambda row: row.update(negatives=[{"caption": "A.", "category": "", "kind": "x"}])
    ),
}
OF_IMAGES = {
    "digest of another image": with_row(lambda row: row["source"].update(sha256="0a" * 32)),
    "image does not decode": with_image(b"<svg/>"),
    "image ends early": with_image(image_bytes(200)[:-40]),
    "image bomb": with_image(bomb()),
}
DAMAGES = {**OF_FILES, **OF_ROWS, **OF_IMAGES}

MODEL = " --backbone {backbone}"
COMMANDS = {
    "validate": "validate {data}",
    "validate --images": "validate {data} --images",
    "stats": "stats {data} --json",
    "audit": "audit {data} --no-text-only",
    "export jsonl": "export {data} {out} --to jsonl",
    "export webdataset": "export {data} {out} --to webdataset",
    "bench": "bench {data} --method zero_shot --results {out}" + MODEL,
    "features": "export {data} {out} --to features" + MODEL,
    "search": "search {data} wren --json" + MODEL,
    "push": "push {data} --repo-id org/x --dry-run",
}


def run(command, data, out, backbone):
    """Run a command as `main` does; return exit code, stdout and stderr. A traceback is raised."""
    paths = {"data": data, "out": out, "backbone": backbone}
    return run_fdrd(*(part.format(**paths) for part in COMMANDS[command].split()))
