import pytest
from envs_fakes import HashJudge, tiny_source


@pytest.fixture
def tiny():
    """Keyword arguments of a small, fast and deterministic environment."""
    return {"seeds": tiny_source(), "judge": HashJudge()}
