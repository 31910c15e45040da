import pytest

from orchestrion.config import Config
from orchestrion.contracts import ObjectiveConfig
from orchestrion.objectives.reconstruction import ReconstructionConfig
from orchestrion.systems.system import Recipe, Stage, SystemConfig
from plucks import pluck_corpus
from toys import ToyCodecConfig


class Quiet:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[int] = []
        self.figures: list[dict[str, float]] = []

    def stage(self, stage: Config, step: int) -> None:
        self.said.append(f"{stage.name} from {step}")

    def step(self, step: int, figures: dict[str, float]) -> None:
        self.steps.append(step)
        self.figures.append(figures)

    def encoding(self, share: float) -> None:
        self.said.append(f"latents {share:.0%}")

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture
def quiet():
    return Quiet()


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory):
    return pluck_corpus(tmp_path_factory.mktemp("plucks") / "corpus", sample_rate=8000, seconds=3.0)


def toy_recipe(steps: int = 6, objective: ObjectiveConfig | None = None) -> Recipe:
    # without `partials` no weight has a gradient so near 0 that the order of a sum decides its sign, and Adam its step
    objective = objective or ReconstructionConfig(windows=(256,), mels=16, mel_window=256, partials=0.0)
    stage = Stage(name="codec", trains="codec", objective=objective, crop=0.5, batch=4, steps=steps,
                  learning_rate=1e-2, warmup=2, fit=True)
    return Recipe(system=SystemConfig(codec=ToyCodecConfig()), stages=(stage,))
