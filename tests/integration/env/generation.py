# SPDX-License-Identifier: Apache-2.0
"""httpd in front of the application, its tags named by the store (ETagSource generation)."""
import re

HOST = "www.example.com"


def attached(site):
    """A child attaches with its first request, and goes on without until it has."""
    site.get("/nothing")
    return {int(pid) for pid in re.findall(r"child (\d+) mapped table", site.error_text())} >= set(site.children())


def configuration(backend, more=""):
    return (f"ETagEngine On\nETagSource generation\nETagTimeout 1s\nETagBaseURL http://{HOST}/\n"
            f"ETagGroupHeader Surrogate-Key Cache-Groups\n{more}ProxyPass / {backend.url}/ disablereuse=on\n")
