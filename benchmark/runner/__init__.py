"""One run, from description to result file: `plan` checks and loads, `runs` trains and measures."""
