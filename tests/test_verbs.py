"""What all commands share: short names, near misses, sections, --config, what an interruption leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from dimtool import cli, optionfiles, verbs
from dimtool.composer.sources.lists import Lists

COMMANDS = sorted(cli.cli.commands)


def said(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert cli.run(words) == code
    streams = capsys.readouterr()
    return streams.err if code else streams.out


# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "long"),
    [("build", "build-dataset"), ("verify", "verify-composites"), ("export", "export-images")],
)
def test_a_short_name_is_the_command(short: str, long: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said([short, "--help"], capsys) == said([long, "--help"], capsys)
    assert f"\n  {long}, {short} " in said(["--help"], capsys)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("trian", "train"), ("verfy", "verify"), ("biuld", "build"), ("build_dataset", "build-dataset")],
)
def test_a_near_miss_is_told(wrong: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = said([wrong], capsys, 2)
    assert f"No such command '{wrong}'" in line
    assert f"'{meant}'" in line


def test_what_is_nothing_like_a_command_has_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert "mean" not in said(["xyzzy"], capsys, 2)


# ---- help --------------------------------------------------------------------------------------------------


def test_every_option_of_train_is_under_one_title(capsys: pytest.CaptureFixture[str]) -> None:
    command = cli.cli.commands["train"]
    assert isinstance(command, verbs.Verb)
    placed = [name for names in command.sections.values() for name in names]
    general = {"as_json", "config"}
    assert sorted(placed) == sorted(str(each.name) for each in command.params if each.name not in general)
    text = said(["train", "--help"], capsys)
    for title in (*command.sections, "Other options"):
        assert f"\n{title}:\n  --" in text
    for option in command.params:
        assert text.count(f"\n  {option.opts[0]} ") + text.count(f"\n  {option.opts[0]}\n") == 1 or (
            option.secondary_opts and f"\n  {option.opts[0]} / " in text
        )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_file_of_options(name: str) -> None:
    assert [each.name for each in cli.cli.commands[name].params].count("config") == 1


# ---- files of options --------------------------------------------------------------------------------------


def parameters(name: str, *words: object) -> dict[str, object]:
    with click.Context(cli.cli, info_name="dimtool") as root:
        return cli.cli.commands[name].make_context(name, [str(each) for each in words], parent=root).params


def test_a_sample_sets_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.toml").write_text(said(["config"], capsys))
    tables = tomllib.loads((tmp_path / "all.toml").read_text())
    assert tables.keys() == set(COMMANDS) - {"config"}
    assert not any(tables.values())
    assert parameters("train", "--config", tmp_path / "all.toml") == parameters("train")


@pytest.mark.parametrize("name", [each for each in COMMANDS if each != "config"])
def test_what_a_sample_shows_is_what_holds_without(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line with a value, taken as it stands, changes nothing; every option has its line."""
    text = said(["config", name], capsys)
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
    with_values = [line for line in lines if "= <" not in line and line[0].islower()]
    (tmp_path / "own.toml").write_text("\n".join([f"[{name}]", *with_values]))
    command = cli.cli.commands[name]
    arguments = []
    for each in (each for each in command.params if each.required):
        folder = isinstance(each.type, click.Path) and not each.type.file_okay
        place = tmp_path if folder else tmp_path / "own.toml"
        arguments.append(str(place) if isinstance(each, click.Argument) else f"{each.opts[0]}={place}")
    config = ["--config", tmp_path / "own.toml"]
    assert parameters(name, *config, *arguments) == parameters(name, *arguments)
    shown = {line.partition(" ")[0] for line in lines}
    options = {each for each in command.params if isinstance(each, click.Option) and each.name != "config"}
    assert {each.opts[0].removeprefix("--") for each in options} <= shown


def test_a_commands_own_table_wins_over_what_stands_before_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        "seed = 1\n[build-dataset]\nseed = 2\nkeep-going = false\n[draw-set]\nsize = 100"
    )
    config = ("--config", tmp_path / "a.toml")
    build = parameters("build-dataset", *config, "--fg-list", "x.txt", "--per-fg", 4)
    assert (build["seed"], build["keep_going"], build["per_fg"]) == (2, False, 4)
    drawn = parameters("draw-set", *config, "folder", "--seed", 7)
    assert (drawn["seed"], drawn["size"], drawn["folder"]) == (7, 100, Path("folder"))


def test_a_list_sets_an_option_that_may_be_given_again(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[verify-composites]\nexpect = ["a", "b"]\nsample = "5%"')
    given = parameters("verify-composites", "--config", tmp_path / "a.toml")
    assert (given["expect"], given["sample"]) == (("a", "b"), 0.05)


def test_a_table_of_no_command_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("[trian]\nsteps = 1")
    line = said(["train", "--config", str(tmp_path / "a.toml")], capsys, 2)
    assert line.endswith("a.toml has a table [trian], which is no command; is it train?\n")
    assert said(["config", "trian"], capsys, 2).endswith("trian is no command; is it train?\n")


def test_a_recipe_may_have_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("[train]\nsteps = 1")
    assert "sets train, which is no option" in said(
        ["train", "--recipe", str(tmp_path / "a.toml")], capsys, 2
    )


def test_numbers_texts_and_flags_of_a_sample_are_toml() -> None:
    @click.command("x")
    @click.option("--text", default='a "quoted" \\ one', help="Text.")
    @click.option("--share", default=1e-5, help="Share.")
    @click.option("--flag", is_flag=True, help="Flag.")
    @click.option("--nothing", help="Nothing.")
    def command(**_: object) -> None:
        pass

    lines = [line[2:] for line in optionfiles.sample([command]).splitlines() if " = " in line]
    assert lines.pop() == "nothing = <TEXT>"
    assert tomllib.loads("\n".join(lines)) == {"text": 'a "quoted" \\ one', "share": 1e-5, "flag": False}


# ---- interruptions -----------------------------------------------------------------------------------------

RESUMABLE = {
    "make-demo",
    "draw-set",
    "build-dataset",
    "verify-composites",
    "export-images",
    "evaluate",
    "predict",
    "trimap",
    "demo",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_said_after_an_interruption_is_the_commands_own(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = cli.cli.commands[name]

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "callback", interrupted)
    monkeypatch.setattr(command, "params", [])
    line = said([name], capsys, 130).strip()
    assert line.startswith("dimtool: interrupted; ")
    assert ("what is finished is kept: give the same command again" in line) == (name in RESUMABLE)


def test_a_dry_run_that_is_interrupted_has_kept_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lists, "known_split", property(interrupted))
    words = [
        "build",
        "--fg-list",
        str(tmp_path / "train_fg.txt"),
        "--dry-run",
        "--out",
        str(tmp_path / "out"),
    ]
    assert said(words, capsys, 130) == "dimtool: interrupted; nothing was written\n"


# ---- shells ------------------------------------------------------------------------------------------------


def completed(*words: str, incomplete: int) -> list[str]:
    environment = {
        "_DIMTOOL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(incomplete),
    }
    code = "import sys; sys.argv[0] = 'dimtool'; from dimtool.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_options_and_choices() -> None:
    assert completed("dimtool", "export-i", incomplete=1) == ["export-images"]
    assert completed("dimtool", "build", "--fg-", incomplete=2) == ["--fg-list", "--fg-dir"]
    assert completed("dimtool", "train", "--bottleneck", "s", incomplete=3) == ["slim"]
