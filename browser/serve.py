"""Serve one directory, the page, to this computer or to a phone in the same network."""

import functools
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

DIRECTORY = sys.argv[1] if len(sys.argv) > 1 else "build/browser"


def reachable():
    """Return this computer's address in its network. This sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
        except OSError as error:
            sys.exit(f"no phone can reach this computer: {error.strerror}. Join a network first")
        return probe.getsockname()[0]


def encrypted(address):
    """Return an `ssl.SSLContext` with a new certificate for an address, or None without openssl.

    Browsers give a page the GPU only on https:// or on localhost.
    """
    if not shutil.which("openssl"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = f"{directory}/key.pem", f"{directory}/certificate.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
        command += ["-keyout", key, "-out", certificate, "-subj", f"/CN={address}"]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    return context


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A handler that logs errors only."""

    def log_request(self, code="-", size="-"):
        """Log nothing for a request that succeeds."""


class Server(http.server.ThreadingHTTPServer):
    """A server that ignores broken connections, as when a phone rejects the certificate."""

    def handle_error(self, request, client_address):
        """Report only errors that are not about the connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
if not port.isdecimal() or int(port) > 65535:
    sys.exit(f"PORT={port} is not a number from 0 to 65535. Try: PORT=8001 make browser")
handler = functools.partial(Quiet, directory=DIRECTORY)
try:
    server = Server((host, int(port)), handler)
except OSError as error:
    sys.exit(
        f"cannot serve on {host}:{port}: {error.strerror}. Try another port: PORT=8001 make browser"
    )
name, scheme = (reachable() if host == "0.0.0.0" else host), "http"
context = encrypted(name) if host == "0.0.0.0" else None
if context:
    # Each connection does its handshake in its own thread, so that it does not delay the others.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    scheme = "https"
address = f"{scheme}://{name}:{server.server_port}/"
print(f"The page is at {address} (Ctrl-C stops the server)", flush=True)
if host == "0.0.0.0":
    if context:
        print("Its certificate is self-signed. Accept the warning on the phone", flush=True)
    else:
        print("Without openssl it is on http, where browsers do not allow the GPU", flush=True)
    try:
        import segno
    except ModuleNotFoundError:
        print("To print a QR code: pip install -r browser/requirements.txt", flush=True)
    else:
        segno.make(address).terminal(compact=True)
        sys.stdout.flush()
try:
    server.serve_forever()
except KeyboardInterrupt:
    print()
