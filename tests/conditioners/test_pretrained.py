"""T5 and CLAP by transformers, on tiny random models that lie in a folder."""

import sys

import pytest
import torch

from orchestrion.conditioners.text_clap import PretrainedClapConfig
from orchestrion.conditioners.text_t5 import T5TextConfig
from orchestrion.contracts import Prompt
from orchestrion.errors import UserError

WORDS = ["<pad>", "</s>", "<unk>", "<s>", "<mask>", "slow", "fast", "piano", "harp"]


def save_tokeniser(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokeniser = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()
    tokeniser.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=tokeniser, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
                                   bos_token="<s>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    from transformers import T5Config, T5EncoderModel

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    T5EncoderModel(T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                            is_encoder_decoder=False)).save_pretrained(folder)
    save_tokeniser(folder)
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory):
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor

    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 80, "projection_dim": 24, "pad_token_id": 0}
    sound = {"spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "window_size": 2,
             "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
             "projection_dim": 24, "num_classes": 4}
    ClapModel(ClapConfig(text_config=text, audio_config=sound, projection_dim=24)).save_pretrained(folder)
    ears = ClapFeatureExtractor(feature_size=16, max_length_s=2, hop_length=480, truncation="rand_trunc")
    ClapProcessor(feature_extractor=ears, tokenizer=save_tokeniser(folder)).save_pretrained(folder)
    return folder


def test_t5_gives_what_transformers_gives(t5):
    from transformers import AutoTokenizer, T5EncoderModel

    made = T5TextConfig(weights=str(t5), width=16).build()([Prompt(text="slow piano"), Prompt(text="harp")])
    tokens = AutoTokenizer.from_pretrained(t5)("slow piano", return_tensors="pt")
    with torch.no_grad():
        expected = T5EncoderModel.from_pretrained(t5).eval()(input_ids=tokens["input_ids"]).last_hidden_state
    assert made.sequence.shape == (2, 3, 16) and made.mask.sum(1).tolist() == [3, 2]
    assert torch.allclose(made.sequence[0], expected[0], atol=1e-5) and not made.sequence.requires_grad


def test_a_null_prompt_has_no_words_and_needs_no_weights():
    made = T5TextConfig(weights="/nowhere", width=16).build()([Prompt(), Prompt(text=" ")])
    assert not made.mask.any() and made.sequence.shape == (2, 1, 16)


def test_a_null_prompt_is_null_in_a_batch_too(t5):
    made = T5TextConfig(weights=str(t5), width=16).build().guided([Prompt("slow piano"), Prompt()])
    assert made.mask.any(1).tolist() == [True, False] and not made.against.mask.any()
    assert made.sequence[1].abs().sum() == 0


def test_the_weights_stay_where_they_are(t5):
    conditioner = T5TextConfig(weights=str(t5), width=16).build()
    conditioner([Prompt(text="slow")])
    assert not conditioner.state_dict() and not list(conditioner.parameters())


def test_a_flow_attends_to_t5(t5):
    from orchestrion.contracts import Continuous
    from orchestrion.generators.flow import DiTConfig, FlowConfig, FlowOptions

    torch.manual_seed(0)
    conditioner = T5TextConfig(weights=str(t5), width=16).build()
    flow = FlowConfig(net=DiTConfig(width=16, depth=1, heads=2), context=16, overlap=4).build(
        Continuous(4, 20.0), conditioner).eval()
    for name, weight in flow.named_parameters():
        if "leave" in name or "cross.merge" in name:
            torch.nn.init.normal_(weight)
    slow, null = (flow.sample(8, conditioner.guided([prompt]), [0], FlowOptions(steps=2))
                  for prompt in (Prompt(text="slow piano"), Prompt()))
    assert null.isfinite().all() and not torch.allclose(slow, null)


def test_clap_gives_what_transformers_gives_for_words_and_sound(clap):
    from transformers import ClapModel, ClapProcessor

    conditioner = PretrainedClapConfig(weights=str(clap), width=24).build()
    audio = 0.1 * torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
    made = conditioner([Prompt(text="slow harp"), Prompt(audio=audio), Prompt()]).vector
    model, processor = ClapModel.from_pretrained(clap).eval(), ClapProcessor.from_pretrained(clap)
    with torch.no_grad():
        heard = model.get_audio_features(**processor.feature_extractor(
            [audio[0].numpy()], sampling_rate=48_000, return_tensors="pt"))
    heard = heard if isinstance(heard, torch.Tensor) else heard.pooler_output
    assert torch.allclose(made[:2].norm(dim=1), torch.ones(2), atol=1e-5) and made[2].abs().sum() == 0
    assert torch.cosine_similarity(made[1], heard[0], dim=0) > 0.9999
    assert not conditioner.state_dict()


def test_what_both_say_is_taken_from_the_preferred(clap):
    both = Prompt(text="slow harp", audio=torch.randn(1, 48_000))
    words, sound = (PretrainedClapConfig(weights=str(clap), width=24, prefer=prefer).build()([both]).vector
                    for prefer in ("text", "audio"))
    assert not torch.allclose(words, sound, atol=1e-3)


def test_refusals_are_sentences(t5, monkeypatch):
    with pytest.raises(UserError, match="is 16 wide"):
        T5TextConfig(weights=str(t5)).build()([Prompt(text="slow")])
    with pytest.raises(UserError, match="can't be loaded"):
        T5TextConfig(weights=str(t5 / "nothing")).build()([Prompt(text="slow")])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install"):
        T5TextConfig(weights=str(t5), width=16).build()([Prompt(text="slow")])
