"""A small drawn dataset with results, and the viewer's server over it."""

import shutil
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest
import uvicorn

from fdrd.field_guide.writer import sample
from fdrd.pipeline.builder import build
from fdrd.viewer.context import Context
from fdrd.viewer.server import _listen, application, run, server_of
from tests.folders import caches_in

TOKEN = "secret-token"


@dataclass
class Site:
    """A running server, and a client that has its cookie."""

    context: Context
    port: int
    server: uvicorn.Server
    thread: threading.Thread

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self):
        return f"{self.base}/?token={TOKEN}"

    def ask(self, path, method="GET", body="", **headers):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Cookie": f"fdrd_view_{self.port}={TOKEN}", "Host": f"127.0.0.1:{self.port}"}
        connection.request(method, path, body or None, sent | headers)
        return connection.getresponse()

    def text(self, path, **values):
        answer = self.ask(f"{path}?{urlencode(values)}" if values else path)
        assert answer.status == 200, answer.read()
        return answer.read().decode()

    def ready(self, path, **values):
        """Return a page once the features are there that it waits for."""
        return self.wait(path, lambda page: "Reading the images once" not in page, **values)

    def wait(self, path, fits, **values):
        """Return a page once it fits."""
        for _ in range(600):
            page = self.text(path, **values)
            if fits(page):
                return page
            time.sleep(0.05)
        raise AssertionError(page)

    def post(self, path, **values):
        return self.ask(path, "POST", urlencode(values), Origin=self.base)


@pytest.fixture(scope="package")
def drawn(tmp_path_factory):
    """A folder with the source `raw`, its dataset `set`, and results in `runs`."""
    folder = tmp_path_factory.mktemp("viewer")
    with caches_in(folder):
        sample(folder / "raw", 6, 90, size=48, workers=1)
        build(folder / "raw", folder / "set", workers=1)
    return folder


@pytest.fixture
def copied(drawn, tmp_path):
    """A copy of the dataset without reviews; the reviews of a dataset are next to it."""
    return shutil.copytree(drawn / "set", tmp_path / "copy" / "set")


@pytest.fixture(scope="package")
def measured(drawn):
    """The folder of `drawn`, with results of two methods."""
    from tests.running import run_method

    with caches_in(drawn):
        for method in ("zero_shot", "clip_adapter"):
            train = {"epochs": 1} if method == "clip_adapter" else None
            options = {"backbone": "embedded", "train": train, "results": drawn / "runs"}
            run_method(method, drawn / "set", **options)
    return drawn


@pytest.fixture
def open_site():
    """Open a dataset in a server; it ends with the test."""
    running = []

    def opened(folder, **options):
        context = Context(folder, **options)
        listener = _listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = server_of(application(context, TOKEN, "127.0.0.1", port))
        thread = threading.Thread(target=run, args=[server, listener], daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        running.append(server)
        return Site(context, port, server, thread)

    yield opened
    for server in running:  # which looks ten times a second, so no test waits for its end
        server.should_exit = server.force_exit = True
