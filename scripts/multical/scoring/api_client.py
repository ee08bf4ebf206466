"""A client of OpenAI-compatible APIs, with rate limits, retries and parallel requests."""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Event, Lock, Thread, local
from typing import TypeVar

import requests
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential

from multical.errors import HIDDEN, InputError
from multical.models.api_params import Access, Endpoint
from multical.scoring.api import PATHS, Answer, Body, Cache, expected, read

#: HTTP statuses of temporary errors, besides those of 500 and above
RETRYABLE = (408, 409, 425, 429)
#: Error codes with the status 429 that are not temporary
FINAL = ("insufficient_quota", "billing_hard_limit_reached")
#: Largest answer in bytes, unpacked, and what is read of it at a time
LARGEST = 16 * 1024**2
CHUNK = 64 * 1024
#: What OpenSSL says of certificates, and of servers that encrypt otherwise; no other try helps
UNTRUSTED = (
    "CERTIFICATE", "WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION",
    "HANDSHAKE_FAILURE",
)  # fmt: skip
#: Longest wait in seconds: if we choose it, and if the server does
LONGEST_WAIT = 60.0
PATIENCE = 3600.0


Value = TypeVar("Value")


#: Errors of connections
PASSING = (
    requests.ConnectionError, requests.Timeout, ChunkedEncodingError, ContentDecodingError
)  # fmt: skip


class UselessError(InputError):
    """An answer that is of no use."""

    def __init__(self, reason: str, answer: str) -> None:
        super().__init__(reason)
        self.answer = answer


class RetryableError(Exception):
    """A temporary error; `seconds` is the wait that the server asks for, if any."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Pace:
    """Schedules requests within rate limits.

    Args:
        requests, tokens: largest numbers per minute; None for no limit.
    """

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._request = 60 / requests if requests else 0.0
        self._token = 60 / tokens if tokens else 0.0
        self._next, self._lock = 0.0, Lock()

    def turn(self, tokens: float) -> float:
        """Reserve the next turn for a request; return the seconds until then."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + max(self._request, tokens * self._token)
            return start - now

    def hold(self, seconds: float) -> None:
        """Give no turn within the next seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def add(self, tokens: float) -> None:
        """Count tokens in excess of those that the turn was reserved for."""
        with self._lock:
            self._next += max(0.0, tokens) * self._token


class Client:
    """An endpoint of an API.

    Args:
        api, access: the sections of the config.

    The client reads the key at the first request, so that a fully cached job needs no key.
    """

    def __init__(self, api: Endpoint, access: Access) -> None:
        self.base = api.url.rstrip("/")
        self.url = self.base + PATHS[api.endpoint]
        self.api, self.access = api, access
        self._pace = Pace(access.requests_per_minute, access.tokens_per_minute)
        self._thread, self._stopped = local(), Event()
        self._failed: InputError | None = None
        self._key = ""

    def fill(
        self, todo: Mapping[str, tuple[str, Body]], cache: Cache
    ) -> Generator[Answer, None, None]:
        """Send requests and store the answers. Yields them in any order.

        `todo` has by key what a request is about, for messages, and its body. Raises `InputError`
        for the first permanent error. The answers so far stay stored.
        """
        if todo:
            self._read_key()
        with ThreadPoolExecutor(self.access.concurrency) as pool:
            futures = [
                pool.submit(self._ask_and_store, key, *request, cache)
                for key, request in todo.items()
            ]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def models(self) -> list[str]:
        """The models that the API lists, or none if it has no such list. This costs nothing.

        Raises `InputError` if the API does not answer or refuses the key.
        """
        self._read_key()
        try:
            response, text = self._send("GET", f"{self.base}/models", None)
            if response.status_code not in (200, 404, 405):
                raise self._refusal(response, text)
            return sorted(str(model["id"]) for model in json.loads(text)["data"])
        except RetryableError as error:
            raise InputError(f"{self.base}: {error}") from None
        except (ValueError, KeyError, TypeError, RecursionError):  # not a list of models
            return []

    def _read_key(self) -> None:
        if self.access.key:
            self._key = secret(self.access.key)

    def _ask_and_store(self, key: str, about: str, body: Body, cache: Cache) -> Answer:
        try:
            try:
                text, answer = self._ask(body)
            except UselessError as error:
                raise cache.refuse(key, error.answer, f"{about}: {error}") from error
            except InputError as error:
                if error is self._failed:  # another request
                    raise
                raise InputError(f"{about}: {error}") from error
            cache.put(key, text)
        except InputError as error:
            self._failed = self._failed or error
            self._stopped.set()  # at once, before we pay for another request
            raise
        return answer

    def _ask(self, body: Body) -> tuple[str, Answer]:
        """The JSON of an answer, and the answer, after retries if necessary."""
        guess, retries = expected(body).input, self.access.retries

        def once() -> tuple[str, Answer]:
            self._wait(self._pace.turn(guess))
            return self._once(body)

        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(retries + 1),
            wait=_backoff,
            before_sleep=self._hold,
            sleep=self._wait,
            reraise=True,
        )
        try:
            text, answer = retrying(once)
        except RetryableError as error:
            tries = retrying.statistics["attempt_number"]
            why = f"in each of {tries} tries"
            if tries <= retries:
                why = f"and asks to wait {error.seconds:.0f} s"
            kept = "the answers so far are kept, so run it again later"
            raise InputError(f"{self.url}: {error}, {why}; {kept}") from error
        self._pace.add(answer.bill.input - guess)
        return text, answer

    def _hold(self, state: RetryCallState) -> None:
        """Hold all requests for as long as the server asks one of them to wait."""
        if seconds := _seconds(state):
            self._pace.hold(seconds)

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise self._failed or CancelledError

    def _once(self, body: Body) -> tuple[str, Answer]:
        response, text = self._send("POST", self.url, body)
        if response.status_code != 200:
            raise self._refusal(response, text)
        try:
            content = json.loads(text)
        except json.JSONDecodeError:
            raise RetryableError(f"an answer that is not JSON, {text[:60]!r}") from None
        except (ValueError, RecursionError):  # which `read` refuses
            content = None
        if isinstance(content, dict) and content.get("error"):  # from a server behind a proxy
            raise RetryableError(f"200 {_error(text)[1]}")
        try:
            return text, read(text, self.api)
        except InputError as error:
            raise UselessError(f"{self.url}: {error}", text) from error

    def _send(self, method: str, url: str, body: Body | None) -> tuple[requests.Response, str]:
        """A response and its text; raises `RetryableError` and `InputError` if there is none."""
        try:
            response, content = within(
                self.access.timeout, partial(self._exchange, self._session, method, url, body)
            )
        except TimeoutError:
            del self._thread.session  # which may still be receiving
            seconds = f"{self.access.timeout:g} s"
            raise RetryableError(f"no whole answer within {seconds} (access.timeout)") from None
        except (OSError, ValueError) as error:  # as all errors of requests are
            reason = _short(self._hidden(f"{type(error).__name__}: {error}"))
            if isinstance(error, PASSING) and not any(word in str(error) for word in UNTRUSTED):
                raise RetryableError(f"no answer ({reason})") from None
            raise InputError(f"{url}: {reason}") from None
        return response, self._hidden(content.decode("utf-8", "replace"))

    def _exchange(
        self, session: requests.Session, method: str, url: str, body: Body | None
    ) -> tuple[requests.Response, bytes]:
        """A response and its unpacked content; raises `InputError` if that is too large."""
        content = bytearray()
        with session.request(
            method,
            url,
            json=body,
            auth=self._sign,
            timeout=self.access.timeout,
            stream=True,
            allow_redirects=False,  # the key is only for this server
            proxies={"no_proxy": "*"} if self.api.is_local else None,
        ) as response:
            for chunk in response.iter_content(CHUNK):
                content += chunk
                if len(content) > LARGEST:
                    raise InputError(f"{url}: found more than {LARGEST:,} bytes, expected fewer")
        return response, bytes(content)

    @property
    def _session(self) -> requests.Session:
        """The connections of this thread."""
        if not hasattr(self._thread, "session"):
            self._thread.session = requests.Session()
        session: requests.Session = self._thread.session
        return session

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # needed even without a key, or requests would take one from ~/.netrc
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _hidden(self, text: str) -> str:
        """A text of the server without the key. It must be whole: a part of a key is not found."""
        return re.sub(spellings(self._key), HIDDEN, text) if self._key else text

    def _refusal(self, response: requests.Response, text: str) -> Exception:
        """The error to raise for a status other than 200."""
        status, (code, message) = response.status_code, _error(text)
        sentence = f"{status} {message or _short(self._hidden(response.reason))}".strip()
        name = self.access.key
        if status == 401:  # its message may contain a part of the key
            remedy = f"${name}: the key is refused" if name else "wants a key (access.key)"
            return InputError(f"{self.url}: 401, {remedy}")
        if (status in RETRYABLE or status >= 500) and code not in FINAL:
            return RetryableError(sentence, retry_after(response.headers.get("Retry-After")))
        return InputError(f"{self.url}: {sentence}")


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """What `call` returns; raises `TimeoutError` if it takes longer.

    It then goes on unheard, in a thread that ends with this process: the time limit of a socket
    starts anew with each byte, so that a server could hold a request for ever.
    """
    outcome: Future[Value] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, RetryableError) and (error.seconds or 0.0) <= PATIENCE


def _seconds(state: RetryCallState) -> float | None:
    """Seconds that the server asks to wait, or None."""
    error = state.outcome and state.outcome.exception()
    return error.seconds if isinstance(error, RetryableError) else None


def _backoff(state: RetryCallState) -> float:
    """Seconds until the next try; 0 if the server sets the wait, see `_hold`."""
    longest = wait_exponential(max=LONGEST_WAIT)(state)
    return 0.0 if _seconds(state) else random.uniform(0.5, 1) * longest


def secret(name: str) -> str:
    """The key in an environment variable; raises `InputError` without quoting the value."""
    value = os.environ.get(name, "")
    if not re.fullmatch(r"[!-~]{8,}", value):
        found = "something that is no key" if value else "nothing"
        raise InputError(f"${name}: found {found}, expected the API key (models: access.key)")
    return value


def spellings(key: str) -> str:
    """A pattern for a key as it is, and as JSON may write it: each letter by its number."""
    escaped = {'"': r'\\?"', "/": r"\\?/", "\\": r"\\\\?"}
    return "".join(
        rf"(?:{escaped.get(one, re.escape(one))}|\\u00(?i:{ord(one):02x}))" for one in key
    )


def retry_after(value: str | None) -> float | None:
    """Seconds of the header Retry-After, a number or a date (RFC 9110); None if it is neither."""
    try:
        seconds = float(value or "")
    except ValueError:
        try:
            moment = parsedate_to_datetime(value or "")
            seconds = (moment - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _error(text: str) -> tuple[str, str]:
    """Code and message of an error in the format of OpenAI, which most servers use."""
    try:
        content = json.loads(text)
        error = content.get("error", content)
        if isinstance(error, dict):
            code, message = error.get("code") or error.get("type"), error.get("message") or ""
            return str(code), _short(str(message))
        return "", _short(str(error))
    except (ValueError, AttributeError, RecursionError):
        return "", _short(text)


def _short(text: str) -> str:
    """The start of a text in one line, without the characters that change a terminal."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:300]
