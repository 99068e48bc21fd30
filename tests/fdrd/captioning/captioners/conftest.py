"""A server with the OpenAI chat completions API and faults on demand, and images to caption."""

import base64
import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tests.scenes import image_bytes

KEY = "sk-no-one-may-read-this-0123456789"


ANSWERS = {"malformed": b'{"choices": [{"mess', "shape": {"choices": []}}
"""Answers with the status 200 that are no completions, by fault."""


@dataclass
class Chat:
    """The server.

    Attributes:
        faults: Faults of the next requests, one each.
        always: Fault of every request.
        answer: Returns the answer to a question, given its text and the number of the request.
        finish: The `finish_reason` of answers.
        key: API key that is required.
        dies_after: Number of answers after which every connection is closed.
        asked: Digest of the image and text of each request.
        answered: Complete answers sent, by image and question.
    """

    faults: list[str] = field(default_factory=list)
    always: str = ""
    answer: Callable[[str, int], str] | None = None
    finish: str = "stop"
    delay: float = 0.0
    key: str = ""
    dies_after: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    answered: Counter = field(default_factory=Counter)
    in_flight: int = 0
    most_at_once: int = 0
    retry_after: str = "0.01"
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def reply(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        content = body["messages"][0]["content"]
        url, text = content[0]["image_url"]["url"], content[1]["text"]
        image = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
        asked = (hashlib.sha256(image).hexdigest(), text)
        with self.lock:
            if self.dies_after is not None and sum(self.answered.values()) >= self.dies_after:
                hang_up(handler)
                return
            self.asked.append(asked)
            self.images.append(image)
            number = len(self.asked)
            fault = self.always or (self.faults.pop(0) if self.faults else "")
        time.sleep(self.delay)
        sent = handler.headers.get("Authorization", "")
        if self.key and sent != f"Bearer {self.key}":
            send(handler, 401, {"error": {"message": f"Incorrect API key provided: {sent}"}})
        elif fault == "timeout":
            time.sleep(2.5)
        elif fault == "hang_up":
            hang_up(handler)
        elif fault.isdigit():
            message = f"out of memory, {sent}" if fault == "500" else "slow down"
            error = {"error": {"message": message}}
            send(handler, int(fault), error, {"Retry-After": self.retry_after})
        elif fault in ANSWERS:
            send(handler, 200, ANSWERS[fault])
        else:
            said = "" if fault == "empty" else self.says(text, number)
            if said:  # counted before it is sent, because the client may look at once
                with self.lock:
                    self.answered[asked] += 1
            choice = {"message": {"content": said}, "finish_reason": self.finish}
            usage = {"prompt_tokens": 1000, "completion_tokens": 20}
            send(handler, 200, {"choices": [choice], "usage": usage})

    def says(self, text, number):
        if self.answer:
            return self.answer(text, number)
        if "JSON object" in text:
            return '{"names_category": true, "contradictions": [], "inventions": [], "advice": ""}'
        category = re.search(r"by its name, ([^.]+)\.", text)[1]
        return f"A small {category} sits on branch {number} in the green shade."


def hang_up(handler):
    handler.close_connection = True
    handler.connection.close()


def send(handler, status, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def chat(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    state = Chat()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            with state.lock:
                state.in_flight += 1
                state.most_at_once = max(state.most_at_once, state.in_flight)
            with suppress(OSError):  # the client is gone
                state.reply(self)
            with state.lock:
                state.in_flight -= 1

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.fixture
def raw(tmp_path):
    """Twelve images of two categories, without captions."""
    return draw_raw(tmp_path / "raw", 12)


@pytest.fixture
def make_raw():
    return draw_raw


def draw_raw(folder, count):
    exif = Image.Exif()
    exif[0x010E] = "where the photographer lives"
    for number in range(count):
        file = folder / ("house wren", "robin")[number % 2] / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_bytes(number, exif=exif))
    return folder
