"""Access logs: formats, filters, buffering, reopening."""
import json
import os
import re
import signal

from support import configs, upstream
from support.case import ProxyCase
from support.http1 import get
from support.http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, HEADERS, PADDED, Raw, frame)
from support.http2_upstream import Http2Upstream

FLUSH = ["--file-flush-interval-msec", "50"]


class AccessLogTest(ProxyCase):
    def line(self, proxy, name="a.log"):
        self.wait_until(lambda: os.path.exists(proxy.path(name)) and "\n" in proxy.process.read(name), "a log line")
        return proxy.process.read(name).split("\n")[0]

    def test_default_format(self):
        server = self.upstream(upstream.answer(b"hello"))
        proxy = self.http_to(server, access_log=[configs.file_log("a.log")], flags=FLUSH)
        self.client(proxy.port).request("POST", "/p?q=1", [("User-Agent", "tester")], b"abc")
        self.assertRegex(self.line(proxy), re.compile(
            r'^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "POST /p\?q=1 HTTP/1\.1" 200 - 3 5 \d+ \d+ "-" "tester" '
            r'"[0-9a-f-]{36}" "example\.com" "127\.0\.0\.1:' + str(server.port) + '"$'))

    def test_text_operators(self):
        server = self.upstream(upstream.answer(b"hello", headers=[("x-res", "r")]))
        operators = ("%REQ(X-A)%|%REQ(X-NONE?X-A)%|%REQ(X-A):2%|%RESP(X-RES)%|%RESPONSE_CODE%|%ROUTE_NAME%|"
                     "%UPSTREAM_CLUSTER%|%DOWNSTREAM_LOCAL_PORT%|%REQ(NONE)%|%START_TIME(%Y)%|%%|%HOSTNAME%")
        proxy = self.http(configs.route("up", extra="name: the-route"), clusters=[configs.cluster("up", server.port)],
                          access_log=[configs.file_log("a.log", operators)], flags=FLUSH)
        get(proxy.port, headers=[("X-A", "value")])
        fields = self.line(proxy).split("|")
        self.assertEqual(fields[:9], ["value", "value", "va", "r", "200", "the-route", "up", str(proxy.port), "-"])
        self.assertRegex(fields[9], r"^20\d\d$")
        self.assertEqual(fields[10:], ["%", os.uname().nodename])

    def test_wire_bytes_are_those_of_the_socket(self):
        server = self.upstream(upstream.answer(b"hello"))
        operators = "|".join(f"%DOWNSTREAM_{what}%" for what in (
            "WIRE_BYTES_RECEIVED", "HEADER_BYTES_RECEIVED", "WIRE_BYTES_SENT", "HEADER_BYTES_SENT"))
        proxy = self.http_to(server, access_log=[configs.file_log("a.log", operators)], flags=FLUSH)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        client = self.client(proxy.port)
        client.send(head + b"3\r\nabc\r\n0\r\n\r\n")
        answer = b""
        while data := client.sock.recv(65536):
            answer += data
        sent_head = answer.index(b"\r\n\r\n") + 4
        self.assertEqual([int(n) for n in self.line(proxy).split("|")],
                         [len(head) + 13, len(head), len(answer), sent_head])

    def test_wire_bytes_of_http2_are_those_of_its_frames(self):
        upstream_http2 = f"""
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": {configs.TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {{ http2_protocol_options: {{}} }}
            """
        sizes = ("WIRE_BYTES_RECEIVED", "HEADER_BYTES_RECEIVED", "WIRE_BYTES_SENT", "HEADER_BYTES_SENT")
        operators = "|".join(["%BYTES_RECEIVED%", "%BYTES_SENT%", *[f"%DOWNSTREAM_{what}%" for what in sizes],
                              *[f"%UPSTREAM_{what}%" for what in sizes],
                              "%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED%"])
        body = b"b" * 40_000  # three frames

        def script(stream):
            stream.respond(200, body, trailers=[("x-end", "1")])

        with Http2Upstream(script) as server:
            proxy = self.http_to(server, access_log=[configs.file_log("a.log", operators)], flags=FLUSH,
                                 cluster_extra=upstream_http2)
            with Raw(proxy.port) as raw:
                head, more = GET[:5], GET[5:]
                raw.send(frame(HEADERS, 0, 1, head) + frame(CONTINUATION, END_HEADERS, 1, more) +
                         frame(DATA, PADDED | END_STREAM, 1, b"\2abc\0\0"))
                sent = []
                while not sent or not sent[-1][1] & END_STREAM:
                    got = raw.next()
                    if got[2] == 1:
                        sent.append(got)
            numbers = [int(n) for n in self.line(proxy).split("|")]
        heads = sum(9 + len(payload) for kind, _, _, payload in sent if kind == HEADERS)
        whole = sum(9 + len(payload) for _, _, _, payload in sent)
        self.assertEqual(numbers[:6], [3, len(body), len(GET) + 18 + 15, len(GET) + 18, whole, heads])
        received, received_head, said, said_head = numbers[6:10]
        self.assertEqual(received - received_head, len(body) + 27)
        self.assertEqual(said - said_head, 9 + 3)
        self.assertEqual(numbers[10], sum(len(part) for part in (
            ":method", "GET", ":scheme", "http", ":path", "/", ":authority", "example.com")))

    def test_an_answer_that_waits_for_its_window_is_counted_whole(self):
        server = self.upstream(upstream.answer(b"b" * 40_000))
        proxy = self.http_to(server, access_log=[configs.file_log(
            "a.log", "%DOWNSTREAM_WIRE_BYTES_SENT%|%DOWNSTREAM_HEADER_BYTES_SENT%")], flags=FLUSH)
        with Raw(proxy.port, settings=b"\0\4\0\0\0\0") as raw:
            raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
            head = 9 + len(raw.find(HEADERS)[3])
            whole, heads = (int(n) for n in self.line(proxy).split("|"))
        self.assertEqual((whole, heads), (head + 40_000 + 27, head))

    def test_json(self):
        server = self.upstream(upstream.answer(b"hello"))
        log = configs.file_log("a.log", extra="""
            log_format:
              json_format:
                status: "%RESPONSE_CODE%"
                mixed: "code=%RESPONSE_CODE%"
                none: "%REQ(NONE)%"
                quoted: "%REQ(X-Q)%"
                nested: { bytes: "%BYTES_SENT%" }
            """)
        proxy = self.http_to(server, access_log=[log], flags=FLUSH)
        get(proxy.port, headers=[("X-Q", 'say "hi"\\')])
        self.assertEqual(json.loads(self.line(proxy)), {
            "status": 200, "mixed": "code=200", "none": None, "quoted": 'say "hi"\\', "nested": {"bytes": 5}})

    def test_a_listener_logs_its_connections(self):
        log = configs.file_log("c.log", "%DOWNSTREAM_LOCAL_PORT% %BYTES_SENT% %ACCESS_LOG_TYPE% %PROTOCOL%")
        proxy = self.start([lambda port: configs.listener(port, configs.hcm(configs.direct()), access_log=[log])], [],
                           flags=FLUSH)
        with self.client(proxy.port) as client:
            for _ in range(2):
                self.assertEqual(client.request("GET", "/").status, 200)
        local, sent, kind, protocol = self.line(proxy, "c.log").split(" ")
        self.assertEqual((local, kind, protocol), (str(proxy.port), "TcpConnectionEnd", "-"))
        self.assertGreater(int(sent), 2 * len("direct"))
        self.assertEqual(proxy.process.read("c.log").count("\n"), 1)

    def test_a_header_cannot_forge_a_line(self):
        proxy = self.http(configs.direct(), access_log=[configs.file_log("a.log", "%REQ(X-A)%")], flags=FLUSH)
        get(proxy.port, headers=[("X-A", "tab\there")])
        self.assertEqual(len(self.line(proxy).split("\n")), 1)

    def test_stdout_and_stderr(self):
        for stream, kind in (("stdout", "StdoutAccessLog"), ("stderr", "StderrAccessLog")):
            with self.subTest(stream):
                log = f"""
name: envoy.access_loggers.{stream}
typed_config:
  "@type": {configs.TYPES}.extensions.access_loggers.stream.v3.{kind}
  log_format: {{ text_format_source: {{ inline_string: "logged %REQ(:PATH)%\\n" }} }}
"""
                proxy = self.http(configs.direct(), access_log=[log], flags=FLUSH)
                get(proxy.port, "/to-the-stream")
                self.wait_until(lambda: "logged /to-the-stream\n" in proxy.process.read(stream), "a log line")

    def test_a_status_filter_chooses(self):
        log = configs.file_log("a.log", "%REQ(:PATH)% %RESPONSE_CODE%") + """
filter:
  status_code_filter:
    comparison: { op: GE, value: { default_value: 400, runtime_key: unused } }
"""
        proxy = self.http(configs.direct(200, match='path: "/good"'), configs.direct(404), access_log=[log],
                          flags=FLUSH)
        for target in ("/good", "/bad", "/good"):
            get(proxy.port, target)
        self.assertEqual(self.line(proxy), "/bad 404")
        self.assertEqual(proxy.process.read("a.log").count("\n"), 1)

    def test_every_request_has_its_line(self):
        proxy = self.http(configs.direct(), access_log=[configs.file_log("a.log", "%REQ(:PATH)%")], flags=FLUSH)
        client = self.client(proxy.port)
        for i in range(2000):
            client.request(target=f"/{i}")
        self.wait_until(lambda: proxy.process.read("a.log").count("\n") == 2000, "2000 lines")
        self.assertEqual(proxy.process.read("a.log").split(), [f"/{i}" for i in range(2000)])

    def test_sigusr1_reopens_the_file(self):
        proxy = self.http(configs.direct(), access_log=[configs.file_log("a.log", "%REQ(:PATH)%")], flags=FLUSH)
        get(proxy.port, "/one")
        self.line(proxy)
        os.rename(proxy.path("a.log"), proxy.path("old.log"))
        proxy.signal(signal.SIGUSR1)
        self.wait_until(lambda: os.path.exists(proxy.path("a.log")), "the file is created again")
        get(proxy.port, "/two")
        self.assertEqual(self.line(proxy), "/two")
        self.assertEqual(proxy.process.read("old.log"), "/one\n")

    def test_what_is_buffered_is_written_at_the_end(self):
        proxy = self.http(configs.direct(), access_log=[configs.file_log("a.log", "%REQ(:PATH)%")],
                          flags=["--file-flush-interval-msec", "3600000"])
        get(proxy.port, "/last")
        proxy.signal(signal.SIGTERM)
        self.assertEqual(proxy.wait_exit(), 0)
        self.assertEqual(proxy.process.read("a.log"), "/last\n")
