"""Serve a page, and nothing else, to this computer or to a phone in the same network."""

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
    """Return this computer's address in its network; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation (RFC 5737)
        except OSError as error:
            sys.exit(f"no phone can reach this computer: {error.strerror}. Join a network first")
        return probe.getsockname()[0]


def encrypted(address):
    """Return a `ssl.SSLContext` with a new certificate for an address; None without openssl.

    Browsers give a page the GPU on https:// only, or on the computer itself.
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
    """A handler that reports errors only."""

    def log_request(self, code="-", size="-"):
        """Leave out what went well."""


class Server(http.server.ThreadingHTTPServer):
    """A server that says nothing of phones that break off, as at a certificate they do not know."""

    def handle_error(self, request, client_address):
        """Report errors other than those of a connection."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
if not port.isdecimal() or int(port) > 65535:
    sys.exit(f"PORT={port} is no number from 0 to 65535. Try: PORT=8001 make browser")
handler = functools.partial(Quiet, directory=DIRECTORY)
try:
    server = Server((host, int(port)), handler)
except OSError as error:
    sys.exit(
        f"cannot serve on {host}:{port}: {error.strerror}. Try another: PORT=8001 make browser"
    )
name, scheme = (reachable() if host == "0.0.0.0" else host), "http"
context = encrypted(name) if host == "0.0.0.0" else None
if context:
    # The handshake waits in each request's own thread, not where others are accepted.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    scheme = "https"
address = f"{scheme}://{name}:{server.server_port}/"
print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
if host == "0.0.0.0":
    if context:
        print("Its certificate is its own: let the phone go on in spite of the warning", flush=True)
    else:
        print(
            "Without openssl it is on http, where phones keep their GPU to themselves", flush=True
        )
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
