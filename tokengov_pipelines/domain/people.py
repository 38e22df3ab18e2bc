"""People in rules that need two of them (rules 2.4, 4.8, 12.4).

Belongs here: when two names are one person. Does not belong here: who holds which role (the directory's people.csv).
"""


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person; case and surrounding blanks do not make two (rule 2.4)."""
    return one.strip().casefold() == other.strip().casefold()
