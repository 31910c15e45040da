"""The few answers of the Hugging Face Hub that a download asks for, from a folder on this machine."""

import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "a" * 40


@contextmanager
def serving(repositories: dict[str, Path]):
    """repositories: folders by `owner/name` -> the address to give as HF_ENDPOINT."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(body=True)

        def do_HEAD(self):
            self.answer(body=False)

        def answer(self, body):
            path = self.path.partition("?")[0].strip("/")
            for name, folder in repositories.items():
                if path.startswith(f"api/models/{name}"):
                    files = [{"rfilename": f.name, "type": "file", "path": f.name, "size": f.stat().st_size,
                              "oid": "0"} for f in sorted(folder.iterdir())]
                    listing = files if "/tree/" in path else {"id": name, "sha": COMMIT, "siblings": files}
                    return self.send(200, json.dumps(listing).encode(), {}, body)
                if path.startswith(f"{name}/resolve/"):
                    data = (folder / Path(path).name).read_bytes()
                    headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                    return self.send(200, data, headers, body)
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)

        def send(self, status, data, headers, body):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
