"""A server outside, on port 80: greets whoever asks by the address that the request came from."""

from __future__ import annotations

import http.server


class Greeting(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.client_address[0]}\n".encode())

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 80), Greeting).serve_forever()
