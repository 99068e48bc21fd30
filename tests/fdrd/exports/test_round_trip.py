"""A build of an export has the records of the dataset that was exported; a full disk ends an export in one line."""

import json

import pytest

import fdrd
from fdrd.errors import FdrdError
from fdrd.exports import FORMATS, format_module
from fdrd.kinds import kind_of
from tests.command import run_fdrd
from tests.folders import caches_in, digests
from tests.scenes import image_bytes

READ_BACK = ("parquet", "jsonl", "imagefolder", "webdataset", "coco", "karpathy")


@pytest.fixture(scope="module")
def shared_birds(tmp_path_factory):
    """Return a built dataset with all splits. Captions have spans, negatives and signs of any script."""
    folder = tmp_path_factory.mktemp("birds")
    number = 0
    for domain in ("garden", "shore"):
        lines = []
        for split in ("train", "validation", "test"):
            for category in ("house wren", "robin"):
                number += 1
                suffix, form = (("png", "PNG"), ("jpg", "JPEG"))[number % 2]
                path = folder / "raw" / domain / "images" / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image_bytes(number, form=form))
                for caption in (
                    f"A red {category}, “no. {number}”, é\u4e2d.",
                    f"A small {category} {number}.",
                ):
                    lines.append({"file_name": f"images/{path.name}", "caption": caption})
                    lines[-1] |= {"category": category, "split": split, "license": "CC0-1.0"}
                    lines[-1] |= {"meta_category": "songbird", "photographer": "Ann", "year": 1999}
        text = "\n".join(map(json.dumps, lines))
        (folder / "raw" / domain / "metadata.jsonl").write_text(text)
    with caches_in(folder):
        fdrd.build(folder / "raw", folder / "data", workers=1)
    return folder / "data"


def records(folder):
    """Return the records of all splits, without their paths."""
    found = []
    for split in ("train", "validation", "test"):
        view = fdrd.load(folder).view(split)
        for row in view.records(range(len(view))):
            source = row.pop("source")
            kept = {**row, "split": split, "image": source["sha256"], "license": source["license"]}
            found.append(json.dumps(kept, sort_keys=True))
    return sorted(found)


@pytest.mark.parametrize("form", READ_BACK)
def test_an_export_is_built_to_the_same_records(shared_birds, tmp_path, form):
    fdrd.export(shared_birds, tmp_path / "out", to=form)
    fdrd.build(tmp_path / "out", tmp_path / "again", workers=1)
    wanted = records(shared_birds)
    assert len(wanted) == 24
    assert records(tmp_path / "again") == wanted
    assert (tmp_path / "again/rejected.jsonl").read_text() == ""


def test_pairs_without_a_category_stay_without_one(tmp_path, uncategorized):
    fdrd.build(uncategorized, tmp_path / "data", workers=1)
    for form in FORMATS:
        out = tmp_path / form
        fdrd.export(tmp_path / "data", out, to=form)
        if form in READ_BACK:
            fdrd.build(out, tmp_path / f"{form} again", workers=1)
            view = fdrd.load(tmp_path / f"{form} again").view("test")
            assert (len(view), set(view.row_category.tolist())) == (8, {-1})


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_dataset_gives_the_same_bytes_of_a_known_kind(shared_birds, tmp_path, form):
    one, two = tmp_path / "one", tmp_path / "two"
    for out in (one, two):
        fdrd.export(shared_birds, out, to=form)
    assert digests(one) == digests(two)
    assert len(digests(one)) >= 6
    assert format_module(form).NOT_CARRIED.endswith(".")
    kinds = {"webdataset": "webdataset"} | dict.fromkeys(
        ("fiftyone", "label-studio", "mteb"), "export"
    )
    assert kind_of(one) == kinds.get(form, "source")


def test_an_unknown_format_and_a_task_for_another_format_are_errors(shared_birds, tmp_path):
    with pytest.raises(FdrdError, match="unknown export format 'zip'; choose from parquet"):
        fdrd.export(shared_birds, tmp_path / "out", to="zip")  # type: ignore[arg-type]
    with pytest.raises(FdrdError, match="is for `to` webdataset"):
        fdrd.export(shared_birds, tmp_path / "out", to="coco", task="zeroshot_classification")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_not_carried_over(shared_birds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_fdrd("export", shared_birds, "coco", "--to", "coco")
    assert code == 0, err
    assert "Wrote coco. Not carried over: File names are replaced by digests" in err
    assert out.split()[:4] == ["domain", "split", "images", "captions"]
    assert (tmp_path / "coco/shore/annotations/captions_val.json").is_file()


@pytest.mark.parametrize("form", [*FORMATS, "sample"])
def test_a_full_disk_ends_a_command_in_one_line(form, built_birds, tmp_path, small_disk):
    out = tmp_path / "full" / "out"
    command = ("export", built_birds.out, out, "--to", form)
    if form == "sample":
        command = ("sample", out, "--categories", 2, "--pairs", 8, "--workers", 1)
    with small_disk(300):
        code, _, told = run_fdrd(*command)
    errors = [line for line in told.splitlines() if line.startswith("fdrd:")]
    assert (code, len(errors)) == (2, 1), told
    assert f"{out}: File too large; free some space" in errors[0]
    assert not list(out.parent.iterdir())
