"""Sliders over a sound's main latent dimensions: a page, served to this machine alone, that plays what they make of it.

    GET /                              the page
    GET /sound?scale=1,0.5&bias=0,-1   the sound as 16-bit wav, each latent scaled and moved; those left out stay
"""

import io
import itertools
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import soundfile
from torch import Tensor

from orchestrion.audio import Audio
from orchestrion.audio.levels import below_ceiling
from orchestrion.contracts import Continuous
from orchestrion.errors import UserError
from orchestrion.playing.model import Model
from orchestrion.playing.provenance import command_line
from orchestrion.playing.transfer import LatentEdit

HOST = "127.0.0.1"
LONGEST = 60.0  # seconds: it is decoded whole at every move of a slider


class Sliders:
    """A sound's latents, coded once, and what becomes of them. count: the dimensions offered, the main ones first."""

    def __init__(self, model: Model, audio: Audio, source: Path, count: int = 8) -> None:
        space = model.system.codec.space
        if not isinstance(space, Continuous) or space.bands is not None:
            raise UserError(f"{model.name} has no latents that sliders could move: use a RAVE with continuous latents")
        if audio.duration > LONGEST:
            raise UserError(f"{source} lasts {audio.duration:.0f} s, and every move of a slider decodes it whole: give "
                            f"a sound of at most {LONGEST:.0f} s")
        self.model, self.source = model, source
        self.count = min(count, space.channels)
        self.latents: Tensor = model.encode(audio)
        self.length = round(audio.samples.shape[1] * model.sample_rate / audio.sample_rate)
        self.turn = threading.Lock()  # one decoding at a time

    def shares(self) -> list[float | None]:
        """Of the latents' variance, each dimension's; None where the codec doesn't order its latents."""
        principal: Any = getattr(self.model.system.codec, "principal", None)
        if principal is None or not principal.fitted:
            return [None] * self.count
        sums = [0.0, *principal.fidelity[: self.count].tolist()]
        return [b - a for a, b in itertools.pairwise(sums)]

    def sound(self, edit: LatentEdit) -> bytes:
        """-> a wav file."""
        edit.check(self.model)
        with self.turn:
            made = self.model.decode(edit(self.latents), self.length)
        file = io.BytesIO()
        soundfile.write(file, below_ceiling(made.samples).T.numpy(), made.sample_rate, "PCM_16", format="WAV")
        return file.getvalue()

    def command(self, edit: LatentEdit, output: str = "out.wav") -> str:
        """The command that writes the same sound, signed."""
        edit.check(self.model)
        changes = {name: [f"{key}={value:.15g}" for key, value in values.items()]
                   for name, values in (("scale", edit.scale), ("bias", edit.bias))}
        return command_line("transfer", [self.model.source, str(self.source)], {**changes, "o": output})

    def page(self) -> str:
        import jinja2

        template = (Path(__file__).parent / "sliders.html.jinja").read_text("utf-8")
        return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(template).render(
            title=f"{self.source.name} through {self.model.name}", shares=self.shares(),
            command=self.command(LatentEdit()))


def edit_of(query: str) -> LatentEdit:
    """`scale=1,0.5&bias=0,-1` -> the edit, without what changes nothing."""
    given = parse_qs(query, keep_blank_values=True)
    if unknown := given.keys() - {"scale", "bias"}:
        raise UserError(f"there is no {sorted(unknown)[0]!r}: a sound is asked for by scale and bias")
    numbers = {}
    for name, nothing in (("scale", 1.0), ("bias", 0.0)):
        try:
            values = [float(word) for word in given[name][-1].split(",")] if name in given else []
        except ValueError as error:
            raise UserError(f"{name} is a list of numbers, such as 1,0.5, not {given[name][-1]!r}") from error
        numbers[name] = {i: value for i, value in enumerate(values) if value != nothing}
    return LatentEdit(scale=numbers["scale"], bias=numbers["bias"])


def _place(path: str) -> SplitResult:
    try:
        return urlsplit(path)
    except ValueError as error:
        raise UserError(f"{path} is no address") from error


def serve(sliders: Sliders, port: int = 0) -> ThreadingHTTPServer:
    """A server on this machine's own address, begun by its `serve_forever`; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                place = _place(self.path)
                if place.path == "/":
                    self._answer(200, "text/html; charset=utf-8", sliders.page().encode())
                elif place.path == "/sound":
                    self._answer(200, "audio/wav", sliders.sound(edit_of(place.query)))
                elif place.path == "/command":
                    self._answer(200, "text/plain; charset=utf-8", sliders.command(edit_of(place.query)).encode())
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"there is no such page")
            except UserError as error:
                self._answer(400, "text/plain; charset=utf-8", str(error).encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the terminal is the user's."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A browser that hangs up, as it does when a slider is moved on, is none."""
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)

    try:
        return Server((HOST, port), Handler)
    except OSError as error:
        raise UserError(f"port {port} can't be had ({error.strerror}): choose another with --port") from error
