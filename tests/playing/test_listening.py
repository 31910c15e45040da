"""`embed`, `search`, `label`: a CLAP trained by `train`, saved, loaded and used."""

import json

import pytest
import soundfile
import torch
from safetensors import safe_open

from orchestrion.audio import Audio
from orchestrion.cli import main
from orchestrion.corpus.corpus import Corpus
from orchestrion.evaluation.embeddings import find_embedding
from orchestrion.playing.listening import Listener, search
from plucks import pluck_corpus
from toys import toy_model_folder

RATE = 44_100


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stopped.value.code, said.out, said.err


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return pluck_corpus(tmp_path_factory.mktemp("listening") / "corpus", pieces=3, seconds=2.0, channels=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory, corpus):
    folder = tmp_path_factory.mktemp("clap") / "run"
    with pytest.raises(SystemExit) as stopped:
        main(["train", "clap", "--size", "nano", "--data", str(corpus), "-o", str(folder), "--set", "stages.0.steps=2",
              "--device", "cpu", "--precision", "fp32"])
    assert stopped.value.code == 0
    return folder / "model"


def test_a_trained_clap_is_a_model_like_others(model, capsys):
    code, out, _ = run(capsys, "inspect", model)
    assert code == 0 and "ClapConfig" in out
    assert "feature-extraction" in (model / "README.md").read_text()
    listener = Listener.load(model, "cpu")
    assert listener.clap.text.read("plucked strings") == [1, 3, 4]
    code, _, err = run(capsys, "generate", model, "-d", "1", "-o", "x.wav")
    assert code == 2 and "nothing to generate with" in err


def test_a_sound_is_nearest_to_itself_and_like_itself_at_any_rate(model, corpus, capsys):
    code, out, _ = run(capsys, "search", model, corpus / "audio/1.flac", corpus)
    best, *others = out.splitlines()
    assert code == 0 and best.startswith("+1.000") and best.endswith("1.flac") and len(others) == 2
    listener = Listener.load(model, "cpu")
    clip = Audio.read(corpus / "audio/0.flac")
    again = Audio(clip.samples.repeat(2, 1), RATE).resample(22_050)
    assert listener.hear(clip) @ listener.hear(again) > 0.98


def test_words_and_sounds_are_written_as_points_of_one_space(model, corpus, tmp_path, capsys):
    target = tmp_path / "points.safetensors"
    code, _, _ = run(capsys, "embed", model, corpus / "audio", "--text", "plucked strings", "-o", target)
    with safe_open(target, "pt") as file:
        points, header = file.get_tensor("embeddings"), file.metadata()
    assert code == 0 and points.shape == (4, 32) and json.loads(header["names"])[-1] == "plucked strings"
    assert torch.allclose(points.norm(dim=1), torch.ones(4), atol=1e-5)
    code, out, _ = run(capsys, "embed", model, "--text", "plucked strings")
    assert torch.allclose(torch.tensor(json.loads(out)["embedding"]), points[-1], atol=1e-4)


def test_the_scoreboard_finds_it(model, corpus):
    embedding, listener = find_embedding(f"clap:{model}"), Listener.load(model, "cpu")
    clip = Audio.read(corpus / "audio/0.flac")
    theirs = torch.from_numpy(embedding(clip.samples[0]))[0].float()
    assert theirs @ listener.hear(clip) > 0.999
    assert torch.from_numpy(embedding.text(["plucked strings"]))[0].float() @ listener.read("plucked strings") > 0.999


def test_search_ranks_by_cosine():
    points = torch.eye(4)[[2, 0, 3, 1]]
    found = search(torch.tensor([0.9, 0.4, 0.1, 0.0]), points, list("cadb"), 3)
    assert [f.name for f in found] == ["a", "b", "c"] and found[0].nearness == pytest.approx(0.9)


def test_pieces_without_captions_get_the_nearest(model, corpus, tmp_path, capsys):
    import shutil

    shutil.copytree(corpus, tmp_path / "mute")
    manifest = tmp_path / "mute/manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["caption"] = rows[2]["caption"] = ""
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "captions.txt").write_text("plucked strings\nzyx\n\nplucked strings\n")
    code, out, _ = run(capsys, "label", model, tmp_path / "mute", "--captions", tmp_path / "captions.txt")
    pieces = Corpus.open(tmp_path / "mute").pieces
    listener = Listener.load(model, "cpu")
    points = torch.stack([listener.read(text) for text in ("plucked strings", "zyx")])
    heard = listener.hear(Audio.read(tmp_path / "mute/audio/0.flac"))
    assert code == 0 and "2 of 3 pieces labelled" in out
    assert pieces[0].caption == ("plucked strings", "zyx")[int((points @ heard).argmax())]
    assert pieces[0].facts["captioned_by"] and "captioned_by" not in pieces[1].facts
    code, out, _ = run(capsys, "label", model, tmp_path / "mute", "--captions", corpus)
    assert code == 0 and "0 of 3" in out


def test_mistakes_are_sentences(model, tmp_path, capsys):
    toy_model_folder(tmp_path / "toy")
    for words, sentence in (
        (("embed", model), "nothing to embed"),
        (("embed", tmp_path / "toy", "--text", "x"), "has no CLAP"),
        (("search", model, "x", tmp_path / "nowhere"), "no file or folder"),
        (("search", model, "x", tmp_path / "toy"), "no sound to hear"),
        (("embed", model, "--text", "x", "-o", tmp_path / "x.npy"), ".safetensors"),
    ):
        code, _, err = run(capsys, *words)
        assert code == 2 and sentence in err, words


def test_files_that_cannot_be_heard_are_left_out_and_named(model, tmp_path, capsys):
    soundfile.write(tmp_path / "good.wav", [0.1, -0.1] * RATE, RATE)
    soundfile.write(tmp_path / "empty.wav", [], RATE)
    (tmp_path / "junk.wav").write_bytes(b"no sound")
    code, out, err = run(capsys, "search", model, "plucked strings", tmp_path)
    assert code == 0 and len(out.splitlines()) == 1 and "good.wav" in out
    assert err.count("left out") == 2 and "empty.wav" in err and "junk.wav" in err
    code, _, err = run(capsys, "search", model, "plucked strings", tmp_path / "empty.wav")
    assert code == 2 and "no sound to hear in" in err and "empty.wav" in err


def test_a_query_is_words_or_a_sound_that_is_there(model, corpus, tmp_path, capsys):
    for query, words in (("xyzzy frobnicate", "none of the words"), (" ", "nothing to search for"),
                         ("missing.wav", "no file missing.wav"),
                         (f"{tmp_path}/", "is a folder")):
        code, _, err = run(capsys, "search", model, query, corpus)
        assert code == 2 and words in err
    assert run(capsys, "search", model, 100 * "plucked ", corpus)[0] == 0  # longer than a file's name can be


def test_captions_that_are_no_text_are_refused(model, corpus, capsys):
    code, _, err = run(capsys, "label", model, corpus, "--captions", corpus / "audio/1.flac")
    assert code == 2 and "can't be read as text" in err
