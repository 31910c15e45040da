"""Export to TorchScript as nn~ (Max, Pure Data) takes it, and to ONNX. Each is opened again in a process that knows
nothing of this package, and compared, before it is put in its place.

nn~ calls `encode`, `decode` and `forward` with blocks `[b c t]` and expects `t · ratio` samples back at once; buffers
`<method>_params` tell it channels and ratios (in, ratio in, out, ratio out). So what isn't there yet at the beginning
is silence, and the delay stays from then on.
"""

import copy
import math
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from orchestrion.codecs.rave import RaveCodec
from orchestrion.codecs.rave.bottlenecks import Quantised
from orchestrion.errors import UserError
from orchestrion.storage import replacing
from orchestrion.systems.system import System

BLOCKS, BLOCK = 6, 8192  # that an export is compared on


class Playable(nn.Module):
    """A RAVE with nn~'s methods. State lives in here, since nn~ knows of none; chance is fresh, as on stage."""

    encoding: list[Tensor]
    decoding: list[Tensor]

    def __init__(self, codec: RaveCodec) -> None:
        super().__init__()
        codec = copy.deepcopy(codec).eval().requires_grad_(False).fold()
        config = codec.config
        self.encoder, self.decoder, self.pqmf = codec.encoder, codec.decoder, codec.pqmf
        self.principal = codec.principal
        self.discrete = isinstance(codec.bottleneck, Quantised)
        self.quantiser = codec.bottleneck.quantiser if isinstance(codec.bottleneck, Quantised) else None
        self.channels, self.bands, self.ratio = config.channels, config.bands, codec.frame
        self.latents, self.groups, self.noise = config.latents, codec.bottleneck.groups, codec.bottleneck.noise
        self.size = codec.bottleneck.quantiser.books[0].codes.shape[0] if self.discrete else 0  # type: ignore
        self.rank = len(codec.bottleneck.quantiser.books) if self.discrete else codec.rank  # type: ignore
        self.sr = config.sample_rate
        self.noisy = bool(codec.decoder.noisy)
        self.encoding, self.decoding = [], []
        self.latent_queue, self.queue, self.forward_queue = (torch.zeros(0) for _ in range(3))
        self._methods = ["encode", "decode", "forward"]
        self._attributes = ["reset"]
        self._enter_method("encode", self.channels, 1, self.rank, self.ratio)
        self._enter_method("decode", self.rank, self.ratio, self.channels, 1)
        self._enter_method("forward", self.channels, 1, self.channels, 1)
        self.reset = (False,)
        self.register_buffer("reset_params", torch.tensor([0]))  # of type bool, as nn~ counts them

    def _enter_method(self, name: str, inputs: int, ratio_in: int, outputs: int, ratio_out: int) -> None:
        self.register_buffer(f"{name}_params", torch.tensor([inputs, ratio_in, outputs, ratio_out]))
        for side, count, ratio in (("input", inputs, ratio_in), ("output", outputs, ratio_out)):
            kind = "Channel" if ratio == 1 else "Latent dimension"
            setattr(self, f"{name}_{side}_labels", [f"(signal) {kind} {i + 1}" for i in range(count)])

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return self._methods

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return self._attributes

    @torch.jit.export
    def get_sample_rate(self) -> int:
        return self.sr

    @torch.jit.export
    def get_reset(self) -> bool:
        return self.reset[0]

    @torch.jit.export
    def set_reset(self, reset: bool) -> int:
        """Forgets all that was heard."""
        if reset:
            self.encoding, self.decoding = torch.jit.annotate(list[Tensor], []), torch.jit.annotate(list[Tensor], [])
            self.latent_queue, self.queue = torch.zeros(0), torch.zeros(0)
            self.forward_queue = torch.zeros(0)
        return 0

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        queue = self._queued(self.latent_queue, self._encode(x), x.shape[-1] // self.ratio)
        self.latent_queue = queue[..., x.shape[-1] // self.ratio :]
        return queue[..., : x.shape[-1] // self.ratio]

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        queue = self._queued(self.queue, self._decode(z), z.shape[-1] * self.ratio)
        self.queue = queue[..., z.shape[-1] * self.ratio :]
        return queue[..., : z.shape[-1] * self.ratio]

    def forward(self, x: Tensor) -> Tensor:
        latents = self._encode(x)
        made = self._decode(latents) if latents.shape[-1] > 0 else torch.zeros(x.shape[0], self.channels, 0)
        queue = self._queued(self.forward_queue, made.to(x), x.shape[-1])
        self.forward_queue = queue[..., x.shape[-1] :]
        return queue[..., : x.shape[-1]]

    def _queued(self, waiting: Tensor, fresh: Tensor, wanted: int) -> Tensor:
        """What waited and what is fresh, with silence in front where that is less than wanted."""
        queue = torch.cat([waiting, fresh], -1) if waiting.dim() == 3 and waiting.shape[0] == fresh.shape[0] else fresh
        return nn.functional.pad(queue, (max(0, wanted - queue.shape[-1]), 0))

    def _encode(self, x: Tensor) -> Tensor:
        past = self.encoding
        if len(past) > 0 and past[0].shape[0] != x.shape[0] * self.channels:
            past = torch.jit.annotate(list[Tensor], [])
        new = torch.jit.annotate(list[Tensor], [])
        bands = self.pqmf.stream(x.reshape(x.shape[0] * self.channels, 1, x.shape[-1]), past, new, False)
        encoded = self.encoder.stream(bands.reshape(x.shape[0], self.channels * self.bands, 1, bands.shape[-1]), past,
                                      new, False).squeeze(2)
        self.encoding = new
        if self.quantiser is not None:
            return self.quantiser.encode(encoded).to(x.dtype)
        return self.principal.enter(encoded[:, : self.latents], self.rank)

    def _decode(self, z: Tensor) -> Tensor:
        past = self.decoding
        if len(past) > 0 and past[0].shape[0] != z.shape[0]:
            past = torch.jit.annotate(list[Tensor], [])
        new = torch.jit.annotate(list[Tensor], [])
        if self.quantiser is not None:
            heard = self.quantiser.decode(z.round().clamp(0, self.size - 1).long())
        else:
            missing = torch.randn(z.shape[0], self.latents - self.rank, z.shape[-1], device=z.device)
            heard = self.principal.leave(z, missing)
        if self.noise > 0:
            heard = torch.cat([heard, torch.randn(z.shape[0], self.noise, z.shape[-1], device=z.device)], 1)
        width = self.channels * self.bands
        count = z.shape[-1] * self.ratio // self.bands if self.noisy else 0
        noise = torch.rand(z.shape[0], width, 1, count, device=z.device) * 2 - 1
        bands = self.decoder.stream(heard.unsqueeze(2), noise, past, new, False)
        bands = bands.reshape(z.shape[0] * self.channels, self.bands, 1, bands.shape[-1])
        made = self.pqmf.stream_inverse(bands, past, new, False)
        self.decoding = new
        return made.reshape(z.shape[0], self.channels, made.shape[-1])


def playable(system: System) -> Playable:
    if not isinstance(system.codec, RaveCodec):
        raise UserError(f"nn~ plays RAVE models, and this model's codec is a {type(system.codec).__name__}")
    return Playable(system.codec).eval()


@torch.no_grad()
def export_torchscript(system: System, path: Path) -> float:
    """Writes a `.ts`; -> the greatest difference that another process found. UserError where it is above 1e-4."""
    model = playable(system)
    torch.manual_seed(0)
    audio = 0.1 * torch.randn(1, model.channels, BLOCKS * BLOCK)
    with replacing(path) as part:
        scripted = torch.jit.script(model)
        scripted.save(str(part))
        torch.manual_seed(1)
        expected = torch.cat([model(block) for block in audio.split(BLOCK, -1)], -1)
        sample = part.with_name("sample.pt")
        torch.save({"audio": audio, "expected": expected}, sample)
        difference = _elsewhere(_PLAY, str(part), str(sample))
        sample.unlink()
    return difference


_PLAY = f"""
import sys, torch
torch.set_grad_enabled(False)
model, sample = torch.jit.load(sys.argv[1]), torch.load(sys.argv[2])
assert "orchestrion" not in sys.modules
for name in model.get_methods():
    inputs, ratio_in, outputs, ratio_out = getattr(model, name + "_params").tolist()
    made = getattr(model, name)(torch.zeros(2, inputs, {BLOCK} // ratio_in))
    assert made.shape == (2, outputs, {BLOCK} // ratio_out) and made.dtype == torch.float32, (name, made.shape)
model.set_reset(True)
torch.manual_seed(1)
made = torch.cat([model(block) for block in sample["audio"].split({BLOCK}, -1)], -1)
print("difference", (made - sample["expected"]).abs().max().item())
"""


# ONNX


class OnnxEncoder(nn.Module):
    """audio `[b c t]` -> latents or tokens, whole clips, t a multiple of the ratio."""

    def __init__(self, codec: RaveCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, audio: Tensor) -> Tensor:
        return self.codec.encode(audio)


class OnnxDecoder(nn.Module):
    """latents or tokens and chance -> audio.

    `chance` `[b k n]`: normal numbers for what the latents don't tell (dropped components and noise channels), then,
    for models with a noise synthesiser, uniform ones in [-1, 1], a frame's after another's.
    """

    def __init__(self, codec: RaveCodec) -> None:
        super().__init__()
        self.codec = codec
        missing = 0 if isinstance(codec.bottleneck, Quantised) else codec.config.latents - codec.rank
        self.normal, self.missing = missing + codec.bottleneck.noise, missing
        self.each = codec.frame // codec.config.bands if codec.decoder.noisy else 0
        self.width = codec.channels * codec.config.bands

    def forward(self, latents: Tensor, chance: Tensor) -> Tensor:
        codec = self.codec
        normal, uniform = chance[:, : self.normal], chance[:, self.normal :]
        if isinstance(codec.bottleneck, Quantised):
            heard = codec.bottleneck.quantiser.decode(latents)
        else:
            heard = codec.principal.leave(latents, normal[:, : self.missing])
        heard = torch.cat([heard, normal[:, self.missing :]], 1)
        noise = uniform.unflatten(1, (self.width, self.each)).transpose(2, 3).flatten(2) if self.each else (
            uniform.new_zeros(latents.shape[0], self.width, 0))
        return codec._joined(codec._decode(heard, noise))

    def chances(self) -> int:
        return self.normal + self.width * self.each


@torch.no_grad()
def export_onnx(system: System, path: Path) -> float:
    """Writes `<name>.encoder.onnx` and `<name>.decoder.onnx`; -> the greatest difference that another process found.

    Lengths are free: audio in multiples of the ratio.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError("exporting to ONNX needs onnx and onnxruntime: pip install 'orchestrion[export]'") from error
    if not isinstance(system.codec, RaveCodec):
        raise UserError(f"ONNX export is for RAVE models, and this model's codec is a {type(system.codec).__name__}")
    codec = copy.deepcopy(system.codec).eval().requires_grad_(False).fold()
    encoder, decoder = OnnxEncoder(codec), OnnxDecoder(codec)
    torch.manual_seed(0)
    audio = 0.1 * torch.randn(1, codec.channels, 12 * codec.frame)
    latents = codec.encode(audio)
    chance = torch.rand(1, decoder.chances(), 12) * 2 - 1
    differences = []
    for part, inputs, names in ((encoder, (audio,), ["audio"]), (decoder, (latents, chance), ["latents", "chance"])):
        kind = "encoder" if part is encoder else "decoder"
        with replacing(path.with_name(f"{path.stem}.{kind}.onnx")) as file:
            short = tuple(x[..., : x.shape[-1] // 2] for x in inputs)  # compared at another length than it was made at
            expected = part(*inputs)
            torch.onnx.export(part, short, str(file), input_names=names, output_names=["made"], dynamo=False,
                              dynamic_axes={name: {0: "batch", 2: "time"} for name in [*names, "made"]})
            sample = file.with_name("sample.pt")
            torch.save({"inputs": dict(zip(names, inputs)), "expected": expected}, sample)
            differences.append(_elsewhere(_RUN, str(file), str(sample)))
            sample.unlink()
    return max(differences)


_RUN = """
import sys, torch, onnxruntime
sample = torch.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
known = {i.name for i in session.get_inputs()}
made = session.run(None, {k: v.numpy() for k, v in sample["inputs"].items() if k in known})[0]
print("difference", (torch.from_numpy(made).double() - sample["expected"].double()).abs().max().item())
"""


def _elsewhere(program: str, *arguments: str) -> float:
    """Runs a program in a clean process; -> the difference that it prints. Raises UserError where it isn't small."""
    done = subprocess.run([sys.executable, "-I", "-c", program, *arguments], capture_output=True, text=True)
    told = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("difference")]
    if done.returncode or not told:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"the export was made, but another process can't use it ({reason}); nothing was written")
    difference = float(told[0])
    if not math.isfinite(difference) or difference > 1e-4:
        raise UserError(f"the export answers otherwise than the model, by {difference:.2g}; nothing was written")
    return difference
