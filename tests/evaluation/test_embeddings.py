"""Each embedding on sounds of which it must know one thing; learnt ones on small random networks."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from orchestrion.audio import Audio
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning
from orchestrion.errors import UserError
from orchestrion.evaluation.embeddings import LEARNT, PLAIN, find_embedding
from orchestrion.evaluation.embeddings.embedding import embed
from orchestrion.evaluation.embeddings.pretrained import by_second
from orchestrion.evaluation.points import Points, squared_distances
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig
from plucks import pluck_tune
from toys import ToyCodecConfig

RATE = 44_100


def tune(seed=0, seconds=2.5, notes=4.0):
    return Audio(torch.from_numpy(pluck_tune(seconds, RATE, seed, notes)), RATE)


def noise(seed=0, level=0.1):
    return Audio(level * torch.randn(1, RATE * 5 // 2, generator=torch.Generator().manual_seed(seed)), RATE)


@pytest.mark.parametrize("name", PLAIN)
def test_music_lies_nearer_to_music_than_to_noise(name):
    embedding = find_embedding(name)
    found = embed(embedding, [*(tune(seed) for seed in range(5)), noise()])
    assert all(each.shape == found[0].shape and each.shape[0] == 1 for each in found)
    assert np.array_equal(embed(embedding, [tune(0)])[0], found[0])  # alone as in a batch
    points = embedding.frame(Points.of(found[:5]))(Points.of(found)).values
    distances = squared_distances(points, points)
    assert distances[:5, 5].min() > 2 * distances[:5, :5].max()


def test_notes_hear_what_is_played_whatever_the_level_and_log_mel_hears_the_level():
    soft = Audio(0.1 * tune().samples, RATE)
    for name, same in (("notes", True), ("log-mel", False)):
        loud, quiet, faster = embed(find_embedding(name), [tune(), soft, tune(notes=9.0)])
        changed, other = np.abs(loud - quiet).max(), np.abs(loud - faster).max()
        assert (changed < 0.02 * other) == same


def test_parts_of_the_notes_weigh_alike():
    embedding = find_embedding("notes")
    points = Points.of(embed(embedding, [tune(seed, notes=2 + seed) for seed in range(6)]))
    spread = embedding.frame(points)(points).values.var(0)
    pitch, harmony, rhythm = (part.sum() for part in np.split(spread, [192, 192 + 13]))
    assert max(pitch, harmony, rhythm) < 3 * min(pitch, harmony, rhythm)


def test_a_clip_of_half_a_second_and_silence_are_no_trouble():
    for name in PLAIN:
        for clip in (tune(seconds=0.5), Audio(torch.zeros(1, RATE), RATE)):
            assert np.isfinite(embed(find_embedding(name), [clip])[0]).all()


@pytest.mark.parametrize(("name", "words"), [("lgo-mel", "did you mean 'log-mel'"), ("vggish", "needs its weights"),
                                             ("log-mel:x", "there is no embedding"), ("vggish:no.onnx", "no no.onnx"),
                                             ("encodec:/no/where", "can't be loaded")])
def test_what_is_not_there_is_said(name, words):
    if name.startswith("encodec"):
        pytest.importorskip("transformers")
    with pytest.raises(UserError, match=words):
        find_embedding(name)


def test_points_by_the_second_are_means():
    frames = torch.arange(10.0)[None].repeat(2, 1)
    assert by_second(frames[:, :8], 4.0)[:, 0].tolist() == [1.5, 5.5] and by_second(frames[:, :1], 4.0).shape == (1, 2)


# Learnt ones: networks that the test makes


def test_encodec_gives_a_point_a_second(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.EncodecConfig(num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=16,
                                        target_bandwidths=[1.5], upsampling_ratios=[8, 5, 4, 2])
    transformers.EncodecModel(config).save_pretrained(tmp_path)
    assert embed(find_embedding(f"encodec:{tmp_path}"), [tune(seconds=3.0)])[0].shape == (3, 8)


def test_mert_and_its_kin_give_a_point_a_second(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                       conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(20, 16),
                                       num_feat_extract_layers=2, num_conv_pos_embeddings=4,
                                       num_conv_pos_embedding_groups=2)
    transformers.HubertModel(config).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(tmp_path)
    embedding = find_embedding(f"mert:{tmp_path}")
    assert embedding.info.sample_rate == 16_000
    assert embed(embedding, [tune(seconds=2.0)])[0].shape == (2, 16)


def test_laion_clap_puts_sound_and_words_in_one_space(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    text = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "projection_dim": 8, "pad_token_id": 1}
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1], "num_attention_heads": [1, 1],
             "num_hidden_layers": 2, "spec_size": 64, "num_mel_bins": 16, "window_size": 4, "projection_dim": 8,
             "patch_size": 4, "patch_stride": [4, 4]}
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    transformers.ClapModel(config).save_pretrained(tmp_path)
    transformers.ClapFeatureExtractor(feature_size=16, sampling_rate=16_000, max_length_s=2,
                                       truncation="rand_trunc").save_pretrained(tmp_path)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[PAD]": 1, "piano": 2, "[UNK]": 3}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]",
                                         unk_token="[UNK]").save_pretrained(tmp_path)
    embedding = find_embedding(f"laion-clap:{tmp_path}")
    sound, written = embed(embedding, [tune(seconds=2.0)])[0], embedding.text(["a piano", "a"])
    assert sound.shape == (1, 8) and written.shape == (2, 8) and embedding.knows_text
    assert np.allclose(np.linalg.norm(np.concatenate([sound, written]), axis=1), 1)


def graph(path, inputs, outputs, nodes, constants):
    """An ONNX file of a few nodes."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    value = lambda name, shape: make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)  # noqa: E731
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    body = make.make_graph([make.make_node(*node[:3], **node[3]) for node in nodes], "g",
                           [value(*i) for i in inputs], [value(*o) for o in outputs], tensors)
    onnx.save(make.make_model(body, opset_imports=[make.make_opsetid("", 13)], ir_version=8), path)


@pytest.mark.parametrize("shape", [["b", 96, 64], ["b", 1, 96, 64], ["b", 96, 64, 1]])
def test_vggish_hears_a_band_for_every_pitch_in_patches_of_096_seconds(tmp_path, shape):
    pytest.importorskip("onnxruntime")
    axis = -2 if shape[-1] == 1 else -1  # here the "network" takes the mean over time
    axes = [len(shape) + axis - 1]
    path = tmp_path / "vggish.onnx"
    graph(path, [("x", shape)], [("y", None)], [("ReduceMean", ["x"], ["m"], {"axes": axes, "keepdims": 0}),
                                                ("Flatten", ["m"], ["y"], {})], {})
    embedding = find_embedding(f"vggish:{path}")
    time = torch.arange(2 * RATE) / RATE
    low, high = (embed(embedding, [Audio(0.5 * torch.sin(2 * torch.pi * f * time), RATE)])[0] for f in (300.0, 4000.0))
    assert low.shape == high.shape == (2, 64)
    assert low.mean(0).argmax() < 15 and 35 < high.mean(0).argmax() < 60


def test_basic_pitch_windows_join_end_to_end(tmp_path):
    pytest.importorskip("onnxruntime")
    # A "transcriber" whose every note is the level of its frame: 172 frames of 256 samples, from the first sample on.
    path = tmp_path / "nmp.onnx"
    graph(path, [("in", ["b", 43_844, 1])], [("note", ["b", 171, 88]), ("onset", ["b", 171, 88]),
                                             ("contour", ["b", 171, 264])],
          [("Slice", ["in", "zero", "end", "one"], ["cut"], {}), ("Abs", ["cut"], ["abs"], {}),
           ("Reshape", ["abs", "shape"], ["frames"], {}),
           ("ReduceMean", ["frames"], ["level"], {"axes": [2], "keepdims": 1}),
           ("Tile", ["level", "notes"], ["note"], {}), ("Tile", ["level", "notes"], ["onset"], {}),
           ("Tile", ["level", "thirds"], ["contour"], {})],
          {"zero": np.array([0]), "end": np.array([171 * 256]), "one": np.array([1]), "shape": np.array([-1, 171, 256]),
           "notes": np.array([1, 1, 88]), "thirds": np.array([1, 1, 264])})
    embedding = find_embedding(f"basic-pitch:{path}")
    ramp = torch.linspace(0, 1, 5 * 22_050)
    notes, _ = embedding.posteriors(ramp)
    assert notes.shape == (-(-len(ramp) // 256), 88)
    assert np.allclose(np.diff(notes[:-2, 0]), 256 / len(ramp), rtol=0.02)  # no frame is lost or doubled at a joint
    assert embedding(ramp).shape == (1, 352)


class EarConfig(ConditionerConfig):
    deaf: bool = False

    def build(self) -> "Ear":
        return Ear(self)


class Ear(Conditioner):
    """A joint embedding of two words: "low" and "high", by what share of a sound's steps turn."""

    fills = frozenset({"vector"})

    def __init__(self, config: EarConfig) -> None:
        super().__init__()
        self.config, self.scale = config, nn.Parameter(torch.ones(1))

    def forward(self, prompts):
        rows = []
        for prompt in prompts:
            if prompt.audio is not None and not self.config.deaf:
                turns = (prompt.audio.diff().sign().diff() != 0).float().mean().item()
            else:
                turns = 1.0 if prompt.text and "high" in prompt.text else 0.0
            rows.append([1 - turns, turns])
        return Conditioning(vector=torch.tensor(rows) * self.scale)


def test_our_own_clap_is_any_model_whose_conditioner_hears_and_reads(tmp_path):
    for name, config in (("clap", EarConfig()), ("deaf", EarConfig(deaf=True))):
        system = SystemConfig(codec=ToyCodecConfig(), conditioner=config).build()
        save_model(system, tmp_path / name, About(name, licence="MIT"))
    embedding = find_embedding(f"clap:{tmp_path / 'clap'}")
    low = Audio(torch.sin(torch.arange(8000) / 50)[None], 8000)
    sounds = np.concatenate(embed(embedding, [low, noise()]))
    likeness = sounds @ embedding.text(["low", "high"]).T
    assert likeness[0, 0] > likeness[0, 1] and likeness[1, 1] > likeness[1, 0]
    with pytest.raises(UserError, match="doesn't hear"):
        find_embedding(f"clap:{tmp_path / 'deaf'}")
    assert json.loads((tmp_path / "clap" / "config.json").read_text())["system"]["conditioner"]["type"] == "EarConfig"


def test_the_table_is_whole():
    assert set(LEARNT) == {"clap", "laion-clap", "encodec", "mert", "vggish", "basic-pitch"}
