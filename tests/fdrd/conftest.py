"""Small raw sources, drawn for each test."""

import json
import shutil
from contextlib import contextmanager

import pytest

from tests.folders import caches_in, digests
from tests.scenes import draw_birds, image_bytes


@pytest.fixture
def draw():
    return image_bytes


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file of the source `raw`: bytes, text, or any value as JSON."""

    def write(path, content):
        file = tmp_path / "raw" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return file

    return write


@pytest.fixture
def birds(tmp_path):
    return draw_birds(tmp_path / "raw")


@pytest.fixture(scope="session")
def built_birds(tmp_path_factory):
    """The dataset of `birds`, for tests that only read it; its source `raw` is beside it."""
    from fdrd.pipeline.builder import build

    folder = tmp_path_factory.mktemp("birds")
    with caches_in(folder):
        return build(draw_birds(folder / "raw"), folder / "out", workers=1)


@pytest.fixture(scope="session")
def small_shards(tmp_path_factory):
    """The digests of the dataset of `birds` in shards of 800 bytes, which do not depend on its place."""
    from fdrd.build_config import BuildConfig
    from fdrd.pipeline.builder import build

    folder = tmp_path_factory.mktemp("small")
    with caches_in(folder):
        raw, config = draw_birds(folder / "raw"), BuildConfig(shard_bytes=800)
        return digests(build(raw, folder / "out", config=config, workers=1).out)


@pytest.fixture(scope="session")
def two_formats(tmp_path_factory):
    """The dataset of `birds` by format, in several shards; each source is beside it."""
    from fdrd.build_config import BuildConfig
    from fdrd.pipeline.builder import build

    found = {}
    for form in ("arrow", "parquet"):
        folder = tmp_path_factory.mktemp(form)
        raw, config = draw_birds(folder / "raw"), BuildConfig(format=form, shard_bytes=2000)
        about = 'license = "CC-BY-4.0"\nhomepage = "https://example.org/birds"\ncitation = "A"\n'
        (raw / "domain.toml").write_text(about)
        with caches_in(folder):
            found[form] = build(raw, folder / "out", config=config, workers=1)
    return found


@pytest.fixture
def two_domains(birds, tmp_path):
    """Return birds with given splits, and 30 pets without; both have a category `wren`."""
    root = tmp_path / "many"
    shutil.copytree(birds, root / "birds")
    for number in range(30):
        image = root / "pets" / ("wren", "cat")[number % 2] / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(image_bytes(100 + number))
        image.with_suffix(".txt").write_text(f"A {image.parent.name} number {number}.")
    return root


@pytest.fixture
def uncategorized(tmp_path, write, draw):
    """A source of 24 pairs without categories."""
    lines = []
    for number in range(24):
        write(f"{number}.png", draw(number))
        color = ("red", "blue", "green", "white")[number // 3 % 4]
        caption = f"A small {color} bird sits on branch {number} of a large tree."
        split = ("train", "val", "test")[number % 3]
        lines.append({"file_name": f"{number}.png", "caption": caption, "split": split})
    write("metadata.jsonl", "\n".join(map(json.dumps, lines)))
    return tmp_path / "raw"


@pytest.fixture
def small_disk():
    """Return a context in which this process may write no file of more bytes."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:  # at once, since pytest may write its report to a file
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(autouse=True)
def own_cache(tmp_path):
    """Give each test its own cache, and keep it offline."""
    with caches_in(tmp_path) as cache:
        yield cache
