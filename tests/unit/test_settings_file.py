"""One configuration file: what stands in it counts, unless the environment or the command line says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from avalist.cli import main, serve
from avalist.config import settings_from
from avalist.domain.errors import BadInput


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "avalist.toml"
    path.write_text('port = 1\npartitions = 6\n[kafka]\n"security.protocol" = "SSL"\n')
    return path


def test_the_file_is_the_last_that_is_asked(file: Path) -> None:
    settings = settings_from({"AVALIST_PORT": "2", "AVALIST_CONFIG": str(file)}, host="::1")
    assert (settings.port, settings.partitions, settings.host) == (2, 6, "::1")
    assert settings.kafka == {"security.protocol": "SSL"}
    assert settings_from({"AVALIST_PORT": "2"}, file=file, port=3).port == 3


@pytest.mark.parametrize("text", ["port = ", "prot = 1", 'port = "x"', "port = 99999", "port = -1", "copies = 0"])
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(BadInput) as caught:
        settings_from({}, file=tmp_path / "bad.toml")
    assert "bad.toml" in caught.value.field + caught.value.got


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no configuration file"):
        settings_from({}, file=tmp_path / "none.toml")


def test_up_refuses_a_retention_that_is_none_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AVALIST_VAULT_RETENTION_D", "ipp=30")
    monkeypatch.setattr(serve, "Supervisor", None)
    with pytest.raises(BadInput, match="not a retention"):
        serve.up(data=tmp_path, port=0)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_made_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["avalist", "merchant", "create", "shop", "--data", name, "--port", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("error: ")
    assert "file" in said


def test_what_is_no_matter_of_files_shows_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ConnectionResetError

    monkeypatch.setattr("avalist.cli.app", broken)
    with pytest.raises(ConnectionResetError):
        main()
