"""The benchmark of drift: two tables for each set, of what was flagged wrongly and of what was seen."""

from benchmarks import drift


def test_a_set_gives_a_table_of_false_alarms_and_one_of_shifts(data, capsys):
    arguments = ["--data", str(data), "--sets", "livostyle", "--rows", "200", "--repeats", "1"]
    assert drift.main(arguments) == 0
    said = capsys.readouterr().out
    assert "livostyle: nothing has changed" in said
    prices = next(line for line in said.splitlines() if "prices × 100" in line)
    assert "1 of 1" in prices


def test_without_data_it_says_how_to_name_it(monkeypatch, capsys):
    monkeypatch.delenv("ATTRGAN_BENCHMARK_DATA", raising=False)
    assert drift.main([]) == 2
    assert "name the folder with the benchmark's Parquet files" in capsys.readouterr().err
