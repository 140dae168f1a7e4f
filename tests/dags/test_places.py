"""Which date a run is about and where its files are."""

import json
from types import SimpleNamespace

import attrgan_places as places
import pendulum
import pytest
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

NIGHT = pendulum.datetime(2017, 3, 1)


def context(dt=None, start=NIGHT, run_id="manual__2017-03-02T00:00:00+00:00"):
    run = SimpleNamespace(dag_id="nightly_completion", run_id=run_id, data_interval_start=start)
    return {"params": {"dt": dt}, "dag_run": run}


def test_the_date_is_the_parameter_else_where_the_interval_starts():
    assert places.dt(context()) == "2017-03-01"
    assert places.dt(context(dt="2016-12-31")) == "2016-12-31"
    assert places.dt(context(dt="2016-12-31", start=None)) == "2016-12-31"


def test_a_run_without_either_fails_and_names_the_parameter():
    with pytest.raises(AirflowFailException, match="parameter dt"):
        places.dt(context(start=None))


@pytest.mark.parametrize("dt", ["../../etc", "yesterday", "2017-13-01", "2017-03-01/.."])
def test_what_is_not_a_date_never_becomes_a_folder(dt):
    with pytest.raises(ValueError, match=r"isoformat|month"):
        places.dt(context(dt=dt))


@pytest.mark.parametrize("dt", ["yesterday", "2017-13-01", 20170301])
def test_the_parameter_is_checked_when_the_run_is_started(dt):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        places.dt_param().resolve(dt)


@given(st.one_of(st.text(min_size=1, max_size=60), st.sampled_from([".", "..", "../..", "a/b"])))
def test_a_run_id_is_one_folder_whatever_is_in_it(run_id):
    parts = places.place(context(run_id=run_id), "validate").split("/")
    assert parts[-4:-2] == ["nightly_completion", "2017-03-01"]
    assert parts[-1] == "validate"
    assert parts[-2] not in ("", ".", "..")


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_a_shard_is_known_by_its_folder(shard):
    name = f"{shard[0]}/{shard[1]}"
    folder = places.shard_place("s3://lake/runs/complete", name)
    assert "/" not in folder.removeprefix("s3://lake/runs/complete/")
    assert places.shard_of(folder) == name


def test_the_model_of_an_entity_has_the_name_that_the_registry_gives_it(tmp_path, monkeypatch):
    (tmp_path / "schema.yaml").write_text("entity: credit record\nid: i\nattributes: {c: {kind: categorical}}\n")
    monkeypatch.setenv("ATTRGAN__CATALOG_SCHEMA", str(tmp_path / "schema.yaml"))
    places.settings.cache_clear()
    assert places.registered("champion") == "models:/attrgan-credit-record@champion"
    places.settings.cache_clear()


def test_the_person_who_approves_sees_the_figures_and_no_markup_from_names(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTRGAN__RUNS", str(tmp_path))
    places.settings.cache_clear()
    folder = tmp_path / places.place(context(), "compare").removeprefix(f"{tmp_path}/")
    folder.mkdir(parents=True)
    colour = {"n": 120, "candidate": 0.91249, "champion": 0.9, "difference": 0.01249}
    found = {"candidate": "m2", "champion": "m1", "attributes": {"<b>colour|x": colour}, "mean": {"candidate": 0.9}}
    (folder / "comparison.json").write_text(json.dumps(found))
    text = places.comparison(context())
    places.settings.cache_clear()
    assert "Candidate **m2**, champion **m1**" in text
    assert "| &lt;b&gt;colour&#124;x | 120 | 0.912 | 0.900 |  | 0.012 |  |  |" in text
