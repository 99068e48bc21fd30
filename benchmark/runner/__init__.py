"""One run, from description to result file: `plan` checks and loads, `training` trains, `measurement` measures."""
