# SPDX-License-Identifier: Apache-2.0
"""An internal redirect that leaves the engine's locations: the target answers as stock httpd does."""
import time

import pytest
from env.httpd import Httpd

PAGE = b"<p>as it was</p>\n" * 20


@pytest.fixture(scope="module")
def sites(shared_servers):
    """(ours, stock): /on/r.cgi redirects internally to what its query names."""
    made = []
    for own in (True, False):
        site = shared_servers(Httpd, modules=["cgid"], own=own)
        site.add("p.html", PAGE, mtime=time.time() - 86400)
        site.add("on/r.cgi", "#!/bin/sh\nprintf 'Location: %s\\r\\n\\r\\n' \"$QUERY_STRING\"\n").chmod(0o755)
        engine = "ETagEngine On\n" if own else ""
        site.config = (f"FileETag Size\n<Directory {site.docs}/on>\nOptions ExecCGI\nAddHandler cgi-script .cgi\n{engine}"
                       "</Directory>\n")
        made.append(site.start())
    return made


def shown(answer):
    refused = answer.status == 412  # in stock by the script, which has nothing to show of the page
    return answer.status, refused or (answer.body, answer.etag, answer.header("Content-Range"))


@pytest.mark.parametrize("condition, status", [
    ({}, 200), ({"If-None-Match": "tag"}, 304), ({"If-None-Match": '"x"'}, 200), ({"If-Match": '"x"'}, 412),
    ({"If-Modified-Since": "date"}, 304), ({"Range": "bytes=0-4"}, 206)], ids=str)
def test_the_target_judges(sites, condition, status):
    answers = []
    for site in sites:
        plain = site.get("/p.html")
        known = {"tag": plain.etag, "date": plain.header("Last-Modified")}
        answers.append(site.get("/on/r.cgi?/p.html", {k: known.get(v, v) for k, v in condition.items()}))
    ours, stock = answers
    assert stock.status == status
    assert shown(ours) == shown(stock)
