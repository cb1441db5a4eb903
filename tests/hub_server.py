"""A Hugging Face hub on the loopback: just enough of its interface to make a repository and upload to it."""

import base64
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Hub:
    """What the server holds and what it was asked.

    Attributes:
        repos: The files of each repository, and whether it is private.
        asked: Method and path of each request, in order.
        token: The token that the last request carried.
    """

    def __init__(self):
        self.repos, self.private, self.asked, self.token = {}, {}, [], None

    def answer(self, method, path, body):
        self.asked.append((method, path))
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            known = name in self.repos
            self.repos.setdefault(name, {})
            hidden = wanted.get("private") or wanted.get("visibility") == "private"
            self.private.setdefault(name, hidden)
            return 409 if known else 200, {"url": f"{self.url}/{name}", "error": "is there"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name, _, rest = path.removeprefix("/api/models/").partition("/")
        end, _, action = rest.partition("/")
        name = f"{name}/{end.partition('?')[0]}"
        if name not in self.repos:
            return 404, {"error": "no such repository"}
        if action.startswith("preupload"):
            files = json.loads(body)["files"]
            return 200, {
                "files": [
                    {"path": x["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for x in files
                ]
            }
        if action.startswith("commit"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.repos[name][entry["value"]["path"]] = content
            return 200, {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1" * 40}
        return 200, {"id": name, "private": self.private[name], "sha": "1" * 40, "siblings": []}


@contextmanager
def hub():
    """Run the server; yields what it holds, with its address as ``url``."""
    held = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self):
            size = int(self.headers.get("Content-Length") or 0)
            held.token = self.headers.get("Authorization")
            code, answer = held.answer(self.command, self.path, self.rfile.read(size))
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_HEAD = _do  # noqa: N815 - the names that the library asks for

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
