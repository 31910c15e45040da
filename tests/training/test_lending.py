"""`--from`, several times: a CLAP and a vocoder go into AudioLDM, each in its place."""

import pytest
import torch

import orchestrion.systems  # noqa: F401  (fills the table)
from orchestrion.conditioners.text_clap import PretrainedClapConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError
from orchestrion.systems.folder import About, save_model
from orchestrion.systems.system import find_system
from orchestrion.training.lending import begin_with


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Folders of a CLAP, a vocoder, and a model over mel images alone."""
    folder, found = tmp_path_factory.mktemp("sources"), {}
    for seed, name in enumerate(("clap", "hifigan", "audio-diffusion")):
        torch.manual_seed(seed)
        system = find_system(name).recipe("nano").system.build()
        if name == "clap":
            system.conditioner.fit([Prompt(text="slow harp")])
        found[name] = str(save_model(system, folder / name, About(name)))
    return found


def test_a_clap_and_a_vocoder_each_save_a_stage(sources):
    recipe = find_system("audioldm").recipe("nano")
    start = begin_with([sources["clap"], sources["hifigan"]], recipe)
    adopted = start.adopt(recipe)
    assert [stage.name for stage in adopted.stages] == ["vae", "diffusion"]
    system = adopted.system.build()
    assert start.give(system) == {"conditioner"}
    for name, part in (("clap", system.conditioner), ("hifigan", system.codec.image)):
        source = next(s.source for s in (start.first, *start.others) if s.folder.name == name)
        theirs = (source.conditioner if name == "clap" else source.codec).state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in part.state_dict().items())
    assert system.conditioner.text.tokeniser is not None


def test_a_vocoder_takes_the_place_of_phase_recovery(sources):
    """The whole codec of audio-diffusion is the vocoder's; of the latent one, the autoencoder stays to be trained."""
    recipe, codec = find_system("audio-diffusion").recipe("nano"), find_system("hifigan").recipe("nano").system.codec
    adopted = begin_with([sources["hifigan"]], recipe).adopt(recipe)
    assert adopted.stages == recipe.stages and adopted.system.codec == codec
    recipe = find_system("latent-audio-diffusion").recipe("nano")
    adopted = begin_with([sources["hifigan"]], recipe).adopt(recipe)
    assert adopted.stages == recipe.stages and adopted.system.codec.vae == recipe.system.codec.vae
    assert adopted.system.codec.image == codec


def test_a_published_clap_is_named_not_copied():
    recipe = find_system("audioldm").recipe("nano")
    adopted = begin_with(["laion:laion/larger_clap_music"], recipe).adopt(recipe)
    assert adopted.system.conditioner == PretrainedClapConfig(weights="laion/larger_clap_music")
    assert [stage.name for stage in adopted.stages] == ["vae", "vocoder", "diffusion"]
    assert adopted.system.build().generator.net.vector == 512


def test_other_sources_lend_their_codec_as_before(sources):
    recipe = find_system("clap").recipe("nano")
    assert begin_with([sources["clap"]], recipe).adopt(recipe).stages == recipe.stages
    start = begin_with([sources["audio-diffusion"]], find_system("audio-diffusion").recipe("nano"))
    assert type(start).__name__ == "Start"


@pytest.mark.parametrize(("system", "names", "words"), [
    ("audioldm", ("clap", "clap"), "both bring the same part"),
    ("audioldm", ("audio-diffusion", "audio-diffusion"), "both bring a codec of their own"),
    ("audio-diffusion", ("hifigan", "audio-diffusion"), "both bring a codec of their own"),
    ("hifigan", ("clap",), "has no HifiGan, which is all that this system trains"),
    ("clap", ("hifigan",), "has no Clap, which is all that this system trains"),
    ("flow", ("clap",), "hears and makes no sound, so it has no codec for a Flow"),
])
def test_what_gives_nothing_to_begin_with_is_refused(sources, system, names, words):
    recipe = find_system(system).recipe("nano")
    with pytest.raises(UserError, match=words):
        begin_with([sources[name] for name in names], recipe).adopt(recipe)
    with pytest.raises(UserError, match="wants a name"):
        begin_with(["laion:"], recipe)


def test_the_order_of_sources_does_not_matter(sources):
    recipe = find_system("audioldm").recipe("nano")
    one, other = (begin_with([sources[name] for name in names], recipe).adopt(recipe)
                  for names in (("audio-diffusion", "clap"), ("clap", "audio-diffusion")))
    assert one == other
