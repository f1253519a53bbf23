"""The web tier: answers on port 80 with what the application says. It knows one thing of the network: a name."""

from __future__ import annotations

import http.server
import urllib.error
import urllib.request

APP = "http://app:5000/visit"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        try:
            with urllib.request.urlopen(APP, timeout=5) as answer:
                status, text = 200, f"web says: {answer.read().decode()}"
        except (urllib.error.URLError, OSError) as error:
            status, text = 502, f"web says: the application does not answer: {error}\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 80), Page).serve_forever()
