"""AudioLDM pipelines in the published layout, made here with diffusers' and transformers' own classes: the same words
and the same seed give the same sound."""

import json

import pytest
import torch

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

from orchestrion import Model  # noqa: E402
from orchestrion.contracts import Prompt  # noqa: E402
from orchestrion.errors import UserError  # noqa: E402
from orchestrion.interchange.diffusers import import_pipeline, is_pipeline  # noqa: E402
from orchestrion.systems.folder import About, save_model  # noqa: E402

JOINT, RATE = 24, 8000


def byte_pairs(folder):
    """A tokeniser of bytes and a few merges, in RoBERTa's files."""
    from tokenizers import ByteLevelBPETokenizer

    folder.mkdir()
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(["a dog barks in the rain", "slow soft music", "no drums"], vocab_size=280,
                                special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    trained.save_model(str(folder))
    # as long as diffusers cuts what guidance leads away from
    return transformers.RobertaTokenizer.from_pretrained(str(folder), model_max_length=JOINT)


def make_pipeline(folder, scheduler):
    torch.manual_seed(0)
    tokeniser = byte_pairs(folder / "bytes")
    unet = diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=(16, 32), attention_head_dim=4,
        class_embed_type="simple_projection", projection_class_embeddings_input_dim=JOINT, class_embeddings_concat=True)
    vae = diffusers.AutoencoderKL(in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
                                  down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
                                  up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, scaling_factor=0.9)
    words = transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        projection_dim=JOINT, max_position_embeddings=40, initializer_factor=20.0))
    vocoder = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(
        model_in_dim=16, sampling_rate=RATE, upsample_initial_channel=16, upsample_rates=[5, 4, 2],
        upsample_kernel_sizes=[16, 8, 4], resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 3], [1, 3]],
        normalize_before=False, initializer_range=0.2))
    pipe = diffusers.AudioLDMPipeline(vae.eval(), words.eval(), tokeniser, unet.eval(), scheduler, vocoder.eval())
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder / "pipeline")
    return pipe


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """diffusers' pipeline, and ours of its folder."""
    folder = tmp_path_factory.mktemp("audioldm")
    scheduler = diffusers.DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear",
                                        clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipe = make_pipeline(folder, scheduler)
    assert is_pipeline(folder / "pipeline")
    system, options = import_pipeline(folder / "pipeline")
    assert options == {"solver": "ddim", "steps": 10, "schedule": "stable", "cfg_scale": 2.5}
    return pipe, Model(system, About("imported", defaults=options), dtype="float32"), folder


def theirs(pipe, prompts, seeds, seconds, **call):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.from_numpy(pipe(prompts, audio_length_in_s=seconds, generator=generators, **call).audios)


@pytest.mark.parametrize("changes", [{}, {"num_inference_steps": 4, "guidance_scale": 4.0,
                                          "negative_prompt": ["no drums", "no drums"]},
                                     {"num_inference_steps": 3, "guidance_scale": 1.0}], ids=["usual", "away", "free"])
def test_the_same_words_and_seeds_give_the_same_sound(pair, changes):
    pipe, model, _ = pair
    texts, seeds, seconds = ["a dog barks", "slow soft music in the rain"], [3, 4], 32 * 40 / RATE
    want = theirs(pipe, texts, seeds, seconds, **changes)
    away = changes.get("negative_prompt", [None, None])
    options = {"steps": changes.get("num_inference_steps"), "cfg_scale": changes.get("guidance_scale")}
    made = model.generate_batch([Prompt(text=text, negative=no) for text, no in zip(texts, away)], seconds, seeds,
                                options)
    for ours, wave in zip(made, want):
        assert ours.samples.shape == (1, len(wave)) and wave.std() > 0.02
        assert (ours.samples[0] - wave).abs().max() < 1e-3
    assert (want[0] - want[1]).abs().max() > 0.05  # the words or the seed matter


def test_a_saved_model_reads_the_same_words(pair, tmp_path):
    pipe, model, _ = pair
    save_model(model.system, tmp_path / "model", model.about)
    again = Model.load(tmp_path / "model", dtype="float32")
    with torch.no_grad():
        for text in ("a dog barks", "", "unheard-of!", "rain " * 60):
            (ours,) = again.system.conditioner([Prompt(text=text)]).vector
            encoded = pipe.tokenizer([text], truncation=True, max_length=JOINT, return_tensors="pt")
            wanted = torch.nn.functional.normalize(pipe.text_encoder(**encoded).text_embeds[0], dim=-1)
            assert torch.allclose(ours, wanted, atol=1e-5)


def test_what_the_autoencoder_hears_is_what_diffusers_hears(pair):
    pipe, model, _ = pair
    image = torch.randn(1, 1, 24, 16)  # time by frequency
    with torch.no_grad():
        wanted = pipe.vae.encode(image).latent_dist.mean
        assert torch.allclose(model.system.codec.vae.encode(image.mT).mean.mT, wanted, atol=1e-4)


def test_an_unusual_network_and_a_missing_part_are_refused(pair, tmp_path):
    import shutil

    folder = tmp_path / "pipeline"
    shutil.copytree(pair[2] / "pipeline", folder)
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(UserError, match="no tokeniser"):
        import_pipeline(folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"class_embeddings_concat": False}))
    with pytest.raises(UserError, match="class_embeddings_concat"):
        import_pipeline(folder)


def test_the_command_line_imports_and_plays(pair, tmp_path, capsys):
    from orchestrion.cli import main

    for words in (["import", str(pair[2] / "pipeline"), "-o", str(tmp_path / "model"), "--licence", "CC-BY-NC-SA-4.0"],
                  ["generate", str(tmp_path / "model"), "-p", "a dog barks", "-d", "0.3", "--steps", "2", "-o",
                   str(tmp_path / "dog.wav")]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0, capsys.readouterr().err
    assert (tmp_path / "dog.wav").is_file()
    assert "AudioLDM" in (tmp_path / "model" / "README.md").read_text()
