"""What testssl.sh (Debian's package) finds on a listener with the default settings of TLS."""
import json
import os
import subprocess

from support import configs
from support.certificates import rsa
from support.tls import TlsCase

# LOW and below are harmless; WARN is what testssl.sh could not find out.
BAD = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}
LOOKED_FOR = {"heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS",
              "BREACH", "POODLE_SSL", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
              "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW", "cipher_order", "PFS"}


class TestsslTest(TlsCase):
    def findings(self, port, *sections):
        """By id; of a section that was not run there is nothing."""
        found = os.path.join(self.folder, "found.json")
        done = subprocess.run(
            ["testssl", "--warnings", "batch", "--quiet", "--color", "0", "--nodns", "none", "--ip", "127.0.0.1",
             "--openssl-timeout", "20", "--connect-timeout", "20", "--add-ca", self.authority.file,
             "--jsonfile", found, *sections, f"https://localhost:{port}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=220, check=False)
        if not os.path.exists(found):
            self.fail(done.stdout + done.stderr)
        with open(found, encoding="utf-8") as f:
            return {finding["id"]: finding for finding in json.load(f)}

    def test_nothing_that_the_daemon_does_is_worse_than_low(self):
        pairs = [self.pair, self.authority.issue("localhost", "DNS:localhost", key=rsa(2048))]
        proxy = self.https(configs.direct(), pairs=pairs, common="alpn_protocols: [h2, http/1.1]")
        found = self.findings(proxy.port, "--protocols", "--standard", "--pfs", "--server-preference", "--vulnerable")
        bad = {name: (f["severity"], f["finding"]) for name, f in found.items() if f["severity"] in BAD}
        self.assertEqual(bad, {})
        self.assertEqual(LOOKED_FOR - found.keys(), set(), "the test did not look for these")
        versions = {name: found[name]["finding"].startswith("offered")
                    for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
        self.assertEqual({name for name, offered in versions.items() if offered}, {"TLS1_2", "TLS1_3"})
