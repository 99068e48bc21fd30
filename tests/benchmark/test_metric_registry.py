"""A metric is one function: every table has it, files of earlier results get it, and a wrong number is refused."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

import benchmark
from benchmark.rank_metrics import DIRECTIONS, METRICS, metric
from benchmark.reporting.publishing import method_card
from benchmark.result import numbers, read_result, write_result
from fdrd.errors import FdrdError
from tests.ranked import with_ranks
from tests.running import made_settings, printed


@pytest.fixture(scope="module")
def file(bench):
    """A result that was written before R@3 was a metric."""
    return bench.zero_shot


@pytest.fixture
def registered(file):
    @metric("R@3", unit="%", better="higher", main=True)
    def recall_at_3(strict):
        """Return whether an item of the same image is among the first three."""
        return strict <= 3

    yield
    del METRICS["R@3"]


def rank(result, direction):
    return numbers(result.ranks[direction].strict)


def test_a_registered_metric_is_in_every_table(registered, file):
    result = read_result(file)
    expected = [float(np.mean(rank(result, each) <= 3)) for each in DIRECTIONS]
    assert [result["I2T R@3"], result["T2I R@3"]] == expected
    # Tables of 24 queries have no decimals.
    cells = f"{100 * expected[0]:.0f}", f"{100 * expected[0]:.2f}"
    for text in (
        *(benchmark.report([result], format=form) for form in ("markdown", "html", "latex")),
        *(printed(benchmark.table([result])), repr(result), result._repr_html_()),
        method_card("method_card.md", "org/name", made_settings("coop"), [result], 1, {}),
    ):
        assert "R@3" in text
        assert any(number in text for number in cells)
    (row,) = csv.DictReader(io.StringIO(benchmark.report([result], format="csv")))
    assert float(row["T2I R@3"]) == expected[1]
    assert benchmark.to_pandas([result])["T2I R@3"].tolist() == expected[1:]
    low, high = result.metrics.by_direction["image_to_text"].intervals["R@3"]
    assert low < expected[0] < high
    (domain,) = result.metrics.by_domain.values()
    assert domain["image_to_text"]["R@3"] == expected[0]


def test_a_registered_metric_is_checked_when_a_result_is_read(registered, file, tmp_path):
    write_result(read_result(file), tmp_path / "a.json")
    value = json.loads((tmp_path / "a.json").read_text())
    assert read_result(tmp_path / "a.json") == read_result(file)
    value["metrics"]["by_direction"]["image_to_text"]["values"]["R@3"] += 0.01
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(FdrdError, match=r"R@3 is 0\.\d+, but the ranks give"):
        read_result(tmp_path / "a.json")


def test_a_result_with_metrics_of_a_later_release_is_readable(file, tmp_path):
    value = json.loads(file.read_text())
    for direction in DIRECTIONS:
        value["metrics"]["by_direction"][direction]["values"]["R@77"] = 123.0
    (tmp_path / "later.json").write_text(json.dumps(value))
    result = read_result(tmp_path / "later.json")
    assert result.to_dict() == value
    assert "R@77" not in benchmark.markdown([result])
    with pytest.raises(KeyError, match="I2T R@77: not measured; choose from I2T R@1, I2T R@5"):
        result["I2T R@77"]


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="there is a metric MRR already"):
        metric("MRR", unit="%", better="higher")(lambda strict: strict)


def test_lower_is_better_where_a_metric_says_so(file):
    """The median rank in the main table: rank 2 is the best, and rank 3 is worse than zero-shot."""

    @metric("rank", unit="", better="lower", main=True, reduce="median")
    def median(strict):
        return strict

    try:
        first, second = (with_ranks(read_result(file), [n] * 24, [n] * 24) for n in (2, 3))
        second = replace(second, settings=replace(second.settings, method="other"))
        page = benchmark.report([first, second], format="html")
    finally:
        del METRICS["rank"]
    assert "<td>2.0</td>" in page
    assert "<td>3.0▼</td>" in page
    assert "<td>33▼</td>" in page  # the MRR, of which more is better
