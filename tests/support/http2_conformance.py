"""What a peer says wrong (RFC 9113, RFC 7541), what must come back, and how that is judged.

A case is told over a connection of raw frames. Order on the wire replaces waiting: a PING follows the case, and its
answer says that the case was read; a request of its own shows that the connection still works.
"""
import dataclasses
import struct
import typing

from support.http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING,
                           PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal)

NO_ERROR, PROTOCOL, INTERNAL, FLOW, TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
HAS_PRIORITY = 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = range(1, 7)
ENABLE_CONNECT, NO_PRIORITIES = 8, 9
PROBE, LAST_PROBE = b"conform1", b"conform2"
FRESH = 0x1001  # a request after the case


def number(value):
    return struct.pack(">I", value)


def setting(*pairs):
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


def settings(*pairs, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, setting(*pairs))


def head(block=GET, stream=1, end=True, flags=END_HEADERS):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block)


def trailers(block, stream=1):
    return head(block, stream)


def window(increment, stream=0):
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


def reset(stream=1, code=CANCEL):
    return frame(RST_STREAM, 0, stream, number(code))


def data(payload=b"x", stream=1, end=False, flags=0):
    return frame(DATA, flags | (END_STREAM if end else 0), stream, payload)


def ping(payload=b"12345678", flags=0, stream=0):
    return frame(PING, flags, stream, payload)


def indexed_literal(name, value):
    """HPACK: a literal that goes into the dynamic table."""
    return b"\x40" + literal(name, value)[1:]


@dataclasses.dataclass
class Want:
    """`connection`: codes that a GOAWAY may carry; `stream`: those of a RST_STREAM; neither: it goes unpunished."""

    connection: tuple = ()
    stream: tuple = ()
    on: int = 1


def connection_error(*codes):
    return Want(connection=codes)


def stream_error(*codes, on=1):
    return Want(stream=codes, on=on)


def either(*codes, on=1):
    """A stream error, which an endpoint may treat as one of the connection (RFC 9113 section 5.4.1)."""
    return Want(connection=codes, stream=codes, on=on)


IGNORED = Want()


@dataclasses.dataclass
class Case:
    """`say` is bytes, or a function of the Talk that says them itself."""

    section: str
    what: str
    say: typing.Any
    want: Want
    settings: bytes = b""
    after: typing.Callable = None  # a function of the Talk: what else must hold, once the case was read

    def __str__(self):
        return f"{self.section} {self.what}"


class Talk:
    """A raw connection and what was heard on it."""

    def __init__(self, raw):
        self.raw = raw
        self.resets, self.heads, self.bodies, self.ended = {}, {}, {}, set()
        self.goaways, self.pongs, self.windows, self.settings, self.frames = [], [], {}, [], []
        self.settings_acks = 0

    def say(self, wire):
        return self.raw.send(wire)

    def hear(self):
        """One frame; False at the end of the connection."""
        got = self.raw.next()
        if got is None:
            return False
        self.frames.append(got)
        kind, flags, stream, payload = got
        if kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
        elif kind == HEADERS:
            self.heads.setdefault(stream, []).append(payload)
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind == PING and flags & ACK:
            self.pongs.append(payload)
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(payload, "big")
        elif kind == SETTINGS and flags & ACK:
            self.settings_acks += 1
        elif kind == SETTINGS:
            self.settings.append(payload)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)
        return True

    def until(self, condition):
        """True once it holds; False if the connection ends, or is said to, first."""
        while not condition():
            if self.goaways or not self.hear():
                return condition()
        return True

    def caught_up(self, probe=b"caughtup"):
        """Everything said so far was read."""
        seen = self.pongs.count(probe)
        self.say(ping(probe))
        return self.until(lambda: self.pongs.count(probe) > seen)


def judge(case, talk, check_alive):
    """None, or what is wrong. `check_alive(talk)` is true if the connection still does its work."""
    told = case.say(talk) if callable(case.say) else case.say
    if told:
        talk.say(told)
    talk.say(ping(PROBE))
    talk.until(lambda: PROBE in talk.pongs)
    want = case.want
    if not talk.goaways and not want.connection and not want.stream:
        return _still_works(case, talk, check_alive)
    if not talk.goaways and (want.stream or want.connection):
        talk.until(lambda: want.stream and want.on in talk.resets)
    if talk.goaways:
        last, code = talk.goaways[0]
        if code not in want.connection:
            return f"GOAWAY with {code}, wanted {want}"
        if last > FRESH:
            return f"GOAWAY names stream {last}, which never was"
        talk.raw.say_nothing_more()
        while talk.hear():
            pass
        return None
    if want.on not in talk.resets:
        return f"the connection ended without a GOAWAY or a reset: {talk.frames}"
    if talk.resets[want.on] not in want.stream:
        return f"RST_STREAM with {talk.resets[want.on]}, wanted {want}"
    return _still_works(case, talk, check_alive)


def _still_works(case, talk, check_alive):
    wrong = case.after(talk) if case.after else None
    if wrong:
        return wrong
    if not check_alive(talk):
        return f"the connection does not work any more: {talk.goaways} {talk.resets}"
    for stream, code in talk.resets.items():
        if code not in (NO_ERROR, *case.want.stream):
            return f"stream {stream} was reset with {code}"
    return None


# ---- cases that are the same for both roles; stream 1 is open, the peer may send on it

def framing_cases():
    huge = b"x" * 16_385
    return [
        # 4.1: frame format
        Case("4.1", "unknown frame types are ignored", frame(0xfe, 0xff, 0, b"abc") + frame(0x4d, 0, 1, b"abc"),
             IGNORED),
        Case("4.1", "an unknown frame on an idle stream is ignored", frame(0xfe, 0, 77, b"abc"), IGNORED),
        Case("4.1", "undefined flags are ignored", ping(flags=0xfe) + window(1, 1)[:4] + b"\xff" + window(1, 1)[5:],
             IGNORED),
        Case("4.1", "undefined flags of SETTINGS are ignored", settings(flags=0xfe), IGNORED),
        Case("4.1", "the reserved bit of the stream identifier is ignored",
             frame(WINDOW_UPDATE, 0, 0x80000001, number(1)) + frame(PING, 0, 0x80000000, b"12345678"), IGNORED),
        # 4.2: frame size
        Case("4.2", "DATA beyond SETTINGS_MAX_FRAME_SIZE", data(huge), either(SIZE)),
        Case("4.2", "HEADERS beyond SETTINGS_MAX_FRAME_SIZE", frame(HEADERS, END_HEADERS, 1, huge),
             connection_error(SIZE)),
        Case("4.2", "SETTINGS beyond SETTINGS_MAX_FRAME_SIZE", settings(*[(0x7f7f, 0)] * 2731), connection_error(SIZE)),
        Case("4.2", "GOAWAY beyond SETTINGS_MAX_FRAME_SIZE", frame(GOAWAY, 0, 0, bytes(16_385)),
             connection_error(SIZE)),
        Case("4.2", "an unknown frame on stream 0 beyond SETTINGS_MAX_FRAME_SIZE", frame(0xfe, 0, 0, huge),
             connection_error(SIZE)),
        Case("4.2", "HEADERS too short for their pad length", head(b"", flags=END_HEADERS | PADDED),
             connection_error(SIZE)),
        Case("4.2", "HEADERS too short for their priority", head(b"\0\0\0", flags=END_HEADERS | HAS_PRIORITY),
             connection_error(SIZE)),
        Case("4.2", "DATA too short for their pad length", data(b"", flags=PADDED), either(SIZE)),
        # 5.1: states
        Case("5.1", "DATA on an idle stream", data(stream=99), connection_error(PROTOCOL)),
        Case("5.1", "RST_STREAM on an idle stream", reset(99), connection_error(PROTOCOL)),
        Case("5.1", "WINDOW_UPDATE on an idle stream", window(1, 99), connection_error(PROTOCOL)),
        Case("5.1", "PRIORITY on an idle stream is allowed", frame(PRIORITY, 0, 99, b"\0\0\0\0\x10"), IGNORED),
        # 5.4.2
        Case("5.4.2", "RST_STREAM is not answered by RST_STREAM", reset(1) + reset(1), IGNORED,
             after=lambda talk: "a RST_STREAM came" if 1 in talk.resets else None),
        # 6.1: DATA
        Case("6.1", "DATA on stream 0", data(stream=0), connection_error(PROTOCOL)),
        # 6.2: HEADERS
        Case("6.2", "HEADERS on stream 0", head(stream=0), connection_error(PROTOCOL)),
        Case("6.2", "HEADERS whose padding leaves nothing",
             head(b"\x20\x88", flags=END_HEADERS | PADDED), connection_error(PROTOCOL)),
        # 6.3: PRIORITY
        Case("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, b"\0\0\0\0\x10"), connection_error(PROTOCOL)),
        Case("6.3", "PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, b"\0\0\0\0"), either(SIZE)),
        Case("6.3", "PRIORITY of 6 bytes", frame(PRIORITY, 0, 1, bytes(6)), either(SIZE)),
        # 6.4: RST_STREAM
        Case("6.4", "RST_STREAM on stream 0", reset(0), connection_error(PROTOCOL)),
        Case("6.4", "RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, b"abc"), connection_error(SIZE)),
        Case("6.4", "RST_STREAM of 5 bytes", frame(RST_STREAM, 0, 1, b"abcde"), connection_error(SIZE)),
        # 6.5: SETTINGS
        Case("6.5", "an acknowledgment with payload", settings((MAX_STREAMS, 1), flags=ACK), connection_error(SIZE)),
        Case("6.5", "SETTINGS on a stream", settings(stream=1), connection_error(PROTOCOL)),
        Case("6.5", "SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"abcde"), connection_error(SIZE)),
        Case("6.5.2", "SETTINGS_ENABLE_PUSH of 2", settings((ENABLE_PUSH, 2)), connection_error(PROTOCOL)),
        Case("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1", settings((INITIAL_WINDOW, 1 << 31)),
             connection_error(FLOW)),
        Case("6.5.2", "SETTINGS_MAX_FRAME_SIZE below 2^14", settings((MAX_FRAME, 16_383)), connection_error(PROTOCOL)),
        Case("6.5.2", "SETTINGS_MAX_FRAME_SIZE above 2^24-1", settings((MAX_FRAME, 1 << 24)),
             connection_error(PROTOCOL)),
        Case("6.5.2", "the limits of SETTINGS_MAX_FRAME_SIZE",
             settings((MAX_FRAME, 16_384), (MAX_FRAME, (1 << 24) - 1)), IGNORED),
        Case("6.5.2", "unknown settings are ignored", settings((0xff00, 7), (0, 1)), IGNORED),
        Case("6.5.3", "every SETTINGS is acknowledged",
             settings() + settings((MAX_LIST, 100_000)) + settings(), IGNORED,
             after=lambda talk: None if talk.until(lambda: talk.settings_acks >= 4) else "too few"),
        Case("RFC 8441 3", "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", settings((ENABLE_CONNECT, 2)),
             connection_error(PROTOCOL)),
        Case("RFC 9218 2.1", "SETTINGS_NO_RFC7540_PRIORITIES of 2", settings((NO_PRIORITIES, 2)),
             connection_error(PROTOCOL)),
        # 6.6: PUSH_PROMISE (a client may not push, and a server may not where it is off)
        Case("6.6", "PUSH_PROMISE", frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + GET), connection_error(PROTOCOL)),
        Case("6.6", "PUSH_PROMISE on stream 0", frame(PUSH_PROMISE, END_HEADERS, 0, number(2) + GET),
             connection_error(PROTOCOL)),
        # 6.7: PING
        Case("6.7", "PING on a stream", ping(stream=1), connection_error(PROTOCOL)),
        Case("6.7", "PING of 7 bytes", ping(b"1234567"), connection_error(SIZE)),
        Case("6.7", "PING of 9 bytes", ping(b"123456789"), connection_error(SIZE)),
        Case("6.7", "PING is answered with its payload", ping(b"\0\1\2\3\xff\xfe\xfd\xfc"), IGNORED,
             after=lambda talk: None if b"\0\1\2\3\xff\xfe\xfd\xfc" in talk.pongs else "it was not"),
        Case("6.7", "an acknowledgment is not answered", ping(b"answered", flags=ACK), IGNORED,
             after=lambda talk: "it was" if b"answered" in talk.pongs else None),
        # 6.8: GOAWAY
        Case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), connection_error(PROTOCOL)),
        Case("4.2", "GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), connection_error(SIZE)),
        # 6.9: WINDOW_UPDATE
        Case("6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 1, b"\0\0\1"), connection_error(SIZE)),
        Case("6.9", "WINDOW_UPDATE of 5 bytes", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0\1"), connection_error(SIZE)),
        Case("6.9", "an increment of 0 on the connection", window(0), connection_error(PROTOCOL)),
        Case("6.9", "an increment of 0 on a stream", window(0, 1), either(PROTOCOL)),
        Case("6.9", "the reserved bit of the increment is ignored",
             frame(WINDOW_UPDATE, 0, 0, number(0x80000001)), IGNORED),
        Case("6.9.1", "a connection's window above 2^31-1", window(0x7fffffff), connection_error(FLOW)),
        Case("6.9.1", "a connection's window above 2^31-1 in two steps",
             window(0x7fffffff - 65_535) + window(1), connection_error(FLOW)),
        # 6.10: CONTINUATION
        Case("6.10", "CONTINUATION that continues nothing", frame(CONTINUATION, END_HEADERS, 1, b"\x88"),
             connection_error(PROTOCOL)),
        Case("6.10", "CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, b"\x88"),
             connection_error(PROTOCOL)),
    ]


def inside_block_cases(begun, stream):
    """What may not come between HEADERS and the end of its field block; `begun` is HEADERS without END_HEADERS."""
    other = stream + 2
    wrong = [
        ("6.2", "DATA", data(stream=stream)), ("6.2", "HEADERS", head(stream=other)),
        ("6.2", "PRIORITY", frame(PRIORITY, 0, stream, b"\0\0\0\0\x10")), ("6.2", "RST_STREAM", reset(stream)),
        ("6.2", "SETTINGS", settings()), ("6.2", "PING", ping()), ("6.2", "GOAWAY", frame(GOAWAY, 0, 0, bytes(8))),
        ("6.2", "WINDOW_UPDATE", window(1)), ("5.5", "an unknown frame", frame(0xfe, 0, 0, b"x")),
        ("5.5", "an unknown frame on the stream", frame(0xfe, 0, stream, b"x")),
        ("6.10", "CONTINUATION of another stream", frame(CONTINUATION, END_HEADERS, other, b"")),
        ("6.10", "CONTINUATION on stream 0", frame(CONTINUATION, END_HEADERS, 0, b"")),
    ]
    return [Case(section, f"{what} within a field block", begun + wire, connection_error(PROTOCOL))
            for section, what, wire in wrong]


def compression_cases(block):
    """RFC 7541: field blocks that no decoder takes; `block` is a good one that leaves the dynamic table empty."""
    long = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    wrong = [
        ("2.3.3", "an index beyond both tables", block + b"\xbe"),
        ("2.3.3", "a name's index beyond both tables", block + b"\x7f\x00\x01x"),
        ("6.1", "the index 0", block + b"\x80"),
        ("4.2", "a table size update above the limit", b"\x3f\xe2\x1f" + block),
        ("4.2", "a table size update after a field", block + b"\x20"),
        ("4.2", "a table size update between fields", block[:1] + b"\x20" + block[1:]),
        ("5.1", "an integer that overflows", block + b"\xff" + long + b"\x00"),
        ("5.1", "an integer without an end", block + b"\xff\xff"),
        ("5.1", "a length that overflows", block + b"\x00\x7f" + long + b"\x01"),
        ("5.2", "a string longer than its block", block + b"\x00\x01a\x05bc"),
        ("5.2", "Huffman padding of more than 7 bits", block + b"\x00\x01a\x82\x1f\xff"),
        ("5.2", "Huffman padding that is not of ones", block + b"\x00\x01a\x81\x18"),
        ("5.2", "the EOS symbol in a Huffman string", block + b"\x00\x01a\x84\xff\xff\xff\xff"),
        ("6.2.1", "a literal without its value", block + b"\x40\x01a"),
        ("6.2.2", "a literal that ends after its first byte", block + b"\x00"),
    ]
    return [(f"RFC 7541 {section}", what, wire) for section, what, wire in wrong]

