"""The page of sliders, asked as a browser would."""

import io
import socket
import struct
import threading
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
import torch

from orchestrion.audio import Audio
from orchestrion.codecs.rave import QuantisedConfig, RaveConfig, RaveV2Config
from orchestrion.errors import UserError
from orchestrion.playing import Model
from orchestrion.playing.sliders import Sliders, edit_of, serve
from orchestrion.playing.transfer import LatentEdit, transfer
from orchestrion.systems.folder import About
from orchestrion.systems.system import SystemConfig

RATE = 16_000


def rave(**changes):
    torch.manual_seed(0)
    net = RaveV2Config(capacity=4, ratios=(4, 4), dilations=((1,), (1,)))
    system = SystemConfig(codec=RaveConfig(sample_rate=RATE, latents=8, net=net, **changes)).build().eval()
    system.codec.fit([0.3 * torch.randn(2, 1, 8192)])
    return Model(system, About(name="mine"), dtype="float32")


def sound(seconds=0.5):
    torch.manual_seed(1)
    return Audio(0.3 * torch.randn(1, int(seconds * RATE)), RATE)


@pytest.fixture
def address():
    with serve(Sliders(rave(), sound(), Path("a <b>.wav"), 4)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_moved_sliders_sound_as_transfer_does(address):
    with urlopen(f"{address}/sound?bias=0,2,0,0&scale=1,1,1,0.5") as answer:
        assert answer.headers["Content-Type"] == "audio/wav"
        made, rate = soundfile.read(io.BytesIO(answer.read()))
    wanted = transfer(rave(), sound(), LatentEdit(scale={3: 0.5}, bias={1: 2.0})).samples[0].numpy()
    assert rate == RATE and np.abs(made - wanted).max() < 1e-4
    with urlopen(f"{address}/command?bias=0,2,0,0&scale=1,1,1,0.5") as answer:
        assert answer.read().decode() == "orchestrion transfer mine 'a <b>.wav' --scale 3=0.5 --bias 1=2 -o out.wav"


def test_the_page_tells_what_each_latent_explains(address):
    with urlopen(address) as answer:
        page = answer.read().decode()
    assert "a &lt;b&gt;.wav through mine" in page and "{{ " not in page
    shares = Sliders(rave(), sound(), Path("a.wav"), 99).shares()
    assert len(shares) == 8 and sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("path, says", [
    ("/sound?bias=x", "list of numbers"), ("/sound?bias=nan", "between"), ("/sound?scale=" + "0," * 8 + "2", "no 8"),
    ("/command?bias=nan", "between"), ("/sound?gain=2", "no 'gain'"), ("/nothing", "no such page")])
def test_what_cannot_be_is_answered_in_a_sentence(address, path, says):
    with pytest.raises(HTTPError) as refused:
        urlopen(address + path)
    assert refused.value.code in (400, 404) and says in refused.value.read().decode()


def test_a_browser_that_hangs_up_leaves_no_traceback(address, capfd):
    host, port = address.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as asking:
            asking.sendall(b"GET /sound?bias=0,1 HTTP/1.0\r\n\r\n")
            asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # gone at once
    with socket.create_connection((host, int(port))) as asking:
        asking.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
        assert b" 400 " in asking.makefile("rb").readline()
    for body in (b"", b"x" * 100_000):
        with pytest.raises(HTTPError) as refused:
            urlopen(address, data=body)
        assert refused.value.code == 501
    with urlopen(f"{address}/sound?bias=0,2") as answer:  # the others are done by then: one decoding at a time
        assert answer.status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_the_command_says_every_digit():
    assert Sliders(rave(), sound(), Path("a.wav")).command(LatentEdit(bias={0: 1.23456789})).count("0=1.23456789")


def test_unchanged_latents_are_left_out():
    assert not edit_of("scale=1,1&bias=0,0") and edit_of("bias=0,-1.5") == LatentEdit(bias={1: -1.5})


def test_what_has_no_sliders_is_refused(address):
    with pytest.raises(UserError, match="at most 60 s"):
        Sliders(rave(), sound(61), Path("long.wav"))
    with pytest.raises(UserError, match="no latents"):
        Sliders(rave(bottleneck=QuantisedConfig(codebooks=2, size=8, noise=2)), sound(), Path("a.wav"))
    with pytest.raises(UserError, match="--port"):
        serve(Sliders(rave(), sound(), Path("a.wav")), int(address.rpartition(":")[2]))
