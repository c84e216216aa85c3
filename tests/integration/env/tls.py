# SPDX-License-Identifier: Apache-2.0
"""Certificates, made by the openssl command when a test needs them."""
import subprocess
import time

from . import machine

HERE = "IP:127.0.0.1,DNS:localhost"
DAY = 86400
CONF = """[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
copy_extensions = copy
policy = any
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
[any]
commonName = supplied
"""


def openssl(*args):
    subprocess.run([machine.program("openssl"), *map(str, args)], check=True, capture_output=True, timeout=60)


def date(at):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(at))


class Certificate:
    """The files of one: .file and .key; .ca is its issuer's."""

    def __init__(self, ca, file, key):
        self.ca, self.file, self.key = ca, file, key

    def server(self, clients="yes"):
        """redis.conf or sentinel.conf lines. clients: whether they must have a certificate of the same CA."""
        return [f"tls-cert-file {self.file}", f"tls-key-file {self.key}", f"tls-ca-cert-file {self.ca}",
                f"tls-auth-clients {clients}", "tls-replication yes"]

    def cli(self):
        """redis-cli's arguments."""
        return ["--tls", "--cacert", self.ca, "--cert", self.file, "--key", self.key]

    def etagd(self):
        """etagd.conf lines."""
        return f"TLSCAFile {self.ca}\nTLSCertificateFile {self.file}\nTLSKeyFile {self.key}\n"


class Authority:
    """A CA of its own."""

    def __init__(self, folder, name="ca"):
        self.folder = machine.own_folder(folder, name)
        self.file = self.folder / "ca.pem"
        self.conf = machine.write(self.folder / "openssl.cnf", CONF.format(folder=self.folder))
        machine.write(self.folder / "index.txt", "")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 2, "-subj",
                f"/CN={name}", "-keyout", self.folder / "ca.key", "-out", self.file)

    def issue(self, name, names=HERE, begins=-DAY, ends=DAY):
        """names as subjectAltName has them; times in seconds from now."""
        file, key, request = (self.folder / f"{name}.{suffix}" for suffix in ("pem", "key", "csr"))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
                "-addext", f"subjectAltName={names}", "-keyout", key, "-out", request)
        now = time.time()
        openssl("ca", "-batch", "-notext", "-config", self.conf, "-startdate", date(now + begins), "-enddate",
                date(now + ends), "-in", request, "-out", file)
        machine.give(key)
        key.chmod(0o600)
        return Certificate(self.file, file, key)
