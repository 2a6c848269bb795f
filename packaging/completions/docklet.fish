complete --keep-order --exclusive --command docklet --arguments "(DOCKLET_COMPLETE=fish docklet -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
