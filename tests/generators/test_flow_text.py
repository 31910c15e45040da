"""The flow with prompts: what is asked for comes, nothing else does."""

from dataclasses import replace

import pytest
import torch

from orchestrion.conditioners.attributes import AttributesConfig
from orchestrion.conditioners.text import TextEncoderConfig
from orchestrion.contracts import Batch, Conditioner, Conditioning, Continuous, Edit, Prompt
from orchestrion.errors import UserError
from orchestrion.generators.flow import DiTConfig, FlowConfig, FlowOptions
from orchestrion.objectives.flow_matching import FlowMatchingConfig
from orchestrion.sampling.solvers import adams

SMALL = FlowConfig(net=DiTConfig(width=64, depth=2, heads=2), context=32, overlap=8)
CAPTIONS = ("slow piano", "busy harp")


class Parts:
    codec = None

    def __init__(self, channels=4, flow=SMALL):
        torch.manual_seed(0)
        self.conditioner = TextEncoderConfig(width=32, depth=1, heads=2, vocabulary=64).build()
        self.conditioner.fit([Prompt(text=text) for text in CAPTIONS])
        self.generator = flow.build(Continuous(channels, 20.0), self.conditioner)

    def randomised(self):
        for name, weight in self.generator.named_parameters():
            if "leave" in name or "cross.merge" in name:
                torch.nn.init.normal_(weight, std=0.2)
        self.generator.eval(), self.conditioner.eval()
        return self

    def said(self, *prompts):
        with torch.no_grad():
            return self.conditioner.guided([p if isinstance(p, Prompt) else Prompt(text=p) for p in prompts])


def test_an_untrained_one_doesn_t_hear_the_prompt_yet():
    """Cross-attention opens from zero, so a trained unconditional flow could go on from where it is."""
    parts = Parts()
    torch.nn.init.normal_(parts.generator.net.leave.weight, std=0.2)
    said = parts.said("slow piano").sequence
    x, time, keep = torch.randn(1, 4, 16), torch.tensor([0.5]), torch.zeros(1, 16, dtype=torch.bool)
    with torch.no_grad():
        with_words = parts.generator.velocity(x, time, x, keep, Conditioning(sequence=said))
        without = parts.generator.velocity(x, time, x, keep)
    assert torch.equal(with_words, without)


def test_guidance_is_linear_in_the_velocities():
    """v = v_null + scale·(v_prompt - v_null), from one pass over twice the batch."""
    parts = Parts().randomised()
    said = parts.said("slow piano", "busy harp")
    x, keep = torch.randn(2, 4, 16), torch.zeros(2, 16, dtype=torch.bool)
    with torch.no_grad():
        prompted = parts.generator.guided(x, 0.3, x, keep, said, 1.0)
        null = parts.generator.guided(x, 0.3, x, keep, said.against, 1.0)
        for scale in (0.0, 0.5, 3.0):
            guided = parts.generator.guided(x, 0.3, x, keep, said, scale)
            assert torch.allclose(guided, null + scale * (prompted - null), atol=1e-4)
    assert not torch.allclose(prompted, null)


def test_padding_of_a_longer_prompt_in_the_batch_changes_nothing():
    parts = Parts().randomised()
    alone = parts.generator.sample(40, parts.said("slow"), [5], FlowOptions(steps=2))
    batch = parts.generator.sample(40, parts.said("busy harp slow piano", "slow"), [3, 5], FlowOptions(steps=2))
    assert torch.allclose(batch[1], alone[0], atol=1e-4)


def test_the_null_prompt_against_itself_needs_no_guidance():
    parts = Parts().randomised()
    plain, guided = (parts.generator.sample(32, parts.said(""), [1], FlowOptions(steps=2, cfg_scale=scale))
                     for scale in (1.0, 5.0))
    assert torch.allclose(plain, guided, atol=1e-4)


def test_guidance_in_an_interval_halves_the_cost_outside_it_and_no_slope_is_carried_over_its_ends():
    parts = Parts().randomised()
    rows, evaluate = [], parts.generator.net.forward

    def counted(x, *rest):
        rows.append(len(x))
        return evaluate(x, *rest)

    def made(**options):
        rows.clear()
        return parts.generator.sample(16, parts.said("slow piano"), [1], FlowOptions(steps=4, shift=1.0, **options))

    parts.generator.net.forward = counted
    some = made(cfg_from=0.25, cfg_until=0.75)
    assert rows == [1, 2, 2, 1]
    by_hand = Parts().randomised().generator  # the same weights: a path in three pieces, each begun anew
    said, keep, none = parts.said("slow piano"), torch.zeros(1, 16, dtype=torch.bool), torch.zeros(1, 4, 16)
    x = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    with torch.no_grad():
        for scale, times in ((1.0, [0.0, 0.25]), (3.0, [0.25, 0.5, 0.75]), (1.0, [0.75, 1.0])):
            x = adams(lambda x, t, scale=scale: by_hand.guided(x, t, none, keep, said, scale), x, times)
    assert torch.allclose(some, x, atol=1e-4)
    assert torch.equal(made(cfg_until=0.0), made(cfg_scale=1.0)) and rows == [1] * 4
    made(cfg_until=1.0)
    assert rows == [2] * 4


def test_a_variation_is_guided_too():
    """The interval is a share of the way that is gone, which for a variation begins near the sound."""
    parts, source = Parts().randomised(), torch.randn(1, 4, 16)
    edit = Edit(source, torch.zeros(1, 16, dtype=torch.bool), strength=0.3)
    weak, strong = (parts.generator.sample(16, parts.said("slow piano"), [1], FlowOptions(steps=3, cfg_scale=s), edit)
                    for s in (1.0, 4.0))
    assert not torch.allclose(weak, strong, atol=1e-3)


def test_a_negative_prompt_counts():
    parts = Parts().randomised()
    none, some = (parts.generator.sample(32, parts.said(Prompt("slow piano", negative=negative)), [1],
                                         FlowOptions(steps=2)) for negative in (None, "busy harp"))
    assert not torch.allclose(none, some, atol=1e-2)


def test_a_negative_prompt_counts_where_guidance_is_part_of_the_network_too():
    parts = Parts().randomised()
    parts.generator.config = replace(parts.generator.config, guidance=1.0)
    said = parts.said(Prompt("slow piano", negative="busy harp"))
    alone, usual, led = (parts.generator.sample(32, said if led else parts.said("slow piano"), [1],
                                                FlowOptions(steps=2, cfg_scale=scale))
                         for led, scale in ((False, None), (True, None), (True, 1.5)))
    assert torch.equal(usual, led) and not torch.allclose(usual, alone, atol=1e-2)
    with pytest.raises(UserError, match="above 1"):
        parts.generator.sample(32, said, [1], FlowOptions(cfg_scale=1.0))
    blank = parts.generator.sample(32, parts.said(Prompt("slow piano", negative="  ")), [1], FlowOptions(steps=2))
    assert torch.equal(blank, alone)


def test_dropped_prompts_are_null_prompts():
    parts = Parts()
    parts.conditioner.eval()
    objective = FlowMatchingConfig(dropped=1.0).build(parts)
    dropped = objective.said([Prompt(text=text) for text in CAPTIONS], 2)
    assert torch.equal(dropped.vector, parts.conditioner([Prompt(), Prompt()]).vector)
    kept = FlowMatchingConfig(dropped=0.0).build(parts).said([Prompt(text=text) for text in CAPTIONS], 2)
    assert torch.allclose(kept.vector, parts.said(*CAPTIONS).vector, atol=1e-5)
    assert objective.said([], 3).vector.shape == (3, 32)  # a batch without prompts


def test_numbers_steer_by_the_vector():
    torch.manual_seed(0)
    conditioner = AttributesConfig(names=("tempo",)).build()
    conditioner.fit([Prompt(attributes={"tempo": t}) for t in (60.0, 180.0)])
    generator = SMALL.build(Continuous(4, 20.0), conditioner).eval()
    torch.nn.init.normal_(generator.net.leave.weight, std=0.2)
    torch.nn.init.normal_(generator.net.modulate[1].weight, std=0.2)
    slow, fast = (generator.sample(16, conditioner.guided([Prompt(attributes={"tempo": t})]), [0],
                                   FlowOptions(steps=2)) for t in (60.0, 180.0))
    assert not torch.allclose(slow, fast, atol=1e-3)


def test_refusals():
    class Prefix(Conditioner):
        fills, width = frozenset({"prefix"}), 4

    with pytest.raises(UserError, match="frames or sequence or vector"):
        SMALL.build(Continuous(4, 20.0), Prefix())
    plain = SMALL.build(Continuous(4, 20.0), None).eval()
    with pytest.raises(UserError, match="takes no prompt"):
        plain.sample(8, Conditioning(), [0], FlowOptions(cfg_scale=3.0))
    plain.sample(8, Conditioning(), [0], FlowOptions(cfg_scale=1.0, steps=1))
    against = Parts().said(Prompt("slow piano", negative="busy harp"))
    with pytest.raises(UserError, match="cfg_scale above 1"):
        Parts().generator.sample(8, against, [0], FlowOptions(cfg_scale=1.0))
    with pytest.raises(UserError, match="finite"):
        Parts().generator.sample(8, Conditioning(), [0], FlowOptions(cfg_scale=float("nan")))


def test_two_captions_two_clips():
    """Each of two captions gives its own clip, for any seed, and an unknown word beside it does no harm."""
    parts = Parts(flow=FlowConfig(net=DiTConfig(width=48, depth=1, heads=2), context=12, overlap=4, guidance=1.0))
    clips = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(7)).repeat(1, 1, 12)  # two timbres
    objective = FlowMatchingConfig(beginnings=0.0, spans=0.0).build(parts)
    optimiser = torch.optim.AdamW(objective.groups()["generator"], lr=5e-3)
    batch = Batch(latents=clips.repeat(6, 1, 1), prompts=[Prompt(text=text) for text in CAPTIONS] * 6)
    torch.manual_seed(0)
    for step in range(120):
        for _, terms in objective.losses(batch, step):
            optimiser.zero_grad()
            terms["velocity"].backward()
            optimiser.step()
    parts.generator.eval(), parts.conditioner.eval()
    texts = ("slow piano", "busy harp", "slow zyx piano", "quux busy harp")
    made = parts.generator.sample(12, parts.said(*texts), [11, 12, 13, 14], FlowOptions(steps=8))
    for i, clip in enumerate(made):
        own, other = ((clip - clips[j]).square().mean().item() for j in (i % 2, 1 - i % 2))
        assert own < 0.1 * other, texts[i]
    dull = parts.generator.sample(12, parts.said(""), [1], FlowOptions(steps=4))  # an empty prompt works
    assert dull.isfinite().all()
