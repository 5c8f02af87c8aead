#!/bin/sh
# Gives a process what a container engine gives it, as far as the kernel's own tools can: a root made of the image's tree over this machine's /usr and /etc,
# all read-only, /tmp and /dev/shm of its own, namespaces of its own, an unprivileged user without capabilities. To be started by unshare, as root.
#
#   container.sh IMAGE ROOT WORK DOTNET MODELS UID
#
# Reads commands from standard input, one a line, and answers each with its output and a last line "=> CODE":
#   start NAME WORD…   starts a program in the background; NAME.env in WORK holds its environment, NAME.log there gets its output
#   run NAME WORD…     runs a program to its end under that environment
#   signal NAME SIGNAL, wait NAME, status NAME, log NAME, list FOLDER, processes
# When its input ends it ends, and with it, as the first process of its namespace, everything that it started.
set -u
image=$1 root=$2 work=$3 dotnet=$4 models=$5 user=$6

fail() { echo "=> the container cannot be made: $1"; exit 1; }
readonly_bind() { mount --rbind "$1" "$2" && mount -o remount,ro,bind "$2"; }

# 1. The root: a base that this machine lends, then the image's tree.
mount --make-rprivate / || fail "private mounts"
mount -t tmpfs -o mode=755 tmpfs "$root" || fail "root"
for folder in app dev dotnet etc models proc run/secrets tmp usr var/cache/tpserve; do mkdir -p "$root/$folder"; done
for folder in bin sbin lib lib64; do
    if [ -L "/$folder" ]; then cp -P "/$folder" "$root/$folder"; elif [ -d "/$folder" ]; then mkdir "$root/$folder" && readonly_bind "/$folder" "$root/$folder"; fi
done
readonly_bind /usr "$root/usr" || fail "usr"
readonly_bind /etc "$root/etc" || fail "etc"
readonly_bind "$dotnet" "$root/dotnet" || fail "dotnet"
readonly_bind "$image/app" "$root/app" || fail "app"
readonly_bind "$image/usr/local/bin" "$root/usr/local/bin" || fail "usr/local/bin"
readonly_bind "$models" "$root/models" || fail "models"
chown "$user:$user" "$image/var/cache/tpserve" && mount --bind "$image/var/cache/tpserve" "$root/var/cache/tpserve" || fail "cache"

# 2. What the engine adds: devices, names, the secret and the certificate, writable memory.
for device in null zero full random urandom; do : > "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device" || fail "$device"; done
mkdir "$root/dev/shm"
printf '127.0.0.1 localhost worker\n' > "$work/hosts" && mount --bind "$work/hosts" "$root/etc/hosts" || fail "hosts"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$root/run/secrets/group-secret"
chown "$user" "$root/run/secrets/group-secret" && chmod 0400 "$root/run/secrets/group-secret"
mount -t proc proc "$root/proc" || fail "proc"
"$dotnet/dotnet" "$image/app/TpServe.Gateway.dll" secret --tls "$root/run/secrets/tls" > /dev/null && chown -R "$user" "$root/run/secrets/tls" || fail "certificate"
mount -t tmpfs -o noexec,nosuid,nodev,size=64m,mode=1777 tmpfs "$root/tmp" || fail "tmp"
mount -t tmpfs -o noexec,nosuid,nodev,size=1g,mode=1777 tmpfs "$root/dev/shm" || fail "shm"
mount -o remount,ro "$root" || fail "read-only root"
ip link set lo up || fail "loopback"
# As far as this machine lets: only its own administrator may raise a hard limit.
ulimit -n 65536 2> /dev/null || true
ulimit -l unlimited 2> /dev/null || true

# 3. Commands.
enter() { # NAME WORD…
    environment=$(cat "$work/$1.env"); shift
    # shellcheck disable=SC2086 # one word for each variable
    exec chroot "$root" setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
        env -i -C /app PATH=/usr/local/bin:/usr/bin:/bin DOTNET_ROOT=/dotnet $environment "$@" < /dev/null
}
pid_of() { cat "$work/$1.pid"; }

echo "=> 0"
while read -r verb words; do
    # shellcheck disable=SC2086
    set -- $words
    code=0
    case $verb in
        start) ( enter "$@" ) > "$work/$1.log" 2>&1 & echo $! > "$work/$1.pid" ;;
        run) ( enter "$@" ) 2>&1; code=$? ;;
        signal) kill -s "$2" "$(pid_of "$1")" || code=$? ;;
        wait) wait "$(pid_of "$1")"; code=$? ;;
        status) cat "/proc/$(pid_of "$1")/status" || code=$? ;;
        log) cat "$work/$1.log" ;;
        list) ls -A "$root$1" || code=$? ;;
        processes) for entry in /proc/[0-9]*; do tr '\0' ' ' < "$entry/cmdline"; echo; done 2>/dev/null ;;
        *) echo "unknown command $verb"; code=127 ;;
    esac
    echo "=> $code"
done
