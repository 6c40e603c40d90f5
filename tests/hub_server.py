"""The part of the Hub's HTTP interface that loading needs, on the loopback interface."""

import functools
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, repositories, *args):
        self.repositories = repositories
        super().__init__(*args)

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = self.path.split("?")[0].strip("/").split("/")
        # /api/models/owner/name[/revision/main | /tree/main], or /owner/name/resolve/main/file
        about = path[0] == "api"
        name = "/".join(path[2:4] if about else path[:2])
        folder = self.repositories.get(name)
        file = folder and folder / "/".join(path[4:])
        if folder is None or not (about or file.is_file()):
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound" if folder is None else "EntryNotFound"})
        elif about:
            index = _tree(folder) if path[4:5] == ["tree"] else _index(name, folder)
            self.answer(200, json.dumps(index).encode(), {"Content-Type": "application/json"})
        else:
            content = file.read_bytes()
            tag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.answer(200, content, tag, body=body)

    def answer(self, status, content, headers, body=True):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format, *args):
        pass


def _index(name, folder):
    siblings = [{"rfilename": entry["path"]} for entry in _tree(folder)]
    return {"id": name, "sha": COMMIT, "siblings": siblings}


def _tree(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": COMMIT,
        }
        for path in files
    ]


@contextmanager
def serving(repositories: dict[str, Path]) -> Iterator[str]:
    """Serves folders as repositories "owner/name"; gives the endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, repositories))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
