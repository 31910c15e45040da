"""Orchestrion: train and play every major family of neural audio generators on one machine.

    import orchestrion as oc
    oc.load("piano").generate(duration=20, seed=1).write("piano.flac")
"""

from typing import TYPE_CHECKING, Any

from orchestrion.memory import keep_freed

__version__ = "0.1.0"
__all__ = ["Audio", "Model", "Prompt", "__version__", "load"]

if TYPE_CHECKING:
    from orchestrion.audio import Audio
    from orchestrion.contracts import Prompt
    from orchestrion.playing import Model

    load = Model.load

keep_freed()


def __getattr__(name: str) -> Any:
    """The public names, imported when first used: `import orchestrion` itself stays quick."""
    if name == "Audio":
        from orchestrion.audio import Audio

        return Audio
    if name == "Prompt":
        from orchestrion.contracts import Prompt

        return Prompt
    if name in ("Model", "load"):
        from orchestrion.playing import Model

        return Model if name == "Model" else Model.load
    raise AttributeError(f"module 'orchestrion' has no attribute {name!r}")
