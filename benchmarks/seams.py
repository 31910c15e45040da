"""Are joints between windows heard? And is a clip decoded in chunks the same as decoded whole?

    python benchmarks/seams.py MODEL [--clips 6] [--minutes 7.5]

Joints of the decoder stand where `Model.stream` gives out a block; those of the generator where its
windows meet. The median jump at the joints must be below the 75th percentile of the jumps elsewhere.
"""

import argparse

import torch
from common import count, duration, machine, run, table

from orchestrion.contracts import Generator
from orchestrion.errors import UserError
from orchestrion.evaluation.seams import seams
from orchestrion.generators.flow import FlowGenerator
from orchestrion.generators.latent_gan import LatentGan
from orchestrion.playing.chunks import decode_chunks
from orchestrion.playing.model import Model

TOLERANCE = 1e-4  # of full scale, chunks against whole in float32


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="model folder or bundled name")
    parser.add_argument("--clips", type=count, default=6)
    parser.add_argument("--minutes", type=duration, default=7.5, help="length of each clip")
    args = parser.parse_args()

    model = Model.load(args.model)
    audio, of_decoder, of_generator = [], [], []
    for seed in range(args.clips):
        latents = model.sample([None], 60 * args.minutes, [seed], model.options())
        blocks = [block.cpu() for block in model.stream(latents, seed=seed)]
        ends = torch.tensor([block.shape[-1] for block in blocks]).cumsum(0).tolist()
        audio.append(torch.cat(blocks, dim=-1).mean(0))
        of_decoder.append(ends[:-1])
        frames = generator_joints(model.generator, latents.shape[-1])
        of_generator.append([joint * model.system.codec.frame for joint in frames])

    print(f"{args.clips} clips of {args.minutes:g} minutes; {machine()}\n")
    rows, failed = [], 0
    for kind, joints in (("decoder", of_decoder), ("generator", of_generator)):
        if not any(joints):
            rows.append([kind, 0, "the whole clip at once", "", "", "", "", "PASS"])
            continue
        for figure in seams(audio, joints, model.sample_rate):
            failed += not figure.holds
            rows.append([kind, sum(map(len, joints)), figure.name, figure.unit, figure.joints, figure.median,
                         figure.upper, "PASS" if figure.holds else "FAIL"])
    print(table(["windows", "joints", "jump", "unit", "median at joints", "median elsewhere",
                 "75th percentile elsewhere", ""], rows))
    difference = chunked_difference(args.model)
    failed += difference > TOLERANCE
    verdict = "PASS" if difference <= TOLERANCE else "FAIL"
    print(f"\n{verdict}  decoded in chunks against whole, float32, 60 s: "
          f"largest difference {difference:.1e} (bar: {TOLERANCE:g})")
    return 1 if failed else 0


def generator_joints(generator: Generator, frames: int) -> list[int]:
    """Frames at which the generator's windows meet."""
    match generator:
        case LatentGan():
            return list(range(generator.half_length, frames, generator.half_length))
        case FlowGenerator():
            windows = generator.config
            return list(range(windows.context, frames, windows.context - windows.overlap))
    raise UserError(f"nothing is known of the windows of {type(generator).__name__}: add them to {__file__}")


def chunked_difference(name: str, seconds: float = 60.0) -> float:
    """Largest difference of one clip's samples, decoded in chunks of 6 s against at once, in float32."""
    model = Model.load(name, device="cpu", dtype="float32")
    if model.system.generator is None:
        raise UserError(f"{name} has no generator: its joints can't be measured on what it makes")
    codec = model.system.codec
    latents = model.sample([None], seconds, [0], model.options())
    with torch.inference_mode():
        whole = codec.decode(latents)[0]
        chunks = torch.cat(list(decode_chunks(codec, latents, codec.decode, seconds=6.0)), dim=-1)
    return (whole - chunks).abs().max().item()


if __name__ == "__main__":
    run(main)
