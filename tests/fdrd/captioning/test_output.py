"""Images without a caption are found; what a build makes of the captioned source, and what it must not change."""

import hashlib
import io
import json
import shutil
import zipfile

import pytest
from layouts import LAYOUTS, PAIRS

from fdrd.captioning import CaptionSettings, caption
from fdrd.captioning.output import check_out
from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of
from fdrd.pipeline.builder import build
from fdrd.storage.manifest import RecordCounts
from fdrd.storage.shards import read_records
from tests.folders import digests

TEXT = "A small brown {category} sits on a mossy post."


def caption_from_template(source, out, text=TEXT):
    return caption(source, out, captioner="template", options={"text": text})


@pytest.fixture
def source(write, draw, tmp_path):
    """Two domains: one with splits, groups, a license and a caption, and one with images only."""
    for number in range(12):
        split = ("train", "test")[number % 3 == 0]
        write(f"birds/{split}/{('wren', 'robin')[number % 2]}/{number}.png", draw(number))
    robin = {"license": "CC0-1.0", "meta_category": "songbird", "photographer": "Ann"}
    wren = {"caption": "A wren that has its caption."}
    lines = [
        {"file_name": "train/robin/1.png", "group": "nest 1", **robin},
        {"file_name": "train/wren/2.png", "group": "nest 1", **wren},
    ]
    write("birds/metadata.jsonl", "\n".join(map(json.dumps, lines)))
    write("birds/domain.toml", 'citation = "@misc{birds}"\n')
    for number in range(20, 32):
        write(f"cats/{('pug_cat', 'tabby')[number % 2]}/{number}.png", draw(number))
    return tmp_path / "raw"


def test_a_build_keeps_every_image_and_all_information_of_the_source(source, tmp_path):
    done = caption_from_template(source, tmp_path / "captioned")
    assert (done.summary["kept"], done.summary["copied"]) == (23, 1)
    built = build(tmp_path / "captioned", tmp_path / "data", workers=1)
    assert built.manifest.records == RecordCounts(24, 24, 0)
    records = {record.id: record for record in read_records(tmp_path / "data", built.manifest)}
    one = records["birds/train/robin/1.png"]
    found = (one.group, one.source.license, one.meta_category, one.split)
    assert found == ("nest 1", "CC0-1.0", "songbird", "train")
    assert one.extra == {"photographer": "Ann"}
    assert one.caption == "A small brown robin sits on a mossy post."
    assert records["birds/train/wren/2.png"].caption == "A wren that has its caption."
    cats = {record.category for record in records.values() if record.domain == "cats"}
    assert cats == {"pug cat", "tabby"}
    assert records["birds/test/wren/0.png"].split == "test"
    assert "@misc{birds}" in (tmp_path / "data" / "manifest.json").read_text()


def test_the_same_run_writes_the_same_bytes_and_does_not_change_the_source(source, tmp_path):
    before = digests(source)
    caption_from_template(source, tmp_path / "one")
    caption_from_template(source, tmp_path / "two")
    first = digests(tmp_path / "one")
    assert digests(tmp_path / "two") == first
    caption_from_template(source, tmp_path / "one")
    assert digests(tmp_path / "one") == first
    assert digests(source) == before


def test_images_that_left_the_source_leave_the_captioned_source(source, tmp_path):
    caption_from_template(source, tmp_path / "captioned")
    (tmp_path / "captioned/cats/own.png").write_bytes(b"of the user")
    shutil.rmtree(source / "birds")
    for name in ("23.png", "25.png"):
        (source / "cats/tabby" / name).unlink()
    done = caption_from_template(source, tmp_path / "captioned")
    caption_from_template(source, tmp_path / "fresh")
    assert done.removed == 14
    found = digests(tmp_path / "captioned")
    assert found.pop("cats/own.png") == hashlib.sha256(b"of the user").hexdigest()
    assert found == digests(tmp_path / "fresh")


def test_annotations_of_an_earlier_run_remove_nothing_outside_the_output(source, tmp_path):
    caption_from_template(source, tmp_path / "captioned")
    (tmp_path / "own.png").write_bytes(b"of the user")
    (tmp_path / "captioned/cats/link.png").symlink_to(tmp_path / "own.png")
    places = ["../../own.png", str(tmp_path / "own.png"), "link.png", "..", "\0", 7]
    entries = {str(number): {"file_path": place} for number, place in enumerate(places)}
    (tmp_path / "captioned/cats/captions_old.json").write_text(json.dumps(entries))
    (tmp_path / "captioned/cats/captions_odd.json").write_text("[")
    assert caption_from_template(source, tmp_path / "captioned").removed == 0
    assert (tmp_path / "own.png").read_bytes() == b"of the user"


def test_a_rejected_image_is_listed_with_reason_and_draft_from_template(source, tmp_path):
    done = caption_from_template(
        source, tmp_path / "captioned", "A {category} can be seen in the image."
    )
    assert done.summary["rejected"] == {"meta_talk": 23}
    lines = (tmp_path / "captioned" / "cats" / "rejected_captions.jsonl").read_text().splitlines()
    assert len(lines) == 12
    first = json.loads(lines[0])
    assert (first["reason"], first["image"]) == ("meta_talk", "pug_cat/20.png")
    caption_from_template(source, tmp_path / "captioned")
    assert not list((tmp_path / "captioned").rglob("rejected_captions.jsonl"))


def test_a_sample_hardly_changes_when_images_are_added(source, tmp_path, write, draw):
    few = set(find_uncaptioned(source).sample(5))
    assert len(few) == 5
    write("cats/tabby/99.png", draw(99))
    assert len(few & set(find_uncaptioned(source).sample(6))) >= 5
    settings = CaptionSettings(sample=5)
    run = caption(source, tmp_path / "captioned", captioner="template", settings=settings)
    assert run.summary["images"] == 5


@pytest.mark.parametrize("captioner", ["template", "reader"])
def test_each_member_of_a_zip_has_its_own_caption(write, draw, tmp_path, captioner):
    names = [f"{('wren', 'robin')[number % 2]}/{number}.png" for number in range(6)]
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, draw(number))
    source = write("birds/images.zip", data.getvalue()).parents[1]
    texts = [f"A {name[:-6]} on mossy post {number}." for number, name in enumerate(names)]
    rows = [{"file_name": name, "caption": text} for name, text in zip(names, texts, strict=True)]
    table = write("../captions.jsonl", "\n".join(map(json.dumps, rows)))
    options = {"text": TEXT} if captioner == "template" else {"file": str(table)}
    done = caption(source, tmp_path / "captioned", captioner=captioner, options=options)
    assert (done.summary["kept"], done.summary["rejected"]) == (6, {})
    built = build(tmp_path / "captioned", tmp_path / "data", workers=1)
    found = {
        (record.source.sha256, record.id, record.caption)
        for record in read_records(tmp_path / "data", built.manifest)
    }
    if captioner == "template":
        texts = [TEXT.format(category=name[:-6]) for name in names]
    assert found == {
        (hashlib.sha256(draw(number)).hexdigest(), f"birds/{name}", text)
        for number, (name, text) in enumerate(zip(names, texts, strict=True))
    }


def test_two_images_with_one_key_are_refused_before_anything_is_asked(write, draw, tmp_path):
    for number in range(2):
        write(f"{number}.png", draw(number))
    rows = [{"file_name": f"{number}.png", "id": 7, "category": "wren"} for number in range(2)]
    write("metadata.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(FdrdError, match=r"metadata.jsonl: line 2 have the id '7'"):
        caption_from_template(tmp_path / "raw", tmp_path / "captioned")
    assert not list(tmp_path.glob("captioned/*/captions*"))


def test_images_outside_the_source_are_not_copied(source, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    for name in ("link", "described"):
        (source / "cats" / "tabby" / f"{name}.png").symlink_to(secret)
    (source / "cats" / "tabby" / "described.txt").write_text("A tabby with a caption of its own.")
    done = caption_from_template(source, tmp_path / "captioned")
    assert (done.summary["not_examined"], done.summary["copied"]) == (1, 2)
    assert hashlib.sha256(b"secret").hexdigest() not in digests(tmp_path / "captioned").values()


def test_a_folder_with_other_files_is_refused(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(FdrdError, match=r"captioning\.json"):
        check_out(tmp_path / "mine", source)
    for inside in (source, source / "captioned"):
        with pytest.raises(FdrdError, match="inside the source"):
            check_out(inside, source)
    check_out(tmp_path / "new", source)
    # A captioned source removes images of earlier runs, and these would be the user's own.
    (tmp_path / "captioning.json").write_text("{}")
    with pytest.raises(FdrdError, match="choose another --out"):
        check_out(tmp_path, source)


def test_a_second_run_into_the_folder_is_refused_before_it_asks(source, tmp_path):
    refused = []

    def second(stage, *_):
        if stage.startswith("Captions") and not refused:
            with pytest.raises(FdrdError, match="another process is writing") as error:
                caption_from_template(source, tmp_path / "out", "A {category}.")
            refused.append(error.value)

    options = {"text": TEXT}
    caption(source, tmp_path / "out", captioner="template", options=options, progress=second)
    caption_from_template(source, tmp_path / "alone")
    assert refused
    assert digests(tmp_path / "out") == digests(tmp_path / "alone")
    assert kind_of(tmp_path / "out") == "captions"
    assert list(tmp_path.glob(".*")) == []


def test_folders_that_are_not_categories_are_refused(tmp_path, write, draw):
    for number in range(3):
        write(f"val2017/{number}.png", draw(number))
    write("boxes.csv", "bild,beschreibung\nval2017/1.png,A small wren.\n")
    with pytest.raises(FdrdError) as raised:
        find_uncaptioned(tmp_path / "raw")
    assert "3 of 3 images have no category" in str(raised.value)
    assert "Not used: boxes.csv: " in str(raised.value)
    assert "--map image=bild --map caption=beschreibung" in str(raised.value)
    write("domain.toml", 'category = "bird"')
    assert find_uncaptioned(tmp_path / "raw").categories == {"raw": ("bird",)}


def test_a_captioned_source_needs_no_captions(tmp_path):
    LAYOUTS["coco"].write(tmp_path, PAIRS)
    with pytest.raises(FdrdError, match="every image has a caption"):
        find_uncaptioned(tmp_path)


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path, birds, monkeypatch):
    (birds / "metadata.jsonl").unlink()
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FDRD_CACHE", str(tmp_path / "file/cache"))
    assert len(find_uncaptioned(birds).images) == 48


def test_an_image_that_changed_after_its_check_is_not_sent(birds):
    (birds / "metadata.jsonl").unlink()
    one, two, *_ = find_uncaptioned(birds).images
    (birds / one.path).write_bytes((birds / two.path).read_bytes())
    two.load()
    with pytest.raises(OSError, match="changed since it was checked; run the command again"):
        one.load()
