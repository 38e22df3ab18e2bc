"""The invented engineers of the demo: sixty names, eight teams. Nobody real; every address is at example.com.

Belongs here: names and team sizes. Does not belong here: keys, cost centers and who calls what (`organisation`).
"""

from typing import Final

ENGINEERS: Final[dict[str, tuple[str, ...]]] = {
    "payments": (
        "Marlene Vogt", "Tobias Krail", "Anouk Perrin", "Jonas Halvorsen", "Selma Brandt", "Piet Vermaas",
        "Clara Domin", "Emil Straka", "Nadia Iversen",
    ),
    "checkout": (
        "Harper Whitlow", "Devon Castell", "Priya Raman", "Ines Moreau", "Malik Osei", "Rowan Teague", "Lena Fairbank",
    ),
    "web": (
        "Camille Norwood", "Theo Ansari", "Bridget Lowell", "Sam Okafor", "Vera Lindqvist", "Owen Pascoe",
        "Maya Trent", "Felix Haddad",
    ),
    "mobile": (
        "Quinn Alvarez", "Naomi Tanaka", "Diego Salter", "Ruth Emery", "Kai Morrow", "Leila Farouk", "Amos Pruitt",
    ),
    "data-platform": (
        "Greta Olsen", "Stefan Mayr", "Yara Benali", "Lukas Zeman", "Hedda Falk", "Mirko Tadic", "Oona Salmi",
        "Pavel Hruska",
    ),
    "ml-research": (
        "Asha Menon", "Rohit Kulkarni", "Divya Sethi", "Kabir Anand", "Meera Pillai", "Nikhil Rao",
    ),
    "core-infra": (
        "Ulrike Sander", "Bastian Noll", "Frida Aalto", "Henrik Moen", "Carla Rossetti", "Jan Wielgosz",
        "Tamsin Ockley", "Ivo Marin", "Katja Reuter",
    ),
    "support-tools": (
        "Elliot Barnes", "Sofia Duarte", "Gwen Achebe", "Ray Calloway", "Tess Molina", "Noel Burgess",
    ),
}  # fmt: skip
