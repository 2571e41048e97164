"""Private keys are only where they have to be: not in logs, not on admin pages, not in what a core dump holds."""
import os
import re
import shutil
import subprocess

from support import configs
from support.certificates import rsa
from support.ports import free_port
from support.process import core_memory
from support.tls import TlsCase

WINDOW_BYTES = 24  # that many bytes of a number, wherever in it, are a find


def numbers_of(key):
    """The secret numbers of a private key file, as bytes, the most significant first."""
    text = subprocess.run(["openssl", "pkey", "-in", key, "-noout", "-text"], check=True, capture_output=True,
                          text=True).stdout
    secret = ("priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient")
    found = []
    for name, digits in re.findall(r"^(\w+):\s*\n((?: +[0-9a-f:]+\n)+)", text, re.MULTILINE):
        if name in secret:
            found.append(bytes.fromhex(re.sub("[^0-9a-f]", "", digits)).lstrip(b"\0"))
    return found


def traces_of(key):
    """What would give a key away: lines of its file, and parts of its numbers in either order of bytes."""
    with open(key, "rb") as f:
        lines = [line.strip() for line in f if len(line) > 40 and b"-----" not in line]
    traces = lines
    for number in numbers_of(key):
        middle = number[4:4 + WINDOW_BYTES]
        traces += [middle, middle[::-1]]
    return traces


class SecretsTest(TlsCase):
    def setUp(self):
        super().setUp()
        self.pairs = [self.pair, self.authority.issue("localhost", key=rsa(2048))]
        self.upstream_pair = self.authority.issue("client")
        self.traces = {trace: pair[1] for pair in [*self.pairs, self.upstream_pair] for trace in traces_of(pair[1])}

    def daemon(self, *flags):
        """With keys for clients, and one to show to its upstream, which is itself."""
        def front(port):
            return configs.listener(port, configs.hcm(configs.route("up")), chain=configs.downstream_tls(*self.pairs))

        def back(port):
            tls = configs.downstream_tls(self.pairs[1], extra="require_client_certificate: true", common=self.trust())
            return configs.listener(port, configs.hcm(configs.direct(body="back"), stat_prefix="back"), name="back",
                                    chain=tls)
        ports = [free_port(), free_port()]
        cluster = configs.cluster("up", ports[1], extra=configs.upstream_tls(
            self.authority.file, pair=self.upstream_pair))
        return self.start([front, back], [cluster], ports=ports, flags=flags)

    def trust(self):
        return f"validation_context: {{ trusted_ca: {{ filename: {self.authority.file} }} }}"

    def handshakes(self, proxy):
        for arguments in (("-tls1_3",), ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"), ("-tls1_2",)):
            code, text = self.s_client(proxy.port, *arguments)
            self.assertEqual((code, text.count("HTTP/1.1 200 OK")), (0, 1), text)

    def found_in(self, data):
        return sorted({f"{os.path.basename(key)}: {trace!r}" for trace, key in self.traces.items() if trace in data})

    def test_the_traces_are_those_of_the_keys(self):
        self.assertEqual(len(numbers_of(self.pair[1])), 1)
        self.assertEqual(len(numbers_of(self.pairs[1][1])), 6)
        with open(self.pair[1], "rb") as f:
            self.assertNotEqual(self.found_in(f.read()), [])

    def test_logs_and_pages_say_nothing_of_them(self):
        proxy = self.daemon("--log-level", "trace")
        self.handshakes(proxy)
        # A pair that does not fit is refused, with a reason.
        kept = os.path.join(self.folder, "kept")
        shutil.copy(self.pair[1], kept)
        shutil.copy(self.pairs[1][1], self.pair[1])
        self.wait_until(lambda: "the new certificates are refused" in proxy.log(), "the new pair is refused")
        pages = [line.split()[0].rstrip(":") for line in proxy.admin("/help")[1].splitlines()
                 if line.strip().startswith("/")]
        self.assertIn("/config_dump", pages)
        self.assertIn("/certs", pages)
        for page in [*pages, "/config_dump?include_eds", "/stats?format=json", "/stats/prometheus"]:
            self.assertEqual(self.found_in(proxy.admin(page)[1].encode()), [], page)
        self.assertEqual(self.found_in(proxy.log().encode() + proxy.output().encode()), [])
        self.assertIn(os.path.basename(self.pair[1]), proxy.log())

    def test_core_dumps_have_nothing_of_keys_in_files(self):
        proxy = self.daemon()
        self.handshakes(proxy)
        renewed = self.authority.issue("localhost", "DNS:localhost", stem="renewed")
        self.traces.update({trace: renewed[1] for trace in traces_of(renewed[1])})
        shutil.copy(renewed[1], self.pair[1])
        shutil.copy(renewed[0], self.pair[0])
        self.wait_until(lambda: proxy.stats().get(
            f"listener.127.0.0.1_{proxy.port}.server_ssl_socket_factory.ssl_context_update_by_sds"), "it is renewed")
        self.handshakes(proxy)
        regions, found = 0, set()
        for name, data in core_memory(proxy.process.pid):
            regions += 1
            found.update(f"{name}: {trace}" for trace in self.found_in(data))
        self.assertGreater(regions, 10)
        self.assertEqual(found, set())
