"""Two exports into one folder: the first writes all of its files, the second is refused before it starts."""

import pytest

import fdrd
from fdrd.errors import FdrdError
from tests.folders import digests


@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_second_export_is_refused_wherever_the_first_one_is(shared_birds, tmp_path, step):
    fdrd.export(shared_birds, tmp_path / "alone", to="jsonl")
    calls, refused = [], []

    def second(*_):
        calls.append(1)
        if len(calls) == step + 1:
            with pytest.raises(FdrdError, match="another process is writing") as error:
                fdrd.export(shared_birds, tmp_path / "out", to="coco")
            refused.append(error.value)

    fdrd.export(shared_birds, tmp_path / "out", to="jsonl", progress=second)
    assert len(refused) == 1
    assert digests(tmp_path / "out") == digests(tmp_path / "alone")
