"""Writes catalog.csv: 100 household products with five attributes, about a fifth of the cells empty.

The catalog is checked in; this is how it was made. The values are real-looking and hang together as in a shop: the
material and the brand go with the kind of product, the price with kind, material and size; most titles name some of it.
"""

import csv
import random
from pathlib import Path

KINDS = {
    # kind: (brands, materials with a price factor, sizes with a price factor, base price)
    "mug": (["Nordvik", "Casa Lima"], {"stoneware": 1.0, "porcelain": 1.3}, {"250 ml": 1.0, "350 ml": 1.2}, 8.9),
    "frying pan": (["Ferro", "Nordvik"], {"cast iron": 1.6, "aluminium": 1.0}, {"24 cm": 1.0, "28 cm": 1.25}, 29.0),
    "bath towel": (
        ["Lumi", "Casa Lima"],
        {"cotton": 1.0, "linen": 1.7},
        {"50 x 100 cm": 1.0, "70 x 140 cm": 1.8},
        11.5,
    ),
    "cushion": (["Lumi", "Haven & Co"], {"cotton": 1.0, "velvet": 1.5}, {"40 x 40 cm": 1.0, "50 x 50 cm": 1.3}, 14.0),
    "cutting board": (["Ferro", "Haven & Co"], {"bamboo": 1.0, "oak": 2.1}, {"30 cm": 1.0, "40 cm": 1.4}, 13.0),
}
COLOURS = {
    "mug": ["white", "blue", "grey"],
    "frying pan": ["black"],
    "bath towel": ["white", "grey", "green"],
    "cushion": ["green", "blue", "grey"],
    "cutting board": ["natural"],
}
COLUMNS = ["id", "title", "brand", "colour", "material", "size", "price"]
HOLES = 0.2


def product(number: int, random_: random.Random) -> dict[str, str]:
    """One product; a fifth of its attributes are left out, as a hurried seller would."""
    kind = random_.choice(list(KINDS))
    brands, materials, sizes, base = KINDS[kind]
    brand, material, size = random_.choice(brands), random_.choice(list(materials)), random_.choice(list(sizes))
    colour = random_.choice(COLOURS[kind])
    named = [word for word in (brand, colour, material) if random_.random() < 0.5]
    title = " ".join([*named, kind])
    cells = {"brand": brand, "colour": colour, "material": material, "size": size}
    cells["price"] = f"{base * materials[material] * sizes[size] * random_.uniform(0.95, 1.05):.2f}"
    known = {name: value if random_.random() >= HOLES else "" for name, value in cells.items()}
    return {"id": f"P{number:03d}", "title": title[0].upper() + title[1:]} | known


def main() -> None:
    """Writes the catalog beside this file."""
    random_ = random.Random(7)
    with Path(__file__).with_name("catalog.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(product(number, random_) for number in range(1, 101))


if __name__ == "__main__":
    main()
