"""Pipelines in the published layout, made here with diffusers' own classes: the same noise gives the same images."""

import json

import pytest
import torch

diffusers = pytest.importorskip("diffusers")

from orchestrion.conditioners.audio_encoder import AudioEncoderConfig  # noqa: E402
from orchestrion.contracts import Conditioning, Prompt  # noqa: E402
from orchestrion.errors import UserError  # noqa: E402
from orchestrion.generators.diffusion import DiffusionOptions  # noqa: E402
from orchestrion.interchange.diffusers import import_pipeline, is_pipeline  # noqa: E402
from orchestrion.sampling.diffusion import ddpm  # noqa: E402
from orchestrion.sampling.schedules import leading  # noqa: E402


def write_pipeline(folder, scheduler, vae=None):
    torch.manual_seed(0)
    size = 16 if vae is None else 8
    unet = diffusers.UNet2DModel(
        sample_size=(size, 2 * size), in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D")).eval()
    unet.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "mel").mkdir()
    (folder / "mel" / "mel_config.json").write_text(json.dumps(
        {"_class_name": "Mel", "sample_rate": 8000, "n_fft": 512, "hop_length": 128, "top_db": 80, "x_res": 32,
         "y_res": 16, "n_iter": 32}))
    index = {"_class_name": "AudioDiffusionPipeline", "unet": ["diffusers", "UNet2DModel"],
             "scheduler": ["diffusers", type(scheduler).__name__], "mel": ["audio_diffusion", "Mel"]}
    if vae is not None:
        vae.save_pretrained(folder / "vqvae")
        index["vqvae"] = ["diffusers", "AutoencoderKL"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return unet


def theirs(unet, scheduler, x, steps):
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    return x


@pytest.mark.parametrize("changes", [{}, {"clip_sample": False}, {"beta_schedule": "squaredcos_cap_v2"},
                                     {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
                                      "timestep_spacing": "trailing"}], ids=lambda c: "-".join(c) or "usual")
def test_ddim_from_the_same_noise_gives_the_same_image(tmp_path, changes):
    scheduler = diffusers.DDIMScheduler(**changes)
    unet = write_pipeline(tmp_path, scheduler)
    system, options = import_pipeline(tmp_path)
    assert is_pipeline(tmp_path) and options["solver"] == "ddim" and options["steps"] == 50
    noise = system.generator._draw([torch.Generator().manual_seed(3)], 32)
    want = theirs(unet, scheduler, noise, 10)
    made = system.generator.sample(32, Conditioning(), [3], DiffusionOptions(**{**options, "steps": 10}))
    assert torch.allclose(made, want, atol=2e-3) and want.std() > 0.1


def test_ddpm_with_the_same_draws_gives_the_same_image(tmp_path, monkeypatch):
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=40)
    unet = write_pipeline(tmp_path, scheduler)
    system, options = import_pipeline(tmp_path)
    assert options == {"solver": "ddpm", "steps": 40, "schedule": "leading"}
    draws = list(torch.randn(40, 1, 1, 16, 32, generator=torch.Generator().manual_seed(0)))
    one, other = iter(draws[1:]), iter(draws[1:])
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: next(one))
    want = theirs(unet, scheduler, draws[0], 40)
    generator = system.generator
    with torch.no_grad():
        predict = generator._prediction(Conditioning(), DiffusionOptions())
        made = ddpm(predict, draws[0], leading(generator.config.path, 40), lambda: next(other))
    assert torch.allclose(made, want, atol=2e-3)


def test_a_latent_pipeline_gives_the_same_image(tmp_path):
    torch.manual_seed(1)
    vae = diffusers.AutoencoderKL(in_channels=1, out_channels=1, down_block_types=("DownEncoderBlock2D",) * 2,
                                  up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 16),
                                  layers_per_block=1, latent_channels=1, norm_num_groups=4).eval()
    scheduler = diffusers.DDIMScheduler()
    unet = write_pipeline(tmp_path, scheduler, vae)
    system, options = import_pipeline(tmp_path)
    codec = system.codec
    assert (codec.space.bands, codec.space.channels, codec.multiple_of) == (8, 1, 256)
    noise = system.generator._draw([torch.Generator().manual_seed(3)], 16)
    latents = system.generator.sample(16, Conditioning(), [3], DiffusionOptions(**{**options, "steps": 5}))
    want = theirs(unet, scheduler, noise, 5)
    assert torch.allclose(latents, want, atol=2e-3)
    with torch.no_grad():
        image = vae.decode(want / vae.config.scaling_factor).sample
        assert torch.allclose(codec.vae.decode(latents / codec.config.vae.scaling), image, atol=5e-3)
        picture = torch.randn(1, 1, 16, 32)
        assert torch.allclose(codec.vae.encode(picture).mean, vae.encode(picture).latent_dist.mean, atol=1e-4)


def test_old_names_of_attention_are_understood(tmp_path):
    from safetensors.torch import load_file

    unet = write_pipeline(tmp_path, diffusers.DDIMScheduler())
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, value in load_file(path).items():
        for new, before in old.items():
            name = name.replace(f".{new}.", f".{before}.")
        state[name] = value
    path.unlink()
    torch.save(state, path.with_suffix(".bin"))
    system, _ = import_pipeline(tmp_path)
    theirs_now = unet.state_dict()
    assert all(torch.equal(value, theirs_now[name]) for name, value in system.generator.net.state_dict().items())


@pytest.mark.parametrize("field, value", [("block_out_channels", None), ("block_out_channels", 16),
                                          ("down_block_types", None), ("sample_size", "large")])
def test_a_config_without_what_is_needed_is_refused(tmp_path, field, value):
    write_pipeline(tmp_path, diffusers.DDIMScheduler())
    place = tmp_path / "unet" / "config.json"
    place.write_text(json.dumps({key: each for key, each in (json.loads(place.read_text()) | {field: value}).items()
                                 if each is not None}))
    with pytest.raises(UserError, match="not whole, or damaged"):
        import_pipeline(tmp_path)


def test_weights_that_are_no_table_are_refused(tmp_path):
    write_pipeline(tmp_path, diffusers.DDIMScheduler())
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save([1], tmp_path / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="not whole, or damaged"):
        import_pipeline(tmp_path)


def test_what_can_not_be_read_is_refused(tmp_path):
    write_pipeline(tmp_path, diffusers.DDIMScheduler())
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        import_pipeline(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="no weights"):
        import_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(UserError, match="StableDiffusionPipeline"):
        import_pipeline(tmp_path)


def test_the_command_line_imports_and_plays(tmp_path, capsys):
    from orchestrion import Model
    from orchestrion.cli import main

    (tmp_path / "pipeline").mkdir()
    write_pipeline(tmp_path / "pipeline", diffusers.DDIMScheduler())
    with pytest.raises(SystemExit) as caught:
        main(["import", str(tmp_path / "pipeline"), "-o", str(tmp_path / "model"), "--licence", "MIT"])
    assert caught.value.code == 0, capsys.readouterr().err
    model = Model.load(tmp_path / "model")
    assert model.options().steps == 50 and model.options().solver == "ddim"
    clip = model.generate(duration=1.2, options={"steps": 2})
    assert clip.sample_rate == 8000 and clip.duration == pytest.approx(1.2)


def test_a_conditional_pipeline_and_its_audio_encoder(tmp_path):
    """UNet2DConditionModel in the pipeline's folder, and the encoder that is published apart beside it."""
    torch.manual_seed(2)
    scheduler = diffusers.DDIMScheduler()
    write_pipeline(tmp_path, scheduler)
    unet = diffusers.UNet2DConditionModel(
        sample_size=(16, 32), in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), cross_attention_dim=100,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=4).eval()
    unet.save_pretrained(tmp_path / "unet")
    encoder = AudioEncoderConfig().build().eval()
    (tmp_path / "audio_encoder").mkdir()
    torch.save(encoder.state_dict(), tmp_path / "audio_encoder" / "diffusion_pytorch_model.bin")
    system, _ = import_pipeline(tmp_path)
    prompts = [Prompt(audio=torch.randn(1, 150_000)), Prompt()]
    told = system.conditioner(prompts)
    assert torch.equal(told.sequence, encoder(prompts).sequence)
    x, step = torch.randn(2, 1, 16, 32), torch.tensor([700, 700])
    with torch.no_grad():
        want = unet(x, step, told.sequence).sample
        assert torch.allclose(system.generator.net(x, (step + 1) / 1000, told), want, atol=1e-4)
