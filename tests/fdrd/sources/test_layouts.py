"""Every layout that people have builds to the same records, without options or with those that its error names."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layouts import LAYOUTS, PAIRS, put, put_images, table

from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.errors import FdrdError
from fdrd.images.check import read_image
from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.sources import READERS, find_domains, make_options, read_domain, unused_files

SPLITS = {"train": "train", "val": "validation", "test": "test"}


def read(root, **options):
    options = make_options(**options)
    domains = find_domains(root, options)
    items = [item for domain in domains for item in read_domain(root, domain)]
    return domains, items


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_the_same_records(tmp_path, name):
    layout = LAYOUTS[name]
    root = tmp_path / "raw"
    root.mkdir()
    layout.write(root, PAIRS)
    if layout.options:
        with pytest.raises(FdrdError) as raised:
            build(root, tmp_path / "out", workers=1)
        options = [f"--map {option}" for option in layout.options["columns"][:2]]
        assert all(option in str(raised.value) for option in options)
    domains, items = read(root, **layout.options)
    assert [domain.reader for domain in domains] == [layout.reader]
    assert [item for item in items if isinstance(item, Rejection)] == []
    found = {
        (read_image(str(root), item.image), item.caption, item.category, item.split)
        for item in items
    }
    assert found == {
        (
            pair.data,
            caption,
            pair.category if "category" in layout.has else "",
            SPLITS[pair.split] if "split" in layout.has else "",
        )
        for pair in PAIRS
        for caption in pair.captions[: layout.captions]
    }
    assert len({item.id for item in items}) == len(items) == len(found)
    photographers = (
        {pair.photographer for pair in PAIRS} if "photographer" in layout.has else {None}
    )
    assert {item.extra.get("photographer") for item in items} == photographers


def test_every_reader_of_captions_has_a_layout():
    tested = {layout.reader for layout in LAYOUTS.values()}
    assert tested == READERS.keys() - {"coop_splits", "sugar_crepe"}  # sugar_crepe: all for test


def test_attributes_of_cub_become_spans_where_the_caption_says_them(tmp_path):
    LAYOUTS["cub"].write(tmp_path, PAIRS)
    _, items = read(tmp_path)
    spans = [(span.type, span.value) for span in items[0].attributes]
    assert ("color", "red") in spans
    assert items[1].attributes == ()


def test_unused_annotations_are_named(tmp_path):
    LAYOUTS["coco"].write(tmp_path, PAIRS)
    LAYOUTS["flickr8k_captions_txt"].write(tmp_path, PAIRS)
    (tmp_path / "boxes.json").write_text("{}")
    domains, _ = read(tmp_path)
    why = dict(unused_files(tmp_path, domains))
    assert why["captions.txt"].endswith("the layout table reads this file instead")
    assert why["boxes.json"].startswith('it has no "positive" captions')


@pytest.mark.parametrize(
    "name", ["img2dataset_files", "img2dataset_webdataset", "img2dataset_parquet"]
)
def test_what_img2dataset_writes_is_read_with_any_column_as_category(tmp_path, name):
    LAYOUTS[name].write(tmp_path, PAIRS)
    domains, items = read(tmp_path, category_from="column:photographer")
    assert {item.category for item in items} == {pair.photographer for pair in PAIRS}
    assert list(unused_files(tmp_path, domains)) == []


def test_an_image_that_img2dataset_could_not_download_is_counted(tmp_path):
    (tmp_path / "raw").mkdir()
    LAYOUTS["img2dataset_parquet"].write(tmp_path / "raw", PAIRS)
    shard = tmp_path / "raw/00000.parquet"
    found = pq.read_table(shard)
    rows = [*found.to_pylist(), {"caption": "A lost bird.", "status": "failed_to_download"}]
    pq.write_table(pa.Table.from_pylist(rows, found.schema), shard)
    built = build(tmp_path / "raw", tmp_path / "out", workers=1)
    assert built.manifest.records.kept == len(PAIRS)
    assert built.manifest.rejected == {"image_missing": 1}


@pytest.mark.parametrize("name", ["img2dataset_files", "img2dataset_webdataset"])
def test_images_that_img2dataset_did_not_write_are_named(tmp_path, name):
    LAYOUTS[name].write(tmp_path, PAIRS)
    counts = {"count": 11, "successes": 8, "failed_to_download": 2, "failed_to_resize": 1}
    (tmp_path / "00000_stats.json").write_text(json.dumps(counts))
    (tmp_path / "00001_stats.json").write_text('{"failed_to_download": "1"')
    (found,) = unused_files(tmp_path, find_domains(tmp_path))
    assert found == (
        "*_stats.json (2 files)",
        "img2dataset failed to get 3 images; error_message in the .parquet beside it says why",
    )


def test_cub_without_captions_keeps_categories_and_splits(tmp_path):
    """The files that CUB's authors publish, for `fdrd caption`."""
    root = tmp_path / "raw"
    root.mkdir()
    LAYOUTS["cub"].write(root, PAIRS)
    shutil.rmtree(root / "text_c10")
    flags = "".join(f"{n} {int(p.split == 'train')}\n" for n, p in enumerate(PAIRS, 1))
    (root / "train_test_split.txt").write_text(flags)
    (domain,) = find_domains(root)
    items = list(read_domain(root, domain, require_captions=False))
    assert [(item.category, item.split, item.caption) for item in items] == [
        (pair.category, "train" if pair.split == "train" else "test", "") for pair in PAIRS
    ]
    message = r"8 caption_missing, .*`fdrd caption` and `fdrd view --review`"
    with pytest.raises(FdrdError, match=message):
        build(root, tmp_path / "out", workers=1)


def test_images_outside_the_source_are_refused_with_their_folder(tmp_path):
    (tmp_path / "lists").mkdir()
    put_images(tmp_path, PAIRS, "images/birds")
    rows = [[str(tmp_path / f"images/birds/{p.name}.png"), p.captions[0]] for p in PAIRS]
    put(tmp_path, "lists/train.csv", table([["filepath", "title"], *rows], "\t"))
    with pytest.raises(FdrdError) as raised:
        build(tmp_path / "lists", tmp_path / "out", workers=1)
    assert "8 path_outside" in str(raised.value)
    assert f"copy train.csv into {tmp_path}/images/birds and build that" in str(raised.value)
    (tmp_path / "lists/train.csv").rename(tmp_path / "images/birds/train.csv")
    built = build(tmp_path / "images/birds", tmp_path / "out", workers=1)
    assert built.manifest.records.kept == len(PAIRS)


def test_addresses_are_refused_with_the_tool_that_downloads_them(tmp_path):
    rows = [[f"https://example.org/{p.name}.jpg", p.captions[0]] for p in PAIRS]
    put(tmp_path, "raw/list.csv", table([["url", "caption"], *rows]))
    with pytest.raises(FdrdError, match="url has URLs: download the images with img2dataset"):
        find_domains(tmp_path / "raw")
    with pytest.raises(FdrdError, match=r"bird_00.jpg is a URL; download the images with img2data"):
        build(tmp_path / "raw", tmp_path / "out", workers=1, columns={"image": "url"})
    columns = {"URL": [row[0] for row in rows], "TEXT": [row[1] for row in rows]}
    (tmp_path / "laion").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "laion/part-0.parquet")
    with pytest.raises(FdrdError, match="URL has URLs: download the images with img2dataset"):
        find_domains(tmp_path / "laion")


def test_pascal_voc_is_refused_in_one_sentence(tmp_path):
    put_images(tmp_path, PAIRS, "JPEGImages")
    for pair in PAIRS:
        name = f"<object><name>{pair.category}</name></object>"
        put(tmp_path, f"Annotations/{pair.name}.xml", f"<annotation>{name}</annotation>")
    with pytest.raises(FdrdError) as raised:
        find_uncaptioned(tmp_path)
    assert str(raised.value).count(".xml") == 1
    assert "Not used: Annotations/*.xml (8 files): it lists objects (Pascal" in str(raised.value)


def test_linked_folders_and_other_image_formats_are_named(tmp_path):
    put_images(tmp_path, PAIRS, "elsewhere/wren")
    put_images(tmp_path, PAIRS[:1], "raw/robin")
    put(tmp_path, "raw/robin/bird_00.txt", "A robin.")
    for name in ("1.jxl", "2.jxl", "3.jxl", "4.jxl", "5.heic"):
        put(tmp_path, f"raw/robin/{name}", b"")
    (tmp_path / "raw/wren").symlink_to(tmp_path / "elsewhere/wren")
    domains = find_domains(tmp_path / "raw")
    assert dict(unused_files(tmp_path / "raw", domains)) == {
        "wren": "links to folders are not followed; move or copy the folder",
        "robin/*.jxl (4 files)": "JPEG XL is not read; convert it to PNG or JPEG",
        "robin/5.heic": "HEIC is not read; convert it to PNG or JPEG",
    }
