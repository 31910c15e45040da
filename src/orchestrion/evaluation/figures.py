"""From a contender's clips to its figures: every metric of the scoreboard, in one place and one order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from orchestrion.audio import Audio
from orchestrion.contracts import Progress, Prompt
from orchestrion.evaluation import adherence
from orchestrion.evaluation.bootstrap import mean_interval
from orchestrion.evaluation.diversity import measure_diversity
from orchestrion.evaluation.embeddings.embedding import Embedding, embed, in_threads
from orchestrion.evaluation.frechet import measure_frechet
from orchestrion.evaluation.kernel import measure_kernel
from orchestrion.evaluation.manifold import NAMES as MANIFOLD
from orchestrion.evaluation.manifold import measure_manifold
from orchestrion.evaluation.memorisation import TrainingMusic, measure_memorisation
from orchestrion.evaluation.music import music_checks
from orchestrion.evaluation.onsets import match, onset_times
from orchestrion.evaluation.points import Points
from orchestrion.evaluation.reconstruction import DISTANCES
from orchestrion.evaluation.scoreboard import Measured, MetricInfo
from orchestrion.evaluation.signals import mono
from orchestrion.evaluation.transcription import note_f1

TWO_BARS = 8.0  # seconds, below which no bar can be heard to come back
PAIRS = 16  # reconstructions that are compared with their originals
PLAYING, RECONSTRUCTION, ORIGINALITY, PROMPT = "playing", "reconstruction", "originality", "prompt"

MANIFOLD_MEANING = {
    "precision": "share of made clips that lie among real ones",
    "recall": "share of real clips that lie among made ones",
    "density": "how deep among real ones made clips lie",
    "coverage": "share of real clips with a made one beside them",
}


def likeness_metrics(embedding: Embedding) -> list[MetricInfo]:
    """The figures of one embedding, named as `Judge` names them."""
    name = embedding.info.name
    group = f"likeness: {name}"
    unit = "deviations²" if embedding.info.standardise else "embedding²"
    made = [MetricInfo(f"FAD {name}", unit, "lower", group, "Fréchet distance to the reference, for large samples"),
            MetricInfo(f"FAD∞ {name}", unit, "lower", group, "the same, extrapolated to infinitely many clips"),
            MetricInfo(f"KAD {name}", "x 100", "lower", group, "kernel distance to the reference, unbiased")]
    made += [MetricInfo(f"{each} {name}", "ratio", "higher", group, MANIFOLD_MEANING[each]) for each in MANIFOLD]
    made.append(MetricInfo(f"diversity {name}", "ratio", "nearer", group, "0: all the same, 1: as unlike as real"))
    if embedding.knows_text:
        made.append(MetricInfo(f"{name} score", "cosine", "higher", PROMPT, "likeness of a clip to its caption"))
    return made


PLAYING_METRICS = (
    MetricInfo("onset rate", "1/s", "nearer", PLAYING, "notes or chords begun"),
    MetricInfo("spectral flatness", "ratio", "nearer", PLAYING, "0 for pure tones, 0.85 for white noise"),
    MetricInfo("chroma entropy", "bit", "nearer", PLAYING, "how many pitch classes sound together"),
    MetricInfo("pulse clarity", "ratio", "nearer", PLAYING, "how steady a beat is heard"),
    MetricInfo("bar similarity", "ratio", "nearer", PLAYING, "whether what was played a bar ago comes back"),
    MetricInfo("level spread", "dB", "nearer", PLAYING, "how far sound falls between its notes"),
)
RECONSTRUCTION_METRICS = (
    MetricInfo("log-mel L1", "neper", "lower", RECONSTRUCTION),
    MetricInfo("STFT 512-16384", "neper + ratio", "lower", RECONSTRUCTION, "mean over six windows"),
    MetricInfo("STFT 16384", "neper + ratio", "lower", RECONSTRUCTION, "the longest window alone"),
    MetricInfo("constant-Q L1", "neper", "lower", RECONSTRUCTION, "hears whether notes are kept"),
    MetricInfo("spectral convergence", "ratio", "lower", RECONSTRUCTION),
    MetricInfo("SI-SDR", "dB", "higher", RECONSTRUCTION, "hears absolute phase"),
    MetricInfo("onset F1", "ratio", "higher", RECONSTRUCTION, "attacks found again within 50 ms"),
    MetricInfo("note F1", "ratio", "higher", RECONSTRUCTION, "notes found again by a transcriber, onsets within 50 ms"),
    MetricInfo("latents a second", "1/s", "lower", RECONSTRUCTION, "numbers or tokens"),
    MetricInfo("bitrate", "kbit/s", "lower", RECONSTRUCTION, "16 bits a number, log2 of the codebook a token"),
)
ORIGINALITY_METRICS = (
    MetricInfo("nearest training passage", "1 - correlation", "nearer", ORIGINALITY, "median over clips: 0 is a copy"),
    MetricInfo("copied", "ratio", "lower", ORIGINALITY, "share of clips nearer to it than any held-out clip"),
)


def adherence_metrics() -> list[MetricInfo]:
    names = ["all", *(attribute.name for attribute in adherence.ATTRIBUTES)]
    return [MetricInfo(adherence.metric_name(name), "-1 to 1", "higher", PROMPT, "0: no better than another's prompt")
            for name in names]


@dataclass(frozen=True)
class Clips:
    """What a contender is judged by. Every sound mono at one rate, all equally long.

    groups: the piece that each comes from, None where each stands alone. prompts: what each was made for, or,
    for real clips, what is known of them. originals: what each reconstructs.
    """

    audio: list[Audio]
    groups: Sequence[int] | None = None
    prompts: Sequence[Prompt] | None = None
    originals: list[Audio] | None = None
    embedded: Mapping[str, list[np.ndarray]] = field(default_factory=dict)  # by embedding, where it is known


class Judge:
    """Holds the reference side of every metric and gives each contender its figures."""

    def __init__(self, reference: Clips, embeddings: Sequence[Embedding], training: TrainingMusic | None = None,
                 asked: Sequence[str] = ()) -> None:
        """asked: the attributes by which adherence is judged."""
        self.embeddings, self.training, self.asked = list(embeddings), training, list(asked)
        self.transcriber = next((embedding for embedding in self.embeddings if embedding.hears_notes), None)
        self.frames, self.points = {}, {}
        for embedding in self.embeddings:
            points = Points.of(self._embedded(embedding, reference), reference.groups)
            self.frames[embedding.info.name] = embedding.frame(points)
            self.points[embedding.info.name] = self.frames[embedding.info.name](points)
        self.rate = reference.audio[0].sample_rate
        self.real_distances = self._training_distances(reference) if training else np.zeros(0)

    def metrics(self) -> list[MetricInfo]:
        likeness = [metric for embedding in self.embeddings for metric in likeness_metrics(embedding)]
        return [*likeness, *PLAYING_METRICS, *ORIGINALITY_METRICS, *adherence_metrics(), *RECONSTRUCTION_METRICS]

    def judge(self, clips: Clips, progress: Progress | None = None) -> list[Measured]:
        """Everything but adherence and reconstruction, which need not be asked of every contender."""
        figures: list[Measured] = []
        for i, embedding in enumerate(self.embeddings):
            figures += self.likeness(embedding, clips)
            if progress:
                progress((i + 1) / (len(self.embeddings) + 2))
        figures += playing(clips)
        if self.training:
            figures += measure_memorisation(self._training_distances(clips), self.real_distances, clips.groups)
        return figures

    def likeness(self, embedding: Embedding, clips: Clips) -> list[Measured]:
        name = embedding.info.name
        reference = self.points[name]
        made = self.frames[name](Points.of(self._embedded(embedding, clips), clips.groups))
        return [*measure_frechet(reference, made, (f"FAD {name}", f"FAD∞ {name}")),
                *measure_kernel(reference, made, f"KAD {name}"),
                *measure_manifold(reference, made, tuple(f"{each} {name}" for each in MANIFOLD)),
                *measure_diversity(reference, made, f"diversity {name}")]

    def restores(self, clips: Clips) -> list[Measured]:
        """How near reconstructions are to their originals."""
        return reconstruction(clips, transcriber=self.transcriber)

    def follows(self, clips: Clips, prompts: Sequence[Prompt] | None = None) -> list[Measured]:
        """How well clips follow their prompts, or others that are given instead."""
        prompts = prompts or clips.prompts
        assert prompts is not None
        figures: list[Measured] = []
        if self.asked:
            heard = in_threads(lambda clip: adherence.hear(clip.samples, clip.sample_rate, self.asked), clips.audio)
            figures += adherence.measure_adherence([prompt.attributes for prompt in prompts], heard, clips.groups)
        for embedding in self.embeddings:
            if embedding.knows_text and all(prompt.text for prompt in prompts):
                figures.append(text_score(embedding, self._embedded(embedding, clips), prompts, clips.groups))
        return figures

    def _embedded(self, embedding: Embedding, clips: Clips) -> list[np.ndarray]:
        known = clips.embedded.get(embedding.info.name)
        return known if known is not None else embed(embedding, clips.audio)

    def _training_distances(self, clips: Clips) -> np.ndarray:
        assert self.training is not None
        return self.training.distances([clip.samples for clip in clips.audio], clips.audio[0].sample_rate)


def text_score(embedding: Embedding, embedded: Sequence[np.ndarray], prompts: Sequence[Prompt],
               groups: Sequence[int] | None) -> Measured:
    """Mean cosine of clips (the mean of their windows) and their captions."""
    heard = _unit(np.stack([each.mean(0) for each in embedded]))
    words = _unit(embedding.text([prompt.text or "" for prompt in prompts]))
    cosines = (heard * words).sum(1)
    return Measured(f"{embedding.info.name} score", float(cosines.mean()), *mean_interval(cosines, groups))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def playing(clips: Clips) -> list[Measured]:
    """Medians over clips of the music checks."""
    checks = in_threads(lambda clip: music_checks(clip.samples, clip.sample_rate), clips.audio)
    names = [name for name in checks[0] if name != "bar similarity" or clips.audio[0].duration >= TWO_BARS]
    return [_median(name, [check[name] for check in checks], clips.groups) for name in names]


def _median(name: str, values: Sequence[float], groups: Sequence[int] | None) -> Measured:
    centre: Callable[[np.ndarray], float] = lambda rows: float(np.median(rows))  # noqa: E731
    return Measured(name, centre(np.asarray(values)), *mean_interval(values, groups, centre=centre))


def reconstruction(clips: Clips, pairs: int = PAIRS, transcriber: Embedding | None = None) -> list[Measured]:
    """Means over the first clips of every distance to their originals; note F1 where there is a transcriber."""
    assert clips.originals is not None
    count = min(pairs, len(clips.audio))
    wanted = {metric.name for metric in RECONSTRUCTION_METRICS}

    def one(pair: tuple[Audio, Audio]) -> dict[str, float]:
        original, made = pair
        found = {figure.name: figure.value for metric in DISTANCES for figure in
                 metric([original.samples], [made.samples], original.sample_rate)}
        ours, theirs = (onset_times(mono(clip.samples), clip.sample_rate).tolist() for clip in (made, original))
        found = {name: value for name, value in found.items() if name in wanted} | {"onset F1": match(ours, theirs)[2]}
        if transcriber:
            found["note F1"] = note_f1(transcriber.heard(made), transcriber.heard(original))
        return found

    rows = in_threads(one, list(zip(clips.originals[:count], clips.audio[:count])))
    groups = clips.groups[:count] if clips.groups is not None else None
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return [Measured(name, float(np.mean(values)), *mean_interval(values, groups)) for name, values in columns.items()]


def beside_itself(clips: Clips, transcriber: Embedding | None = None) -> list[Measured]:
    """The ceiling of reconstruction: what the distances give for nothing changed. Endless SI-SDR is left out."""
    same = reconstruction(replace(clips, originals=clips.audio), pairs=1, transcriber=transcriber)
    return [figure for figure in same if figure.metric != "SI-SDR"]


def beside_the_ends(figures: Sequence[Measured], ceiling: Sequence[Measured],
                    floor: Sequence[Measured]) -> list[Measured]:
    """Adds the warning that a figure's interval spans more than half of the way from the ceiling to the floor."""
    tops, bottoms = ({figure.metric: figure.value for figure in figures} for figures in (ceiling, floor))
    judged = []
    for figure in figures:
        if figure.low is not None and figure.high is not None and {figure.metric} <= tops.keys() & bottoms.keys():
            way = abs(tops[figure.metric] - bottoms[figure.metric])
            if figure.high - figure.low > way / 2:
                warning = "too few clips to tell: the interval spans more than half of the way from real to noise"
                figure = replace(figure, warning=f"{figure.warning}; {warning}" if figure.warning else warning)
        judged.append(figure)
    return judged
