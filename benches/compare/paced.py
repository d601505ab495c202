"""Requests at a steady pace: each comes when it is due, whether or not the one before was answered in time, and the time that
one took counts from when it was due.
"""

import selectors, socket, sys, time

CONNECTIONS = 16


def request(token):
    return f"GET / HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.split(b":")[1])
    return body.endswith(b"0\r\n\r\n")


class Caller:
    """One connection, on which a request is due every `period` seconds."""

    def __init__(self, port, first, period):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due, self.period, self.asked, self.answer = first, period, None, b""

    def ask(self, now, what):
        if self.asked is None and now >= self.due:
            self.asked, self.due = self.due, self.due + self.period
            self.socket.sendall(what)
            return True
        return False

    def hear(self):
        """How long the answer took, once it is whole."""
        heard = self.socket.recv(65536)
        if not heard:
            sys.exit("a connection was closed")
        self.answer += heard
        if not is_whole(self.answer):
            return None
        took, self.asked, self.answer = time.perf_counter() - self.asked, None, b""
        return took


def load(port, tokens, rate, seconds):
    """Sends `rate` requests a second and returns how long each took, in milliseconds."""
    requests, number, took = [request(token) for token in tokens], 0, []
    start = time.perf_counter() + 0.1
    period = CONNECTIONS / rate
    callers = [Caller(port, start + place / rate, period) for place in range(CONNECTIONS)]
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            selector.register(caller.socket, selectors.EVENT_READ, caller)
        while (now := time.perf_counter()) < start + seconds:
            for caller in callers:
                number += caller.ask(now, requests[number % len(requests)])
            next_due = min((caller.due for caller in callers if caller.asked is None), default=now + 1)
            for key, _ in selector.select(max(0, next_due - time.perf_counter())):
                if (time_taken := key.data.hear()) is not None:
                    took.append(time_taken * 1000)
    return took


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
