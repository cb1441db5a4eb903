"""Any bytes, at every way in: known inputs and changes of them here, atheris in the slow tests."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.targets import CORPUS, TARGETS
from hypothesis import given
from hypothesis import strategies as st

INPUTS = {name: [x.read_bytes() for x in sorted((CORPUS / name).iterdir())] for name in TARGETS}
RUNS = 2000


@pytest.mark.parametrize("name", TARGETS)
def test_known_inputs_give_a_result_or_one_line(name):
    assert INPUTS[name]
    for data in INPUTS[name]:
        TARGETS[name](data)


@st.composite
def changed(draw, inputs):
    """Known inputs with parts cut out, doubled, or replaced by other bytes or parts of others."""
    data = draw(st.sampled_from(inputs))
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        other = draw(st.sampled_from(inputs))
        put = st.one_of(st.just(b""), st.just(data[first:last] * 2), st.binary(max_size=8))
        put |= st.integers(0, len(other)).map(lambda k, other=other: other[k : k + 20])
        data = data[:first] + draw(put) + data[last:]
    return data


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_any_bytes_give_a_result_or_one_line(name, data):
    TARGETS[name](data.draw(st.one_of(st.binary(max_size=200), changed(INPUTS[name]))))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", TARGETS)
def test_atheris_finds_nothing(name, tmp_path):
    run = Path(__file__).with_name("run.py")
    limits = [f"-runs={RUNS}", "-rss_limit_mb=0"]  # the peak of the process that starts it counts
    command = [sys.executable, str(run), name, *limits, "-seed=1", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-5000:]
