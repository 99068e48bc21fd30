"""One run, from description to result file: `plan` checks and loads, `measurement` trains and measures."""
