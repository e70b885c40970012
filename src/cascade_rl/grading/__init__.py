"""From replies to verdicts: services that graders use, the thread that grades, the proof of a grader."""
