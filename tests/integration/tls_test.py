"""TLS on listeners and towards upstreams, with real peers: curl, openssl, nginx, Python's ssl (OpenSSL)."""
import json
import os
import shutil
import ssl
import subprocess
import time

from support import configs
from support.certificates import Authority
from support.tls import TlsCase, UpstreamTlsCase, say_headers

INSPECTOR = f"""\
listener_filters:
- name: envoy.filters.listener.tls_inspector
  typed_config:
    "@type": {configs.TYPES}.extensions.filters.listener.tls_inspector.v3.TlsInspector
    enable_ja3_fingerprinting: true
    enable_ja4_fingerprinting: true
"""


class DownstreamTlsTest(TlsCase):
    def test_curl_gets_an_answer_and_the_upstream_hears_https(self):
        up = self.upstream(say_headers)
        log = os.path.join(self.folder, "log")
        proxy = self.https(
            configs.route("up"), clusters=[configs.cluster("up", up.port)], listener_extra=INSPECTOR,
            access_log=[configs.file_log(log, "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% "
                                              "%REQUESTED_SERVER_NAME% %DOWNSTREAM_LOCAL_DNS_SAN% "
                                              "%TLS_JA4_FINGERPRINT% %DOWNSTREAM_HANDSHAKE_DURATION%")],
            flags=["--file-flush-interval-msec", "50"])
        headers = json.loads(self.curl(proxy.port))
        self.assertEqual(headers["x-forwarded-proto"], "https")
        self.wait_until(lambda: self.read_file(log).endswith("\n"), "the access log is written")
        version, cipher, name, san, ja4, duration = self.read_file(log).split()
        self.assertEqual((version, name, san), ("TLSv1.3", "localhost", "localhost"))
        self.assertIn("TLS_", cipher)
        self.assertTrue(ja4.startswith("t13d"), ja4)
        self.assertTrue(duration.isdigit(), duration)
        stats = f"listener.127.0.0.1_{proxy.port}.ssl."
        self.assertEqual(proxy.stat(stats + "handshake"), 1)
        self.assertEqual(proxy.stat(stats + "versions.TLSv1.3"), 1)
        self.assertEqual(proxy.stat("http.front.downstream_cx_ssl_total"), 1)
        self.assertEqual(proxy.stat("tls_inspector.sni_found"), 1)
        proxy.wait_stat("http.front.downstream_cx_ssl_active", 0)

    def test_connections_are_kept_and_large_bodies_pass_unchanged(self):
        data = os.urandom(5 << 20)

        def script(peer):
            while True:
                peer.respond(body=peer.read_request().body)
        up = self.upstream(script)
        proxy = self.https(configs.route("up"), clusters=[configs.cluster("up", up.port)])
        body = os.path.join(self.folder, "body")
        with open(body, "wb") as f:
            f.write(data)
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--cacert", self.authority.file, "-T", body,
             f"https://localhost:{proxy.port}/1", "-T", body, f"https://localhost:{proxy.port}/2"],
            capture_output=True, check=True)
        self.assertTrue(done.stdout == data * 2, "bytes changed on the way")
        self.assertEqual(proxy.stat("http.front.downstream_cx_total"), 1)

    def test_versions_below_1_2_are_refused(self):
        proxy = self.https(configs.direct())
        for option, ends_well in (("-tls1_2", True), ("-tls1_3", True), ("-tls1_1", False)):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", option, "-brief",
                                   "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=20, check=False)
            self.assertEqual(done.returncode == 0, ends_well, (option, done.stderr))

    def test_plain_text_on_a_tls_port_is_an_error_that_says_so(self):
        log = os.path.join(self.folder, "log")
        proxy = self.https(configs.direct(), flags=["--file-flush-interval-msec", "50"],
                           listener_log=[configs.file_log(log, "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%")])
        client = self.client(proxy.port)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reader.rest()
        self.wait_until(lambda: "HTTP_REQUEST" in self.read_file(log), "the reason is logged")
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.ssl.connection_error", 1)
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.downstream_cx_active", 0)

    def test_a_handshake_that_does_not_come_to_an_end_times_out(self):
        proxy = self.https(configs.direct(), chain="transport_socket_connect_timeout: 0.2s")
        client = self.client(proxy.port)
        client.send(b"\x16\x03\x01")
        client.end()
        prefix = f"listener.127.0.0.1_{proxy.port}."
        proxy.wait_stat(prefix + "downstream_cx_transport_socket_connect_timeout", 1)

    def test_idle_and_half_open_clients_do_not_keep_others_waiting(self):
        proxy = self.https(configs.direct(body="quick"))
        for _ in range(200):
            self.client(proxy.port).send(b"\x16\x03\x01\x02\x00")
        started = time.monotonic()
        self.assertEqual(self.curl(proxy.port), "quick")
        self.assertLess(time.monotonic() - started, 5)

    def test_tcp_is_terminated_and_half_closes(self):
        def script(peer):
            peer.send(b"got " + peer.reader.rest())
        up = self.upstream(script)
        proxy = self.start([lambda port: configs.listener(port, configs.tcp_proxy("up"),
                                                          chain=configs.downstream_tls(self.pair))],
                           [configs.cluster("up", up.port)])
        self.assertEqual(self.half_close_after(proxy.port, b"request"), b"got request")


class FilterChainTest(TlsCase):
    def test_chains_are_chosen_by_server_name_and_protocol(self):
        other = self.authority.issue("other.test", "DNS:other.test,DNS:a.wild.test")
        chains = [
            configs.filter_chain(configs.hcm(configs.direct(body="other"), stat_prefix="other"),
                                 extra="name: other\n"
                                 "filter_chain_match: { server_names: [other.test, '*.wild.test'] }\n"
                                 + configs.downstream_tls(other)),
            configs.filter_chain(configs.hcm(configs.direct(body="plain"), stat_prefix="plain"),
                                 extra="filter_chain_match: { transport_protocol: raw_buffer }"),
        ]
        proxy = self.start([lambda port: configs.listener(
            port, configs.hcm(configs.direct(body="local")), extra=INSPECTOR, more_chains=chains,
            chain="filter_chain_match: { server_names: [localhost] }\n" + configs.downstream_tls(self.pair))])

        def ask(name):
            return subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", self.authority.file, "--resolve",
                                   f"{name}:{proxy.port}:127.0.0.1", f"https://{name}:{proxy.port}/"],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(ask("localhost").stdout, "local")
        self.assertEqual(ask("other.test").stdout, "other")
        self.assertEqual(ask("a.wild.test").stdout, "other")
        plain = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, text=True,
                               check=True)
        self.assertEqual(plain.stdout, "plain")
        self.assertNotEqual(ask("nobody.test").returncode, 0)
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.no_filter_chain_match", 1)


class ClientCertificateTest(TlsCase):
    def setUp(self):
        super().setUp()
        self.client_pair = self.authority.issue("client", "URI:spiffe://test/client,DNS:client.test")

    def mutual(self, hcm="", common="", **options):
        up = self.upstream(say_headers)
        trust = f"validation_context: {{ trusted_ca: {{ filename: {self.authority.file} }} }}"
        return self.https(configs.route("up"), clusters=[configs.cluster("up", up.port)], common=common or trust,
                          extra=hcm, **options)

    def credentials(self):
        return ["--cert", self.client_pair[0], "--key", self.client_pair[1]]

    def test_a_client_without_a_certificate_is_turned_away(self):
        log = os.path.join(self.folder, "log")
        proxy = self.mutual(tls="require_client_certificate: true", flags=["--file-flush-interval-msec", "50"],
                            listener_log=[configs.file_log(log, "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%")])
        self.assertNotEqual(self.curl(proxy.port, check=False).returncode, 0)
        self.wait_until(lambda: "PEER_DID_NOT_RETURN_A_CERTIFICATE" in self.read_file(log), "the reason is logged")
        self.assertIn("host", json.loads(self.curl(proxy.port, *self.credentials())))

    def test_the_upstream_is_told_who_the_client_is(self):
        proxy = self.mutual("forward_client_cert_details: SANITIZE_SET\n"
                            "set_current_client_cert_details: { subject: true, uri: true, dns: true }")
        said = json.loads(self.curl(proxy.port, *self.credentials(), "-H", "x-forwarded-client-cert: By=me"))
        parts = said["x-forwarded-client-cert"].split(";")
        self.assertEqual(parts[1:], ['Subject="CN=client"', "URI=spiffe://test/client", "DNS=client.test"])
        self.assertRegex(parts[0], "^Hash=[0-9a-f]{64}$")
        without = json.loads(self.curl(proxy.port, "-H", "x-forwarded-client-cert: By=me"))
        self.assertNotIn("x-forwarded-client-cert", without, "a lie of the client's")

    def test_a_client_of_another_name_is_turned_away(self):
        proxy = self.mutual(common=f"""
validation_context:
  trusted_ca: {{ filename: {self.authority.file} }}
  match_typed_subject_alt_names:
  - {{ san_type: URI, matcher: {{ exact: "spiffe://test/another" }} }}
""")
        self.assertNotEqual(self.curl(proxy.port, *self.credentials(), check=False).returncode, 0)
        proxy.wait_stat(f"listener.127.0.0.1_{proxy.port}.ssl.fail_verify_san", 1)


class UpstreamTlsTest(UpstreamTlsCase):
    def test_requests_reach_nginx_over_tls_on_one_connection(self):
        log = os.path.join(self.folder, "log")
        line = "%UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_SUBJECT% %UPSTREAM_SERVER_NAME%"
        proxy = self.to(self.nginx_tls(), configs.upstream_tls(
            self.authority.file, "sni: localhost\nauto_sni_san_validation: true",
            "tls_params: { tls_maximum_protocol_version: TLSv1_3 }"),
            access_log=[configs.file_log(log, line)], flags=["--file-flush-interval-msec", "50"])
        for i in range(3):
            self.assertEqual(self.get(proxy.port, f"/{i}"), f"TLSv1.3 localhost /{i} 200")
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_total"), 1)
        self.assertEqual(proxy.stat("cluster.up.ssl.handshake"), 1)
        self.wait_until(lambda: self.read_file(log).count("\n") == 3, "the access log is written")
        self.assertEqual(self.read_file(log).splitlines()[0], "TLSv1.3 CN=localhost localhost")

    def test_a_server_that_nobody_trusts_is_not_used(self):
        stranger = Authority(self.folder, "Stranger")
        proxy = self.to(self.nginx_tls(), configs.upstream_tls(stranger.file))
        answer = self.get(proxy.port)
        self.assertIn(" 503", answer)
        self.assertIn("CERTIFICATE_VERIFY_FAILED", answer)
        self.assertEqual(proxy.stat("cluster.up.ssl.fail_verify_error"), 1)

    def test_a_server_of_another_name_is_not_used(self):
        proxy = self.to(self.nginx_tls(), configs.upstream_tls(
            self.authority.file, "sni: elsewhere.test\nauto_sni_san_validation: true"))
        self.assertIn(" 503", self.get(proxy.port))
        self.assertEqual(proxy.stat("cluster.up.ssl.fail_verify_san"), 1)

    def test_connect_timeout_covers_the_handshake(self):
        silent = self.upstream(lambda peer: peer.reader.rest())
        proxy = self.to(silent.port, configs.upstream_tls())
        self.assertIn(" 503", self.get(proxy.port))
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_connect_timeout"), 1)

    def test_endpoints_choose_their_transport_by_metadata(self):
        plain = self.upstream(say_headers)
        tls_port = self.nginx_tls()

        def endpoint(port, metadata):
            address = f"{{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}"
            return (f"    - endpoint: {{ address: {address} }}\n"
                    f"      metadata: {{ filter_metadata: {{ envoy.transport_socket_match: {metadata} }} }}\n")
        tls = configs.upstream_tls(self.authority.file).replace("transport_socket:\n", "", 1)
        cluster = "\n".join([
            "name: up", "type: STATIC", "connect_timeout: 1s", "load_assignment:", "  cluster_name: up",
            "  endpoints:", "  - lb_endpoints:", endpoint(plain.port, "{}") + endpoint(tls_port, "{ secure: yes! }"),
            "transport_socket_matches:", "- name: tls", "  match: { secure: yes! }", "  transport_socket:",
            "\n".join("  " + line for line in tls.splitlines())])
        proxy = self.http(configs.route("up"), clusters=[cluster])
        answers = {self.get(proxy.port).split()[0] for _ in range(6)}
        self.assertEqual(len(answers), 2, answers)
        self.assertTrue(any(answer.startswith("TLSv1") for answer in answers), answers)
        self.assertEqual(proxy.stat("cluster.up.tls.total_match_count"), 1)
        self.assertEqual(proxy.stat("cluster.up.default.total_match_count"), 1)

    def test_a_proxy_header_names_the_client(self):
        heads = []

        def script(peer):
            heads.append(peer.reader.until(b"\r\n"))
            peer.send(b"ok")
        up = self.upstream(script)
        transport = configs.PROXY_HEADER_TRANSPORT
        proxy = self.tcp_to(up, cluster_extra=transport)
        client = self.client(proxy.port)
        client.send(b"hello")
        self.assertEqual(client.reader.exactly(2), b"ok")
        source = client.sock.getsockname()[1]
        self.assertEqual(heads, [f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {proxy.port}".encode()])

    def test_tcp_goes_on_over_tls_and_ends_with_close_notify(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        received = []

        def script(peer):
            with context.wrap_socket(peer.sock, server_side=True, suppress_ragged_eofs=False) as secured:
                while data := secured.recv(65536):
                    received.append(data)
                secured.sendall(b"got it all")
                secured.unwrap()
        up = self.upstream(script)
        proxy = self.tcp_to(up, cluster_extra=configs.upstream_tls(self.authority.file))
        client = self.client(proxy.port)
        data = os.urandom(1 << 20)
        client.send(data)
        client.half_close()
        self.assertEqual(client.reader.rest(), b"got it all")
        self.assertTrue(b"".join(received) == data, "bytes changed on the way")
        self.assertEqual(up.errors, [])


class ReloadTest(TlsCase):
    def serial(self, port):
        return int(self.dial(port).getpeercert()["serialNumber"], 16)

    def wait_serial(self, port, serial):
        started = time.monotonic()
        self.wait_until(lambda: self.serial(port) == serial, f"serial {serial} is served")
        return time.monotonic() - started

    def keep(self, pair, folder):
        """A copy under fixed names, as they lie in a mounted secret."""
        os.makedirs(folder, exist_ok=True)
        shutil.copy(pair[0], os.path.join(folder, "tls.crt"))
        shutil.copy(pair[1], os.path.join(folder, "tls.key"))

    def renew(self):
        return self.authority.issue("localhost", "DNS:localhost,IP:127.0.0.1")

    def test_a_swapped_link_is_noticed_and_connections_live_on(self):
        mount = os.path.join(self.folder, "mount")
        os.mkdir(mount)
        self.keep(self.pair, os.path.join(mount, "..1"))
        os.symlink("..1", os.path.join(mount, "..data"))
        for name in ("tls.crt", "tls.key"):
            os.symlink(os.path.join("..data", name), os.path.join(mount, name))
        proxy = self.https(configs.direct(body="ok"),
                           pair=(os.path.join(mount, "tls.crt"), os.path.join(mount, "tls.key")))
        old = self.dial(proxy.port)
        self.assertEqual(self.serial(proxy.port), self.authority.last_serial)
        for version in ("..2", "..3"):
            self.keep(self.renew(), os.path.join(mount, version))
            os.symlink(version, os.path.join(mount, "new"))
            os.rename(os.path.join(mount, "new"), os.path.join(mount, "..data"))
            self.assertLess(self.wait_serial(proxy.port, self.authority.last_serial), 2)
        old.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(old.recv(100).startswith(b"HTTP/1.1 200"))
        prefix = f"listener.127.0.0.1_{proxy.port}.server_ssl_socket_factory."
        self.assertEqual(proxy.stat(prefix + "ssl_context_update_by_sds"), 2)

    def test_a_broken_pair_is_refused_and_the_old_one_kept(self):
        mount = os.path.join(self.folder, "mount")
        self.keep(self.pair, mount)
        first = self.authority.last_serial
        proxy = self.https(configs.direct(), pair=(os.path.join(mount, "tls.crt"), os.path.join(mount, "tls.key")))
        next_pair = self.renew()
        shutil.copy(next_pair[0], os.path.join(mount, "tls.crt"))
        prefix = f"listener.127.0.0.1_{proxy.port}.server_ssl_socket_factory."
        proxy.wait_stat(prefix + "key_rotation_failed", 1)
        self.assertEqual(self.serial(proxy.port), first)
        self.assertIn("the new certificates are refused, the old ones stay", proxy.log())
        shutil.copy(next_pair[1], os.path.join(mount, "tls.key"))
        self.wait_serial(proxy.port, self.authority.last_serial)

    def test_secrets_of_a_file_are_read_anew(self):
        secrets = os.path.join(self.folder, "secrets.yaml")

        def write(pair):
            text = f"""
resources:
- "@type": {configs.TYPES}.extensions.transport_sockets.tls.v3.Secret
  name: server
  tls_certificate:
    certificate_chain: {{ filename: {pair[0]} }}
    private_key: {{ filename: {pair[1]} }}
"""
            with open(secrets + ".new", "w", encoding="utf-8") as f:
                f.write(text)
            os.rename(secrets + ".new", secrets)
        write(self.pair)
        tls = configs.downstream_tls(common=f"""
tls_certificate_sds_secret_configs:
- name: server
  sds_config: {{ path_config_source: {{ path: {secrets} }} }}
""")
        proxy = self.start([lambda port: configs.listener(port, configs.hcm(configs.direct()), chain=tls)])
        self.assertEqual(self.serial(proxy.port), self.authority.last_serial)
        self.assertIn(f"listener.127.0.0.1_{proxy.port}.ssl.certificate.server.expiration_unix_time_seconds",
                      proxy.stats())
        write(self.renew())
        self.wait_serial(proxy.port, self.authority.last_serial)

    def expiry(self, pair):
        """Seconds of the epoch, as openssl says it."""
        shown = subprocess.run(["openssl", "x509", "-in", pair[0], "-noout", "-enddate"], check=True,
                               capture_output=True, text=True).stdout
        return int(ssl.cert_time_to_seconds(shown.strip().partition("=")[2]))

    def test_statistics_say_when_certificates_expire(self):
        mount = os.path.join(self.folder, "mount")
        self.keep(self.pair, mount)
        proxy = self.https(configs.direct(), pair=(os.path.join(mount, "tls.crt"), os.path.join(mount, "tls.key")))

        def gauges():
            return {name: value for name, value in proxy.stats().items() if ".ssl.certificate." in name}
        first = gauges()
        self.assertEqual(list(first.values()), [self.expiry(self.pair)], first)
        self.assertRegex(list(first)[0], f"^listener.127.0.0.1_{proxy.port}.ssl.certificate.unnamed_cert_[0-9a-f]{{8}}"
                         ".expiration_unix_time_seconds$")
        self.assertEqual(proxy.stat("server.days_until_first_cert_expiring"), 29)
        shorter = self.authority.issue("localhost", "DNS:localhost", days=10)
        self.keep(shorter, mount)
        self.wait_until(lambda: gauges() == {name: self.expiry(shorter) for name in first}, "the gauge follows")
        self.assertEqual(proxy.stat("server.days_until_first_cert_expiring"), 9)
        self.assertIn("envoy_listener_ssl_certificate_expiration_unix_time_seconds{",
                      proxy.admin("/stats/prometheus")[1])

    def test_certificates_are_shown_and_keys_are_not(self):
        proxy = self.https(configs.direct())
        shown = proxy.admin_json("/certs")["certificates"]
        self.assertEqual(shown[0]["cert_chain"][0]["path"], self.pair[0])
        self.assertEqual(shown[0]["cert_chain"][0]["subject_alt_names"], [{"dns": "localhost"},
                                                                          {"ip_address": "127.0.0.1"}])
        self.assertEqual(shown[0]["cert_chain"][0]["days_until_expiration"], "29")
        with open(self.pair[1], encoding="utf-8") as f:
            secret = f.read().splitlines()[1]
        dump = proxy.admin("/config_dump")[1]
        self.assertNotIn(secret, dump)
        self.assertIn("[redacted]", dump)
