"""Bad input for the readers of public annotation formats: every annotation is a record or a rejection."""

import json
import tracemalloc
import zipfile

import pytest
from layouts import LAYOUTS, PAIRS, put_images

from fdrd.pipeline.builder import build
from fdrd.reasons import Rejection
from fdrd.sources import find_domains, read_domain
from fdrd.sources.reading.lines import stream_elements
from fdrd.sources.reading.source_folder import SourceFolder
from fdrd.storage.manifest import RecordCounts


def outcomes(root):
    return [
        item.reason if isinstance(item, Rejection) else item.caption
        for domain in find_domains(root)
        for item in read_domain(root, domain)
    ]


def test_coco_accounts_for_every_annotation_and_image(tmp_path, write, draw):
    for number in range(3):
        write(f"val2017/{number}.png", draw(number))
    names = ["0.png", "1.png", "2.png", "9.png", "../0.png", "/etc/0.png"]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    images += [{"id": 0, "file_name": "1.png"}, {"file_name": "2.png"}, 7]
    texts = [(0, "A."), (0, "B."), (1, 5), (3, "C."), (4, "D."), (5, "E."), (77, "F."), ([], "G.")]
    annotations = [{"id": n, "image_id": i, "caption": c} for n, (i, c) in enumerate(texts)]
    write("annotations/captions_val2017.json", {"images": images, "annotations": [*annotations, 3]})
    of_annotations = (
        "bad_field image_missing path_outside path_outside image_missing image_missing bad_field"
    )
    of_images = "duplicate_id bad_field bad_field caption_missing"
    expected = ["A.", "B.", *of_annotations.split(), *of_images.split()]
    assert sorted(outcomes(tmp_path / "raw")) == sorted(expected)
    built = build(tmp_path / "raw", tmp_path / "out", workers=1).manifest
    assert built.records == RecordCounts(13, 2, 11)


@pytest.mark.parametrize("text", ["annotations first", "utf-16", "bom"])
def test_coco_in_other_orders_and_encodings(tmp_path, write, draw, text):
    write("val2017/0.png", draw(0))
    parts = {
        "images": [{"id": 1, "file_name": "0.png"}],
        "annotations": [{"id": 1, "image_id": 1, "caption": "A wren."}],
    }
    if text == "annotations first":
        parts = dict(reversed(parts.items()))
    encoding = {"utf-16": "utf-16", "bom": "utf-8-sig"}.get(text, "utf-8")
    write("annotations/captions_val2017.json", json.dumps(parts).encode(encoding))
    assert outcomes(tmp_path / "raw") == ["A wren."]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bird_00.png#0\tA wren.", "A wren."),
        ("bird_00.png A wren.", "bad_field"),
        ("gone.png#0\tA wren.", "image_missing"),
        ("../bird_00.png#0\tA.", "path_outside"),
        (b"bird_00.png#0\tA \xff.", "unreadable_annotations"),
    ],
)
def test_lines_of_tokens_are_records_or_rejections(tmp_path, line, expected):
    LAYOUTS["flickr30k_token"].write(tmp_path, PAIRS[:1])
    with (tmp_path / "results_20130124.token").open("ab") as file:
        file.write(line if isinstance(line, bytes) else line.encode())
    assert outcomes(tmp_path)[2:] == [expected]


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"image": "img/bird_00.png", "caption": [{"raw": "A wren."}]}, "A wren."),
        ({"image": "img/bird_00.png", "caption": 3}, "bad_field"),
        ({"image": 3, "caption": "A."}, "bad_field"),
        ({"image": "/etc/bird_00.png", "caption": "A."}, "path_outside"),
        ({"image": "img/bird_00.png", "conversations": [{"from": "human"}]}, "caption_missing"),
        (5, "bad_field"),
    ],
)
def test_elements_of_json_lists_are_records_or_rejections(tmp_path, element, expected):
    put_images(tmp_path, PAIRS[:1], "img")
    first = {"image": "img/bird_00.png", "caption": "The first."}
    (tmp_path / "list.json").write_text(json.dumps([first, element]))
    assert outcomes(tmp_path) == ["The first.", expected]


@pytest.mark.parametrize(
    "tail", ["", ', {"image": "x"', ', {"image": "img/bird_00.png", "image": "y"}]']
)
def test_a_broken_json_list_keeps_what_comes_before(tmp_path, tail):
    put_images(tmp_path, PAIRS[:1], "img")
    first = json.dumps({"image": "img/bird_00.png", "caption": "The first."})
    (tmp_path / "list.json").write_text(f"[{first}{tail}")
    reason = "bad_field" if tail.endswith("]") else "unreadable_annotations"
    assert outcomes(tmp_path) == ["The first.", reason]


def test_members_of_an_archive_that_cannot_be_read_are_rejected(tmp_path):
    LAYOUTS["zip_of_a_deflated_folder"].write(tmp_path, PAIRS)
    with zipfile.ZipFile(tmp_path / "birds.zip", "a") as archive:
        archive.writestr("../outside.png", b"x")
        archive.writestr("/etc/outside.png", b"x")
        link = zipfile.ZipInfo("birds/wren/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("birds/wren/odd.png", b"x", zipfile.ZIP_BZIP2)
    (domain,) = find_domains(tmp_path)
    source = SourceFolder(tmp_path)
    refused = [each.reason for archive in source.archives.values() for each in archive.refused]
    wanted = ["not_a_file", "path_outside", "path_outside", "unreadable_annotations"]
    assert sorted(refused) == wanted
    items = read_domain(tmp_path, domain)
    assert sum(not isinstance(item, Rejection) for item in items) == 16


def test_json_is_streamed_in_bounded_memory(tmp_path):
    row = json.dumps({"image": "x" * 200, "caption": "A wren on a branch. " * 40})
    with (tmp_path / "big.json").open("w") as file:
        file.write("[" + ",".join([row] * 20_000) + "]")
    assert (tmp_path / "big.json").stat().st_size > 20_000_000
    tracemalloc.start()
    count = sum(1 for _ in stream_elements(SourceFolder(tmp_path), "big.json"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_000_000
