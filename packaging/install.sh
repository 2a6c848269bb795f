#!/bin/sh
# Installs docklet for the user who runs it, without root: checks the signature and the SHA-256, then puts one program, its
# man pages and its completions below ~/.local. Tells what it put where. `install.sh --uninstall` removes exactly that.
#
#   install.sh [--dry-run] [--version X.Y.Z] [--prefix FOLDER] [--uninstall]
set -eu

# From Cargo.toml and packaging/minisign.pub: DOCKLET_UPDATE_PACKAGING=1 cargo test
repository=https://docklet.invalid/docklet
key=

prefix=${HOME:?HOME is not set}/.local
version=
action=install

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) action=show ;;
        --uninstall) action=uninstall ;;
        --version | --prefix)
            [ $# -ge 2 ] || die "$1 needs a value"
            if [ "$1" = --version ]; then version=${2#v}; else prefix=$2; fi
            shift
            ;;
        -h | --help)
            say "install.sh [--dry-run] [--version X.Y.Z] [--prefix FOLDER] [--uninstall]"
            exit 0
            ;;
        *) die "unknown option $1; there are --dry-run, --version, --prefix and --uninstall" ;;
    esac
    shift
done
case $prefix in
    /*) ;;
    *) die "--prefix must begin with /" ;;
esac

uninstall() {
    say "This removes the program. Containers, volumes and settings: docklet uninstall --purge, before this"
    for file in "$prefix"/bin/docklet "$prefix"/bin/docklet.previous "$prefix"/share/man/man1/docklet.1 \
        "$prefix"/share/man/man1/docklet-*.1 "$prefix/share/bash-completion/completions/docklet" \
        "$prefix/share/zsh/site-functions/_docklet" "$prefix/share/fish/vendor_completions.d/docklet.fish"; do
        [ -e "$file" ] || continue
        rm -f "$file"
        say "removed $file"
    done
    # Folders that this made and nothing else uses.
    for folder in man/man1 man bash-completion/completions bash-completion zsh/site-functions zsh \
        fish/vendor_completions.d fish; do
        rmdir "$prefix/share/$folder" 2>/dev/null || :
    done
    rmdir "$prefix/share" "$prefix/bin" "$prefix" 2>/dev/null || :
}

if [ "$action" = uninstall ]; then
    uninstall
    exit 0
fi

case $(uname -s)/$(uname -m) in
    Linux/x86_64 | Linux/amd64) target=x86_64-linux ;;
    Linux/aarch64 | Linux/arm64) target=aarch64-linux ;;
    Darwin/x86_64) target=x86_64-macos ;;
    Darwin/arm64) target=aarch64-macos ;;
    *) die "there is no release for $(uname -s) on $(uname -m); build it: cargo install docklet --locked" ;;
esac
[ -n "$key" ] || die "no release was signed yet; build it: cargo install docklet --locked"

if command -v curl >/dev/null; then
    # Redirects stay encrypted; a server of this machine (http) is for tests and mirrors.
    fetch() { curl --fail --silent --show-error --location --proto-redir =https --retry 2 --output "$2" "$1"; }
elif command -v wget >/dev/null; then
    fetch() { wget --quiet --output-document="$2" "$1"; }
else
    die "install curl or wget first"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -n "$version" ]; then from=$repository/releases/download/v$version; else from=$repository/releases/latest/download; fi
for file in SHA256SUMS SHA256SUMS.minisig; do
    fetch "$from/$file" "$work/$file" || die "cannot fetch $from/$file"
done

# The same check with what is there: minisign, or openssl 3 (the file's BLAKE2b-512, signed by Ed25519).
signed_by_openssl() {
    sed -n 2p "$work/SHA256SUMS.minisig" | base64 -d >"$work/signature" 2>/dev/null || return 1
    [ "$(head -c 2 "$work/signature")" = ED ] || return 1
    tail -c 64 "$work/signature" >"$work/ed25519"
    {
        printf '\060\052\060\005\006\003\053\145\160\003\041\000'
        printf %s "$key" | base64 -d | tail -c 32
    } >"$work/key.der"
    openssl dgst -blake2b512 -binary "$work/SHA256SUMS" >"$work/digest" || return 1
    openssl pkeyutl -verify -pubin -inkey "$work/key.der" -keyform DER -rawin -in "$work/digest" \
        -sigfile "$work/ed25519" >/dev/null 2>&1
}
openssl_can() {
    command -v openssl >/dev/null && command -v base64 >/dev/null &&
        case $(openssl version) in OpenSSL\ [3-9]*) true ;; *) false ;; esac
}
if command -v minisign >/dev/null; then
    minisign -V -q -P "$key" -m "$work/SHA256SUMS" || die "the signature of the release is not docklet's; nothing was installed"
    checked="signature (minisign) and SHA-256"
elif openssl_can; then
    signed_by_openssl || die "the signature of the release is not docklet's; nothing was installed"
    checked="signature (openssl) and SHA-256"
else
    checked="SHA-256 only: there is neither minisign nor openssl 3 to check the signature with"
fi

archive=$(awk -v end="-$target.tar.gz" 'substr($2, length($2) - length(end) + 1) == end { print $2 }' "$work/SHA256SUMS")
name=${archive%.tar.gz}
found=${name#docklet-}
found=${found%-"$target"}
case $found in
    '' | *[!0-9.]*) die "the release has no file for $target" ;;
esac
[ -z "$version" ] || [ "$found" = "$version" ] || die "asked for $version and got $found; nothing was installed"

if [ "$action" = show ]; then
    say "would fetch   $repository/releases/download/v$found/$archive"
    say "would put     $prefix/bin/docklet"
    say "              $prefix/share/man/man1/docklet*.1"
    say "              completions for bash, zsh and fish below $prefix/share"
    say "checked       $checked"
    exit 0
fi

fetch "$repository/releases/download/v$found/$archive" "$work/$archive" || die "cannot fetch $archive"
if command -v sha256sum >/dev/null; then sum=sha256sum; else sum='shasum -a 256'; fi
wanted=$(awk -v name="$archive" '$2 == name { print $1 }' "$work/SHA256SUMS")
actual=$($sum "$work/$archive" | cut -d ' ' -f 1)
[ "$wanted" = "$actual" ] || die "$archive is damaged or altered (SHA-256); nothing was installed"
tar -xzf "$work/$archive" -C "$work"
"$work/$name/docklet" --version >/dev/null || die "docklet $found does not run on this system; nothing was installed"

put() {
    mkdir -p "$(dirname "$2")"
    # Beside it first: what runs now is replaced in one step.
    cp "$1" "$2.new.$$"
    mv "$2.new.$$" "$2"
}
for page in "$work/$name"/man/*.1; do put "$page" "$prefix/share/man/man1/${page##*/}"; done
put "$work/$name/completions/docklet.bash" "$prefix/share/bash-completion/completions/docklet"
put "$work/$name/completions/_docklet" "$prefix/share/zsh/site-functions/_docklet"
put "$work/$name/completions/docklet.fish" "$prefix/share/fish/vendor_completions.d/docklet.fish"
put "$work/$name/docklet" "$prefix/bin/docklet"

say "docklet $found is installed: $prefix/bin/docklet"
say "  also      man pages and completions below $prefix/share"
say "  checked   $checked"
say "  update    docklet self-update"
say "  undo      rm \"$prefix/bin/docklet\"; or this script with --uninstall, for the man pages and completions, too"
case :$PATH: in
    *:"$prefix/bin":*) say "next: docklet setup" ;;
    *) say "next: export PATH=\"$prefix/bin:\$PATH\"   # also in ~/.profile, then: docklet setup" ;;
esac
