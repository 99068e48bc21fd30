"""Any server with the OpenAI chat completions API: vLLM, llama.cpp, hosted services.

Only the question and the image, without its metadata, leave the machine. The API key is read from an environment
variable and goes into one header, never into options, cache, output or messages.
"""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import KW_ONLY, dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fdrd.captioning.interface import Answer, Expected, Failure, Keep, Question, captioner
from fdrd.captioning.limits import RequestRate, Spending
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    import httpx2

_JPEG_QUALITY = 92
_MESSAGE_CHARACTERS = 200  # of a server's message that are shown
_MAX_RETRY_AFTER = 900.0  # seconds
_MAX_BACKOFF = 60.0  # seconds between two attempts, unless the server asks for more
_MAX_FAILURES = 5  # questions in a row that failed at every attempt
_MAYBE_BILLED = ("timeout", "malformed_answer", "empty_answer")


class RetryableError(Exception):
    """A failed attempt that may succeed later. `after` is the pause in seconds that the server asked for."""

    def __init__(self, reason: str, detail: str, after: float = 0.0) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)
        self.after = after


class _BudgetError(Exception):
    """The next attempt could exceed the budget."""


@captioner("endpoint")
@dataclass(eq=False)
class Endpoint:
    """Asks a server with the OpenAI chat completions API: vLLM, llama.cpp, hosted services.

    Attributes:
        spending: Account of the run.
        model: Model name on the server.
        url: Base URL up to `/v1`. Not part of the cache key, so a server may move.
        key_variable: Environment variable with the API key; no key is sent if it is not set.
        revision: Model revision, if you know it. Another revision is asked again.
        concurrency: Maximum number of requests in flight.
        requests_per_minute: Maximum request rate; 0 for no limit.
        attempts: Attempts per question before it counts as failed.
        timeout: Seconds per attempt.
        max_tokens: Maximum tokens of an answer.
        limit: The server's name for that parameter.
        temperature: 0 for the most likely answer; negative to send none, because some models reject it.
        max_side: Maximum width and height in pixels of the image that is sent.
        input_price: Price of a million input tokens.
        output_price: Price of a million output tokens.
        picture_tokens: Tokens per image assumed in cost estimates.
    """

    spending: Spending
    _: KW_ONLY
    model: str = ""
    url: str = "http://localhost:8000/v1"
    key_variable: str = "OPENAI_API_KEY"
    revision: str = ""
    concurrency: int = 8
    requests_per_minute: float = 0.0
    attempts: int = 6
    timeout: float = 120.0
    max_tokens: int = 200
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: float = 0.0
    max_side: int = 1024
    input_price: float = -1.0
    output_price: float = -1.0
    picture_tokens: int = 1500
    converses: ClassVar[bool] = True
    free: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.model:
            raise FdrdError("endpoint: name the model, -C model=NAME")
        if min(self.concurrency, self.attempts, self.max_tokens) < 1:
            raise FdrdError("endpoint: concurrency, attempts and max_tokens must be at least 1")
        if "?" in self.url or "@" in self.url.partition("//")[2].partition("/")[0]:
            raise FdrdError(
                f"endpoint: the url holds a user or a query; put a key into ${self.key_variable} instead"
            )
        if self.spending.budget is not None and self._cost(1, 1) is None:
            raise FdrdError(
                "--budget needs prices per million tokens: -C input_price= and -C output_price="
            )
        self._key = os.environ.get(self.key_variable, "").strip()
        if not all("!" <= letter <= "~" for letter in self._key):
            raise FdrdError(f"endpoint: ${self.key_variable} holds an invalid character")
        self.url = self.url.rstrip("/")
        self.attempts_failed: Counter[str] = Counter()
        per_minute = self.requests_per_minute
        self._rate = RequestRate(60 / per_minute if per_minute > 0 else 0.0)
        self._lock = threading.Lock()
        self._failures_in_a_row = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """What determines an answer; not the server's address."""
        names = ("model", "revision", "max_tokens", "temperature", "max_side")
        return {"name": "endpoint"} | {name: getattr(self, name) for name in names}

    def expected(self, text: str) -> Expected:
        """Assume `picture_tokens`, a token per three characters, and an answer of full length."""
        tokens = self.picture_tokens + len(text) // 3
        return Expected(tokens, self.max_tokens, self._cost(tokens, self.max_tokens))

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Ask from several threads. Requests in flight are completed and kept, even after Ctrl-C."""
        import httpx2

        stop = threading.Event()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        client = httpx2.Client(headers=headers, timeout=self.timeout)

        def ask(question: Question) -> None:
            try:
                if (answer := self._ask(client, question, stop)) is not None:
                    keep(question, answer)
            except BaseException:
                stop.set()
                raise

        with client, ThreadPoolExecutor(self.concurrency) as pool:
            running: set[Future[None]] = set()
            try:
                for question in questions:
                    running.add(pool.submit(ask, question))
                    if len(running) >= self.concurrency:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        for future in done:
                            future.result()
                for future in running:
                    future.result()
            except _BudgetError:
                return "budget_spent"
            finally:
                stop.set()
        return ""

    def _ask(
        self, client: httpx2.Client, question: Question, stop: threading.Event
    ) -> Answer | Failure | None:
        """Return the answer to a question after all attempts, or None if the run was stopped."""
        import tenacity

        try:
            body = self._request(question)
        except (OSError, ValueError) as error:
            return Failure("picture_unreadable", str(error))
        backoff = tenacity.wait_exponential_jitter(initial=1, max=_MAX_BACKOFF)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, RetryableError) else 0.0
            return asked or float(backoff(state))

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_when_event_set(stop),
            wait=pause,
            sleep=tenacity.sleep_using_event(stop),
            retry=tenacity.retry_if_exception_type(RetryableError),
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, client, body, self.expected(question.text).cost, stop)
        except RetryableError as error:
            if stop.is_set():
                return None
            failure = Failure(error.failure.reason, self._redact(error.failure.detail))
            with self._lock:
                self._failures_in_a_row += failure.reason != "empty_answer"
                failures = self._failures_in_a_row
            if failures >= _MAX_FAILURES:
                raise FdrdError(
                    f"endpoint: {self.url} failed {failures} questions in a row, with {self.attempts} attempts each "
                    f"({failure.reason}: {failure.detail}); answers so far are kept, and the same command resumes"
                ) from None
            return failure
        with self._lock:
            self._failures_in_a_row = 0
        return answer

    def _attempt(
        self, client: httpx2.Client, body: bytes, max_cost: float | None, stop: threading.Event
    ) -> Answer | Failure:
        """Send one request within the request rate and the budget."""
        if not self._rate.wait(stop):
            raise RetryableError("unreachable", "the run was stopped")
        if not self.spending.reserve(max_cost):
            raise _BudgetError
        cost: float | None = 0.0
        counts = (0, 0)
        try:
            answer = self._send(client, body)
            if isinstance(answer, Answer):
                counts = (answer.input_tokens, answer.output_tokens)
                cost = self._cost(*counts) if any(counts) else max_cost
            elif answer.reason in _MAYBE_BILLED:
                cost = max_cost
            return answer
        except RetryableError as error:
            if error.failure.reason in _MAYBE_BILLED:
                cost = max_cost
            with self._lock:
                self.attempts_failed[error.failure.reason] += 1
            if error.failure.reason == "rate_limited":
                self._rate.hold(error.after)
            raise
        finally:
            self.spending.settle(max_cost, cost, *counts)

    def _request(self, question: Question) -> bytes:
        """Return a request body. The image is encoded again, so none of its file's metadata is sent."""
        data = io.BytesIO()
        question.image.load(self.max_side).save(data, "JPEG", quality=_JPEG_QUALITY)
        url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question.text},
        ]
        body: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
        body |= {"model": self.model, self.limit: self.max_tokens}
        if self.temperature >= 0:
            body["temperature"] = self.temperature
        return json.dumps(body).encode()

    def _send(self, client: httpx2.Client, body: bytes) -> Answer | Failure:
        import httpx2

        headers = {"Content-Type": "application/json"}
        try:
            response = client.post(f"{self.url}/chat/completions", content=body, headers=headers)
            return self._read(response)
        except httpx2.TimeoutException as error:
            detail = f"{type(error).__name__}, {self.timeout:g} s"
            raise RetryableError("timeout", detail) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise FdrdError(f"endpoint: url={self.url}: {error}") from None
        except httpx2.TransportError as error:
            raise RetryableError("unreachable", f"{type(error).__name__}: {error}") from None

    def _read(self, response: httpx2.Response) -> Answer | Failure:
        """Return the answer, or the failure if this question will never have one."""
        status = response.status_code
        if status == 200:
            return _read_answer(response)
        message = self._redact(" ".join(response.text.split()))[:_MESSAGE_CHARACTERS]
        detail = f"{status}: {message}"
        remedy = {
            401: f"put a valid API key into ${self.key_variable}",
            402: "the account has no credit left",
            404: "check -C url and -C model",
        }.get({403: 401, 405: 404}.get(status, 404 if status < 400 else status))
        if "insufficient_quota" in detail or remedy:
            raise FdrdError(f"endpoint: {self.url} answered {detail}; {remedy or 'no quota left'}")
        if status in (408, 409, 425, 429) or status >= 500:
            reason = "rate_limited" if status == 429 else "server_error"
            raise RetryableError(reason, detail, retry_after(response.headers.get("retry-after")))
        return Failure("question_refused", detail)

    def _redact(self, text: str) -> str:
        """Remove the key from a server's message, because some servers repeat it."""
        return text.replace(self._key, "[key]") if self._key else text

    def _cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.input_price < 0 or self.output_price < 0:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


def _read_answer(response: httpx2.Response) -> Answer | Failure:
    try:
        value = response.json()
        choice, usage = value["choices"][0], value.get("usage") or {}
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        read, written = (int(usage.get(f"{part}_tokens") or 0) for part in ("prompt", "completion"))
        if text is not None and not isinstance(text, str):
            raise TypeError(f"content is a {type(text).__name__}")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RetryableError("malformed_answer", f"{type(error).__name__}: {error}") from None
    if text and text.strip():
        return Answer(text, read, written, cut=finish == "length")
    if finish == "content_filter":
        return Failure("question_refused", "the server's content filter blocked the answer")
    if finish == "length":
        return Failure("empty_answer", "reasoning used up max_tokens; allow more")
    raise RetryableError("empty_answer", f"finish_reason is {finish!r}")


def retry_after(header: str | None) -> float:
    """Return the seconds that a `Retry-After` header asks for, given as a number or a date.

    >>> retry_after("2.5"), retry_after("soon"), retry_after("Thu, 01 Jan 1970 00:00:00 GMT")
    (2.5, 0.0, 0.0)
    """
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header or "").timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(0.0, min(seconds, _MAX_RETRY_AFTER)) if seconds == seconds else 0.0
