# SPDX-License-Identifier: Apache-2.0
"""What `apache2 -t` says to values that are wrong, and what httpd warns of at start."""
import pytest

from env import machine

WRONG = [
    ("ETagEngine Maybe", '"Maybe" is none of: On, Off, DetectionOnly'),
    ("ETagSource upstream guess", '"guess" is none of: upstream, digest, version, generation'),
    ("ETagSource digest digest", '"digest" is named twice'),
    ("ETagSource", "at least one of upstream, digest, version"),
    ("ETagCoded both", '"both" is none of: strong, weak'),
    ("ETagEarly 1", "must be On or Off"),
    ("ETagCacheStatus maybe", "must be On or Off"),
    ("ETagLastModified Never", '"Never" is none of: Agree, Off, Pass'),
    ("ETagTTL 0", '"0" is no duration from 1s to 365d'),
    ("ETagTTL 1w", '"1w" is no duration'),
    ("ETagTTL 366d", '"366d" is no duration'),
    ("ETagTTL s", '"s" is no duration'),
    ("ETagTTL -1s", '"-1s" is no duration'),
    ("ETagTTL 99999999999999999999s", "is no duration"),
    ("ETagTTL 9223372036854775807h", "is no duration"),
    ("ETagTimeout 6s", '"6s" is no duration from 1ms to 5s'),
    ("ETagTimeout 0", '"0" is no duration from 1ms to 5s'),
    ("ETagBufferTime 61s", '"61s" is no duration from 0s to 1min'),
    ("ETagBufferLimit 2G", '"2G" is no size from 0 to 1073741824 bytes'),
    ("ETagBufferLimit 1X", '"1X" is no size'),
    ("ETagBufferLimit -1", '"-1" is no size'),
    ("ETagInlineLimit 9223372036854775807G", "is no size"),
    ("ETagTrustFS", "at least one of Auto, All, None"),
    ("ETagTrustFS nfs nosuchfs", '"nosuchfs" is none of: Auto, All, None, ext2, ext3, ext4,'),
    ("ETagTrustFS All nfs", '"All" stands alone or not at all'),
    ("ETagTrustFS nfs Auto", '"Auto" stands alone or not at all'),
    ("ETagInlineLimit K", '"K" is no size'),
    ("ETagIgnoreQuery utm_*", '"utm_*" is not the name of a query parameter (no wildcards)'),
    ("ETagIgnoreQuery a=b", '"a=b" is not the name of a query parameter'),
    ("ETagIgnoreQuery a All", '"All" stands alone or not at all'),
    ("ETagIgnoreQuery a No-Vary-Search", '"No-Vary-Search" stands alone'),
    ("ETagIgnoreQuery None a", '"None" stands alone or not at all'),
    ("ETagIgnoreQuery", "at least one argument is wanted"),
    ("ETagIgnoreCookies a;b", '"a;b" is not the name of a cookie'),
    ("ETagVary *", '"*" is not the name of a request header, or cookie:NAME'),
    ("ETagVary cookie:", '"cookie:" is not the name of a request header'),
    ("ETagVary A,B", '"A,B" is not the name of a request header'),
    ("ETagCredentials X:Y", '"X:Y" is not the name of a header'),
    ("ETagGroups a,b", '"a,b" is not a group\'s name'),
    ('ETagGroups "expr=%{nonsense"', "cannot parse the expression"),
    ("ETagGroups expr=a b", "an expression stands alone"),
    ("ETagGroupHeader strip:", '"strip:" is not the name of a header'),
    ("ETagVersion ETag-Version", '"ETag-Version" is neither header:NAME nor expr=EXPRESSION'),
    ("ETagVersion header:", '"header:" is neither'),
    ("ETagBaseURL www.example.com", "scheme and host are wanted"),
    ("ETagBaseURL https://www.example.com/shop", "nothing behind them"),
    ("ETagBaseURL https://www.example.com/?q", "nothing behind them"),
    ("ETagBaseURL https://me@www.example.com", "is not the URL of a site"),
    ("ETagBaseURL ftp://www.example.com", "the scheme is neither http nor https"),
    ("ETagBaseURL https://www.example.com:70000", "www.example.com:70000"),
    ("ETagBaseURL https://www..example.com", "the host is missing or malformed"),
    ("ETagSecretFile none/such", "cannot open"),
    ("ETagSecretFile .", "is not a regular file"),
    ("ETagDaemon " + "x" * 110, "has room for 107: choose a shorter one"),
]

RIGHT = [
    "ETagTTL 90", "ETagTTL 2h", "ETagTTL 365D", "ETagTimeout 5", "ETagTimeout 5s", "ETagBufferTime 0", "ETagBufferLimit 0",
    "ETagTrustFS auto", "ETagTrustFS NFS squashfs Erofs fuse", "ETagTrustFS none",
    "ETagInlineLimit 1g", "ETagIgnoreQuery all", "ETagIgnoreQuery no-vary-search", "ETagVary Cookie:sid X-Lang", "ETagVary none", "ETagCredentials None",
    "ETagGroups a b:c/d", "ETagGroupHeader Surrogate-Key xkey strip", "ETagGroupHeader None",
    'ETagVersion "expr=%{req:X-Build}"', 'ETagGroups "expr=product-%{env:ID}"', "ETagBaseURL HTTP://[2001:DB8::1]:8080/",
    "ETagSource version upstream digest", "ETagSource generation", "ETagSalt None", "ETagDaemon " + "x" * 40,
]

GLOBAL = ["ETagDaemon /s", "ETagTimeout 1s", "ETagAllowOverride On"]
NOT_IN_SECTIONS = [*GLOBAL, "ETagBaseURL https://a.example.com", "ETagSecretFile /s"]


@pytest.fixture
def plain(new_httpd):
    """Not started: only its configuration is checked. Nobody listens on its socket."""
    return new_httpd(etagd="/nowhere/etagd.sock")


def line_of(httpd, directive):
    """-t's exit status and its complaint, which names file and line."""
    status, said = httpd.syntax(directive + "\n")
    number = httpd.conf_file.read_text().splitlines().index(directive) + 1
    return status, said, f"Syntax error on line {number} of {httpd.conf_file}"


@pytest.mark.parametrize("directive,message", WRONG, ids=[d[:50] for d, _ in WRONG])
def test_wrong_values_are_refused(plain, directive, message):
    status, said, place = line_of(plain, directive)
    assert status != 0 and message in said and place in said, said
    assert directive.split()[0] in said.split(place)[1], "the message names the directive"


def test_right_values_are_taken_without_etagd(plain):
    for directive in RIGHT:
        status, said = plain.syntax(directive + "\n")
        assert status == 0 and "Syntax OK" in said, said


@pytest.mark.parametrize("directive", GLOBAL)
def test_not_in_a_virtual_host(plain, directive):
    status, said = plain.syntax(f"<VirtualHost *:1>\nServerName a\n{directive}\n</VirtualHost>\n")
    assert status != 0 and f"{directive.split()[0]} cannot occur within <VirtualHost> section" in said, said


@pytest.mark.parametrize("directive", NOT_IN_SECTIONS)
@pytest.mark.parametrize("section", ["Directory /", "Location /", "Files x", "If true"])
def test_not_in_a_section(plain, directive, section):
    status, said = plain.syntax(f"<{section}>\n{directive}\n</{section.split()[0]}>\n")
    assert status != 0 and f"{directive.split()[0]} " in said and "not allowed in <" in said, said


@pytest.mark.parametrize("content,mode,message", [
    ("a" * 32, 0o640, "open to others than its owner (mode 0640): chmod 600"),
    ("a" * 32, 0o604, "open to others than its owner (mode 0604): chmod 600"),
    ("a" * 15, 0o600, ":1: a secret of at least 16 bytes is wanted"),
    ("a" * 32 + "\n\nshort\n", 0o600, ":3: a secret of at least 16 bytes is wanted"),
    ("\n\r\n", 0o600, "holds no secret"),
    ("x" * 70000, 0o600, "is not a regular file of at most 65536 bytes"),
])
def test_secret_files(plain, content, mode, message):
    path = machine.write(plain.folder / "secrets", content, mode)
    status, said, _ = line_of(plain, f"ETagSecretFile {path}")
    assert status != 0 and f"{path}" in said and message in said, said
    assert content.strip()[:14] not in said or not content.strip(), "a secret must not be shown"


PITFALLS = [
    ("Header unset ETag", "takes every tag off"),
    ("Header always unset ETag", "takes every tag off"),
    ("Header onsuccess set ETag x", "replaces the tag"),
    ("Header edit ETag a b", "changes the tag"),
    ("Header add ETag x", "sends a second tag"),
    ("RequestHeader edit If-None-Match -gzip x", "suffixes such as -gzip are understood"),
    ("RequestHeader unset If-None-Match", "takes the client's tag away"),
    ("DeflateAlterEtag Remove", "takes the tag off every compressed response"),
    ("DeflateAlterEtag NoChange", "gives compressed and plain bodies one tag"),
]


@pytest.mark.parametrize("section", ["", "Location /x"])
def test_warnings_at_start(new_httpd, etagd, section):
    lines = [d for d, _ in PITFALLS if not section or not d.startswith("Deflate")]
    config = "ETagEngine On\n" + (f"<{section}>\n" if section else "") + "\n".join(lines)
    httpd = new_httpd(config + ("\n</Location>\n" if section else "\n"), modules=["headers", "deflate"], etagd=etagd)
    httpd.expect_log(r"mod_etag: .*httpd\.conf:\d+: ")
    httpd.start()
    numbered = httpd.conf_file.read_text().splitlines()
    for directive, message in PITFALLS:
        if directive not in lines:
            continue
        place = f'{httpd.conf_file}:{numbered.index(directive) + 1}: "{directive}" '
        found = [s for s in httpd.error_text().splitlines() if place in s]
        assert len(found) == 1 and message in found[0], (directive, found)
    assert len(httpd.log_lines("mod_etag: .*httpd.conf:")) == len(lines)


def test_no_warnings_where_the_engine_is_off(new_httpd):
    config = "".join(f"{d}\n" for d, _ in PITFALLS)
    httpd = new_httpd("ETagEngine Off\n" + config, modules=["headers", "deflate", "file_cache"]).start()
    assert not httpd.log_lines("mod_etag: ")


def test_file_cache_is_named(new_httpd, etagd):
    httpd = new_httpd("ETagEngine On\n", modules=["file_cache"], etagd=etagd)
    httpd.start()
    httpd.wait_log("mod_etag: mod_file_cache is loaded: .*do not use CacheFile and MMapFile")
    assert len(httpd.log_lines("mod_file_cache")) == 1


def test_sane_settings_are_not_warned_of(new_httpd, etagd):
    httpd = new_httpd("ETagEngine On\nHeader set X-ETag a\nHeader unset Server\nHeader set Vary ETag\nFileETag None\n"
                      "DeflateAlterEtag AddSuffix\n", modules=["headers", "deflate"], etagd=etagd).start()
    assert not httpd.log_lines("mod_etag: .*httpd.conf")
