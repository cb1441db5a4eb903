"""An unknown name is answered with the nearest one, all that are allowed, and a hint."""

from redteam_env.game import unknown_name


def test_an_unknown_name_is_answered_with_the_nearest_and_all_allowed_ones():
    error = unknown_name("judge", "allways", ["never", "always"])
    assert str(error) == ("Unknown judge 'allways'. Did you mean 'always'? Allowed: always, never.")
    hinted = unknown_name("judge", 3, ["never"], hint="Register it first.")
    assert str(hinted) == "Unknown judge 3. Allowed: never. Register it first."


def test_where_nothing_is_allowed_that_is_said():
    assert str(unknown_name("judge", "x", [])) == ("Unknown judge 'x'. Allowed: none is installed.")
