"""A Hub of one's own on the loopback: the endpoints that publishing and loading need, no others.

The real client of `huggingface_hub` speaks to it over HTTP. It fails on request.
"""

import base64
import hashlib
import http.server
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import close_session, constants, hf_api

TOKEN = "hf_" + "x" * 10
"""The one token that is let in; anything else is answered with 401."""


@dataclass
class Repository:
    """Its commits, each the files that it left; the first holds none."""

    private: bool = False
    gated: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    @classmethod
    def of(cls, folder: Path) -> "Repository":
        """A public one that holds what a folder holds."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return cls(commits=[{path.relative_to(folder).as_posix(): path.read_bytes() for path in files}])

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit that a branch or an id means, and its files."""
        ids = [hashlib.sha1(str(number).encode()).hexdigest() for number in range(len(self.commits))]
        if revision == "main":
            return ids[-1], self.commits[-1]
        return (revision, self.commits[ids.index(revision)]) if revision in ids else None


@dataclass
class LoopbackHub:
    """What is stored, and what is to go wrong.

    Attributes:
        large: paths with these endings go through large file storage.
        break_uploads: so many transfers of large files are cut off.
        break_commits: so many commits are cut off after their body was read.
        cut_downloads: bytes of a file after which a download is cut off.
        requests: method and path of everything that was asked.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    storage: dict[str, bytes] = field(default_factory=dict)
    large: tuple[str, ...] = (".safetensors",)
    break_uploads: int = 0
    break_commits: int = 0
    cut_downloads: int | None = None
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> "LoopbackHub":
        hub = self

        class Bound(_Handler):
            pass

        Bound.hub = hub
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        close_session()

    def connect(self, monkeypatch, folder: Path) -> None:
        """Point the client here, as HF_ENDPOINT does when it is imported; an empty cache, and no token."""
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("NO_PROXY", "*")
        template = "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": self.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.address + template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_TOKEN_PATH": str(folder / "token"),
            "HF_STORED_TOKENS_PATH": str(folder / "tokens"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(hf_api.api, "endpoint", self.address)
        close_session()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_POST(self):
        path, body = self._path(), self._body()
        if path == "/api/validate-yaml":
            return self._json(200, {"warnings": [], "errors": []})
        if not self._let_in():
            return None
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        _, _, kind, owner, name, verb, _revision = path.split("/")
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if kind != "models" or repository is None:
            return self._error(404, "RepoNotFound")
        if verb == "preupload":
            return self._preupload(json.loads(body))
        assert verb == "commit"
        if self.hub.break_commits:
            self.hub.break_commits -= 1
            return self._hang_up()
        return self._commit(f"{owner}/{name}", repository, body)

    def do_PUT(self):
        path = self._path()
        if self.hub.break_uploads:
            self.hub.break_uploads -= 1
            self.rfile.read(int(self.headers["Content-Length"]) // 2)
            return self._hang_up()
        self.hub.storage[path.rpartition("/")[2]] = self._body()
        return self._json(200, {})

    def do_HEAD(self):
        self._resolve()

    def do_GET(self):
        return self._about() if self.path.startswith("/api/") else self._resolve()

    def _create(self, asked):
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        there = repo in self.hub.repositories
        if asked.get("organization") == "others":
            return self._error(403, None, "You don't have the rights")
        private = asked.get("visibility") == "private" or asked.get("private", False)  # new and older clients
        self.hub.repositories.setdefault(repo, Repository(private=private))
        return self._json(409 if there else 200, {"url": f"{self.hub.address}/{repo}"})

    def _preupload(self, asked):
        modes = [
            {"path": f["path"], "shouldIgnore": False, "uploadMode": self._mode(f["path"])}
            for f in asked["files"]
        ]
        self._json(200, {"files": modes})

    def _mode(self, path):
        return "lfs" if path.endswith(self.hub.large) else "regular"

    def _batch(self, asked):
        made = []
        for entry in asked["objects"]:
            href = f"{self.hub.address}/storage/{entry['oid']}"
            todo = {} if entry["oid"] in self.hub.storage else {"actions": {"upload": {"href": href}}}
            made.append({"oid": entry["oid"], "size": entry["size"], **todo})
        self._json(200, {"transfer": "basic", "objects": made})

    def _commit(self, repo, repository, body):
        files = dict(repository.commits[-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.storage[value["oid"]]
        repository.commits.append(files)
        oid = repository.at("main")[0]
        self._json(200, {"commitUrl": f"{self.hub.address}/{repo}/commit/{oid}", "commitOid": oid})

    def _about(self):
        """What a repository holds: `/api/models/OWNER/NAME`, then `/revision/R` or `/tree/R`, or nothing."""
        _, _, owner, name, verb, revision, *_ = [*self._path().strip("/").split("/"), "revision", "main"]
        found = self._found(owner, name, revision)
        if found is None:
            return
        entries = [
            {"type": "file", "path": path, "size": len(content), "oid": found[0]}
            for path, content in found[1].items()
        ]
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        about = {"id": f"{owner}/{name}", "sha": found[0], "siblings": siblings}
        self._json(200, entries if verb == "tree" else about)

    def _resolve(self):
        owner, name, resolve, revision, *rest = self._path().strip("/").split("/")
        assert resolve == "resolve"
        found = self._found(owner, name, revision)
        if found is None:
            return
        content = found[1].get("/".join(rest))
        if content is None:
            self._error(404, "EntryNotFound")
        else:
            self._send(content, found[0])

    def _found(self, owner, name, revision):
        """The commit that is asked for; None, and an answer, if it is not there or may not be seen."""
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if not self._let_in(public=repository is not None and not repository.private):
            return None
        if repository is None:
            return self._error(404, "RepoNotFound")
        if repository.gated:
            return self._error(403, "GatedRepo")
        return repository.at(revision) or self._error(404, "RevisionNotFound")

    def _send(self, content, commit):
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.cut_downloads
        self.wfile.write(content[:cut])
        if cut is not None:
            self._hang_up()

    def _let_in(self, public=False):
        """A wrong token is refused even where none is needed, as on the Hub; without one, less is seen."""
        given = self.headers.get("Authorization")
        if given == f"Bearer {TOKEN}" or (given is None and public):
            return True
        if given is None:
            self._error(401, "RepoNotFound", "Repository not found")
        else:
            self._error(401, None, "Invalid credentials in Authorization header")
        return False

    def _path(self):
        self.hub.requests.append(f"{self.command} {self.path}")
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status, code, message=""):
        self.send_response(status)
        for header, value in (("X-Error-Code", code), ("X-Error-Message", message)):
            if value:
                self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _hang_up(self):
        self.close_connection = True
        self.connection.close()
