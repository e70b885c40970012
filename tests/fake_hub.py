"""A hub on this machine: the routes of the Hugging Face Hub that huggingface_hub asks for models, over HTTP."""

from __future__ import annotations

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
    """

    commits: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def push(self, repo: str, folder: Path, branch: str = "main") -> str:
        """A commit of all files of a folder, to which the branch then points; its name."""
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
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
        repo, (what, revision, *rest) = "/".join(parts[2:4] if api else parts[:2]), parts[4 if api else 2 :]
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
