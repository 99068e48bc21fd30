"""The note that says which source a dataset was built from."""

from fdrd.storage.resume import Origin, holds_other, recorded_origin, write_origin


def test_a_source_whose_path_is_no_utf8_is_recognized(tmp_path):
    origin = Origin(path="/photos/caf\udce9", files="0" * 64)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text("{}")
    write_origin(tmp_path / "out", origin)
    assert recorded_origin(tmp_path / "out") == origin
    assert not holds_other(tmp_path / "out", origin)
