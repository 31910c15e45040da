"""Compare, end to end, on toys: floors, ceilings, prompts, going on after a kill, and the page in a browser."""

import dataclasses
import json
import math
import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
import torch

from orchestrion.audio import Audio
from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.corpus.corpus import Corpus, Piece
from orchestrion.errors import UserError
from orchestrion.evaluation.clips import halves
from orchestrion.evaluation.comparing import CompareOptions, compare
from orchestrion.evaluation.making import Shelf
from orchestrion.evaluation.markdown import markdown
from orchestrion.evaluation.report import write_report
from orchestrion.evaluation.scoreboard import Curve, Kind, read_scoreboard
from orchestrion.playing.model import Model
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import SystemConfig
from plucks import pluck_tune
from toys import ToyCodecConfig, ToyGeneratorConfig, toy_model_folder

RATE, SECONDS = 8000, 5.0


class AskedConfig(ConditionerConfig):
    def build(self) -> "Asked":
        return Asked()


class Asked(Conditioner):
    """Hears what is asked, and nobody listens to it."""

    fills = frozenset({"vector"})

    def forward(self, prompts):
        return Conditioning(vector=torch.tensor([[prompt.attributes.get("density", 0.0)] for prompt in prompts]))


OPTIONS = CompareOptions(clips=8, seconds=1.5, shown=2, cost=False, training_hours=1.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio").mkdir()
    (folder / "corpus.json").write_text(json.dumps({"name": "plucks", "sample_rate": RATE, "channels": 2}))
    pieces = []
    for i in range(8):
        density, split = 1.5 + 0.6 * i, "train" if i < 2 else "test" if i % 2 else "validation"
        sf.write(folder / f"audio/{i}.flac", pluck_tune(SECONDS, RATE, i, density).T, RATE)
        pieces.append(Piece(f"audio/{i}.flac", SECONDS, split, f"pluck {i}", {"density": density}, f"song/{i}"))
    (folder / "manifest.jsonl").write_text("".join(piece.to_json() + "\n" for piece in pieces))
    return Corpus.open(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    toy_model_folder(folder / "toy")
    prompted = SystemConfig(codec=ToyCodecConfig(), generator=ToyGeneratorConfig(), conditioner=AskedConfig()).build()
    save_model(prompted, folder / "prompted", About("prompted", licence="MIT"))
    save_model(SystemConfig(codec=ToyCodecConfig(latents=16)).build(), folder / "codec", About("codec", licence="MIT"))
    return [str(folder / name) for name in ("toy", "prompted", "codec")]


@pytest.fixture(scope="module")
def made(corpus, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    board = compare(models, corpus, folder, Model.load, OPTIONS, ["orchestrion compare toy"])
    line = Curve("stage", "loss", (0, 50, 100), (4.0, 1.0, 0.5))
    contenders = tuple(dataclasses.replace(c, curves=(line,)) if c.kind == Kind.MODEL else c for c in board.contenders)
    board = dataclasses.replace(board, contenders=contenders)
    return board, folder, write_report(board, folder)


def test_every_figure_stands_between_a_floor_and_a_ceiling(made):
    board = made[0]
    names = {c.name: c for c in board.contenders}
    assert [c.name for c in board.of_kind(Kind.MODEL)] == ["toy", "prompted"]
    assert {"real", "codec", "codec of toy", "untrained toy", "noise", "silence", "shuffled captions"} <= names.keys()
    assert len(board.of_kind(Kind.CODEC)) == 2  # toy's and prompted's are one
    assert {c.count for c in board.contenders} == {8}
    for metric in board.metrics:
        of = {c.kind for c in board.contenders if c.figure(metric.name)}
        if metric.name in ("latents a second", "bitrate", "SI-SDR"):
            continue
        ceiling, floors = {Kind.REAL}, {Kind.NOISE, Kind.SILENCE, Kind.SHUFFLED}
        assert of & ceiling and of & floors, metric.name
    assert names["codec"].figure("bitrate").value == pytest.approx(16 * 16 * 80 / 1000)


def test_only_models_that_take_prompts_are_judged_by_them(made):
    contenders = {c.name: c for c in made[0].contenders}
    followed = {name for name, c in contenders.items() if c.figure("adherence: density")}
    assert followed == {"real", "shuffled captions", "prompted"}
    real, shuffled = (contenders[name].figure("adherence: density").value for name in ("real", "shuffled captions"))
    assert real > 0.7 > 0.3 > shuffled
    assert contenders["prompted"].clips[0].prompt.startswith("pluck ") and contenders["toy"].clips[0].prompt is None


def test_few_clips_are_warned_of(made):
    board = made[0]
    assert "8 clips a side" in board.of_kind(Kind.MODEL)[0].figure("FAD log-mel").warning
    assert "⁽1⁾" in markdown(board) and "1. " in markdown(board)


def test_the_board_comes_back_from_its_file(made):
    board, folder, written = made
    assert read_scoreboard(folder / "scoreboard.json") == board
    assert {path.name for path in written} == {"index.html", "scoreboard.json", "scoreboard.md"}
    for contender in board.contenders:
        files = [path for clip in contender.clips for path in (clip.audio, clip.spectrogram)]
        assert all((folder / path).is_file() for path in files)


@pytest.mark.slow
def test_a_second_run_goes_on_and_finds_the_same(made, corpus, models, tmp_path):
    board, folder, _ = made
    shutil.copytree(folder, tmp_path / "again")
    lost = tmp_path / "again" / "clips" / "toy" / "0003.flac"
    kept = tmp_path / "again" / "clips" / "toy" / "0004.flac"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    again = compare(models[:1], corpus, tmp_path / "again", Model.load, OPTIONS)
    assert lost.exists() and kept.stat().st_mtime_ns == before
    figures = {c.name: c.figures for c in again.contenders}
    assert figures["toy"] == next(c.figures for c in board.contenders if c.name == "toy")


def test_fewer_clips_than_are_to_be_shown_are_all_shown(corpus, models, tmp_path):
    options = dataclasses.replace(OPTIONS, seconds=4.5, shown=8)
    board = compare(models[:1], corpus, tmp_path, Model.load, options, [])
    assert {(contender.count, len(contender.clips)) for contender in board.contenders} == {(3, 3)}


def test_a_shelf_makes_what_is_missing_and_empties_itself_for_another_key(tmp_path):
    asked = []

    def make(numbers):
        asked.extend(numbers)
        return [Audio(torch.full((1, 100), 0.1 * number), RATE) for number in numbers]

    Shelf(tmp_path / "s", "a").fill(3, make)
    Shelf(tmp_path / "s", "a").path(1).unlink()
    Shelf(tmp_path / "s", "a").fill(5, make)
    assert asked == [0, 1, 2, 1, 3, 4]
    Shelf(tmp_path / "s", "b").fill(1, make)
    assert asked[-1] == 0 and len(list((tmp_path / "s").glob("*.flac"))) == 1
    assert Shelf(tmp_path / "s", "b").read(1)[0].samples.abs().max() == 0


def test_what_cannot_be_compared_is_refused(corpus, models, tmp_path):
    with pytest.raises(UserError, match="at least 8"):
        compare(models[:1], corpus, tmp_path, Model.load, dataclasses.replace(OPTIONS, clips=4))
    with pytest.raises(UserError, match="no embedding"):
        compare(models[:1], corpus, tmp_path, Model.load, dataclasses.replace(OPTIONS, embeddings=("x",)))
    with pytest.raises(UserError, match="no two pieces"):
        compare(models[:1], corpus, tmp_path, Model.load, dataclasses.replace(OPTIONS, seconds=6.0))


def test_halves_share_no_piece_and_take_as_many_clips_of_each(corpus):
    found = halves(corpus, 6, 1.0)
    reference, real = ({clip.source for clip in side} for side in (found.reference, found.real))
    assert not reference & real and len(found.reference) == len(found.real) == 6 and found.note is None
    assert not {clip.piece.split for clip in found.reference + found.real} & {"train"}
    assert all(sum(clip.source == source for clip in found.real) == 2 for source in real)
    assert len({(clip.source, clip.start) for clip in found.real}) == 6
    few = halves(corpus, 100, 1.0)
    assert len(few.real) == 15 and "fewer than the 100" in few.note


def test_a_corpus_with_nothing_held_out_says_so(corpus):
    train = dataclasses.replace(corpus, pieces=tuple(p for p in corpus.pieces if p.split == "train"))
    assert "flatter" in halves(train, 2, 1.0).note
    one = dataclasses.replace(corpus, pieces=tuple(p for p in corpus.pieces if p.path == "audio/3.flac"))
    found = halves(one, 2, 1.0)
    assert "only one piece" in found.note and max(c.start for c in found.reference) < min(c.start for c in found.real)


# The page


def test_the_page_holds_everything_itself(made):
    page = made[2][0].read_text()
    for lure in ("http:", "https:", "//cdn", 'src="clips', "<script", "url("):
        assert lure not in page
    assert page.count("data:audio/") == page.count("<audio") == sum(len(c.clips) for c in made[0].contenders)
    assert page.count("data:image/png") == page.count("<img")
    assert "orchestrion compare toy" in page and "<polyline" in page


def browser():
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(browser() is None, reason="no chromium here: `apt-get install chromium` to test the page in it")
def test_a_browser_shows_it_with_no_network_and_hears_its_clips(made, tmp_path):
    """Every picture has its size and every player its length, once the page is loaded from disk."""
    page = tmp_path / "probe.html"
    probe = """<script>addEventListener('load', () => { const players = [...document.querySelectorAll('audio')];
    const ready = () => players.every(p => p.readyState > 0);
    const tell = () => { const d = document.createElement('p'); d.id = 'verdict';
      d.textContent = JSON.stringify({players: players.length, seconds: players.map(p => p.duration),
        pictures: [...document.images].map(i => i.naturalWidth), rows: document.querySelectorAll('tbody tr').length,
        errors: players.filter(p => p.error).length, overflow: document.body.scrollWidth > innerWidth + 1});
      document.body.append(d); };
    let turns = 0;
    const wait = setInterval(() => { if (ready() || turns++ > 80) { clearInterval(wait); tell(); } }, 50);
    });</script>"""
    page.write_text(made[2][0].read_text().replace("</body>", probe + "</body>"))
    run = subprocess.run([browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                          "--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}",
                          "--window-size=1400,1000", "--virtual-time-budget=8000", "--dump-dom", page.as_uri()],
                         capture_output=True, text=True, timeout=120)
    verdict = run.stdout.partition('<p id="verdict">')[2].partition("</p>")[0]
    assert verdict, run.stderr[-2000:]
    found = json.loads(verdict)
    clips = sum(len(c.clips) for c in made[0].contenders)
    assert found["players"] == clips and found["errors"] == 0
    assert all(seconds == pytest.approx(1.5, abs=0.2) for seconds in found["seconds"])  # mp3 pads a little
    assert found["pictures"] == [320] * clips and found["rows"] > 20 and not found["overflow"]


def test_untrained_differs_from_trained_and_is_the_same_twice(models):
    from orchestrion.evaluation.player import untrained

    player = Model.load(models[1])
    with torch.no_grad():
        player.system.generator.net.weight.add_(1.0)
    first, again = untrained(player), untrained(player)
    assert torch.equal(first.system.generator.net.weight, again.system.generator.net.weight)
    assert not torch.equal(first.system.generator.net.weight, player.system.generator.net.weight)
    assert torch.equal(first.system.codec.up.weight, player.system.codec.up.weight)
    audio = first.generate_batch([Prompt(text="x")], 1.0, [0])[0]
    assert np.isfinite(audio.samples).all()


@pytest.mark.parametrize(("wrong", "said"), [
    ({"shown": -1}, "--shown is a number of clips from 0"), ({"training_hours": math.nan}, "--training-hours"),
    ({"training_hours": -1.0}, "--training-hours"), ({"clips": 7}, "at least 8"), ({"seconds": math.nan}, "1 to 60"),
])
def test_options_that_cannot_be_meant_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(OPTIONS, **wrong).check()
