"""A codec's own named losses, weighted: for one whose `forward` says all that it is to learn."""

from collections.abc import Iterator

from torch import Tensor, nn

from orchestrion.contracts import Batch, Codec, Objective, ObjectiveConfig, Parts


class NamedLossesConfig(ObjectiveConfig):
    weights: dict[str, float]  # by the names of the codec's losses

    def build(self, parts: Parts) -> "NamedLosses":
        return NamedLosses(self, parts.codec)


class NamedLosses(Objective):
    def __init__(self, config: NamedLossesConfig, codec: Codec) -> None:
        super().__init__()
        self.weights, self.codec = dict(config.weights), (codec,)  # in a tuple: it is saved elsewhere

    def groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": [p for p in self.codec[0].parameters() if p.requires_grad]}

    def losses(self, batch: Batch, step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        assert batch.audio is not None
        yield "codec", self.codec[0](batch.audio).losses
