"""Free TCP ports of 127.0.0.1 for programs that must be told their port.

A port is taken from below the kernel's ephemeral range, so that no outgoing connection can take it meanwhile, and
claimed through an abstract Unix socket that lives as long as this process, so that tests running in parallel never
get the same one.
"""
import atexit
import random
import socket

_FIRST, _LAST = 20000, 32000
_claims = []


@atexit.register
def _release():
    for claim in _claims:
        claim.close()


def free_port():
    for _ in range(1000):
        port = random.randint(_FIRST, _LAST)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0millrace-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise RuntimeError("no free port found")
