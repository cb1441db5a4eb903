import shutil
import subprocess
import sys

import pytest

from redteam_env import registry
from redteam_env.cli import completion
from redteam_env.cli.main import main

COMMANDS = (
    "bench",
    "data",
    "doctor",
    "evaluate",
    "experiment",
    "judge",
    "rejudge",
    "runs",
    "train",
)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The scripts of all shells for a few commands, one of somebody else among them."""

    def mine(argv):
        print("usage: redteam-env mine [-h] [OPTIONS]\n\n  --sparkle INT   How much. (default: 1)")
        return 0

    with registry.isolated(), pytest.MonkeyPatch.context() as patch:
        registry.register("commands", "mine", mine)
        names = registry.names
        patch.setattr(
            registry,
            "names",
            lambda kind: (
                [x for x in names(kind) if kind != "commands" or x in (*COMMANDS, "mine")]
            ),
        )
        return {shell: completion.script(shell) for shell in completion.SHELLS}


@pytest.fixture
def completed(scripts, tmp_path):
    """What bash completes a line to, in a directory with a file and a folder."""
    (tmp_path / "my runs").mkdir()
    (tmp_path / "plan.toml").touch()
    (tmp_path / "completion").write_text(scripts["bash"])

    def complete(*line):
        words = " ".join(f"'{x}'" for x in ["redteam-env", *line])
        code = f"""source ./completion
COMP_WORDS=({words}); COMP_CWORD={len(line)}
_redteam_env; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(
            ["bash", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert done.stderr == ""
        return set(done.stdout.splitlines()) - {""}

    return complete


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["re"], {"rejudge"}),
        (["data", "s"], {"sft"}),
        (["data", "sft", "--thou"], {"--thoughts"}),
        (["data", "--he"], {"--help", "--help-all"}),
        (["rejudge", "--judge-"], {"--judge-url"}),
        (["rejudge", "somewhere", "--la"], {"--last"}),
        (["mine", "--sp"], {"--sparkle"}),
        (["--ver"], {"--version"}),
        (["--debug", "rej"], {"rejudge"}),
        (["--debug", "data", "s"], {"sft"}),
        (["--print-completion", "f"], {"fish"}),
        (["bench", "ver"], {"verify"}),
        (["bench", "verify", "--u"], {"--use"}),
        (["experiment", "re"], {"report"}),
        (["experiment", "v"], {"verify"}),
        (["experiment", "report", "--t"], {"--to"}),
        (["judge", "s"], {"show", "serve"}),
        (["judge", "calib"], {"calibrate"}),
        (["judge", "serve", "--po"], {"--port"}),
        (["judge", "serve", "lexi"], {"lexical"}),
        (["runs", ""], {"list", "show", "diff", "clean"}),
    ],
)
@needs_bash
def test_bash_completes_commands_subcommands_and_options(completed, line, expected):
    assert completed(*line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["train", "--arrangement", "sh"], {"shared", "shared_full"}),
        (["train", "--backend", "x"], set()),
        (["train", "--algorithm", "re"], {"reinforce", "reinforce_pp"}),
        (["train", "--lr", "0.1", "--algorithm", "gr"], {"grpo"}),
        (["train", "--judge", "lex"], {"lexical"}),
        (["train", "--judge", "qwen"], {"qwen3guard_loose", "qwen3guard_strict"}),
        (["train", "--world", "apothecary-e"], {"apothecary-easy"}),
        (["train", "--recipe", "magic_0"], {"magic_0.5b"}),
        (["train", "--opponents", "ps"], {"psro"}),
        (["train", "--model", "tiny"], {"tiny-random"}),
        (["train", "--steps", ""], set()),
        (["train", "--resume", "--qui"], {"--quiet"}),
        (["train", "--config", "pl"], {"plan.toml"}),
        (["train", "--out", "my"], {"my runs"}),
        (["train", "--judge", "plai"], {"plain"}),
        (["train", "--seeds", "pl"], {"plan.toml"}),
        (["evaluate", "--defender", "ref"], {"refuse"}),
        (["evaluate", "my"], {"my runs"}),
        (["rejudge", "my"], {"my runs"}),
        (["bench", "--algorithms", "grpo,re"], {"grpo,reinforce", "grpo,reinforce_pp"}),
        (["train", "--arrangement", "=", "bi"], {"bipolicy"}),
        (["train", "--arrangement", "="], {"bipolicy"}),
        (["train", "--arrangement=bi"], {"--arrangement=bipolicy"}),
    ],
)
@needs_bash
def test_bash_completes_what_an_option_may_be(completed, line, expected):
    found = completed(*line)
    assert found >= expected if line[-1] == "=" else found == expected


def test_zsh_takes_the_same_function(scripts):
    assert scripts["zsh"].startswith("#compdef redteam-env\n")
    assert scripts["bash"] in scripts["zsh"]
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n"], input=scripts["zsh"], text=True, check=True)


def test_fish_has_a_line_for_each_word(scripts):
    lines = scripts["fish"].splitlines()
    assert "complete -c redteam-env -n __fish_use_subcommand -l debug" in lines
    assert any("-l arrangement -x -a 'bipolicy shared " in x for x in lines)
    assert any(x.endswith("-l out -r -F") for x in lines)
    assert any("from bench" in x and x.endswith("-a 'ladder verify'") for x in lines)
    assert any("-l opponents -r -F -a 'alternating " in x for x in lines)
    assert "complete -c redteam-env -n __fish_use_subcommand -f -a rejudge" in lines
    assert "complete -c redteam-env -n '__fish_seen_subcommand_from rejudge' -l last -x" in lines
    inside = "__fish_seen_subcommand_from data; and __fish_seen_subcommand_from sft"
    assert f"complete -c redteam-env -n '{inside}' -l thoughts" in "\n".join(lines)
    if shutil.which("fish"):
        subprocess.run(["fish", "--no-execute"], input="\n".join(lines), text=True, check=True)


def test_no_script_needs_torch():
    code = (
        "import sys; from redteam_env.cli.completion import script; script('bash'); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_shell_is_refused_and_the_help_says_how(capsys):
    assert main(["--print-completion", "tcsh"]) == 2
    assert "bash|zsh|fish" in capsys.readouterr().err
    assert main(["--print-completion"]) == 2
    assert main(["--help"]) == 0
    assert "--print-completion bash|zsh|fish" in capsys.readouterr().out
