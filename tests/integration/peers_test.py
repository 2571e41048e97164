"""Real peers: curl and wrk as clients, nginx and HAProxy as upstreams or in front."""
import json
import subprocess

from support import configs
from support.case import ProxyCase
from support.http1 import get
from support.ports import free_port
from support.process import haproxy, nginx


def curl(*arguments):
    return subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], capture_output=True, check=True).stdout


class PeersTest(ProxyCase):
    def behind(self, process_port, **options):
        return self.http(configs.route("up"), clusters=[configs.cluster("up", process_port)], **options)

    def start_nginx(self, server):
        port = free_port()
        self.enterContext(nginx(port, server))
        return port

    def test_curl_through_to_nginx(self):
        proxy = self.behind(self.start_nginx('location / { return 200 "nginx $request_method $uri"; }'))
        self.assertEqual(curl(f"http://127.0.0.1:{proxy.port}/a%20b"), b"nginx GET /a b")
        self.assertEqual(curl("-X", "DELETE", f"http://127.0.0.1:{proxy.port}/x"), b"nginx DELETE /x")
        twice = curl(*[f"http://127.0.0.1:{proxy.port}/{i}" for i in range(5)], "-w", " %{num_connects};")
        self.assertEqual(twice.count(b" 0;"), 4, "curl reuses its connection")

    def test_curl_uploads_with_expect_and_chunked(self):
        port = self.start_nginx("location / { client_max_body_size 0; proxy_pass http://127.0.0.1:1; } "
                                'location = /take { return 200 "$content_length"; }')
        proxy = self.behind(port)
        body = b"x" * 3_000_000
        done = subprocess.run(["curl", "-sS", "--max-time", "20", "-H", "Expect: 100-continue", "--data-binary", "@-",
                               f"http://127.0.0.1:{proxy.port}/take"], input=body, capture_output=True, check=True)
        self.assertEqual(done.stdout, b"3000000")

    def test_wrk_sees_no_error(self):
        proxy = self.behind(self.start_nginx('location / { return 200 "ok"; }'), options={"concurrency": 2})
        done = subprocess.run(["wrk", "-t1", "-c64", "-d2s", f"http://127.0.0.1:{proxy.port}/"], capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertIn("Requests/sec", done.stdout)
        self.assertNotIn("Non-2xx", done.stdout)
        self.assertNotIn("Socket errors", done.stdout)

    def test_wrk_with_a_connection_per_request(self):
        proxy = self.behind(self.start_nginx('location / { return 200 "ok"; }'))
        command = ["wrk", "-t1", "-c16", "-d2s", "-H", "Connection: close", f"http://127.0.0.1:{proxy.port}/"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("Requests/sec", done.stdout)
        self.assertNotIn("Non-2xx", done.stdout)
        proxy.wait_stat("http.front.downstream_cx_active", 0)

    def test_haproxy_behind(self):
        port = free_port()
        self.enterContext(haproxy(port, f"""
frontend f
  mode http
  bind 127.0.0.1:{port}
  http-request return status 200 content-type application/json lf-string '{{"path":"%[path]"}}'
"""))
        proxy = self.behind(port)
        self.assertEqual(json.loads(get(proxy.port, "/from/haproxy").body), {"path": "/from/haproxy"})

    def test_haproxy_in_front_with_connection_reuse(self):
        proxy = self.http(configs.direct(body="millrace"))
        port = free_port()
        self.enterContext(haproxy(port, f"""
frontend f
  mode http
  bind 127.0.0.1:{port}
  default_backend b
backend b
  mode http
  http-reuse always
  server s 127.0.0.1:{proxy.port}
"""))
        for _ in range(20):
            self.assertEqual(get(port).body, b"millrace")
        self.assertLess(proxy.stat("http.front.downstream_cx_total"), 20)

    def test_nginx_streams_a_large_file(self):
        folder_port = free_port()
        process = self.enterContext(nginx(folder_port, "root .; location / { sendfile on; }"))
        with open(process.path("big"), "wb") as f:
            f.truncate(200 << 20)
        proxy = self.behind(folder_port)
        out = curl("-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"http://127.0.0.1:{proxy.port}/big")
        self.assertEqual(out, b"200 209715200")
