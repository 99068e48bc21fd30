"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, hosted ones.

The request is a dozen lines, so it is written here, over the HTTP client that the Hub's client brings along: the
`openai` package would add an object model of the whole service, and retries that count nothing. Attempts and their
waits are `tenacity`'s. Only the picture, made anew without its metadata, and the question leave the machine.

The key is read from an environment variable and goes into one header: into no option, cache, output or message.
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
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fdrd.captioning import Answer, Captioner, Expected, Failure, Question, Spending, captioner
from fdrd.captioning.captioner import Keep
from fdrd.captioning.spending import Prices
from fdrd.error import FdrdError

if TYPE_CHECKING:
    import httpx2

_LONGEST_WAIT = 60.0
_LONGEST_ASKED = 900.0
"""Seconds: of our own choice, and at the server's request."""

_SAID = 200  # characters of a server's message that are shown
_GONE = 5  # questions in a row that failed, all attempts over
_PERHAPS_PAID = ("timeout", "malformed_answer", "empty_answer")


@captioner("endpoint")
def endpoint(
    spending: Spending,
    *,
    model: str = "",
    url: str = "http://localhost:8000/v1",
    key_variable: str = "OPENAI_API_KEY",
    revision: str = "",
    concurrency: int = 8,
    requests_per_minute: float = 0.0,
    attempts: int = 6,
    timeout: float = 120.0,
    max_tokens: int = 200,
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
    temperature: float = 0.0,
    max_side: int = 1024,
    input_price: float = -1.0,
    output_price: float = -1.0,
    picture_tokens: int = 1500,
) -> Captioner:
    """Asks a server that speaks OpenAI's chat completions: vLLM, llama.cpp, hosted ones.

    Args:
        spending: the account of the run.
        model: as the server calls it.
        url: up to and with `/v1`; it is no part of the cache's key, so a server may move.
        key_variable: the environment variable that holds the key; none is sent where it is not set.
        revision: of the model, if you know it; another one is asked anew.
        concurrency: requests under way at most.
        requests_per_minute: at most; 0 for no limit.
        attempts: for a question, before it counts as failed.
        timeout: seconds for one attempt.
        max_tokens: of an answer.
        limit: what the server calls that.
        temperature: 0 for the likeliest answer; below 0: none is sent, as some models refuse it.
        max_side: pixels of a picture's longer side, as it is sent.
        input_price: money for a million tokens read.
        output_price: money for a million tokens written.
        picture_tokens: that a picture is taken to cost, where a cost is estimated.
    """
    if not model:
        raise FdrdError("endpoint: name the model, -C model=NAME")
    if concurrency < 1 or attempts < 1 or max_tokens < 1:
        raise FdrdError("endpoint: concurrency, attempts and max_tokens are at least 1")
    if "@" in url.partition("?")[0].partition("//")[2].partition("/")[0] or "?" in url:
        raise FdrdError(
            f"endpoint: the url holds a user or a query; put a key into ${key_variable} instead"
        )
    prices = Prices(*(None if price < 0 else price for price in (input_price, output_price)))
    if spending.budget is not None and prices.cost(1, 1) is None:
        raise FdrdError(
            "--budget needs prices: -C input_price= and -C output_price=, for a million tokens"
        )
    key = os.environ.get(key_variable, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise FdrdError(f"endpoint: ${key_variable} holds a character that no key has, as a space")
    return Endpoint(
        model=model, url=url.rstrip("/"), key=key,
        key_variable=key_variable, revision=revision, concurrency=concurrency,
        pause=60 / requests_per_minute if requests_per_minute > 0 else 0.0, attempts=attempts,
        timeout=timeout, max_tokens=max_tokens, limit=limit, temperature=temperature, max_side=max_side,
        prices=prices, picture_tokens=picture_tokens, spending=spending,
    )  # fmt: skip


class _TryAgainError(Exception):
    """An attempt that failed in a way that another may not; `after` is what the server asked to wait."""

    def __init__(self, reason: str, detail: str, after: float = 0.0) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)
        self.after = after


class _RefusedError(Exception):
    """The server does not take this question, and will not another time."""


class _BudgetError(Exception):
    """The next attempt could go beyond the budget."""


@dataclass(eq=False)
class Endpoint:
    """The server, and the pace at which it is asked."""

    model: str
    url: str
    key: str = field(repr=False)
    key_variable: str
    revision: str
    concurrency: int
    pause: float
    attempts: int
    timeout: float
    max_tokens: int
    limit: str
    temperature: float
    max_side: int
    prices: Prices
    picture_tokens: int
    spending: Spending
    converses: bool = True
    free: bool = False
    attempts_failed: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by reason: those that a later attempt made good too."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _next: float = 0.0
    _gone: int = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides an answer; not where the server is."""
        return {
            "name": "endpoint",
            "model": self.model,
            "revision": self.revision,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "max_side": self.max_side,
        }

    def expected(self, text: str) -> Expected:
        """A picture, a token for three characters of the question, and an answer of the full length."""
        read = self.picture_tokens + len(text) // 3
        return Expected(read, self.max_tokens, self.prices.cost(read, self.max_tokens))

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Asks from several threads; an answer is kept by the thread that got it, even after Ctrl-C."""
        import httpx2

        stop = threading.Event()
        taking = threading.Lock()
        why: list[str] = []

        def take() -> Question | None:
            with taking:
                return None if stop.is_set() else next(questions, None)

        def work(client: httpx2.Client) -> None:
            while (question := take()) is not None:
                try:
                    answer = self._ask(client, question, stop)
                    if answer is not None:
                        keep(question, answer)
                except _BudgetError:
                    why.append("budget_spent")
                    stop.set()
                except BaseException:
                    stop.set()
                    raise

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        with (
            httpx2.Client(headers=headers, timeout=self.timeout) as client,
            ThreadPoolExecutor(self.concurrency) as pool,
        ):
            workers = [pool.submit(work, client) for _ in range(self.concurrency)]
            try:
                wait(workers, return_when=FIRST_EXCEPTION)
            finally:
                stop.set()  # what is under way is still waited for, and kept
        for worker in workers:
            worker.result()
        return why[0] if why else ""

    def _ask(
        self, client: httpx2.Client, question: Question, stop: threading.Event
    ) -> Answer | Failure | None:
        """An answer, or why there is none; None if the run was stopped meanwhile."""
        import tenacity

        try:
            body = self._body(question)
        except (OSError, ValueError) as error:
            return Failure("picture_unreadable", str(error))
        backoff = tenacity.wait_exponential_jitter(initial=1, max=_LONGEST_WAIT)

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, _TryAgainError) else 0.0
            return asked or float(backoff(state))

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_when_event_set(stop),
            wait=pause,
            sleep=tenacity.sleep_using_event(stop),
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, client, body, self.expected(question.text).cost, stop)
        except _TryAgainError as error:
            if stop.is_set():
                return None
            self._count_gone(error.failure)
            return error.failure
        except _RefusedError as error:
            return Failure("question_refused", str(error))
        self._gone = 0
        return answer

    def _attempt(
        self, client: httpx2.Client, body: bytes, most: float | None, stop: threading.Event
    ) -> Answer:
        """One request, and its place in the account."""
        self._wait_for_turn(stop)
        if not self.spending.put_aside(most):
            raise _BudgetError
        try:
            answer = self._send(client, body)
        except _TryAgainError as error:
            # A server that was too slow, or said nothing of use, may have worked, and want its money.
            self.spending.settle(most, most if error.failure.reason in _PERHAPS_PAID else 0.0)
            raise
        except BaseException:
            self.spending.settle(most, 0.0)
            raise
        counted = answer.input_tokens + answer.output_tokens
        cost = self.prices.cost(answer.input_tokens, answer.output_tokens) if counted else most
        self.spending.settle(most, cost, answer.input_tokens, answer.output_tokens)
        return answer

    def _send(self, client: httpx2.Client, body: bytes) -> Answer:
        import httpx2

        try:
            reply = client.post(
                f"{self.url}/chat/completions",
                content=body,
                headers={"Content-Type": "application/json"},
            )
        except httpx2.TimeoutException as error:
            raise self._again("timeout", f"{type(error).__name__}, {self.timeout:g} s") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise FdrdError(f"endpoint: url={self.url}: {error}") from None
        except httpx2.TransportError as error:
            raise self._again("unreachable", f"{type(error).__name__}: {error}") from None
        return self._read(reply)

    def _read(self, reply: httpx2.Response) -> Answer:
        """The answer in a reply.

        Raises:
            _TryAgainError: there is none, and another attempt may have one.
            _RefusedError: the server does not take the question.
            FdrdError: it takes none.
        """
        status, said = reply.status_code, self._said(reply)
        if status == 429 and "insufficient_quota" in said:
            raise FdrdError(f"endpoint: the account has no money left ({said})")
        if status == 429:
            after = _seconds(reply.headers.get("retry-after", ""))
            self._hold(after)
            raise self._again("rate_limited", said, after)
        if status >= 500 or status in (408, 409, 425):
            after = _seconds(reply.headers.get("retry-after", ""))
            raise self._again("server_error", f"{status}: {said}", after)
        if status in (401, 403):
            what = "refused" if self.key else "wanted, and not set"
            raise FdrdError(
                f"endpoint: the key is {what} ({status}: {said}); put a valid one into ${self.key_variable}"
            )
        if status in (402, 404, 405) or 300 <= status < 400:
            raise FdrdError(
                f"endpoint: {self.url}/chat/completions says {status}: {said}; check -C url, "
                "-C model, and the account"
            )
        if status != 200:
            raise _RefusedError(f"{status}: {said}")
        try:
            value = reply.json()
            choice, usage = value["choices"][0], value.get("usage") or {}
            text, finish = choice["message"].get("content"), choice.get("finish_reason")
            read, written = (
                int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")
            )
            if text is not None and not isinstance(text, str):
                raise TypeError(f"content is a {type(text).__name__}")
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._again("malformed_answer", f"{type(error).__name__}: {error}") from None
        if not text or not text.strip():
            raise self._again("empty_answer", f"finish_reason is {finish!r}")
        return Answer(text, read, written, cut=finish == "length")

    def _again(self, reason: str, detail: str, after: float = 0.0) -> _TryAgainError:
        with self._lock:
            self.attempts_failed[reason] += 1
        return _TryAgainError(reason, self._hidden(detail), after)

    def _said(self, reply: httpx2.Response) -> str:
        """What the server says, short, and without the key, which some servers repeat."""
        return (
            self._hidden(" ".join(reply.text.split()))[:_SAID] if reply.status_code != 200 else ""
        )

    def _hidden(self, text: str) -> str:
        return text.replace(self.key, "[key]") if self.key else text

    def _body(self, question: Question) -> bytes:
        picture = io.BytesIO()
        question.picture.upright(self.max_side).save(picture, "JPEG", quality=92)
        data = base64.b64encode(picture.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
            {"type": "text", "text": question.text},
        ]
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            self.limit: self.max_tokens,
        }
        if self.temperature >= 0:
            asked["temperature"] = self.temperature
        return json.dumps(asked).encode()

    def _wait_for_turn(self, stop: threading.Event) -> None:
        """Returns when the pace allows the next request."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self.pause
        if (delay := turn - time.monotonic()) > 0:
            stop.wait(delay)
        if stop.is_set():
            raise _TryAgainError("unreachable", "the run was stopped")

    def _hold(self, seconds: float) -> None:
        """Nobody asks before the time that the server named."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def _count_gone(self, failure: Failure) -> None:
        if failure.reason == "empty_answer":
            return
        self._gone += 1
        if self._gone >= _GONE:
            raise FdrdError(
                f"endpoint: {self.url} failed {_GONE} questions in a row, at {self.attempts} attempts each "
                f"({failure.reason}: {failure.detail}); what it answered is kept, and the same command "
                "goes on from there"
            )


def _seconds(header: str) -> float:
    """What `Retry-After` asks for: seconds, or a date.

    >>> _seconds("2.5"), _seconds("soon"), _seconds("Thu, 01 Jan 1970 00:00:00 GMT")
    (2.5, 0.0, 0.0)
    """
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, min(float(header), _LONGEST_ASKED))
    except ValueError:
        pass
    try:
        return max(
            0.0, min(parsedate_to_datetime(header).timestamp() - time.time(), _LONGEST_ASKED)
        )
    except ValueError:
        return 0.0
