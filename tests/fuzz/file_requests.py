"""Requests for stored files and to an app's HTTP actions, sound ones, for bending."""

from __future__ import annotations

import base64
import hashlib

from tests import patience

DATA = bytes(range(256)) * 8
DIGEST = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
FORM = (
    b'--edge\r\ncontent-disposition: form-data; name="title"\r\n\r\nlamps\r\n'
    b'--edge\r\ncontent-disposition: form-data; name="page"; filename="a.txt"\r\ncontent-type: text/plain\r\n\r\n'
    b"the lamp\r\n--edge--\r\n"
)


def call(url: str, kind: str, path: str, args: dict[str, str]) -> object:
    answer = patience.post(f"{url}/api/{kind}", json={"path": path, "args": args, "format": "json"}).json()
    assert answer["status"] == "success", answer
    return answer["value"]


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """One request as it is on the wire."""
    head = [f"{line} HTTP/1.1", "host: 127.0.0.1", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def api_requests(url: str) -> list[bytes]:
    """To the API port of a server of the client tests' app: uploads, downloads, and HTTP actions below `/http`."""
    target = str(call(url, "mutation", "files:upload_url", {})).removeprefix(url)
    file = patience.post(f"{url}{target}", content=DATA, headers={"content-type": "image/png"}).json()["storageId"]
    shown = call(url, "query", "files:show", {"file": file})
    assert isinstance(shown, dict)
    path = shown["url"].removeprefix(url)
    upload = request(f"POST {target}", "content-type: text/plain", f"digest: sha-256={DIGEST}", body=DATA)
    chunked = f"POST {target} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    download = request(f"GET {path}")
    return [
        upload,
        request(f"POST {target}", "origin: https://page.test", body=b""),
        chunked + b"4\r\nlamp\r\n3;x=y\r\n lit\r\n0\r\n\r\n",
        request(f"OPTIONS {target}", "origin: https://page.test", "access-control-request-method: POST"),
        download,
        request(f"HEAD {path}"),
        *(
            request(f"GET {path}", f"range: bytes={asked}", "origin: https://page.test")
            for asked in ("0-9", "-5", "2000-", "0-", "5-9999", "0-1,4-5")
        ),
        request(f"GET {path}", f'if-none-match: "{DIGEST}"', f'if-range: "{DIGEST}"', "range: bytes=1-2"),
        upload + download + download,
        *site_requests("/http"),
    ]


def site_requests(prefix: str = "") -> list[bytes]:
    """To the site port, or with a prefix to the API port."""
    chunked = (
        f"POST {prefix}/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nx-type: text/plain\r\n\r\n".encode()
    )
    return [
        request(f"GET {prefix}/hello?a=1&b=%20", "cookie: crumb=sweet", "authorization: Bearer a.b.c"),
        request(f"HEAD {prefix}/hello"),
        request(f"GET {prefix}/nowhere"),
        *(
            each
            for path in ("read", "read-blocking")
            for each in (
                request(f"POST {prefix}/{path}/x", "content-type: application/json", body=b'{"a": [1, null]}'),
                request(f"PUT {prefix}/{path}/", "content-type: application/x-www-form-urlencoded", body=b"a=1&b=x+y"),
                request(f"PATCH {prefix}/{path}/é/..", "content-type: multipart/form-data; boundary=edge", body=FORM),
                request(f"DELETE {prefix}/{path}/x?y", body=b"bytes"),
            )
        ),
        request(f"POST {prefix}/echo", "x-type: text/plain", "expect: 100-continue", body=DATA),
        chunked + b"4\r\nlamp\r\n0\r\n\r\n",
        request(f"GET {prefix}/hello") + request(f"GET {prefix}/hello"),
    ]
