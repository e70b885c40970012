"""A hub on this machine: the routes of the Hugging Face Hub that huggingface_hub asks for models, over HTTP.

Fetching, and uploading of files as parts of a commit; what a hub takes in over LFS or Xet it takes so, too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class FakeHub:
    """Repositories by name: commits with their files, branches that point to commits, and who is gated.

    asked  the path of every request, so that a test can say what was not fetched
    broken  files whose body ends early
    private  repositories that were made so; messages  what was said with each commit
    cards  those that it was asked to validate, in which it finds `card_fault`
    refuses  whether nobody may write
    """

    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    card_fault: str = ""
    refuses: bool = False
    url: str = ""

    def push(self, repo: str, folder: Path, branch: str = "main") -> str:
        """A commit of all files of a folder, to which the branch then points; its name."""
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        return self.commit(repo, files, branch)

    def commit(self, repo: str, files: dict[str, bytes], branch: str = "main") -> str:
        """The same of files by name."""
        text = repr([(name, hashlib.sha1(body).hexdigest()) for name, body in files.items()])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits.setdefault(repo, {})[commit] = files
        self.branches.setdefault(repo, {})[branch] = commit
        return commit

    def fetched(self) -> set[str]:
        """Files whose bytes were asked for."""
        return {
            path.rpartition("/")[2] for path in self.asked if path.startswith("GET") and "/resolve/" in path
        }

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a GET."""
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        if len(parts) < 4:
            return 404, {}, b"{}"
        repo, (what, revision, *rest) = (
            "/".join(parts[2:4] if api else parts[:2]),
            parts[4 if api else 2 :] or ("revision", "main"),
        )
        if repo not in self.commits:
            return 401 if api else 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask"}, b"{}"
        commit = self.branches[repo].get(revision, revision)
        files = self.commits[repo].get(commit)
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if what == "revision":
            told = {"id": repo, "modelId": repo, "sha": commit, "siblings": [{"rfilename": n} for n in files]}
            told |= {"private": repo in self.private}
            return 200, {}, json.dumps(told).encode()
        if what == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                for name, body in files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        body = files.get("/".join(rest))
        if what != "resolve" or body is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'}, body

    def taken(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a POST: a repository that is made, a commit that is asked about or sent."""
        parts = unquote(urlsplit(path).path).strip("/").split("/")
        if self.refuses:
            return 403, {"X-Error-Message": "you may not write here"}, b"{}"
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if repo in self.commits:
                return 409, {}, json.dumps({"url": f"{self.url}/{repo}"}).encode()
            self.commit(repo, {".gitattributes": b""})
            if asked.get("visibility") == "private":
                self.private.add(repo)
            return 200, {}, json.dumps({"url": f"{self.url}/{repo}"}).encode()
        if parts == ["api", "validate-yaml"]:
            self.cards.append(json.loads(body)["content"])
            errors = [{"message": self.card_fault}] if self.card_fault else []
            return 400 if errors else 200, {}, json.dumps({"errors": errors, "warnings": []}).encode()
        repo, what = "/".join(parts[2:4]), parts[4]
        if what == "preupload":
            rows = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return 200, {}, json.dumps({"files": rows}).encode()
        files = dict(self.commits[repo][self.branches[repo]["main"]])
        for row in map(json.loads, body.splitlines()):
            value = row["value"]
            if row["key"] == "header":
                self.messages.append(value["summary"])
            elif row["key"] == "deletedFile":
                del files[value["path"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        made = self.commit(repo, files)
        told = {"commitUrl": f"{self.url}/{repo}/commit/{made}", "commitOid": made}
        return 200, {}, json.dumps(told).encode()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens while the context lasts; `url` is its address."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                cut = self.path.rpartition("/")[2] in hub.broken
                self.wfile.write(body[: len(body) // 2] if cut else body)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, answer = hub.taken(self.path, body)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
