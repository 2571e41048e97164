"""gRPC through the proxy over HTTP/2 on both sides, clients and servers on python3-grpcio; the filters before them."""
import concurrent.futures
import os
import struct
import threading
import time

import grpc

from support import configs
from support.case import ProxyCase
from support.http1 import Client
from support.ports import free_port
from support.proxy import Proxy

HTTP2 = "http2_protocol_options: {}"


def same(message):
    return message


class Service:
    """greeter.Greeter of config/examples/grpc.yaml, and more; messages are bytes."""

    def __init__(self):
        self.failures = []  # status codes that the next calls of Say end with
        self.deadlines = []
        self.calls = 0
        self.released = threading.Event()

    def say(self, request, context):
        self.calls += 1
        self.deadlines.append(context.time_remaining())
        if self.failures:
            context.abort(self.failures.pop(0), "as asked, 100%")
        context.set_trailing_metadata([("mood", "fine")])
        return request

    def split(self, request, _):
        for i in range(0, len(request), 4):
            yield request[i:i + 4]

    def gather(self, requests, _):
        return b"".join(requests)

    def echo(self, requests, _):
        yield from requests

    def stay(self, request, context):
        context.add_callback(self.released.set)
        yield request
        self.released.wait(20)

    def handlers(self, name):
        return grpc.method_handlers_generic_handler(name, {
            "SayHello": grpc.unary_unary_rpc_method_handler(self.say, same, same),
            "SayMany": grpc.unary_stream_rpc_method_handler(self.split, same, same),
            "Gather": grpc.stream_unary_rpc_method_handler(self.gather, same, same),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo, same, same),
            "Stay": grpc.unary_stream_rpc_method_handler(self.stay, same, same)})


class GrpcCase(ProxyCase):
    def serve(self):
        self.service = Service()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        server.add_generic_rpc_handlers([self.service.handlers("greeter.Greeter")])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.addCleanup(lambda: server.stop(0).wait())
        return port

    def channel(self, port):
        return self.enterContext(grpc.insecure_channel(f"127.0.0.1:{port}", options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]))


class GrpcHttp2Test(GrpcCase):
    def start_proxy(self, action="", **options):
        port = self.serve()
        proxy = self.http(configs.route("up", action=action),
                          clusters=[configs.cluster("up", port, extra=HTTP2)], **options)
        self.greeter = self.channel(proxy.port)
        return proxy

    def say(self, message=b"hello", **options):
        return self.greeter.unary_unary("/greeter.Greeter/SayHello").with_call(message, **options)

    def test_unary_calls_and_their_trailers(self):
        self.start_proxy()
        answer, call = self.say()
        self.assertEqual(answer, b"hello")
        self.assertIn(("mood", "fine"), [(key, value) for key, value in call.trailing_metadata()])
        big = bytes(3 << 20)
        self.assertEqual(self.say(big)[0], big)

    def test_streams_in_every_direction(self):
        self.start_proxy()
        parts = [b"one", b"", b"three", bytes(200_000)]
        self.assertEqual(list(self.greeter.unary_stream("/greeter.Greeter/SayMany")(b"abcdefghij")),
                         [b"abcd", b"efgh", b"ij"])
        self.assertEqual(self.greeter.stream_unary("/greeter.Greeter/Gather")(iter(parts)), b"".join(parts))
        self.assertEqual(list(self.greeter.stream_stream("/greeter.Greeter/Echo")(iter(parts))), parts)

    def test_a_stream_answers_while_it_is_asked(self):
        self.start_proxy()
        asked = []

        def ask():
            for i in range(20):
                while len(asked) < i:
                    time.sleep(0.001)  # the answer before the next question
                yield b"%d" % i
        for answer in self.greeter.stream_stream("/greeter.Greeter/Echo")(ask()):
            asked.append(answer)
        self.assertEqual(asked, [b"%d" % i for i in range(20)])

    def test_statuses_pass(self):
        self.start_proxy()
        self.service.failures = [grpc.StatusCode.NOT_FOUND]
        with self.assertRaises(grpc.RpcError) as failed:
            self.say()
        self.assertEqual((failed.exception.code(), failed.exception.details()),
                         (grpc.StatusCode.NOT_FOUND, "as asked, 100%"))
        with self.assertRaises(grpc.RpcError) as failed:
            self.greeter.unary_unary("/greeter.Greeter/Nothing")(b"")
        self.assertEqual(failed.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_local_replies_are_statuses(self):
        proxy = self.http(configs.route("none", match='prefix: "/greeter.Greeter/"'),
                          clusters=[configs.cluster("none")])
        self.greeter = self.channel(proxy.port)
        with self.assertRaises(grpc.RpcError) as failed:
            self.say()
        self.assertEqual((failed.exception.code(), failed.exception.details()),
                         (grpc.StatusCode.UNAVAILABLE, "no healthy upstream"))
        with self.assertRaises(grpc.RpcError) as failed:
            self.greeter.unary_unary("/elsewhere/Method")(b"")
        self.assertEqual(failed.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_retries_on_codes(self):
        proxy = self.start_proxy(action="retry_policy: { retry_on: resource-exhausted, num_retries: 2, "
                                        "retry_back_off: { base_interval: 0.001s } }")
        self.service.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        self.assertEqual(self.say()[0], b"hello")
        self.assertEqual(self.service.calls, 3)
        self.assertEqual(proxy.stat("cluster.up.upstream_rq_retry_success"), 1)

    def test_deadlines_are_told_and_kept(self):
        self.start_proxy(action="max_stream_duration: { grpc_timeout_header_max: 0.2s }")
        self.say(timeout=100)
        self.assertLess(self.service.deadlines[0], 101)
        with self.assertRaises(grpc.RpcError) as failed:
            list(self.greeter.unary_stream("/greeter.Greeter/Stay")(b"x", timeout=100))
        self.assertIn(failed.exception.code(), (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE,
                                                grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN))
        self.assertTrue(self.service.released.wait(10))  # the server was told too

    def test_a_cancelled_call_is_cancelled_upstream(self):
        self.start_proxy()
        call = self.greeter.unary_stream("/greeter.Greeter/Stay")(b"x")
        self.assertEqual(next(call), b"x")
        call.cancel()
        self.assertTrue(self.service.released.wait(10))


class FiltersTest(GrpcCase):
    """config/examples/grpc.yaml before a real server."""

    def setUp(self):
        with open(os.path.join(configs.EXAMPLES, "grpc.yaml"), encoding="utf-8") as f:
            text = f.read()
        self.port, admin = free_port(), free_port()
        for old, new in ((10000, self.port), (9901, admin), (50051, self.serve())):
            text = text.replace(f"port_value: {old} ", f"port_value: {new} ")
        text = text.replace("    http_protocol_options: { enable_trailers: true }\n    load", f"    {HTTP2}\n    load")
        self.proxy = self.enterContext(Proxy(text, admin))

    def ask(self, target, method="GET", headers=(), body=b""):
        with Client(self.port) as client:
            return client.request(method, target, headers, body)

    def test_json_over_http1_reaches_the_service(self):
        response = self.ask("/v1/hello/you?times=3")  # the service echoes, and the messages read alike
        self.assertEqual((response.status, response.body), (200, b'{"text":"you"}'))
        self.service.failures = [grpc.StatusCode.PERMISSION_DENIED]
        response = self.ask("/v1/hello", "POST", (("Content-Type", "application/json"),), b'{"name": "x"}')
        self.assertEqual((response.status, response.body), (403, b'{"code":7,"message":"as asked, 100%"}'))

    def test_grpc_web_reaches_the_service(self):
        frame = struct.pack(">BI", 0, 2) + b"hi"
        response = self.ask("/greeter.Greeter/SayHello", "POST", (("Content-Type", "application/grpc-web"),), frame)
        self.assertTrue(response.body.startswith(frame + b"\x80"), response.body)
        self.assertIn(b"grpc-status:0\r\n", response.body)
        self.assertIn(b"mood:fine\r\n", response.body)

    def test_grpc_passes_and_is_counted(self):
        channel = self.channel(self.port)
        self.assertEqual(channel.unary_unary("/greeter.Greeter/SayHello")(b"\x0a\x01x"), b"\x0a\x01x")
        self.assertEqual(list(channel.stream_stream("/greeter.Greeter/Echo")(iter([b"a", b"b"]))), [b"a", b"b"])
        self.assertEqual(self.proxy.stat("cluster.service.grpc.greeter.Greeter.SayHello.success"), 1)
        self.assertEqual(self.proxy.stat("cluster.service.grpc.request_message_count"), 2)
        self.assertEqual(self.proxy.stat("cluster.service.grpc.response_message_count"), 2)
