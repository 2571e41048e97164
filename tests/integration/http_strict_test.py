"""What must not be forwarded: requests and responses that two parsers could read differently."""
from support import upstream
from support.case import ProxyCase
from support.http1 import Client, get

REFUSED_REQUESTS = {
    "transfer-encoding with content-length":
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two content-lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two values in content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nab",
    "signed content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    "negative content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "hexadecimal content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
    "content-length beyond 64 bits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\na",
    "empty content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n folded\r\n\r\n",
    "bare LF in the head": b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    "space before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na",
    "space in a header name": b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
    "empty header name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "header without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    "chunked not last": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"0\r\n\r\n",
    "unknown transfer coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the target": b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces after the method": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "malformed version": b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}
REFUSED_CHUNKS = {
    "negative size": b"-1\r\n", "size with 0x": b"0x2\r\nab\r\n", "empty size": b"\r\n", "size beyond 64 bits":
    b"11111111111111111\r\n", "bare LF after the size": b"2\nab\r\n0\r\n\r\n", "no CRLF after the data":
    b"2\r\nabc\r\n0\r\n\r\n", "space before the size": b" 2\r\nab\r\n0\r\n\r\n", "letters": b"zz\r\n",
}


class RequestTest(ProxyCase):
    def test_refuses_ambiguous_requests_and_closes(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        for name, data in REFUSED_REQUESTS.items():
            with self.subTest(name), Client(proxy.port) as client:
                # What follows must never be served: it is the request that a smuggler hides.
                client.send(data + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
                response = client.response()
                self.assertIn(response.status, (400, 501) if "coding" in name or "chunked" in name else (400,))
                self.assertTrue(client.is_closed())
        self.assertNotIn("/smuggled", [request.target for request in server.requests])

    def test_refuses_bad_chunks_and_closes(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        for name, data in REFUSED_CHUNKS.items():
            with self.subTest(name), Client(proxy.port) as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data +
                            b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
                rest = client.reader.rest()
                self.assertTrue(rest == b"" or rest.startswith(b"HTTP/1.1 400 "), rest)
        self.assertNotIn("/smuggled", [request.target for request in server.requests])

    def test_counts_protocol_errors(self):
        proxy = self.http_to(self.upstream(upstream.answer()))
        with Client(proxy.port) as client:
            client.send(b"nonsense\r\n\r\n")
            self.assertEqual(client.response().status, 400)
        proxy.wait_stat("http.front.downstream_cx_protocol_error", 1)

    def test_removes_hop_by_hop_headers_and_what_connection_names(self):
        server = self.upstream(upstream.answer())
        proxy = self.http_to(server)
        get(proxy.port, headers=[("Connection", "keep-alive, X-Secret"), ("X-Secret", "1"), ("Keep-Alive", "5"),
                                 ("Proxy-Connection", "keep-alive"), ("TE", "gzip"), ("X-Kept", "1")])
        request = server.requests[0]
        for name in ("connection", "keep-alive", "proxy-connection", "te"):
            self.assertIsNone(request[name], name)
        self.assertEqual(request["x-kept"], "1")

    def test_accepts_what_is_only_unusual(self):
        server = self.upstream(upstream.echo_http)
        proxy = self.http_to(server)
        for data in (b"POST / HTTP/1.1\r\nHOST: a\r\ncontent-LENGTH: 2\r\n\r\nhi",
                     b"POST / HTTP/1.1\r\nHost:a\r\nContent-Length:2  \r\n\r\nhi",
                     b"POST / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nhi",
                     b"POST / HTTP/1.1\r\nHost: a\r\nX-High: \xe9\xff\r\nContent-Length: 2\r\n\r\nhi",
                     b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n002\r\nhi\r\n000\r\n\r\n"):
            with self.subTest(data), Client(proxy.port) as client:
                client.send(data)
                response = client.response()
                self.assertEqual((response.status, response.body), (200, b"hi"))


class ResponseTest(ProxyCase):
    def test_a_malformed_response_becomes_a_502_or_503(self):
        for name, data in {
            "not HTTP": b"SSH-2.0-x\r\n\r\n",
            "two content-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "length and chunked":
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        }.items():
            with self.subTest(name):
                server = self.upstream(upstream.fixed(data, close=True))
                proxy = self.http_to(server)
                self.assertIn(get(proxy.port).status, (502, 503))
                proxy.wait_stat("cluster.up.upstream_cx_protocol_error", 1)

    def test_bytes_after_a_response_never_answer_the_next_request(self):
        def script(peer):
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal"
                      b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            peer.reader.rest()
        proxy = self.http_to(self.upstream(script))
        client = self.client(proxy.port)
        self.assertEqual([client.request().body for _ in range(3)], [b"real"] * 3)
