
set edit:completion:arg-completer[docklet] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) DOCKLET_COMPLETE="elvish" docklet -- $@words) | to-lines
}

