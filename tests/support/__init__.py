"""What the integration tests share: the daemon under test, scripted peers, raw HTTP/1 clients, configurations.

Only Python's standard library. Everything has a time limit, binds to free ports of 127.0.0.1 and ends what it started
by process id.
"""
