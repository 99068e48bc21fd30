"""Two fetches at a time: into one folder, and into two folders with one cache of downloads."""

import hashlib
import threading

import pytest

from fdrd.errors import FdrdError
from fdrd.fetching.fetching_run import FetchOptions, PublicSet, RemoteFile, fetch_set
from tests.archives import tar
from tests.folders import digests

FILES = {f"{number:03}.txt": bytes([number]) * 3000 for number in range(60)}


@pytest.fixture
def birds(server):
    server.files["a.tar"] = tar(FILES)
    digest = f"sha256:{hashlib.sha256(tar(FILES)).hexdigest()}"
    file = RemoteFile("a.tar", f"{server.url}/a.tar", digest)
    return PublicSet("birds", "Birds", "CC0-1.0", server.url, (file,))


def at_step(step, action):
    """Return a progress function that acts once, at a step of the work."""
    calls = []

    def progress(*_):
        calls.append(1)
        if len(calls) == step + 1:
            action()

    return progress


def complete(folder):
    found = digests(folder)
    assert found.pop("domain.toml")
    return found == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.mark.parametrize("step", [0, 2, 4])
def test_a_second_fetch_into_the_folder_is_refused_wherever_the_first_one_is(
    birds, server, tmp_path, step
):
    options, errors = FetchOptions(downloads=tmp_path / "downloads"), []

    def second():
        with pytest.raises(FdrdError, match="another process is writing") as refused:
            fetch_set(birds, tmp_path / "out", options)
        errors.append(refused.value)

    fetch_set(birds, tmp_path / "out", options, at_step(step, second))
    assert len(errors) == 1
    assert complete(tmp_path / "out")
    assert len(server.ranges) == 1
    assert [path.name for path in tmp_path.glob("*out*")] == ["out"]


@pytest.mark.parametrize("step", [0, 2, 4])
def test_two_folders_share_one_download(birds, server, tmp_path, step):
    options = FetchOptions(downloads=tmp_path / "downloads")
    second = threading.Thread(target=fetch_set, args=(birds, tmp_path / "two", options))
    fetch_set(birds, tmp_path / "one", options, at_step(step, second.start))
    second.join()
    assert complete(tmp_path / "one")
    assert complete(tmp_path / "two")
    assert server.ranges == [None]  # downloaded once
