"""A TestCase with an authority of its own: the daemon with an HTTPS listener, and TLS clients for it."""
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile

from support import configs
from support.case import ProxyCase
from support.certificates import Authority
from support.ports import free_port
from support.process import nginx


def say_headers(peer):
    """An upstream's script: answers each request with its headers as JSON."""
    while True:
        request = peer.read_request()
        peer.respond(body=json.dumps(dict(request.headers)).encode())


class TlsCase(ProxyCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="millrace-tls-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.authority = Authority(self.folder)
        self.pair = self.authority.issue("localhost", "DNS:localhost,IP:127.0.0.1")

    def https(self, *routes, tls="", clusters=(), pair=None, pairs=None, chain="", **options):
        """The daemon with one HTTPS listener; `pairs` of several certificates, or `pair`."""
        hcm = {key: options.pop(key) for key in ("extra", "access_log") if key in options}
        listener = {"extra": options.pop("listener_extra", ""), "access_log": options.pop("listener_log", ()),
                    "chain": configs.downstream_tls(*(pairs or [pair or self.pair]), common=options.pop("common", ""),
                                                    extra=tls) + "\n" + chain}
        return self.start([lambda port: configs.listener(port, configs.hcm(*routes, **hcm), **listener)], clusters,
                          **options)

    def curl(self, port, *arguments, path="/", check=True, ca=None):
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", ca or self.authority.file, *arguments,
                               f"https://localhost:{port}{path}"], capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            self.fail(f"curl: {done.stderr}")
        return done.stdout if check else done

    def s_client(self, port, *arguments, name="localhost"):
        """`openssl s_client` that sends one request: its exit code and all that it printed."""
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", self.authority.file, "-ign_eof",
             *(["-servername", name] if name else ["-noservername"]), *arguments],
            input=b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            capture_output=True, timeout=30, check=False)
        return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    def dial(self, port, name="localhost", context=None, **options):
        """A TLS client socket."""
        context = context or ssl.create_default_context(cafile=self.authority.file)
        for key, value in options.items():
            setattr(context, key, value)
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.addCleanup(plain.close)
        secured = context.wrap_socket(plain, server_hostname=name)
        self.addCleanup(secured.close)
        return secured

    def half_close_after(self, port, data):
        """What comes back when the client has sent data and close_notify."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=self.authority.file)
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        plain = self.enterContext(socket.create_connection(("127.0.0.1", port), timeout=20))

        def run(step):
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    result = None
                plain.sendall(outgoing.read())
                if result is not None or step == session.unwrap:  # pylint: disable=comparison-with-callable
                    return result
                incoming.write(plain.recv(65536))
        run(lambda: session.do_handshake() or True)
        run(lambda: session.write(data))
        run(session.unwrap)
        received = b""
        while True:
            try:
                part = run(lambda: session.read(65536))
            except ssl.SSLZeroReturnError:
                return received
            if not part:
                return received
            received += part

    def read_file(self, path):
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as f:
            return f.read()


class UpstreamTlsCase(TlsCase):
    """The daemon before an nginx that speaks TLS."""

    def nginx_tls(self, extra="", says="$ssl_protocol $ssl_server_name $uri", listen=""):
        port = free_port()
        text = (f"listen 127.0.0.1:{port} ssl {listen}; ssl_certificate {self.pair[0]}; "
                f"ssl_certificate_key {self.pair[1]}; ssl_protocols TLSv1.2 TLSv1.3; "
                + extra + f'location / {{ return 200 "{says}"; }}')
        self.enterContext(nginx(free_port(), text))
        return port

    def to(self, port, transport, **options):
        return self.http(configs.route("up"), clusters=[configs.cluster("up", port, extra=transport)], **options)

    def get(self, port, path="/", *arguments):
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "-w", " %{http_code}", *arguments,
                               f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
        return done.stdout
