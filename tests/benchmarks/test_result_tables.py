from rljax.cli import main


def test_the_table_in_markdown_names_rows(stored, capsys):
    assert main(["bench", "--from", str(stored), "--markdown"]) == 0
    line = "| `ppo` | 50 steps/s | Fake 33.3 steps/s | 1.50 (1.50 to 4.00) |"
    assert line in capsys.readouterr().out.splitlines()
