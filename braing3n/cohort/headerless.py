"""Tables without a header, whose columns are known by what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from braing3n.cohort.records import to_number

Column = Sequence[str]


def holds_mostly(words: Container[str]) -> Callable[[Column], bool]:
    """Whether these words are most of a column; another word is then a code that nobody knows."""

    def holds(cells: Column) -> bool:
        given = [cell.lower() for cell in cells if cell]
        return 2 * sum(cell in words for cell in given) > len(given)

    return holds


def holds_ages(missing: Container[str]) -> Callable[[Column], bool]:
    """Whether nine tenths of a column are numbers that people's ages can be; serial numbers are none."""

    def holds(cells: Column) -> bool:
        numbers = [to_number(cell) for cell in cells if cell and cell not in missing]
        plausible = [number for number in numbers if number is not None and 5 <= number <= 100]
        is_serial = numbers == [float(number + 1) for number in range(len(numbers))]
        return 10 * len(plausible) > 9 * len(numbers) and not is_serial

    return holds
