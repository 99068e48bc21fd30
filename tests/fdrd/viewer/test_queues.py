"""Queues of a review: what is likely wrong or mislabeled comes first, and judgments become rates."""

import json
import re
import shutil
from html import unescape
from urllib.parse import parse_qsl

import numpy as np
import pytest
from typer.testing import CliRunner

from fdrd.commands import app
from fdrd.curation.decisions import Decision, in_effect, reviewed_shares, value_flaw
from fdrd.pipeline.builder import build
from fdrd.viewer.mislabeled import likely_mislabeled


def form(page, **values):
    """Return the hidden fields of the record on a page."""
    hidden = re.findall(
        r'<input type="hidden" name="(record|digest|kind|item)" value="([^"]*)"', page
    )
    return {name: unescape(value) for name, value in hidden} | values


def left(page):
    return int(re.search(r"<strong>([\d,]+)</strong> of ([\d,]+) left", page)[1])


def test_a_planted_category_leads_the_queue_and_the_right_one_is_offered(
    drawn, tmp_path, open_site
):
    planted = {}
    shutil.copytree(drawn / "raw", tmp_path / "raw")
    file = next((tmp_path / "raw").rglob("metadata.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    names = sorted({line["category"] for line in lines if "category" in line})
    for line in lines[5::30]:
        planted[line["file_name"]] = line["category"]
        line["category"] = names[(names.index(line["category"]) + 1) % len(names)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    build(tmp_path / "raw", tmp_path / "set", workers=1)
    site = open_site(tmp_path / "set", review="labels")
    page = site.ready("/review", queue="mislabeled")
    record = site.context.library.current().record(form(page)["record"])
    assert record["file"] in planted
    assert f"looks like <bdi>{unescape(planted[record['file']])}" in unescape(page)
    before = left(page)
    assert before < 45
    site.post("/review/decide", **form(page, action="drop"))
    assert left(site.text("/review", queue="mislabeled")) == before - 1


def test_a_queue_shrinks_and_goes_back(copied, open_site):
    site = open_site(copied, review="back")
    first = site.text("/review")
    assert left(first) == 90
    assert "Previous" not in first
    assert "A record is decided, and leaves all queues, once you accept or drop it" in first
    site.post("/review/decide", **form(first, action="accept"))
    site.post("/review/decide", **form(first, action="comment", value="?"))
    second = site.text("/review")
    assert left(second) == 89
    previous = unescape(re.search(r'data-key="p" href="([^"]+)"', second)[1])
    assert form(site.text(previous))["record"] == form(first)["record"]
    skipped = unescape(re.search(r'data-key="s" href="([^"]+)"', second)[1])
    assert left(site.text(skipped)) == 89
    before = {form(each)["record"] for each in (first, second)}
    assert form(site.text(skipped))["record"] not in before


def test_the_hardest_query_comes_first(measured, open_site):
    site = open_site(measured / "set", results=[measured / "runs"], review="hard")
    runs, index = site.context.runs, site.context.library.current()
    hardest, boundary = (runs.missed(index, hardest=each) for each in (True, False))
    assert sorted(hardest.tolist()) == sorted(boundary.tolist())
    record = index.records([int(hardest[0])])[0]
    assert form(site.text("/review", queue="hardest"))["record"] == record["id"]
    ranks = [int(rank) for _, _, rank in runs.ranks_of(index, int(hardest[0]))]
    assert max(ranks) >= max(int(rank) for _, _, rank in runs.ranks_of(index, int(boundary[0])))


def test_negatives_are_judged_and_audited(copied, open_site):
    site = open_site(copied, review="judge", reviewer="ann")
    page = site.text("/review", queue="negatives")
    count = left(page)
    answers = [("yes", "yes", "no"), ("yes", "no", "no"), ("no", "yes", "yes")]
    for false, fluent, guessable in answers:
        page = site.text("/review", queue="negatives")
        fields = form(page, action="judge", false=false, fluent=fluent, guessable=guessable)
        assert fields["kind"] in ("category", "attribute")
        assert "saved=judge" in site.post("/review/decide", **fields).headers["location"]
    assert left(site.text("/review", queue="negatives")) == count - 3
    assert left(site.text("/review")) == 90
    untrue = fields
    record = site.context.library.current().record(untrue["record"])
    assert untrue["item"] in {each["caption"] for each in record["negatives"]}
    assert [each.action for each in site.context.review.of(record["id"])] == ["judge", "negative"]
    answer = site.post("/review/decide", **form(page, action="judge", false="yes"))
    location = answer.headers["location"]
    assert "judgment" in dict(parse_qsl(location.partition("?")[2]))["problem"]

    audit = ["audit", str(copied), "--no-text-only", "--no-card", "--json"]
    result = CliRunner().invoke(app, audit)
    reviewed = json.loads(result.stdout)["reviewed"]
    false = [each for each in reviewed if each["question"] == "false"]
    assert sum(each["answers"] for each in false) == 3
    assert sum(each["answers"] * each["yes"] for each in false) == pytest.approx(2)
    for each in reviewed:
        assert 0 <= each["interval"][0] <= each["yes"] <= each["interval"][1] <= 1
    site.post("/review/decide", action="undo")
    assert [each.action for each in site.context.review.of(record["id"])] == []


def test_the_last_judgment_counts_and_those_of_old_items_do_not():
    def judge(item, false, reviewer="ann"):
        value = {**FIT, "kind": "category", "item": item, "false": false, "guessable": False}
        return Decision("1", "d", reviewer, "2026-01-01T00:00:00Z", "judge", value)

    unfit = Decision(
        "1", "d", "ann", "2026-01-01T00:00:00Z", "judge", {"kind": "category", "item": "b"}
    )
    made = [judge("a", False), judge("a", True), judge("a", False, "bob"), judge("gone", True)]
    decisions = in_effect([*made, unfit])
    false, fluent, guessable = reviewed_shares(decisions, {"1": {"a", "b"}})
    assert false == ("category", "false", [1], [2])
    assert (fluent[2], guessable[2]) == ([2], [0])
    assert reviewed_shares(decisions, {}) == []


FIT = {"kind": "k", "item": "i", "false": True, "fluent": True, "guessable": True}
UNFIT = ({"false": 1}, {"item": "i" * 20_001}, {"kind": "k" * 1001}, {"item": []}, {"more": True})


@pytest.mark.parametrize("value", [None, "x", [], {}, *(FIT | change for change in UNFIT)])
def test_an_unfit_judgment_is_none(value):
    assert value_flaw("judge", value)
    assert not value_flaw("judge", FIT)


def test_natural_pairs_are_judged_where_the_dataset_has_them(draw, write, tmp_path, open_site):
    for number in range(12):
        color = ("red", "blue")[number % 2]
        write(f"test/plane/{number}.png", draw(number))
        caption = f"A plane with a {color} tail beside shed {number // 2}."
        write(f"test/plane/{number}.txt", caption)
    built = build(tmp_path / "raw", tmp_path / "set", workers=1)
    pairs = {row["id"]: row["natural_pairs"] for row in built["test"]}
    site = open_site(tmp_path / "set", review="pairs")
    page = site.text("/review", queue="pairs")
    fields = form(page, action="judge", false="no", fluent="yes", guessable="no")
    assert {"kind": "attribute", "id": fields["item"]} in pairs[fields["record"]]
    assert fields["kind"] == "natural attribute pair"
    site.post("/review/decide", **fields)
    assert [each.action for each in site.context.review.of(fields["record"])] == ["judge"]
    assert left(site.text("/review", queue="pairs")) == left(page) - 1


def clusters(classes=8, each=15, d=16, spread=0.4):
    """Images around one center per class: features, and the class of each."""
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each).astype(np.int32)
    centers = chance.normal(size=(classes, d))
    return (centers[labels] + spread * chance.normal(size=(len(labels), d))).astype(
        np.float32
    ), labels


def found(vectors, image, category, groups=None):
    domain = np.zeros(len(image), np.int32)
    names = [str(n) for n in image] if groups is None else groups
    return likely_mislabeled(vectors, np.asarray(image, np.int32), category, domain, names)


def test_planted_labels_come_first_with_the_right_one():
    vectors, labels = clusters()
    wrong = labels.copy()
    planted = [3, 40, 77, 101]
    wrong[planted] = (labels[planted] + 3) % 8
    rows, better = found(vectors, np.arange(len(labels)), wrong)
    assert sorted(rows[:4].tolist()) == planted
    assert better[:4].tolist() == labels[rows[:4]].tolist()
    assert len(found(vectors, np.arange(len(labels)), labels)[0]) == 0


def test_an_image_with_two_categories_comes_before_all_others():
    vectors, labels = clusters()
    image, category = (
        np.append(np.arange(120), 50),
        np.append(labels, (labels[50] + 1) % 8).astype(np.int32),
    )
    category[7] = (labels[7] + 2) % 8
    rows, better = found(vectors, image, category)
    assert rows.tolist() == [50, 120, 7]
    assert better.tolist() == [-1, -1, labels[7]]


@pytest.mark.parametrize("each", [2, 3])
def test_a_category_of_few_images_is_not_judged(each):
    vectors, labels = clusters(classes=2, each=10)
    chance = np.random.default_rng(1)
    vectors = np.concatenate(
        [vectors, vectors[:each] + 0.01 * chance.normal(size=(each, 16)).astype(np.float32)]
    )
    category = np.append(labels, [2] * each).astype(np.int32)
    rows, _ = found(vectors, np.arange(len(category)), category)
    assert bool(set(rows.tolist()) & set(range(20, 20 + each))) == (each >= 3)
