"""Which version is served and how it gets there: `policy` decides, `watcher` loads and swaps, `slot` holds."""
