"""Which letter of a multiple-choice question a reply states; `letters` begins."""
