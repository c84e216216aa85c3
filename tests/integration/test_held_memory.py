# SPDX-License-Identifier: Apache-2.0
"""ETagBufferLimit bounds memory: a body that comes in small pieces takes about as much as one in large ones."""
from pathlib import Path

import pytest
from env.backend import chunk
from env.tags import content_tag

PIECE = b"a piece of the page, " * 4
PIECES = 1500
BODY = PIECE * PIECES
MOST = 4 << 20  # 126 kB of body; 8 MB if each piece keeps the buffer that it was read into, more if each byte a bucket


def peak(httpd):
    """Bytes that the children have ever had resident."""
    lines = [line for pid in httpd.children() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def grown_by(httpd, target, body):
    """By the whole page, after one that is served in the same way has taken what a first request takes."""
    assert httpd.get(f"{target}?1").status == 200
    before = peak(httpd)
    got = httpd.get(f"{target}?{PIECES}")
    assert got.body == body and got.etag == content_tag(body, "text/html")
    return peak(httpd) - before


def test_a_chunk_for_each_byte(new_httpd, etagd, backend):
    """One read brings a bucket for each."""

    def page(request, send):
        body = PIECE * int(request.target.split("?")[1])
        send(b"HTTP/1.1 200 -\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n" +
             b"".join(chunk(bytes([byte])) for byte in body) + b"0\r\n\r\n")

    backend.routes["/p"] = page
    config = f"ETagEngine On\nETagBufferTime 60s\nProxyPass / {backend.url}/\n"
    httpd = new_httpd(config, modules=["proxy", "proxy_http"], etagd=etagd)
    httpd.start()
    assert grown_by(httpd, "/p", BODY) < MOST


@pytest.mark.parametrize("module", ["cgi", "cgid"])
def test_a_write_for_each_piece(new_httpd, etagd, module):
    """Each read brings a buffer with little in it: the script gives httpd the time for it."""
    httpd = new_httpd(modules=[module], etagd=etagd)
    httpd.config = ("ETagEngine On\nETagBufferTime 60s\n"
                    f"<Directory {httpd.docs}>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n</Directory>\n")
    httpd.add("p.cgi", f"""#!/usr/bin/perl
$| = 1;
print "Content-Type: text/html\\n\\n";
for (1..$ENV{{QUERY_STRING}}) {{
    print "{PIECE.decode()}";
    select(undef, undef, undef, 0.0005);
}}
""").chmod(0o755)
    httpd.start()
    assert grown_by(httpd, "/p.cgi", BODY) < MOST
