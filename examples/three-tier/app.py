"""The application tier: counts visits in Redis, which it knows by the name `data`, and says the number on port 5000."""

from __future__ import annotations

import http.server
import socket

DATA = ("data", 6379)


class Visit(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            status, text = 200, f"app counts visit number {count_visit()}\n"
        except OSError as error:
            status, text = 502, f"app cannot reach its data: {error}\n"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


def count_visit() -> int:
    """INCR in the Redis protocol: an array of one command, answered by a number such as ":42"."""
    with socket.create_connection(DATA, timeout=5) as data, data.makefile("rb") as answers:
        data.sendall(b"*2\r\n$4\r\nINCR\r\n$6\r\nvisits\r\n")
        answer = answers.readline()
    if not answer.startswith(b":"):
        raise OSError(f"redis says {answer!r}")
    return int(answer[1:])


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 5000), Visit).serve_forever()
