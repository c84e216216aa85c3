# SPDX-License-Identifier: Apache-2.0
"""Many requests over HTTP/2 without TLS (prior knowledge), multiplexed on one connection."""
import socket
from collections import deque

import h2.config
import h2.connection
import h2.events
import h2.settings

from .wire import Broken, Response


class _Stream:
    def __init__(self, index):
        self.index, self.status, self.fields, self.body = index, None, {}, []


class _Talk:
    def __init__(self, port, host, timeout):
        self.host = host
        # What is sent is the matrix's business: no correction and no refusal by the client.
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"))
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.streams = {}
        self.h2.initiate_connection()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def send(self, index, method, target, lines, body):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", self.host), (":path", target)]
        fields += [(n.lower(), v.encode("latin-1")) for n, v in lines]
        if body:
            fields.append(("content-length", str(len(body))))
        self.streams[stream] = _Stream(index)
        self.h2.send_headers(stream, fields, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)

    def events(self):
        data = self.sock.recv(65536)
        if not data:
            raise Broken("the server closed the connection")
        return self.h2.receive_data(data)


def _text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _take(talk, event, answers):
    """True when a response has become complete."""
    stream = talk.streams.get(getattr(event, "stream_id", None))
    if isinstance(event, h2.events.ResponseReceived):
        for name, value in event.headers:
            name, value = _text(name), _text(value)
            if name == ":status":
                stream.status = int(value)
            else:
                stream.fields.setdefault(name, []).append(value)
    elif isinstance(event, h2.events.DataReceived):
        stream.body.append(event.data)
        talk.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        answers[stream.index] = Response(stream.status, stream.fields, b"".join(stream.body))
        del talk.streams[event.stream_id]
        return True
    elif isinstance(event, h2.events.StreamReset) and stream:
        raise Broken(f"stream reset with {event.error_code}: request {stream.index}")
    elif isinstance(event, h2.events.ConnectionTerminated):
        raise Broken(f"connection ended by the server: {event.error_code} {event.additional_data!r}")
    return False


def run(port, requests, host="www.example.com", lanes=16, timeout=30.0):
    """As wire.run, over HTTP/2."""
    waiting, answers, done = deque(enumerate(requests)), [None] * len(requests), 0
    talk = _Talk(port, host, timeout)
    try:
        while done < len(requests):
            while waiting and len(talk.streams) < lanes:
                index, request = waiting.popleft()
                talk.send(index, *request)
            talk.flush()
            done += sum(_take(talk, event, answers) for event in talk.events())
        return answers
    finally:
        talk.sock.close()
