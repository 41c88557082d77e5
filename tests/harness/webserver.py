"""A real HTTPS server of a folder, on a random loopback port."""
import http.server
import ssl
import threading
import time

from .certs import server_context


class WebServer:
    """with WebServer(folder, pem) as w: serves files below folder at w.port; w.asked: the request
    lines. special: {path: (status, header fields, body)}; a body that is a number: seconds of
    silence. pem None: plain http."""

    def __init__(self, folder, pem=None, special=()):
        self.asked = []
        self.ending = threading.Event()
        outer, special = self, dict(special)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def _special(self):
                outer.asked.append(f"{self.command} {self.path} {self.headers.get('Host')}")
                path = self.path.split("?")[0]
                if path not in special:
                    return False
                status, fields, body = special[path]
                if isinstance(body, (int, float)):
                    outer.ending.wait(body)
                    return True
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                return True

            def do_GET(self):
                if not self._special():
                    super().do_GET()

            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self._special():
                    self.send_error(404)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        if pem:
            context = server_context(pem)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True)
        self.thread.start()
        self.started = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
