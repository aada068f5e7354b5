from benchmarks import rows


def test_rows_are_found_by_suite_and_name():
    assert [row.name for row in rows.chosen([], ["ppo 4x128"])] == ["ppo 4x128"]
    assert {row.suite for row in rows.chosen([], [])} == {*rows.SUITES} - {
        "growth",
        "accelerator",
    }
    assert {row.suite for row in rows.chosen(["replay", "dqn"], [])} == {"replay", "dqn"}
    short = rows.chosen(["ppo"], ["short", "ppo 64x128"])
    assert [row.name for row in short] == ["ppo 64x128", "ppo 4x128 short"]
