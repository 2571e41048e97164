"""Scripted HTTP/2 upstream servers, on python3-h2 (prior knowledge, or TLS): a thread accepts, a thread per connection
turns frames into calls of the script.

A script is a function `script(stream)`, called once a request is whole (or, with `early=True`, once its head has come);
it answers when it likes, from any thread. What arrived is recorded in `server.requests`.
"""
import socket
import sys
import threading

try:
    import h2.config
except ImportError:  # Debian's package, when another python3 than Debian's runs the tests
    sys.path.append("/usr/lib/python3/dist-packages")
    import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

REFUSED = h2.errors.ErrorCodes.REFUSED_STREAM


class Stream:
    """A request and what is said about it."""

    def __init__(self, peer, number, headers):
        self.peer, self.number = peer, number
        self.headers = dict(headers)
        self.body = b""
        self.trailers = {}
        self.ended = threading.Event()
        self.reset_code = None
        self._unsent, self._end, self._after = b"", False, None

    def __getitem__(self, name):
        return self.headers.get(name)

    def respond(self, status=200, body=b"", headers=(), trailers=None):
        """A whole response."""
        self.head(status, headers, end=not body and trailers is None)
        if body or trailers is not None:
            self.send(body, end=True, trailers=trailers)

    def head(self, status=200, headers=(), end=False):
        with self.peer.lock:
            self.peer.connection.send_headers(self.number, [(":status", str(status)), *headers], end_stream=end)
            self.peer.flush()

    def send(self, data=b"", end=False, trailers=None):
        """Sent as the windows allow."""
        with self.peer.lock:
            self._unsent += data
            self._end = end
            self._after = trailers
            self.pump()
            self.peer.flush()

    def pump(self):
        connection = self.peer.connection
        while self._unsent:
            n = min(connection.local_flow_control_window(self.number), connection.max_outbound_frame_size,
                    len(self._unsent))
            if n == 0:
                return
            last = self._end and n == len(self._unsent) and self._after is None
            connection.send_data(self.number, self._unsent[:n], end_stream=last)
            self._unsent = self._unsent[n:]
            if last:
                self._end = False
        if self._end:
            self._end = False
            if self._after is not None:
                connection.send_headers(self.number, list(self._after), end_stream=True)
            else:
                connection.end_stream(self.number)

    def reset(self, code=h2.errors.ErrorCodes.INTERNAL_ERROR):
        with self.peer.lock:
            self.peer.connection.reset_stream(self.number, code)
            self.peer.flush()


class Peer:
    """One accepted connection."""

    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.lock = threading.RLock()
        self.streams = {}
        self.goaway_code = None
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 65536, **server.settings})

    def flush(self):
        data = self.connection.data_to_send()
        if data:
            self.sock.sendall(data)

    def goaway(self, last_stream):
        with self.lock:
            self.connection.close_connection(last_stream_id=last_stream)
            self.flush()
            self.connection.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN  # streams go on

    def run(self):
        try:
            if self.server.context is not None:
                self.sock = self.server.context.wrap_socket(self.sock, server_side=True)
            with self.lock:
                self.connection.initiate_connection()
                self.flush()
            while data := self.sock.recv(65536):
                with self.lock:
                    events = self.connection.receive_data(data)
                    ready = [stream for event in events if (stream := self._on(event)) is not None]
                    self.flush()
                for stream in ready:
                    self.server.script(stream)
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.server.errors.append(error)
        finally:
            self.sock.close()
            for stream in self.streams.values():
                stream.ended.set()

    def _on(self, event):
        """The stream that is ready for the script, if one is."""
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[event.stream_id] = Stream(self, event.stream_id, event.headers)
            self.server.requests.append(stream)
            return stream if self.server.early else None
        if isinstance(event, h2.events.DataReceived):
            if stream is not None:
                stream.body += event.data
            if self.server.reads:
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            if stream is not None:
                stream.reset_code = event.error_code
                stream.ended.set()
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended.set()
            return None if self.server.early else stream
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway_code = event.error_code
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for one in self.streams.values():
                if one.reset_code is None:
                    one.pump()
        return None


class Http2Upstream:
    """Listens on a free port of 127.0.0.1; `settings` go into its SETTINGS, `reads=False` gives no window back.

    `context`: an ssl.SSLContext. Scripts of such a server answer from their own thread only.
    """

    def __init__(self, script, early=False, reads=True, settings=None, context=None):
        self.script, self.early, self.reads, self.context = script, early, reads, context
        self.settings = settings or {}
        self.requests, self.errors, self.peers = [], [], []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = []

    @property
    def connections(self):
        return len(self.peers)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, sock)
            self.peers.append(peer)
            thread = threading.Thread(target=peer.run, daemon=True)
            self._threads.append(thread)
            thread.start()

    def __enter__(self):
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(timeout=5)


def answer(body=b"hello", status=200, headers=(), trailers=None):
    return lambda stream: stream.respond(status, body, headers, trailers)


def echo(stream):
    stream.respond(200, stream.body, [("x-path", stream[":path"])], list(stream.trailers.items()) or None)
