"""Serve build/browser, and nothing else, to this computer or to a phone in the same network."""

import functools
import http.server
import os
import socket
import sys

DIRECTORY = "build/browser"


def reachable():
    """Return this computer's address in its network; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737)
        except OSError as error:
            sys.exit(f"no phone can reach this computer: {error.strerror}. Join a network first")
        return probe.getsockname()[0]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that reports errors only."""

    def log_request(self, code="-", size="-"):
        """Leave out what went well."""


host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
if not port.isdecimal() or int(port) > 65535:
    sys.exit(f"PORT={port} is no number from 0 to 65535. Try: PORT=8001 make browser")
port = int(port)
handler = functools.partial(Quiet, directory=DIRECTORY)
try:
    server = http.server.ThreadingHTTPServer((host, port), handler)
except OSError as error:
    sys.exit(
        f"cannot serve on {host}:{port}: {error.strerror}. Try another: PORT=8001 make browser"
    )
port = server.server_port
address = f"http://{reachable() if host == '0.0.0.0' else host}:{port}/"
print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
if host == "0.0.0.0":
    try:
        import segno
    except ModuleNotFoundError:
        print("For a QR code: pip install -r browser/requirements.txt", flush=True)
    else:
        segno.make(address).terminal(compact=True)
        sys.stdout.flush()
try:
    server.serve_forever()
except KeyboardInterrupt:
    print()
