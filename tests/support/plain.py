"""Stream sockets of apps that never block, as the short-circuit wants them; every wait is bounded."""
import select
import socket

LIMIT_S = 10.0


class Plain:
    """One connection."""

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock

    @classmethod
    def dial(cls, port, address="127.0.0.1"):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self = cls(sock)
        try:
            sock.connect((address, port))
        except BlockingIOError:
            self._wait(select.POLLOUT)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
        return self

    def _wait(self, events):
        poll = select.poll()
        poll.register(self.sock, events)
        if not poll.poll(LIMIT_S * 1000):
            raise TimeoutError("a socket is not ready")

    def send(self, data):
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                self._wait(select.POLLOUT)

    def receive(self, most=1 << 16):
        """What there is, once there is something; empty at the end of the stream."""
        while True:
            try:
                return self.sock.recv(most)
            except BlockingIOError:
                self._wait(select.POLLIN)

    def receive_exactly(self, count):
        got = bytearray()
        while len(got) < count:
            piece = self.receive(count - len(got))
            if not piece:
                raise EOFError(f"the stream ended after {len(got)} of {count} bytes")
            got += piece
        return bytes(got)

    def receive_all(self):
        got = bytearray()
        while piece := self.receive():
            got += piece
        return bytes(got)

    def end(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Listening:
    """A listening socket whose connections are Plain."""

    def __init__(self, address="127.0.0.1"):
        self.sock = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                                         dualstack_ipv6=address == "::")
        self.sock.settimeout(LIMIT_S)
        self.port = self.sock.getsockname()[1]

    def accept(self):
        return Plain(self.sock.accept()[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
