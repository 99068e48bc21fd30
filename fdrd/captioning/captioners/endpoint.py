"""Any server with the OpenAI chat completions API: vLLM, llama.cpp, hosted services. Needs `fdrd[endpoint]`.

Only the question and the image, without its metadata, leave the machine. The API key is read from an environment
variable and goes into one header, never into options, cache, output or messages.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from fdrd.captioning.interface import Answer, Failure, Keep, Question, Spending, captioner
from fdrd.errors import FdrdError, first_line

if TYPE_CHECKING:
    import openai

_JPEG_QUALITY = 92
_MESSAGE_CHARACTERS = 200  # shown of a server's message
_MAX_FAILURES = 5  # questions in a row that failed at every attempt
_MAYBE_BILLED = ("timeout", "malformed_answer", "empty_answer")
_OUTAGES = ("timeout", "unreachable", "rate_limited", "server_error", "malformed_answer")
_NO_KEY = "EMPTY"  # the client requires a key, a local server does not


@captioner("endpoint")
@dataclass(eq=False)
class Endpoint:
    """Asks a server with the OpenAI chat completions API: vLLM, llama.cpp, hosted services.

    Attributes:
        spending: Account of the run.
        model: Model name on the server.
        url: Base URL up to `/v1`. Not part of the cache key, so a server may move.
        key_variable: Environment variable with the API key.
        revision: Model revision, if you know it. Another revision is asked again.
        concurrency: Maximum number of requests in flight.
        attempts: Attempts per question before it counts as failed.
        timeout: Seconds per attempt.
        max_tokens: Maximum tokens of an answer.
        limit: The server's name for that parameter.
        temperature: 0 for the most likely answer; negative to send none, because some models reject it.
        max_side: Maximum width and height in pixels of the image that is sent.
        input_price: Price of a million input tokens.
        output_price: Price of a million output tokens.
        image_tokens: Tokens per image that a budget assumes.
    """

    spending: Spending
    _: KW_ONLY
    model: str = ""
    url: str = "http://localhost:8000/v1"
    key_variable: str = "OPENAI_API_KEY"
    revision: str = ""
    concurrency: int = 8
    attempts: int = 6
    timeout: float = 120.0
    max_tokens: int = 200
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: float = 0.0
    max_side: int = 1024
    input_price: float = -1.0
    output_price: float = -1.0
    image_tokens: int = 1500
    converses: ClassVar[bool] = True
    free: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.model:
            raise FdrdError("endpoint: name the model, -C model=NAME")
        if min(self.concurrency, self.attempts, self.max_tokens) < 1:
            raise FdrdError("endpoint: concurrency, attempts and max_tokens must be at least 1")
        _check_url(self.url, self.key_variable)
        if self.spending.budget is not None and self._cost(1, 1) is None:
            remedy = "-C input_price= and -C output_price="
            raise FdrdError(f"--budget needs prices per million tokens: {remedy}")
        self._key = os.environ.get(self.key_variable, "").strip()
        if not all("!" <= letter <= "~" for letter in self._key):
            raise FdrdError(f"endpoint: ${self.key_variable} holds an invalid character")

    @property
    def identity(self) -> Mapping[str, Any]:
        """What determines an answer; not the server's address."""
        names = ("model", "revision", "max_tokens", "temperature", "max_side")
        return {"name": "endpoint"} | {name: getattr(self, name) for name in names}

    def answer(self, questions: Iterator[Question], keep: Keep) -> str:
        """Ask from several threads. Requests in flight are completed and kept, even after Ctrl-C."""
        running: set[Future[Answer | Failure]] = set()
        failures, stopped = 0, ""
        with self._open_client() as client, ThreadPoolExecutor(self.concurrency) as pool:
            for question in questions:
                highest = self._cost(self.image_tokens + len(question.text) // 3, self.max_tokens)
                if not self.spending.reserve(highest):
                    stopped = "budget_spent"
                    break
                running.add(pool.submit(self._ask, client, question, highest, keep))
                if len(running) == self.concurrency:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    failures = self._count_failures(failures, done)
            self._count_failures(failures, running)
        return stopped

    def _count_failures(self, failures: int, done: Iterable[Future[Answer | Failure]]) -> int:
        """Return the number of questions in a row that failed, and raise `FdrdError` if a server seems to be down."""
        for future in done:
            answer = future.result()
            if isinstance(answer, Answer) or answer.reason not in _OUTAGES:
                failures = 0
                continue
            failures += 1
            if failures >= _MAX_FAILURES:
                times = (
                    f"with up to {self.attempts} attempts each ({answer.reason}: {answer.detail})"
                )
                remedy = "answers so far are kept, and the same command resumes"
                flaw = f"{self.url} failed {failures} questions in a row, {times}"
                raise FdrdError(f"endpoint: {flaw}; {remedy}")
        return failures

    def _open_client(self) -> openai.OpenAI:
        try:
            import openai
        except ImportError:
            raise FdrdError("endpoint needs openai; pip install 'fdrd[endpoint]'") from None
        key, retries = self._key or _NO_KEY, self.attempts - 1
        return openai.OpenAI(
            api_key=key, base_url=self.url, timeout=self.timeout, max_retries=retries
        )

    def _ask(
        self, client: openai.OpenAI, question: Question, highest: float | None, keep: Keep
    ) -> Answer | Failure:
        """Ask one question, account for it and store the answer."""
        cost: float | None = 0.0
        counts = 0, 0
        try:
            answer = self._send(client, question)
            if isinstance(answer, Answer):
                counts = answer.input_tokens, answer.output_tokens
                cost = self._cost(*counts) if any(counts) else highest
            elif answer.reason in _MAYBE_BILLED:
                cost = highest
        finally:
            self.spending.settle(highest, cost, *counts)
        keep(question, answer)
        return answer

    def _send(self, client: openai.OpenAI, question: Question) -> Answer | Failure:
        import openai

        try:
            image = self._encode(question)
        except (OSError, ValueError) as error:
            return Failure("picture_unreadable", str(error))
        content = [
            {"type": "image_url", "image_url": {"url": image}},
            {"type": "text", "text": question.text},
        ]
        options: dict[str, Any] = {self.limit: self.max_tokens}
        options |= {"temperature": self.temperature} if self.temperature >= 0 else {}
        messages: Any = [{"role": "user", "content": content}]
        try:
            create = client.chat.completions.create
            return _read_answer(create(model=self.model, messages=messages, **options))
        except openai.APITimeoutError:
            return Failure("timeout", f"no answer in {self.timeout:g} s")
        except openai.APIStatusError as error:
            return self._read_status(error)
        except openai.APIConnectionError as error:
            return Failure("unreachable", self._described(error.__cause__ or error))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            return Failure("malformed_answer", self._described(error))  # no chat completion

    def _described(self, error: BaseException) -> str:
        return self._redact(f"{type(error).__name__}: {first_line(error)}")

    def _encode(self, question: Question) -> str:
        """Return the image as a data URL. It is encoded again, so none of its file's metadata is sent."""
        data = io.BytesIO()
        question.image.load(self.max_side).save(data, "JPEG", quality=_JPEG_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"

    def _read_status(self, error: openai.APIStatusError) -> Failure:
        """Return why the question failed, or raise `FdrdError` if every question will."""
        status = error.status_code
        detail = f"{status}: {self._redact(' '.join(error.response.text.split()))}"
        remedy = {
            401: f"put a valid API key into ${self.key_variable}",
            402: "the account has no credit left",
            404: "check -C url and -C model",
        }.get({403: 401, 405: 404}.get(status, 404 if status < 400 else status))
        if "insufficient_quota" in detail:
            remedy = "no quota left"
        if remedy:
            raise FdrdError(f"endpoint: {self.url} answered {detail}; {remedy}") from None
        if status == 429:
            return Failure("rate_limited", detail)
        busy = status >= 500 or status in (408, 409)
        return Failure("server_error" if busy else "question_refused", detail)

    def _redact(self, message: str) -> str:
        """Remove the key from a server's message, because some servers repeat it."""
        message = message.replace(self._key, "[key]") if self._key else message
        return message[:_MESSAGE_CHARACTERS]

    def _cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.input_price < 0 or self.output_price < 0:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


def _read_answer(completion: Any) -> Answer | Failure:
    """Return the answer, or why it is empty. Any error means that the server sent something else."""
    choice, usage = completion.choices[0], completion.usage
    text, finish = choice.message.content, choice.finish_reason
    if text is not None and not isinstance(text, str):
        raise TypeError(f"content is a {type(text).__name__}")
    if text and text.strip():
        read, written = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        return Answer(text, int(read or 0), int(written or 0), cut=finish == "length")
    if finish == "content_filter":
        return Failure("question_refused", "the server's content filter blocked the answer")
    if finish == "length":
        return Failure("empty_answer", "reasoning used up max_tokens; allow more")
    return Failure("empty_answer", f"finish_reason is {finish!r}")


def _check_url(url: str, key_variable: str) -> None:
    if "?" in url or "@" in url.partition("//")[2].partition("/")[0]:
        raise FdrdError(
            f"endpoint: the url holds a user or a query; put a key into ${key_variable} instead"
        )
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    except ValueError:  # e.g. of the port
        pass
    raise FdrdError(f"endpoint: url={url}: write http://HOST:PORT/v1 or https://HOST/v1")
