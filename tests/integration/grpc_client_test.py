"""gRPC against a server on python3-grpcio: Millrace's own client (grpc_probe.cc), and python3-grpcio's through the
proxy."""
import concurrent.futures
import os
import subprocess
import sys
import time

try:
    import grpc
except ImportError:  # Debian's package, when another python3 than Debian's runs the tests
    sys.path.append("/usr/lib/python3/dist-packages")
    import grpc

from support import configs
from support.case import ProxyCase
from support.proxy import BINARY

PROBE = os.environ.get("GRPC_PROBE", os.path.join(os.path.dirname(BINARY), "tests", "integration", "grpc_probe"))


def _handlers():
    def same(message):
        return message

    def say(request, context):
        if request == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now, 50% sure")
        if request == b"slow":
            context.add_callback(lambda: None)
            time.sleep(1)
        if request == b"big":
            return b"y" * (3 << 20)
        left = context.time_remaining()
        return request.upper() + (b" with deadline" if left is not None and left < 60 else b"")

    def echo(requests, context):
        yield from requests
        context.set_trailing_metadata([("mood", "fine")])

    def watch(requests, _):
        yield b"got " + next(requests)
        raise RuntimeError("the service is restarted")

    return grpc.method_handlers_generic_handler("test.Echo", {
        "Say": grpc.unary_unary_rpc_method_handler(say, same, same),
        "All": grpc.stream_stream_rpc_method_handler(echo, same, same),
        "Watch": grpc.stream_stream_rpc_method_handler(watch, same, same)})


class GrpcClientTest(ProxyCase):
    def setUp(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        self.server.add_generic_rpc_handlers([_handlers()])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.addCleanup(lambda: self.server.stop(0).wait())

    def probe(self, *arguments, port=None):
        done = subprocess.run([PROBE, str(port or self.port), *[str(a) for a in arguments]], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_unary_calls(self):
        self.assertEqual(self.probe("unary", "/test.Echo/Say", 0, "hello", "again"), ["0  [HELLO]", "0  [AGAIN]"])
        self.assertEqual(self.probe("unary", "/test.Echo/Say", 5000, "hello"), ["0  [HELLO with deadline]"])
        self.assertEqual(len(self.probe("unary", "/test.Echo/Say", 0, "big")[0]), (3 << 20) + len("0  []"))

    def test_failures_have_their_status_and_leave_the_connection_usable(self):
        self.assertEqual(self.probe("unary", "/test.Echo/Say", 0, "fail", "hello"),
                         ["9 not now, 50% sure []", "0  [HELLO]"])
        self.assertTrue(self.probe("unary", "/test.Echo/Nothing", 0, "x")[0].startswith("12 "))
        self.assertTrue(self.probe("unary", "/test.Echo/Say", 50, "slow")[0].startswith("4 "))

    def test_nobody_there_is_unavailable(self):
        self.server.stop(0).wait()
        self.assertTrue(self.probe("unary", "/test.Echo/Say", 0, "x")[0].startswith("14 "))

    def test_streams_echo_all_that_is_sent(self):
        self.assertEqual(self.probe("echo", "/test.Echo/All", 1000, 100), ["0  echoed 1000 waited false fine"])
        self.assertEqual(self.probe("echo", "/test.Echo/All", 40, 300_000), ["0  echoed 40 waited true fine"])

    def test_a_persistent_stream_comes_back(self):
        self.assertEqual(self.probe("watch", "/test.Echo/Watch", 6),
                         ["begin", "message got hello", "end 2"] * 2)

    def test_clients_reach_the_server_through_the_proxy(self):
        proxy = self.http(configs.route("up"), clusters=[
            configs.cluster("up", self.port, extra="http2_protocol_options: {}")])
        with grpc.insecure_channel(f"127.0.0.1:{proxy.port}", options=[
                ("grpc.max_receive_message_length", -1)]) as channel:
            say = channel.unary_unary("/test.Echo/Say")
            self.assertEqual(say(b"hello", timeout=10), b"HELLO with deadline")
            self.assertEqual(len(say(b"big", timeout=20)), 3 << 20)
            with self.assertRaises(grpc.RpcError) as failed:
                say(b"fail", timeout=10)
            self.assertEqual((failed.exception.code(), failed.exception.details()),
                             (grpc.StatusCode.FAILED_PRECONDITION, "not now, 50% sure"))
            messages = [b"%d" % i * 1000 for i in range(200)]
            call = channel.stream_stream("/test.Echo/All")(iter(messages), timeout=20)
            self.assertEqual(list(call), messages)
            self.assertEqual(dict(call.trailing_metadata())["mood"], "fine")
