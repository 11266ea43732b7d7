# Keeps the processes of one server: signals all of them on request, and ends them when the requesting process is gone.
#
# The processes of a server are those that have their working directory in its data folder. A tree of parents would lose
# the children of a killed PostgreSQL. A process group would never contain them, because each of them makes its own.
#
# Reads one command a line from standard input and answers each with `done` or `failed`. The end of the input kills the
# server and removes its folder. The kernel ends the input however the requesting process dies.
folder=$1
data=$2

# The requesting process may be gone when the answer is written. A signal that stops the tests must not leave a server.
trap '' HUP INT PIPE TERM

find_processes() {
    processes=
    for process in /proc/[0-9]*; do
        if [ "$process/cwd" -ef "$data" ]; then
            processes="$processes ${process#/proc/}"
        fi
    done
}

all_stopped() {
    for process in $processes; do
        if read -r line <"/proc/$process/stat"; then
            case "${line##*) }" in
            [Tt]*) ;;
            *) return 1 ;;
            esac
        fi
    done
}

# The second check finds processes that were forked during the first.
pause_all() {
    tries=0
    while [ "$tries" -lt 500 ]; do
        find_processes
        if all_stopped; then
            find_processes
            if all_stopped; then return 0; fi
        fi
        kill -s STOP $processes
        sleep 0.01
        tries=$((tries + 1))
    done
    return 1
}

resume_all() {
    find_processes
    kill -s CONT $processes
}

kill_all() {
    tries=0
    while find_processes && [ -n "$processes" ]; do
        kill -s KILL $processes
        [ "$tries" -lt 500 ] || return 1
        sleep 0.01
        tries=$((tries + 1))
    done
}

# A killed PostgreSQL leaves a segment of System V memory; its number is the second word of this line.
remove_shared_memory() {
    if [ -r "$data/postmaster.pid" ]; then
        segment=$(sed -n '7s/.* //p' "$data/postmaster.pid")
        [ -z "$segment" ] || ipcrm -m "$segment"
    fi
}

exec 2>/dev/null
while read -r command signal process; do
    case $command in
    pause) pause_all ;;
    resume) resume_all ;;
    kill) kill_all ;;
    signal) kill -s "$signal" "$process" ;;
    *) false ;;
    esac && echo 'done' || echo failed
done
kill_all
remove_shared_memory
rm -rf "$folder"
