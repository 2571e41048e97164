"""Certificates made at run time with openssl: an authority and what it signs. P-256, because it is quick."""
import os
import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """An authority whose files, and those of the certificates it issues, live in a folder of the test's."""

    def __init__(self, folder, name="Test CA"):
        self.folder = folder
        self._serial = 1
        stem = name.lower().replace(" ", "-")
        self.file = os.path.join(folder, stem + ".pem")
        self._key = os.path.join(folder, stem + ".key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file)

    def issue(self, name, sans=None, days=30, folder=None, stem=None):
        """(chain file, key file) of a new certificate; `sans` as openssl writes them: "DNS:a.test,IP:127.0.0.1"."""
        self._serial += 1
        stem = os.path.join(folder or self.folder, stem or f"{name.replace('*', 'any')}-{self._serial}")
        chain, key, request, extensions = stem + ".crt", stem + ".key", stem + ".csr", stem + ".ext"
        with open(extensions, "w", encoding="utf-8") as f:
            f.write(f"subjectAltName={sans or 'DNS:' + name}\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-set_serial",
                 str(self._serial), "-days", str(days), "-extfile", extensions, "-out", chain)
        for scrap in (request, extensions):
            os.remove(scrap)
        return chain, key

    @property
    def last_serial(self):
        return self._serial
