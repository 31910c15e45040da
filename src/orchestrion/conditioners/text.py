"""A text encoder of our own, trained with the generator: small, offline, and at home in its corpus's words.

    words ── pieces ── transformer ──► sequence [b l e], and a vector [b e] from its first place

The tokeniser is learned from the corpus's captions when training begins, and travels with the weights: their most
frequent words, with or without an ending (`slowly` is `slow`, `pianos` are `piano`), and single digits. Any other word
is unknown. While training, words are hidden behind "unknown" at random, so that the network learns to pass over
what it doesn't know. Training that goes on with another corpus adds that one's words.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orchestrion.contracts import Conditioner, ConditionerConfig, Conditioning, Prompt
from orchestrion.errors import UserError

PADDING, BEGIN, UNKNOWN = range(3)
SPECIAL = ("[PAD]", "[BEGIN]", "[UNK]")
ENDINGS = ("s", "es", "ed", "d", "ing", "ly", "er", "est", "ish", "y")  # that change no word's sense much
SPOKEN = (("#", " sharp "), ("♯", " sharp "), ("♭", " flat "), ("&", " and "))  # signs that are said as words


class TextEncoderConfig(ConditionerConfig):
    width: int = 192
    depth: int = 2
    heads: int = 4
    vocabulary: int = 1024  # words, at most
    length: int = 48  # words of a prompt that are read, its beginning mark among them
    hidden: float = 0.1  # share of the words that are made unknown while training

    def build(self) -> "TextEncoder":
        return TextEncoder(self)


class TextEncoder(Conditioner):
    """The null prompt, an empty one and one of spaces are alike: the beginning mark alone, a learned embedding."""

    fills = frozenset({"sequence", "vector"})

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        if config.vocabulary <= len(SPECIAL) or config.length < 2:
            raise UserError("TextEncoderConfig needs a vocabulary above 3 and a length above 1")
        self.config, self.width = config, config.width
        self.tokeniser: Any = None  # tokenizers.Tokenizer, once a corpus was read
        self._stored = torch.empty(0, dtype=torch.uint8)
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.places = nn.Parameter(torch.empty(config.length, config.width))
        for weight in (self.words.weight, self.places):
            nn.init.normal_(weight, std=0.02)
        layer = nn.TransformerEncoderLayer(config.width, config.heads, 4 * config.width, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, config.depth, nn.LayerNorm(config.width),
                                            enable_nested_tensor=False)

    @torch.no_grad()
    def fit(self, prompts: Iterable[Prompt]) -> None:
        """Learns the tokeniser. Raises `UserError` where no prompt has a text."""
        texts = [spoken(prompt.text) for prompt in prompts if prompt.text]
        if not texts:
            raise UserError("no piece of the corpus has a caption to learn words from: prepare it from MIDI, or give "
                            "captions (a .txt beside each sound, or captions.csv)")
        self._take(learn_tokeniser(texts, self.config.vocabulary))

    def fit_further(self, prompts: Iterable[Prompt]) -> None:
        """Words that are new take the numbers that are free, and so embeddings that nothing was taught yet."""
        texts = [spoken(prompt.text) for prompt in prompts if prompt.text]
        self._take(learn_tokeniser(texts, self.config.vocabulary, self.tokeniser))

    def _take(self, tokeniser: Any) -> None:
        self.tokeniser = tokeniser
        self._stored = torch.tensor(list(tokeniser.to_str().encode()), dtype=torch.uint8)

    def read(self, text: str | None) -> list[int]:
        """The words of a text as numbers, a run of unknown ones as one, after the beginning mark."""
        if not text or not text.strip():
            return [BEGIN]
        if self.tokeniser is None:
            raise UserError("this model's text encoder has read no captions yet: train it on a corpus that has some")
        found = [word for word in self.tokeniser.encode(spoken(text)).ids if word < self.config.vocabulary]
        joined = [word for i, word in enumerate(found) if word != UNKNOWN or found[i - 1 : i] != [UNKNOWN]]
        return [BEGIN, *joined][: self.config.length]

    def forward(self, prompts: Sequence[Prompt]) -> Conditioning:
        rows = [self.read(prompt.text) for prompt in prompts]
        longest = max(map(len, rows))
        words = torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows], device=self.places.device)
        if self.training:
            hidden = torch.rand(words.shape, device=words.device) < self.config.hidden
            words = words.masked_fill(hidden & (words > UNKNOWN), UNKNOWN)
        mask = words != PADDING
        x = self.layers(self.words(words) + self.places[:longest], src_key_padding_mask=~mask)
        return Conditioning(sequence=x, mask=mask, vector=x[:, 0])

    def get_extra_state(self) -> Tensor:
        """The tokeniser as bytes, so that it is saved wherever the weights are."""
        return self._stored

    def set_extra_state(self, state: Tensor) -> None:
        from tokenizers import Tokenizer

        self._stored = state.cpu()
        text = bytes(self._stored.tolist()).decode()
        self.tokeniser = Tokenizer.from_str(text) if text else None


def spoken(text: str) -> str:
    for sign, words in SPOKEN:
        text = text.replace(sign, words)
    return text


def learn_tokeniser(texts: Sequence[str], vocabulary: int, known: Any = None) -> Any:
    """-> a `tokenizers.Tokenizer` of the most frequent words: lower-case, without accents or punctuation. An ending
    that a word may carry is a piece of its own, numbered from `vocabulary` on.

    known: an earlier one, whose words keep their numbers; words that it lacks are added while there is room.

    The library's own trainers break ties by chance; counting gives the same vocabulary every time.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    normaliser = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
         normalizers.Replace(Regex(r"['’]"), ""), normalizers.Replace(Regex(r"[^\w\s]|_"), " ")])
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                        pre_tokenizers.Digits(individual_digits=True)])
    counts = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normaliser.normalize_str(text)))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    numbers = {word: number for number, word in enumerate(SPECIAL)}
    if known is not None:
        numbers = {word: number for word, number in known.get_vocab().items() if number < vocabulary}
        frequent = [word for word in frequent if UNKNOWN in known.encode(word).ids]
    numbers |= {word: number for number, word in enumerate(frequent[: vocabulary - len(numbers)], len(numbers))}
    numbers |= {f"##{ending}": vocabulary + number for number, ending in enumerate(ENDINGS)}
    tokeniser = Tokenizer(models.WordPiece(numbers, unk_token=SPECIAL[UNKNOWN]))
    tokeniser.normalizer, tokeniser.pre_tokenizer = normaliser, splitter
    return tokeniser
