#!/bin/sh
# The root of the image: root.sh PROGRAM FOLDER puts into the folder the program, the libraries that it is linked to and their loader (of
# a Debian, some 3 MB), the authorities that sign certificates, and the one user. Names are looked up by the C library itself, which
# needs no other file for that than those that an engine mounts (/etc/hosts, /etc/resolv.conf).
set -eu
program=$1 root=$2
mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs"
cp "$program" "$root/usr/local/bin/lyceum-dedicated"
ldd "$program" >"$root.libraries"
if grep -q 'not found' "$root.libraries"; then
    cat "$root.libraries" >&2
    echo "FAILED: a library of $program is not on this machine" >&2
    exit 1
fi
# Wherever they are said to be, by whole paths, the loader among them.
for library in $(grep -o '/[^ ]*' "$root.libraries"); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
rm "$root.libraries"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'lyceum:x:65532:65532::/:/nowhere' >"$root/etc/passwd"
echo 'lyceum:x:65532:' >"$root/etc/group"
