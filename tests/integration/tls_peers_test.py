"""TLS of a listener as `openssl s_client` sees it: versions, key kinds, names, resumption, client certificates, ALPN,
renegotiation.
"""
import os
import subprocess

from support import configs
from support.certificates import Authority, rsa
from support.tls import TlsCase

# What a client of OpenSSL's needs in order to speak versions that it thinks too old itself.
ANYTHING_GOES = ("-cipher", "ALL:@SECLEVEL=0")
VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}
OLD_VERSIONS = {"-tls1": "TLSv1", "-tls1_1": "TLSv1.1"}
# How a client says what it can verify: by signature algorithms, and before TLS 1.3 by cipher suites.
KEY_KINDS = {
    "-tls1_2": {"ECDSA": ("-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
                "RSA-PSS": ("-cipher", "ECDHE-RSA-AES128-GCM-SHA256")},
    "-tls1_3": {"ECDSA": ("-sigalgs", "ECDSA+SHA256"), "RSA-PSS": ("-sigalgs", "RSA-PSS+SHA256")},
}


class PeersCase(TlsCase):
    def handshake(self, port, *arguments, **options):
        """What s_client prints of a handshake that has to work, with the answer to a request."""
        code, text = self.s_client(port, *arguments, **options)
        self.assertEqual(code, 0, text)
        self.assertIn("HTTP/1.1 200 OK", text)
        return text

    def refused(self, port, *arguments, **options):
        code, text = self.s_client(port, *arguments, **options)
        self.assertNotIn("HTTP/1.1", text)
        self.assertNotEqual(code, 0, text)
        return text

    def ssl_stat(self, proxy, name):
        return proxy.stats().get(f"listener.127.0.0.1_{proxy.port}.ssl.{name}", 0)


class VersionTest(PeersCase):
    def test_versions_1_2_and_1_3_are_spoken_by_default_and_none_below(self):
        proxy = self.https(configs.direct())
        for option, version in VERSIONS.items():
            text = self.handshake(proxy.port, option)
            self.assertRegex(text, f"New, {version}|Protocol *: {version}")
            self.assertIn("Verify return code: 0 (ok)", text)
            self.assertEqual(self.ssl_stat(proxy, f"versions.{version}"), 1)
        for option in OLD_VERSIONS:
            self.assertRegex(self.refused(proxy.port, option, *ANYTHING_GOES), "alert protocol version")

    def test_old_versions_are_spoken_where_the_configuration_asks_for_them(self):
        proxy = self.https(configs.direct(), common="tls_params:\n  tls_minimum_protocol_version: TLSv1_0\n"
                           "  cipher_suites: [ECDHE-ECDSA-AES128-SHA, ECDHE-ECDSA-AES128-GCM-SHA256]")
        for option, version in {**OLD_VERSIONS, **VERSIONS}.items():
            self.handshake(proxy.port, option, *ANYTHING_GOES)
            self.assertEqual(self.ssl_stat(proxy, f"versions.{version}"), 1, version)

    def test_a_version_above_the_highest_is_not_spoken(self):
        proxy = self.https(configs.direct(), common="tls_params: { tls_maximum_protocol_version: TLSv1_2 }")
        self.assertIn("alert protocol version", self.refused(proxy.port, "-tls1_3"))
        self.assertRegex(self.handshake(proxy.port), "New, TLSv1.2")

    def test_a_cipher_that_nobody_configured_is_refused(self):
        proxy = self.https(configs.direct())
        self.assertIn("alert handshake failure",
                      self.refused(proxy.port, "-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"))

    def test_groups_that_the_client_names_are_used(self):
        proxy = self.https(configs.direct())
        for group, name in (("X25519", "X25519"), ("P-256", "P-256")):
            self.handshake(proxy.port, "-groups", group)
            self.assertEqual(self.ssl_stat(proxy, f"curves.{name}"), 1)
        self.refused(proxy.port, "-groups", "P-521")


class CertificateChoiceTest(PeersCase):
    def setUp(self):
        super().setUp()
        self.rsa_pair = self.authority.issue("localhost", "DNS:localhost", key=rsa(2048))

    def test_the_client_gets_the_key_kind_that_it_can_verify(self):
        for pairs in ([self.pair, self.rsa_pair], [self.rsa_pair, self.pair]):
            proxy = self.https(configs.direct(), pairs=pairs)
            for option, kinds in KEY_KINDS.items():
                for kind, arguments in kinds.items():
                    text = self.handshake(proxy.port, option, *arguments)
                    self.assertIn(f"Peer signature type: {kind}\n", text, (option, pairs))
                self.assertIn("Peer signature type: ECDSA", self.handshake(proxy.port, option), "it knows both")

    def certificates(self):
        pairs = [self.pair, self.rsa_pair]
        for name in ("a.test", "b.test", "*.wild.test"):
            pairs += [self.authority.issue(name), self.authority.issue(name, key=rsa(2048))]
        return pairs

    def check_name(self, port, name, subject):
        """Clients of every version and key kind get the certificate of that subject."""
        for option, kinds in KEY_KINDS.items():
            for kind, arguments in kinds.items():
                text = self.handshake(port, option, *arguments, name=name)
                self.assertIn(f"\nsubject=CN = {subject}\n", text, (name, option, kind))
                self.assertIn(f"Peer signature type: {kind}\n", text, (name, option))

    def test_the_name_chooses_among_certificates_of_both_kinds(self):
        proxy = self.https(configs.direct(), pairs=self.certificates())
        for name, subject in {"a.test": "a.test", "b.test": "b.test", "x.wild.test": "*.wild.test"}.items():
            self.check_name(proxy.port, name, subject)

    def test_a_name_that_no_certificate_has_gets_the_first_and_may_not_be_able_to_use_it(self):
        proxy = self.https(configs.direct(), pairs=self.certificates())
        self.assertIn("subject=CN = localhost", self.handshake(proxy.port, name="nobody.test"))
        self.refused(proxy.port, "-tls1_2", *KEY_KINDS["-tls1_2"]["RSA-PSS"], name="nobody.test")
        scanning = self.https(configs.direct(), pairs=self.certificates(), tls="full_scan_certs_on_sni_mismatch: true")
        self.check_name(scanning.port, "nobody.test", "localhost")

    def test_without_a_name_a_certificate_that_the_client_can_use_is_found(self):
        self.check_name(self.https(configs.direct(), pairs=self.certificates()).port, None, "localhost")

    def test_rsa_keys_of_4096_bits_are_served_on_both_versions(self):
        pair = self.authority.issue("localhost", key=rsa(4096))
        proxy = self.https(configs.direct(), pair=pair)
        for option in VERSIONS:
            text = self.handshake(proxy.port, option)
            self.assertIn("Server public key is 4096 bit", text)
            self.assertIn("Peer signature type: RSA-PSS\n", text)
            self.assertIn("Verify return code: 0 (ok)", text)


class ResumptionTest(PeersCase):
    def resume(self, proxy, option, *arguments):
        """Two handshakes, the second with the session of the first; what the only one printed if that gave none."""
        kept = os.path.join(self.folder, "session" + option)
        first = self.handshake(proxy.port, option, "-sess_out", kept, *arguments)
        self.assertIn("New, ", first)
        if not os.path.exists(kept):
            return first
        return self.handshake(proxy.port, option, "-sess_in", kept, *arguments)

    def test_sessions_are_resumed_by_ticket_on_both_versions(self):
        proxy = self.https(configs.direct())
        for i, (option, version) in enumerate(VERSIONS.items(), 1):
            self.assertIn(f"Reused, {version}", self.resume(proxy, option))
            self.assertEqual(self.ssl_stat(proxy, "session_reused"), i)

    def test_sessions_of_1_2_are_resumed_by_id_without_tickets(self):
        proxy = self.https(configs.direct(), tls="disable_stateless_session_resumption: true")
        self.assertIn("Reused, TLSv1.2", self.resume(proxy, "-tls1_2"))
        self.assertIn("New, TLSv1.3", self.resume(proxy, "-tls1_3"))

    def test_nothing_is_resumed_where_both_ways_are_off(self):
        proxy = self.https(configs.direct(), tls="disable_stateless_session_resumption: true\n"
                           "disable_stateful_session_resumption: true")
        for option, version in VERSIONS.items():
            self.assertIn(f"New, {version}", self.resume(proxy, option))
        self.assertEqual(self.ssl_stat(proxy, "session_reused"), 0)

    def test_a_session_outlives_the_daemon_when_the_ticket_keys_are_shared(self):
        keys = os.path.join(self.folder, "ticket.key")
        with open(keys, "wb") as f:
            f.write(os.urandom(80))
        tls = f"session_ticket_keys: {{ keys: [{{ filename: {keys} }}] }}"
        first, second, stranger = (self.https(configs.direct(), tls=text) for text in (tls, tls, ""))
        kept = os.path.join(self.folder, "session")
        for option, version in VERSIONS.items():
            self.handshake(first.port, option, "-sess_out", kept)
            self.assertIn(f"Reused, {version}", self.handshake(second.port, option, "-sess_in", kept))
            self.handshake(first.port, option, "-sess_out", kept)
            self.assertIn(f"New, {version}", self.handshake(stranger.port, option, "-sess_in", kept))

    def test_a_resumed_client_is_still_the_one_whose_certificate_was_seen(self):
        log = os.path.join(self.folder, "log")
        pair = self.authority.issue("client", "URI:spiffe://test/client")
        proxy = self.https(configs.direct(), tls="require_client_certificate: true",
                           common=f"validation_context: {{ trusted_ca: {{ filename: {self.authority.file} }} }}",
                           access_log=[configs.file_log(log, "%DOWNSTREAM_PEER_URI_SAN%")],
                           flags=["--file-flush-interval-msec", "50"])
        for i, (option, version) in enumerate(VERSIONS.items(), 1):
            self.assertIn(f"Reused, {version}", self.resume(proxy, option, "-cert", pair[0], "-key", pair[1]))
            self.wait_until(lambda: self.read_file(log).count("\n") == 2 * i, "the access log is written")  # noqa: B023
        self.assertEqual(set(self.read_file(log).split()), {"spiffe://test/client"})


class ClientCertificateTest(PeersCase):
    def mutual(self, **options):
        return self.https(configs.direct(), tls="require_client_certificate: true",
                          common=f"validation_context: {{ trusted_ca: {{ filename: {self.authority.file} }} }}",
                          **options)

    def test_certificates_of_either_kind_are_taken_on_both_versions(self):
        proxy = self.mutual()
        for key in ((), (rsa(2048),)):
            pair = self.authority.issue("client", **({"key": key[0]} if key else {}))
            for option in VERSIONS:
                self.handshake(proxy.port, option, "-cert", pair[0], "-key", pair[1])
        self.assertEqual(self.ssl_stat(proxy, "handshake"), 4)
        self.assertEqual(self.ssl_stat(proxy, "no_certificate"), 0)

    def test_no_certificate_a_strangers_and_an_expired_one_are_refused_and_counted(self):
        proxy = self.mutual()
        stranger = Authority(self.folder, "Stranger").issue("client")
        expired = self.authority.issue("client", days=-1)
        for i, option in enumerate(VERSIONS, 1):
            self.refused(proxy.port, option)
            self.assertEqual(self.ssl_stat(proxy, "fail_verify_no_cert"), i)
            for text, pair in (("unknown ca", stranger), ("certificate expired", expired)):
                self.assertIn(text, self.refused(proxy.port, option, "-cert", pair[0], "-key", pair[1]))
        self.assertEqual(self.ssl_stat(proxy, "fail_verify_error"), 4)
        self.assertEqual(self.ssl_stat(proxy, "handshake"), 0)

    def test_the_client_is_told_which_authorities_are_trusted(self):
        self.assertRegex(self.refused(self.mutual().port, "-tls1_2"),
                         "Acceptable client certificate CA names\nCN = Test CA")


class NegotiationTest(PeersCase):
    def test_the_first_of_our_protocols_that_the_client_knows_is_spoken(self):
        proxy = self.https(configs.direct(), common="alpn_protocols: [h2, http/1.1]")
        self.assertIn("ALPN protocol: http/1.1", self.handshake(proxy.port, "-alpn", "http/1.1"))
        self.assertIn("ALPN protocol: http/1.1", self.handshake(proxy.port, "-alpn", "spdy/1,http/1.1"))
        self.assertIn("No ALPN negotiated", self.handshake(proxy.port, "-alpn", "spdy/1"))
        self.assertIn("No ALPN negotiated", self.handshake(proxy.port))
        code, text = self.s_client(proxy.port, "-alpn", "http/1.1,h2")  # and then HTTP/1.1 bytes on HTTP/2
        self.assertIn("ALPN protocol: h2", text, code)

    def renegotiate(self, port, *arguments):
        """s_client asks for a new handshake ("R") on an established connection: its exit code and what it printed."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as client:
            seen = b""
            for line in client.stdout:
                seen += line
                if line.strip().startswith(b"Verify return code"):
                    client.stdin.write(b"R\n")
                    client.stdin.flush()
            return client.wait(20), seen.decode()

    def test_renegotiation_is_refused(self):
        proxy = self.https(configs.direct())
        code, text = self.renegotiate(proxy.port, "-tls1_2")
        self.assertIn("RENEGOTIATING", text)
        self.assertNotEqual(code, 0, text)
        self.assertIn("no renegotiation", text)
        self.assertEqual(self.ssl_stat(proxy, "handshake"), 1)
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.ssl.connection_error", 1)
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.downstream_cx_active", 0)
