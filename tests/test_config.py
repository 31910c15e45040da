import pytest

from orchestrion.config import Config, first_difference
from orchestrion.contracts import CodecConfig, ObjectiveConfig
from orchestrion.errors import UserError


class LampConfig(CodecConfig):
    watts: int = 40
    shade: str | None = None
    colours: tuple[float, ...] = (0.1, 0.2)
    bulbs: int | None = None
    spare: int = 0
    warmth: float = 2.0
    slope: tuple[float, float] = (0.0, 0.0)
    signed = frozenset({"slope"})


class NeonConfig(LampConfig):
    gas: str = "neon"


class SwitchConfig(ObjectiveConfig):
    pass


class RoomConfig(Config):
    lamp: CodecConfig
    lamps: tuple[CodecConfig, ...] = ()


ROOM = RoomConfig(lamp=NeonConfig(watts=8), lamps=(LampConfig(), NeonConfig()))


def test_data_and_back_keep_every_class_and_value():
    assert RoomConfig.from_dict(ROOM.to_dict()) == ROOM
    assert ROOM.to_dict()["lamp"]["type"] == "NeonConfig"


def test_override_changes_one_field_and_leaves_the_original():
    changed = ROOM.override("lamps.1.watts", "60").override("lamp.shade", "paper")
    assert (changed.lamps[1].watts, changed.lamp.shade) == (60, "paper")
    assert changed.lamps[0] == ROOM.lamps[0] and ROOM.lamps[1].watts == 40


def test_digest_follows_the_content():
    assert ROOM.digest() == RoomConfig.from_dict(ROOM.to_dict()).digest()
    assert ROOM.digest() != ROOM.override("lamp.watts", "9").digest()


@pytest.mark.parametrize(("path", "value", "words"), [
    ("lamp.wats", "1", "did you mean 'watts'"),
    ("lamps.7.watts", "1", "no field '7'"),
    ("lamps.7.watts", "1", "lamps has 2, counted from 0"),
    ("lamp.watts", '"many"', "must be int"),
    ("lamp.watts", "true", "must be int"),
    ("lamp.type", "1", "no field 'type'"),
    ("lamp", '{"type": "SwitchConfig"}', "can't stand where a CodecConfig belongs"),
    ("lamp", '{"type": "NeanConfig"}', "did you mean 'NeonConfig'"),
    ("lamp", '{"type": "NeonConfig", "wats": 3}', "did you mean 'watts'"),
    ("lamp", "3", "expected a CodecConfig"),
    ("lamp.colours", '["red"]', "LampConfig.colours must be float|NeonConfig.colours must be float"),
    ("lamp.colours", "[0.1, true]", "must be float, got True"),
    ("lamp.colours", "3", "can't be read"),
    ("lamp.bulbs", '"two"', "must be int"),
    ("lamp.bulbs", "1.5", "must be int"),
])
def test_nonsense_is_refused_in_a_sentence(path, value, words):
    with pytest.raises(UserError, match=words):
        ROOM.override(path, value)


@pytest.mark.parametrize(("path", "value", "words"), [
    ("lamp.watts", "-5", "NeonConfig.watts must be 1 or more, got -5"),
    ("lamp.watts", "0", "must be 1 or more"),
    ("lamp.bulbs", "0", "must be 1 or more"),
    ("lamp.spare", "-1", "must be zero or more"),
    ("lamp.warmth", "-0.1", "must be zero or more"),
    ("lamp.warmth", "NaN", "got nan"),
    ("lamp.warmth", "Infinity", "got inf"),
    ("lamp.colours", "[0.5, -0.5]", "must be zero or more"),
    ("lamp.slope", "[-Infinity, 0]", "must be a finite number"),
])
def test_numbers_that_cannot_be_meant_are_refused_in_a_sentence(path, value, words):
    with pytest.raises(UserError, match=words):
        ROOM.override(path, value)


def test_numbers_that_may_be_zero_or_negative_pass():
    changed = ROOM.override("lamp.spare", "0").override("lamp.slope", "[-3, 3]").override("lamp.warmth", "0")
    assert (changed.lamp.spare, changed.lamp.slope, changed.lamp.warmth) == (0, (-3, 3), 0)


def test_a_missing_field_is_named():
    with pytest.raises(UserError, match="needs the field 'lamp'"):
        RoomConfig.from_dict({"type": "RoomConfig"})


def test_the_first_difference_is_named_as_set_names_it():
    assert first_difference(ROOM.to_dict(), ROOM.to_dict()) is None
    other = ROOM.override("lamps.1.watts", "60").override("lamps.1.gas", "argon")
    assert first_difference(ROOM.to_dict(), other.to_dict()) == ("lamps.1.watts", 40, 60)
    fewer = RoomConfig(lamp=ROOM.lamp, lamps=ROOM.lamps[:1])
    path, here, there = first_difference(ROOM.to_dict(), fewer.to_dict())
    assert path == "lamps" and (len(here), len(there)) == (2, 1)
