"""Media cells are written by strangers: what lies outside, inside the network, too large or too slow is refused."""

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from attrgan.errors import MediaError
from attrgan.features import media
from attrgan.features.media import Reader


def reason(reader: Reader, cell: object) -> str:
    """Why a cell is refused."""
    with pytest.raises(MediaError) as raised:
        reader.read(cell)
    return str(raised.value)


@pytest.mark.parametrize("cell", [b"abc", bytearray(b"abc"), memoryview(b"abc"), np.frombuffer(b"abc", np.uint8)])
def test_bytes_in_any_form_are_content(cell):
    assert Reader(".").read(cell) == b"abc"


@pytest.mark.parametrize("cell", [5, 2.5, ["a"], {"path": "a"}, np.array(["a"], dtype=object)])
def test_anything_else_is_refused(cell):
    assert reason(Reader("."), cell) == "neither bytes nor a path nor a URL"


def test_more_bytes_than_a_picture_needs_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(media, "MAX_BYTES", 1_000_000)
    (tmp_path / "large").write_bytes(bytes(1_000_001))
    for cell in (bytes(1_000_001), "large"):
        assert reason(Reader(tmp_path), cell) == "more than 20 MB"


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A media folder, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    place = tmp_path / "media"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "a.jpg").write_bytes(b"picture")
    return place


def test_a_path_below_the_folder_is_read_whether_relative_or_absolute(root):
    assert Reader(root).read("sub/a.jpg") == b"picture"
    assert Reader(root).read("sub/../sub/a.jpg") == b"picture"
    assert Reader(root).read(str(root / "sub" / "a.jpg")) == b"picture"


def test_a_path_that_leads_outside_is_refused_however_it_is_written(root):
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder").symlink_to(root.parent)
    for cell in ("../secret", "sub/../../secret", str(root.parent / "secret"), "link", "folder/secret", "/etc/passwd"):
        assert reason(Reader(root), cell) == "a path that leads outside of `media_root`"


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(root):
    os.mkfifo(root / "pipe")
    (root / "loop").symlink_to(root / "loop")
    assert reason(Reader(root), "pipe") == reason(Reader(root), "sub") == "not a regular file"
    for cell in ("absent.jpg", "loop", "a\0b", "x" * 5000):
        assert reason(Reader(root), cell) == "no such file"


# --- URLs -------------------------------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """Answers by path."""

    asked: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        getattr(self, "_" + self.path.strip("/").partition("?")[0], self._absent)()

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _absent(self) -> None:
        self._answer(b"", 404)

    def _picture(self) -> None:
        self._answer(b"picture")

    def _large(self) -> None:
        self._answer(bytes(2_000_000))

    def _shy(self) -> None:
        self._answer(b"picture", 200 if type(self).asked.count("/shy") > 2 else 503)

    def _elsewhere(self) -> None:
        self._answer(b"", 302, Location=f"http://127.0.0.1:{self.server.server_address[1]}/picture")

    def _file(self) -> None:
        self._answer(b"", 302, Location="file:///etc/passwd")

    def _round(self) -> None:
        self._answer(b"", 302, Location="/round")

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100):
            self.wfile.write(b"a")
            time.sleep(0.05)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on loopback, under a name and so a host of its own."""
    Server.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.daemon_threads = True
        running.block_on_close = False
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://localhost:{running.server_address[1]}"
        running.shutdown()


def test_a_url_is_read_where_its_host_is_allowed(server):
    reader = Reader(".", ["LocalHost"])
    assert [reader.read(f"{server}/picture?{i}") for i in range(3)] == [b"picture"] * 3


def test_a_private_address_is_refused_before_anything_is_sent_to_it(server):
    port = server.rpartition(":")[2]
    for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1", "0.0.0.0"):
        assert "not public" in reason(Reader("."), f"http://{host}:{port}/picture")
    assert Server.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("::1", False), ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:10.0.0.1", False), ("224.0.0.1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, public):
    assert media._is_public(address) is public


def test_a_redirect_to_a_private_address_is_refused(server):
    assert "not public" in reason(Reader(".", ["localhost"]), f"{server}/elsewhere")
    assert Server.asked == ["/elsewhere"]


def test_a_redirect_never_leaves_http_nor_goes_round(server):
    assert "cannot be read" in reason(Reader(".", ["localhost"]), f"{server}/file")
    assert "cannot be read" in reason(Reader(".", ["localhost"]), f"{server}/round")
    assert Server.asked.count("/round") == 4


def test_other_schemes_are_refused():
    for url in ("file:///etc/passwd", "ftp://host/a.jpg", "s3://bucket/a.jpg", "gopher://host/", "http:///a.jpg"):
        assert reason(Reader("."), url) == "a URL that is not http or https"
    assert reason(Reader("."), "http://[::1/a.jpg") == "not a URL"


def test_a_server_that_is_busy_is_asked_a_few_times(server):
    assert Reader(".", ["localhost"]).read(f"{server}/shy") == b"picture"


def test_an_answer_that_is_no_picture_says_its_status(server):
    assert reason(Reader(".", ["localhost"]), f"{server}/none") == "its server answers 404"


def test_a_download_ends_at_the_size_that_is_allowed(server, monkeypatch):
    monkeypatch.setattr(media, "MAX_BYTES", 1_000_000)
    assert reason(Reader(".", ["localhost"]), f"{server}/large") == "more than 20 MB"


def test_a_server_that_drips_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(media, "DEADLINE", 0.3)
    assert "cannot be read (TimeoutError)" in reason(Reader(".", ["localhost"]), f"{server}/drip")


def test_a_server_that_does_not_answer_is_given_up():
    reader = Reader(".", ["localhost"])
    reasons = [reason(reader, "http://localhost:9/a.jpg") for _ in range(media.GIVE_UP + 1)]
    assert "cannot be read" in reasons[0]
    assert reasons[-1] == "its server failed several times in a row"
