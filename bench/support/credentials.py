"""What one run of a TLS comparison shares: a certificate for all proxies, and what its load generators offer."""
import os
import shutil
import subprocess
import tempfile

CIPHER = "TLS_AES_128_GCM_SHA256"
# Without it OpenSSL's clients offer AES-256 first, which servers take or not as they please.
OPENSSL_CONF = f"""
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Ciphersuites = {CIPHER}
"""


class Credentials:
    """A folder with a self-signed ECDSA P-256 certificate: `chain`, `key`, and `both` in one file; `openssl_conf` for
    the environment of load generators that use OpenSSL."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-bench-")
        self.chain, self.key, self.both, self.openssl_conf = (
            os.path.join(self.folder, name) for name in ("chain.pem", "key.pem", "both.pem", "openssl.cnf"))
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "30", "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example",
                            "-keyout", self.key, "-out", self.chain], check=True, capture_output=True)
            with open(self.both, "w", encoding="ascii") as out:
                for part in (self.chain, self.key):
                    with open(part, encoding="ascii") as f:
                        out.write(f.read())
            with open(self.openssl_conf, "w", encoding="ascii") as f:
                f.write(OPENSSL_CONF)
        except BaseException:
            self.close()
            raise

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
