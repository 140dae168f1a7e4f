"""Settings: one file under the environment, and a defect that is named."""

import pytest

from attrgan.config import settings
from attrgan.errors import SettingsError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTRGAN_CONFIG", raising=False)
    return tmp_path


def test_without_a_file_the_defaults_are_in_force():
    assert settings().runner == "local"
    assert settings().completion.shard_rows == 10_000


def test_the_file_where_one_stands_is_read_and_the_environment_overrides_it(elsewhere, monkeypatch):
    (elsewhere / "attrgan.yaml").write_text("seed: 5\nquality: {max_quarantine_rate: 0.2, min_valid_rows: 7}\n")
    monkeypatch.setenv("ATTRGAN__QUALITY__MAX_QUARANTINE_RATE", "0.1")
    assert settings().seed == 5
    assert (settings().quality.max_quarantine_rate, settings().quality.min_valid_rows) == (0.1, 7)


def test_a_named_file_wins_over_the_one_that_stands_there(elsewhere, monkeypatch):
    (elsewhere / "attrgan.yaml").write_text("seed: 5\n")
    (elsewhere / "other.yaml").write_text("seed: 6\n")
    monkeypatch.setenv("ATTRGAN_CONFIG", str(elsewhere / "other.yaml"))
    assert settings().seed == 6


def test_a_named_file_that_is_none_is_a_defect(monkeypatch):
    monkeypatch.setenv("ATTRGAN_CONFIG", "/nowhere/x.yaml")
    with pytest.raises(SettingsError, match=r"ATTRGAN_CONFIG names /nowhere/x.yaml"):
        settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sed: 5\n", "sed"),
        ("quality: {max_quarantine_rate: 2}\n", "quality.max_quarantine_rate"),
        ("completion: {shard_rows: none}\n", "completion.shard_rows"),
        ("runner: magic\n", "runner"),
        ("- a\n- b\n", "attrgan.yaml"),
        ("seed: [\n", "attrgan.yaml"),
    ],
)
def test_a_file_that_is_wrong_is_said_to_be_and_where(elsewhere, text, says):
    (elsewhere / "attrgan.yaml").write_text(text)
    with pytest.raises(SettingsError, match=says):
        settings()
