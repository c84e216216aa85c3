# SPDX-License-Identifier: Apache-2.0
"""The recipe of a tag, written a second time from its description (etagd/lib/digest.h)."""
import base64
import hashlib
import re

OURS = re.compile(r'^"[dvg][A-Za-z0-9_-]{22}"$')


def _opaque(recipe, fields):
    h = hashlib.sha256()
    for field in (recipe.encode(), *fields):
        h.update(len(field).to_bytes(8, "little") + field)
    return recipe + base64.urlsafe_b64encode(h.digest()[:16]).decode().rstrip("=")


def digest_tag(digest, content_type="", language="", coding="", salt="", suffix=""):
    """The tag of bytes whose SHA-256 is digest, quotes included."""
    fields = [digest] + [t.encode() for t in (content_type, language, coding, salt)]
    return f'"{_opaque("d", fields)}{suffix}"'


def content_tag(body, *selected, **how):
    """The tag of these bytes, as digest_tag."""
    return digest_tag(hashlib.sha256(body).digest(), *selected, **how)


def version_tag(text, content_type="", language="", coding="", salt=""):
    """The weak tag of a version that the application names."""
    return f'W/"{_opaque("v", [t.encode() for t in (text, content_type, language, coding, salt)])}"'
