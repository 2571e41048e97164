"""Certificates made at run time with openssl: an authority and what it signs. P-256 by default, because it is quick."""
import os
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def rsa(bits):
    """What issue() takes as a key."""
    return (f"rsa:{bits}",)


class Authority:
    """An authority whose files, and those of the certificates it issues, live in a folder of the test's."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        self._serial = 1
        stem = name.lower().replace(" ", "-")
        self.file = os.path.join(folder, stem + ".pem")
        self._key = os.path.join(folder, stem + ".key")
        _openssl("req", "-x509", "-newkey", *P256, "-nodes", "-days", "30", "-subj", f"/CN={name}",
                 "-keyout", self._key, "-out", self.file)

    def issue(self, name, sans=None, days=30, folder=None, stem=None, key=P256, extensions=()):
        """(chain file, key file) of a new certificate; `sans` as openssl writes them: "DNS:a.test,IP:127.0.0.1".

        `key` is what `openssl req -newkey` is told, `extensions` more lines such as "keyUsage=digitalSignature".
        """
        self._serial += 1
        stem = os.path.join(folder or self.folder, stem or f"{name.replace('*', 'any')}-{self._serial}")
        chain, key_file, request, details = stem + ".crt", stem + ".key", stem + ".csr", stem + ".ext"
        with open(details, "w", encoding="utf-8") as f:
            f.write("\n".join([f"subjectAltName={sans or 'DNS:' + name}", *extensions, ""]))
        _openssl("req", "-newkey", *key, "-nodes", "-subj", f"/CN={name}", "-keyout", key_file, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-set_serial",
                 str(self._serial), "-days", str(days), "-extfile", details, "-out", chain)
        for scrap in (request, details):
            os.remove(scrap)
        return chain, key_file

    @property
    def last_serial(self):
        return self._serial
