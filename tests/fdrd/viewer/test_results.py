"""Results in the viewer: the queries are the records that were measured, and the top ten agrees with the ranks."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.checkpoint import untrained_method
from benchmark.models.loading import cached_backbone
from benchmark.rank_metrics import DIRECTIONS
from fdrd import load
from fdrd.dataset import load_view, rows_digest
from fdrd.viewer.index import open_index
from fdrd.viewer.meaning import WaitingError
from fdrd.viewer.results import Runs, false_caption


@pytest.fixture
def runs(measured):
    return Runs([measured / "runs"])


def test_the_queries_are_the_records_that_were_measured(runs, measured):
    index = open_index(measured / "set")
    dataset = load_view(measured / "set", "test")
    queries = runs.queries(index, 0)
    records = index.records(queries.rows.tolist())
    assert rows_digest(index.texts(queries.rows)) == dataset.fingerprint
    assert [record["id"] for record in records] == dataset.ids
    assert [index.records([int(row)])[0]["image"] for row in queries.first] == dataset.image_digests


def test_the_top_ten_agrees_with_the_ranks(runs, measured):
    index = open_index(measured / "set")
    queries = runs.queries(index, 0)
    for place in range(2):
        top = runs.top(index, 0, place)
        while isinstance(top, WaitingError):
            time.sleep(0.05)
            top = runs.known_top(0, place)
        by_image, by_row = (runs.ranks(0, direction)[place][1] for direction in DIRECTIONS)
        for row, images in enumerate(top.images):
            found = np.flatnonzero(images == queries.image_of_row[row])
            assert len(found) == 1 or by_row[row] > 10
            if len(found):  # a tie counts against the method, so its rank may be worse
                assert found[0] + 1 <= by_row[row]
        for image, rows in enumerate(top.captions):
            right = np.flatnonzero(queries.image_of_row[rows] == image)
            assert len(right) == (by_image[image] <= 10) or by_image[image] > 10


def test_the_pages_of_results_answer(measured, open_site):
    site = open_site(measured / "set", results=[measured / "runs"])
    page = site.text("/results", sort=5)
    assert page.count("<svg") >= 6
    assert "no difference shown" in page or "better" in page or "worse" in page
    assert "Explore queries" in page
    assert site.text("/results/plot.svg", name="recall-text_to_image").startswith("<svg")
    assert site.ask("/results/plot.pdf?name=recall-text_to_image").status == 200
    assert site.ask("/results/plot.exe?name=recall-text_to_image").status == 404
    for show in ("a-not-b", "b-not-a", "neither", "both", "all"):
        assert "Queries" in site.text("/results/queries", show=show, k=5, direction="image_to_text")
    assert "rank" in site.text("/results/query", n=2)
    assert "not measured" in site.text("/results", against="none-such")


def test_the_negatives_that_fool_a_method_are_those_that_score_at_least_as_high(runs, measured):
    index = open_index(measured / "set")
    false = runs.false_captions(index, 0)
    method = untrained_method("zero_shot", cached_backbone("embedded"))
    place = [label for label, _ in false.methods].index("zero_shot")
    images = {row["id"]: row["image"] for row in load(measured / "set", "test")}
    assert len(false.rows) > 10
    for n, row in enumerate(false.rows.tolist()):
        record = index.records([row])[0]
        text = false_caption(index, false, n, record)
        with torch.no_grad():
            texts = method.encode_text([record["caption"], text])
            true, wrong = method.similarity(method.encode_image([images[record["id"]]]), texts)[0]
        fooled = false.fooled[place, n] == 1
        assert ("zero_shot" in false.fools(n)) == bool(true <= wrong) == fooled


def test_negatives_are_listed_by_the_methods_that_they_fool(measured, open_site):
    """One negative is made to fool both methods, all others none, in one kind of many."""
    site = open_site(measured / "set", results=[measured / "runs"], review="fooled")
    index, runs = site.context.library.current(), site.context.runs
    false = runs.false_captions(index, 0)
    (both, one), zero = (2, 5), np.zeros_like(false.fooled)
    zero[:, both], zero[0, one] = 1, 1
    changed = replace(false, fooled=zero)
    runs.false_captions = lambda index, number: changed
    assert changed.most_fooling().tolist() == [both, one]
    assert changed.most_fooling(method=1).tolist() == [both]
    assert set(changed.most_fooling(false.kinds[one]).tolist()) >= {one}
    assert changed.most_fooling("none such").tolist() == []
    page = site.text("/results/negatives")
    assert "<strong>2</strong> negatives" in page
    assert [item.count("badge warn") for item in page.split("<li>")[1:]] == [2, 1]
    record = index.records([int(false.rows[both])])[0]
    shown = site.text("/record", id=record["id"])
    assert shown.count("fools <span") == 1 + (false.rows[both] == false.rows[one])
    halves = replace(false, methods=[("coop", 4)], fooled=np.full((1, len(false.rows)), 0.25))
    assert halves.fools(0) == ["coop (1 of 4 seeds)"]


def test_results_that_do_not_say_what_fools_them_are_named(measured, tmp_path, open_site):
    """Files of an earlier release, and digits for other negatives than the dataset has."""
    for path in (measured / "runs").glob("*.json"):
        value = json.loads(path.read_text())
        if value["settings"]["method"] == "zero_shot":
            del value["negative_wins"]
            for each in value["natural_pairs"].values():
                del each["caption_of_row"]
        else:
            value["negative_wins"] = " ".join(
                f"{each}{each[-1]}" if each != "-" else each
                for each in value["negative_wins"].split()
            )
        (tmp_path / path.name).write_text(json.dumps(value))
    site = open_site(measured / "set", results=[tmp_path])
    false = site.context.runs.false_captions(site.context.library.current(), 0)
    assert false.unknown == ["zero_shot"] or not any(
        kind.startswith("natural") for kind in false.kinds
    )
    page = site.text("/results/negatives")
    assert "zero_shot" in page.partition("do not say")[0]
    assert all(kind.startswith("natural") for kind, count in false.counts().items() if count)


def test_results_of_other_data_are_told_apart(measured, built_birds, open_site):
    site = open_site(built_birds.out, results=[measured / "runs"])
    for path in ("/results", "/results/queries", "/results/negatives"):
        assert "measured on other data" in site.text(path)
