"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, hosted ones.

The request is a dozen lines, so it is written here, over the HTTP client that the Hub's client brings along: the
`openai` package would add an object model of the whole service, and retries that count nothing. Attempts and their
waits are `tenacity`'s. Only the picture, made anew without its metadata, and the question leave the machine.

The key is read from an environment variable and goes into one header: into no option, cache, output or message.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fdrd.captioning import Answer, Captioner, Expected, Failure, Question, Spending, captioner
from fdrd.captioning.captioner import Keep
from fdrd.captioning.chat import ClosedError, RefusedError, TryAgainError, make_request, read_reply
from fdrd.captioning.pace import Pace
from fdrd.captioning.spending import Prices
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    import httpx2

_LONGEST_WAIT = 60.0
"""Seconds between two attempts, where the server asks for none."""

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
        pace=Pace(60 / requests_per_minute if requests_per_minute > 0 else 0.0), attempts=attempts,
        timeout=timeout, max_tokens=max_tokens, limit=limit, temperature=temperature, max_side=max_side,
        prices=prices, picture_tokens=picture_tokens, spending=spending,
    )  # fmt: skip


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
    pace: Pace
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
            asked = error.after if isinstance(error, TryAgainError) else 0.0
            return asked or float(backoff(state))

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_when_event_set(stop),
            wait=pause,
            sleep=tenacity.sleep_using_event(stop),
            retry=tenacity.retry_if_exception_type(TryAgainError),
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, client, body, self.expected(question.text).cost, stop)
        except TryAgainError as error:
            if stop.is_set():
                return None
            self._count_gone(error.failure)
            return error.failure
        except RefusedError as error:
            return error.failure
        with self._lock:
            self._gone = 0
        return answer

    def _attempt(
        self, client: httpx2.Client, body: bytes, most: float | None, stop: threading.Event
    ) -> Answer:
        """One request, and its place in the account."""
        if not self.pace.wait(stop):
            raise TryAgainError("unreachable", "the run was stopped")
        if not self.spending.put_aside(most):
            raise _BudgetError
        try:
            answer = self._send(client, body)
        except TryAgainError as error:
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
            return read_reply(reply, self._hidden)
        except httpx2.TimeoutException as error:
            said = f"{type(error).__name__}, {self.timeout:g} s"
            raise self._again(TryAgainError("timeout", said)) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise FdrdError(f"endpoint: url={self.url}: {error}") from None
        except httpx2.TransportError as error:
            said = f"{type(error).__name__}: {error}"
            raise self._again(TryAgainError("unreachable", said)) from None
        except TryAgainError as error:
            raise self._again(error) from None
        except ClosedError as error:
            raise self._closed(error) from None

    def _again(self, error: TryAgainError) -> TryAgainError:
        """The error, counted, without the key in it."""
        with self._lock:
            self.attempts_failed[error.failure.reason] += 1
        if error.failure.reason == "rate_limited":
            self.pace.hold(error.after)
        return TryAgainError(error.failure.reason, self._hidden(error.failure.detail), error.after)

    def _closed(self, error: ClosedError) -> FdrdError:
        remedies = {
            "key": f"it wants {'another' if self.key else 'a'} key: put a valid one into ${self.key_variable}",
            "address": "check -C url and -C model",
            "account": "the account has no money left",
        }
        return FdrdError(f"endpoint: {self.url} says {error}; {remedies[error.what]}")

    def _hidden(self, text: str) -> str:
        """What a server says, without the key, which some repeat."""
        return text.replace(self.key, "[key]") if self.key else text

    def _body(self, question: Question) -> bytes:
        options: dict[str, Any] = {"model": self.model, self.limit: self.max_tokens}
        if self.temperature >= 0:
            options["temperature"] = self.temperature
        return make_request(question.picture.upright(self.max_side), question.text, **options)

    def _count_gone(self, failure: Failure) -> None:
        if failure.reason == "empty_answer":
            return
        with self._lock:
            self._gone += 1
            gone = self._gone
        if gone >= _GONE:
            raise FdrdError(
                f"endpoint: {self.url} failed {_GONE} questions in a row, at {self.attempts} attempts each "
                f"({failure.reason}: {failure.detail}); what it answered is kept, and the same command "
                "goes on from there"
            )
