"""Object stores on `s3://`: the one place where the settings of the section `s3` reach the clients.

Three clients read and write there: s3fs (`attrgan.lake.s3_files`, all files), deltalake (tables) and the boto3 inside
MLflow (artifacts). What they all obey are variables of the environment, so the settings become variables of this
process, which what it starts inherits; deltalake's own client gets the same as storage options.

Credentials are no settings. boto3 and deltalake each look for them themselves, in the environment, a profile, a web
identity, the container's or the machine's role, and renew those that expire while a verb runs.
"""

import os
import re
import time
from collections.abc import Callable
from secrets import SystemRandom
from typing import TypeVar
from urllib.parse import urlsplit

from attrgan.config import settings
from attrgan.errors import AttrGANError, SettingsError, StoreError

T = TypeVar("T")
SCHEMES = ("s3://", "s3a://")
ENDPOINT = "AWS_ENDPOINT_URL_S3"
_DEFAULT_REGION = "us-east-1"
"""What servers other than Amazon's take for granted; Amazon's answer to a wrong one says so."""
_DENIED = {
    "403": "access is denied",
    "AccessDenied": "access is denied",
    "AllAccessDisabled": "access is denied",
    "InvalidAccessKeyId": "the access key is not known",
    "InvalidToken": "the session token is not valid",
    "SignatureDoesNotMatch": "the secret key does not fit the access key",
}
_WRONG_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301")
_BUSY = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "500", "502", "503", "504")

_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound")
_UNREACHABLE = ("EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError")
_BROKEN_OFF = ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError", "ResponseStreamingError",
               "IncompleteReadError", "ClientPayloadError")  # fmt: skip
_ANSWER = re.compile(r"Server returned[^\n]*\n.*?(?P<status>\d{3}) .*?(?:<Code>(?P<code>\w+)</Code>|$)", re.DOTALL)
_NO_CHAIN = "no credentials found in chain"
_KINDS = {
    _NO_CHAIN: "NoCredentialsError",
    "169.254.169.254": "NoCredentialsError",
    "tcp connect error": "EndpointConnectionError",
    "dns error": "EndpointConnectionError",
    "timed out": "ReadTimeoutError",
    "HTTP error": "ConnectionClosedError",
}


def is_s3(place: object) -> bool:
    """Whether a place is in an object store that speaks S3."""
    return str(place).startswith(SCHEMES)


def prepare() -> None:
    """Makes the settings variables of this process, for every client of S3 in it and in what it starts.

    A setting overrides a variable that is there. Attempts and waiting are those of botocore's standard mode
    (exponential, with jitter, honouring `Retry-After`), unless the environment names others.
    """
    of = settings().s3
    given = {ENDPOINT: of.endpoint_url, "AWS_REGION": of.region, "AWS_DEFAULT_REGION": of.region}
    os.environ.update({name: value for name, value in given.items() if value})
    os.environ.setdefault("AWS_RETRY_MODE", "standard")
    os.environ.setdefault("AWS_MAX_ATTEMPTS", str(of.attempts))


def endpoint() -> str | None:
    """The URL of the server; None: Amazon's."""
    return settings().s3.endpoint_url or os.environ.get(ENDPOINT) or os.environ.get("AWS_ENDPOINT_URL") or None


def table_options() -> dict[str, str]:
    """The storage options of a Delta table; plain HTTP is allowed exactly where such an endpoint is named."""
    prepare()
    of, url = settings().s3, endpoint()
    options = {
        "AWS_FORCE_CREDENTIAL_LOAD": "true",  # look where boto3 looks, also on a server that is not Amazon's
        "backoff_config.init_backoff": "500 ms",
        "timeout": f"{of.timeout_seconds} s",
        "connect_timeout": "5 s",
        "max_retries": str(of.attempts),
        "retry_timeout": f"{of.timeout_seconds * of.attempts} s",
    }
    if url:
        options |= {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": str(url.startswith("http://")).lower()}
        if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
            options["AWS_REGION"] = _DEFAULT_REGION
    return options


def patiently(call: Callable[[], T]) -> T:
    """What deltalake does in an object store, its failures in one sentence.

    Its client repeats requests, but neither a commit (which may have been made although its answer was lost) nor the
    reading of a body: where these broke off, the whole call is made again, which therefore must look at what is there.
    """
    random, attempts = SystemRandom(), settings().s3.attempts
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except OSError as error:
            told = explained(error)
            if told is None:
                raise
            if attempt == attempts or isinstance(told, SettingsError) or "max_retries" in str(error):
                raise told from None
        time.sleep(random.uniform(0, min(4.0, 0.1 * 2**attempt)))
    raise AssertionError


def explained(error: BaseException, bucket: str | None = None) -> AttrGANError | None:
    """What a failure of an object store means, as one sentence; None for an error that is about something else.

    Wrong credentials, a bucket that is not there and a server that cannot be reached are settings to be corrected
    (SettingsError); a server that stays busy or breaks off, after all attempts, and a token that has expired are worth
    another run (StoreError).
    """
    code, kind, at = _code(error), _kind(error), _at(bucket)
    if code == "NoSuchBucket":
        return SettingsError(f"there is no bucket at {at}: create it, or correct the place")
    if code in _DENIED:
        return SettingsError(
            f"{_DENIED[code]} at {at}: give this machine credentials (environment, profile, role or "
            "`s3.airflow_conn_id`) that may read and write there; docs/runbooks/s3.md has the policy"
        )
    if kind in _NO_CREDENTIALS:
        return SettingsError(
            f"no credentials for {at} ({_short(error)}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "a role or `s3.airflow_conn_id`"
        )
    if code == "ExpiredToken":
        return StoreError(f"the session token has expired at {at}: run it again with a new one")
    if code in _WRONG_REGION:
        return SettingsError(f"{at} is of another region ({_short(error)}): set `s3.region` to it")
    if kind in _UNREACHABLE:
        return SettingsError(
            f"the object store of {at} cannot be reached ({_short(error)}): see that it runs and that "
            "`s3.endpoint_url` and `s3.region` name it"
        )
    if code in _BUSY or kind in _BROKEN_OFF:
        return StoreError(f"the object store of {at} did not answer in {settings().s3.attempts} attempts "
                          f"({_short(error)}): run it again")  # fmt: skip
    return None


def _code(error: BaseException) -> str | None:
    """The code of an answer: of botocore's error, of what s3fs made from it, or in the text of deltalake's."""
    for one in (error, error.__cause__):
        answer = getattr(one, "response", None)
        if isinstance(answer, dict) and "Error" in answer:
            return str(answer["Error"].get("Code"))
    found = _ANSWER.search(str(error)) if _is_of_a_table(error) else None
    return (found["code"] or found["status"]) if found else None


def _kind(error: BaseException) -> str:
    """The class of a failure without an answer, as botocore names it."""
    name = type(error).__name__
    if name == "EndpointConnectionError":  # aiobotocore's name for a connection that was reset, too
        cause = type(getattr(error, "kwargs", {}).get("error")).__name__
        return name if "Connector" in cause or cause == "NoneType" else "ConnectionClosedError"
    if _is_of_a_table(error):
        return next((kind for words, kind in _KINDS.items() if words in str(error)), name)
    return name


def _is_of_a_table(error: BaseException) -> bool:
    """Whether an error comes from deltalake's client of object stores, which knows only words."""
    words = ("Generic S3 error", "Error performing", _NO_CHAIN)
    return isinstance(error, OSError) and any(some in str(error) for some in words)


def _at(bucket: str | None) -> str:
    url = endpoint()
    where = f" ({urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]})" if url else ""
    return (f"s3://{bucket}" if bucket else "s3://") + where


def _short(error: BaseException) -> str:
    text = re.sub(r"\x1b\[\d+m|↳", "", str(error))
    return " ".join(text.split())[-200:] or type(error).__name__
