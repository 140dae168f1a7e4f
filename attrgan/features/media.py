"""The content of media cells: bytes as they are, files below a folder, URLs of public hosts.

A catalog is written by strangers, so a cell must not make this machine read what it should not. Choices:
- A path is resolved, symbolic links and all, and has to end below the setting `media_root`, at a regular file.
- A URL is http or https. The address is checked on the connection itself, before anything is sent over it, so that
  neither a redirect nor a name that resolves differently the second time leads inside; the setting `media_hosts` lists
  hosts that may be private. Proxies of the environment are not used: they would hide the address.
- Sizes and times are bounded: MAX_BYTES, and DEADLINE for a request however slowly its answer drips; a host that
  fails several times in a row is not asked again by the same reader.
"""

import ipaddress
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry, Timeout, parse_url

from attrgan.errors import MediaError

MAX_BYTES = 20_000_000
_TOO_LARGE = f"more than {MAX_BYTES // 10**6} MB"
CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
DEADLINE = 30.0
"""Seconds after which a request is cut."""
GIVE_UP = 5
"""Failures in a row after which a host is not asked again."""
_RETRIES = Retry(
    total=6, connect=1, read=1, status=2, redirect=3, other=0, backoff_factor=0.2,
    status_forcelist=(429, 500, 502, 503, 504), respect_retry_after_header=False,
)  # fmt: skip


class Reader:
    """Reads cells; may be used by many threads at once."""

    def __init__(self, root: str | Path, hosts: Iterable[str] = (), connections: int = 8) -> None:
        self.root = Path(root).resolve()
        self._failures: Counter[str] = Counter()
        self._pool = _guarded_pool(frozenset(host.lower() for host in hosts), connections)

    def read(self, cell: Any) -> bytes:
        """The content of a cell: bytes (also a buffer or an array of uint8), a path or a URL.

        Raises:
            MediaError: why it cannot be read.
        """
        if isinstance(cell, str):
            content = self._fetch(cell) if "://" in cell else self._open(cell)
        elif isinstance(cell, bytes | bytearray | memoryview) or (
            isinstance(cell, np.ndarray) and cell.dtype == np.uint8
        ):
            content = bytes(cell)
        else:
            raise MediaError("neither bytes nor a path nor a URL")
        if len(content) > MAX_BYTES:
            raise MediaError(_TOO_LARGE)
        return content

    def _open(self, cell: str) -> bytes:
        try:
            path = (self.root / cell).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # absent or not to be entered; a loop of links; a null character
            raise MediaError("no such file") from None
        if not path.is_relative_to(self.root):
            raise MediaError("a path that leads outside of `media_root`")
        if not path.is_file():
            raise MediaError("not a regular file")
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError:
            raise MediaError("a file that cannot be opened") from None

    def _fetch(self, url: str) -> bytes:
        try:
            parsed = parse_url(url)
        except urllib3.exceptions.HTTPError:
            raise MediaError("not a URL") from None
        host = parsed.host or ""
        if parsed.scheme not in ("http", "https") or not host:
            raise MediaError("a URL that is not http or https")
        if self._failures[host] >= GIVE_UP:
            raise MediaError("its server failed several times in a row")
        try:
            content = self._get(url)
        except (urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            self._failures[host] += 1
            raise MediaError(f"its server cannot be read ({type(error).__name__})") from None
        self._failures[host] = 0
        return content

    def _get(self, url: str) -> bytes:
        until = time.monotonic() + DEADLINE
        answer = self._pool.request("GET", url, preload_content=False, headers={"Accept-Encoding": "identity"})
        try:
            if answer.status != 200:
                raise MediaError(f"its server answers {answer.status}")
            content = bytearray()
            for block in answer.stream(1 << 16, decode_content=False):
                content += block
                if len(content) > MAX_BYTES:
                    raise MediaError(_TOO_LARGE)
            if time.monotonic() >= until:  # cut in the middle, an answer without a length looks whole
                raise TimeoutError
            answer.release_conn()
            return bytes(content)
        finally:
            answer.close()


def _guarded_pool(hosts: frozenset[str], connections: int) -> urllib3.PoolManager:
    pool = urllib3.PoolManager(
        maxsize=connections, retries=_RETRIES, timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    )
    pool.pool_classes_by_scheme = {
        scheme: type(
            "Pool", (base,), {"ConnectionCls": type("Connection", (_Guard, base.ConnectionCls), {"hosts": hosts})}
        )
        for scheme, base in (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool))
    }
    return pool


class _Guard:
    """A connection that ends at public addresses and `hosts` only, and is cut when a request takes DEADLINE."""

    hosts: frozenset[str]
    host: str
    _copy: socket.socket | None = None
    _timer: threading.Timer | None = None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        if self.host.lower() not in self.hosts and not _is_public(made.getpeername()[0]):
            made.close()
            raise MediaError("a URL whose address is not public; `media_hosts` may allow its host")
        self._copy = made.dup()  # TLS takes the socket itself over
        self._watch()
        return made

    def request(self, *arguments: Any, **options: Any) -> None:
        """Sends a request, whose time begins now."""
        self._watch()
        super().request(*arguments, **options)  # type: ignore[misc]

    def close(self) -> None:
        """Closes the connection, and what would have cut it."""
        if self._timer:
            self._timer.cancel()
        if self._copy:
            self._copy.close()
        super().close()  # type: ignore[misc]

    def _watch(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = threading.Timer(DEADLINE, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        with suppress(OSError):
            if self._copy:
                self._copy.shutdown(socket.SHUT_RDWR)


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_global and not found.is_multicast
