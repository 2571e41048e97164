"""gRPC as far as HTTP/1 carries it: local replies, deadlines, retries; the filters for those who do not speak it."""
import base64
import os
import struct
import unittest

from support import configs
from support.case import ProxyCase
from support.http1 import Client
from support.ports import free_port
from support.proxy import Proxy

TRAILERS = "http_protocol_options: { enable_trailers: true }"
GRPC = (("Content-Type", "application/grpc"), ("TE", "trailers"))
FILTERS = "type.googleapis.com/envoy.extensions.filters.http"


def frame(message, flags=0):
    return struct.pack(">BI", flags, len(message)) + message


def frames(body):
    found = []
    while body:
        flags, size = struct.unpack(">BI", body[:5])
        found.append((flags, body[5:5 + size]))
        body = body[5 + size:]
    return found


def http_filter(name, config_type, more=""):
    return "\n".join([f"name: {name}", "typed_config:", f'  "@type": {FILTERS}.{config_type}',
                      *["  " + line for line in more.strip("\n").split("\n") if line]])


def grpc_answer(*messages, status=0, message=""):
    """What a gRPC server answers, in HTTP/1.1."""
    body = b"".join(frame(m) for m in messages)
    chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    trailers = b"grpc-status: %d\r\n" % status + (b"grpc-message: %s\r\n" % message.encode() if message else b"")
    return (b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n" + chunk +
            b"0\r\n" + trailers + b"\r\n")


def trailers_only(status):
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: %d\r\ncontent-length: 0\r\n\r\n" % status


def answering(*answers):
    """Gives the answers in turn, the last one for ever."""
    left = list(answers)

    def script(peer):
        while True:
            peer.read_request()
            peer.send(left.pop(0) if len(left) > 1 else left[0])
    return script


class GrpcTest(ProxyCase):
    def proxy(self, *upstreams, filters=(), **options):
        return self.http_to(*upstreams, cluster_extra=TRAILERS, extra=TRAILERS,
                            http_filters=(*filters, configs.ROUTER), **options)

    def call(self, proxy, body=frame(b"question"), headers=GRPC, target="/p.S/M", method="POST"):
        with Client(proxy.port) as client:
            return client.request(method, target, headers, body)

    def test_trailers_pass(self):
        proxy = self.proxy(self.upstream(answering(grpc_answer(b"one", b"two"))))
        response = self.call(proxy)
        self.assertEqual(frames(response.body), [(0, b"one"), (0, b"two")])
        self.assertEqual(dict(response.trailers), {"grpc-status": "0"})

    def test_local_replies_are_trailers_only(self):
        proxy = self.http(configs.route("none", match='path: "/p.S/M"\ngrpc: {}'), configs.direct(403, "no: 100%"),
                          clusters=[configs.cluster("none")])
        response = self.call(proxy)
        self.assertEqual((response.status, response["grpc-status"], response.body), (200, "14", b""))
        self.assertEqual(response["grpc-message"], "no healthy upstream")
        self.assertEqual(response["content-type"], "application/grpc")
        denied = self.call(proxy, target="/other")
        self.assertEqual((denied["grpc-status"], denied["grpc-message"]), ("7", "no: 100%25"))
        self.assertEqual(self.call(proxy, headers=()).status, 403)  # not gRPC, so the first route is not for it

    def test_retries_on_grpc_codes(self):
        for on, status in (("unavailable", 14), ("cancelled", 1), ("deadline-exceeded", 4), ("internal", 13),
                           ("resource-exhausted", 8)):
            with self.subTest(on):
                server = self.upstream(answering(trailers_only(status), grpc_answer(b"ok")))
                proxy = self.proxy(server, action=f"retry_policy: {{ retry_on: {on} }}")
                self.assertEqual(frames(self.call(proxy).body), [(0, b"ok")])
                self.assertEqual([r.body for r in server.requests], [frame(b"question")] * 2)
        # Who may ask for it: internal clients.
        server = self.upstream(answering(trailers_only(14), grpc_answer(b"ok")))
        internal = ("use_remote_address: true\n"
                    "internal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] }")
        proxy = self.http_to(server, cluster_extra=TRAILERS, extra=f"{TRAILERS}\n{internal}")
        self.assertEqual(self.call(proxy, headers=(*GRPC, ("x-envoy-retry-grpc-on", "unavailable"))).trailers,
                         [("grpc-status", "0")])

    def test_deadlines_of_clients_end_calls(self):
        server = self.upstream(lambda peer: (peer.read_request(), peer.reader.rest()))
        proxy = self.proxy(server, action="max_stream_duration: { grpc_timeout_header_max: 0.05s }")
        response = self.call(proxy, headers=(*GRPC, ("grpc-timeout", "1H")))
        self.assertEqual(response["grpc-status"], "4")
        self.assertEqual(server.requests[0]["grpc-timeout"], "1H")

    def test_the_old_field_caps_deadlines(self):
        server = self.upstream(lambda peer: (peer.read_request(), peer.reader.rest()))
        proxy = self.proxy(server, action="max_grpc_timeout: 0.05s")
        response = self.call(proxy, headers=(*GRPC, ("grpc-timeout", "1H")))
        self.assertEqual(response["grpc-status"], "14")
        self.assertEqual(server.requests[0]["grpc-timeout"], "50m")

    def test_statistics_by_method(self):
        server = self.upstream(answering(grpc_answer(b"a", b"b"), trailers_only(5)))
        proxy = self.proxy(server, filters=[http_filter("stats", "grpc_stats.v3.FilterConfig", """
stats_for_all_methods: true
enable_upstream_stats: true
""")])
        self.call(proxy, frame(b"x") + frame(b"y") + frame(b"z"))
        self.call(proxy)
        for name, value in (("total", 2), ("success", 1), ("failure", 1), ("0", 1), ("5", 1),
                            ("request_message_count", 4), ("response_message_count", 2)):
            self.assertEqual(proxy.stat(f"cluster.up.grpc.p.S.M.{name}"), value, name)

    def test_browsers_get_trailers_in_the_body(self):
        server = self.upstream(answering(grpc_answer(b"answer", message="fine")))
        proxy = self.proxy(server, filters=[http_filter("web", "grpc_web.v3.GrpcWeb")])
        response = self.call(proxy, headers=(("Content-Type", "application/grpc-web"),))
        last = b"grpc-status:0\r\ngrpc-message:fine\r\n"
        self.assertEqual(frames(response.body), [(0, b"answer"), (0x80, last)])
        self.assertEqual(server.requests[0]["content-type"], "application/grpc")
        text = "application/grpc-web-text"
        response = self.call(proxy, base64.b64encode(frame(b"q")), (("Content-Type", text), ("Accept", text)))
        self.assertEqual(server.requests[1].body, frame(b"q"))
        self.assertEqual(response.body, base64.b64encode(frame(b"answer")) + base64.b64encode(frame(last, 0x80)))

    def test_the_bridge_serves_plain_clients(self):
        server = self.upstream(answering(grpc_answer(b"answer"), grpc_answer(status=9, message="not now")))
        proxy = self.proxy(server, filters=[
            http_filter("b", "grpc_http1_bridge.v3.Config", "upgrade_protobuf_to_grpc: true")])
        plain = (("Content-Type", "application/x-protobuf"),)
        response = self.call(proxy, b"question", plain)
        self.assertEqual((response.status, response["grpc-status"], response.body), (200, "0", b"answer"))
        self.assertEqual(server.requests[0].body, frame(b"question"))
        response = self.call(proxy, b"question", plain)
        self.assertEqual((response.status, response["grpc-status"], response["grpc-message"]), (503, "9", "not now"))

    def test_the_reverse_bridge_serves_grpc_clients(self):
        plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 6\r\n\r\nanswer"
        server = self.upstream(answering(plain))
        proxy = self.http(
            configs.route("up", match='prefix: "/off"', extra="""
typed_per_filter_config:
  r:
    "@type": type.googleapis.com/envoy.config.route.v3.FilterConfig
    disabled: true
"""), configs.route("up"), clusters=[configs.cluster("up", server.port)], extra=TRAILERS,
            http_filters=(http_filter("r", "grpc_http1_reverse_bridge.v3.FilterConfig", """
content_type: application/x-protobuf
withhold_grpc_frames: true
"""), configs.ROUTER))
        response = self.call(proxy)
        self.assertEqual(frames(response.body), [(0, b"answer")])
        self.assertEqual(response.trailers, [("grpc-status", "0")])
        self.assertEqual(server.requests[0].body, b"question")
        self.assertEqual(self.call(proxy, target="/off/S/M").body, b"answer")
        self.assertEqual(server.requests[1].body, frame(b"question"))


class TranscoderTest(ProxyCase):
    def setUp(self):
        with open(os.path.join(configs.EXAMPLES, "grpc.yaml"), encoding="utf-8") as f:
            text = f.read()
        self.server = self.upstream(self.serve)
        self.answers = [grpc_answer(b"\x0a\x05hello")]
        self.port, admin = free_port(), free_port()
        for old, new in ((10000, self.port), (9901, admin), (50051, self.server.port)):
            text = text.replace(f"port_value: {old} ", f"port_value: {new} ")
        self.proxy = self.enterContext(Proxy(text, admin))

    def serve(self, peer):
        while True:
            peer.read_request()
            peer.send(self.answers.pop(0))

    def ask(self, target, method="GET", headers=(), body=b""):
        with Client(self.port) as client:
            return client.request(method, target, headers, body)

    def test_json_clients_call_methods(self):
        response = self.ask("/v1/hello/you?times=3")
        self.assertEqual((response.status, response.body), (200, b'{"text":"hello"}'))
        self.assertEqual(response["content-type"], "application/json")
        request = self.server.requests[0]
        self.assertEqual((request.method, request.target), ("POST", "/greeter.Greeter/SayHello"))
        self.assertEqual(request.body, frame(b"\x0a\x03you\x10\x03"))
        self.assertEqual(self.proxy.stat("cluster.service.grpc.greeter.Greeter.SayHello.success"), 1)

    def test_bodies_are_json_too(self):
        self.ask("/v1/hello", "POST", (("Content-Type", "application/json"),), b'{"name": "me"}')
        self.assertEqual(self.server.requests[0].body, frame(b"\x0a\x02me"))
        refused = self.ask("/v1/hello", "POST", (("Content-Type", "application/json"),), b'{"name": ')
        self.assertEqual(refused.status, 400)
        self.assertEqual(self.ask("/v1/hello/you?unknown=1").status, 400)
        self.assertEqual(len(self.server.requests), 1)

    def test_streams_are_arrays(self):
        self.answers = [grpc_answer(b"\x0a\x01a", b"\x0a\x01b"), grpc_answer()]
        self.assertEqual(self.ask("/v1/many/you").body, b'[{"text":"a"},{"text":"b"}]')
        self.assertEqual(self.ask("/v1/many/you").body, b"[]")

    def test_errors_are_statuses_and_json(self):
        self.answers = [grpc_answer(status=5, message="nobody"), trailers_only(14), trailers_only(14), trailers_only(7)]
        response = self.ask("/v1/hello/you")
        self.assertEqual((response.status, response.body), (404, b'{"code":5,"message":"nobody"}'))
        response = self.ask("/v1/hello/you")  # tried again twice
        self.assertEqual((response.status, response.body), (403, b'{"code":7}'))


if __name__ == "__main__":
    unittest.main()
