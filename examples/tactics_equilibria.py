"""Which defenders are equilibria under which rewards, exactly, in the twin of the controlled world.

python examples/tactics_equilibria.py
"""

from rich.table import Table

from redteam_env.utils.console import make_console
from redteam_env.worlds.apothecary.tabular.claims import AS_IT_STANDS, ASKED, equilibria_table

findings = equilibria_table()
console = make_console()


def show(title, rows, *, details):
    """Print findings; an equilibrium is one in which the defender plays that rule alone."""
    table = Table(title=title)
    more = ("raw games", "oracle allowed", "zero-sum form", "attacker, defender") if details else ()
    headings = (
        "rewards",
        *(() if details else ("variant",)),
        *more[:2],
        *ASKED,
        *more[2:],
        "learning ends at",
    )
    for heading in headings:
        table.add_column(heading)
    for x in rows:
        rule, share = max(x.reached.items(), key=lambda item: item[1])
        setting = (f"{x.raw:.0%}", "yes" if x.oracle else "no") if details else (x.variant,)
        solved = ("yes" if x.zero_sum else "no", f"{x.attacker:+.2f}, {x.defender:+.2f}")
        table.add_row(
            x.preset,
            *setting,
            *("equilibrium" if x.alone.get(name) else "-" for name in ASKED),
            *(solved if details else ()),
            f"{rule} {share:.0%}",
        )
    console.print(table)


standing = [x for x in findings if x.variant == AS_IT_STANDS]
show("Presets", standing, details=True)
usual = {x.preset: x.alone for x in standing if x.raw and x.oracle}
changed = [x for x in findings if x.oracle and x.raw and x.alone != usual[x.preset]]
show("What changes an equilibrium (half of the games raw)", changed, details=False)
same = len(findings) - len(standing) - len(changed)
console.print(f"The other {same} variants change none of these.")
