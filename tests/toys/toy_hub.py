"""A Hugging Face hub of a few endpoints, on a port of this machine, for tests without a network."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_toy"
"""Token of the only account, which may read and write everything."""


@dataclass
class Repository:
    """A repository: whether it is private, and the files of each commit, oldest commit first."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def main(self) -> str:
        return list(self.commits)[-1]

    def commit(self, files: dict[str, bytes], message: str = "") -> str:
        content = [message, *(f"{name} {data!r}" for name, data in sorted(files.items()))]
        digest = hashlib.sha1("".join([*self.commits, *content]).encode()).hexdigest()
        self.commits[digest] = files
        self.messages.append(message)
        return digest


class ToyHub:
    """The repositories of a hub, and a record of the requests to it.

    Attributes:
        repositories: the repositories by name.
        requests: method and path of each request.
        sizes: sizes that the hub claims for files, by name of the file.
        broken: True to answer each request with an error of the server.
        refused: beginning of the paths that are answered with an error of the client.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.sizes: dict[str, int] = {}
        self.broken = False
        self.refused = " "
        self.url = ""

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Serves the hub at :attr:`url` for the length of a ``with`` block."""
        handler = type("Handler", (_Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def files(self, repo_id: str) -> dict[str, bytes]:
        """Files of the latest commit of a repository."""
        repository = self.repositories[repo_id]
        return repository.commits[repository.main]


class _RefusalError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    hub: ToyHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.hub.requests.append(f"{self.command} {url.path}")
        try:
            if self.hub.broken:
                raise _RefusalError(500, message="the hub is broken")
            if url.path.startswith(self.hub.refused):
                raise _RefusalError(400, message="the hub refuses this")
            for pattern, method in _ROUTES:
                found = re.fullmatch(pattern, f"{self.command} {unquote(url.path)}")
                if found:
                    method(self, **found.groupdict())
                    return
            raise _RefusalError(404, message=f"the toy hub has no {self.command} {url.path}")
        except _RefusalError as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._answer({"error": refusal.message}, refusal.status, headers)

    def _answer(
        self, content: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _readable(self, repo_id: str) -> Repository:
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and not self._known()):
            raise _RefusalError(401 if not self._known() else 404, "RepoNotFound")
        return repository

    def _writable(self, repo_id: str) -> Repository:
        if not self._known():
            raise _RefusalError(401, message="Invalid username or password.")
        if not repo_id.startswith("ada/"):
            raise _RefusalError(403, message=f"You don't have the rights to write to {repo_id}")
        return self._readable(repo_id)

    def _commit(self, repo_id: str, revision: str) -> str:
        repository = self._readable(repo_id)
        commit = repository.main if revision == "main" and repository.commits else revision
        if commit not in repository.commits and revision != "main":
            raise _RefusalError(404, "RevisionNotFound")
        return commit

    def info(self, repo_id: str, revision: str = "main") -> None:
        repository = self._readable(repo_id)
        commit = self._commit(repo_id, revision)
        files = [{"rfilename": name} for name in repository.commits.get(commit, {})]
        sha = commit if commit in repository.commits else "0" * 40
        self._answer({"id": repo_id, "sha": sha, "siblings": files})

    def tree(self, repo_id: str, revision: str) -> None:
        repository = self._readable(repo_id)
        if repository.gated and not self._known():
            raise _RefusalError(403, "GatedRepo")
        files = repository.commits.get(self._commit(repo_id, revision), {})
        self._answer(
            [
                {
                    "type": "file",
                    "path": name,
                    "oid": hashlib.sha1(data).hexdigest(),
                    "size": self.hub.sizes.get(name, len(data)),
                }
                for name, data in files.items()
            ]
        )

    def file(self, repo_id: str, revision: str, name: str) -> None:
        repository = self._readable(repo_id)
        if repository.gated and not self._known():
            raise _RefusalError(403, "GatedRepo")
        commit = self._commit(repo_id, revision)
        data = repository.commits[commit].get(name)
        if data is None:
            raise _RefusalError(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if self.command == "HEAD":
            headers["Content-Length"] = str(self.hub.sizes.get(name, len(data)))
        self._answer(data, headers=headers)

    def create(self) -> None:
        asked = json.loads(self.body)
        repo_id = f"{asked['organization']}/{asked['name']}"
        if repo_id not in self.hub.repositories:
            self.hub.repositories[repo_id] = Repository()
            try:
                self._writable(repo_id)
            except _RefusalError:
                del self.hub.repositories[repo_id]
                raise
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.repositories[repo_id].private = bool(private)
            self._answer({"url": f"{self.hub.url}/{repo_id}"})
            return
        self._writable(repo_id)
        headers = {"X-Error-Message": "You already created this model repo"}
        self._answer({"url": f"{self.hub.url}/{repo_id}"}, 409, headers)

    def validate(self) -> None:
        text = json.loads(self.body)["content"]
        errors = [] if text.startswith("---\n") else [{"message": "no metadata"}]
        self._answer({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, repo_id: str, revision: str) -> None:
        self._writable(repo_id)
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for each in json.loads(self.body)["files"]
        ]
        self._answer({"files": files})

    def lfs(self, repo_id: str) -> None:
        self._writable(repo_id)
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}},
            }
            for each in json.loads(self.body)["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.uploads[oid] = self.body
        self._answer({})

    def commit(self, repo_id: str, revision: str) -> None:
        repository = self._writable(repo_id)
        files = dict(repository.commits[repository.main]) if repository.commits else {}
        message = ""
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploads[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, message)
        url = f"{self.hub.url}/{repo_id}/commit/{commit}"
        self._answer({"commitUrl": url, "commitOid": commit})


_ID = r"(?P<repo_id>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
_ROUTES = [
    (rf"GET /api/models/{_ID}", _Handler.info),
    (rf"GET /api/models/{_ID}/revision/{_REVISION}", _Handler.info),
    (rf"GET /api/models/{_ID}/tree/{_REVISION}", _Handler.tree),
    (rf"(GET|HEAD) /{_ID}/resolve/{_REVISION}/(?P<name>.+)", _Handler.file),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST /api/models/{_ID}/preupload/{_REVISION}", _Handler.preupload),
    (rf"POST /{_ID}\.git/info/lfs/objects/batch", _Handler.lfs),
    (r"PUT /lfs/(?P<oid>\w+)", _Handler.upload),
    (rf"POST /api/models/{_ID}/commit/{_REVISION}", _Handler.commit),
]
