"""The certificate that all proxies of a TLS comparison share."""
import os
import shutil
import subprocess
import tempfile


class Credentials:
    """A folder with a self-signed ECDSA P-256 certificate: `chain`, `key`, and `both` in one file."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-bench-")
        self.chain, self.key, self.both = (
            os.path.join(self.folder, name) for name in ("chain.pem", "key.pem", "both.pem"))
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "30", "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example",
                            "-keyout", self.key, "-out", self.chain], check=True, capture_output=True)
            with open(self.both, "w", encoding="ascii") as out:
                for part in (self.chain, self.key):
                    with open(part, encoding="ascii") as f:
                        out.write(f.read())
        except BaseException:
            self.close()
            raise

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
