import json

import pytest
from scores import zipped

from orchestrion.corpus.sources import find_source
from orchestrion.corpus.sources.tables import NO_TABLE
from orchestrion.corpus.store import Store
from orchestrion.errors import UserError


def folder(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_source(Store(tmp_path))


def captions(source):
    return {piece: source.item(piece).facts.get("caption") for piece in source.pieces()}


def test_a_table_of_clotho_s_kind(tmp_path):
    source = folder(tmp_path, dog_dot_wav="", rain_dot_wav="", other_dot_csv="a,b\n1,2\n",
                    captions_dot_csv='file_name,caption_1,caption_2\ndog.wav,A dog barks,"Bark, bark"\n')
    assert captions(source) == {"dog.wav": "A dog barks\nBark, bark", "rain.wav": None}
    assert list(source.strays()) == ["other.csv"]  # no caption table, so it is listed as refused


def test_json_lines_in_a_folder_of_their_own(tmp_path):
    lines = [{"file": "dog", "text": "a dog"}, {"file": "dog.wav", "captions": ["woof", " loud  woof "]}]
    source = folder(tmp_path, sounds__dog_dot_wav="", sounds__meta_dot_jsonl="\n".join(map(json.dumps, lines)) + "\n{")
    assert captions(source) == {"sounds/dog.wav": "a dog\nwoof\nloud woof"}


def test_a_name_without_its_sound_is_told(tmp_path):
    source = folder(tmp_path, dog_dot_wav="", t_dot_tsv="path\tdescription\ncat.wav\ta cat\n")
    assert any("cat.wav" in name and "not there" in reason for name, reason in source.strays().items())


def test_a_file_that_is_no_table_is_passed_over(tmp_path):
    source = folder(tmp_path, dog_dot_wav="", data_dot_csv='file,caption\ndog.wav,"' + "x" * 200_000 + '"\n')
    assert captions(source) == {"dog.wav": None} and list(source.strays()) == ["data.csv"]


def test_a_damaged_table_in_a_zip_is_listed(tmp_path):
    place = zipped(tmp_path / "x.zip", {"dog.wav": b"", "c.csv": b"file,caption\ndog.wav,a dog that barks at length"})
    data = bytearray(place.read_bytes())
    data[data.index(b"a dog") + 3] ^= 0xFF
    place.write_bytes(data)
    source = find_source(Store(place))
    assert captions(source) == {"dog.wav": None} and "unreadable" in source.strays()["c.csv"]


def test_a_line_separator_in_a_caption_is_no_end_of_a_line(tmp_path):
    line = json.dumps({"file": "dog.wav", "caption": "a dog\u2028barks"}, ensure_ascii=False)
    assert captions(folder(tmp_path, dog_dot_wav="", t_dot_jsonl=line)) == {"dog.wav": "a dog barks"}


def test_a_text_beside_a_sound_still_counts(tmp_path):
    source = folder(tmp_path, dog_dot_wav="", dog_dot_txt="my dog\n", c_dot_csv="file,caption\ndog.wav,a dog\n")
    assert captions(source) == {"dog.wav": "a dog\nmy dog"} and not source.strays()


def test_what_is_no_text_is_refused_and_never_learned_from(tmp_path):
    folder(tmp_path, dog_dot_wav="", cat_dot_wav="")
    (tmp_path / "dog.txt").write_bytes(b"caf\xe9")  # not UTF-8
    (tmp_path / "c.csv").write_bytes(b"file,caption\ncat.wav,caf\xe9\n")
    source = find_source(Store(tmp_path))
    with pytest.raises(UserError, match=r"dog.txt is no UTF-8 text"):
        source.item("dog.wav")
    assert source.item("cat.wav").facts == {} and "no UTF-8 text" in source.strays()["c.csv"]


def test_broken_rows_and_lacking_columns_are_told(tmp_path):
    lines = ['{"file": "dog.wav", "caption": "a dog"}', "{broken", "", "[1, 2]", "[" * 100_000]
    source = folder(tmp_path, dog_dot_wav="", a_dot_jsonl="\n".join(lines), b_dot_tsv="file\tname\ndog.wav\tx\n")
    assert captions(source) == {"dog.wav": "a dog"}
    assert source.strays() == {"b.tsv": NO_TABLE} | {f"a.jsonl: line {line}": "no JSON object" for line in (2, 4, 5)}
