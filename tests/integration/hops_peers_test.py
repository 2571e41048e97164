"""HTTP connections of curl, wrk, nginx and HAProxy whose messages the kernel hands over."""
import subprocess

from support import upstream
from support.hops import HopsCase
from support.http1 import get
from support.ports import free_port
from support.process import haproxy, nginx


def curl(*arguments, **options):
    return subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, check=True,
                          **options).stdout


class HopsPeersTest(HopsCase):
    def nginx(self, server):
        port = free_port()
        return port, self.enterContext(nginx(port, server))

    def test_curl_and_nginx_see_the_same_bytes(self):
        port, _ = self.nginx('location / { return 200 "$request_method $uri $content_length;"; }')
        said = []
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(port, on)
                said.append(curl(*[f"http://127.0.0.1:{proxy.port}/{i}" for i in range(30)]) +
                            curl("--data-binary", "@-", "-H", "Expect: 100-continue",
                                 *[f"http://127.0.0.1:{proxy.port}/take/{i}" for i in range(4)], input=b"x" * 300_000))
                if on:
                    self.assertGreater(self.redirected(proxy), 100)
        self.assertEqual(*said)
        self.assertIn(b"GET /29 ;", said[0])
        self.assertIn(b"POST /take/3 300000;", said[0])

    def test_nginx_sends_files(self):
        port, server = self.nginx("root .; location / { sendfile on; }")
        with open(server.path("small"), "wb") as f:
            f.write(b"s" * 5000)
        with open(server.path("big"), "wb") as f:
            f.truncate(50 << 20)
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(port, on)
                base = f"http://127.0.0.1:{proxy.port}"
                self.assertEqual(curl(*[f"{base}/small"] * 10), b"s" * 50_000)
                out = curl("-o", "/dev/null", f"{base}/small", "-o", "/dev/null", f"{base}/small",
                           "-o", server.path("got"), f"{base}/big", "-w", "%{http_code} %{size_download};")
                self.assertEqual(out, b"200 5000;200 5000;200 52428800;")
                subprocess.run(["cmp", server.path("big"), server.path("got")], check=True)
                if on:
                    self.assertGreater(self.redirected(proxy), 10)

    def test_wrk_sees_no_error(self):
        port, _ = self.nginx('location / { return 200 "ok"; }')
        proxy = self.begin(port, concurrency=2)
        done = subprocess.run(["wrk", "-t1", "-c64", "-d2s", f"http://127.0.0.1:{proxy.port}/"], capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertNotIn("Non-2xx", done.stdout)
        self.assertNotIn("Socket errors", done.stdout)
        self.assertGreater(self.redirected(proxy), 1000)
        self.assertEqual(proxy.stat("cluster.up.upstream_cx_protocol_error"), 0)

    def test_haproxy_in_front_and_behind(self):
        behind, front = free_port(), free_port()
        self.enterContext(haproxy(behind, f"""
frontend f
  mode http
  bind 127.0.0.1:{behind}
  http-request return status 200 content-type text/plain lf-string "%[path]"
"""))
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(behind, on)
                front = free_port()
                self.enterContext(haproxy(front, f"""
frontend f
  mode http
  bind 127.0.0.1:{front}
  default_backend b
backend b
  mode http
  http-reuse always
  server s 127.0.0.1:{proxy.port}
"""))
                for i in range(40):
                    self.assertEqual(get(front, f"/{i}").body, b"/%d" % i)
                if on:
                    self.assertGreater(self.redirected(proxy), 100)

    def test_bodies_of_curl_reach_python(self):
        server = self.upstream(upstream.echo_http)
        body = bytes(range(256)) * 10_000
        for on in (True, False):
            with self.subTest(short_circuit=on):
                proxy = self.begin(server.port, on)
                out = curl("--data-binary", "@-", *[f"http://127.0.0.1:{proxy.port}/"] * 4, input=body)
                self.assertEqual(out, body * 4)
