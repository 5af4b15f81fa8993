"""Work beside serving: training runs. They only ever publish into the store; the watcher changes what is served."""
