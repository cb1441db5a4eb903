"""Student's t distribution, central and not, from scipy.

scipy is imported at the first question: that takes as long as half of a ``--help``, which asks none.
"""


def below(freedom: float, t: float) -> float:
    """Return the probability of a value up to ``t``.

    Args:
        freedom: Degrees of freedom.
        t: The value.
    """
    from scipy.special import stdtr  # noqa: PLC0415 - see above

    return float(stdtr(freedom, t))


def quantile(freedom: float, share: float) -> float:
    """Return the value up to which a share of the distribution lies.

    Args:
        freedom: Degrees of freedom.
        share: In (0, 1).
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - see above

    return float(stdtrit(freedom, share))


def noncentral_below(freedom: float, noncentrality: float, t: float) -> float:
    """Return the probability of a value up to ``t`` under the noncentral distribution.

    Args:
        freedom: Degrees of freedom.
        noncentrality: The true mean over its standard error.
        t: The value.
    """
    from scipy.special import nctdtr  # noqa: PLC0415 - see above

    return float(nctdtr(freedom, noncentrality, t))


def noncentrality_with(freedom: float, share: float, t: float) -> float:
    """Return the noncentrality with which a share of the distribution lies below ``t``.

    Args:
        freedom: Degrees of freedom.
        share: In (0, 1).
        t: The value.
    """
    from scipy.special import nctdtrinc  # noqa: PLC0415 - see above

    return float(nctdtrinc(freedom, share, t))
