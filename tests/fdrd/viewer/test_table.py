"""The table shows the selection, and its histograms count every record of it."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fdrd.viewer.browse_pages import histogram


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_a_histogram_counts_every_value_once(values):
    chart = histogram("n", np.array(values, np.int32))
    assert len(chart.bars) <= 24
    for low, high, count, _ in chart.bars:
        assert count == sum(low <= value <= high for value in values)
    assert sum(count for _, _, count, _ in chart.bars) == len(values)


def test_the_table_is_that_of_the_filters(drawn, open_site):
    site = open_site(drawn / "set")
    index = site.context.library.current()
    test = index.columns.mask("split", ["test"])
    page = site.text("/table", split="test")
    assert f"Table of {test.sum()} records" in page
    assert page.count('<th scope="row">') == min(48, test.sum())
    words = re.search(r"Words of the caption: (\d+) to (\d+)", page)
    expected = index.columns.codes["words"][test]
    assert (int(words[1]), int(words[2])) == (expected.min(), expected.max())
    assert "No record matches" in site.text("/table", q="xyzzyxyzzy")
