"""A stand-in of the Hugging Face hub on this machine: as much of its API as a push and a load ask for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import srsly

TOKEN = "hf_standin0123456789"
"""Of the only user, who may write in the namespace `OWNER`."""

OWNER = "ada"

LICENCES = ("mit", "apache-2.0", "cc-by-4.0", "other")

LARGE = (".safetensors", ".bin")
"""What is stored as LFS objects."""

Files = dict[str, bytes]


class Repo:
    """Branches of commits. A commit is all files at that moment."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, Files] = {}
        self.branches: dict[str, str] = {}
        self.messages: list[str] = []
        self.pulls: list[str] = []
        self.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")

    def commit(self, branch: str, files: Files, message: str) -> str:
        oid = hashlib.sha1(f"{branch} {len(self.commits)} {message}".encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def at(self, revision: str) -> tuple[str, Files] | None:
        oid = self.branches.get(revision, revision)
        return (oid, self.commits[oid]) if oid in self.commits else None


class Hub:
    """What the stand-in holds.

    asked (list[tuple[str, str]]): Method and path of each request.
    failing (dict[str, tuple[int, str]]): Status and message that requests get whose path holds a string.
    strange (list[str]): Requests that it does not know.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.failing: dict[str, tuple[int, str]] = {}
        self.strange: list[str] = []
        self.url = ""

    def files(self, repo: str, revision: str = "main") -> Files:
        found = self.repos[repo].at(revision)
        assert found is not None
        return found[1]


@contextmanager
def running() -> Iterator[Hub]:
    """The stand-in, listening while in the context."""
    hub = Hub()

    class Bound(_Requests):
        held = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answer(Exception):
    def __init__(self, status: int, told: Any = None, **headers: str) -> None:
        self.status, self.told, self.headers = status, told, headers


class _Requests(BaseHTTPRequestHandler):
    held: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        split = urlsplit(self.path)
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        self.query = parse_qs(split.query)
        self.body = self.read_body()
        self.held.asked.append((self.command, split.path))
        try:
            for part, (status, told) in self.held.failing.items():
                if part in split.path:
                    raise _Answer(status, {"error": told})
            self.route(parts)
            self.held.strange.append(f"{self.command} {self.path}")
            raise _Answer(404, {"error": "no such way"})
        except _Answer as one:
            self.send(one)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def read_body(self) -> bytes:
        """Files come in chunks from release 1 of the hub's library on."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, one: _Answer) -> None:
        content = one.told if isinstance(one.told, bytes) else json.dumps(one.told).encode()
        self.send_response(one.status)
        headers = {"Content-Length": str(len(content)), "X-Request-Id": "stand-in", **one.headers}
        if isinstance(one.told, dict) and "error" in one.told:
            headers["X-Error-Message"] = one.told["error"]
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def route(self, parts: list[str]) -> None:
        if parts[:2] == ["api", "whoami-v2"]:
            self.check_token()
            raise _Answer(200, {"name": OWNER, "type": "user", "auth": {"accessToken": {"role": "write"}}})
        if parts == ["api", "repos", "create"]:
            self.create()
        if parts == ["api", "validate-yaml"]:
            self.validate(json.loads(self.body)["content"])
        if parts[:2] == ["api", "models"]:
            self.api("/".join(parts[2:4]), parts[4:])
        if parts[0] == "objects":
            assert hashlib.sha256(self.body).hexdigest() == parts[1]
            self.held.objects[parts[1]] = self.body
            raise _Answer(200, {})
        if parts[1].endswith(".git"):
            self.batch()
        if parts[2] == "resolve":
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def check_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _Answer(401, {"error": "Invalid credentials in Authorization header"})

    def create(self) -> None:
        self.check_token()
        asked = json.loads(self.body)
        owner = asked.get("organization") or OWNER
        name = f"{owner}/{asked['name']}"
        if name in self.held.repos:
            raise _Answer(409, {"error": "You already created this model repo", "url": f"{self.held.url}/{name}"})
        if owner != OWNER:
            raise _Answer(403, {"error": f"You don't have the rights to create a model under {owner}"})
        private = asked.get("private") or asked.get("visibility") == "private"
        self.held.repos[name] = Repo(bool(private))
        raise _Answer(200, {"url": f"{self.held.url}/{name}", "name": name})

    def validate(self, card: str) -> None:
        """The hub refuses cards whose licence it does not know."""
        found = re.match(r"---\n(.*?)\n---\n", card, flags=re.DOTALL)
        assert found is not None
        licence = srsly.yaml_loads(found[1]).get("license")
        errors = [] if licence in LICENCES else [{"message": f'"license" must be one of {LICENCES}'}]
        raise _Answer(400 if errors else 200, {"errors": errors, "warnings": []})

    def found(self, name: str, revision: str) -> tuple[str, Files]:
        repo = self.held.repos.get(name)
        if repo is None:
            raise _Answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        if repo.private:
            self.check_token()
        at = repo.at(revision)
        if at is None:
            raise _Answer(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")
        return at

    def api(self, name: str, rest: list[str]) -> None:
        kind, revision = (rest[0] if rest else "revision"), (rest[1] if len(rest) > 1 else "main")
        if kind == "branch":
            self.check_token()
            if revision in self.held.repos[name].branches:
                raise _Answer(409, {"error": "Reference already exists"})
            self.held.repos[name].branches[revision] = self.held.repos[name].branches["main"]
            raise _Answer(200, {})
        oid, files = self.found(name, revision)
        if kind == "revision":
            raise _Answer(200, {"id": name, "modelId": name, "sha": oid, "siblings": [{"rfilename": f} for f in files]})
        if kind == "tree":
            raise _Answer(200, [_entry(path, content) for path, content in files.items()])
        self.check_token()
        if kind == "preupload":
            asked = json.loads(self.body)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for one in asked
            ]
            raise _Answer(200, {"files": modes})
        assert kind == "commit", kind
        self.commit(name, revision, files)

    def commit(self, name: str, branch: str, files: Files) -> None:
        changed, message = dict(files), ""
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                changed[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changed[value["path"]] = self.held.objects[value["oid"]]
            else:
                assert line["key"] == "deletedFile", line
                del changed[value["path"]]
        repo, pull = self.held.repos[name], None
        if self.query.get("create_pr"):
            branch = f"refs/pr/{len(repo.pulls) + 1}"
            pull = f"{self.held.url}/{name}/discussions/{len(repo.pulls) + 1}"
            repo.pulls.append(branch)
        oid = repo.commit(branch, changed, message)
        url = f"{self.held.url}/{name}/commit/{oid}"
        raise _Answer(200, {"success": True, "commitOid": oid, "commitUrl": url, "pullRequestUrl": pull})

    def batch(self) -> None:
        self.check_token()
        asked = json.loads(self.body)
        objects = []
        for one in asked["objects"]:
            upload = {"upload": {"href": f"{self.held.url}/objects/{one['oid']}", "header": {}}}
            objects.append({**one, **({} if one["oid"] in self.held.objects else {"actions": upload})})
        raise _Answer(200, {"transfer": "basic", "objects": objects})

    def resolve(self, name: str, revision: str, path: str) -> None:
        oid, files = self.found(name, revision)
        if path not in files:
            raise _Answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=oid)
        entry = _entry(path, files[path])
        tag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        raise _Answer(200, files[path], ETag=f'"{tag}"', X_Repo_Commit=oid)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob}
    if path.endswith(LARGE):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found
