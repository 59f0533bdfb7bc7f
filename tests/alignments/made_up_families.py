"""Made-up protein families, so that searches have something to find without any data from elsewhere."""

import random

AMINO = "ACDEFGHIKLMNPQRSTVWY"
BASES = "ACGU"


def relative(rng, parent, letters, changed, indels=0.02):
    """A descendant of ``parent``: a fraction of letters is replaced, a few are lost or gained."""
    out = []
    for letter in parent:
        if rng.random() < indels:
            continue
        if rng.random() < indels:
            out.append(rng.choice(letters))
        out.append(rng.choice(letters) if rng.random() < changed else letter)
    return "".join(out)


def database(path, queries, letters=AMINO, relatives=12, strangers=60, seed=0, header="{name} protein OX={species}"):
    """Write relatives of each query (named ``query number``-``number``) among strangers; return their names."""
    rng = random.Random(seed)
    records, names = [], [set() for _ in queries]
    for number, query in enumerate(queries):
        for species in range(relatives):
            name = f"{number}-{species}"
            names[number].add(name)
            records.append((name, species, relative(rng, query, letters, rng.uniform(0.1, 0.5))))
    for number in range(strangers):
        records.append((f"x{number}", 900 + number, "".join(rng.choices(letters, k=rng.randint(60, 200)))))
    rng.shuffle(records)
    text = "".join(f">{header.format(name=name, species=species)}\n{row}\n" for name, species, row in records)
    path.write_text(text)
    return names


def sequence(seed, length, letters=AMINO):
    return "".join(random.Random(seed).choices(letters, k=length))
