import pytest

from relatent.core.errors import UsageError
from relatent.core.ranges import MOST, is_number_list, whole_numbers


def test_numbers_and_ranges_in_the_order_given():
    assert whole_numbers("85,100,1500-1502") == (85, 100, 1500, 1501, 1502)
    assert whole_numbers(" 7 - 9 , 3") == (7, 8, 9, 3)
    assert whole_numbers("4-4") == (4,)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "-1", "1-", "1.5", "1 2", "٣", "1-2-3"])
def test_other_text(text):
    assert not is_number_list(text)
    with pytest.raises(UsageError, match="seeds came as"):
        whole_numbers(text, "seeds")


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "1-" + "9" * 20])
def test_numbers_that_are_too_long_to_be_meant(text):
    assert is_number_list(text)  # and not the name of a file
    with pytest.raises(UsageError, match="at most 18 digits"):
        whole_numbers(text, "seeds")


def test_a_backward_range_is_turned_round_for_the_user():
    assert is_number_list("5-3")
    with pytest.raises(UsageError, match="Write 3-5"):
        whole_numbers("5-3")


def test_endless_ranges_are_refused_before_they_are_made():
    assert len(whole_numbers(f"1-{MOST}")) == MOST
    for text in (f"0-{MOST}", "0-999999999999999", f"1-{MOST},1"):
        with pytest.raises(UsageError, match=f"more than {MOST}"):
            whole_numbers(text)
