# SPDX-License-Identifier: Apache-2.0
"""Over TLS: the scheme is part of the key and no part of a scope; a client's certificate is a credential."""
import ssl
import subprocess

import pytest
from env import http, machine
from test_early import HOST, HTML, PAGE, TAG, xadd


class Tls(http.Connection):
    """A connection over TLS, with a certificate where one is given."""

    def __init__(self, port, certificate=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate)
        super().__init__(port)
        self.sock = context.wrap_socket(self.sock)


@pytest.fixture
def certificate(work):
    """Of the server, of a client, and of who trusts them."""
    path = work / "certificate.pem"
    subprocess.run([machine.program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-keyout", path, "-out", work / "only.pem"],
                   check=True, capture_output=True, timeout=60)
    path.write_bytes(path.read_bytes() + (work / "only.pem").read_bytes())
    machine.give(path)
    return path


@pytest.fixture
def site(new_httpd, etagd, backend, certificate):
    """Plain on site.port, TLS on site.tls; running."""
    site = new_httpd(modules=["proxy", "proxy_http", "ssl"], etagd=etagd)
    site.expect_log("AH01906|AH01873|is the name of virtual hosts on different addresses")
    site.tls = machine.free_port()
    both = f"ServerName {HOST}\nETagEngine On\nETagEarly On\nProxyPass / {backend.url}/\n</VirtualHost>\n"
    site.config = (f"Listen 127.0.0.1:{site.tls}\nETagTimeout 1s\nSSLSessionCache none\nMaxKeepAliveRequests 0\n"
                   f"<VirtualHost *:{site.port}>\n{both}<VirtualHost *:{site.tls}>\nSSLEngine On\n"
                   f"SSLCertificateFile {certificate}\nSSLVerifyClient optional\nSSLCACertificateFile {certificate}\n{both}")
    backend.page("/p", PAGE)
    return site.start()


def early(connection, backend, target="/p"):
    before = backend.count()
    a = connection.get(target, {"If-None-Match": TAG})
    assert (a.status, a.etag) == (304, TAG), a
    return backend.count() == before


def test_a_scheme_has_its_own_records_and_a_scope_has_none(site, backend, etagd):
    with http.Connection(site.port) as plain, Tls(site.tls) as tls:
        assert tls.get("/p").etag == TAG and early(tls, backend)
        assert etagd.call("ETAG", "GET", f"https://{HOST}/p") and etagd.call("ETAG", "GET", f"http://{HOST}/p") is None
        assert not early(plain, backend)
        assert early(plain, backend)
        for command in (("url", f"{HOST}/p"), ("url", f"https://{HOST}/p"), ("url", f"http://{HOST}/p"),
                        ("prefix", f"{HOST}/"), ("host", HOST)):
            xadd(etagd, *command)
            assert not early(plain, backend) and not early(tls, backend), command
            assert early(plain, backend) and early(tls, backend), command


def test_a_clients_certificate_is_a_credential(site, backend, certificate):
    with Tls(site.tls) as anybody, Tls(site.tls, certificate) as somebody:
        assert anybody.get("/p").etag == TAG and early(anybody, backend)
        for _ in range(2):
            assert not early(somebody, backend)
        backend.page("/mine", PAGE)
        for _ in range(2):
            assert somebody.get("/mine").etag == TAG
        assert not early(anybody, backend, "/mine"), "learned from a request with a certificate"
        backend.page("/public", PAGE, HTML + [("Cache-Control", "public")])
        assert somebody.get("/public").etag == TAG
        assert early(anybody, backend, "/public"), "public may be learned from it"
