"""Settings, the delay law, secrets, and the error table."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest

from avalist.adapters.file.secrets import FolderSecrets
from avalist.api.errors import STATUS, problem_of
from avalist.config import Settings, settings_from
from avalist.domain import errors
from avalist.domain.delay import DelayLaw
from avalist.domain.errors import AvalistError, BadInput
from avalist.domain.keys import key_hash, key_text

# --- settings ------------------------------------------------------------------------------------------------------


def test_what_is_given_beats_the_environment_beats_the_default() -> None:
    environment = {"AVALIST_PORT": "9000", "AVALIST_HOST": "0.0.0.0", "PATH": "/bin"}
    settings = settings_from(environment, port=9001, data=None)
    assert (settings.port, settings.host, settings.data) == (9001, "0.0.0.0", Path("avalist-data"))
    assert settings.url == "http://0.0.0.0:9001"


@pytest.mark.parametrize(
    "environment", [{"AVALIST_PORT": "many"}, {"AVALIST_PROT": "1"}, {"AVALIST_": "x"}, {"AVALIST_QUEUE_LIMIT": "1.5"}]
)
def test_a_setting_that_does_not_fit_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(BadInput) as refused:
        settings_from(environment)
    assert "AVALIST_PORT" in refused.value.expected


@pytest.mark.parametrize("field", ["log", "documents", "blobs"])
def test_an_unknown_backend_says_which_there_are(tmp_path: Path, field: str) -> None:
    from avalist.bootstrap import build

    settings = msgspec.structs.replace(Settings(data=tmp_path), **{field: "etcd://x"})
    with pytest.raises(BadInput) as refused:
        build(settings)
    assert "memory:" in refused.value.expected
    assert refused.value.field == field
    build(Settings(data=tmp_path, log="memory:")).close()  # and the folder was let go


# --- the delay law -------------------------------------------------------------------------------------------------


def test_draws_follow_the_declared_law() -> None:
    law = DelayLaw(25.0, 90.0)
    draws = np.array([law.draw_d(f"payment-{n}") for n in range(4000)])
    assert np.median(draws) == pytest.approx(25.0, rel=0.08)
    assert np.quantile(draws, 0.95) == pytest.approx(90.0, rel=0.12)
    assert (draws < 40.0).mean() == pytest.approx(law.reported_by(40.0), abs=0.03)


def test_a_draw_is_seeded_by_its_id() -> None:
    law = DelayLaw(25.0, 90.0)
    assert law.draw_d("a") == law.draw_d("a") != law.draw_d("b")


@pytest.mark.parametrize(("age", "share"), [(-1.0, 0.0), (0.0, 0.0), (6.999, 0.0), (7.0, 1.0), (math.inf, 1.0)])
def test_a_constant_law_is_a_step(age: float, share: float) -> None:
    assert DelayLaw(7.0, 7.0).reported_by(age) == share


def test_the_law_grows_with_age() -> None:
    shares = [DelayLaw(25.0, 90.0).reported_by(age) for age in range(200)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.99


# --- secrets -------------------------------------------------------------------------------------------------------


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    secrets = FolderSecrets(tmp_path / "secrets")
    secrets.merchant("shop")
    secrets.admin_token()
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "secrets").iterdir()}
    assert modes == {"shop.key": 0o600, "admin.token": 0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    first, again = FolderSecrets(tmp_path), FolderSecrets(tmp_path)
    assert first.merchant("shop") == again.merchant("shop") != first.merchant("other")
    assert len(first.merchant("shop")) == 32
    assert first.admin_token() == again.admin_token()


def test_a_secret_half_written_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "shop.draft").write_bytes(b"half")
    assert len(FolderSecrets(tmp_path).merchant("shop")) == 32


def test_keys_differ_and_their_hash_is_of_text_and_bytes_alike(tmp_path: Path) -> None:
    secrets = FolderSecrets(tmp_path)
    one, other = (key_text("shop", "live", secrets.new_secret()) for _ in range(2))
    assert one != other
    assert key_hash(one) == key_hash(one.encode()) != key_hash(other)


# --- the error table -----------------------------------------------------------------------------------------------

ERRORS = [
    e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, AvalistError) and e is not AvalistError
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_stands_in_the_table_and_in_the_tree(kind: type[AvalistError]) -> None:
    assert kind in STATUS
    assert f" {kind.__name__} " in f"{errors.__doc__} ".replace("\n", " ")


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_problem_and_none_is_a_500(kind: type[AvalistError]) -> None:
    problem = problem_of(kind("what to do"))
    assert (problem.detail, 400 <= problem.status < 600, problem.status != 500) == ("what to do", True, True)
    assert problem.type.startswith("/problems#")
    assert problem.title.replace(" ", "").lower() == kind.__name__.lower()


def test_a_new_kind_of_an_error_has_its_bases_status() -> None:
    class Odd(errors.ClockWentBack):
        pass

    assert problem_of(Odd("x")).status == 422


def test_a_problem_names_field_expected_and_got() -> None:
    problem = problem_of(BadInput("x", field="$.a", expected="int", got="str"))
    assert (problem.field, problem.expected, problem.got) == ("$.a", "int", "str")
    assert b"field" not in msgspec.json.encode(problem_of(errors.NotFound("x")))
