"""The source that docs/sources.md shows, over HTTP, with a server that limits and fails."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlparse

import pytest
from barcache import AccessDenied, RateLimited, SourceError, SourceUnavailable
from barcache.sources import as_source, check_bars, source_error, with_retry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = parse_qs(urlparse(self.path).query)
            self.server.asked.append(asked)
            status, headers = self.server.failures.pop(0) if self.server.failures else (200, {})
            symbols = asked["symbols"][0].split(",")
            bars = {
                "timestamp": [f"{asked['from'][0]}T14:30:00"] * len(symbols),
                "symbol": symbols,
                "close": [1.5] * len(symbols),
            }
            body = json.dumps(bars).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.failures = [], []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def acme(server):
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1]
    names = {}
    exec(block, names)
    return names["AcmeSource"](server.url)


def test_it_has_fifteen_lines():
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    block = re.search(r"^class AcmeSource:.*?^```$", text, re.M | re.S)[0]
    assert len([line for line in block.splitlines()[:-1] if line.strip()]) <= 15


def test_it_answers(server, acme):
    source = as_source(acme)
    bars = source.fetch(["A", "B"], "2023-01-03", "2023-01-04", "1d")

    assert bars["symbol"].to_list() == ["A", "B"]
    assert check_bars(bars, "1d").ok
    assert (source.name, source.calendar, source.data_delay_s) == ("acme", "XNYS", 900)
    assert server.asked == [
        {"symbols": ["A,B"], "from": ["2023-01-03"], "to": ["2023-01-04"], "step": ["1d"]}
    ]


def test_limits_and_failures_are_waited_out(server, acme):
    slept = []
    server.failures = [(429, {"Retry-After": "7"}), (503, {})]
    source = with_retry(acme, sleep=slept.append, fraction=lambda: 1.0)

    assert source.fetch(["A"], "2023-01-03", "2023-01-04", "1d").height == 1
    assert slept == [8.0, 2.0]
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind", "calls"),
    [
        (401, AccessDenied, 1), (403, AccessDenied, 1), (404, SourceError, 1),
        (429, RateLimited, 4), (500, SourceUnavailable, 4),
    ],
)  # fmt: skip
def test_what_a_status_means(server, acme, status, kind, calls):
    server.failures = [(status, {})] * 9
    with pytest.raises(HTTPError) as caught:
        with_retry(acme, sleep=lambda _: None).fetch(["A"], "2023-01-03", "2023-01-04", "1d")
    assert type(source_error(caught.value)) is kind
    assert len(server.asked) == calls
    caught.value.close()


def test_a_server_that_is_not_there(server, acme):
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match="refused") as caught:
        acme.fetch(["A"], "2023-01-03", "2023-01-04", "1d")
    assert isinstance(source_error(caught.value), SourceUnavailable)
